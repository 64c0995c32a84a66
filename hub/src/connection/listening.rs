//! What the listeners of a connection were opened for, so that it can be asked again whether they may be.
//!
//! A grant that is removed or ends closes what is open by it. The peer hears why.

use std::collections::HashMap;

use proto::message::{Reply, Request};
use proto::{ListenerId, Refusal, RequestId};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::info;

use super::Connection;
use crate::command::Wish;

/// Wishes of one connection, open and not yet answered. The session bounds both.
#[derive(Debug, Default)]
pub(super) struct Listening {
    open: HashMap<ListenerId, Wish>,
    asked: HashMap<RequestId, Wish>,
}

impl Listening {
    /// Remembers what a request wants to listen to, and forgets what it leaves.
    pub(super) fn asked(&mut self, id: RequestId, request: &Request) {
        if let Request::Leave(listener) = request {
            self.closed(*listener);
        } else if let Some(wish) = Wish::of(request) {
            self.asked.insert(id, wish);
        }
    }

    /// A request was answered: the listener that is open since now, if it asked for one.
    pub(super) fn answered(&mut self, id: RequestId, outcome: &Result<Reply, Refusal>) -> Option<ListenerId> {
        let wish = self.asked.remove(&id).filter(|_| outcome.is_ok())?;
        let listener = wish.listener();
        self.open.insert(listener, wish);
        Some(listener)
    }

    /// A listener is open no more.
    pub(super) fn closed(&mut self, listener: ListenerId) {
        self.open.remove(&listener);
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection<S> {
    /// Ends every listener that the peer may not have any more.
    pub(super) async fn check_listeners(&mut self) {
        for listener in self.listening.open.keys().copied().collect::<Vec<_>>() {
            self.check_listener(listener).await;
        }
    }

    /// Ends a listener if the peer may not have it any more.
    pub(super) async fn check_listener(&mut self, listener: ListenerId) {
        let Some(wish) = self.listening.open.get(&listener) else { return };
        let commands = &self.terms.commands;
        if let Err(refusal) = commands.check(&self.caller, wish) {
            info!(%listener, %refusal, "a listener ends: it is not allowed any more");
            commands.expel(&self.caller, listener, refusal).await;
            self.listening.closed(listener);
        }
    }
}
