//! What waits to be sent to a spoke: messages, encoded only when the socket takes them.

use std::collections::VecDeque;

use crate::chain::Chained;
use crate::limits::{UNSENT_BYTES_MAX, UNSENT_MESSAGES_MAX};
use crate::message::{HubMessage, Reply};
use crate::read::Page;
use crate::refusal::Refusal;
use crate::schedule::{ScheduleReply, ScheduleReport};
use crate::wire;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<HubMessage>,
    bytes: usize,
    pongs: VecDeque<u64>,
    ping: Option<u64>,
    drained: bool,
}

impl Outbox {
    pub(super) fn push(&mut self, message: HubMessage) {
        self.bytes += weight(&message);
        self.queue.push_back(message);
    }

    pub(super) fn pong(&mut self, number: u64) {
        self.pongs.push_back(number);
    }

    pub(super) fn ping(&mut self, number: u64) {
        self.ping = Some(number);
    }

    pub(super) fn pongs(&self) -> usize {
        self.pongs.len()
    }

    pub(super) fn messages(&self) -> usize {
        self.queue.len() + self.pongs.len() + usize::from(self.ping.is_some())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= UNSENT_MESSAGES_MAX || self.bytes >= UNSENT_BYTES_MAX
    }

    /// Whether anything was sent since this was last asked.
    pub(super) fn take_drained(&mut self) -> bool {
        std::mem::take(&mut self.drained)
    }

    /// Appends the next message to `buffer`; signs of life overtake the rest.
    pub(super) fn poll(&mut self, buffer: &mut Vec<u8>) -> bool {
        let message = if let Some(number) = self.pongs.pop_front() {
            HubMessage::Pong(number)
        } else if let Some(number) = self.ping.take() {
            HubMessage::Ping(number)
        } else if let Some(message) = self.queue.pop_front() {
            self.bytes -= weight(&message);
            message
        } else {
            return false;
        };
        self.drained = true;
        let Err(error) = wire::encode(&message, buffer) else { return true };
        wire::encode(&instead(message, error.to_string()), buffer).is_ok()
    }
}

/// What is said in place of a message that does not fit a frame.
fn instead(message: HubMessage, reason: String) -> HubMessage {
    let refusal = Refusal::Invalid { reason };
    match message {
        HubMessage::Reply { id, .. } => HubMessage::Reply { id, outcome: Err(refusal) },
        // Nothing is left out silently: a listener that cannot be told of an event ends.
        HubMessage::Deliver { listener, .. }
        | HubMessage::Push { listener, .. }
        | HubMessage::Dropped { listener, .. } => HubMessage::Dropped { listener, refusal },
        // The others have a size that always fits.
        HubMessage::Welcome(_)
        | HubMessage::Lagged { .. }
        | HubMessage::CaughtUp { .. }
        | HubMessage::Ping(_)
        | HubMessage::Pong(_)
        | HubMessage::GoAway { .. }
        | HubMessage::Deadline { .. }
        | HubMessage::Enough(_)
        | HubMessage::Trust(_)
        | HubMessage::Renew { .. }
        | HubMessage::Expelled { .. } => message,
    }
}

/// Bytes that `message` holds, roughly; the same whenever it is asked.
fn weight(message: &HubMessage) -> usize {
    const SMALL: usize = 128;
    SMALL
        + match message {
            HubMessage::Deliver { event, .. } | HubMessage::Push { event, .. } => event.weight(),
            HubMessage::Reply { outcome: Ok(reply), .. } => match reply {
                Reply::Page(Page::Events { events, .. }) => events.iter().map(crate::Event::weight).sum(),
                Reply::Page(Page::Pids { pids, .. }) => pids.len() * SMALL,
                Reply::Page(Page::Domains { domains, .. }) => domains.len() * SMALL,
                Reply::Groups(groups) => groups.len() * SMALL,
                Reply::GroupStatus(groups) => groups.iter().map(crate::group::GroupStatus::weight).sum(),
                Reply::Story(story) => story.deliveries.len() * SMALL,
                Reply::Waited(event) => event.as_ref().map_or(0, |event| event.weight()),
                Reply::Parked(parked) => parked.weight(),
                Reply::Admin(admin) => admin.weight(),
                Reply::Renewed(renewed) => renewed.chain.iter().chain(&renewed.roots).map(Vec::len).sum(),
                Reply::Appended(appended) | Reply::Chained(Chained::Committed(appended)) => {
                    appended.len() * size_of::<crate::message::Appended>()
                }
                Reply::Schedule(ScheduleReply::Shown(report)) => report.weight(),
                Reply::Schedule(ScheduleReply::Listed(page)) => page.iter().map(ScheduleReport::weight).sum(),
                Reply::Schedule(ScheduleReply::Added(_) | ScheduleReply::Changed(_))
                | Reply::Listening { .. }
                | Reply::Left
                | Reply::Changed(_)
                | Reply::Outbox(_)
                | Reply::Chained(Chained::Stale) => 0,
            },
            HubMessage::Reply { outcome: Err(_), .. }
            | HubMessage::Welcome(_)
            | HubMessage::Lagged { .. }
            | HubMessage::CaughtUp { .. }
            | HubMessage::Dropped { .. }
            | HubMessage::Ping(_)
            | HubMessage::Pong(_)
            | HubMessage::GoAway { .. }
            | HubMessage::Deadline { .. }
            | HubMessage::Enough(_)
            | HubMessage::Renew { .. }
            | HubMessage::Expelled { .. } => 0,
            HubMessage::Trust(trust) => trust.roots.iter().map(Vec::len).sum(),
        }
}
