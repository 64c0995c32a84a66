//! What the hub writes into the `log` table for operators: who came, who went, what failed.
//!
//! It is for people: nothing waits for it, and what does not fit its queue is only counted. It must not
//! cost those who publish anything either, whom each commit of its own would keep from theirs: so notes
//! are gathered for a moment, and written with one.

use std::time::Duration;

use db::{Journal, JournalNote};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::warn;

/// Notes that may wait to be written. At it new ones are dropped.
const NOTES_MAX: usize = 1_024;

/// Notes that are written with one commit. More are written at once with the next.
const NOTES_PER_COMMIT: usize = 64;

/// How long notes are gathered. Whoever stops the hub waits as long at most.
const GATHER_FOR: Duration = Duration::from_millis(50);

/// A cheap handle: notes go in and are written in their order.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    queue: mpsc::Sender<JournalNote>,
}

impl Notes {
    /// A handle and the task that writes; the task ends when the last handle is gone.
    pub(crate) fn new(journal: Journal) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, notes) = mpsc::channel(NOTES_MAX);
        (Self { queue }, write(journal, notes))
    }

    /// Notes that something happened.
    pub(crate) fn note(&self, agent: &str, message: &str) {
        self.push(agent, message, None);
    }

    /// Notes that something failed.
    pub(crate) fn error(&self, agent: &str, message: &str, reason: &str) {
        self.push(agent, message, Some(serde_json::json!({ "reason": reason }).to_string()));
    }

    fn push(&self, agent: &str, message: &str, error: Option<String>) {
        let note = JournalNote { agent: agent.to_owned(), message: message.to_owned(), error };
        if self.queue.try_send(note).is_err() {
            warn!(agent, message, "the operator's log is behind; this note is only here");
        }
    }
}

async fn write(journal: Journal, mut notes: mpsc::Receiver<JournalNote>) {
    let mut gathered = Vec::new();
    while notes.recv_many(&mut gathered, NOTES_PER_COMMIT).await > 0 {
        if let Err(error) = journal.write_all(&gathered).await {
            let (first, count) = (gathered.first().map(|note| &note.message), gathered.len());
            warn!(%error, count, ?first, "notes for the operator's log were not written");
        }
        if gathered.len() < NOTES_PER_COMMIT {
            sleep(GATHER_FOR).await;
        }
        gathered.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::keys;

    #[tokio::test]
    async fn what_was_noted_before_the_last_handle_went_is_written_in_its_order() {
        let keys = keys().await;
        let journal = keys.database.journal();
        let (notes, write) = Notes::new(journal.clone());
        let said: Vec<_> = (0..3 * NOTES_PER_COMMIT).map(|n| format!("note {n} of '\"\u{1f980}\\")).collect();
        for message in &said {
            notes.note("hub", message);
        }
        notes.error("hub", "it failed", "no reason");
        drop(notes);
        write.await;
        let written = journal.page(0, 1_000).await.unwrap();
        let (last, others) = written.split_last().unwrap();
        assert!(others.iter().map(|entry| &entry.message).eq(&said));
        assert_eq!(last.error.as_deref(), Some(r#"{"reason":"no reason"}"#));
        assert!(others.iter().all(|entry| entry.agent == "hub" && entry.error.is_none()));
    }
}
