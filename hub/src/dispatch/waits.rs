//! Who waits for an event of one process, so that a commit finds them without asking everybody.
//!
//! It knows only what is committed from now on. Whoever waits looks into the tables after it was put
//! here, so that between the two nothing can be missed.

use std::collections::HashMap;
use std::sync::Arc;

use proto::message::Wait;
use proto::{Domain, Event, Pid};

/// Waits of one hub at a time. At it a further one is refused.
pub(super) const WAITS_MAX: usize = 100_000;

/// What a wait is told, once.
#[derive(Debug)]
pub(crate) enum Found {
    /// This is the first one since the wait was put here.
    Event(Arc<Event>),
    /// Commits were missed: look into the tables, and wait again.
    Missed,
}

/// The waits, each with the way to whoever waits.
#[derive(Debug)]
pub(super) struct Waits<T> {
    by_process: HashMap<(Domain, Pid), Vec<(Wait, T)>>,
    count: usize,
}

impl<T> Default for Waits<T> {
    fn default() -> Self {
        Self { by_process: HashMap::new(), count: 0 }
    }
}

impl<T> Waits<T> {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Puts a wait here; gives it back if there are too many.
    pub(super) fn add(&mut self, wait: Wait, way: T) -> Option<T> {
        if self.count >= WAITS_MAX {
            return Some(way);
        }
        self.count += 1;
        let process = (wait.domain.clone(), wait.pid.clone());
        self.by_process.entry(process).or_default().push((wait, way));
        None
    }

    /// Takes out everybody whose event is among `events`, each with the first one.
    pub(super) fn committed(&mut self, events: &[Arc<Event>]) -> Vec<(T, Arc<Event>)> {
        let mut found = Vec::new();
        if self.count == 0 {
            return found;
        }
        for event in events {
            let process = (event.domain.clone(), event.pid.clone());
            let Some(waits) = self.by_process.get_mut(&process) else { continue };
            let wants =
                |(wait, _): &mut (Wait, T)| event.position > wait.after && wait.names.matches(&event.name);
            found.extend(waits.extract_if(.., wants).map(|(_, way)| (way, Arc::clone(event))));
            if waits.is_empty() {
                self.by_process.remove(&process);
            }
        }
        self.count -= found.len();
        found
    }

    /// Takes everybody out: commits were missed.
    pub(super) fn missed(&mut self) -> Vec<T> {
        self.count = 0;
        std::mem::take(&mut self.by_process).into_values().flatten().map(|(_, way)| way).collect()
    }

    /// Drops those of whom `gone` says that they wait no more.
    pub(super) fn sweep(&mut self, gone: impl Fn(&T) -> bool) {
        self.by_process.retain(|_, waits| {
            let before = waits.len();
            waits.retain(|(_, way)| !gone(way));
            self.count -= before - waits.len();
            !waits.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use proto::{EventName, NameFilter, Position};

    use super::super::example;
    use super::*;

    fn wait(pid: &str, name: &str, after: u64) -> Wait {
        Wait {
            domain: Domain::parse("order").unwrap(),
            pid: Pid::parse(pid).unwrap(),
            names: NameFilter::of(vec![EventName::parse(name).unwrap()]).unwrap(),
            after: Position(after),
            within_ms: 1,
        }
    }

    fn event(position: u64, pid: &str, name: &str) -> Arc<Event> {
        let event = Arc::unwrap_or_clone(example::event(position, pid));
        Arc::new(Event { name: EventName::parse(name).unwrap(), ..event })
    }

    #[test]
    fn each_is_told_once_of_the_first_event_that_it_waits_for() {
        let mut waits = Waits::default();
        waits.add(wait("1", "success", 0), "a");
        waits.add(wait("1", "success", 7), "after seven");
        waits.add(wait("1", "failed", 0), "other name");
        waits.add(wait("2", "success", 0), "other process");
        let told = |waits: &mut Waits<&'static str>, events: &[Arc<Event>]| {
            waits
                .committed(events)
                .into_iter()
                .map(|(way, event)| (way, event.position.0))
                .collect::<Vec<_>>()
        };
        let commit = [event(6, "1", "placed"), event(7, "1", "success"), event(8, "1", "success")];
        assert_eq!(told(&mut waits, &commit), [("a", 7), ("after seven", 8)]);
        assert_eq!(told(&mut waits, &commit), []);
        assert_eq!(waits.len(), 2);
    }

    #[test]
    fn missed_commits_send_everybody_to_the_tables() {
        let mut waits = Waits::default();
        waits.add(wait("1", "success", 0), 1);
        waits.add(wait("2", "success", 0), 2);
        let mut sent = waits.missed();
        sent.sort_unstable();
        assert_eq!((sent, waits.len()), (vec![1, 2], 0));
    }

    #[test]
    fn those_who_gave_up_make_room() {
        let mut waits = Waits::default();
        for number in 0..WAITS_MAX {
            assert_eq!(waits.add(wait("1", "success", 0), number), None);
        }
        assert_eq!(waits.add(wait("1", "success", 0), 7), Some(7));
        waits.sweep(|number| number % 2 == 0);
        assert_eq!(waits.len(), WAITS_MAX / 2);
        assert_eq!(waits.add(wait("1", "success", 0), 7), None);
    }
}
