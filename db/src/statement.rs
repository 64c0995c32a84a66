//! SQL texts and the values for their placeholders.
//!
//! A text is a file below `sql/`: in `sql/<table>/` if it is the same for every engine, else in
//! `sql/sqlite/<table>/` and `sql/mysql/<table>/`. Statements over many rows are templates: the file
//! marks the part of one row, and it is repeated here for a few sizes, each once in the life of the
//! process. This is the only place where SQL text is put together, and it
//! never sees a value.

use std::sync::OnceLock;

/// Rows of the largest template. More rows take several statements.
pub(crate) const TEMPLATE_ROWS_MAX: usize = 1_024;

/// Rows of the largest statement of a fine template, and the step of its large sizes.
const FINE_ROWS_MAX: usize = 512;
pub(crate) const FINE_STEP: usize = 32;

/// Sizes that a template can have: 11 that double, or the fine ones.
const TEMPLATE_SIZES: usize = FINE_STEP + FINE_ROWS_MAX / FINE_STEP;

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
    /// A count, a position, a version. One from outside that SQL has no integer for counts as the largest.
    pub(crate) fn number(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// Bytes that it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
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
#[derive(Debug)]
pub(crate) struct Template {
    /// Run one after the other, in one go; an error ends it.
    sqlite: &'static [&'static str],
    mysql: &'static str,
    rows_max: usize,
    passes: bool,
    steps: Steps,
    sizes: [OnceLock<Statement>; TEMPLATE_SIZES],
}

/// Which sizes a template has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// 1, 2, 4, ….
    Doubling,
    /// 1, 2, 3, … 32, 64, 96, … 512.
    Fine,
}

impl Template {
    /// The same text for every engine.
    pub(crate) const fn same(text: &'static [&'static str; 1]) -> Self {
        let [mysql] = *text;
        Self::new(text, mysql, false)
    }

    /// A text for SQLite and one for MySQL and MariaDB.
    pub(crate) const fn each(sqlite: &'static [&'static str; 1], mysql: &'static str) -> Self {
        Self::new(sqlite, mysql, false)
    }

    /// A text for SQLite that passes over rows without values, and one for MySQL and MariaDB. So
    /// SQLite, where handing a statement to its thread costs more than empty rows, needs only one.
    pub(crate) const fn passing(sqlite: &'static [&'static str], mysql: &'static str) -> Self {
        Self::new(sqlite, mysql, true)
    }

    /// The same, in many sizes: any number of rows up to 512 takes two statements at most. A server
    /// keeps each of them prepared, so this is for the one that is in every batch.
    pub(crate) const fn fine(mut self) -> Self {
        self.rows_max = FINE_ROWS_MAX;
        self.steps = Steps::Fine;
        self
    }

    const fn new(sqlite: &'static [&'static str], mysql: &'static str, passes: bool) -> Self {
        let sizes = [const { OnceLock::new() }; TEMPLATE_SIZES];
        Self { sqlite, mysql, rows_max: TEMPLATE_ROWS_MAX, passes, steps: Steps::Doubling, sizes }
    }

    /// Whether SQLite passes over rows whose values are missing.
    pub(crate) fn passes(&self) -> bool {
        self.passes
    }

    /// The largest statement that does not take more than `rows` rows (at least 1), and how many
    /// it takes.
    pub(crate) fn for_at_most(&self, rows: usize) -> (Statement, usize) {
        let rows = rows.clamp(1, self.rows_max);
        match self.steps {
            Steps::Doubling => self.doubled(rows.ilog2()),
            Steps::Fine if rows < FINE_STEP => self.sized(rows - 1, rows),
            Steps::Fine => {
                let steps = rows / FINE_STEP;
                self.sized(FINE_STEP - 2 + steps, steps * FINE_STEP)
            }
        }
    }

    /// The smallest statement that takes `rows` rows or more, and how many it takes: fewer than
    /// `rows` only if there is no larger one. Not for fine templates.
    pub(crate) fn for_at_least(&self, rows: usize) -> (Statement, usize) {
        self.doubled(rows.clamp(1, self.rows_max).next_power_of_two().ilog2())
    }

    fn doubled(&self, exponent: u32) -> (Statement, usize) {
        self.sized(usize::try_from(exponent).unwrap_or_default(), 1 << exponent)
    }

    /// The statement over `rows` rows, which is number `index` of its sizes.
    fn sized(&self, index: usize, rows: usize) -> (Statement, usize) {
        let size = self.sizes.get(index).expect("there is a place for every size");
        let statement = size.get_or_init(|| {
            let parts: Vec<_> = self.sqlite.iter().map(|part| expand(part, rows)).collect();
            Statement { sqlite: leak(parts.join(";\n")), mysql: leak(expand(self.mysql, rows)) }
        });
        (*statement, rows)
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
    fn a_position_beyond_all_integers_is_not_before_the_first() {
        assert_eq!(Value::number(7), Value::Integer(7));
        assert_eq!(Value::number(u64::MAX), Value::Integer(i64::MAX));
    }

    #[test]
    fn a_template_repeats_the_part_of_one_row() {
        assert_eq!(expand(TEXT, 1), "INSERT INTO t (a, b) VALUES\n(?, ?)\n");
        assert_eq!(expand(TEXT, 3), "INSERT INTO t (a, b) VALUES\n(?, ?) , (?, ?) , (?, ?)\n");
    }

    #[test]
    fn a_statement_never_takes_more_rows_than_there_are() {
        static TEMPLATE: Template = Template::same(&[TEXT]);
        for (rows, taken) in [(1, 1), (2, 2), (3, 2), (255, 128), (256, 256), (5_000, 1_024)] {
            let (statement, size) = TEMPLATE.for_at_most(rows);
            assert_eq!(size, taken);
            assert_eq!(statement.mysql.matches('?').count(), 2 * taken);
        }
    }

    #[test]
    fn a_fine_template_takes_up_to_512_rows_in_two_statements() {
        static TEMPLATE: Template = Template::same(&[TEXT]).fine();
        for rows in 1..=1_024 {
            let (mut rest, mut statements) = (rows, 0);
            while rest > 0 {
                let (statement, taken) = TEMPLATE.for_at_most(rest);
                assert_eq!(statement.mysql.matches('?').count(), 2 * taken, "{rows}");
                (rest, statements) = (rest - taken, statements + 1);
            }
            assert!(statements <= if rows <= 512 { 2 } else { 3 }, "{rows} rows took {statements}");
        }
    }

    #[test]
    fn a_statement_that_passes_over_rows_takes_all_in_one() {
        static TEMPLATE: Template = Template::passing(&["BEGIN", TEXT, "COMMIT"], TEXT);
        for (rows, size) in [(1, 1), (3, 4), (560, 1_024), (5_000, 1_024)] {
            let (statement, found) = TEMPLATE.for_at_least(rows);
            assert_eq!(found, size);
            assert_eq!(statement.sqlite.matches('?').count(), 2 * size);
            assert!(statement.sqlite.starts_with("BEGIN\n;\n") && statement.sqlite.ends_with(";\nCOMMIT\n"));
        }
    }
}
