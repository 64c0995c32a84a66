//! Who waits for what: connects commands with the session, and what comes from the hub with those
//! who asked. It touches no socket and no clock.

use std::collections::HashMap;
use std::time::Duration;

use proto::certs::Trust;
use proto::message::{Answer, Expulsion, Reply, Request, Verdict, Welcome};
use proto::session::{FromHub, Listen, RequestError, RequestKey, SpokeSession};
use proto::{Attempt, ListenerId, Refusal};
use tokio::sync::{oneshot, watch};
use tracing::{error, info};

use super::chains::Chains;
use super::inbox::{Arrival, Lagged, Outlet, Passed};
use super::window::Entry;
use super::{Command, LinkState, Links};
use crate::error::{AskError, ClosedReason, ListenError};

type Answering<T> = oneshot::Sender<Result<T, AskError>>;

/// A request that is not answered.
struct Asking {
    reply: Answering<Reply>,
    _entry: Entry,
}

/// A listener, from the wish to its end.
struct Listening {
    outlet: Outlet,
    /// Told when it is open for the first time.
    opened: Option<Answering<ListenerId>>,
    /// Told when it is closed.
    left: Vec<Answering<()>>,
}

/// What came over the connection that the driver itself must know.
#[derive(Debug)]
pub(super) enum News {
    /// The connection is open.
    Welcome(Welcome),
    /// The hub is about to close it.
    GoAway { reason: String, retry_after: Duration },
    /// The hub closes it, because the certificate does not count any more.
    Expelled { cause: Expulsion, reason: String },
    /// What is to be trusted from now on.
    Trust(Trust),
    /// The certificate is to be renewed within this span.
    RenewalWanted { within: Duration },
    /// A further certificate, or why there is none.
    Renewed(Result<Reply, Refusal>),
}

/// The session and everybody who waits for it.
pub(super) struct Switchboard {
    pub(super) session: SpokeSession,
    /// The connections that every listener was told of.
    links: Links,
    /// The request for a further certificate, if one is not answered.
    renewing: Option<RequestKey>,
    asking: HashMap<RequestKey, Asking>,
    listening: HashMap<ListenerId, Listening>,
    chains: Chains,
    closing: Vec<oneshot::Sender<()>>,
}

impl Switchboard {
    pub(super) fn new(session: SpokeSession) -> Self {
        let (asking, listening) = (HashMap::new(), HashMap::new());
        let (links, renewing) = (Links::default(), None);
        Self { session, links, renewing, asking, listening, chains: Chains::default(), closing: Vec::new() }
    }

    /// Asks for a further certificate. [`News::Renewed`] brings the answer.
    pub(super) fn renew(&mut self, csr: Vec<u8>) -> Result<(), RequestError> {
        self.renewing = Some(self.session.request(Request::Renew { csr })?);
        Ok(())
    }

    /// Nobody waits for a further certificate any more.
    pub(super) fn forget_renewal(&mut self) {
        if let Some(key) = self.renewing.take() {
            self.session.forget(key);
        }
    }

    /// Tells the listeners which connections are up, if that has changed.
    fn tell_links(&mut self) {
        let session = &self.session;
        let newest = Some(session.link()).filter(|link| session.is_alive(*link));
        let links = newest.into_iter().chain(session.retiring()).collect();
        if links != self.links {
            self.links = links;
            self.listening.values().for_each(|open| open.outlet.signal(|signals| signals.links = links));
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Ask { body, entry, reply } => match self.session.request(*body) {
                Ok(key) => drop(self.asking.insert(key, Asking { reply, _entry: entry })),
                Err(error) => drop(reply.send(Err(invalid(&error)))),
            },
            Command::Listen { wish, outlet, opened } => self.listen(wish, outlet, opened),
            Command::Leave { listener, left } => self.leave(listener, left),
            Command::Answer { connection, answers } => {
                for answer in answers {
                    self.session.answer(connection, answer);
                }
            }
            Command::Chain { connection, chain, told } => {
                self.chains.say(&mut self.session, connection, chain, told);
            }
            Command::Credit { listener, events } => self.session.credit(listener, events),
            Command::Close { closed } => {
                self.forget_renewal();
                self.session.goodbye();
                self.closing.push(closed);
            }
        }
    }

    /// Whether it is to be closed and nothing is missing any more.
    pub(super) fn is_done(&self) -> bool {
        !self.closing.is_empty() && self.session.in_flight() == 0
    }

    /// Whether it is to be closed.
    pub(super) fn is_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Whether somebody waits for an answer and may have given up.
    pub(super) fn has_waiting(&self) -> bool {
        !self.asking.is_empty() || self.listening.values().any(|listening| listening.opened.is_some())
    }

    /// Passes on what has come. Gives the first thing that the driver must know; to be called until
    /// there is none.
    pub(super) fn pass_on(&mut self) -> Option<News> {
        self.tell_links();
        loop {
            match self.session.poll_event()? {
                FromHub::Welcome { welcome, .. } => return Some(News::Welcome(welcome)),
                FromHub::GoAway { reason, retry_after } => return Some(News::GoAway { reason, retry_after }),
                FromHub::Expelled { cause, reason } => return Some(News::Expelled { cause, reason }),
                FromHub::Trust(trust) => return Some(News::Trust(trust)),
                FromHub::Renew { within } => return Some(News::RenewalWanted { within }),
                FromHub::Answered { key, outcome } if self.renewing == Some(key) => {
                    self.renewing = None;
                    return Some(News::Renewed(outcome));
                }
                FromHub::Lost { key } => self.chains.lost(key),
                FromHub::Answered { key, outcome } => {
                    let Some(outcome) = self.chains.answered(key, outcome) else { continue };
                    if let Some(asking) = self.asking.remove(&key) {
                        // Who has given up waiting does not want it.
                        let _ = asking.reply.send(outcome.map_err(AskError::Refused));
                    }
                }
                FromHub::ListenerOpen { listener, .. } => self.opened(listener),
                FromHub::ListenerClosed { listener, refusal } => self.closed(listener, refusal),
                FromHub::Delivered { listener, link, attempt, event } => {
                    self.arrived(listener, Arrival { event, attempt, connection: link });
                }
                FromHub::Pushed { listener, event } => {
                    let connection = self.session.link();
                    self.arrived(listener, Arrival { event, attempt: Attempt(0), connection });
                }
                FromHub::Lagged { listener, behind } => {
                    self.signal(listener, |signals| {
                        signals.lagged = Lagged { times: signals.lagged.times + 1, behind };
                    });
                }
                FromHub::Deadline { listener, within } => {
                    self.signal(listener, |signals| signals.deadline = Some(within));
                }
                FromHub::CaughtUp { listener, position } => {
                    self.signal(listener, |signals| signals.caught_up = Some(position));
                }
            }
        }
    }

    /// Forgets what nobody waits for any more, so that a long outage does not end in a burst of
    /// requests whose callers have given up.
    pub(super) fn sweep(&mut self) {
        let session = &mut self.session;
        self.asking.retain(|key, asking| {
            let wanted = !asking.reply.is_closed();
            if !wanted {
                session.forget(*key);
            }
            wanted
        });
        let given_up =
            |listening: &Listening| listening.opened.as_ref().is_some_and(oneshot::Sender::is_closed);
        let given_up: Vec<_> =
            self.listening.iter().filter(|(_, open)| given_up(open)).map(|(id, _)| *id).collect();
        given_up.into_iter().for_each(|listener| self.leave(listener, None));
    }

    /// Ends everything. Whoever waits finds the reason in the state.
    pub(super) fn end(self, state: Option<&watch::Sender<LinkState>>, reason: ClosedReason) {
        let unanswered = self.asking.len();
        info!(unanswered, listeners = self.listening.len(), %reason, "the link has ended");
        if let Some(state) = state {
            state.send_modify(|state| {
                state.unanswered = unanswered;
                state.closed = Some(reason.clone());
            });
        }
        for listening in self.listening.into_values() {
            listening.outlet.end(ListenError::Closed { reason: reason.clone() });
        }
    }

    fn listen(&mut self, wish: Listen, outlet: Outlet, opened: Answering<ListenerId>) {
        match self.session.listen(wish) {
            Ok(listener) => {
                outlet.signal(|signals| signals.links = self.links);
                let listening = Listening { outlet, opened: Some(opened), left: Vec::new() };
                self.listening.insert(listener, listening);
            }
            Err(error) => drop(opened.send(Err(invalid(&error)))),
        }
    }

    fn leave(&mut self, listener: ListenerId, left: Option<Answering<()>>) {
        match (self.listening.get_mut(&listener), left) {
            (Some(listening), left) => {
                listening.left.extend(left);
                self.session.leave(listener);
            }
            // It is over already.
            (None, Some(left)) => drop(left.send(Ok(()))),
            (None, None) => {}
        }
    }

    fn opened(&mut self, listener: ListenerId) {
        let Some(listening) = self.listening.get_mut(&listener) else { return };
        if let Some(opened) = listening.opened.take()
            && opened.send(Ok(listener)).is_err()
        {
            self.session.leave(listener);
        }
    }

    fn closed(&mut self, listener: ListenerId, refusal: Option<Refusal>) {
        let Some(Listening { outlet, opened, left }) = self.listening.remove(&listener) else { return };
        for left in left {
            let _ = left.send(refusal.clone().map_or(Ok(()), |refusal| Err(AskError::Refused(refusal))));
        }
        let Some(refusal) = refusal else { return };
        match opened {
            Some(opened) => drop(opened.send(Err(AskError::Refused(refusal)))),
            None => outlet.end(ListenError::Refused(refusal)),
        }
    }

    fn arrived(&mut self, listener: ListenerId, arrival: Arrival) {
        let Some(listening) = self.listening.get(&listener) else { return };
        let (position, attempt, connection) = (arrival.event.position, arrival.attempt, arrival.connection);
        match listening.outlet.pass(arrival) {
            Passed::On => {}
            Passed::Gone => self.session.leave(listener),
            // A subscription's events are not given back, so its queue has room for every one of them.
            Passed::Full if attempt == Attempt(0) => {
                error!(%listener, %position, "a subscription got more than its credit; it is ended");
                let reason =
                    format!("more came than the credit allows, first position {position}; subscribe anew");
                listening.outlet.signal(|signals| {
                    signals.ended = Some(ListenError::Refused(Refusal::Invalid { reason }));
                });
                self.session.leave(listener);
            }
            // Deliveries of a lost connection are still in the way.
            Passed::Full => {
                let answer = Answer { listener, position, attempt, verdict: Verdict::Release };
                self.session.answer(connection, answer);
            }
        }
    }

    fn signal(&self, listener: ListenerId, change: impl FnOnce(&mut super::Signals)) {
        if let Some(listening) = self.listening.get(&listener) {
            listening.outlet.signal(change);
        }
    }
}

/// The session did not take it: asking the hub would be no use.
fn invalid(error: &RequestError) -> AskError {
    AskError::Refused(Refusal::Invalid { reason: error.to_string() })
}
