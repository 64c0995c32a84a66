//! Events that could go out, in ten lanes by priority: the lower number first, but never for ever.
//!
//! Of every [`PICKS_PER_ROUND`] picks one is for whatever has waited longest, in whichever lane. So an
//! event before which `n` others were waiting when it came is picked after at most
//! `PICKS_PER_ROUND * (n + 1)` picks, whatever comes meanwhile.

use std::collections::VecDeque;

use proto::{Position, Priority};

/// Picks of which the last is for what has waited longest.
pub(in crate::dispatch) const PICKS_PER_ROUND: u32 = 8;

#[derive(Debug, Clone, Copy)]
struct Waiting {
    position: Position,
    /// When it came, counted in events; 0 is before everything.
    since: u64,
}

/// Positions that wait for a member, by lane.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: [VecDeque<Waiting>; proto::priority::LANES as usize],
    arrivals: u64,
    picks: u32,
}

impl Lanes {
    /// Takes an event behind the others of its lane.
    pub(super) fn push(&mut self, priority: Priority, position: Position) {
        self.arrivals += 1;
        let since = self.arrivals;
        if let Some(lane) = self.lanes.get_mut(usize::from(priority.lane())) {
            lane.push_back(Waiting { position, since });
        }
    }

    /// Takes an event that was given back: before the others of its lane, as one that waits for long.
    pub(super) fn push_front(&mut self, priority: Priority, position: Position) {
        if let Some(lane) = self.lanes.get_mut(usize::from(priority.lane())) {
            lane.push_front(Waiting { position, since: 0 });
        }
    }

    /// The next one, which stays until it is taken or dropped.
    pub(super) fn next(&self) -> Option<Position> {
        let lane = self.lanes.get(self.lane()?)?;
        lane.front().map(|waiting| waiting.position)
    }

    /// Takes the next one as one that goes out.
    pub(super) fn take(&mut self) {
        self.drop_next();
        self.picks = (self.picks + 1) % PICKS_PER_ROUND;
    }

    /// Drops the next one, which does not go out after all.
    pub(super) fn drop_next(&mut self) {
        if let Some(lane) = self.lane().and_then(|lane| self.lanes.get_mut(lane)) {
            lane.pop_front();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        self.lanes.iter().flatten().map(|waiting| waiting.position)
    }

    /// Forgets all of them; whose turn it is stays.
    pub(super) fn clear(&mut self) {
        self.lanes.iter_mut().for_each(VecDeque::clear);
    }

    /// The lane whose turn it is.
    fn lane(&self) -> Option<usize> {
        let waiting = self.lanes.iter().enumerate();
        let mut waiting = waiting.filter_map(|(lane, queue)| Some((lane, queue.front()?.since)));
        if self.picks + 1 < PICKS_PER_ROUND {
            waiting.next().map(|(lane, _)| lane)
        } else {
            waiting.min_by_key(|&(_, since)| since).map(|(lane, _)| lane)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(lane: u8) -> Priority {
        Priority::of(lane).unwrap()
    }

    fn picks(lanes: &mut Lanes) -> Vec<u64> {
        std::iter::from_fn(|| {
            let next = lanes.next();
            lanes.take();
            next.map(|position| position.0)
        })
        .collect()
    }

    #[test]
    fn the_lower_number_goes_first_and_a_lane_keeps_its_order() {
        let mut lanes = Lanes::default();
        for (position, priority) in [(1, 9), (2, 5), (3, 0), (4, 5), (5, 0)] {
            lanes.push(lane(priority), Position(position));
        }
        lanes.push_front(lane(5), Position(6));
        assert_eq!(picks(&mut lanes), [3, 5, 6, 2, 4, 1]);
        assert_eq!((lanes.len(), lanes.next()), (0, None));
    }

    #[test]
    fn the_last_lane_is_served_under_a_flood_of_the_first_within_a_bound() {
        for before in [0, 1, 7, 100] {
            let mut lanes = Lanes::default();
            for position in 0..before {
                lanes.push(lane(0), Position(position));
            }
            lanes.push(lane(9), Position(1_000_000));
            let bound = u64::from(PICKS_PER_ROUND) * (before + 1);
            let mut picked = 0;
            while lanes.next() != Some(Position(1_000_000)) {
                lanes.take();
                picked += 1;
                lanes.push(lane(0), Position(before + picked));
                assert!(picked < bound, "{before} before it, and {picked} went first");
            }
        }
    }

    #[test]
    fn every_lane_has_its_turn_however_full_the_others_are() {
        let mut lanes = Lanes::default();
        for position in 0..1_000 {
            lanes.push(lane(u8::try_from(position % 10).unwrap()), Position(position));
        }
        let first: Vec<_> = picks(&mut lanes).into_iter().take(80).collect();
        assert_eq!(first.iter().filter(|position| *position % 10 == 0).count(), 70, "{first:?}");
        assert!(first.contains(&1) && first.contains(&9));
    }
}
