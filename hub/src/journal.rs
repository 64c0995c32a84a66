//! What the hub writes into the `log` table for operators: who came, who went, what failed.
//!
//! It is for people: nothing waits for it, and what does not fit its queue is only counted.

use db::Journal;
use tokio::sync::mpsc;
use tracing::warn;

/// Notes that may wait to be written. At it new ones are dropped.
const NOTES_MAX: usize = 1_024;

/// One line of the operator's log.
#[derive(Debug)]
struct Note {
    agent: String,
    message: String,
    error: Option<String>,
}

/// A cheap handle: notes go in and are written one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    queue: mpsc::Sender<Note>,
}

impl Notes {
    /// A handle and the task that writes; the task ends when the last handle is gone.
    pub(crate) fn new(journal: Journal) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, mut notes) = mpsc::channel::<Note>(NOTES_MAX);
        let write = async move {
            while let Some(note) = notes.recv().await {
                let written = journal.write(&note.agent, &note.message, note.error.as_deref()).await;
                if let Err(error) = written {
                    warn!(%error, message = %note.message, "a note for the operator's log was not written");
                }
            }
        };
        (Self { queue }, write)
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
        let note = Note { agent: agent.to_owned(), message: message.to_owned(), error };
        if self.queue.try_send(note).is_err() {
            warn!(agent, message, "the operator's log is behind; this note is only here");
        }
    }
}
