//! A consumer joins its group, which is made or found in the tables first.

use std::sync::Arc;

use db::GroupWish;
use proto::message::Consume;
use proto::{Position, Refusal};

use super::super::connection::ConnectionId;
use super::super::desk::key;
use super::super::group::{MemberKey, Recovered};
use super::super::handle::Opened;
use super::manage::ReadAt;
use super::{DispatchTask, Done};

impl DispatchTask {
    pub(super) fn consume(
        &mut self,
        connection: ConnectionId,
        wish: Consume,
        label: Arc<str>,
        reply: Opened,
    ) {
        let member = key(connection, wish.listener);
        self.consumers.insert(member, None);
        let (log, read) = (self.log.clone(), self.changes.now());
        self.work.push(Box::pin(async move {
            let group = GroupWish {
                name: wish.group.clone(),
                topic: wish.topic.clone(),
                start: wish.start,
                order: wish.order,
            };
            let group = Box::new(log.group(group).await);
            Done::Group { read, member, wish: Box::new(wish), label, reply, group }
        }));
    }

    /// A group is made or found: its consumer joins it.
    pub(super) fn group_ready(
        &mut self,
        read: ReadAt,
        member: MemberKey,
        wish: Consume,
        label: Arc<str>,
        reply: Opened,
        group: Result<Recovered, Refusal>,
    ) {
        let is_here = group.as_ref().is_ok_and(|new| self.desk.has_group(new.group.id));
        if !is_here && self.changes.since(read) && self.consumers.contains_key(&member) {
            // It may have been set or removed since it was read.
            return self.consume(member.connection, wish, label, reply);
        }
        let opened = self.consume_ready(member, &wish, label, group);
        let _asker_gone = reply.send(opened);
    }

    fn consume_ready(
        &mut self,
        member: MemberKey,
        wish: &Consume,
        label: Arc<str>,
        group: Result<Recovered, Refusal>,
    ) -> Result<Position, Refusal> {
        // Gone or left while its group was made.
        if !self.consumers.contains_key(&member) {
            return Err(Refusal::Stopping);
        }
        let recovered = group.inspect_err(|_| {
            self.consumers.remove(&member);
        })?;
        let (id, after) = (recovered.group.id, recovered.group.start_after);
        self.desk.add_group(recovered, self.clock.now());
        if !self.desk.join(id, member, label, wish.credit) {
            self.consumers.remove(&member);
            return Err(Refusal::Stopping);
        }
        self.consumers.insert(member, Some(id));
        self.changes.tell(member);
        Ok(after)
    }
}
