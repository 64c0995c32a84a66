//! Where a projection's events come from: a subscription that is opened after its checkpoint.
//!
//! The subscription itself goes on over reconnects, from the log to live, without a gap or a repeat. What is
//! added here: which log it is, where that log ends, and opening it again.

use futures::FutureExt;
use proto::{Position, Refusal, Start};

use crate::error::ListenError;
use crate::link::Link;
use crate::subscription::{EventStream, Subscription, Told};

/// What a projection reads.
pub(super) struct Source {
    link: Link,
    wish: Subscription,
    stream: Option<EventStream>,
}

impl Source {
    pub(super) fn new(link: Link, wish: Subscription) -> Self {
        Self { link, wish, stream: None }
    }

    /// The incarnation of the log that the newest connection leads to.
    pub(super) fn incarnation(&self) -> u64 {
        self.link.welcome().incarnation
    }

    /// Where the log ended when the newest connection was made.
    pub(super) fn head_at_connect(&self) -> Position {
        self.link.welcome().head
    }

    /// Reads what comes after `after`, in place of what was read before.
    ///
    /// The position is said to the hub at once, so that another log refuses it.
    pub(super) async fn open(&mut self, after: Position) -> Result<(), ListenError> {
        self.stream = None;
        self.stream = Some(self.wish.clone().from(Start::At(after.next())).open(&self.link).await?);
        Ok(())
    }

    /// Where the log ends now: a second subscription from now on is told at once.
    pub(super) async fn head(&self) -> Result<Position, ListenError> {
        let mut stream = self.wish.clone().from(Start::Now).credit(1).open(&self.link).await?;
        let waited = self.link.request_timeout();
        loop {
            match tokio::time::timeout(waited, stream.next()).await {
                Ok(Some(Ok(Told::Event(event)))) => return Ok(event.position),
                Ok(Some(Ok(Told::CaughtUp { position }))) => return Ok(position),
                Ok(Some(Ok(Told::Lagged { .. }))) => {}
                Ok(Some(Err(error))) => return Err(error),
                Ok(None) => return Err(self.link.closed().into()),
                Err(_elapsed) => return Err(ListenError::Unavailable { waited }),
            }
        }
    }

    /// What is told next.
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Told, ListenError> {
        let told = match &mut self.stream {
            Some(stream) => stream.next().await,
            None => None,
        };
        told.unwrap_or_else(|| Err(self.link.closed().into()))
    }

    /// What has been told already.
    pub(super) fn try_next(&mut self) -> Option<Result<Told, ListenError>> {
        self.next().now_or_never()
    }
}

/// Whether the same subscription may be opened a little later.
pub(super) fn may_retry(error: &ListenError) -> bool {
    match error {
        ListenError::Unavailable { .. } => true,
        ListenError::Refused(refusal) => matches!(refusal, Refusal::Unavailable { .. } | Refusal::Stopping),
        ListenError::TooManyNames { .. } | ListenError::NoHandler { .. } | ListenError::Closed { .. } => {
            false
        }
    }
}
