//! Decides a batch of appends: who is stored, where, and who is refused.
//!
//! It is pure. What is known of the log comes in, outcomes and places come out, and nothing counts
//! until the writer has committed them against the head that the knowledge belongs to. Requests are
//! looked at in the order of asking; each is granted or refused as a whole, and a refused one
//! leaves no trace for those after it.

use std::collections::hash_map::Entry;

use proto::limits::EVENTS_PER_APPEND_MAX;
use proto::message::{Appended, Stored};
use proto::{Domain, EventId, Expectation, Pid, Position, Refusal, Version};

use crate::write::append::{Append, Prepared};
use crate::write::plan::Plan;
use crate::write::versions::{Map, Versions};

/// The name of an eventlog.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Eventlog {
    pub(crate) domain: Domain,
    pub(crate) pid: Pid,
}

impl std::fmt::Display for Eventlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.domain, self.pid)
    }
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

/// Why a request cannot be decided yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Undecided {
    /// The last version of an eventlog that it concerns is not known.
    Unknown,
    /// It might be refused for what is really a repetition: look the ids up, decide all again.
    LookUp,
}

/// Outcomes by request, and what they make of the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// One for each request.
    pub(crate) outcomes: Vec<Result<Vec<Appended>, Refusal>>,
    /// Which events are new, as (request, event), by position.
    pub(crate) new: Vec<(usize, usize)>,
    /// The last position after it.
    pub(crate) head: Position,
    /// What becomes of the schedules of the same batch.
    pub(crate) plan: Plan,
}

/// A batch as far as it is decided. New events count on the versions that it is given; if they are not
/// stored after all, [`Draft::undo`] takes that back.
#[derive(Debug)]
pub(crate) struct Draft {
    decision: Decision,
    taken: Map<EventId, Taken>,
    looked_up: bool,
}

impl Draft {
    /// A draft of what follows `head`, by one who has not looked whether ids are taken.
    pub(crate) fn new(head: Position) -> Self {
        let decision = Decision { head, ..Decision::default() };
        Self { decision, taken: Map::default(), looked_up: false }
    }

    /// The same by one who has: these are.
    pub(crate) fn looked_up(head: Position, taken: Map<EventId, Taken>) -> Self {
        Self { taken, looked_up: true, ..Self::new(head) }
    }

    /// How many requests are decided.
    pub(crate) fn decided(&self) -> usize {
        self.decision.outcomes.len()
    }

    pub(crate) fn finish(self) -> Decision {
        self.decision
    }

    /// Decides the next request: gives positions and versions to the events that are new, or refuses
    /// it. What cannot be decided leaves no trace.
    pub(crate) fn decide(&mut self, request: &mut Append, versions: &mut Versions) -> Result<(), Undecided> {
        // What an earlier decision said no longer counts.
        request.events.iter_mut().for_each(|event| event.event.position = Position(0));
        let events = request.events.iter().map(Eventlog::of);
        let concerned = events.chain(request.expectations.iter().map(Eventlog::named_by));
        for eventlog in concerned {
            versions.find(&eventlog).ok_or(Undecided::Unknown)?;
        }
        let outcome = match self.check(request, versions) {
            Ok(()) => Ok(self.place(request, versions)),
            Err(_) if !self.looked_up => return Err(Undecided::LookUp),
            Err(refusal) => Err(refusal),
        };
        self.decision.outcomes.push(outcome);
        Ok(())
    }

    /// Takes all that was counted on `versions` back.
    pub(crate) fn undo<'a>(self, requests: impl IntoIterator<Item = &'a Append>, versions: &mut Versions) {
        let mut new = self.decision.new.iter().peekable();
        for (index, request) in requests.into_iter().enumerate() {
            for (at, event) in request.events.iter().enumerate() {
                if new.next_if(|place| **place == (index, at)).is_some() {
                    versions.uncount(&Eventlog::of(event));
                }
            }
        }
    }

    /// Whether all of `request` can be granted.
    fn check(&self, request: &Append, versions: &mut Versions) -> Result<(), Refusal> {
        let events = request.events.len();
        if !(request.events_min..=EVENTS_PER_APPEND_MAX).contains(&events) {
            return Err(Refusal::Invalid {
                reason: format!("the append has {events} events; give it 1 to {EVENTS_PER_APPEND_MAX}"),
            });
        }
        let mut own: Map<&EventId, (&[u8; 16], Position)> = Map::default();
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
                    own.insert(&event.event.id, (&event.digest, self.decision.head.next()))
                && *digest != event.digest
            {
                return Err(conflict(position));
            }
        }
        // A repetition is answered like the first time, whatever has happened since.
        let is_repetition = events > 0 && repeated == events;
        if !is_repetition { check_expectations(&request.expectations, versions) } else { Ok(()) }
    }

    /// Gives each new event of `request` the next position and version.
    fn place(&mut self, request: &mut Append, versions: &mut Versions) -> Vec<Appended> {
        let index = self.decided();
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
            let version = versions.count(Eventlog::of(event));
            let position = self.decision.head.next();
            self.decision.head = position;
            event.event.position = position;
            event.event.version = version;
            vacant.insert(Taken { position, version, digest: Some(event.digest) });
            self.decision.new.push((index, at));
            appended.push(Appended { position, version, stored: Stored::Now });
        }
        appended
    }
}

fn check_expectations(expectations: &[Expectation], versions: &mut Versions) -> Result<(), Refusal> {
    for expectation in expectations {
        let actual = versions.find(&Eventlog::named_by(expectation)).unwrap_or_default();
        if !expectation.expected.holds(actual) {
            let Expectation { domain, pid, expected } = expectation.clone();
            return Err(Refusal::WrongVersion { domain, pid, expected, actual });
        }
    }
    Ok(())
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

    fn eventlog(pid: &str) -> Eventlog {
        Eventlog { domain: Domain::parse("order").unwrap(), pid: Pid::parse(pid).unwrap() }
    }

    /// What is known of the log: every eventlog of these tests, and ids if somebody has looked.
    #[derive(Clone)]
    struct Known {
        head: Position,
        versions: Vec<(Eventlog, Version)>,
        taken: Option<Map<EventId, Taken>>,
    }

    fn known(head: u64, versions: &[(&str, u64)]) -> Known {
        let of = |pid: &str| versions.iter().find(|(of, _)| *of == pid).map_or(0, |(_, version)| *version);
        let versions = ["1", "2", "9"].map(|pid| (eventlog(pid), Version(of(pid)))).to_vec();
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

    fn decide(requests: &mut [Append], known: Known) -> Result<Decision, Undecided> {
        let mut versions = Versions::default();
        known.versions.into_iter().for_each(|(eventlog, version)| versions.remember(eventlog, version));
        let mut draft = match known.taken {
            Some(taken) => Draft::looked_up(known.head, taken),
            None => Draft::new(known.head),
        };
        requests.iter_mut().try_for_each(|request| draft.decide(request, &mut versions))?;
        Ok(draft.finish())
    }

    fn ready(requests: &mut [Append], known: &Known) -> Decision {
        decide(requests, known.clone()).unwrap()
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
        assert_eq!(decide(&mut requests, known(0, &[])), Err(Undecided::LookUp));
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
        assert_eq!(decide(&mut requests, known(5, &[("1", 3)])), Err(Undecided::LookUp));
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

    #[test]
    fn what_is_not_known_waits_and_leaves_no_trace() {
        let mut versions = Versions::default();
        versions.remember(eventlog("1"), Version(7));
        let mut draft = Draft::new(Position(3));
        let mut half_known = append(&[("a", "1"), ("b", "2")], vec![]);
        assert_eq!(draft.decide(&mut half_known, &mut versions), Err(Undecided::Unknown));
        assert_eq!((draft.decided(), &draft.decision), (0, &Draft::new(Position(3)).decision));
        assert_eq!(versions.find(&eventlog("1")), Some(Version(7)));
        versions.remember(eventlog("2"), Version(0));
        assert_eq!(draft.decide(&mut half_known, &mut versions), Ok(()));
        assert_eq!(places(&draft.finish().outcomes[0]), [(4, 8, true), (5, 1, true)]);
    }

    #[test]
    fn an_undone_draft_leaves_versions_as_they_were() {
        let mut versions = Versions::default();
        versions.remember(eventlog("1"), Version(7));
        let mut requests = [append(&[("a", "1"), ("a", "1")], vec![]), append(&[("b", "1")], vec![])];
        let mut draft = Draft::new(Position(3));
        requests.iter_mut().for_each(|request| draft.decide(request, &mut versions).unwrap());
        assert_eq!(versions.find(&eventlog("1")), Some(Version(9)));
        draft.undo(&requests, &mut versions);
        assert_eq!(versions.find(&eventlog("1")), Some(Version(7)));
    }
}
