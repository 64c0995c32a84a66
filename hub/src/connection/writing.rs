//! How what the session says gets into the socket: encoded up to a bound, written as far as the peer takes
//! it, and told to the dispatcher when it is out.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::{Connection, Ended, LENGTH_BYTES, WRITE_BYTES};

/// How far writing got.
pub(super) enum Wrote {
    /// So many bytes of what is pending.
    Some(usize),
    /// All of it, out of every buffer of ours.
    All,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection<S> {
    /// Encodes what is to be sent, up to what one write takes.
    pub(super) fn encode(&mut self) {
        if self.pending.is_empty() && !self.unflushed {
            self.write_by = Instant::now() + self.terms.write_within;
        }
        while self.pending.len() < WRITE_BYTES {
            let start = self.pending.len();
            self.pending.extend_from_slice(&[0; LENGTH_BYTES]);
            if !self.session.poll_frame(&mut self.pending) {
                self.pending.truncate(start);
                return;
            }
            let length = u32::try_from(self.pending.len() - start - LENGTH_BYTES).unwrap_or(u32::MAX);
            let header = self.pending.iter_mut().skip(start);
            header.zip(length.to_be_bytes()).for_each(|(to, from)| *to = from);
        }
    }

    pub(super) fn written(&mut self, written: std::io::Result<Wrote>) -> Result<(), Ended> {
        self.write_by = Instant::now() + self.terms.write_within;
        match written? {
            Wrote::Some(bytes) => {
                self.unflushed = true;
                self.sent += bytes;
                if self.sent >= self.pending.len() {
                    self.pending.clear();
                    self.sent = 0;
                }
            }
            Wrote::All => self.unflushed = false,
        }
        Ok(())
    }

    /// Tells the dispatcher of the room that there is again, also where a push was for a listener
    /// that leaves and was not sent.
    pub(super) async fn give_back(&mut self) {
        if self.underway.0 > 0 && self.pending.is_empty() && self.session.unsent_messages() == 0 {
            let (events, bytes) = std::mem::take(&mut self.underway);
            self.terms.commands.store.written(self.caller.connection, events, bytes).await;
        }
    }
}

/// Writes some of what is pending, or flushes what was written. Cancel safe: what was written is
/// told.
pub(super) async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    pending: &[u8],
    sent: usize,
) -> std::io::Result<Wrote> {
    match pending.get(sent..) {
        None | Some([]) => writer.flush().await.map(|()| Wrote::All),
        Some(rest) => match writer.write(rest).await? {
            0 => Err(std::io::ErrorKind::WriteZero.into()),
            bytes => Ok(Wrote::Some(bytes)),
        },
    }
}
