//! Requests: what was asked, what of it was said on this link, and what came back.
//!
//! `waiting` holds what is not said on this link, in the order of its keys; `asked` what is, by the
//! numbers of the link. A link that ends moves the second before the first, but for chains: these belong
//! to deliveries of the link, which are dead with it.

use std::collections::{BTreeMap, VecDeque};

use super::listeners::Listeners;
use crate::admin::{AdminReply, AdminRequest};
use crate::chain::{Chain, Chained};
use crate::event::NewEvent;
use crate::limits::{
    FRAME_BYTES_MAX, REQUEST_BYTES_IN_FLIGHT_MAX, REQUESTS_IN_FLIGHT_MAX, WAITS_PER_CONNECTION_MAX,
};
use crate::message::{Reply, Request};
use crate::number::{ListenerId, RequestId};
use crate::refusal::Refusal;
use crate::schedule::{ScheduleReply, ScheduleRequest};
use crate::session::Violation;
use crate::session::bounds::{bound_request, weight};
use crate::wire;

/// A request's number over all links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub u64);

/// Why something was not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A list of it is too long, too short or not sorted.
    #[error("the request was not sent: {0}; change it")]
    OutOfBounds(#[source] Violation),
    /// It does not fit a frame.
    #[error("the request was not sent: it has {found} bytes, at most {max} fit a frame; split it")]
    TooLarge {
        /// Its bytes.
        found: usize,
        /// How many it may have.
        max: usize,
    },
    /// Listeners are opened by `listen` and closed by `leave`.
    #[error("the request was not sent: listeners are opened and closed by methods of their own; use these")]
    NotARequest,
    /// There are as many listeners as one connection may have.
    #[error("the listener was not opened: there are {max} already; close one, or use another connection")]
    TooManyListeners {
        /// How many there may be.
        max: usize,
    },
}

/// What was said under one number of the link.
#[derive(Debug)]
struct Asked {
    weight: usize,
    /// Whether it is a wait: these count apart.
    wait: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    Request(RequestKey, Request),
    /// An ack with effects, of which so many are appends.
    Chain(RequestKey, usize),
    /// Nobody waits for the answer any more.
    Forgotten,
    Listen(ListenerId),
    Leave(ListenerId),
}

/// What a reply was to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    Request(RequestKey),
    /// The hub is stopping: it is asked again on the next link.
    AskAgain,
    Forgotten,
    Listen(ListenerId),
    Leave(ListenerId),
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: VecDeque<(RequestKey, Request)>,
    /// Acks with effects, to be said on this link or never.
    chains: VecDeque<(RequestKey, Box<Chain>)>,
    asked: BTreeMap<RequestId, Asked>,
    asked_bytes: usize,
    /// How many of `asked` are about listeners.
    about_listeners: usize,
    /// How many of `asked` are waits.
    waits: usize,
    /// How many of `waiting` are waits.
    waits_waiting: usize,
    last_key: u64,
    /// It grows over all links, so it does on each.
    last_id: u64,
}

impl Requests {
    pub(super) fn add(&mut self, mut body: Request) -> Result<RequestKey, RequestError> {
        if matches!(body, Request::Consume(_) | Request::Subscribe(_) | Request::Leave(_) | Request::Chain(_))
        {
            return Err(RequestError::NotARequest);
        }
        bound_request(&mut body).map_err(RequestError::OutOfBounds)?;
        check_size(&body)?;
        let key = self.next_key();
        self.waits_waiting += usize::from(is_wait(&body));
        self.waiting.push_back((key, body));
        Ok(key)
    }

    /// Asks for an ack with effects, on this link only.
    pub(super) fn add_chain(&mut self, chain: Box<Chain>) -> Result<RequestKey, RequestError> {
        let (key, chain) = self.chain_key(chain)?;
        self.push_chain(key, chain);
        Ok(key)
    }

    /// The key for an ack with effects, if that can be asked for.
    pub(super) fn chain_key(&mut self, chain: Box<Chain>) -> Result<(RequestKey, Box<Chain>), RequestError> {
        let mut body = Request::Chain(chain);
        bound_request(&mut body).map_err(RequestError::OutOfBounds)?;
        check_size(&body)?;
        match body {
            Request::Chain(chain) => Ok((self.next_key(), chain)),
            _ => Err(RequestError::NotARequest),
        }
    }

    pub(super) fn push_chain(&mut self, key: RequestKey, chain: Box<Chain>) {
        self.chains.push_back((key, chain));
    }

    /// Another link is in use from now on. Gives what was said on the one before and is to be answered
    /// there; what was not said, and waits, are for the other one.
    pub(super) fn hand_over(&mut self) -> Self {
        let mut old = Self {
            asked: std::mem::take(&mut self.asked),
            chains: std::mem::take(&mut self.chains),
            asked_bytes: std::mem::take(&mut self.asked_bytes),
            about_listeners: std::mem::take(&mut self.about_listeners),
            waits: std::mem::take(&mut self.waits),
            last_id: self.last_id,
            ..Self::default()
        };
        for asked in old.asked.values_mut().filter(|asked| asked.wait) {
            if let What::Request(key, body) = std::mem::replace(&mut asked.what, What::Forgotten) {
                self.wait_again(key, body);
            }
        }
        old
    }

    /// Takes up what another link has left to be asked again.
    pub(super) fn take_up(&mut self, old: &mut Self) {
        for (key, body) in old.waiting.drain(..) {
            self.wait_again(key, body);
        }
        old.waits_waiting = 0;
    }

    pub(super) fn forget(&mut self, key: RequestKey) {
        if let Ok(index) = self.waiting.binary_search_by_key(&key, |(key, _)| *key) {
            let removed = self.waiting.remove(index);
            self.waits_waiting -= usize::from(removed.is_some_and(|(_, body)| is_wait(&body)));
            return;
        }
        let is_it = |asked: &&mut Asked| matches!(&asked.what, What::Request(asked, _) if *asked == key);
        if let Some(asked) = self.asked.values_mut().find(is_it) {
            asked.what = What::Forgotten;
        }
    }

    /// The link is gone: what it did not answer waits for the next one, before what it did not say. Gives
    /// the chains of which nobody will hear what came.
    pub(super) fn unsay(&mut self) -> Vec<RequestKey> {
        let mut lost = Vec::new();
        for asked in std::mem::take(&mut self.asked).into_values() {
            match asked.what {
                What::Request(key, body) => self.wait_again(key, body),
                What::Chain(key, _) => lost.push(key),
                What::Forgotten | What::Listen(_) | What::Leave(_) => {}
            }
        }
        lost.extend(self.chains.drain(..).map(|(key, _)| key));
        self.asked_bytes = 0;
        self.about_listeners = 0;
        self.waits = 0;
        lost
    }

    /// Requests without an answer; waits do not count, they are there to be long.
    pub(super) fn unanswered(&self) -> usize {
        self.waiting.len() - self.waits_waiting + self.chains.len() + self.said()
    }

    pub(super) fn waits(&self) -> usize {
        self.waits_waiting + self.waits
    }

    pub(super) fn said(&self) -> usize {
        self.asked.len() - self.about_listeners - self.waits
    }

    /// Takes the reply to request `id`.
    pub(super) fn answered(
        &mut self,
        id: RequestId,
        outcome: &Result<Reply, Refusal>,
    ) -> Result<Answered, Violation> {
        let asked = self.asked.get(&id).ok_or(Violation::UnexpectedReply { id })?;
        if let Ok(reply) = outcome
            && !asked.what.fits(reply)
        {
            // It stays asked, so it is asked again on the link that replaces this one.
            return Err(Violation::WrongReply { id });
        }
        let asked = self.asked.remove(&id).ok_or(Violation::UnexpectedReply { id })?;
        self.asked_bytes -= asked.weight;
        self.waits -= usize::from(asked.wait);
        Ok(match asked.what {
            What::Request(key, body) if *outcome == Err(Refusal::Stopping) => {
                self.wait_again(key, body);
                Answered::AskAgain
            }
            What::Request(key, _) | What::Chain(key, _) => Answered::Request(key),
            What::Forgotten => Answered::Forgotten,
            What::Listen(listener) => {
                self.about_listeners -= 1;
                Answered::Listen(listener)
            }
            What::Leave(listener) => {
                self.about_listeners -= 1;
                Answered::Leave(listener)
            }
        })
    }

    pub(super) fn poll_listen(&mut self, listeners: &mut Listeners, buffer: &mut Vec<u8>) -> bool {
        let Some((listener, request)) = listeners.next_listen() else { return false };
        self.about_listeners += 1;
        self.say(What::Listen(listener), &request, buffer)
    }

    /// The next ack with effects, if there is room for it.
    pub(super) fn poll_chain(&mut self, buffer: &mut Vec<u8>) -> bool {
        let Some((key, chain)) = (if self.is_full() { None } else { self.chains.pop_front() }) else {
            return false;
        };
        let what = What::Chain(key, chain.appends());
        self.say(what, &Request::Chain(chain), buffer)
    }

    pub(super) fn poll_leave(&mut self, to_leave: &mut VecDeque<ListenerId>, buffer: &mut Vec<u8>) -> bool {
        // What a listener has acknowledged goes before its end.
        if !self.chains.is_empty() {
            return false;
        }
        let Some(listener) = to_leave.pop_front() else { return false };
        self.about_listeners += 1;
        self.say(What::Leave(listener), &Request::Leave(listener), buffer)
    }

    /// The next request, unless so much is unanswered that the hub would stop reading.
    pub(super) fn poll_request(&mut self, buffer: &mut Vec<u8>) -> bool {
        let full = match self.waiting.front() {
            Some((_, Request::Wait(_))) => self.waits >= WAITS_PER_CONNECTION_MAX,
            Some(_) => self.is_full(),
            None => return false,
        };
        let Some((key, body)) = (if full { None } else { self.waiting.pop_front() }) else { return false };
        self.waits_waiting -= usize::from(is_wait(&body));
        let id = self.next_id();
        let said = encode(id, &body, buffer);
        self.remember(id, weight(&body), is_wait(&body), What::Request(key, body));
        said
    }

    /// Whether the next request is a wait, which changes nothing and so has no order to keep.
    pub(super) fn begins_with_wait(&self) -> bool {
        self.waiting.front().is_some_and(|(_, body)| is_wait(body))
    }

    /// Whether so much is unanswered that the hub would stop reading.
    fn is_full(&self) -> bool {
        self.asked.len() - self.waits >= REQUESTS_IN_FLIGHT_MAX
            || self.asked_bytes >= REQUEST_BYTES_IN_FLIGHT_MAX
    }

    fn say(&mut self, what: What, request: &Request, buffer: &mut Vec<u8>) -> bool {
        let id = self.next_id();
        self.remember(id, weight(request), false, what);
        encode(id, request, buffer)
    }

    fn remember(&mut self, id: RequestId, weight: usize, wait: bool, what: What) {
        self.asked_bytes += weight;
        self.waits += usize::from(wait);
        self.asked.insert(id, Asked { weight, wait, what });
    }

    fn next_key(&mut self) -> RequestKey {
        self.last_key += 1;
        RequestKey(self.last_key)
    }

    fn next_id(&mut self) -> RequestId {
        self.last_id += 1;
        RequestId(self.last_id)
    }

    /// Puts a request back to where its key belongs.
    fn wait_again(&mut self, key: RequestKey, body: Request) {
        self.waits_waiting += usize::from(is_wait(&body));
        let index = self.waiting.partition_point(|(waiting, _)| *waiting < key);
        self.waiting.insert(index, (key, body));
    }
}

fn is_wait(body: &Request) -> bool {
    matches!(body, Request::Wait(_))
}

/// Appends `SpokeMessage::Request { id, body }` without taking the body, which is kept for the case
/// that it must be said again. That it fits was checked when it came.
fn encode(id: RequestId, body: &Request, buffer: &mut Vec<u8>) -> bool {
    wire::encode(&(REQUEST_VARIANT, id, body), buffer).is_ok()
}

/// The place of `Request` among the variants of [`crate::message::SpokeMessage`].
const REQUEST_VARIANT: u32 = 1;

/// Whether `body` will fit a frame under any number.
fn check_size(body: &Request) -> Result<(), RequestError> {
    // Nearly all are far below, which this says without encoding them.
    let is_small = match body {
        Request::Append { events, .. } => {
            events.iter().map(bytes_at_most).sum::<usize>() <= FRAME_BYTES_MAX / 2
        }
        Request::Chain(_) => false,
        // Of the others, the longest is a filter with as many names as it may have.
        _ => true,
    };
    if is_small {
        return Ok(());
    }
    let found = wire::encoded_bytes(&(REQUEST_VARIANT, RequestId(u64::MAX), body));
    if found <= FRAME_BYTES_MAX {
        Ok(())
    } else {
        Err(RequestError::TooLarge { found, max: FRAME_BYTES_MAX })
    }
}

/// No fewer bytes than `event`, its expectation and its publisher have on the wire, the latter two
/// within the half of a frame that the caller leaves to them.
fn bytes_at_most(event: &NewEvent) -> usize {
    const NUMBERS: usize = 64;
    const LENGTH: usize = 5;
    let names = event.id.as_str().len()
        + event.domain.as_str().len()
        + event.pid.as_str().len()
        + event.name.as_str().len()
        + event.rid.as_ref().map_or(0, |rid| rid.as_str().len());
    let metadata: usize =
        event.metadata.0.iter().map(|(key, value)| key.len() + value.len() + 2 * LENGTH).sum();
    let eids: usize = event.eids.iter().map(|eid| eid.as_str().len() + LENGTH).sum();
    let cpids: usize = event
        .cpids
        .iter()
        .map(|cpid| cpid.domain.as_str().len() + cpid.pid.as_str().len() + 2 * LENGTH)
        .sum();
    NUMBERS + names + metadata + event.data.as_bytes().len() + eids + cpids
}

impl What {
    /// Whether `reply` is one to it.
    fn fits(&self, reply: &Reply) -> bool {
        match self {
            Self::Request(_, request) => fits(request, reply),
            Self::Chain(_, appends) => fits_chain(*appends, reply),
            Self::Forgotten => true,
            Self::Listen(_) => matches!(reply, Reply::Listening { .. }),
            Self::Leave(_) => matches!(reply, Reply::Left),
        }
    }
}

/// Whether `reply` is one to `request`.
fn fits(request: &Request, reply: &Reply) -> bool {
    match request {
        Request::Append { events, .. } => {
            matches!(reply, Reply::Appended(appended) if appended.len() == events.len())
        }
        Request::Consume(_) | Request::Subscribe(_) => matches!(reply, Reply::Listening { .. }),
        Request::Leave(_) => matches!(reply, Reply::Left),
        Request::Read(_) => matches!(reply, Reply::Page(_)),
        Request::Link(_) | Request::DeleteEvent(_) | Request::DeleteEventlog { .. } => {
            matches!(reply, Reply::Changed(_))
        }
        Request::Groups { .. } | Request::Group(_) => matches!(reply, Reply::Groups(_)),
        Request::Story(_) => matches!(reply, Reply::Story(_)),
        Request::Wait(_) => matches!(reply, Reply::Waited(_)),
        Request::Parked(_) => matches!(reply, Reply::Parked(_)),
        Request::Admin(request) => match reply {
            Reply::Admin(reply) => fits_admin(request, reply),
            _ => false,
        },
        Request::Renew { .. } => matches!(reply, Reply::Renewed(_)),
        Request::Outbox(_) => matches!(reply, Reply::Outbox(_)),
        Request::Chain(chain) => fits_chain(chain.appends(), reply),
        Request::Manage(_) => matches!(reply, Reply::GroupStatus(_)),
        Request::Schedule(request) => match reply {
            Reply::Schedule(reply) => fits_schedule(request, reply),
            _ => false,
        },
    }
}

/// Whether an operator's request was answered by a reply of its kind.
fn fits_admin(request: &AdminRequest, reply: &AdminReply) -> bool {
    match request {
        AdminRequest::Grants(_) => matches!(reply, AdminReply::Grants(_)),
        AdminRequest::Tokens(_) => matches!(reply, AdminReply::Tokens(_)),
        AdminRequest::Certs(_) => matches!(reply, AdminReply::Certs(_)),
        AdminRequest::Audit(_) => matches!(reply, AdminReply::Audit(_)),
    }
}

fn fits_chain(appends: usize, reply: &Reply) -> bool {
    match reply {
        Reply::Chained(Chained::Committed(appended)) => appended.len() == appends,
        Reply::Chained(Chained::Stale) => true,
        _ => false,
    }
}

fn fits_schedule(request: &ScheduleRequest, reply: &ScheduleReply) -> bool {
    match request {
        ScheduleRequest::Add(_) => matches!(reply, ScheduleReply::Added(_)),
        ScheduleRequest::Change { .. } => matches!(reply, ScheduleReply::Changed(_)),
        ScheduleRequest::Show(_) => matches!(reply, ScheduleReply::Shown(_)),
        ScheduleRequest::List(_) => matches!(reply, ScheduleReply::Listed(_)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SpokeMessage;

    #[test]
    fn a_borrowed_request_has_the_bytes_of_the_message() {
        let (id, body) = (RequestId(77), Request::Groups { after: None });
        let (mut borrowed, mut owned) = (Vec::new(), Vec::new());
        assert!(encode(id, &body, &mut borrowed));
        wire::encode(&SpokeMessage::Request { id, body }, &mut owned).unwrap();
        assert_eq!(borrowed, owned);
    }
}
