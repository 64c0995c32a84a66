//! Projections: each event has its effect once, whatever fails, and what cannot go on says why.

use std::time::Duration;

use eventflow_spoke::{
    ApplyError, Ended, Event, Generation, Phase, Position, Projection, ProjectionBuilder, ProjectionError,
    Projector, Refusal, Spoke, Start,
};
use proto::ListenerId;
use proto::message::{Reply, Request};

use crate::fake_hub::{FakeHub, HubLink, order};
use crate::memory_store::{Fault, MemoryStore, Tables};

const WITHIN: Duration = Duration::from_secs(30);

/// Records positions; position 13 fails, position 66 panics.
struct Recorder;

impl Projector<Tables> for Recorder {
    async fn apply(
        &mut self,
        tables: &mut Tables,
        event: &Event,
        generation: Generation,
    ) -> Result<(), ApplyError> {
        let position = event.position.0;
        assert!(position != 66, "66 panics on purpose");
        tables.rows.push((generation, position));
        if position == 13 { Err("13 brings bad luck".into()) } else { Ok(()) }
    }
}

fn orders(spoke: &Spoke) -> ProjectionBuilder {
    spoke.projection("orders").unwrap().topic(order()).attempts(2)
}

/// Answers a projection's question for the end of the log, and then opens its subscription.
async fn open(link: &mut HubLink, head: u64) -> (ListenerId, Start) {
    loop {
        let (id, request) = link.request().await;
        match request {
            Request::Subscribe(subscribe) => {
                let after = match subscribe.start {
                    Start::At(position) => position.previous(),
                    Start::Beginning => Position(0),
                    Start::Now => Position(head),
                };
                link.reply(id, Ok(Reply::Listening { after })).await;
                if subscribe.start != Start::Now {
                    return (subscribe.listener, subscribe.start);
                }
                link.session.caught_up(subscribe.listener, Position(head));
                link.flush().await;
            }
            Request::Leave(_) => link.reply(id, Ok(Reply::Left)).await,
            other => panic!("not asked for: {other:?}"),
        }
    }
}

/// Answers a projection's question for the end of the log, and nothing else.
async fn tell_head(link: &mut HubLink, head: u64) {
    let listener = loop {
        let (id, request) = link.request().await;
        match request {
            Request::Subscribe(subscribe) => {
                link.reply(id, Ok(Reply::Listening { after: Position(head) })).await;
                break subscribe.listener;
            }
            _ => link.reply(id, Ok(Reply::Left)).await,
        }
    };
    link.session.caught_up(listener, Position(head));
    link.flush().await;
}

async fn run(spoke: &Spoke, link: &mut HubLink, store: &MemoryStore, head: u64) -> (Projection, ListenerId) {
    let running = orders(spoke).run(store.clone(), Recorder);
    let (projection, (listener, _)) = tokio::join!(running, open(link, head));
    (projection.unwrap(), listener)
}

#[tokio::test]
async fn each_event_has_its_effect_once_over_cuts() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let store = MemoryStore::default();
    let (projection, listener) = run(&spoke, &mut link, &store, 3).await;
    link.push(listener, 1).await;
    link.push(listener, 3).await;
    projection.wait_for(Position(3), WITHIN).await.unwrap();
    drop(link);
    let mut link = hub.accept().await;
    let (listener, start) = open(&mut link, 9).await;
    assert_eq!(start, Start::At(Position(4)));
    link.push(listener, 7).await;
    projection.wait_for(Position(7), WITHIN).await.unwrap();
    assert_eq!(projection.stop().await.unwrap(), Ended::Stopped);

    // A second run goes on where the first one was.
    let running = orders(&spoke).run(store.clone(), Recorder);
    let (projection, (listener, start)) = tokio::join!(running, open(&mut link, 9));
    assert_eq!(start, Start::At(Position(8)));
    link.push(listener, 8).await;
    projection.unwrap().wait_for(Position(8), WITHIN).await.unwrap();
    assert_eq!(store.applied(1), [1, 3, 7, 8]);
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_done_again() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let store = MemoryStore::default();
    let (projection, listener) = run(&spoke, &mut link, &store, 2).await;
    for fault in [Fault::Answer, Fault::Commit, Fault::Begin] {
        store.fault(fault);
    }
    for position in 1..=4 {
        link.push(listener, position).await;
        projection.wait_for(Position(position), WITHIN).await.unwrap();
    }
    assert_eq!(store.applied(1), [1, 2, 3, 4]);
}

#[tokio::test]
async fn an_event_that_cannot_be_applied_stops_it_and_is_named() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let store = MemoryStore::default();
    let (mut projection, listener) = run(&spoke, &mut link, &store, 14).await;
    for position in [11, 12, 13, 14] {
        link.push(listener, position).await;
    }
    let error = projection.ended().await.unwrap_err();
    let ProjectionError::Poison { event, position: Position(13), attempts: 2, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(event.as_str(), "e13");
    assert!(error.to_string().contains("13 brings bad luck"), "{error}");
    assert_eq!(store.applied(1), [11, 12], "everything before it, and nothing of it");

    // Only when a person says so it is passed over, and that is recorded.
    let running = orders(&spoke).skip(Position(13)).run(store.clone(), Recorder);
    let (projection, (listener, _)) = tokio::join!(running, open(&mut link, 14));
    link.push(listener, 13).await;
    link.push(listener, 14).await;
    projection.unwrap().wait_for(Position(14), WITHIN).await.unwrap();
    assert_eq!(store.applied(1), [11, 12, 14]);
    assert_eq!(store.tables().skipped, [13]);
}

#[tokio::test]
async fn a_projector_that_panics_ends_the_projection_with_an_error() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let store = MemoryStore::default();
    let (mut projection, listener) = run(&spoke, &mut link, &store, 66).await;
    link.push(listener, 66).await;
    let error = projection.ended().await.unwrap_err();
    assert!(error.to_string().contains("66 panics on purpose"), "{error}");
    assert!(matches!(error, ProjectionError::Panicked { position: Position(66), .. }));
    assert_eq!(store.tables().checkpoints[&Generation(1)].position, Position(0));
}

#[tokio::test]
async fn a_checkpoint_of_another_log_is_refused_with_what_to_do() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let store = MemoryStore::default();
    let (mut projection, listener) = run(&spoke, &mut link, &store, 1).await;
    link.push(listener, 1).await;
    projection.wait_for(Position(1), WITHIN).await.unwrap();
    drop(link);
    // The hub comes back with another log.
    let mut link = hub.greeted().await;
    link.welcome(2).await;
    let error = projection.ended().await.unwrap_err();
    assert!(matches!(error, ProjectionError::OtherLog { kept: 1, found: 2, .. }), "{error}");

    let running = orders(&spoke).run(store.clone(), Recorder);
    let (again, ()) = tokio::join!(running, tell_head(&mut link, 1));
    let error = again.unwrap_err();
    assert!(matches!(error, ProjectionError::OtherLog { kept: 1, found: 2, .. }), "{error}");
    assert!(error.to_string().contains("rebuild"), "{error}");

    // The way on: a new generation, from the beginning of the new log.
    let rebuilding = orders(&spoke).rebuild(store.clone(), Recorder);
    let (rebuilt, (listener, start)) = tokio::join!(rebuilding, open(&mut link, 1));
    let rebuilt = rebuilt.unwrap();
    assert_eq!((rebuilt.generation(), start), (Generation(2), Start::At(Position(1))));
    link.push(listener, 1).await;
    rebuilt.wait_for(Position(1), WITHIN).await.unwrap();
    assert_eq!((store.applied(1), store.applied(2)), (vec![1], vec![1]));
}

#[tokio::test]
async fn a_log_that_ends_before_the_checkpoint_is_refused() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let store = MemoryStore::default();
    let (projection, listener) = run(&spoke, &mut link, &store, 5).await;
    link.push(listener, 5).await;
    projection.wait_for(Position(5), WITHIN).await.unwrap();
    projection.stop().await.unwrap();
    let running = orders(&spoke).run(store.clone(), Recorder);
    let (again, ()) = tokio::join!(running, tell_head(&mut link, 4));
    let error = again.unwrap_err();
    assert!(matches!(error, ProjectionError::AheadOfLog { head: Position(4), .. }), "{error}");
}

#[tokio::test]
async fn a_log_that_has_lost_its_end_meanwhile_is_refused() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let store = MemoryStore::default();
    let (mut projection, listener) = run(&spoke, &mut link, &store, 5).await;
    link.push(listener, 5).await;
    projection.wait_for(Position(5), WITHIN).await.unwrap();
    drop(link);
    let mut link = hub.accept().await;
    let (id, _) = link.request().await;
    link.reply(id, Err(Refusal::Invalid { reason: "the log ends before".to_owned() })).await;
    let error = projection.ended().await.unwrap_err();
    assert!(matches!(error, ProjectionError::AheadOfLog { position: Position(5), .. }), "{error}");
}

#[tokio::test]
async fn a_place_without_an_event_counts_as_applied_and_is_recorded_at_the_end() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let store = MemoryStore::default();
    let (projection, listener) = run(&spoke, &mut link, &store, 0).await;
    link.push(listener, 2).await;
    link.session.caught_up(listener, Position(40));
    link.flush().await;
    projection.wait_for(Position(40), WITHIN).await.unwrap();
    assert_eq!((projection.progress().lag(), projection.progress().events), (0, 1));
    let recorded = |store: &MemoryStore| store.tables().checkpoints[&Generation(1)].position;
    assert_eq!(recorded(&store), Position(2), "not with each mark");
    projection.stop().await.unwrap();
    assert_eq!(recorded(&store), Position(40));
}

#[tokio::test]
async fn a_place_without_an_event_is_recorded_while_it_runs() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let store = MemoryStore::default();
    let running = orders(&spoke).mark_every(Duration::from_millis(1)).run(store.clone(), Recorder);
    let (projection, (listener, _)) = tokio::join!(running, open(&mut link, 0));
    let projection = projection.unwrap();
    link.session.caught_up(listener, Position(7));
    link.flush().await;
    projection.wait_for(Position(7), WITHIN).await.unwrap();
    while store.tables().checkpoints[&Generation(1)].position < Position(7) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_somebody_else_has_applied_is_left_out() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let store = MemoryStore::default();
    let (projection, listener) = run(&spoke, &mut link, &store, 4).await;
    store.tables().checkpoints.get_mut(&Generation(1)).unwrap().position = Position(2);
    for position in 1..=4 {
        link.push(listener, position).await;
    }
    projection.wait_for(Position(4), WITHIN).await.unwrap();
    assert_eq!(store.applied(1), [3, 4]);
}

#[tokio::test]
async fn a_checkpoint_that_went_back_is_read_again_from_there() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let store = MemoryStore::default();
    let (projection, listener) = run(&spoke, &mut link, &store, 3).await;
    for position in 1..=3 {
        link.push(listener, position).await;
    }
    projection.wait_for(Position(3), WITHIN).await.unwrap();
    // The caller's database was restored from a copy.
    store.tables().checkpoints.get_mut(&Generation(1)).unwrap().position = Position(1);
    store.tables().rows.truncate(1);
    link.push(listener, 4).await;
    let (listener, start) = open(&mut link, 4).await;
    assert_eq!(start, Start::At(Position(2)));
    for position in 2..=4 {
        link.push(listener, position).await;
    }
    projection.wait_for(Position(4), WITHIN).await.unwrap();
    assert_eq!(store.applied(1), [1, 2, 3, 4]);
}

#[tokio::test]
async fn who_stands_by_takes_over_when_the_other_moves_no_more() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let store = MemoryStore::default();
    let (projection, listener) = run(&spoke, &mut link, &store, 2).await;
    // The other one has applied event 1, and then nothing any more.
    store.tables().checkpoints.get_mut(&Generation(1)).unwrap().position = Position(1);
    link.push(listener, 1).await;
    while projection.progress().phase != Phase::StandingBy {
        tokio::task::yield_now().await;
    }
    link.push(listener, 2).await;
    projection.wait_for(Position(2), WITHIN).await.unwrap();
    assert_eq!(store.applied(1), [2]);
    assert_ne!(projection.progress().phase, Phase::StandingBy);
}
