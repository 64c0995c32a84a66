//! The load: publishers with a window of unanswered events each, and members that acknowledge.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use proto::{Data, Domain, EventName, GroupName, NewEvent, Pid};
use spoke::{Consumer, Spoke};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::failure::{Failure, Outcome};
use crate::own_hub::OwnHub;

/// Connections that publish.
pub(super) const PUBLISHERS: usize = 4;

/// Events of one publisher that may be unanswered.
pub(super) const IN_FLIGHT: usize = 256;

/// Members of the group.
pub(super) const MEMBERS: usize = 4;

/// Events that one member may hold.
const MEMBER_CREDIT: u32 = 1_024;

/// Processes that the events belong to.
const PROCESSES: u64 = 10_000;

/// Events of a process that ends.
const EVENTS_PER_PROCESS: u64 = 10;

/// What mixes the processes of one generation; it has no divisor in common with their number.
const STRIDE: u64 = 3_931;

/// What scatters numbers over all of their range: 2⁶⁴ divided by the golden ratio.
const SCATTERING: u64 = 0x9E37_79B9_7F4A_7C15;

/// How often it is looked whether the group is done.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long a phase may stand still.
const STANDSTILL: Duration = Duration::from_secs(60);

/// How the processes' names sort, which is what an index makes the most of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Names {
    /// Like random ids: events that follow each other belong to processes far apart.
    Scattered,
    /// In the order in which the processes get their events.
    Sorted,
    /// By when a process began, as [`spoke::generate_pid`] makes them; each ends with its tenth event and
    /// another one begins.
    Generated,
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scattered => "scattered",
            Self::Sorted => "sorted",
            Self::Generated => "generated",
        })
    }
}

/// Makes the events of a benchmark.
#[derive(Debug, Clone)]
pub(super) struct Maker {
    domain: Domain,
    names: Names,
    /// How many events others like it have made before.
    before: u64,
    name: EventName,
    /// What fills the data up to its length.
    zeros: String,
}

impl Maker {
    /// Events of `domain` with so many bytes of data, at least 9.
    pub(super) fn new(domain: &str, names: Names, data_bytes: usize) -> Outcome<Self> {
        Ok(Self {
            names,
            before: 0,
            domain: Domain::parse(domain).map_err(Failure::failed)?,
            name: EventName::parse("order placed").map_err(Failure::failed)?,
            zeros: "0".repeat(data_bytes.saturating_sub(r#"{"n":""}"#.len())),
        })
    }

    /// The same for a later round, before which so many events were made.
    pub(super) fn after(self, before: u64) -> Self {
        Self { before, ..self }
    }

    /// The event with this number. The same number gives the same event with another id.
    pub(super) fn event(&self, number: u64) -> Outcome<NewEvent> {
        let process = number % PROCESSES;
        let pid = match self.names {
            Names::Scattered => process.wrapping_add(1).wrapping_mul(SCATTERING),
            Names::Sorted => process,
            // In each generation the processes get their events in another order than they began.
            Names::Generated => {
                let generation = (self.before + number) / (PROCESSES * EVENTS_PER_PROCESS);
                generation * PROCESSES + process * STRIDE % PROCESSES
            }
        };
        let pid = Pid::parse(&format!("{pid:016x}")).map_err(Failure::failed)?;
        let number = number.to_string();
        let zeros = self.zeros.get(number.len()..).unwrap_or_default();
        let data = Data::parse(format!(r#"{{"n":"{zeros}{number}"}}"#)).map_err(Failure::failed)?;
        let event = NewEvent::new(spoke::generate_id(), self.domain.clone(), pid, self.name.clone());
        Ok(NewEvent { data, ..event })
    }

    /// The domain of the events.
    pub(super) fn domain(&self) -> &Domain {
        &self.domain
    }
}

/// Connects so many services of one kind.
pub(super) async fn connect(hub: &OwnHub, service: &str, count: usize) -> Outcome<Vec<Spoke>> {
    let mut spokes = Vec::new();
    for _ in 0..count {
        let options = hub.options(service)?.publish_window(IN_FLIGHT);
        spokes.push(Spoke::connect(options).await?);
    }
    Ok(spokes)
}

/// Publishes so many events over `spokes` and waits for the last answer. Tells how long it took.
///
/// Each event in flight is a loop of its own, which costs the machine less than a future an event.
pub(super) async fn publish(spokes: &[Spoke], maker: &Maker, events: u64) -> Outcome<Duration> {
    let start = Instant::now();
    let mut publishers = JoinSet::new();
    for (at, spoke) in (0_u64..).zip(spokes) {
        let (spoke, maker, step) = (spoke.clone(), maker.clone(), spokes.len().max(1));
        publishers.spawn(async move {
            let numbers = Mutex::new((at..events).step_by(step));
            let next = || numbers.lock().unwrap_or_else(PoisonError::into_inner).next();
            let lane = || async {
                while let Some(number) = next() {
                    spoke.publish(maker.event(number)?).await?;
                }
                Ok::<_, Failure>(())
            };
            try_join_all((0..IN_FLIGHT).map(|_| lane())).await
        });
    }
    while let Some(published) = publishers.join_next().await {
        published.map_err(Failure::failed)??;
    }
    Ok(start.elapsed())
}

/// A group whose members acknowledge what they get.
pub(super) struct Group {
    name: GroupName,
    members: Vec<Consumer>,
    settled_before: u64,
    observer: Spoke,
}

impl Group {
    /// Lets `spokes` join; the first one also looks how far the group is.
    pub(super) async fn join(spokes: &[Spoke], name: &str, domain: &Domain) -> Outcome<Self> {
        let name = GroupName::parse(name).map_err(Failure::failed)?;
        let observer = spokes.first().ok_or_else(|| Failure::failed("a group needs members"))?.clone();
        let mut members = Vec::new();
        for spoke in spokes {
            let member = spoke.consumer(domain.clone()).group(name.clone()).credit(MEMBER_CREDIT);
            members.push(member.concurrency(IN_FLIGHT).any(|_| async { Ok(()) }).start().await?);
        }
        let mut group = Self { name, members, settled_before: 0, observer };
        group.settled_before = group.succeeded().await?;
        Ok(group)
    }

    async fn succeeded(&self) -> Outcome<u64> {
        let reports = self.observer.group(&self.name).await?;
        Ok(reports.iter().map(|report| report.succeeded).sum())
    }

    /// Waits until so many events were settled since the group was joined.
    pub(super) async fn settled(&self, events: u64) -> Outcome {
        let (mut last, mut moved) = (0, Instant::now());
        loop {
            let settled = self.succeeded().await? - self.settled_before;
            if settled >= events {
                return Ok(());
            }
            if settled > last {
                (last, moved) = (settled, Instant::now());
            }
            if moved.elapsed() > STANDSTILL {
                return Err(Failure::failed(format_args!(
                    "{settled} of {events} events were settled, and none for {STANDSTILL:?}"
                )));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Leaves the group.
    pub(super) async fn leave(self) -> Outcome {
        for member in self.members {
            member.stop().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_event_has_as_many_bytes_of_data_as_was_asked_for() {
        let maker = Maker::new("bench", Names::Scattered, 200).unwrap();
        for number in [0, 123_456] {
            assert_eq!(maker.event(number).unwrap().data.as_bytes().len(), 200);
        }
    }

    #[test]
    fn scattered_names_are_as_many_as_sorted_ones() {
        for names in [Names::Scattered, Names::Sorted, Names::Generated] {
            let maker = Maker::new("bench", names, 9).unwrap();
            let pids: HashSet<_> =
                (0..2 * PROCESSES).map(|number| maker.event(number).unwrap().pid).collect();
            assert_eq!(pids.len() as u64, PROCESSES, "{names}");
        }
    }
}
