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

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<FRAME_BYTES_MAX>,
> = bincode::config::standard().with_limit::<FRAME_BYTES_MAX>();

/// Appends `message` to `buffer`, without a frame header.
///
/// # Errors
/// [`EncodeError`] if it would not fit a frame; `buffer` is as before then.
pub fn encode<M: bincode::Encode>(message: &M, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    let before = buffer.len();
    let outcome = bincode::encode_into_std_write(message, buffer, CONFIG)
        .map_err(|error| EncodeError { reason: error.to_string() })
        .and_then(|bytes| match bytes {
            bytes if bytes > FRAME_BYTES_MAX => Err(EncodeError { reason: format!("it has {bytes} bytes") }),
            _ => Ok(()),
        });
    if outcome.is_err() {
        buffer.truncate(before);
    }
    outcome
}

/// The message that `frame` holds, all of it.
///
/// # Errors
/// [`DecodeError`] if it holds anything else.
pub fn decode<M: bincode::Decode<()>>(frame: &[u8]) -> Result<M, DecodeError> {
    let (message, read) = bincode::decode_from_slice(frame, CONFIG)
        .map_err(|error| DecodeError::NotAMessage { reason: error.to_string() })?;
    if read == frame.len() {
        Ok(message)
    } else {
        Err(DecodeError::TrailingBytes { frame: frame.len(), message: read })
    }
}
