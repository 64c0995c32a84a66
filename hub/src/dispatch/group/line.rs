//! One slot's events in the order of the log: which are settled, which are recorded as settled.
//!
//! Events of a slot settle in any order. What the tables get are *runs*: neighbours in this line
//! with the same outcome share a row. The cursor is where to start reading after a crash.

use std::collections::VecDeque;
use std::sync::Arc;

use db::{Act, Outcome, Run, Slot, SlotMove};
use proto::{Attempt, Position, Timestamp};

/// Positions that one run may span, so that the run around a position is found by a short range.
const RUN_POSITIONS_MAX: u64 = 4_096;

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settled {
    pub(super) consumer: Arc<str>,
    pub(super) attempts: Attempt,
    pub(super) consumed_hub: Timestamp,
    pub(super) consumed_spoke: Timestamp,
    pub(super) settled: Timestamp,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
enum State {
    Open,
    Settled(Settled),
    /// Handed to the writer.
    Flushing,
    /// Recorded in the tables.
    Done,
}

#[derive(Debug)]
struct Item {
    first: Position,
    last: Position,
    state: State,
}

/// One slot of one group.
#[derive(Debug)]
pub(super) struct Line {
    slot: u16,
    epoch: u64,
    /// As it stands in the tables.
    cursor: Position,
    pub(super) succeeded: u64,
    pub(super) parked: u64,
    pub(super) discarded: u64,
    items: VecDeque<Item>,
    /// Runs that the tables hold beyond the cursor, from before the hub started.
    recovered: VecDeque<(Position, Position)>,
    unflushed: usize,
}

impl Line {
    /// A slot as the tables have it.
    pub(super) fn new(slot: &Slot) -> Self {
        Self {
            slot: slot.slot,
            epoch: slot.epoch,
            cursor: slot.cursor,
            succeeded: slot.succeeded,
            parked: slot.parked,
            discarded: slot.discarded,
            items: VecDeque::new(),
            recovered: VecDeque::new(),
            unflushed: 0,
        }
    }

    /// Notes a run that was recorded before the hub started; runs come in their order.
    pub(super) fn recover(&mut self, first: Position, last: Position) {
        if last > self.cursor {
            self.recovered.push_back((first, last));
        }
    }

    /// Takes the next event of the slot; false if it is settled already.
    pub(super) fn take(&mut self, position: Position) -> bool {
        if position <= self.cursor {
            return false;
        }
        while self.recovered.front().is_some_and(|&(_, last)| last < position) {
            self.recovered.pop_front();
        }
        let settled = self.recovered.front().is_some_and(|&(first, _)| first <= position);
        if settled && self.items.is_empty() {
            // Nothing before it is open: the cursor may pass it.
            return false;
        }
        self.push(position, position, if settled { State::Done } else { State::Open });
        !settled
    }

    fn push(&mut self, first: Position, last: Position, state: State) {
        if let (State::Done, Some(Item { last: end, state: State::Done, .. })) =
            (&state, self.items.back_mut())
        {
            *end = last;
            return;
        }
        self.items.push_back(Item { first, last, state });
    }

    /// Notes how the event at `position` ended.
    pub(super) fn settle(&mut self, position: Position, how: Settled) {
        self.unflushed += 1;
        self.set(position, State::Settled(how));
    }

    /// Notes that the event at `position` is no more: it needs no outcome.
    pub(super) fn forget(&mut self, position: Position) {
        self.set(position, State::Done);
        self.compact();
    }

    fn set(&mut self, position: Position, state: State) {
        let index = self.items.partition_point(|item| item.last < position);
        if let Some(item) = self.items.get_mut(index).filter(|item| item.first == position) {
            item.state = state;
        }
    }

    /// Events that are settled but not yet handed to the writer.
    pub(super) fn unflushed(&self) -> usize {
        self.unflushed
    }

    /// Whether nothing of this slot is open, settled or flushing.
    pub(super) fn is_idle(&self) -> bool {
        self.items.is_empty()
    }

    /// Hands out what is settled as runs, with the fence and the cursor that they leave behind.
    pub(super) fn flush(&mut self, read_through: Position) -> (Vec<Run>, SlotMove) {
        let mut runs: Vec<Run> = Vec::new();
        let mut neighbour = false;
        for item in &mut self.items {
            let State::Settled(how) = &item.state else {
                neighbour = false;
                continue;
            };
            match runs.last_mut() {
                Some(run) if neighbour && joins(run, how, item.last) => {
                    run.last = item.last;
                    run.events += 1;
                    run.consumed_spoke = run.consumed_spoke.max(how.consumed_spoke);
                    run.settled = run.settled.max(how.settled);
                }
                _ => runs.push(run_of(self.slot, item.first, how)),
            }
            neighbour = true;
            let count = match how.outcome {
                Outcome::Success => &mut self.succeeded,
                Outcome::Parked { .. } => &mut self.parked,
                Outcome::Discarded { .. } => &mut self.discarded,
            };
            *count += 1;
            item.state = State::Flushing;
        }
        self.unflushed = 0;
        (runs, self.fence(read_through))
    }

    /// Counts an outcome of an event that this line has behind it.
    pub(super) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Success => self.succeeded += 1,
            Outcome::Parked { .. } => self.parked += 1,
            Outcome::Discarded { .. } => self.discarded += 1,
        }
    }

    /// Counts that a parked event of this slot was taken up again.
    pub(super) fn unpark(&mut self, act: &Act) {
        self.parked = self.parked.saturating_sub(1);
        match act {
            Act::Replay => {}
            Act::Discard { .. } => self.discarded += 1,
        }
    }

    /// The slot as it stands in the tables.
    pub(super) fn stands(&self) -> SlotMove {
        SlotMove { slot: self.slot, epoch: self.epoch, cursor: self.cursor }
    }

    /// The cursor that this slot may have once everything that is flushing is recorded.
    pub(super) fn fence(&self, read_through: Position) -> SlotMove {
        let open = self.items.iter().find(|item| matches!(item.state, State::Open | State::Settled(_)));
        let cursor = open.map_or(read_through, |item| item.first.previous()).max(self.cursor);
        SlotMove { slot: self.slot, epoch: self.epoch, cursor }
    }

    /// The cursor that this slot may have once the event at `position` is recorded by itself, and nothing
    /// else: what is being recorded at the same time may be recorded later.
    pub(super) fn move_with(&self, position: Position, read_through: Position) -> SlotMove {
        let open = |item: &&Item| item.first != position && !matches!(item.state, State::Done);
        let cursor = self.items.iter().find(open).map_or(read_through, |item| item.first.previous());
        SlotMove { slot: self.slot, epoch: self.epoch, cursor: cursor.max(self.cursor) }
    }

    /// The event at `position` is recorded as a success, and so is the cursor.
    pub(super) fn recorded(&mut self, position: Position, moved: &SlotMove) {
        self.succeeded += 1;
        self.cursor = self.cursor.max(moved.cursor);
        self.set(position, State::Done);
        // Only where it is: there is one of these for each event, not one for a flush.
        let index = self.items.partition_point(|item| item.last < position);
        self.join(index);
        if let Some(before) = index.checked_sub(1) {
            self.join(before);
        }
        if self.items.front().is_some_and(|item| matches!(item.state, State::Done)) {
            self.items.pop_front();
        }
    }

    /// Joins what is recorded at `index` with what is recorded behind it.
    fn join(&mut self, index: usize) {
        let is_done = |item: Option<&Item>| item.is_some_and(|item| matches!(item.state, State::Done));
        if is_done(self.items.get(index)) && is_done(self.items.get(index + 1)) {
            let last = self.items.remove(index + 1).map(|item| item.last);
            if let (Some(item), Some(last)) = (self.items.get_mut(index), last) {
                item.last = last;
            }
        }
    }

    /// The first event in hand that has no outcome.
    pub(super) fn first_open(&self) -> Option<Position> {
        self.items.iter().find(|item| matches!(item.state, State::Open)).map(|item| item.first)
    }

    /// The cursor as it stands in the tables.
    pub(super) fn cursor(&self) -> Position {
        self.cursor
    }

    /// What was flushing is recorded, and so is the cursor.
    pub(super) fn flushed(&mut self, moved: &SlotMove) {
        self.cursor = self.cursor.max(moved.cursor);
        for item in &mut self.items {
            if matches!(item.state, State::Flushing) {
                item.state = State::Done;
            }
        }
        self.compact();
    }

    /// Drops what is recorded at the front and joins what is recorded elsewhere.
    fn compact(&mut self) {
        while self.items.front().is_some_and(|item| matches!(item.state, State::Done)) {
            self.items.pop_front();
        }
        let items = std::mem::take(&mut self.items);
        for item in items {
            self.push(item.first, item.last, item.state);
        }
    }
}

/// What was tried more than once has a run of its own, like everything but a success.
fn joins(run: &Run, how: &Settled, last: Position) -> bool {
    matches!((&run.outcome, &how.outcome), (Outcome::Success, Outcome::Success))
        && run.consumer == how.consumer
        && run.attempts == Attempt(1)
        && how.attempts == Attempt(1)
        && last.0 - run.first.0 <= RUN_POSITIONS_MAX
}

pub(super) fn run_of(slot: u16, position: Position, how: &Settled) -> Run {
    Run {
        slot,
        first: position,
        last: position,
        events: 1,
        consumer: how.consumer.clone(),
        attempts: how.attempts,
        consumed_hub: how.consumed_hub,
        consumed_spoke: how.consumed_spoke,
        settled: how.settled,
        outcome: how.outcome.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_recorded_by_itself_moves_the_cursor_to_what_is_not() {
        let mut line = line();
        for position in [11, 12, 13] {
            line.take(Position(position));
        }
        assert_eq!(line.move_with(Position(12), Position(20)).cursor, Position(10));
        let moved = line.move_with(Position(11), Position(20));
        assert_eq!(moved.cursor, Position(11));
        line.recorded(Position(11), &moved);
        assert_eq!((line.cursor(), line.succeeded), (Position(11), 1));
        assert_eq!(line.items.len(), 2);
        // What a flush is recording may be recorded after it.
        line.settle(Position(13), done_by("a"));
        line.flush(Position(20));
        assert_eq!(line.move_with(Position(12), Position(20)).cursor, Position(12));
    }

    fn line() -> Line {
        Line::new(&Slot { slot: 3, epoch: 1, cursor: Position(10), succeeded: 0, parked: 0, discarded: 0 })
    }

    fn done_by(consumer: &str) -> Settled {
        let at = Timestamp::default();
        Settled {
            consumer: Arc::from(consumer),
            attempts: Attempt(1),
            consumed_hub: at,
            consumed_spoke: at,
            settled: at,
            outcome: Outcome::Success,
        }
    }

    fn spans(runs: &[Run]) -> Vec<(u64, u64, u32)> {
        runs.iter().map(|run| (run.first.0, run.last.0, run.events)).collect()
    }

    #[test]
    fn neighbours_of_one_member_share_a_run_and_an_open_event_breaks_it() {
        let mut line = line();
        for position in [11, 20, 30, 40, 50] {
            assert!(line.take(Position(position)));
        }
        for position in [11, 20, 40, 50] {
            line.settle(Position(position), done_by("a"));
        }
        let (runs, moved) = line.flush(Position(60));
        assert_eq!(spans(&runs), [(11, 20, 2), (40, 50, 2)]);
        assert_eq!(moved.cursor, Position(29));
    }

    #[test]
    fn another_member_starts_another_run() {
        let mut line = line();
        for (position, member) in [(11, "a"), (12, "b"), (13, "b")] {
            line.take(Position(position));
            line.settle(Position(position), done_by(member));
        }
        let (runs, moved) = line.flush(Position(60));
        assert_eq!(spans(&runs), [(11, 11, 1), (12, 13, 2)]);
        assert_eq!(moved.cursor, Position(60));
    }

    #[test]
    fn what_was_tried_more_than_once_has_a_run_of_its_own() {
        let mut line = line();
        for position in [11, 12, 13] {
            line.take(Position(position));
            line.settle(Position(position), Settled { attempts: Attempt(2), ..done_by("a") });
        }
        assert_eq!(spans(&line.flush(Position(13)).0), [(11, 11, 1), (12, 12, 1), (13, 13, 1)]);
    }

    #[test]
    fn a_run_never_covers_what_an_earlier_run_has_recorded() {
        let mut line = line();
        for position in [11, 12, 13] {
            line.take(Position(position));
        }
        line.settle(Position(12), done_by("a"));
        let (first, moved) = line.flush(Position(13));
        line.flushed(&moved);
        line.settle(Position(11), done_by("a"));
        line.settle(Position(13), done_by("a"));
        let (second, moved) = line.flush(Position(13));
        assert_eq!(spans(&first), [(12, 12, 1)]);
        assert_eq!(spans(&second), [(11, 11, 1), (13, 13, 1)]);
        line.flushed(&moved);
        assert!(line.is_idle() && line.cursor() == Position(13));
    }

    #[test]
    fn what_was_recorded_before_a_restart_is_not_taken_again() {
        let mut line = line();
        line.recover(Position(5), Position(9));
        line.recover(Position(12), Position(20));
        assert!(!line.take(Position(10)));
        assert!(line.take(Position(11)));
        assert!(!line.take(Position(12)) && !line.take(Position(20)));
        assert!(line.take(Position(21)));
    }

    #[test]
    fn a_slot_of_which_all_was_recorded_before_a_restart_is_idle() {
        let mut line = line();
        // 11 was deleted, so the cursor stands before it.
        line.recover(Position(12), Position(20));
        assert!(!line.take(Position(12)) && !line.take(Position(20)));
        assert!(line.is_idle());
        assert_eq!(line.fence(Position(25)).cursor, Position(25));
        assert!(line.take(Position(26)));
        assert_eq!(line.fence(Position(30)).cursor, Position(25));
    }

    #[test]
    fn a_deleted_event_holds_nothing_back() {
        let mut line = line();
        line.take(Position(11));
        line.take(Position(12));
        line.forget(Position(11));
        line.settle(Position(12), done_by("a"));
        let (runs, moved) = line.flush(Position(12));
        assert_eq!((spans(&runs), moved.cursor), (vec![(12, 12, 1)], Position(12)));
    }
}
