//! One delivery in the hands of its member, and what the member says of it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use proto::chain::{Effect, Later};
use proto::limits::REASON_CHARS_MAX;
use proto::message::{Appended, Link, Verdict};
use proto::schedule::Which;
use proto::{
    Attempt, Domain, Event, EventName, Expectation, Expected, NewEvent, Pid, Position, ScheduleKey, Timestamp,
};
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::oneshot;

use super::chain::{ChainError, Collected, EffectError, Effects, Told};

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
    pub(super) word: Word,
}

/// The final word on a delivery.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) verdict: Verdict,
    /// What is to take effect with an ack.
    pub(super) effects: Effects,
    /// Who wants to know whether it did.
    pub(super) told: Option<Told>,
}

impl From<Verdict> for Word {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, effects: Effects::default(), told: None }
    }
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
/// What follows from the event can be collected here. It takes effect together with the ack, in one
/// transaction, or not at all:
///
/// ```
/// use eventflow_spoke::{Delivery, Domain, EventName, Failure};
///
/// async fn bill(mut delivery: Delivery) -> Result<(), Failure> {
///     let pid = delivery.event.pid.clone();
///     let billed = delivery.child(Domain::parse("bill")?, pid, EventName::parse("order billed")?);
///     delivery.publish(billed)?;
///     Ok(())
/// }
/// # let _ = bill;
/// ```
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
    collected: Collected,
}

impl Delivery {
    pub(super) fn new(
        event: Arc<Event>,
        attempt: Attempt,
        seat: Option<OwnedPermit<Said>>,
        dropped: Dropped,
        collected: Collected,
    ) -> Self {
        Self { event, attempt, seat, dropped, collected }
    }

    /// An event that follows from this one, to be filled and given to [`Delivery::publish`] or one of its
    /// like. Its id is made from this event's id, the group and how many children there were before, so a
    /// handler that runs again makes the same one.
    pub fn child(&mut self, domain: Domain, pid: Pid, name: EventName) -> NewEvent {
        self.collected.child(&self.event, domain, pid, name)
    }

    /// Publishes `event` with the ack: all that was collected is committed in one transaction with it, or
    /// nothing is. It answers this event (`rid`) and goes on with its trace context, unless it says else.
    ///
    /// # Errors
    /// [`EffectError`]: it was not collected.
    pub fn publish(&mut self, event: NewEvent) -> Result<(), EffectError> {
        let event = Collected::following(&self.event, event)?;
        self.collected.effect(Effect::Publish(event))
    }

    /// Stores `event` with the ack, without offering it to consumers. Else like [`Delivery::publish`].
    ///
    /// # Errors
    /// As [`Delivery::publish`].
    pub fn persist(&mut self, event: NewEvent) -> Result<(), EffectError> {
        let event = Collected::following(&self.event, event)?;
        self.collected.effect(Effect::Persist(event))
    }

    /// With the ack, has `event` published at `due`, or at once if that is past. It is like an event that is
    /// published in all else, and takes the place of a pending schedule of the same key.
    ///
    /// # Errors
    /// As [`Delivery::publish`].
    pub fn schedule(
        &mut self,
        due: Timestamp,
        key: Option<ScheduleKey>,
        event: NewEvent,
    ) -> Result<(), EffectError> {
        let event = Collected::following(&self.event, event)?;
        self.collected.effect(Effect::Schedule(Later { event, due, key }))
    }

    /// Cancels a schedule with the ack. One that is not pending any more is no obstacle.
    ///
    /// # Errors
    /// As [`Delivery::publish`].
    pub fn cancel(&mut self, which: Which) -> Result<(), EffectError> {
        self.collected.effect(Effect::Cancel(which))
    }

    /// Changes an event's links with the ack. If there is no such event then, nothing is committed.
    ///
    /// # Errors
    /// As [`Delivery::publish`].
    pub fn link(&mut self, change: Link) -> Result<(), EffectError> {
        self.collected.effect(Effect::Link(change))
    }

    /// What must be true of an eventlog when the ack is committed; else nothing is, and the delivery counts
    /// as failed.
    ///
    /// # Errors
    /// As [`Delivery::publish`].
    pub fn expect(&mut self, domain: Domain, pid: Pid, expected: Expected) -> Result<(), EffectError> {
        self.collected.expect(Expectation { domain, pid, expected })
    }

    /// Done. What was collected is committed with it; if the hub refuses that, the delivery counts as
    /// failed, which is logged.
    pub fn ack(mut self) {
        let effects = self.collected.take();
        self.say(Word { effects, ..Word::from(Verdict::Ack) });
    }

    /// Done, and waits until that is recorded and what was collected is committed. The answer has one entry
    /// for each published or persisted event.
    ///
    /// Dropping the future does not undo it. A handler may call this too; what it returns then says nothing
    /// more.
    ///
    /// # Errors
    /// [`ChainError`] says whether nothing was committed, or that this is not known.
    pub async fn commit(mut self) -> Result<Vec<Appended>, ChainError> {
        let (told, answer) = oneshot::channel();
        let effects = self.collected.take();
        self.say(Word { effects, told: Some(told), verdict: Verdict::Ack });
        answer.await.unwrap_or(Err(ChainError::Unknown))
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
        match outcome {
            Ok(()) => self.ack(),
            Err(failure) => self.say(failure.verdict().into()),
        }
    }

    /// The room for the answer was reserved with the delivery, so saying it never waits.
    fn say(&mut self, word: Word) {
        if let Some(seat) = self.seat.take() {
            drop(seat.send(Said { position: self.event.position, word }));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        match self.dropped {
            Dropped::Releases => self.say(Verdict::Release.into()),
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
    use crate::testing::{event, group};

    fn delivery(dropped: Dropped) -> (Delivery, mpsc::Receiver<Said>) {
        let (seats, said) = mpsc::channel(1);
        let seat = seats.try_reserve_owned().ok();
        (Delivery::new(Arc::new(event(7)), Attempt(1), seat, dropped, Collected::new(group())), said)
    }

    #[test]
    fn a_delivery_that_nobody_answers_is_released() {
        let (delivery, mut said) = delivery(Dropped::Releases);
        drop(delivery);
        let said = said.try_recv().unwrap();
        assert_eq!((said.position, said.word.verdict), (Position(7), Verdict::Release));
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
        assert_eq!(said.try_recv().unwrap().word.verdict, Verdict::Park { reason: "no use".into() });
        assert!(said.try_recv().is_err());
    }

    #[test]
    fn what_was_collected_goes_with_an_ack_and_with_nothing_else() {
        let chain = |end: fn(Delivery)| {
            let (mut delivery, mut said) = delivery(Dropped::Releases);
            delivery.cancel(Which::Id(event(3).id)).unwrap();
            end(delivery);
            said.try_recv().unwrap().word.effects.effects.len()
        };
        assert_eq!(chain(Delivery::ack), 1);
        assert_eq!(chain(|delivery| delivery.fail("no")), 0);
        assert_eq!(chain(Delivery::release), 0);
        assert_eq!(chain(drop), 0);
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
