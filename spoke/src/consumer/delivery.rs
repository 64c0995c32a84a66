//! One delivery in the hands of its member, and what the member says of it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use proto::limits::REASON_CHARS_MAX;
use proto::message::Verdict;
use proto::{Attempt, Event, Position};
use tokio::sync::mpsc::OwnedPermit;

/// The longest wait that a member may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a handler did not do its work, and what is to become of the event.
///
/// Every error turns into one by `?`, with its causes in the reason: the event is tried again.
///
/// ```
/// use std::time::Duration;
/// use eventflow_spoke::{Delivery, Failure};
///
/// async fn bill(delivery: Delivery) -> Result<(), Failure> {
///     let amount: u64 = delivery.event.data.to()?;
///     match amount {
///         0 => Err(Failure::park("an order of nothing cannot be billed")),
///         1..=9 => Err(Failure::retry_after("too small, wait for more", Duration::from_secs(60))),
///         _ => Ok(()),
///     }
/// }
/// # let _ = bill;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(Verdict);

impl Failure {
    /// It failed: it counts as a try and comes again after the group's back-off.
    #[must_use]
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self(Verdict::Fail { reason: cut(reason), after_ms: None })
    }

    /// It failed: it counts as a try and comes again after `wait`, at most a day.
    #[must_use]
    pub fn retry_after(reason: impl fmt::Display, wait: Duration) -> Self {
        let after_ms = u32::try_from(wait.min(RETRY_AFTER_MAX).as_millis()).ok();
        Self(Verdict::Fail { reason: cut(reason), after_ms })
    }

    /// Trying again is no use: it is parked for a person.
    #[must_use]
    pub fn park(reason: impl fmt::Display) -> Self {
        Self(Verdict::Park { reason: cut(reason) })
    }

    /// It was not touched: it does not count as a try, and another member may get it.
    #[must_use]
    pub fn release() -> Self {
        Self(Verdict::Release)
    }

    /// Why, for people; empty for a release.
    #[must_use]
    pub fn reason(&self) -> &str {
        match &self.0 {
            Verdict::Fail { reason, .. } | Verdict::Park { reason } => reason,
            Verdict::Ack | Verdict::Release | Verdict::Progress => "",
        }
    }

    pub(super) fn verdict(self) -> Verdict {
        self.0
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason = format!("{reason}: {error}");
            cause = error.source();
        }
        Self::retry(reason)
    }
}

/// A reason as it may go over the wire.
fn cut(reason: impl fmt::Display) -> String {
    reason.to_string().chars().take(REASON_CHARS_MAX).collect()
}

/// What was said of one delivery.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) position: Position,
    pub(super) verdict: Verdict,
}

/// What it means when a delivery is dropped without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// It is released: nobody else answers for it.
    Releases,
    /// Nothing: what its handler returns is the answer.
    SaysNothing,
}

/// An event that this member was given. While it is held its deadline is extended by itself.
///
/// A handler answers by what it returns. Someone who takes deliveries from a
/// [`crate::DeliveryStream`] answers with the methods, and a delivery that is dropped is released.
#[must_use = "a dropped delivery comes again"]
pub struct Delivery {
    /// The event.
    pub event: Arc<Event>,
    /// Which try this is, from 1.
    pub attempt: Attempt,
    seat: Option<OwnedPermit<Said>>,
    dropped: Dropped,
}

impl Delivery {
    pub(super) fn new(
        event: Arc<Event>,
        attempt: Attempt,
        seat: Option<OwnedPermit<Said>>,
        dropped: Dropped,
    ) -> Self {
        Self { event, attempt, seat, dropped }
    }

    /// Done.
    pub fn ack(mut self) {
        self.say(Verdict::Ack);
    }

    /// Failed: it comes again after the group's back-off.
    pub fn fail(self, reason: impl fmt::Display) {
        self.answer(Err(Failure::retry(reason)));
    }

    /// Failed: it comes again after `wait`, at most a day.
    pub fn fail_after(self, reason: impl fmt::Display, wait: Duration) {
        self.answer(Err(Failure::retry_after(reason, wait)));
    }

    /// Trying again is no use: it is parked for a person.
    pub fn park(self, reason: impl fmt::Display) {
        self.answer(Err(Failure::park(reason)));
    }

    /// Given back untouched.
    pub fn release(self) {
        self.answer(Err(Failure::release()));
    }

    /// Says what a handler's outcome says.
    pub fn answer(mut self, outcome: Result<(), Failure>) {
        self.say(outcome.map_or_else(Failure::verdict, |()| Verdict::Ack));
    }

    /// The room for the answer was reserved with the delivery, so saying it never waits.
    fn say(&mut self, verdict: Verdict) {
        if let Some(seat) = self.seat.take() {
            drop(seat.send(Said { position: self.event.position, verdict }));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        match self.dropped {
            Dropped::Releases => self.say(Verdict::Release),
            Dropped::SaysNothing => {}
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.event.id)
            .field("position", &self.event.position)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::testing::event;

    fn delivery(dropped: Dropped) -> (Delivery, mpsc::Receiver<Said>) {
        let (seats, said) = mpsc::channel(1);
        let seat = seats.try_reserve_owned().ok();
        (Delivery::new(Arc::new(event(7)), Attempt(1), seat, dropped), said)
    }

    #[test]
    fn a_delivery_that_nobody_answers_is_released() {
        let (delivery, mut said) = delivery(Dropped::Releases);
        drop(delivery);
        let said = said.try_recv().unwrap();
        assert_eq!((said.position, said.verdict), (Position(7), Verdict::Release));
    }

    #[test]
    fn a_handler_that_drops_its_delivery_has_said_nothing_yet() {
        let (delivery, mut said) = delivery(Dropped::SaysNothing);
        drop(delivery);
        assert!(said.try_recv().is_err());
    }

    #[test]
    fn a_delivery_is_answered_once() {
        let (delivery, mut said) = delivery(Dropped::Releases);
        delivery.park("no use");
        assert_eq!(said.try_recv().unwrap().verdict, Verdict::Park { reason: "no use".into() });
        assert!(said.try_recv().is_err());
    }

    #[test]
    fn an_error_becomes_a_reason_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("the order was not billed")]
        struct NotBilled(#[source] fmt::Error);
        let failure = Failure::from(NotBilled(fmt::Error));
        assert!(failure.reason().starts_with("the order was not billed: "), "{}", failure.reason());
        assert!(matches!(failure.verdict(), Verdict::Fail { after_ms: None, .. }));
    }

    #[test]
    fn reasons_and_waits_are_cut_to_what_the_wire_takes() {
        assert_eq!(Failure::retry("ö".repeat(9_999)).reason().chars().count(), REASON_CHARS_MAX);
        let failure = Failure::retry_after("later", Duration::MAX);
        assert!(matches!(failure.verdict(), Verdict::Fail { after_ms: Some(86_400_000), .. }));
    }
}
