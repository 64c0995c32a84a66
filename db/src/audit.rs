//! Who did what to whom: lines of the table `log` that stand or fall with what they tell of.

use sqlx::Error;

use crate::connection::Transaction;
use crate::statement::{Statement, Value};
use crate::write::session::Session;

const INSERT: Statement = Statement::each(
    include_str!("../../sql/sqlite/log/insert_audit.sql"),
    include_str!("../../sql/mysql/log/insert_audit.sql"),
);

/// Longest text of a line's column `subject` and `agent`, in characters. Longer is cut.
const NAME_CHARS_MAX: usize = 255;

/// One line: it is written in the transaction of what was done, so neither is there without the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Who did it: service and instance, or what a person at the machine is called.
    pub agent: String,
    /// What was done: a thing and a verb, such as `token.create`.
    pub act: &'static str,
    /// To what or whom.
    pub subject: String,
    /// The rest, for people. Never a secret.
    pub detail: String,
}

impl Audit {
    /// Writes the line.
    pub(crate) async fn write(&self, transaction: &mut Transaction) -> Result<(), Error> {
        transaction.execute(&INSERT, &self.values()).await.map(|_| ())
    }

    fn values(&self) -> [Value<'_>; 4] {
        let (agent, subject) = (cut(&self.agent), cut(&self.subject));
        [Value::Text(agent), Value::Text(&self.detail), Value::Text(self.act), Value::Text(subject)]
    }
}

impl Session {
    /// Writes the line in the writer's transaction.
    pub(crate) async fn audit(&mut self, audit: &Audit) -> Result<(), Error> {
        self.execute(&INSERT, &audit.values()).await.map(drop)
    }
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(NAME_CHARS_MAX).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
