//! What is on its way to the hub: many frames in one buffer, one write for all of them.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Frames are added until the buffer holds so much; the last one may go over it.
const FILL_BYTES: usize = 64 * 1024;

/// A buffer that has grown beyond this is not kept.
const KEEP_BYTES: usize = 256 * 1024;

/// Bytes of a frame's length.
const HEADER_BYTES: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    buffer: Vec<u8>,
    written: usize,
    unflushed: bool,
}

impl Outgoing {
    /// Adds the next frames, each with its length before it. `poll_frame` appends one, if there is one.
    pub(super) fn fill(&mut self, mut poll_frame: impl FnMut(&mut Vec<u8>) -> bool) {
        while self.buffer.len() - self.written < FILL_BYTES {
            let start = self.buffer.len();
            self.buffer.extend_from_slice(&[0; HEADER_BYTES]);
            if !poll_frame(&mut self.buffer) {
                self.buffer.truncate(start);
                return;
            }
            let length = self.buffer.len() - start - HEADER_BYTES;
            let length = u32::try_from(length).expect("a frame is far below 4 GiB").to_be_bytes();
            if let Some(header) = self.buffer.get_mut(start..start + HEADER_BYTES) {
                header.copy_from_slice(&length);
            }
        }
    }

    /// Whether there is anything to write or to flush.
    pub(super) fn is_pending(&self) -> bool {
        self.unflushed || self.written < self.buffer.len()
    }

    /// Writes as much as `writer` takes at once; flushes when all is written.
    ///
    /// Cancel safe.
    pub(super) async fn advance(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let rest = self.buffer.get(self.written..).unwrap_or_default();
        if !rest.is_empty() {
            match writer.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
            // TLS may hold back what it has taken until it is flushed.
            self.unflushed = true;
        }
        if self.written < self.buffer.len() {
            return Ok(());
        }
        self.written = 0;
        self.buffer.clear();
        if self.buffer.capacity() > KEEP_BYTES {
            self.buffer = Vec::new();
        }
        writer.flush().await?;
        self.unflushed = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::message::SpokeMessage;
    use proto::session::{SpokeSession, SpokeSessionConfig};

    use super::*;

    #[tokio::test]
    async fn a_frame_is_its_length_and_its_message_in_one_write() {
        let config =
            SpokeSessionConfig { software: "test".to_owned(), welcome_within: Duration::from_secs(1) };
        let mut session = SpokeSession::new(config);
        session.connected(Duration::ZERO);
        let mut outgoing = Outgoing::default();
        outgoing.fill(|buffer| session.poll_frame(buffer));
        let mut written = Vec::new();
        outgoing.advance(&mut written).await.unwrap();
        assert!(!outgoing.is_pending());
        let (header, message) = written.split_first_chunk::<4>().unwrap();
        assert_eq!(usize::try_from(u32::from_be_bytes(*header)).unwrap(), message.len());
        assert!(matches!(proto::wire::decode(message).unwrap(), SpokeMessage::Hello(_)));
    }
}
