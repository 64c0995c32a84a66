//! Which handler gets an event: the one for its name, else the one for any name.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use proto::EventName;
use proto::message::Verdict;
use tokio::task::JoinError;

use super::chain::Collecting;
use super::delivery::{Delivery, Failure, Word};

/// A handler, whatever its type was.
pub(super) type Handler = Arc<dyn Fn(Delivery) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// The handlers of one consumer.
#[derive(Clone, Default)]
pub(super) struct Handlers {
    named: HashMap<EventName, Handler>,
    any: Option<Handler>,
}

impl Handlers {
    pub(super) fn name<F, A>(&mut self, name: EventName, handler: F)
    where
        F: Fn(Delivery) -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.named.insert(name, Arc::new(move |delivery| handler(delivery).boxed()));
    }

    pub(super) fn any<F, A>(&mut self, handler: F)
    where
        F: Fn(Delivery) -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.any = Some(Arc::new(move |delivery| handler(delivery).boxed()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.any.is_none()
    }

    /// The names that the hub is asked for; none means all of them.
    ///
    /// With named handlers only, a name without a handler never arrives.
    pub(super) fn filter(&self, wanted: Vec<EventName>) -> Vec<EventName> {
        if self.any.is_some() && wanted.is_empty() {
            return Vec::new();
        }
        wanted.into_iter().chain(self.named.keys().cloned()).collect()
    }

    /// The handler for events of this name.
    pub(super) fn of(&self, name: &EventName) -> Option<Handler> {
        self.named.get(name).or(self.any.as_ref()).map(Arc::clone)
    }
}

/// Runs a handler to its end and says what its outcome means. What it has collected counts only with an ack.
pub(super) async fn handle(handler: Option<Handler>, delivery: Delivery, collecting: Collecting) -> Word {
    let Some(handler) = handler else {
        let reason = format!("this member has no handler for {:?}", delivery.event.name.as_str());
        return Failure::retry(reason).verdict().into();
    };
    match handler(delivery).await {
        Ok(()) => Word { effects: collecting.take(), ..Word::from(Verdict::Ack) },
        Err(failure) => failure.verdict().into(),
    }
}

/// What it means that a handler did not come to its end. A panic is a failure of this delivery and
/// of nothing else.
pub(super) fn broken_off(error: JoinError) -> Verdict {
    match error.try_into_panic() {
        Ok(panic) => Failure::retry(format!("the handler panicked: {}", message(&*panic))).verdict(),
        // The runtime is being shut down.
        Err(_) => Verdict::Release,
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use proto::Attempt;

    use super::super::chain::Collected;
    use super::super::delivery::Dropped;
    use super::*;
    use crate::testing::{event, group};

    fn delivery() -> (Delivery, Collecting) {
        let (collected, collecting) = Collected::of_handler(group());
        (Delivery::new(Arc::new(event(1)), Attempt(1), None, Dropped::SaysNothing, collected), collecting)
    }

    async fn verdict(handler: Option<Handler>) -> Verdict {
        let (delivery, collecting) = delivery();
        handle(handler, delivery, collecting).await.verdict
    }

    fn name(text: &str) -> EventName {
        EventName::parse(text).unwrap()
    }

    #[tokio::test]
    async fn the_named_handler_goes_before_the_one_for_any_name() {
        let mut handlers = Handlers::default();
        handlers.any(|_| async { Err(Failure::park("any")) });
        handlers.name(name("order placed"), |_| async { Ok(()) });
        let placed = verdict(handlers.of(&name("order placed"))).await;
        assert_eq!(placed, Verdict::Ack);
        let other = verdict(handlers.of(&name("order shipped"))).await;
        assert_eq!(other, Verdict::Park { reason: "any".into() });
    }

    #[test]
    fn the_filter_is_the_names_that_have_handlers() {
        let mut handlers = Handlers::default();
        handlers.name(name("a"), |_| async { Ok(()) });
        assert_eq!(handlers.filter(Vec::new()), [name("a")]);
        handlers.any(|_| async { Ok(()) });
        assert_eq!(handlers.filter(Vec::new()), []);
        assert_eq!(handlers.filter(vec![name("b")]), [name("b"), name("a")]);
    }

    #[tokio::test]
    async fn a_handler_that_fails_leaves_nothing_of_what_it_collected() {
        for (outcome, effects) in [(Ok(()), 1), (Err(Failure::retry("no")), 0)] {
            let mut handlers = Handlers::default();
            handlers.any(move |mut delivery| {
                let outcome = outcome.clone();
                async move {
                    delivery.cancel(proto::chain::Which::Id(event(3).id))?;
                    outcome
                }
            });
            let (delivery, collecting) = delivery();
            let word = handle(handlers.of(&name("a")), delivery, collecting).await;
            assert_eq!(word.effects.effects.len(), effects);
        }
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_with_its_message() {
        let mut handlers = Handlers::default();
        handlers.any(|delivery| async move { panic!("no {}", delivery.event.pid) });
        let mut running = tokio::task::JoinSet::new();
        let (delivery, collecting) = delivery();
        running.spawn(handle(handlers.of(&name("a")), delivery, collecting));
        let verdict = broken_off(running.join_next().await.unwrap().unwrap_err());
        let reason = "the handler panicked: no 1".to_owned();
        assert_eq!(verdict, Verdict::Fail { reason, after_ms: None });
    }
}
