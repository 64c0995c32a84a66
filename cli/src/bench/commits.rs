//! How many events the hub stored with one commit, read from its metrics page like anybody would.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{Failure, Outcome};

/// How long the hub may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Largest page that is read, in bytes.
const PAGE_BYTES_MAX: u64 = 4 << 20;

/// Commits with events since the hub started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Commits {
    /// How many there were.
    pub(super) count: f64,
    /// Events in all of them.
    pub(super) events: f64,
}

impl Commits {
    /// Asks the hub whose metrics are served at `address`.
    pub(super) async fn of(address: SocketAddr) -> Outcome<Self> {
        Ok(Self::parse(&page(address).await?))
    }

    fn parse(page: &str) -> Self {
        let value = |name| value(page, name);
        Self { count: value("eventflow_batch_events_count"), events: value("eventflow_batch_events_sum") }
    }

    /// Events of one commit, on average, since `before`.
    pub(super) fn mean_since(self, before: Self) -> f64 {
        (self.events - before.events) / (self.count - before.count).max(1.0)
    }
}

/// The metrics page that is served at `address`.
pub(super) async fn page(address: SocketAddr) -> Outcome<String> {
    let page = timeout(ANSWER_WITHIN, fetch(address)).await;
    page.map_err(Failure::failed)?.map_err(|error| {
        Failure::failed(format_args!("the hub's metrics at {address} cannot be read: {error}"))
    })
}

/// The value of one metric of `page`; 0 if it has none.
pub(super) fn value(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line: &str| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

async fn fetch(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut page).await?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_that_of_the_commits_in_between() {
        let page = "# HELP x\neventflow_batch_events_bucket{le=\"1\"} 1\neventflow_batch_events_sum 900\neventflow_batch_events_count 12\n";
        let after = Commits::parse(page);
        assert_eq!(after, Commits { count: 12.0, events: 900.0 });
        assert_eq!(after.mean_since(Commits { count: 2.0, events: 100.0 }), 80.0);
        assert_eq!(Commits::default().mean_since(Commits::default()), 0.0);
    }
}
