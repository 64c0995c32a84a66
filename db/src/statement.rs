//! SQL texts and the values for their placeholders.
//!
//! A text is a file below `sql/`: in `sql/<table>/` if it is the same for every engine, else in
//! `sql/sqlite/<table>/` and `sql/mysql/<table>/`. Statements over many rows are templates: the file
//! marks the part of one row, and it is repeated here for the sizes 1, 2, 4, … [`TEMPLATE_ROWS_MAX`],
//! once in the life of the process. This is the only place where SQL text is put together, and it
//! never sees a value.

use std::sync::OnceLock;

/// Rows of the largest template. More rows take several statements.
pub(crate) const TEMPLATE_ROWS_MAX: usize = 1 << (TEMPLATE_SIZES - 1);
const TEMPLATE_SIZES: usize = 9;

/// The text of a statement for each engine family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement {
    pub(crate) sqlite: &'static str,
    pub(crate) mysql: &'static str,
}

impl Statement {
    /// The same text for every engine.
    pub(crate) const fn same(text: &'static str) -> Self {
        Self { sqlite: text, mysql: text }
    }

    /// A text for SQLite and one for MySQL and MariaDB.
    pub(crate) const fn each(sqlite: &'static str, mysql: &'static str) -> Self {
        Self { sqlite, mysql }
    }
}

/// A value for a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// A count, a position, a version. They stay far below the largest integer that SQL has.
    pub(crate) fn number(number: u64) -> Self {
        Self::Integer(number.cast_signed())
    }

    /// A text that may be missing.
    pub(crate) fn text_or_null(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }

    /// A number that may be missing.
    pub(crate) fn integer_or_null(number: Option<i64>) -> Self {
        number.map_or(Self::Null, Self::Integer)
    }
}

/// A statement over many rows, whose file says which part is one row's:
///
/// ```sql
/// INSERT INTO event_eid (position, eid) VALUES
/// -- each row, joined by ,
///   (?, ?)
/// -- end
/// ```
pub(crate) struct Template {
    text: Statement,
    sizes: OnceLock<Vec<Statement>>,
}

impl Template {
    pub(crate) const fn same(text: &'static str) -> Self {
        Self { text: Statement::same(text), sizes: OnceLock::new() }
    }

    pub(crate) const fn each(sqlite: &'static str, mysql: &'static str) -> Self {
        Self { text: Statement::each(sqlite, mysql), sizes: OnceLock::new() }
    }

    /// The largest statement that does not take more than `rows` rows (at least 1), and how many
    /// it takes.
    pub(crate) fn for_at_most(&self, rows: usize) -> (Statement, usize) {
        let size = rows.checked_ilog2().unwrap_or(0).min(TEMPLATE_ROWS_MAX.ilog2());
        let sizes = self.sizes.get_or_init(|| {
            let expand = |exponent: usize| Statement {
                sqlite: leak(expand(self.text.sqlite, 1 << exponent)),
                mysql: leak(expand(self.text.mysql, 1 << exponent)),
            };
            (0..TEMPLATE_SIZES).map(expand).collect()
        });
        let statement = usize::try_from(size).ok().and_then(|size| sizes.get(size));
        (*statement.expect("there is a statement for every size"), 1 << size)
    }
}

/// Texts live as long as the process: there are a few per template, whatever is written.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn expand(text: &str, rows: usize) -> String {
    let mut expanded = String::with_capacity(text.len() * rows);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(joiner) = line.strip_prefix("-- each row, joined by ") else {
            expanded.push_str(line);
            expanded.push('\n');
            continue;
        };
        let row: Vec<_> = lines.by_ref().take_while(|line| *line != "-- end").map(str::trim).collect();
        let joined = vec![row.join(" "); rows].join(&format!(" {joiner} "));
        expanded.push_str(&joined);
        expanded.push('\n');
    }
    expanded
}

/// Makes a database of a name that [`crate::DatabaseUrl`] has checked: letters, digits, `_`, `-`.
pub(crate) fn create_database(name: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!(
        "CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "INSERT INTO t (a, b) VALUES\n-- each row, joined by ,\n  (?, ?)\n-- end\n";

    #[test]
    fn a_template_repeats_the_part_of_one_row() {
        assert_eq!(expand(TEXT, 1), "INSERT INTO t (a, b) VALUES\n(?, ?)\n");
        assert_eq!(expand(TEXT, 3), "INSERT INTO t (a, b) VALUES\n(?, ?) , (?, ?) , (?, ?)\n");
    }

    #[test]
    fn a_statement_never_takes_more_rows_than_there_are() {
        let template = Template::same(TEXT);
        for (rows, taken) in [(1, 1), (2, 2), (3, 2), (255, 128), (256, 256), (5_000, 256)] {
            let (statement, size) = template.for_at_most(rows);
            assert_eq!(size, taken);
            assert_eq!(statement.sqlite.matches('?').count(), 2 * taken);
        }
    }
}
