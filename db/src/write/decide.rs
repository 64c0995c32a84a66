//! Decides a batch of appends: who is stored, where, and who is refused.
//!
//! It is pure. What is known of the log comes in, outcomes and places come out, and nothing counts
//! until the writer has committed them against the head that the knowledge belongs to. Requests are
//! looked at in the order of asking; each is granted or refused as a whole, and a refused one
//! leaves no trace for those after it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use proto::limits::EVENTS_PER_APPEND_MAX;
use proto::message::{Appended, Stored};
use proto::{Domain, EventId, Expectation, Pid, Position, Refusal, Version};

use crate::write::append::{Append, Prepared};

/// The name of an eventlog.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Eventlog {
    pub(crate) domain: Domain,
    pub(crate) pid: Pid,
}

impl Eventlog {
    pub(crate) fn of(event: &Prepared) -> Self {
        Self { domain: event.event.domain.clone(), pid: event.event.pid.clone() }
    }

    pub(crate) fn named_by(expectation: &Expectation) -> Self {
        Self { domain: expectation.domain.clone(), pid: expectation.pid.clone() }
    }
}

/// Where an id is taken, and by which content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) position: Position,
    pub(crate) version: Version,
    /// `None` once the event is emptied: then any content is a repetition.
    pub(crate) digest: Option<[u8; 16]>,
}

/// What is known of the log, as of `head`.
#[derive(Debug, Default, Clone)]
pub(crate) struct Known {
    /// The last position.
    pub(crate) head: Position,
    /// The last version of every eventlog that the batch concerns.
    pub(crate) versions: HashMap<Eventlog, Version>,
    /// The ids of the batch that are taken, if somebody has looked.
    pub(crate) taken: Option<HashMap<EventId, Taken>>,
}

/// What is to become of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    /// Somebody may be refused for what is really a repetition: look the ids up, decide again.
    LookUp,
    /// This.
    Ready(Decision),
}

/// Outcomes by request, and what they make of the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// One for each request.
    pub(crate) outcomes: Vec<Result<Vec<Appended>, Refusal>>,
    /// Which events are new, as (request, event), by position.
    pub(crate) new: Vec<(usize, usize)>,
    /// The last position after it.
    pub(crate) head: Position,
    /// The last versions after it, of all eventlogs that the batch concerns.
    pub(crate) versions: HashMap<Eventlog, Version>,
}

impl Decision {
    /// The decision on no appends at all.
    pub(crate) fn nothing(head: Position) -> Self {
        Self { outcomes: Vec::new(), new: Vec::new(), head, versions: HashMap::new() }
    }
}

/// Decides `requests` and gives positions and versions to the events that are new.
pub(crate) fn decide<'a>(requests: impl IntoIterator<Item = &'a mut Append>, known: Known) -> Decided {
    let Known { head, versions, taken } = known;
    let looked_up = taken.is_some();
    let mut batch = Batch { head, versions, taken: taken.unwrap_or_default() };
    let (mut outcomes, mut new) = (Vec::new(), Vec::new());
    for (index, request) in requests.into_iter().enumerate() {
        // What an earlier decision said no longer counts.
        request.events.iter_mut().for_each(|event| event.event.position = Position(0));
        match batch.check(request) {
            Ok(()) => outcomes.push(Ok(batch.place(request, index, &mut new))),
            Err(_) if !looked_up => return Decided::LookUp,
            Err(refusal) => outcomes.push(Err(refusal)),
        }
    }
    Decided::Ready(Decision { outcomes, new, head: batch.head, versions: batch.versions })
}

/// The log as it will be after the requests that were granted so far.
struct Batch {
    head: Position,
    versions: HashMap<Eventlog, Version>,
    taken: HashMap<EventId, Taken>,
}

impl Batch {
    fn version(&self, eventlog: &Eventlog) -> Version {
        self.versions.get(eventlog).copied().unwrap_or_default()
    }

    /// Whether all of `request` can be granted.
    fn check(&self, request: &Append) -> Result<(), Refusal> {
        let events = request.events.len();
        if events == 0 || events > EVENTS_PER_APPEND_MAX {
            return Err(Refusal::Invalid {
                reason: format!("the append has {events} events; give it 1 to {EVENTS_PER_APPEND_MAX}"),
            });
        }
        let mut own: HashMap<&EventId, (&[u8; 16], Position)> = HashMap::new();
        let mut repeated = 0;
        for event in &request.events {
            let conflict = |position| Refusal::Conflict { id: event.event.id.clone(), position };
            if let Some(taken) = self.taken.get(&event.event.id) {
                if taken.digest.is_some_and(|digest| digest != event.digest) {
                    return Err(conflict(taken.position));
                }
                repeated += 1;
            } else if events > 1
                && let Some((digest, position)) =
                    own.insert(&event.event.id, (&event.digest, self.head.next()))
                && *digest != event.digest
            {
                return Err(conflict(position));
            }
        }
        // A repetition is answered like the first time, whatever has happened since.
        if repeated < events { self.check_expectations(&request.expectations) } else { Ok(()) }
    }

    fn check_expectations(&self, expectations: &[Expectation]) -> Result<(), Refusal> {
        for expectation in expectations {
            let actual = self.version(&Eventlog::named_by(expectation));
            if !expectation.expected.holds(actual) {
                let Expectation { domain, pid, expected } = expectation.clone();
                return Err(Refusal::WrongVersion { domain, pid, expected, actual });
            }
        }
        Ok(())
    }

    /// Gives each new event of `request` the next position and version.
    fn place(&mut self, request: &mut Append, index: usize, new: &mut Vec<(usize, usize)>) -> Vec<Appended> {
        let mut appended = Vec::with_capacity(request.events.len());
        for (at, event) in request.events.iter_mut().enumerate() {
            let vacant = match self.taken.entry(event.event.id.clone()) {
                Entry::Vacant(vacant) => vacant,
                Entry::Occupied(taken) => {
                    let Taken { position, version, .. } = *taken.get();
                    appended.push(Appended { position, version, stored: Stored::Before });
                    continue;
                }
            };
            let last = self.versions.entry(Eventlog::of(event)).or_default();
            *last = Version(last.0.saturating_add(1));
            self.head = self.head.next();
            let (position, version) = (self.head, *last);
            event.event.position = position;
            event.event.version = version;
            vacant.insert(Taken { position, version, digest: Some(event.digest) });
            new.push((index, at));
            appended.push(Appended { position, version, stored: Stored::Now });
        }
        appended
    }
}

#[cfg(test)]
mod tests {
    use proto::{Data, EventName, Expected, NewEvent, Timestamp};

    use super::*;

    fn event(id: &str, pid: &str, data: &str) -> NewEvent {
        let name = EventName::parse("placed").unwrap();
        let id = EventId::parse(id).unwrap();
        let mut event = NewEvent::new(id, Domain::parse("order").unwrap(), Pid::parse(pid).unwrap(), name);
        event.data = Data::parse(data.to_owned()).unwrap();
        event
    }

    fn expect(pid: &str, expected: Expected) -> Expectation {
        Expectation { domain: Domain::parse("order").unwrap(), pid: Pid::parse(pid).unwrap(), expected }
    }

    fn append(events: &[(&str, &str)], expectations: Vec<Expectation>) -> Append {
        let events = events.iter().map(|(id, pid)| event(id, pid, "{}")).collect();
        Append::new(events, Vec::new(), Timestamp::default(), expectations)
    }

    fn known(head: u64, versions: &[(&str, u64)]) -> Known {
        let eventlog =
            |pid: &str| Eventlog { domain: Domain::parse("order").unwrap(), pid: Pid::parse(pid).unwrap() };
        let versions = versions.iter().map(|(pid, version)| (eventlog(pid), Version(*version))).collect();
        Known { head: Position(head), versions, taken: None }
    }

    fn looked_up(mut known: Known, taken: &[(&str, u64)]) -> Known {
        let digest = Some(append(&[("x", "1")], vec![]).events[0].digest);
        let entry = |(id, position): &(&str, u64)| {
            (
                EventId::parse(id).unwrap(),
                Taken { position: Position(*position), version: Version(1), digest },
            )
        };
        known.taken = Some(taken.iter().map(entry).collect());
        known
    }

    fn ready(requests: &mut [Append], known: &Known) -> Decision {
        match decide(requests, known.clone()) {
            Decided::Ready(decision) => decision,
            Decided::LookUp => panic!("ids are to be looked up"),
        }
    }

    fn places(outcome: &Result<Vec<Appended>, Refusal>) -> Vec<(u64, u64, bool)> {
        let place = |a: &Appended| (a.position.0, a.version.0, a.stored == Stored::Now);
        outcome.as_ref().unwrap().iter().map(place).collect()
    }

    #[test]
    fn positions_and_versions_count_on_over_requests() {
        let mut requests = [append(&[("a", "1"), ("b", "2")], vec![]), append(&[("c", "1")], vec![])];
        let decision = ready(&mut requests, &known(41, &[("1", 7)]));
        assert_eq!(places(&decision.outcomes[0]), [(42, 8, true), (43, 1, true)]);
        assert_eq!(places(&decision.outcomes[1]), [(44, 9, true)]);
        assert_eq!((decision.head, decision.new), (Position(44), vec![(0, 0), (0, 1), (1, 0)]));
    }

    #[test]
    fn a_repetition_in_the_same_batch_gets_the_first_position() {
        let mut requests = [append(&[("a", "1"), ("a", "1")], vec![]), append(&[("a", "1")], vec![])];
        let decision = ready(&mut requests, &known(0, &[]));
        assert_eq!(places(&decision.outcomes[0]), [(1, 1, true), (1, 1, false)]);
        assert_eq!(places(&decision.outcomes[1]), [(1, 1, false)]);
        assert_eq!(decision.head, Position(1));
    }

    #[test]
    fn an_id_with_other_content_is_a_conflict_for_its_request_only() {
        let other = vec![event("a", "1", "[1]")];
        let other = Append::new(other, Vec::new(), Timestamp::default(), Vec::new());
        let mut requests = [append(&[("a", "1")], vec![]), other, append(&[("b", "1")], vec![])];
        assert_eq!(decide(&mut requests, known(0, &[])), Decided::LookUp);
        let decision = ready(&mut requests, &looked_up(known(0, &[]), &[]));
        assert!(matches!(decision.outcomes[1], Err(Refusal::Conflict { position: Position(1), .. })));
        assert_eq!(places(&decision.outcomes[2]), [(2, 2, true)]);
    }

    #[test]
    fn one_id_with_two_contents_in_one_append_is_a_conflict() {
        let events = vec![event("a", "1", "[1]"), event("a", "1", "[2]")];
        let mut requests = [Append::new(events, Vec::new(), Timestamp::default(), Vec::new())];
        let decision = ready(&mut requests, &looked_up(known(0, &[]), &[]));
        assert!(matches!(decision.outcomes[0], Err(Refusal::Conflict { .. })));
        assert_eq!(decision.head, Position(0));
    }

    #[test]
    fn expectations_see_what_earlier_requests_of_the_batch_add() {
        let exactly = |version| vec![expect("1", Expected::Exactly(Version(version)))];
        let mut requests = [
            append(&[("a", "1")], exactly(7)),
            append(&[("b", "1")], exactly(7)),
            append(&[("c", "1")], exactly(8)),
        ];
        let decision = ready(&mut requests, &looked_up(known(9, &[("1", 7)]), &[]));
        assert_eq!(places(&decision.outcomes[0]), [(10, 8, true)]);
        let refused = &decision.outcomes[1];
        assert!(matches!(refused, Err(Refusal::WrongVersion { actual: Version(8), .. })), "{refused:?}");
        assert_eq!(places(&decision.outcomes[2]), [(11, 9, true)]);
    }

    #[test]
    fn a_refused_append_over_several_eventlogs_leaves_no_trace() {
        let wrong = vec![expect("1", Expected::Any), expect("2", Expected::Exists)];
        let mut requests = [append(&[("a", "1"), ("b", "2")], wrong), append(&[("c", "1")], vec![])];
        let decision = ready(&mut requests, &looked_up(known(0, &[]), &[]));
        assert!(decision.outcomes[0].is_err());
        assert_eq!(places(&decision.outcomes[1]), [(1, 1, true)]);
    }

    #[test]
    fn a_whole_repetition_is_answered_before_its_expectations() {
        let none = || vec![expect("1", Expected::None)];
        let mut requests = [append(&[("x", "1")], none())];
        assert_eq!(decide(&mut requests, known(5, &[("1", 3)])), Decided::LookUp);
        let taken = looked_up(known(5, &[("1", 3)]), &[("x", 2)]);
        assert_eq!(places(&ready(&mut requests, &taken).outcomes[0]), [(2, 1, false)]);
        let mut partly = [append(&[("x", "1"), ("y", "1")], none())];
        assert!(matches!(ready(&mut partly, &taken).outcomes[0], Err(Refusal::WrongVersion { .. })));
    }

    #[test]
    fn an_emptied_event_takes_every_repetition() {
        let mut taken = looked_up(known(5, &[]), &[("x", 2)]);
        taken.taken.as_mut().unwrap().values_mut().for_each(|taken| taken.digest = None);
        let mut requests =
            [Append::new(vec![event("x", "9", "[1]")], Vec::new(), Timestamp::default(), vec![])];
        assert_eq!(places(&ready(&mut requests, &taken).outcomes[0]), [(2, 1, false)]);
    }

    #[test]
    fn an_append_without_events_or_with_too_many_is_refused() {
        let none = looked_up(known(0, &[]), &[]);
        assert!(ready(&mut [append(&[], vec![])], &none).outcomes[0].is_err());
        let events = (0..=EVENTS_PER_APPEND_MAX).map(|at| event(&at.to_string(), "1", "{}")).collect();
        let mut requests = [Append::new(events, Vec::new(), Timestamp::default(), vec![])];
        assert!(ready(&mut requests, &none).outcomes[0].is_err());
    }
}
