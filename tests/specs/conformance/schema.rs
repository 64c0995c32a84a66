//! The tables (E1): made once, by whoever comes first, and never touched when they are not ours.

use db::{Database, MigrateError};
use eventflow_tests::events::{at, event, id};
use eventflow_tests::{Engine, Log, TestDatabase, on_every_engine, within};
use futures::future::join_all;
use proto::{Position, Version};

/// What version 1 consists of, for an engine.
fn version_1(engine: Engine) -> [&'static str; 2] {
    match engine {
        Engine::Sqlite => [
            include_str!("../../../sql/sqlite/schema_migration/create.sql"),
            include_str!("../../../sql/sqlite/migrations/0001_log.sql"),
        ],
        Engine::MariaDb | Engine::MySql => [
            include_str!("../../../sql/mysql/schema_migration/create.sql"),
            include_str!("../../../sql/mysql/migrations/0001_log.sql"),
        ],
    }
}

/// The hash of version 1, taken from a database that was migrated in order.
async fn hash_of_version_1(engine: Engine) -> String {
    const QUERY: &str = "SELECT hash FROM schema_migration WHERE version = 1";
    let other = TestDatabase::fresh(engine).await.unwrap();
    other.open().await.close().await;
    let hash = match engine {
        Engine::Sqlite => sqlx::query_scalar(QUERY).fetch_one(&mut other.sqlite().await).await.unwrap(),
        Engine::MariaDb | Engine::MySql => {
            sqlx::query_scalar(QUERY).fetch_one(&mut other.mysql().await).await.unwrap()
        }
    };
    other.remove().await;
    hash
}

async fn bare(database: &TestDatabase) -> Database {
    Database::open(&database.url()).await.unwrap()
}

on_every_engine! {
    async fn migrating_again_changes_nothing(database: &TestDatabase) {
        let handle = bare(database).await;
        let first = handle.migrate().await.unwrap();
        assert!(!first.applied.is_empty() && first.version >= 1);
        let again = handle.migrate().await.unwrap();
        assert_eq!((again.applied.len(), again.version), (0, first.version));
        handle.check_schema().await.unwrap();
        handle.close().await;
    }

    async fn many_that_migrate_at_once_do_it_once(database: &TestDatabase) {
        let mut handles = Vec::new();
        for _ in 0..6 {
            handles.push(bare(database).await);
        }
        let outcomes = within("the migrations", join_all(handles.iter().map(Database::migrate))).await;
        let applied: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().applied.len()).collect();
        assert_eq!(applied.iter().filter(|applied| **applied > 0).count(), 1, "{applied:?}");
        assert_eq!(database.number("SELECT COUNT(*) FROM log_head").await, 1);
        for handle in handles {
            handle.close().await;
        }
    }

    async fn an_empty_database_is_told_from_a_migrated_one(database: &TestDatabase) {
        let handle = bare(database).await;
        let before = handle.check_schema().await;
        assert!(matches!(before, Err(MigrateError::Older { found: 0, needed }) if needed >= 1), "{before:?}");
        handle.migrate().await.unwrap();
        handle.check_schema().await.unwrap();
        handle.close().await;
    }

    async fn a_newer_schema_is_refused_and_left_alone(database: &TestDatabase) {
        let handle = database.open().await;
        database.execute("INSERT INTO schema_migration (version, name, hash, applied) VALUES (99, '0099_later', 'x', 0)").await;
        for outcome in [handle.migrate().await.map(drop), handle.check_schema().await] {
            assert!(matches!(outcome, Err(MigrateError::Newer { found: 99, .. })), "{outcome:?}");
            let message = outcome.unwrap_err().to_string();
            assert!(message.contains("version 99") && message.contains("newer program"), "{message}");
        }
        handle.close().await;
    }

    async fn a_migration_with_another_text_is_refused(database: &TestDatabase) {
        let handle = database.open().await;
        database.execute("UPDATE schema_migration SET hash = 'changed' WHERE version = 1").await;
        for outcome in [handle.migrate().await.map(drop), handle.check_schema().await] {
            assert!(matches!(outcome, Err(MigrateError::Changed { version: 1, .. })), "{outcome:?}");
        }
        handle.close().await;
    }

    async fn a_database_of_something_else_is_refused_and_left_alone(database: &TestDatabase) {
        database.execute("CREATE TABLE customer (id BIGINT PRIMARY KEY)").await;
        let handle = bare(database).await;
        for outcome in [handle.migrate().await.map(drop), handle.check_schema().await] {
            assert!(matches!(&outcome, Err(MigrateError::Foreign { table }) if table == "customer"), "{outcome:?}");
        }
        database.execute("DROP TABLE customer").await;
        handle.migrate().await.unwrap();
        handle.close().await;
    }

    async fn a_filled_log_of_version_1_is_brought_to_the_newest_and_goes_on(database: &TestDatabase) {
        let engine = database.engine();
        for text in version_1(engine) {
            database.execute(text).await;
        }
        let hash = hash_of_version_1(engine).await;
        let digest = if engine == Engine::Sqlite { "randomblob(16)" } else { "UNHEX(LEFT(SHA2(i, 256), 32))" };
        for statement in [
            format!("INSERT INTO schema_migration (version, name, hash, applied) VALUES (1, '0001_log', '{hash}', 0)"),
            "INSERT INTO log_head (id, position, incarnation, updated) VALUES (1, 3000, 77, 0)".to_owned(),
            format!(
                "INSERT INTO event (position, id, timestamp, domain, pid, version, name, publisher, published, digest, data, links)
                 WITH RECURSIVE a (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM a WHERE i < 60), b (i) AS (SELECT x.i + 60 * (y.i - 1) FROM a x, a y WHERE y.i <= 50)
                 SELECT i, CONCAT('id-', i), i, 'order', CONCAT('p', i % 100), 1 + (i - 1 - (i - 1) % 100) / 100, 'n', 'shop', i, {digest}, '{{}}', 0 FROM b"
            ),
        ] {
            database.execute(&statement).await;
        }
        let handle = bare(database).await;
        let migrated = handle.migrate().await.unwrap();
        assert_eq!(migrated.applied.len() + 1, migrated.version as usize, "all but the first: {migrated:?}");
        handle.close().await;

        let log = Log::open(database).await;
        assert_eq!(log.reader.head().await.unwrap().incarnation, 77);
        assert_eq!(log.everything().await.len(), 3_000);
        let next = log.publish_one(event("order", "p1", "placed")).await;
        assert_eq!((next.position, next.version), (Position(3_001), Version(31)));
        log.writer.schedule(crate::conformance::schedules::small("s", 5)).await.unwrap();
        let shots = log.writer.fire(vec![id("s")], at(9)).await.unwrap();
        assert_eq!(shots[0].position(), Some(Position(3_002)));
        log.close().await;
    }

    async fn a_log_keeps_its_incarnation_and_no_two_share_one(database: &TestDatabase) {
        let log = Log::open(database).await;
        let before = log.reader.head().await.unwrap();
        log.publish_one(event("order", "a", "placed")).await;
        log.close().await;
        let log = Log::open(database).await;
        let after = log.reader.head().await.unwrap();
        assert_eq!((after.incarnation, after.position), (before.incarnation, Position(1)));

        let other = TestDatabase::fresh(database.engine()).await.unwrap();
        let stranger = other.open().await;
        assert_ne!(stranger.reader().head().await.unwrap().incarnation, before.incarnation);
        stranger.close().await;
        other.remove().await;
        log.close().await;
    }
}
