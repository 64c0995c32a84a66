//! The deliveries that a member holds, from their arrival to its answer: pure.
//!
//! Several connections may be up at a time; each delivery is answered on its own. A delivery of a
//! connection that is gone is dead: the hub gives the event out again. If its handler still runs when the
//! event comes again, it is not started a second time; what it says answers the new delivery. One that had
//! not been started is forgotten.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use proto::chain::Chain;
use proto::message::{Answer, Verdict};
use proto::{Attempt, Event, ListenerId, Position};
use tokio::time::Instant;

use super::chain::{Effects, Told};
use super::delivery::Word;
use crate::link::{Arrival, Links};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Started { at: Instant },
}

#[derive(Debug)]
struct Open {
    event: Arc<Event>,
    attempt: Attempt,
    connection: u64,
    stage: Stage,
}

/// Every delivery that has come and is not answered, and the answers that are to be sent.
#[derive(Debug)]
pub(super) struct Held {
    listener: ListenerId,
    /// The connections that are up.
    links: Links,
    waiting: VecDeque<Position>,
    open: HashMap<Position, Open>,
    /// By connection.
    answers: BTreeMap<u64, Vec<Answer>>,
    /// Acks with effects, over which connection, and who wants to know what came of them.
    chains: Vec<(u64, Box<Chain>, Option<Told>)>,
}

impl Held {
    pub(super) fn new(listener: ListenerId) -> Self {
        let (waiting, open, answers) = (VecDeque::new(), HashMap::new(), BTreeMap::new());
        Self { listener, links: Links::default(), waiting, open, answers, chains: Vec::new() }
    }

    /// A delivery came.
    pub(super) fn arrived(&mut self, arrival: Arrival) {
        let Arrival { event, attempt, connection } = arrival;
        if !self.links.hold(connection) {
            return;
        }
        let position = event.position;
        match self.open.get_mut(&position) {
            Some(open) => {
                let attempt = std::mem::replace(&mut open.attempt, attempt);
                let before = std::mem::replace(&mut open.connection, connection);
                // Its deadline has passed: the last word on it makes room in the credit.
                if self.links.hold(before) {
                    let (listener, verdict) = (self.listener, Verdict::Release);
                    self.say(before, Answer { listener, position, attempt, verdict });
                }
            }
            None => {
                self.open.insert(position, Open { event, attempt, connection, stage: Stage::Waiting });
                self.waiting.push_back(position);
            }
        }
    }

    /// These connections are up now. Nobody waits for answers to deliveries of any other one.
    pub(super) fn linked(&mut self, links: Links) {
        if links == self.links {
            return;
        }
        self.links = links;
        self.answers.retain(|connection, _| links.hold(*connection));
        self.chains.retain(|(connection, ..)| links.hold(*connection));
        let open = &mut self.open;
        self.waiting.retain(|position| {
            let is_alive = open.get(position).is_some_and(|open| links.hold(open.connection));
            if !is_alive {
                open.remove(position);
            }
            is_alive
        });
    }

    /// The next delivery to start, in the order in which they came.
    pub(super) fn start(&mut self, now: Instant) -> Option<(Arc<Event>, Attempt)> {
        let open = self.open.get_mut(&self.waiting.pop_front()?)?;
        open.stage = Stage::Started { at: now };
        Some((Arc::clone(&open.event), open.attempt))
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The final word on a delivery that was started. A second one changes nothing.
    pub(super) fn answered(&mut self, position: Position, word: impl Into<Word>) {
        let Some(open) = self.open.remove(&position) else { return };
        // On a connection that is gone nobody waits for the answer.
        if !self.links.hold(open.connection) {
            return;
        }
        let (listener, connection, attempt) = (self.listener, open.connection, open.attempt);
        let Word { verdict, effects, told } = word.into();
        if verdict == Verdict::Ack && (!effects.is_empty() || told.is_some()) {
            let Effects { effects, expectations } = effects;
            let chain = Chain { listener, position, attempt, effects, expectations };
            self.chains.push((connection, Box::new(chain), told));
        } else {
            self.say(connection, Answer { listener, position, attempt, verdict });
        }
    }

    fn say(&mut self, connection: u64, answer: Answer) {
        self.answers.entry(connection).or_default().push(answer);
    }

    /// What was started no later than `before` and has no answer, in the order of the log.
    pub(super) fn started_before(&self, before: Instant) -> Vec<Position> {
        let is_old = |open: &Open| matches!(open.stage, Stage::Started { at } if at <= before);
        let old = self.open.iter().filter(|(_, open)| is_old(open));
        let mut old: Vec<_> = old.map(|(position, _)| *position).collect();
        old.sort_unstable();
        old
    }

    /// Extends the deadline of everything that is held, started or not.
    pub(super) fn keep_alive(&mut self) {
        for open in self.open.values().filter(|open| self.links.hold(open.connection)) {
            self.answers.entry(open.connection).or_default().push(Answer {
                listener: self.listener,
                position: open.event.position,
                attempt: open.attempt,
                verdict: Verdict::Progress,
            });
        }
    }

    /// The answers that are to be sent now, each connection's in the order in which they were given.
    pub(super) fn take_answers(&mut self) -> BTreeMap<u64, Vec<Answer>> {
        std::mem::take(&mut self.answers)
    }

    /// The acks with effects that are to be sent now; as with answers.
    pub(super) fn take_chains(&mut self) -> Vec<(u64, Box<Chain>, Option<Told>)> {
        std::mem::take(&mut self.chains)
    }
}

#[cfg(test)]
mod tests {
    use proto::chain::Effect;
    use proto::schedule::Which;

    use super::*;
    use crate::testing::event;

    const LISTENER: ListenerId = ListenerId(3);

    fn arrival(position: u64, attempt: u32, connection: u64) -> Arrival {
        Arrival { event: Arc::new(event(position)), attempt: Attempt(attempt), connection }
    }

    fn held(arrivals: impl IntoIterator<Item = Arrival>) -> Held {
        let mut held = Held::new(LISTENER);
        held.linked(up([1]));
        arrivals.into_iter().for_each(|arrival| held.arrived(arrival));
        held
    }

    fn up<const N: usize>(connections: [u64; N]) -> Links {
        connections.into_iter().collect()
    }

    /// The answers of every connection.
    fn answers(held: &mut Held) -> Vec<Answer> {
        held.take_answers().into_values().flatten().collect()
    }

    fn started(held: &mut Held) -> Vec<u64> {
        std::iter::from_fn(|| held.start(Instant::now())).map(|(event, _)| event.position.0).collect()
    }

    fn answer(position: u64, attempt: u32, verdict: Verdict) -> Answer {
        Answer { listener: LISTENER, position: Position(position), attempt: Attempt(attempt), verdict }
    }

    #[test]
    fn deliveries_are_started_in_the_order_in_which_they_came() {
        let mut held = held([arrival(4, 1, 1), arrival(2, 1, 1), arrival(9, 1, 1)]);
        assert_eq!(started(&mut held), [4, 2, 9]);
    }

    #[test]
    fn an_answer_names_the_attempt_and_is_given_once() {
        let mut held = held([arrival(4, 2, 1)]);
        started(&mut held);
        held.answered(Position(4), Verdict::Ack);
        held.answered(Position(4), Verdict::Release);
        assert_eq!(answers(&mut held), [answer(4, 2, Verdict::Ack)]);
        assert_eq!(answers(&mut held), []);
    }

    #[test]
    fn an_ack_with_effects_is_said_apart_and_dies_with_its_connection() {
        let with_effects = || {
            let effects = vec![Effect::Cancel(Which::Id(event(1).id))];
            Word { effects: Effects { effects, ..Effects::default() }, ..Word::from(Verdict::Ack) }
        };
        let mut held = held([arrival(4, 2, 1), arrival(5, 1, 1)]);
        started(&mut held);
        held.answered(Position(4), with_effects());
        let chains = held.take_chains();
        assert_eq!((chains[0].1.position, chains[0].1.attempt), (Position(4), Attempt(2)));
        assert!(held.take_answers().is_empty());
        held.answered(Position(5), with_effects());
        held.linked(up([2]));
        assert!(held.take_chains().is_empty());
    }

    #[test]
    fn what_was_not_started_when_the_link_was_cut_is_forgotten() {
        let mut held = held([arrival(4, 1, 1), arrival(5, 1, 1)]);
        held.start(Instant::now());
        held.linked(up([2]));
        assert!(started(&mut held).is_empty());
        held.arrived(arrival(5, 1, 2));
        assert_eq!(started(&mut held), [5]);
    }

    #[test]
    fn a_handler_that_outlives_its_link_answers_the_delivery_that_came_again() {
        let mut held = held([arrival(4, 1, 1)]);
        started(&mut held);
        held.linked(up([2]));
        held.arrived(arrival(4, 2, 2));
        assert!(started(&mut held).is_empty());
        held.answered(Position(4), Verdict::Ack);
        assert_eq!(answers(&mut held), [answer(4, 2, Verdict::Ack)]);
    }

    #[test]
    fn a_delivery_that_comes_again_while_its_handler_runs_is_not_started_again() {
        let mut held = held([arrival(4, 1, 1)]);
        started(&mut held);
        held.arrived(arrival(4, 2, 1));
        assert!(started(&mut held).is_empty());
        held.answered(Position(4), Verdict::Ack);
        assert_eq!(answers(&mut held), [answer(4, 1, Verdict::Release), answer(4, 2, Verdict::Ack)]);
    }

    #[test]
    fn an_answer_for_a_connection_that_is_gone_is_not_sent() {
        let mut held = held([arrival(4, 1, 1)]);
        started(&mut held);
        held.linked(up([2]));
        held.answered(Position(4), Verdict::Ack);
        assert_eq!(answers(&mut held), []);
        held.arrived(arrival(4, 1, 2));
        assert_eq!(started(&mut held), [4]);
    }

    #[test]
    fn a_delivery_of_a_connection_that_is_gone_is_ignored() {
        let mut held = held([]);
        held.linked(up([2]));
        [arrival(5, 1, 2), arrival(4, 1, 1)].into_iter().for_each(|arrival| held.arrived(arrival));
        assert_eq!(started(&mut held), [5]);
    }

    #[test]
    fn while_two_connections_are_up_each_delivery_is_answered_on_its_own() {
        let mut held = held([arrival(4, 1, 1)]);
        held.linked(up([2, 1]));
        held.arrived(arrival(5, 1, 2));
        assert_eq!(started(&mut held), [4, 5]);
        held.keep_alive();
        held.answered(Position(5), Verdict::Ack);
        held.answered(Position(4), Verdict::Ack);
        let words =
            |position| vec![answer(position, 1, Verdict::Progress), answer(position, 1, Verdict::Ack)];
        assert_eq!(held.take_answers(), [(1, words(4)), (2, words(5))].into());
    }

    #[test]
    fn what_the_older_connection_lets_go_is_answered_where_it_came_again() {
        let mut held = held([arrival(4, 1, 1)]);
        held.linked(up([2, 1]));
        started(&mut held);
        held.arrived(arrival(4, 2, 2));
        held.answered(Position(4), Verdict::Ack);
        let (old, new) = (answer(4, 1, Verdict::Release), answer(4, 2, Verdict::Ack));
        assert_eq!(held.take_answers(), [(1, vec![old]), (2, vec![new])].into());
    }

    #[test]
    fn an_older_connection_that_breaks_takes_with_it_only_what_it_delivered() {
        let mut held = held([arrival(4, 1, 1)]);
        held.linked(up([2, 1]));
        held.arrived(arrival(5, 1, 2));
        held.linked(up([2]));
        assert_eq!(started(&mut held), [5]);
    }

    #[test]
    fn progress_is_sent_for_what_runs_and_for_what_waits_but_not_for_the_dead() {
        let mut held = held([arrival(1, 1, 1)]);
        held.start(Instant::now());
        held.linked(up([2]));
        held.arrived(arrival(4, 1, 2));
        held.start(Instant::now());
        held.arrived(arrival(5, 3, 2));
        held.keep_alive();
        let mut answers = answers(&mut held);
        answers.sort_by_key(|answer| answer.position);
        assert_eq!(answers, [answer(4, 1, Verdict::Progress), answer(5, 3, Verdict::Progress)]);
    }

    #[test]
    fn what_is_started_for_too_long_is_told_from_what_waits_and_what_is_answered() {
        let mut held = held([arrival(1, 1, 1), arrival(2, 1, 1), arrival(3, 1, 1), arrival(4, 1, 1)]);
        let then = Instant::now();
        held.start(then);
        held.start(then);
        held.start(then + std::time::Duration::from_secs(1));
        held.answered(Position(1), Verdict::Ack);
        assert_eq!(held.started_before(then), [Position(2)]);
    }
}
