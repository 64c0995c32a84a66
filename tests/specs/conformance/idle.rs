//! What schedules cost while nothing is due, as the server itself counts it. (An SQLite file counts nothing;
//! what the wheel reads is counted beside it, in `hub/src/schedule/wheel.rs`.)

use std::time::Duration;

use db::Database;
use eventflow_tests::counted::CountedUser;
use eventflow_tests::{Log, TestDatabase, on_every_engine, within};
use futures::future::join_all;
use hub::SteppedSchedules;
use proto::Timestamp;

use super::schedules::small;

const MINUTES: u64 = 60;

on_every_engine! {
    async fn while_nothing_is_due_the_server_gets_six_statements_a_minute_at_most(database: &TestDatabase) {
        let Some(mut user) = CountedUser::on(database).await else { return };
        database.open().await.close().await;
        let mut log = Log::over(Database::open(user.url()).await.unwrap(), "idle").await;
        let start = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let end = start.plus(Duration::from_secs(60 * MINUTES));
        let far = end.plus(Duration::from_secs(86_400)).millis();
        let asked = (0..200).map(|n| log.writer.schedule(small(&format!("e{n}"), far + n)));
        join_all(asked).await.into_iter().for_each(|answer| assert!(answer.is_ok()));
        let news = log.commits.pending_schedules().unwrap();
        let grace = Duration::from_secs(60);
        let mut wheel = SteppedSchedules::new(log.writer.clone(), log.reader.clone(), news, grace, start);
        let mut now = within("the first turn", wheel.turn(start)).await.unwrap();
        let before = user.statements().await;
        while now < end {
            now = within("a turn", wheel.turn(now)).await.unwrap();
        }
        let sent = user.statements().await - before;
        println!("{}: {sent} statements in {MINUTES} minutes", database.engine().name());
        assert!(sent > MINUTES, "the server does not count: {sent}");
        assert!(sent <= 6 * MINUTES, "{sent} statements in {MINUTES} minutes");
        log.close().await;
        user.remove().await;
    }
}
