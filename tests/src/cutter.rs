//! A way to a hub that can be cut: every connection through it ends at once, in the middle of a frame.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A port that leads to another one, until it is cut.
#[derive(Debug)]
pub struct Cutter {
    address: SocketAddr,
    cut: mpsc::Sender<()>,
    _task: JoinSet<()>,
}

impl Cutter {
    /// Opens a port that leads to `target`, which is `host:port`.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, cuts) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(lead(listener, target.to_owned(), cuts));
        Self { address, cut, _task: task }
    }

    /// Where it listens, `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Ends all connections. New ones are let through again.
    pub async fn cut(&self) {
        self.cut.send(()).await.unwrap();
    }
}

async fn lead(listener: TcpListener, target: String, mut cuts: mpsc::Receiver<()>) {
    let mut through = JoinSet::new();
    loop {
        tokio::select! {
            Some(()) = cuts.recv() => through.shutdown().await,
            Ok((mut near, _)) = listener.accept() => {
                let target = target.clone();
                through.spawn(async move {
                    // Whoever finds nobody at the other end sees the connection end.
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        let _ended = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
            Some(_ended) = through.join_next() => {}
            else => return,
        }
    }
}
