//! What the database and the writer say to a simulated hub, in whatever order the world likes.

use std::sync::Arc;
use std::time::Duration;

use db::{Committed, GroupId, GroupWish, Wanted};
use proto::message::{Consume, Offer, Reply, Scope};
use proto::{Event, Refusal, RequestId, ServiceName};

use super::super::super::connection::ConnectionId;
use super::super::super::group::{MemberKey, Recovered};
use super::super::super::handle::Outgoing;
use super::super::SERVICE;
use super::super::broken::Broken;
use super::super::tables::Tables;
use super::{Hub, Job, Work};

impl Hub {
    /// One batch of the writer, and what it leaves to be told.
    pub(in crate::dispatch::simulation) fn write(
        &mut self,
        jobs: usize,
        tables: &mut Tables,
        now: Duration,
    ) -> Result<(), Broken> {
        let mut new = Vec::new();
        for _ in 0..jobs {
            let Some(job) = self.queue.pop_front() else { break };
            match job {
                Job::Append { connection, id, events, offer } => {
                    let outcome = tables.append(&events, publisher(&offer).as_ref(), self.at(now));
                    let outcome = outcome.map(|(appended, stored)| {
                        new.extend(stored);
                        Reply::Appended(appended)
                    });
                    self.work.push(Work::Reply { connection, id, outcome });
                }
                Job::Settle(settlements) => {
                    // A chain may have found before it that the group has gone, and forgotten its answers.
                    if tables.holds(&settlements) {
                        self.watch.recorded(&settlements, tables)?;
                    }
                    let held = tables.settle(&settlements)?;
                    self.work.push(Work::Settled { group: settlements.group, held });
                }
                Job::Chain(chain) => self.write_chain(chain, &mut new, tables, now)?,
                Job::Schedule { connection, id, request } => {
                    self.write_schedule((connection, id), request, tables, now);
                }
                Job::Fire(firing) => self.write_firing(firing, &mut new, tables)?,
                Job::Step(firing) => self.write_steps(firing, &mut new, tables)?,
                Job::Unpark { ticket, unpark } => self.write_unpark(ticket, &unpark, tables)?,
                Job::Change(change) => {
                    let changed = tables.change(&change, self.at(now));
                    self.work.push(Work::Changed(changed));
                }
                Job::Orphans(runs) => {
                    tables.orphans(&runs)?;
                    self.work.push(Work::OrphansDone);
                }
                Job::Group { id, wish, member, read } => {
                    let group = GroupWish {
                        name: wish.group.clone(),
                        topic: wish.topic.clone(),
                        start: wish.start,
                        order: wish.order,
                    };
                    let group = Box::new(tables.group(&group, self.life));
                    self.work.push(Work::Group { id, wish, member, group, read });
                }
                Job::Delete { connection, id, position } => {
                    if !new.is_empty() {
                        self.commits.push_back(Committed::Events(std::mem::take(&mut new)));
                    }
                    tables.delete(position);
                    self.commits.push_back(Committed::Deleted(vec![position]));
                    self.work.push(Work::Reply { connection, id, outcome: Ok(Reply::Changed(1)) });
                }
            }
        }
        if !new.is_empty() {
            self.commits.push_back(Committed::Events(new));
        }
        Ok(())
    }

    /// Tells the dispatcher of the next commit.
    pub(in crate::dispatch::simulation) fn tell_commit(&mut self, now: Duration) {
        match self.commits.pop_front() {
            Some(Committed::Events(events)) => {
                for (way, event) in self.waits.committed(&events) {
                    self.told(way, event);
                }
                self.desk.committed(events, self.at(now));
            }
            Some(Committed::Missed { head }) => {
                for (connection, id) in self.waits.missed() {
                    let Some(waiting) = self.waiting.get_mut(&(connection, id)) else { continue };
                    waiting.looked = false;
                    let wait = waiting.wait.clone();
                    let _full = self.waits.add(wait.clone(), (connection, id));
                    self.work.push(Work::Look { connection, id, wait: Box::new(wait) });
                }
                self.desk.missed(head);
            }
            Some(Committed::Deleted(positions)) => self.desk.deleted(&positions),
            None => {}
        }
    }

    /// The queue of commits was full: what it held has to be read from the tables.
    pub(in crate::dispatch::simulation) fn miss_commits(&mut self, tables: &Tables) {
        let deleted: Vec<_> =
            self.commits.drain(..).filter(|commit| matches!(commit, Committed::Deleted(_))).collect();
        self.commits.push_back(Committed::Missed { head: tables.head() });
        self.commits.extend(deleted);
    }

    fn told(&mut self, (connection, id): (ConnectionId, RequestId), event: Arc<Event>) {
        let Some(waiting) = self.waiting.get_mut(&(connection, id)) else { return };
        if waiting.looked {
            self.work.push(Work::Told { connection, id, event });
        } else {
            waiting.told = Some(event);
        }
    }

    /// Ends one thing that went on outside the dispatcher.
    pub(in crate::dispatch::simulation) fn finish(
        &mut self,
        work: Work,
        page: usize,
        tables: &Tables,
        now: Duration,
    ) -> Result<(), Broken> {
        let at = self.at(now);
        match work {
            Work::Load { reader, wanted, after, limit } => {
                let limit = page.min(usize::try_from(limit).unwrap_or(usize::MAX));
                let found = tables.matching(&wanted, after, limit.max(1));
                self.desk.loaded(reader, after, &found, at, &mut self.effects);
            }
            Work::Fetch { group, pid, position } => {
                let wanted =
                    Wanted { topic: self.desk.topic(group), scope: Scope::Published, pid: Some(pid) };
                let found = tables.matching(&wanted, position.previous(), page.clamp(1, 16));
                self.desk.fetched(group, position, &found.events);
            }
            Work::Settled { group, held: true } => self.desk.flushed(group, &mut self.effects),
            Work::Settled { group, held: false } => self.lost(group)?,
            Work::OrphansDone => self.desk.orphans_flushed(),
            Work::Group { id, wish, member, group, read } => {
                let is_here = group.as_ref().as_ref().is_ok_and(|new| self.desk.has_group(new.group.id));
                if !is_here && self.asked.since(read) && self.consumers.contains_key(&member) {
                    // It may have been set since it was read.
                    let read = self.asked.changed;
                    self.queue.push_back(Job::Group { id, wish, member, read });
                } else {
                    self.joined(id, &wish, member, *group, now);
                }
            }
            Work::Reply { connection, id, outcome } => self.reply(connection, id, outcome),
            Work::Look { connection, id, wait } => {
                let Some(waiting) = self.waiting.get_mut(&(connection, id)) else { return Ok(()) };
                waiting.looked = true;
                let found = tables.first(&wait).cloned().or_else(|| waiting.told.take());
                if let Some(event) = found {
                    self.answer_wait(connection, id, event);
                }
            }
            Work::Told { connection, id, event } => self.answer_wait(connection, id, event),
            Work::Due { after, until, limit, page } => {
                self.read_due((after, until, limit), page, tables, at);
            }
            Work::Fired(firing) => self.fired(firing, tables, at),
            Work::Unparked { group, ticket, unparked } => {
                self.unparked(group, ticket, unparked.as_ref(), now);
            }
            Work::Changed(changed) => self.changed(changed),
            Work::Chained(chain, outcome) => self.chained(&chain, outcome, now)?,
        }
        // What it makes the dispatcher want is done before the next thing ends.
        self.carry_out(tables)
    }

    fn answer_wait(&mut self, connection: ConnectionId, id: RequestId, event: Arc<Event>) {
        if self.waiting.remove(&(connection, id)).is_some() {
            self.reply(connection, id, Ok(Reply::Waited(Some(event))));
        }
    }

    fn joined(
        &mut self,
        id: RequestId,
        wish: &Consume,
        member: MemberKey,
        group: Result<Recovered, Refusal>,
        now: Duration,
    ) {
        let outcome = match group {
            _ if !self.consumers.contains_key(&member) => Err(Refusal::Stopping),
            Err(refusal) => {
                self.consumers.remove(&member);
                Err(refusal)
            }
            Ok(recovered) => {
                let (group, after) = (recovered.group.id, recovered.group.start_after);
                if !self.desk.has_group(group) {
                    self.watch.learns(&recovered.group, &recovered.pauses);
                }
                self.desk.add_group(recovered, self.at(now));
                let label = Arc::from(format!("{}/{}", SERVICE, member.connection.0));
                if self.desk.join(group, member, label, wish.credit) {
                    self.consumers.insert(member, Some(group));
                    Ok(Reply::Listening { after })
                } else {
                    self.consumers.remove(&member);
                    Err(Refusal::Stopping)
                }
            }
        };
        self.reply(member.connection, id, outcome);
    }

    /// The group is not this hub's any more: its members have to come again.
    pub(super) fn lost(&mut self, group: GroupId) -> Result<(), Broken> {
        let tickets = self.desk.drop_group(group);
        self.acts_end(group, &tickets)?;
        self.watch.dropped(group);
        let members: Vec<_> =
            self.consumers.iter().filter(|(_, of)| **of == Some(group)).map(|(&key, _)| key).collect();
        for member in members {
            self.consumers.remove(&member);
            self.watch.sent_away(member);
            let refusal = Refusal::Unavailable { reason: "the group has gone to another hub".to_owned() };
            self.send(member.connection, Outgoing::Dropped { listener: member.listener, refusal });
        }
        Ok(())
    }
}

fn publisher(offer: &Offer) -> Option<ServiceName> {
    match offer {
        Offer::Publish => ServiceName::parse(SERVICE).ok(),
        Offer::Persist | Offer::Restore(_) => None,
    }
}
