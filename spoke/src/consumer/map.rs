//! Routing events of several domains to the methods of one service.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use proto::{Domain, Event, EventName};

use super::delivery::{Delivery, Failure};
use super::{Consumer, ConsumerBuilder};
use crate::error::ListenError;
use crate::spoke::Spoke;

type Method<S> = Arc<dyn Fn(Arc<S>, Delivery) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;
type OnError<S> = Arc<dyn Fn(Arc<S>, Arc<Event>, Failure) -> BoxFuture<'static, Failure> + Send + Sync>;

/// Which method of a service handles which event.
///
/// ```no_run
/// use std::sync::Arc;
/// use eventflow_spoke::{ConsumerMap, Delivery, Domain, EventName, Failure, Spoke};
///
/// struct Billing;
///
/// impl Billing {
///     async fn on_order_placed(self: Arc<Self>, delivery: Delivery) -> Result<(), Failure> {
///         println!("bill {}", delivery.event.pid);
///         Ok(())
///     }
/// }
///
/// # async fn example(spoke: Spoke) -> Result<(), Box<dyn std::error::Error>> {
/// let order = Domain::parse("order")?;
/// let consumers = ConsumerMap::new(Billing)
///     .on(order, EventName::parse("order placed")?, Billing::on_order_placed)
///     .on_error(|_billing, event, failure| async move {
///         eprintln!("{} failed: {}", event.id, failure.reason());
///         failure
///     })
///     .start(&spoke)
///     .await?;
/// consumers.stop().await?;
/// # Ok(()) }
/// ```
#[must_use = "nothing is consumed before start()"]
pub struct ConsumerMap<S> {
    service: Arc<S>,
    routes: BTreeMap<Domain, Vec<Route<S>>>,
    on_error: Option<OnError<S>>,
}

struct Route<S> {
    /// `None` is every name without a route of its own.
    name: Option<EventName>,
    method: Method<S>,
}

impl<S: Send + Sync + 'static> ConsumerMap<S> {
    /// Routes events to `service`.
    pub fn new(service: S) -> Self {
        Self { service: Arc::new(service), routes: BTreeMap::new(), on_error: None }
    }

    /// `method` handles events of this domain and name.
    pub fn on<F, A>(self, domain: Domain, name: EventName, method: F) -> Self
    where
        F: Fn(Arc<S>, Delivery) -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.route(domain, Some(name), method)
    }

    /// `method` handles events of this domain that have no method of their own.
    pub fn on_any<F, A>(self, domain: Domain, method: F) -> Self
    where
        F: Fn(Arc<S>, Delivery) -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.route(domain, None, method)
    }

    /// `handler` hears of every failure and has the last word: it may turn a retry into a park.
    pub fn on_error<F, A>(self, handler: F) -> Self
    where
        F: Fn(Arc<S>, Arc<Event>, Failure) -> A + Send + Sync + 'static,
        A: Future<Output = Failure> + Send + 'static,
    {
        let handler: OnError<S> =
            Arc::new(move |service, event, failure| handler(service, event, failure).boxed());
        Self { on_error: Some(handler), ..self }
    }

    /// Starts a consumer for each domain, in the group that bears the service's name.
    ///
    /// # Errors
    /// [`ListenError`] of the first that did not start; those before it are stopped.
    pub async fn start(self, spoke: &Spoke) -> Result<Consumers, ListenError> {
        self.start_with(spoke, |builder| builder).await
    }

    /// As [`ConsumerMap::start`], after `set` has set group, start or concurrency of each consumer.
    ///
    /// # Errors
    /// As [`ConsumerMap::start`].
    pub async fn start_with(
        self,
        spoke: &Spoke,
        set: impl Fn(ConsumerBuilder) -> ConsumerBuilder,
    ) -> Result<Consumers, ListenError> {
        let Self { service, routes, on_error } = self;
        let mut consumers = Vec::with_capacity(routes.len());
        for (domain, routes) in routes {
            let mut builder = set(spoke.consumer(domain));
            for Route { name, method } in routes {
                let handler = handler(&service, method, on_error.clone());
                builder = match name {
                    Some(name) => builder.name(name, handler),
                    None => builder.any(handler),
                };
            }
            consumers.push(builder.start().await?);
        }
        Ok(Consumers { consumers })
    }

    fn route<F, A>(mut self, domain: Domain, name: Option<EventName>, method: F) -> Self
    where
        F: Fn(Arc<S>, Delivery) -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let method: Method<S> = Arc::new(move |service, delivery| method(service, delivery).boxed());
        self.routes.entry(domain).or_default().push(Route { name, method });
        self
    }
}

/// A method with its service and the service's error handler around it.
fn handler<S: Send + Sync + 'static>(
    service: &Arc<S>,
    method: Method<S>,
    on_error: Option<OnError<S>>,
) -> impl Fn(Delivery) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync + 'static {
    let service = Arc::clone(service);
    move |delivery| {
        let (service, on_error) = (Arc::clone(&service), on_error.clone());
        let event = Arc::clone(&delivery.event);
        let work = method(Arc::clone(&service), delivery);
        async move {
            let Err(failure) = work.await else { return Ok(()) };
            match on_error {
                Some(on_error) => Err(on_error(service, event, failure).await),
                None => Err(failure),
            }
        }
        .boxed()
    }
}

impl<S> fmt::Debug for ConsumerMap<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerMap").field("domains", &self.routes.keys()).finish_non_exhaustive()
    }
}

/// The consumers of a [`ConsumerMap`], one a domain.
#[derive(Debug)]
#[must_use = "dropped consumers consume nothing"]
pub struct Consumers {
    consumers: Vec<Consumer>,
}

impl Consumers {
    /// Stops all of them, as [`Consumer::stop`].
    ///
    /// # Errors
    /// The first [`ListenError`]; all of them are stopped nevertheless.
    pub async fn stop(self) -> Result<(), ListenError> {
        let stopping = self.consumers.into_iter().map(Consumer::stop);
        futures::future::join_all(stopping).await.into_iter().collect()
    }

    /// Waits until the first of them ends by itself.
    ///
    /// # Errors
    /// [`ListenError`] says why it ended.
    pub async fn ended(&mut self) -> Result<(), ListenError> {
        let ending = self.consumers.iter_mut().map(|consumer| consumer.ended().boxed());
        futures::future::select_all(ending).await.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proto::Attempt;

    use super::super::chain::Collected;
    use super::super::delivery::Dropped;
    use super::*;
    use crate::testing::{event, group};

    #[derive(Default)]
    struct Service {
        placed: AtomicUsize,
        failed: AtomicUsize,
    }

    impl Service {
        async fn on_order_placed(self: Arc<Self>, delivery: Delivery) -> Result<(), Failure> {
            self.placed.fetch_add(1, Ordering::Relaxed);
            if delivery.attempt.0 > 1 { Err(Failure::retry("again")) } else { Ok(()) }
        }

        async fn on_failure(self: Arc<Self>, _event: Arc<Event>, failure: Failure) -> Failure {
            self.failed.fetch_add(1, Ordering::Relaxed);
            Failure::park(failure.reason())
        }
    }

    fn delivery(attempt: u32) -> Delivery {
        let collected = Collected::new(group());
        Delivery::new(Arc::new(event(1)), Attempt(attempt), None, Dropped::SaysNothing, collected)
    }

    #[tokio::test]
    async fn an_event_reaches_its_method_and_a_failure_the_error_handler() {
        let (order, placed) = (Domain::parse("order").unwrap(), EventName::parse("order placed").unwrap());
        let map = ConsumerMap::new(Service::default())
            .on(order.clone(), placed, Service::on_order_placed)
            .on_error(Service::on_failure);
        let route = &map.routes[&order][0];
        let handler = handler(&map.service, Arc::clone(&route.method), map.on_error.clone());
        assert_eq!(handler(delivery(1)).await, Ok(()));
        assert_eq!(handler(delivery(2)).await, Err(Failure::park("again")));
        assert_eq!(map.service.placed.load(Ordering::Relaxed), 2);
        assert_eq!(map.service.failed.load(Ordering::Relaxed), 1);
    }
}
