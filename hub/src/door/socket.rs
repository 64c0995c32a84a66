//! A socket that moves from one runtime to another.
//!
//! A socket is woken by the runtime that it was made in. One that stayed with the door's would wait for
//! the door each time its peer says something, for as long as it is open.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket of a runtime, or of none.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Of a runtime, which can read and write it.
    Here(TcpStream),
    /// Of none, on its way.
    Moving(std::net::TcpStream),
    /// The system did not let it move. It is closed.
    Lost,
}

impl Socket {
    /// Takes it from the runtime that it belongs to.
    ///
    /// # Errors
    /// What the system has against it; the socket is closed then.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Here(stream) => Self::Moving(stream.into_std()?),
            other @ (Self::Moving(_) | Self::Lost) => other,
        };
        Ok(())
    }

    /// Gives it to the runtime that this is called in.
    ///
    /// # Errors
    /// What the system has against it; the socket is closed then.
    pub(super) fn arrive(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Moving(stream) => Self::Here(TcpStream::from_std(stream)?),
            other @ (Self::Here(_) | Self::Lost) => other,
        };
        Ok(())
    }

    fn here(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        match self.get_mut() {
            Self::Here(stream) => Ok(Pin::new(stream)),
            Self::Moving(_) | Self::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.here()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.here()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        // As a TCP stream answers.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn a_socket_outlives_the_runtime_that_it_was_made_in() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let (mut socket, mut peer) = first.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut socket = Socket::Here(listener.accept().await.unwrap().0);
            socket.write_all(b"one").await.unwrap();
            socket.leave().unwrap();
            assert_eq!(socket.write_all(b"lost").await.unwrap_err().kind(), ErrorKind::NotConnected);
            (socket, peer)
        });
        drop(first);
        runtime().block_on(async {
            socket.arrive().unwrap();
            socket.write_all(b" two").await.unwrap();
            io::Write::write_all(&mut peer, b"three").unwrap();
            let mut heard = [0; 5];
            socket.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"three");
        });
        let mut heard = [0; 7];
        io::Read::read_exact(&mut peer, &mut heard).unwrap();
        assert_eq!(&heard, b"one two");
    }
}
