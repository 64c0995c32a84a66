//! A process log through three stages (`consume` → publish → `consume` → publish → projection into SQL), with
//! hub and members killed at random: at the end the projection's rows equal a direct fold of the input.

use std::time::Duration;

use eventflow_tests::events::name;
use eventflow_tests::ledger::{Ledger, MySqlShelf, Plan, Shelf, SqliteShelf};
use eventflow_tests::process::{HubProcess, Place};
use eventflow_tests::process_log::ProcessLog;
use eventflow_tests::{Engine, TestDatabase, on_every_engine, within};
use proto::{Domain, Position};
use spoke::{Consumer, Delivery, Event, Failure, Projection, Projector, Spoke, SpokeOptions, Start};

/// What a plan may do, at least so often.
const BLOWS: u64 = 40;

/// The domains that events go through.
const DOMAINS: [&str; 3] = ["permit", "checked", "filed"];

async fn connect(place: &Place, service: &str) -> Spoke {
    within("a spoke's connection", Spoke::connect(SpokeOptions::new(name(service), place.data())))
        .await
        .unwrap()
}

/// A member of the group that hands events on from one domain to the next. Dropping it is its death.
struct Member {
    _consumer: Consumer,
    _spoke: Spoke,
}

impl Member {
    async fn of(place: &Place, stage: usize) -> Self {
        let spoke = connect(place, &format!("stage-{stage}")).await;
        let (from, to) = (name::<Domain>(DOMAINS[stage]), name::<Domain>(DOMAINS[stage + 1]));
        let handler = move |delivery: Delivery| hand_on(to.clone(), delivery);
        // While the hub is away, joining is tried again.
        let consumer = loop {
            let builder = spoke.consumer(from.clone()).any(handler.clone()).from(Start::Beginning);
            if let Ok(consumer) = within("joining", builder.start()).await {
                break consumer;
            }
        };
        Self { _consumer: consumer, _spoke: spoke }
    }
}

/// One step of the chain: the child is committed with the ack of its parent.
async fn hand_on(to: Domain, mut delivery: Delivery) -> Result<(), Failure> {
    let (pid, what) = (delivery.event.pid.clone(), delivery.event.name.clone());
    let mut child = delivery.child(to, pid, what);
    child.data = delivery.event.data.clone();
    delivery.publish(child)?;
    Ok(())
}

/// Everything that runs, so that it can be killed.
struct Chain<'a, S: Shelf> {
    place: &'a Place,
    shelf: S,
    hub: HubProcess,
    members: Vec<(usize, Member)>,
    keeper: Spoke,
    projection: Projection,
}

impl<'a, S: Shelf> Chain<'a, S>
where
    Ledger: Projector<S::Open>,
{
    async fn start(place: &'a Place, shelf: S) -> Self {
        let hub = place.hub(&[]).await;
        let mut members = Vec::new();
        for stage in [0, 0, 1, 1] {
            members.push((stage, Member::of(place, stage).await));
        }
        let keeper = connect(place, "keeper").await;
        let projection = project(&keeper, &shelf).await;
        Self { place, shelf, hub, members, keeper, projection }
    }

    /// Kills something, and starts it again.
    async fn blow(mut self, plan: &mut Plan) -> Self {
        match plan.below(4) {
            0 => {
                let address = self.hub.kill().await;
                self.hub = self.place.hub_at(&address, &[]).await;
            }
            1 | 2 => {
                let victim = usize::try_from(plan.below(self.members.len() as u64)).unwrap();
                let (stage, dead) = self.members.swap_remove(victim);
                drop(dead);
                self.members.push((stage, Member::of(self.place, stage).await));
            }
            _ => {
                drop(self.projection);
                self.projection = project(&self.keeper, &self.shelf).await;
            }
        }
        self
    }

    async fn booked(&self) -> i64 {
        self.shelf.rows(1).await.values().map(|(events, _)| events).sum()
    }

    async fn end(self) {
        self.projection.stop().await.unwrap();
        drop((self.members, self.keeper));
        self.hub.terminate().await;
    }
}

/// Runs the projection; while the hub is away, that is tried again.
async fn project<S: Shelf>(spoke: &Spoke, shelf: &S) -> Projection
where
    Ledger: Projector<S::Open>,
{
    let starting = async {
        loop {
            let filed = spoke.projection("filed").unwrap().topic(name(DOMAINS[2])).batch(64);
            if let Ok(projection) = filed.run(shelf.store().await, Ledger::default()).await {
                return projection;
            }
        }
    };
    within("the projection's start", starting).await
}

async fn goes_through<S: Shelf>(shelf: S, place: &Place)
where
    Ledger: Projector<S::Open>,
{
    let mut plan = Plan::seeded();
    let receipts = ProcessLog::receipts(place);
    let all = i64::try_from(receipts.events).unwrap();
    let mut chain = Chain::start(place, shelf).await;
    let mut import = Some(place.start(&receipts.import()));
    let mut blows = 0;
    loop {
        let target = plan.after(chain.projection.progress().applied, 2_000);
        drop(chain.projection.wait_for(target, Duration::from_millis(plan.below(600))).await);
        let booked = chain.booked().await;
        if blows < BLOWS && booked < all {
            chain = chain.blow(&mut plan).await;
            blows += 1;
            continue;
        }
        // Whatever the blows did to it, what is imported again is stored once.
        if let Some(import) = import.take() {
            import.rest().await;
            place.done(&receipts.import()).await;
        }
        if booked >= all {
            break;
        }
    }
    println!("{blows} blows until everything was booked");
    let input: Vec<Event> = chain.keeper.log(Position(0)).all().await.unwrap();
    let of = |domain: &'static str| input.iter().filter(move |event| event.domain.as_str() == domain);
    assert_eq!(of(DOMAINS[0]).count(), receipts.events);
    assert_eq!(of(DOMAINS[2]).count(), receipts.events, "each event was filed once");
    let end = input.last().unwrap().position;
    chain.projection.wait_for(end, Duration::from_secs(50)).await.unwrap();
    assert_eq!(chain.shelf.rows(1).await, Ledger::fold(of(DOMAINS[0])), "seed {}", plan.seed());
    chain.end().await;
}

on_every_engine! {
    async fn a_chain_that_is_killed_anywhere_equals_a_fold_of_its_input(database: &TestDatabase) {
        let place = Place::on(database);
        let books = TestDatabase::fresh(database.engine()).await.unwrap();
        match database.engine() {
            Engine::Sqlite => goes_through(SqliteShelf::on(&books).await, &place).await,
            Engine::MariaDb | Engine::MySql => goes_through(MySqlShelf::on(&books).await, &place).await,
        }
        books.remove().await;
    }
}
