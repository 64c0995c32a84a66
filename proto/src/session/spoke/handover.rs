//! One link takes the place of another, without anything being lost, repeated or told twice.
//!
//! The next link is greeted by a session of its own while the one in use works on. At the hand-over
//! every listener is said anew on it: consumers as further members of their groups, subscriptions after
//! the last event that they were told of. New requests go to it as soon as those that were said on the
//! link before are answered, so that their order holds; waits are asked again at once.

use std::time::Duration;

use super::retiring::{Heard, Retiring};
use super::{FromHub, Phase, SpokeSession};
use crate::limits::RETIRING_LINKS_MAX;
use crate::message::Welcome;
use crate::number::ListenerId;
use crate::refusal::Refusal;
use crate::session::Violation;

impl SpokeSession {
    /// A session that greets the hub over a further connection, which was made at `now`. When it is open,
    /// [`SpokeSession::hand_over`] takes it.
    #[must_use]
    pub fn successor(&self, now: Duration) -> Self {
        let mut next = Self::new(self.config.clone());
        next.connected(now);
        next
    }

    /// Goes on over the link that `next` has opened. The one before retires: see
    /// [`SpokeSession::retiring`].
    ///
    /// Whether it did; it does not if `next` is not open, or the last word was said.
    pub fn hand_over(&mut self, next: Self) -> bool {
        if !next.is_open() || self.outbox.is_over() {
            return false;
        }
        let before = self.link;
        self.link += 1;
        let phase = std::mem::replace(&mut self.phase, next.phase);
        if let Phase::Open(liveness) | Phase::Closing(liveness) = phase {
            let (members, leaving) = self.listeners.hand_over();
            self.ending.extend(leaving);
            let requests = self.requests.hand_over();
            let outbox = self.outbox.hand_over(next.outbox);
            self.retiring.insert(before, Retiring::new(liveness, requests, members, outbox));
        }
        for event in next.events {
            match event {
                FromHub::Welcome { welcome, .. } => self.welcomed_next(welcome),
                event => self.events.push_back(event),
            }
        }
        while self.retiring.len() > RETIRING_LINKS_MAX
            && let Some((&oldest, _)) = self.retiring.first_key_value()
        {
            self.retired(oldest);
        }
        true
    }

    /// The links before the one in use that are not over, by their numbers. Each has its own frames and
    /// timeouts, and is over when [`SpokeSession::is_retired`] says so or its connection is gone.
    pub fn retiring(&self) -> impl Iterator<Item = u64> + '_ {
        self.retiring.keys().copied()
    }

    /// Takes one frame's payload of a retiring link.
    ///
    /// # Errors
    /// [`Violation`]: the connection is to be closed, and [`SpokeSession::retired`] to be called.
    pub fn handle_retiring_frame(&mut self, link: u64, frame: &[u8], now: Duration) -> Result<(), Violation> {
        let Some(old) = self.retiring.get_mut(&link) else { return Ok(()) };
        match old.handle_frame(link, frame, now)? {
            Heard::Nothing => {}
            Heard::Event(event) => self.events.push_back(event),
            Heard::AskAgain => old.give_back(&mut self.requests),
            Heard::Left(listener, refusal) => self.let_go(listener, refusal),
        }
        Ok(())
    }

    /// Does what is due on a retiring link.
    ///
    /// # Errors
    /// As [`SpokeSession::handle_retiring_frame`].
    pub fn handle_retiring_timeout(&mut self, link: u64, now: Duration) -> Result<(), Violation> {
        self.retiring.get_mut(&link).map_or(Ok(()), |old| old.handle_timeout(now))
    }

    /// Appends the next frame's payload of a retiring link to `buffer`. `false` means that there is none.
    pub fn poll_retiring_frame(&mut self, link: u64, buffer: &mut Vec<u8>) -> bool {
        self.retiring.get_mut(&link).is_some_and(|old| old.poll_frame(buffer))
    }

    /// When [`SpokeSession::handle_retiring_timeout`] is to be called, if it is.
    #[must_use]
    pub fn poll_retiring_timeout(&self, link: u64) -> Option<Duration> {
        self.retiring.get(&link).map(Retiring::due)
    }

    /// Whether a retiring link has said its last word: its connection is to be closed, and
    /// [`SpokeSession::retired`] to be called.
    #[must_use]
    pub fn is_retired(&self, link: u64) -> bool {
        self.retiring.get(&link).is_none_or(Retiring::is_over)
    }

    /// A retiring link is gone. What was not answered on it is asked again on the one in use; what was
    /// delivered on it is dead.
    pub fn retired(&mut self, link: u64) {
        let Some(mut old) = self.retiring.remove(&link) else { return };
        for key in old.lost(&mut self.requests) {
            self.events.push_back(FromHub::Lost { key });
        }
        old.listeners().for_each(|listener| self.let_go(listener, None));
    }

    /// Whether deliveries of `link` can still be answered.
    #[must_use]
    pub fn is_alive(&self, link: u64) -> bool {
        self.is_linked(link) || self.retiring.contains_key(&link)
    }

    /// Whether `link` is the one in use, and is up.
    pub(super) fn is_linked(&self, link: u64) -> bool {
        link == self.link && matches!(self.phase, Phase::Open(_) | Phase::Closing(_))
    }

    /// Whether everything that was said before on other links is answered.
    pub(super) fn in_order(&self) -> bool {
        self.retiring.values().all(|old| old.said() == 0)
    }

    /// A listener is over on the link in use, and leaves the others.
    pub(super) fn over(&mut self, listener: ListenerId, refusal: Option<Refusal>) {
        self.retiring.values_mut().for_each(|old| old.leave(listener));
        if refusal.is_none() && self.retiring.values().any(|old| old.has(listener)) {
            self.ending.insert(listener);
        } else {
            self.events.push_back(FromHub::ListenerClosed { listener, refusal });
        }
    }

    /// A retiring link has let go of a listener.
    fn let_go(&mut self, listener: ListenerId, refusal: Option<Refusal>) {
        if !self.retiring.values().any(|old| old.has(listener)) && self.ending.remove(&listener) {
            self.events.push_back(FromHub::ListenerClosed { listener, refusal });
        }
    }

    fn welcomed_next(&mut self, welcome: Welcome) {
        let incarnation = welcome.incarnation;
        self.events.push_back(FromHub::Welcome { link: self.link, welcome });
        self.of_log(incarnation);
    }
}
