//! What goes on beside the connection in use: earlier ones that retire, the next one while it is greeted,
//! and work on files and keys.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use proto::session::SpokeSession;

use super::dial::Dialled;
use super::further::{Prepared, Setback};
use super::line::{Carried, Line};
use crate::identity::Identity;

/// What is shown on a connection.
pub(super) struct Shown {
    pub(super) identity: Arc<Identity>,
    /// Whether it was issued just before.
    pub(super) is_new: bool,
}

/// The next connection, until the hub has said Welcome on it.
pub(super) struct Greeting {
    pub(super) line: Line,
    pub(super) session: SpokeSession,
    pub(super) shown: Shown,
    pub(super) address: String,
}

/// Work that is done.
pub(super) enum Worked {
    Prepared(Result<Prepared, Setback>),
    Reached(Result<Box<Dialled>, Setback>),
    /// The version of what is trusted that is kept.
    TrustKept(Result<u64, String>),
    /// Nobody waits for it.
    Done,
}

/// What happened beside the connection in use.
pub(super) enum Aside {
    Retiring(u64, Carried),
    Greeting(Carried),
    Worked(Worked),
}

#[derive(Default)]
pub(super) struct Beside {
    retiring: Vec<(u64, Line)>,
    pub(super) greeting: Option<Greeting>,
    work: FuturesUnordered<BoxFuture<'static, Worked>>,
}

impl Beside {
    pub(super) fn work(&mut self, work: impl Future<Output = Worked> + Send + 'static) {
        self.work.push(Box::pin(work));
    }

    /// Another connection is in use from now on.
    pub(super) fn retire(&mut self, link: u64, line: Line) {
        self.retiring.push((link, line));
    }

    /// A retiring connection broke.
    pub(super) fn drop_line(&mut self, link: u64) {
        self.retiring.retain(|(retiring, _)| *retiring != link);
    }

    /// Lets every connection have what is to be said on it, and closes those on which nothing more is.
    pub(super) fn settle(&mut self, session: &mut SpokeSession) {
        if let Some(greeting) = &mut self.greeting {
            greeting.line.fill(|buffer| greeting.session.poll_frame(buffer));
        }
        for index in (0..self.retiring.len()).rev() {
            let Some((link, line)) = self.retiring.get_mut(index) else { continue };
            line.fill(|buffer| session.poll_retiring_frame(*link, buffer));
            if !line.is_pending() && session.is_retired(*link) {
                let (link, line) = self.retiring.swap_remove(index);
                session.retired(link);
                self.work(async move {
                    line.close().await;
                    Worked::Done
                });
            }
        }
    }

    /// Waits for what happens next; for ever if there is nothing.
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Aside {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Aside> {
        if let Poll::Ready(Some(worked)) = self.work.poll_next_unpin(context) {
            return Poll::Ready(Aside::Worked(worked));
        }
        // What a line waits for is kept by its socket, so its future may be dropped after one look.
        if let Some(greeting) = &mut self.greeting
            && let Poll::Ready(carried) = pin!(greeting.line.carry()).poll(context)
        {
            return Poll::Ready(Aside::Greeting(carried));
        }
        for (link, line) in &mut self.retiring {
            if let Poll::Ready(carried) = pin!(line.carry()).poll(context) {
                return Poll::Ready(Aside::Retiring(*link, carried));
            }
        }
        Poll::Pending
    }
}
