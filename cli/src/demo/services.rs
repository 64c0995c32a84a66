//! The two services of the story. `shop` takes orders and shows what becomes of them, `billing`
//! bills them, and always fails with one customer's card.

use std::time::Duration;

use proto::{Data, Domain, EventId, EventName, NewEvent, Pid, Start};
use spoke::{Consumer, Delivery, EventStream, Spoke, Subscription, Told};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::failure::{Failure, Outcome};

/// The order whose card is declined.
pub(super) const DECLINED: &str = "1002";

/// How long a step of the story may take.
const STEP_WITHIN: Duration = Duration::from_secs(30);

/// A try of `billing`, as it is told.
pub(super) struct Try {
    pub(super) order: String,
    pub(super) attempt: u32,
    pub(super) at: Instant,
    pub(super) outcome: &'static str,
}

/// Names of the story; they are constants, so they are good.
pub(super) fn order() -> Outcome<Domain> {
    Domain::parse("order").map_err(Failure::failed)
}

pub(super) fn event(id: EventId, order_number: &str, name: &str, data: &str) -> Outcome<NewEvent> {
    let pid = Pid::parse(order_number).map_err(Failure::failed)?;
    let name = EventName::parse(name).map_err(Failure::failed)?;
    let data = Data::parse(data.to_owned()).map_err(Failure::failed)?;
    Ok(NewEvent { data, ..NewEvent::new(id, order()?, pid, name) })
}

/// Starts to bill orders. Each try is told to `tries`.
pub(super) async fn bill(billing: &Spoke, tries: mpsc::Sender<Try>) -> Outcome<Consumer> {
    let placed = EventName::parse("order placed").map_err(Failure::failed)?;
    let spoke = billing.clone();
    let handler = move |delivery: Delivery| {
        let (spoke, tries) = (spoke.clone(), tries.clone());
        async move {
            let order = delivery.event.pid.to_string();
            let declined = order == DECLINED;
            let tried = Try {
                order,
                attempt: delivery.attempt.0,
                at: Instant::now(),
                outcome: if declined { "card declined" } else { "billed" },
            };
            // The story may have ended while this was under way.
            let _ = tries.send(tried).await;
            if declined {
                return Err(spoke::Failure::retry("card declined"));
            }
            spoke.publish(billed(&delivery)?).await?;
            Ok(())
        }
    };
    Ok(billing.consumer(order()?).from(Start::Beginning).name(placed, handler).start().await?)
}

/// The event that answers an order. Its id is made from the order's, so that billing it twice
/// would still store it once.
fn billed(delivery: &Delivery) -> Result<NewEvent, Failure> {
    let id = EventId::parse(&format!("billed-{}", delivery.event.id)).map_err(Failure::failed)?;
    let order = delivery.event.pid.as_str();
    let data = format!(r#"{{"billed":true,"invoice":"R-{order}"}}"#);
    Ok(NewEvent { rid: Some(delivery.event.id.clone()), ..event(id, order, "order billed", &data)? })
}

/// Starts to watch orders.
pub(super) async fn watch(shop: &Spoke) -> Outcome<EventStream> {
    Ok(shop.subscribe(Subscription::topic(order()?).from(Start::Beginning)).await?)
}

/// The next `count` events that a watcher is told of, one line each.
pub(super) async fn watched(events: &mut EventStream, count: usize) -> Outcome<Vec<String>> {
    let mut lines = Vec::new();
    while lines.len() < count {
        match in_time("the subscriber is told of every event", events.next()).await? {
            Some(Ok(Told::Event(event))) => {
                lines.push(format!("position {}: order {}, {}", event.position, event.pid, event.name));
            }
            Some(Ok(Told::Lagged { .. } | Told::CaughtUp { .. })) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err(Failure::failed("the subscription has ended")),
        }
    }
    Ok(lines)
}

/// What `step` gives, or a failure if it takes too long.
pub(super) async fn in_time<T>(what: &str, step: impl Future<Output = T>) -> Outcome<T> {
    timeout(STEP_WITHIN, step).await.map_err(|_| {
        Failure::failed(format_args!("the demo expected that {what}; it did not within {STEP_WITHIN:?}"))
    })
}
