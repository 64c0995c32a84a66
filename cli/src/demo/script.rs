//! The steps of the story, in order.

use std::time::Duration;

use proto::group::GroupStatus;
use proto::message::{Appended, Stored};
use proto::report::{DeliveryState, EventStory};
use proto::{EventId, GroupName, Pid, Position};
use spoke::Spoke;
use tokio::sync::mpsc;

use super::services::{self, DECLINED, Try, in_time};
use super::{Narrator, RULES, expect};
use crate::failure::{Failure, Outcome};
use crate::output::Shown;
use crate::own_hub::OwnHub;
use crate::shown::story::Why;

/// The orders of the story: number, customer, total.
const ORDERS: [(&str, &str, u32); 3] = [("1001", "Ada", 42), (DECLINED, "Bob", 7), ("1003", "Cleo", 19)];

/// How often the demo looks whether something has happened that nobody tells it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Tells the story on `hub`.
pub(super) async fn tell(hub: &OwnHub, narrator: &mut Narrator<'_>) -> Outcome {
    narrator.tell(
        "A hub starts in a temporary folder.",
        vec![
            format!("It keeps its log in {}", hub.data().join("eventflow.db").display()),
            format!("and listens on {}. It has made certificates of its own.", hub.address()),
        ],
    )?;
    let (shop, billing) = (hub.connect("shop").await?, hub.connect("billing").await?);
    let (tell_try, mut tries) = mpsc::channel(64);
    let billing_consumer = services::bill(&billing, tell_try).await?;
    let mut watcher = services::watch(&shop).await?;
    narrator.tell(
        "Two services connect over mutual TLS: shop and billing.",
        vec![
            "Each was given a certificate; its key never left it.".to_owned(),
            "billing consumes the event \"order placed\": one of its members gets each, and answers."
                .to_owned(),
            "shop subscribes to all orders: it is told of everything, and answers nothing.".to_owned(),
        ],
    )?;

    let ids = place_orders(&shop, narrator).await?;
    settle_good_orders(&mut watcher, narrator).await?;
    park_the_declined(&shop, &ids, &mut tries, narrator).await?;
    publish_again(&shop, &ids, narrator).await?;
    show_log_and_state(&shop, narrator).await?;
    show_group(&shop, narrator).await?;

    billing_consumer.stop().await?;
    for spoke in [shop, billing] {
        spoke.close().await.map_err(Failure::failed)?;
    }
    Ok(())
}

/// Publishes the orders and says where each is.
async fn place_orders(shop: &Spoke, narrator: &mut Narrator<'_>) -> Outcome<Vec<EventId>> {
    let (mut ids, mut lines) = (Vec::new(), Vec::new());
    for (number, customer, total) in ORDERS {
        let id = spoke::generate_id();
        let appended = shop.publish(placed(id.clone(), number, customer, total)?).await?;
        expect(appended.stored == Stored::Now, "a new order is stored")?;
        lines.push(format!("order {number} of {customer}: stored at position {}", appended.position));
        ids.push(id);
    }
    lines.push("The hub answers only after the database has the event on disk.".to_owned());
    narrator.tell("shop publishes \"order placed\" for three orders.", lines)?;
    Ok(ids)
}

fn placed(id: EventId, number: &str, customer: &str, total: u32) -> Outcome<proto::NewEvent> {
    let data = format!(r#"{{"customer":"{customer}","total":{total}}}"#);
    services::event(id, number, "order placed", &data)
}

/// Two orders are billed, and the subscriber sees all five events.
async fn settle_good_orders(watcher: &mut spoke::EventStream, narrator: &mut Narrator<'_>) -> Outcome {
    let lines = services::watched(watcher, 5).await?;
    let billed = lines.iter().filter(|line| line.contains("order billed")).count();
    expect(billed == 2, "two orders are billed")?;
    narrator.tell("billing bills two of them and publishes \"order billed\". shop is told of it all:", lines)
}

/// One order fails until it is parked, and the hub can say so.
async fn park_the_declined(
    shop: &Spoke,
    ids: &[EventId],
    tries: &mut mpsc::Receiver<Try>,
    narrator: &mut Narrator<'_>,
) -> Outcome {
    let (mut lines, mut first) = (Vec::new(), None);
    while lines.len() < RULES.attempts_max as usize {
        let next = in_time("a failed order is tried again", tries.recv()).await?;
        let Some(tried) = next else { return Err(Failure::failed("billing has ended")) };
        if tried.order != DECLINED {
            continue;
        }
        let after = tried.at.duration_since(*first.get_or_insert(tried.at));
        lines.push(format!("try {} after {:4} ms: {}", tried.attempt, after.as_millis(), tried.outcome));
    }
    let [_, declined, _] = ids else { return Err(Failure::failed("there are three orders")) };
    let story = parked(shop, declined).await?;
    lines.push("The other orders did not wait for it. The hub says why it is where it is:".to_owned());
    lines.push(format!("$ eventflow why {declined}"));
    lines.extend(Why::of(&story).iter().map(|why| format!("  {}", why.for_people())));
    narrator.tell(
        format!("Order {DECLINED} fails. It is tried again with growing waits, then it is parked."),
        lines,
    )
}

/// The story of an event, once it is parked.
async fn parked(shop: &Spoke, id: &EventId) -> Outcome<EventStory> {
    in_time("an order that always fails is parked", async {
        loop {
            let story = shop.story(id).await?;
            if story.deliveries.iter().any(|delivery| delivery.state == DeliveryState::Parked) {
                return Ok(story);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await?
}

/// The same event once more is not stored again.
async fn publish_again(shop: &Spoke, ids: &[EventId], narrator: &mut Narrator<'_>) -> Outcome {
    let ([id, ..], [(number, customer, total), ..]) = (ids, ORDERS) else {
        return Err(Failure::failed("there are three orders"));
    };
    let Appended { position, stored, .. } =
        shop.publish(placed(id.clone(), number, customer, total)?).await?;
    expect(stored == Stored::Before && position == Position(1), "an event with the same id is stored once")?;
    narrator.tell(
        format!("shop is not sure whether order {number} arrived, and publishes it again with the same id."),
        vec![format!("It was stored already, at position {position}. Nobody is billed twice.")],
    )
}

/// The events of one order and what they amount to.
async fn show_log_and_state(shop: &Spoke, narrator: &mut Narrator<'_>) -> Outcome {
    let (domain, pid) = (services::order()?, Pid::parse("1001").map_err(Failure::failed)?);
    let events = shop.eventlog(&domain, &pid).all().await?;
    let state = shop.state(&domain, &pid).await?;
    let says = |key, value: serde_json::Value| state.get(key) == Some(&value);
    expect(
        events.len() == 2 && says("billed", true.into()) && says("total", 42.into()),
        "an order's state is its log, folded",
    )?;
    let mut lines = vec!["$ eventflow log order 1001".to_owned()];
    lines.extend(
        events
            .iter()
            .map(|event| format!("  version {}: {} {}", event.version, event.name, event.data.as_str())),
    );
    lines.push("$ eventflow state order 1001".to_owned());
    lines.push(format!("  {state}"));
    narrator.tell("Every order has a log, and its state is the log folded together.", lines)
}

/// The group's progress, once all is settled.
async fn show_group(shop: &Spoke, narrator: &mut Narrator<'_>) -> Outcome {
    let group = GroupName::parse("billing").map_err(Failure::failed)?;
    let status: GroupStatus = in_time("every order is settled", async {
        loop {
            match shop.group_statuses(Some(&group)).await?.into_iter().next() {
                Some(status) if status.report.pending == 0 => return Ok::<_, Failure>(status),
                Some(_) | None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    })
    .await??;
    let (succeeded, parked) = (status.report.succeeded, status.report.parked);
    expect(succeeded == 2 && parked == 1, "two orders succeeded and one is parked")?;
    let mut lines = vec!["$ eventflow groups show billing".to_owned()];
    lines.extend(status.for_people().lines().map(|line| format!("  {line}")));
    narrator.tell("Nothing is forgotten: every order has its outcome in the group's books.", lines)
}
