//! Rows of any engine, read by column number.

use proto::{NameError, Position, Timestamp, Version};
use sqlx::Row as _;
use sqlx::mysql::MySqlRow;
use sqlx::sqlite::SqliteRow;

/// One row of an answer.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    MySql(MySqlRow),
}

/// Why a row is not what its table promises. Somebody else has written to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct RowError {
    pub(crate) reason: String,
}

macro_rules! column {
    ($(#[$doc:meta])* $name:ident, $type:ty) => {
        $(#[$doc])*
        pub(crate) fn $name(&self, column: usize) -> Result<$type, RowError> {
            let value = match self {
                Self::Sqlite(row) => row.try_get(column),
                Self::MySql(row) => row.try_get(column),
            };
            value.map_err(|error| RowError { reason: error.to_string() })
        }
    };
}

impl Row {
    column!(integer, i64);
    column!(integer_or_null, Option<i64>);
    column!(text, String);
    column!(text_or_null, Option<String>);
    column!(bytes, Vec<u8>);
    column!(bytes_or_null, Option<Vec<u8>>);

    /// A text that is only looked at.
    pub(crate) fn text_ref(&self, column: usize) -> Result<&str, RowError> {
        let value = match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::MySql(row) => row.try_get(column),
        };
        value.map_err(|error| RowError { reason: error.to_string() })
    }

    /// A number that is never negative.
    pub(crate) fn number(&self, column: usize) -> Result<u64, RowError> {
        let number = self.integer(column)?;
        u64::try_from(number)
            .map_err(|_| RowError { reason: format!("column {column} holds {number}, which is below 0") })
    }

    /// A number that fits a smaller type.
    pub(crate) fn small<N: TryFrom<i64>>(&self, column: usize) -> Result<N, RowError> {
        let number = self.integer(column)?;
        N::try_from(number).map_err(|_| RowError {
            reason: format!("column {column} holds {number}, which is out of range"),
        })
    }

    pub(crate) fn position(&self, column: usize) -> Result<Position, RowError> {
        self.number(column).map(Position)
    }

    pub(crate) fn version(&self, column: usize) -> Result<Version, RowError> {
        self.number(column).map(Version)
    }

    pub(crate) fn timestamp(&self, column: usize) -> Result<Timestamp, RowError> {
        timestamp(self.integer(column)?)
    }

    pub(crate) fn timestamp_or_null(&self, column: usize) -> Result<Option<Timestamp>, RowError> {
        self.integer_or_null(column)?.map(timestamp).transpose()
    }

    /// A name, by its type's `parse`: `row.name(3, Domain::parse)`.
    pub(crate) fn name<T>(
        &self,
        column: usize,
        parse: impl FnOnce(&str) -> Result<T, NameError>,
    ) -> Result<T, RowError> {
        parse(self.text_ref(column)?).map_err(|error| RowError { reason: error.to_string() })
    }

    /// A name that may be missing.
    pub(crate) fn name_or_null<T>(
        &self,
        column: usize,
        parse: impl FnOnce(&str) -> Result<T, NameError>,
    ) -> Result<Option<T>, RowError> {
        let text = self.text_or_null(column)?;
        text.map(|text| parse(&text)).transpose().map_err(|error| RowError { reason: error.to_string() })
    }
}

fn timestamp(millis: i64) -> Result<Timestamp, RowError> {
    Timestamp::from_millis(millis).map_err(|error| RowError { reason: error.to_string() })
}

impl From<RowError> for sqlx::Error {
    fn from(error: RowError) -> Self {
        Self::Decode(error.into())
    }
}
