//! What the rights are that commands need: each wish of a peer, in terms of actions and what they are
//! done with.

use proto::access::Action;
use proto::message::{Consume, Request, Scope, Subscribe};
use proto::{EventId, ListenerId, Refusal, Topic};

use super::{Caller, Commands};
use crate::access::{Permit, Reach, Target};

/// What a listener was opened for: enough to ask again whether it may be.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// A member of a consumer group.
    Consumer(ListenerId, Topic),
    /// A subscription.
    Subscription(ListenerId, Option<Topic>, Scope),
}

impl Wish {
    /// The wish in `request`, if it is one for a listener.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        if let Request::Consume(Consume { listener, topic, .. }) = request {
            return Some(Self::Consumer(*listener, topic.clone()));
        }
        if let Request::Subscribe(Subscribe { listener, topic, scope, .. }) = request {
            return Some(Self::Subscription(*listener, topic.clone(), *scope));
        }
        None
    }

    /// The spoke's number for it.
    pub(crate) fn listener(&self) -> ListenerId {
        match self {
            Self::Consumer(listener, _) | Self::Subscription(listener, ..) => *listener,
        }
    }
}

impl Commands {
    /// What `caller` reaches with `action` now.
    pub(super) fn reach<'a>(&'a self, caller: &'a Caller, action: Action) -> Reach<'a> {
        let service = &caller.peer.service;
        Reach::new(self.access.grants(), &self.denials, service, action, self.clock.now())
    }

    /// The right to administer.
    pub(super) fn permit_admin(&self, caller: &Caller) -> Result<Permit, Refusal> {
        self.reach(caller, Action::Admin).permit(Target::Everything)
    }

    /// The right to consume a topic.
    pub(super) fn permit_consumer(&self, caller: &Caller, topic: &Topic) -> Result<Permit, Refusal> {
        self.reach(caller, Action::Consume).permit_names(&topic.domain, &topic.names)
    }

    /// The right to be told of a topic, or of everything. What was only stored takes the right to read.
    pub(super) fn permit_subscription(
        &self,
        caller: &Caller,
        topic: Option<&Topic>,
        scope: Scope,
    ) -> Result<Permit, Refusal> {
        let permit = |action| {
            let reach = self.reach(caller, action);
            match topic {
                Some(topic) => reach.permit_names(&topic.domain, &topic.names),
                None => reach.permit(Target::Everything),
            }
        };
        match scope {
            Scope::Published => permit(Action::Subscribe),
            Scope::Stored => permit(Action::Subscribe).and_then(|_| permit(Action::Read)),
        }
    }

    /// Whether `caller` may still have what it listens to.
    ///
    /// # Errors
    /// [`Refusal::Denied`] if it may not.
    pub(crate) fn check(&self, caller: &Caller, wish: &Wish) -> Result<(), Refusal> {
        let permit = match wish {
            Wish::Consumer(_, topic) => self.permit_consumer(caller, topic),
            Wish::Subscription(_, topic, scope) => self.permit_subscription(caller, topic.as_ref(), *scope),
        };
        permit.map(drop)
    }

    /// The right to do `action` with the event `id`, whose domain the caller did not name.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if there is none, or none that the caller may do it with: the same words, so
    /// that nobody learns which ids there are.
    pub(super) async fn permit_event(
        &self,
        caller: &Caller,
        action: Action,
        id: &EventId,
    ) -> Result<Permit, Refusal> {
        let reach = self.reach(caller, action);
        if let Some(permit) = reach.everything() {
            return Ok(permit);
        }
        let permit = reach.permit(Target::Something)?;
        let what = format!("event {id}");
        let Some((domain, name)) = self.store.origin(&permit, id).await? else {
            return Err(reach.not_found(what));
        };
        let target = match &name {
            Some(name) => Target::Events(&domain, name),
            None => Target::Domain(&domain),
        };
        if reach.covers(target) { Ok(permit) } else { Err(reach.hide(what, target)) }
    }
}
