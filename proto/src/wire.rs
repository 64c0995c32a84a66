//! Messages to bytes and back: bincode with a limit, one message a frame.
//!
//! Frames are a four-byte big-endian length and so many bytes (tokio-util's length-delimited codec,
//! set up in the hub's and the spoke's connection tasks). A frame that holds more than its message
//! is refused, and so is a length that the rest of the frame cannot fill.

use crate::limits::FRAME_BYTES_MAX;

/// Why bytes are not a message. The connection that they came from is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not a message of this protocol.
    #[error("not a message: {reason}")]
    NotAMessage {
        /// What did not fit.
        reason: String,
    },
    /// The frame goes on after its message.
    #[error("the frame has {frame} bytes, its message only {message}")]
    TrailingBytes {
        /// How long the frame is.
        frame: usize,
        /// How long the message is.
        message: usize,
    },
}

/// Why a message cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message does not fit a frame of {FRAME_BYTES_MAX} bytes ({reason}); send less at once")]
pub struct EncodeError {
    reason: String,
}

/// Memory that a message may claim while it is decoded. More than a frame, because a list claims the
/// size of its elements in memory, which is more than they take on the wire.
const DECODED_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<DECODED_BYTES_MAX>,
> = bincode::config::standard().with_limit::<DECODED_BYTES_MAX>();

/// The end of a buffer, into which one frame may be written.
struct Frame<'a> {
    buffer: &'a mut Vec<u8>,
    end: usize,
}

impl bincode::enc::write::Writer for Frame<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        if bytes.len() > self.end.saturating_sub(self.buffer.len()) {
            return Err(bincode::error::EncodeError::UnexpectedEnd);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }
}

/// Appends `message` to `buffer`, without a frame header.
///
/// # Errors
/// [`EncodeError`] if it would not fit a frame; `buffer` is as before then.
pub fn encode<M: bincode::Encode>(message: &M, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    let before = buffer.len();
    let frame = Frame { buffer, end: before.saturating_add(FRAME_BYTES_MAX) };
    bincode::encode_into_writer(message, frame, CONFIG).map_err(|error| {
        buffer.truncate(before);
        EncodeError { reason: error.to_string() }
    })
}

/// How many bytes `message` has on the wire, also if they would not fit a frame.
#[must_use]
pub fn encoded_bytes<M: bincode::Encode>(message: &M) -> usize {
    let mut size = bincode::enc::write::SizeWriter::default();
    match bincode::encode_into_writer(message, &mut size, CONFIG) {
        Ok(()) => size.bytes_written,
        // Something that cannot be encoded fits nowhere.
        Err(_) => usize::MAX,
    }
}

/// The message that `frame` holds, all of it.
///
/// # Errors
/// [`DecodeError`] if it holds anything else.
pub fn decode<'frame, M: bincode::BorrowDecode<'frame, ()>>(frame: &'frame [u8]) -> Result<M, DecodeError> {
    if frame.len() > FRAME_BYTES_MAX {
        return Err(DecodeError::NotAMessage { reason: format!("it has {} bytes", frame.len()) });
    }
    let (message, read) = bincode::borrow_decode_from_slice(frame, CONFIG)
        .map_err(|error| DecodeError::NotAMessage { reason: error.to_string() })?;
    if read == frame.len() {
        Ok(message)
    } else {
        Err(DecodeError::TrailingBytes { frame: frame.len(), message: read })
    }
}
