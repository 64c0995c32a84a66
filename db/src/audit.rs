//! Who did what to whom: lines of the table `log` that stand or fall with what they tell of.

use sqlx::Error;

use crate::connection::Transaction;
use crate::statement::{Statement, Value};

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
        let cut = |text: &str| text.chars().take(NAME_CHARS_MAX).collect::<String>();
        let (agent, subject) = (cut(&self.agent), cut(&self.subject));
        let values =
            [Value::Text(&agent), Value::Text(&self.detail), Value::Text(self.act), Value::Text(&subject)];
        transaction.execute(&INSERT, &values).await.map(|_| ())
    }
}
