//! 64 publishers on 8 hubs, with conflicts and foreign rollbacks, while readers check all the while
//! that what they see is an exact prefix of the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use db::{Reader, WriteError, Writer};
use eventflow_tests::database::Saboteur;
use eventflow_tests::events::{event, name, with_id};
use eventflow_tests::log::{page, publish};
use eventflow_tests::{Log, TestDatabase, on_every_engine, within};
use futures::future::join_all;
use proto::message::{Appended, Stored};
use proto::read::Query;
use proto::{Event, EventId, Expectation, Expected, NewEvent, Position, Version};
use rand::prelude::*;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

const HUBS: u64 = 8;
const PUBLISHERS_PER_HUB: u64 = 8;
const APPENDS_PER_PUBLISHER: u64 = 12;

/// One publisher's work: random appends, some of which must lose. Returns what was answered.
async fn publisher(writer: Writer, seed: u64) -> Vec<(EventId, Appended)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut answered = Vec::new();
    for n in 0..APPENDS_PER_PUBLISHER {
        let size = random.random_range(1..=4);
        let mut events: Vec<NewEvent> = (0..size)
            .map(|_| event("order", &format!("p{}", random.random_range(0..20)), "placed"))
            .collect();
        let mut expectations = Vec::new();
        match random.random_range(0..6) {
            // An id that all publishers use with content of their own: one of them wins.
            0 => events.push(with_id(&format!("shared-{n}"), "order", &format!("{seed}"), "claimed")),
            // An id that all use with the same content: all win.
            1 => events.push(with_id(&format!("alike-{n}"), "order", "alike", "said")),
            // A version that is most likely wrong.
            2 => expectations.push(Expectation {
                domain: name("order"),
                pid: name("p0"),
                expected: Expected::Exactly(Version(random.random_range(0..200))),
            }),
            _ => {}
        }
        let ids: Vec<EventId> = events.iter().map(|event| event.id.clone()).collect();
        let mut answer = publish(&writer, events.clone(), expectations.clone()).await;
        // What is unavailable may be said again, with the same ids, until it is answered.
        while matches!(answer, Err(WriteError::Unavailable { .. })) {
            answer = publish(&writer, events.clone(), expectations.clone()).await;
        }
        match answer {
            Ok(places) => answered.extend(ids.into_iter().zip(places)),
            Err(WriteError::Refused(_)) => {}
            Err(other) => panic!("publisher {seed}: {other}"),
        }
    }
    answered
}

/// Reads the log again and again from where it stands: every page has to go on without a gap.
async fn prefix_reader(reader: Reader, done: Arc<AtomicBool>, limit: u32) -> u64 {
    let mut seen = Position(0);
    let mut versions: HashMap<(String, String), u64> = HashMap::new();
    let mut last_round = false;
    loop {
        let head = reader.head().await.unwrap().position;
        let (events, through, _) = page(&reader, &Query::Log { after: seen, limit }).await;
        for event in &events {
            assert_eq!(event.position, seen.next(), "a reader saw a gap");
            seen = event.position;
            let version = versions.entry((event.domain.to_string(), event.pid.to_string())).or_default();
            *version += 1;
            assert_eq!(event.version, Version(*version), "{}/{}", event.domain, event.pid);
        }
        assert!(events.len() == limit as usize || through >= head, "{through} is short of the head {head}");
        assert!(through >= seen);
        if events.is_empty() {
            if last_round {
                return seen.0;
            }
            last_round = done.load(Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    }
}

fn answers_are_true(events: &[Event], answered: &[(EventId, Appended)]) {
    let stored: HashMap<&EventId, &Event> = events.iter().map(|event| (&event.id, event)).collect();
    assert_eq!(stored.len(), events.len(), "an id is stored once");
    let mut fresh = 0;
    for (id, answer) in answered {
        let event = stored.get(id).unwrap_or_else(|| panic!("{id} was answered and is not there"));
        assert_eq!((event.position, event.version), (answer.position, answer.version), "{id}");
        fresh += u64::from(answer.stored == Stored::Now);
    }
    assert!(fresh <= events.len() as u64);
}

on_every_engine! {
    async fn the_log_is_an_exact_prefix_for_every_reader_at_every_moment(database: &TestDatabase) {
        let mut logs = Vec::new();
        for hub in 0..HUBS {
            logs.push(Log::open_as(database, &format!("hub-{hub}")).await);
        }
        let done = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for (index, limit) in [1_000, 7, 100].into_iter().enumerate() {
            readers.spawn(prefix_reader(logs[index].reader.clone(), Arc::clone(&done), limit));
        }
        let rollbacks = Arc::new(AtomicU64::new(0));
        let mut saboteurs = JoinSet::new();
        {
            let (mut saboteur, done) = (Saboteur::on(database).await, Arc::clone(&done));
            let rollbacks = Arc::clone(&rollbacks);
            saboteurs.spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    saboteur.move_the_head_and_roll_back().await;
                    rollbacks.fetch_add(1, Ordering::SeqCst);
                }
            });
        }

        let publishers = logs.iter().enumerate().flat_map(|(hub, log)| {
            (0..PUBLISHERS_PER_HUB)
                .map(move |n| publisher(log.writer.clone(), hub as u64 * PUBLISHERS_PER_HUB + n))
        });
        let answered: Vec<_> = within("all publishers", join_all(publishers)).await.into_iter().flatten().collect();
        done.store(true, Ordering::SeqCst);
        within("the saboteur", saboteurs.join_all()).await;
        let seen = within("the readers", readers.join_all()).await;

        let events = logs[0].everything().await;
        assert!(seen.iter().all(|seen| *seen == events.len() as u64), "{seen:?} of {}", events.len());
        answers_are_true(&events, &answered);
        assert!(rollbacks.load(Ordering::SeqCst) > 0, "nothing was rolled back");
        for log in logs {
            log.close().await;
        }
    }
}
