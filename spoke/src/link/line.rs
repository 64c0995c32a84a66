//! One connection's socket: frames that come, and frames that are to be written.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt;
use futures::stream::ReadyChunks;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};
use tracing::debug;

use super::outgoing::Outgoing;

/// Frames that are taken at a time.
const FRAMES_TAKEN_MAX: usize = 256;

/// Bytes that are read at a time.
const READ_BYTES: usize = 64 * 1024;

/// How long closing waits for the socket to take the last word.
const LAST_WORD: Duration = Duration::from_secs(1);

pub(super) struct Line {
    frames: ReadyChunks<FramedRead<ReadHalf<TlsStream<TcpStream>>, LengthDelimitedCodec>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    outgoing: Outgoing,
}

/// What became of a connection.
#[derive(Debug)]
pub(super) enum Carried {
    /// Something was written.
    Written(io::Result<()>),
    /// Frames have come; `None` is the end.
    Came(Option<Vec<io::Result<BytesMut>>>),
}

impl Line {
    pub(super) fn new(stream: TlsStream<TcpStream>, frame_bytes_max: usize) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        // A hub says little after Welcome that was not asked for, so no longer frame is behind it.
        let codec = LengthDelimitedCodec::builder().max_frame_length(frame_bytes_max).new_codec();
        let frames = FramedRead::with_capacity(reader, codec, READ_BYTES).ready_chunks(FRAMES_TAKEN_MAX);
        Self { frames, writer, outgoing: Outgoing::default() }
    }

    /// Longer frames than so many bytes break the connection from now on.
    pub(super) fn frame_bytes_max(&mut self, max: usize) {
        self.frames.get_mut().decoder_mut().set_max_frame_length(max);
    }

    /// Takes the next frames that are to be written. `poll_frame` appends one, if there is one.
    pub(super) fn fill(&mut self, poll_frame: impl FnMut(&mut Vec<u8>) -> bool) {
        self.outgoing.fill(poll_frame);
    }

    /// Whether there is anything to write.
    pub(super) fn is_pending(&self) -> bool {
        self.outgoing.is_pending()
    }

    /// Writes what is to be written and waits for frames.
    ///
    /// Cancel safe.
    pub(super) async fn carry(&mut self) -> Carried {
        tokio::select! {
            biased;
            written = self.outgoing.advance(&mut self.writer), if self.outgoing.is_pending() => Carried::Written(written),
            came = self.frames.next() => Carried::Came(came),
        }
    }

    /// Tells the hub that nothing more comes, so that it need not guess.
    pub(super) async fn close(mut self) {
        if let Ok(Err(error)) = tokio::time::timeout(LAST_WORD, self.writer.shutdown()).await {
            debug!(%error, "the link was not closed in order");
        }
    }
}
