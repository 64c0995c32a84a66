//! The log table (E8): what agents noted, and an archive for what is old.

use db::JournalNote;
use eventflow_tests::{TestDatabase, on_every_engine};
use proto::Timestamp;

fn far_future() -> Timestamp {
    Timestamp::parse("9999-01-01T00:00:00Z").unwrap()
}

on_every_engine! {
    async fn a_note_is_read_with_its_error(database: &TestDatabase) {
        let handle = database.open().await;
        let journal = handle.journal();
        journal.write("hub", "a spoke connected", None).await.unwrap();
        journal.write("hüb 🦀", "it failed: '\"", Some("{\"kind\":\"io\"}")).await.unwrap();
        let notes = journal.page(0, 10).await.unwrap();
        assert_eq!(notes.len(), 2);
        assert_eq!((notes[0].agent.as_str(), notes[0].message.as_str()), ("hub", "a spoke connected"));
        assert_eq!(notes[0].error, None);
        assert_eq!(notes[1].error.as_deref(), Some("{\"kind\":\"io\"}"));
        handle.close().await;
    }

    async fn notes_that_are_written_together_keep_their_order_and_what_is_too_long_is_cut(database: &TestDatabase) {
        let handle = database.open().await;
        let journal = handle.journal();
        let note = |message: String, error: Option<&str>| JournalNote {
            agent: "hüb/1 🦀".repeat(30),
            message,
            error: error.map(str::to_owned),
        };
        let long = "🦀\"\\\n".repeat(4_001);
        let notes = [note("first".to_owned(), None), note(long, Some("{\"a\":\"'\"}")), note(String::new(), None)];
        journal.write_all(&notes).await.unwrap();
        journal.write_all(&[]).await.unwrap();
        let written = journal.page(0, 10).await.unwrap();
        assert_eq!(written.len(), 3);
        assert_eq!(written[0].agent.chars().count(), 128);
        assert_eq!((written[0].message.as_str(), written[0].error.as_deref()), ("first", None));
        assert_eq!(written[1].message, "🦀\"\\\n".repeat(4_000));
        assert_eq!(written[1].error.as_deref(), Some("{\"a\":\"'\"}"));
        assert_eq!((written[2].message.as_str(), written[2].error.as_deref()), ("", None));
        handle.close().await;
    }

    async fn notes_are_read_a_page_at_a_time(database: &TestDatabase) {
        let handle = database.open().await;
        let journal = handle.journal();
        for n in 0..7 {
            journal.write("hub", &format!("note {n}"), None).await.unwrap();
        }
        let (mut found, mut after) = (Vec::new(), 0);
        while let [.., last] = &journal.page(after, 3).await.unwrap()[..] {
            found.extend(journal.page(after, 3).await.unwrap().into_iter().map(|note| note.message));
            after = last.id;
        }
        assert_eq!(found, (0..7).map(|n| format!("note {n}")).collect::<Vec<_>>());
        handle.close().await;
    }

    async fn old_notes_move_to_the_archive_and_the_others_stay(database: &TestDatabase) {
        let handle = database.open().await;
        let journal = handle.journal();
        for n in 0..5 {
            journal.write("hub", &format!("note {n}"), None).await.unwrap();
        }
        database.execute("UPDATE log SET timestamp = 1000 WHERE message IN ('note 0', 'note 1')").await;
        let before = Timestamp::from_millis(1_001).unwrap();
        assert_eq!(journal.archive(before).await.unwrap(), 2);
        assert_eq!(journal.archive(before).await.unwrap(), 0);
        assert_eq!(journal.page(0, 10).await.unwrap().len(), 3);
        let archived = journal.archived(0, 10).await.unwrap();
        assert_eq!(archived.iter().map(|note| note.message.as_str()).collect::<Vec<_>>(), ["note 0", "note 1"]);
        handle.close().await;
    }

    async fn a_long_journal_is_archived_whole(database: &TestDatabase) {
        let handle = database.open().await;
        let journal = handle.journal();
        journal.write("hub", "the first", None).await.unwrap();
        for _ in 0..12 {
            database.execute("INSERT INTO log (timestamp, agent, message) SELECT timestamp, agent, message FROM log").await;
        }
        assert_eq!(journal.archive(far_future()).await.unwrap(), 4_096);
        assert!(journal.page(0, 10).await.unwrap().is_empty());
        assert_eq!(database.number("SELECT COUNT(*) FROM log_archive").await, 4_096);
        handle.close().await;
    }
}
