//! What a member collects while it works on a delivery, to take effect together with its ack.
//!
//! All of it is committed in one transaction with the ack, or none of it is. Until then it is here, within
//! limits; a handler that fails, panics or releases its delivery leaves nothing behind.

use proto::chain::{Effect, child_id};
use proto::limits::{CHAIN_BYTES_MAX, EFFECTS_PER_CHAIN_MAX};
use proto::message::Appended;
use proto::{Domain, Event, EventError, EventId, EventName, Expectation, GroupName, NewEvent, Pid, Refusal};
use tokio::sync::{mpsc, oneshot};

/// Metadata that a child has from its parent, unless it brings its own: the W3C trace context.
const INHERITED: [&str; 2] = ["traceparent", "tracestate"];

/// Why something was not collected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EffectError {
    /// No hub can take the event.
    #[error("event {id}: {source}")]
    Event {
        /// Which one.
        id: EventId,
        /// What is wrong with it.
        source: EventError,
    },
    /// There are as many effects as one ack may have.
    #[error("an ack can have {max} effects at most; publish the rest from another event")]
    TooMany {
        /// How many there may be.
        max: usize,
    },
    /// All of them together do not fit a frame.
    #[error("the effects of one ack would have {found} bytes; at most {max} are allowed")]
    TooLarge {
        /// Their bytes.
        found: usize,
        /// How many there may be.
        max: usize,
    },
}

/// Why effects were not committed, or why that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The hub said no: nothing was stored, and the delivery counts as failed for this reason.
    #[error("nothing of it was committed, and the delivery counts as failed: {0}")]
    Refused(Refusal),
    /// The delivery is not this member's any more: nothing was stored.
    #[error("nothing of it was committed: the event was given to another member meanwhile")]
    Stale,
    /// The link ended before the answer came. Either all of it is committed, or the event comes again.
    #[error("the link to the hub ended before it answered; if nothing was committed, the event comes again")]
    Unknown,
}

/// What is to take effect with an ack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) effects: Vec<Effect>,
    pub(crate) expectations: Vec<Expectation>,
}

impl Effects {
    pub(super) fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.expectations.is_empty()
    }

    fn add(&mut self, wish: Wish) {
        match wish {
            Wish::Effect(effect) => self.effects.push(*effect),
            Wish::Expectation(expectation) => self.expectations.push(expectation),
        }
    }
}

/// Whoever wants to know what came of an ack with effects.
pub(crate) type Told = oneshot::Sender<Result<Vec<Appended>, ChainError>>;

/// One thing that is collected.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    Effect(Box<Effect>),
    Expectation(Expectation),
}

/// What has been collected for one delivery.
#[derive(Debug)]
pub(super) struct Collected {
    group: GroupName,
    children: u32,
    bytes: usize,
    effects: Effects,
    way: Option<Way>,
}

/// The way to whoever runs the handler: what was collected before the handler ended takes effect with its
/// ack, wherever the delivery is then.
#[derive(Debug)]
enum Way {
    /// Most handlers collect nothing, and need no queue.
    Unopened(oneshot::Sender<mpsc::Receiver<Wish>>),
    Open(mpsc::Sender<Wish>),
}

/// The other end of the way.
#[derive(Debug)]
pub(super) struct Collecting(oneshot::Receiver<mpsc::Receiver<Wish>>);

impl Collecting {
    /// Everything that was collected until now.
    pub(super) fn take(mut self) -> Effects {
        let mut effects = Effects::default();
        if let Ok(mut wishes) = self.0.try_recv() {
            std::iter::from_fn(|| wishes.try_recv().ok()).for_each(|wish| effects.add(wish));
        }
        effects
    }
}

impl Collected {
    /// Nothing yet, by a member of `group`.
    pub(super) fn new(group: GroupName) -> Self {
        Self { group, children: 0, bytes: 0, effects: Effects::default(), way: None }
    }

    /// Nothing yet, and where a handler's collection is found when it has ended.
    pub(super) fn of_handler(group: GroupName) -> (Self, Collecting) {
        let (way, other) = oneshot::channel();
        (Self { way: Some(Way::Unopened(way)), ..Self::new(group) }, Collecting(other))
    }

    /// The next child of `parent`.
    pub(super) fn child(&mut self, parent: &Event, domain: Domain, pid: Pid, name: EventName) -> NewEvent {
        let id = child_id(parent, &self.group, self.children);
        self.children += 1;
        NewEvent::new(id, domain, pid, name)
    }

    /// `event` as one that follows from `parent`, if a hub can take it.
    pub(super) fn following(parent: &Event, mut event: NewEvent) -> Result<NewEvent, EffectError> {
        event.rid.get_or_insert_with(|| parent.id.clone());
        let brings_its_own = INHERITED.iter().any(|key| event.metadata.0.contains_key(*key));
        for key in INHERITED.iter().filter(|_| !brings_its_own) {
            if let Some(value) = parent.metadata.0.get(*key) {
                event.metadata.0.insert((*key).to_owned(), value.clone());
            }
        }
        match event.check() {
            Ok(()) => Ok(event),
            Err(source) => Err(EffectError::Event { id: event.id, source }),
        }
    }

    pub(super) fn effect(&mut self, effect: Effect) -> Result<(), EffectError> {
        let bytes = proto::wire::encoded_bytes(&effect);
        self.add(self.effects.effects.len(), bytes, Wish::Effect(Box::new(effect)))
    }

    pub(super) fn expect(&mut self, expectation: Expectation) -> Result<(), EffectError> {
        let bytes = proto::wire::encoded_bytes(&expectation);
        self.add(self.effects.expectations.len(), bytes, Wish::Expectation(expectation))
    }

    /// Adds `wish`, before which there are `found` of its kind.
    fn add(&mut self, found: usize, bytes: usize, wish: Wish) -> Result<(), EffectError> {
        if found >= EFFECTS_PER_CHAIN_MAX {
            return Err(EffectError::TooMany { max: EFFECTS_PER_CHAIN_MAX });
        }
        let found = self.bytes + bytes;
        if found > CHAIN_BYTES_MAX {
            return Err(EffectError::TooLarge { found, max: CHAIN_BYTES_MAX });
        }
        self.bytes = found;
        self.tell(&wish);
        self.effects.add(wish);
        Ok(())
    }

    fn tell(&mut self, wish: &Wish) {
        let queue = match self.way.take() {
            Some(Way::Open(queue)) => queue,
            Some(Way::Unopened(way)) => {
                // As many as can be collected, so that it is never full.
                let (queue, wishes) = mpsc::channel(2 * EFFECTS_PER_CHAIN_MAX);
                // The handler may be gone, and the delivery live on.
                let _ = way.send(wishes);
                queue
            }
            None => return,
        };
        let _ = queue.try_send(wish.clone());
        self.way = Some(Way::Open(queue));
    }

    /// All of it, to be said with an ack.
    pub(super) fn take(&mut self) -> Effects {
        self.bytes = 0;
        std::mem::take(&mut self.effects)
    }
}

#[cfg(test)]
mod tests {
    use proto::{Data, Metadata};

    use super::*;
    use crate::testing::{event, group};

    fn placed(collected: &mut Collected, parent: &Event) -> NewEvent {
        let [domain, pid, name] = ["bill", "1", "billed"];
        let (domain, pid) = (Domain::parse(domain).unwrap(), Pid::parse(pid).unwrap());
        collected.child(parent, domain, pid, EventName::parse(name).unwrap())
    }

    #[test]
    fn children_have_ids_of_their_own_that_are_the_same_again() {
        let ids = || {
            let (mut collected, parent) = (Collected::new(group()), event(7));
            [placed(&mut collected, &parent).id, placed(&mut collected, &parent).id]
        };
        assert_eq!(ids(), ids());
        assert_ne!(ids()[0], ids()[1]);
    }

    #[test]
    fn a_child_answers_its_parent_and_goes_on_with_its_trace() {
        let mut parent = event(7);
        let trace = |value: &str| Metadata([("traceparent".to_owned(), value.to_owned())].into());
        parent.metadata = trace("00-aa");
        parent.metadata.0.insert("actor".to_owned(), "mo".to_owned());
        let child = placed(&mut Collected::new(group()), &parent);
        let child = Collected::following(&parent, child).unwrap();
        assert_eq!((child.rid, child.metadata), (Some(parent.id.clone()), trace("00-aa")));

        let mut own = placed(&mut Collected::new(group()), &parent);
        own.rid = Some(EventId::parse("other").unwrap());
        own.metadata = trace("00-bb");
        assert_eq!(Collected::following(&parent, own.clone()), Ok(own));
    }

    #[test]
    fn what_a_handler_collects_is_found_also_while_its_delivery_lives_on() {
        let (mut collected, collecting) = Collected::of_handler(group());
        let child = placed(&mut collected, &event(7));
        collected.effect(Effect::Publish(child.clone())).unwrap();
        collected.effect(Effect::Persist(child.clone())).unwrap();
        let effects = collecting.take();
        assert_eq!(effects.effects, [Effect::Publish(child.clone()), Effect::Persist(child)]);
        // After its end nobody takes any more, and nothing breaks.
        collected.effect(Effect::Cancel(proto::chain::Which::Id(event(7).id))).unwrap();
    }

    #[test]
    fn a_handler_that_collects_nothing_has_no_effects() {
        let (collected, collecting) = Collected::of_handler(group());
        assert!(collecting.take().is_empty());
        drop(collected);
    }

    #[test]
    fn more_than_one_ack_can_hold_is_refused_where_it_is_collected() {
        let mut collected = Collected::new(group());
        let mut child = placed(&mut collected, &event(7));
        for _ in 0..EFFECTS_PER_CHAIN_MAX {
            collected.effect(Effect::Publish(child.clone())).unwrap();
        }
        let error = collected.effect(Effect::Publish(child.clone())).unwrap_err();
        assert_eq!(error, EffectError::TooMany { max: EFFECTS_PER_CHAIN_MAX });

        let mut collected = Collected::new(group());
        child.data = Data::parse(format!("\"{}\"", "x".repeat(1_000_000))).unwrap();
        collected.effect(Effect::Publish(child.clone())).unwrap();
        let error = collected.effect(Effect::Publish(child)).unwrap_err();
        assert!(matches!(error, EffectError::TooLarge { .. }), "{error}");
        assert_eq!(collected.take().effects.len(), 1);
    }
}
