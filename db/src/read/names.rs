//! The distinct pids of a domain, and the distinct domains.
//!
//! The cost is that of the page, not that of the log. SQLite jumps from one pid to the next within a
//! statement; servers cannot be trusted to, so there each statement starts after the last pid seen
//! and reads a few index entries: fewer where eventlogs are long, more where they are short. Names
//! whose events are all deleted are passed over.

use proto::read::More;
use proto::{Domain, Pid};

use super::{ReadError, Reader};
use crate::statement::{Statement, Value};

const NEXT_PIDS: Statement = Statement::each(
    include_str!("../../../sql/sqlite/event/next_pids.sql"),
    include_str!("../../../sql/mysql/event/next_pids.sql"),
);
const NEXT_DOMAIN: Statement = Statement::each(
    include_str!("../../../sql/sqlite/event/next_domain.sql"),
    include_str!("../../../sql/mysql/event/next_domain.sql"),
);

/// Rows that the first statement of a page asks for, and the fewest and most of later ones.
const ROWS_AT_FIRST: usize = 64;
const ROWS_MIN: usize = 4;
const ROWS_MAX: usize = 256;

impl Reader {
    pub(super) async fn pids(
        &self,
        domain: &Domain,
        after: Option<&Pid>,
        limit: usize,
    ) -> Result<(Vec<Pid>, More), ReadError> {
        let mut pids: Vec<Pid> = Vec::new();
        let mut asked = ROWS_AT_FIRST;
        loop {
            // No name sorts before the empty text, and none is equal to it.
            let last = pids.last().or(after).map_or("", Pid::as_str);
            let values = [Value::Text(domain.as_str()), Value::Text(last), Value::number(asked as u64)];
            let rows = self.pools.rows(&NEXT_PIDS, &values).await?;
            let before = pids.len();
            for row in &rows {
                if pids.last().map(Pid::as_str) == Some(row.text_ref(0)?) {
                    continue;
                }
                if pids.len() >= limit {
                    return Ok((pids, More::Maybe));
                }
                pids.push(row.name(0, Pid::parse)?);
            }
            if rows.len() < asked {
                return Ok((pids, More::No));
            }
            let found = pids.len() - before;
            asked = if found <= 2 { (asked / 4).max(ROWS_MIN) } else { (asked * 2).min(ROWS_MAX) };
        }
    }

    pub(super) async fn domains(
        &self,
        after: Option<&Domain>,
        limit: usize,
    ) -> Result<(Vec<Domain>, More), ReadError> {
        let mut domains: Vec<Domain> = Vec::new();
        while domains.len() < limit {
            let last = domains.last().or(after).map_or("", Domain::as_str);
            let rows = self.pools.rows(&NEXT_DOMAIN, &[Value::Text(last)]).await?;
            let Some(row) = rows.first() else {
                return Ok((domains, More::No));
            };
            domains.push(row.name(0, Domain::parse)?);
        }
        Ok((domains, More::Maybe))
    }
}
