//! A database is tried out before it is trusted, and nothing of that is left behind.

use db::doctor::{Finding, Verdict, examine};
use db::{Database, DatabaseUrl};
use eventflow_tests::{Engine, TestDatabase, on_every_engine, run};
use proto::Timestamp;

/// A time that is surely not the database's.
fn long_ago() -> Timestamp {
    Timestamp::parse("2001-01-01T00:00:00Z").unwrap()
}

async fn tables(database: &TestDatabase) -> i64 {
    let query = match database.engine() {
        Engine::Sqlite => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'",
        Engine::MariaDb | Engine::MySql => {
            "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
        }
    };
    database.number(query).await
}

fn verdict(findings: &[Finding], check: &str) -> Verdict {
    let found = findings.iter().find(|finding| finding.check == check);
    found.unwrap_or_else(|| panic!("{check} was not checked: {findings:#?}")).verdict
}

on_every_engine! {
    async fn a_database_that_keeps_the_promises_is_found_good(database: &TestDatabase) {
        let handle = database.open().await;
        let before = tables(database).await;
        let findings = examine(&database.url(), long_ago()).await;
        for check in ["connection", "version", "durability", "schema", "head lock", "isolation", "row counts", "unique keys", "names"] {
            assert_eq!(verdict(&findings, check), Verdict::Good, "{check}: {findings:#?}");
        }
        assert!(findings.iter().all(|finding| finding.verdict != Verdict::Good || finding.advice.is_empty()));
        assert_eq!(tables(database).await, before, "nothing is left behind");
        handle.close().await;
    }

    async fn a_clock_that_is_far_off_is_pointed_out(database: &TestDatabase) {
        let handle = database.open().await;
        let findings = examine(&database.url(), long_ago()).await;
        assert_eq!(verdict(&findings, "clock"), Verdict::Warning, "{findings:#?}");
        handle.close().await;
    }

    async fn a_database_without_tables_is_examined_and_stays_without(database: &TestDatabase) {
        let findings = examine(&database.url(), long_ago()).await;
        assert_eq!(verdict(&findings, "schema"), Verdict::Warning, "{findings:#?}");
        assert_eq!(verdict(&findings, "head lock"), Verdict::Good, "{findings:#?}");
        assert_eq!(tables(database).await, 0);
    }

    async fn two_doctors_at_once_do_not_take_each_other_for_an_illness(database: &TestDatabase) {
        let handle = database.open().await;
        let url = database.url();
        let (one, other) = futures::join!(examine(&url, long_ago()), examine(&url, long_ago()));
        for findings in [one, other] {
            let refused: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Refused).collect();
            assert!(refused.is_empty(), "{refused:#?}");
        }
        handle.close().await;
    }

    async fn a_working_hub_is_not_disturbed(database: &TestDatabase) {
        let log = eventflow_tests::Log::open(database).await;
        let url = database.url();
        let publishing = async {
            for n in 0..20 {
                log.publish_one(eventflow_tests::events::event("order", &n.to_string(), "placed")).await;
            }
        };
        let (findings, ()) = futures::join!(examine(&url, long_ago()), publishing);
        assert_eq!(verdict(&findings, "head lock"), Verdict::Good, "{findings:#?}");
        assert_eq!(log.head().await.0, 20);
        log.close().await;
    }

    async fn a_schema_of_a_newer_program_is_refused(database: &TestDatabase) {
        let handle = database.open().await;
        database.execute("INSERT INTO schema_migration (version, name, hash, applied) VALUES (9999, 'later', 'x', 1)").await;
        let findings = examine(&database.url(), long_ago()).await;
        assert_eq!(verdict(&findings, "schema"), Verdict::Refused, "{findings:#?}");
        handle.close().await;
    }

    async fn a_server_without_the_database_is_examined_and_stays_without(database: &TestDatabase) {
        // A file that is not there is the next spec's matter.
        if database.engine() == Engine::Sqlite {
            return;
        }
        let (server, name) = (database.url_text(), "ef_that_is_never_made");
        let (address, options) = server.split_once('?').unwrap_or((&server, ""));
        let address = address.rsplit_once('/').unwrap().0;
        let url = DatabaseUrl::parse(&format!("{address}/{name}?{options}")).unwrap();
        let findings = examine(&url, long_ago()).await;
        assert_eq!(verdict(&findings, "schema"), Verdict::Warning, "{findings:#?}");
        assert_ne!(verdict(&findings, "head lock"), Verdict::Refused, "{findings:#?}");
        let made = format!("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{name}'");
        assert_eq!(database.number(&made).await, 0);
    }
}

#[test]
fn a_file_that_is_not_there_is_not_made() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let findings = examine(&DatabaseUrl::sqlite(&folder.path().join("eventflow.db")), long_ago()).await;
        assert_eq!(verdict(&findings, "head lock"), Verdict::Good, "{findings:#?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    });
}

#[test]
fn a_folder_that_is_not_there_is_refused_with_what_to_do() {
    run(async {
        let url = DatabaseUrl::parse("sqlite:/nowhere/at/all/eventflow.db").unwrap();
        let findings = examine(&url, long_ago()).await;
        assert_eq!(verdict(&findings, "connection"), Verdict::Refused, "{findings:#?}");
        assert!(!findings[0].advice.is_empty());
    });
}

#[test]
fn a_server_that_nobody_runs_is_refused_with_what_to_do() {
    run(async {
        let url = DatabaseUrl::parse("mysql://nobody:secret@127.0.0.1:1/x").unwrap();
        let findings = examine(&url, long_ago()).await;
        assert_eq!(verdict(&findings, "connection"), Verdict::Refused, "{findings:#?}");
        assert!(!format!("{findings:?}").contains("secret"));
        assert!(Database::open(&url).await.is_err());
    });
}
