//! What people get wrong: nothing is stored, the exit code says whose fault it is, and the message
//! says what to do.

use eventflow_tests::database::unused_port;
use eventflow_tests::process::{Ended, Place};
use eventflow_tests::{Engine, TestDatabase, on_every_engine};

/// Fails unless the command ended with `code` and said all of `parts` on standard error.
fn says(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is not in: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

/// Runs `spec` with a data folder on SQLite in it.
fn on_sqlite(spec: impl AsyncFnOnce(&Place)) {
    eventflow_tests::run(async {
        let database = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
        spec(&Place::on(&database)).await;
    });
}

#[test]
fn a_name_that_cannot_be_one_is_refused_before_anything_is_sent() {
    on_sqlite(async |place| {
        let hub = place.hub(&[]).await;
        let long = "x".repeat(129);
        let cases: &[(&[&str], &str)] = &[
            (&["publish", "", "1", "placed"], "empty"),
            (&["publish", "order", &long, "placed"], "129 characters"),
            (&["publish", "order", "a\nb", "placed"], "control character U+000A"),
            (&["publish", "order", " a", "placed"], "white space"),
            (&["publish", "order", "1", "*"], "wildcard"),
            (&["publish", "order", "1", "placed", "--service", "My Shop"], "only a-z"),
        ];
        for (arguments, part) in cases {
            says(&place.run(arguments).await, 2, &[part]);
        }
        assert!(
            place.json(&["tail", "--from", "beginning", "--json", "--idle-exit", "0.2"]).await.is_empty()
        );
        hub.terminate().await;
    });
}

#[test]
fn data_that_is_not_json_or_too_large_is_refused() {
    on_sqlite(async |place| {
        let hub = place.hub(&[]).await;
        for data in ["{", "{\"a\":1} x", "nul"] {
            let ended = place.run(&["publish", "order", "1", "placed", data]).await;
            assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
            assert!(ended.stderr.contains("not JSON"), "{}", ended.stderr);
        }
        let large = format!(
            "{{\"domain\":\"o\",\"pid\":\"1\",\"name\":\"n\",\"data\":\"{}\"}}\n",
            "x".repeat(1 << 20)
        );
        let file = place.file("large.jsonl", large);
        says(&place.run(&["import", &file]).await, 1, &["large.jsonl", "line 1", "at most 1048576"]);
        hub.terminate().await;
    });
}

#[test]
fn a_bad_row_stops_an_import_with_file_line_and_reason_and_it_goes_on_from_there() {
    on_sqlite(async |place| {
        let hub = place.hub(&[]).await;
        let row = |n: u32, pid: &str| format!("{{\"domain\":\"o\",\"pid\":\"{pid}\",\"name\":\"n{n}\"}}\n");
        let good: String = (1..=5).map(|n| row(n, "1")).collect();
        let file = place.file("rows.jsonl", format!("{good}{}{}", row(6, ""), row(7, "1")));
        says(&place.run(&["import", &file]).await, 1, &["rows.jsonl", "line 6", "empty"]);
        let count =
            async || place.json(&["tail", "--from", "beginning", "--json", "--idle-exit", "0.3"]).await.len();
        assert_eq!(count().await, 5, "what came before is stored");

        let said = place.json(&["import", &file, "--keep-going", "--json"]).await.remove(0);
        assert_eq!((&said["new"], &said["already_there"], &said["bad"]), (&1.into(), &5.into(), &1.into()));
        let repaired = place.file("rows.jsonl", format!("{good}{}{}", row(6, "1"), row(7, "1")));
        let said = place.json(&["import", &repaired, "--json"]).await.remove(0);
        assert_eq!((&said["new"], &said["already_there"]), (&1.into(), &6.into()));
        assert_eq!(count().await, 7);
        hub.terminate().await;
    });
}

#[test]
fn an_import_that_is_only_checked_stores_nothing_and_needs_no_hub() {
    on_sqlite(async |place| {
        let file = place.file("rows.csv", "case,what\n1,placed\n,paid\n");
        let check =
            ["import", &file, "--check", "--domain", "o", "--pid-column", "case", "--name-column", "what"];
        says(&place.run(&check).await, 1, &["rows.csv", "line 3"]);
    });
}

#[test]
fn an_unknown_column_is_named_with_those_that_there_are() {
    on_sqlite(async |place| {
        let file = place.file("rows.csv", "case,what\n1,placed\n");
        let import =
            ["import", &file, "--check", "--domain", "o", "--pid-column", "Case", "--name-column", "what"];
        let ended = place.run(&import).await;
        assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
        assert!(ended.stderr.contains("Case") && ended.stderr.contains("case"), "{}", ended.stderr);
    });
}

#[test]
fn a_broken_gzip_is_named() {
    on_sqlite(async |place| {
        for (name, bytes) in
            [("not.csv.gz", &b"case,what\n1,placed\n"[..]), ("cut.csv.gz", &[0x1f, 0x8b, 8, 0, 0, 0])]
        {
            let file = place.file(name, bytes);
            let import = [
                "import",
                &file,
                "--check",
                "--domain",
                "o",
                "--pid-column",
                "case",
                "--name-column",
                "what",
            ];
            says(&place.run(&import).await, 1, &[name]);
        }
    });
}

#[test]
fn a_file_that_is_not_there_is_named() {
    on_sqlite(async |place| {
        let import = ["import", "/no/such/file.jsonl", "--check"];
        says(&place.run(&import).await, 1, &["/no/such/file.jsonl"]);
    });
}

#[test]
fn a_command_without_a_hub_says_where_it_looked_and_how_to_start_one() {
    on_sqlite(async |place| {
        let looked = place.data().join("hub.addr").display().to_string();
        says(&place.run(&["publish", "order", "1", "placed"]).await, 75, &[&looked, "eventflow hub"]);
    });
}

#[test]
fn a_hub_without_its_database_says_which_host_what_was_tried_and_what_to_do() {
    eventflow_tests::run(async {
        let port = unused_port();
        let place = Place::with_url(&format!("mysql://me:s3cret@127.0.0.1:{port}/log"));
        let ended = place.run(&["hub", "--listen", "127.0.0.1:0"]).await;
        says(&ended, 75, &[&format!("127.0.0.1:{port}"), "connecting to", "start the server"]);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    });
}

#[test]
fn a_url_that_is_not_one_is_a_wrong_configuration() {
    eventflow_tests::run(async {
        for (url, part) in
            [("postgres://me@host/db", "sqlite:PATH"), ("mysql://host/db?sslmode=x", "ssl-mode")]
        {
            let ended = Place::with_url(url).run(&["hub", "--listen", "127.0.0.1:0"]).await;
            says(&ended, 78, &[part]);
        }
    });
}

#[test]
fn a_port_in_use_is_named_with_the_option_to_choose_another() {
    on_sqlite(async |place| {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let ended = place.run(&["hub", "--listen", &address]).await;
        says(&ended, 1, &[&address, "--listen"]);
    });
}

#[test]
fn a_data_folder_that_another_hub_uses_is_refused() {
    on_sqlite(async |place| {
        let hub = place.hub(&[]).await;
        let ended = place.run(&["hub", "--listen", "127.0.0.1:0"]).await;
        let folder = place.data().display().to_string();
        says(&ended, ended.code.unwrap_or_default(), &[&folder, "in use by process", "stop that hub"]);
        // The first one is none the worse for it.
        place.done(&["publish", "order", "1", "placed"]).await;
        hub.terminate().await;
    });
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    on_sqlite(async |place| {
        let file = place.file("a-file", "");
        let folder = format!("{file}/data");
        let ended = place.run(&["hub", "--listen", "127.0.0.1:0", "--data", &folder]).await;
        says(&ended, 78, &[&folder]);
    });
}

#[test]
fn a_wrong_passphrase_ends_with_78_and_writes_nothing() {
    on_sqlite(async |place| {
        let right = place.file("right", "the right passphrase\n");
        let wrong = place.file("wrong", "the wrong passphrase\n");
        for file in [&right, &wrong] {
            eventflow_tests::process::private(file);
        }
        place.hub(&["--passphrase-file", &right]).await.terminate().await;
        let ended = place.run(&["hub", "--listen", "127.0.0.1:0", "--passphrase-file", &wrong]).await;
        says(&ended, 78, &["passphrase"]);
        assert!(!ended.stderr.contains("the wrong passphrase"), "{}", ended.stderr);
        // The right one still opens what is there.
        place.hub(&["--passphrase-file", &right]).await.terminate().await;
    });
}

on_every_engine! {
    async fn a_hub_leaves_a_database_of_something_else_alone(database: &TestDatabase) {
        database.execute("CREATE TABLE customer (id BIGINT PRIMARY KEY)").await;
        let ended = Place::on(database).run(&["hub", "--listen", "127.0.0.1:0"]).await;
        says(&ended, 78, &["customer", "a database of its own"]);
    }

    async fn a_hub_leaves_a_newer_schema_alone(database: &TestDatabase) {
        database.open().await.close().await;
        database.execute("INSERT INTO schema_migration (version, name, hash, applied) VALUES (99, 'later', 'x', 0)").await;
        let ended = Place::on(database).run(&["hub", "--listen", "127.0.0.1:0"]).await;
        says(&ended, 78, &["99", "newer program"]);
    }

    async fn a_database_with_lax_flush_settings_is_refused(database: &TestDatabase) {
        // SQLite's settings are the hub's own, so only a server can be lax.
        if database.engine() == Engine::Sqlite {
            return;
        }
        let Some(lax) = eventflow_tests::server::DatabaseServer::start(database.engine()).await else { return };
        let url = lax.url("eventflow_lax");
        lax.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2").await;
        let place = Place::with_url(&url);
        let ended = place.run(&["hub", "--listen", "127.0.0.1:0"]).await;
        says(&ended, 78, &["innodb_flush_log_at_trx_commit", "1 is needed"]);
        let doctor = place.run(&["doctor"]).await;
        assert_ne!(doctor.code, Some(0), "{doctor:?}");
        lax.stop().await;
    }

    async fn the_doctor_finds_nothing_wrong_with_a_sound_database(database: &TestDatabase) {
        let place = Place::on(database);
        let said = place.done(&["doctor"]).await;
        assert!(said.lines().count() > 3, "{said}");
        // It left no trace that a hub would take for somebody else's table.
        place.hub(&[]).await.terminate().await;
    }
}
