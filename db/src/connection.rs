//! Connections and pools of any engine, with one way to run a [`Statement`].

use std::ops::ControlFlow;

use futures::TryStreamExt as _;
use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlPool};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqlitePool};
use sqlx::{Arguments as _, Error, Sqlite};

use crate::lease::{self, Lease};
use crate::row::Row;
use crate::statement::{Statement, Value};
use crate::turn::Held;

/// Connections for reading.
#[derive(Debug, Clone)]
pub(crate) enum Pools {
    Sqlite(SqlitePool),
    MySql(MySqlPool),
}

impl Pools {
    /// All rows that the statement answers with; it has a limit of its own.
    pub(crate) async fn rows(&self, statement: &Statement, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        match self {
            Self::Sqlite(pool) => {
                let query = sqlx::query_with(statement.sqlite, sqlite_arguments(values)?);
                Ok(query.fetch_all(pool).await?.into_iter().map(Row::Sqlite).collect())
            }
            Self::MySql(pool) => {
                let mut lease = Lease::from(pool).await?;
                lease.with(async |connection| mysql_rows(connection, statement, values).await).await
            }
        }
    }

    /// Hands the rows that the statement answers with to `take`, one by one, until it breaks off.
    pub(crate) async fn each<E: From<Error>>(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
        mut take: impl FnMut(Row) -> Result<ControlFlow<()>, E> + Send,
    ) -> Result<(), E> {
        match self {
            Self::Sqlite(pool) => {
                let mut rows = sqlx::query_with(statement.sqlite, sqlite_arguments(values)?).fetch(pool);
                while let Some(row) = rows.try_next().await? {
                    if take(Row::Sqlite(row))?.is_break() {
                        break;
                    }
                }
            }
            Self::MySql(pool) => {
                let arguments = mysql_arguments(values)?;
                Lease::from(pool).await?.each(statement, arguments, take).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::MySql(pool) => pool.close().await,
        }
    }
}

/// A transaction of one of the rare writers: hubs, journal, certificates. Dropping it rolls back.
pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>, Held),
    MySql(lease::Transaction),
}

impl Transaction {
    /// Runs a statement and says how many rows it matched.
    pub(crate) async fn execute(
        &mut self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<u64, Error> {
        match self {
            Self::Sqlite(transaction, _) => sqlite_execute(transaction, statement, values).await,
            Self::MySql(transaction) => {
                let lease = transaction.lease();
                lease.with(async |connection| mysql_execute(connection, statement, values).await).await
            }
        }
    }

    pub(crate) async fn rows(
        &mut self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        match self {
            Self::Sqlite(transaction, _) => sqlite_rows(transaction, statement, values).await,
            Self::MySql(transaction) => {
                let lease = transaction.lease();
                lease.with(async |connection| mysql_rows(connection, statement, values).await).await
            }
        }
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(transaction, _turn) => transaction.commit().await,
            Self::MySql(transaction) => transaction.commit().await,
        }
    }
}

/// One connection: the writer's, or that of a migration.
#[derive(Debug)]
pub(crate) enum Connection {
    Sqlite(Box<SqliteConnection>),
    MySql(Box<MySqlConnection>),
}

impl Connection {
    /// Runs a statement and says how many rows it matched.
    pub(crate) async fn execute(
        &mut self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<u64, Error> {
        match self {
            Self::Sqlite(connection) => sqlite_execute(connection, statement, values).await,
            Self::MySql(connection) => mysql_execute(connection, statement, values).await,
        }
    }

    pub(crate) async fn rows(
        &mut self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        match self {
            Self::Sqlite(connection) => sqlite_rows(connection, statement, values).await,
            Self::MySql(connection) => mysql_rows(connection, statement, values).await,
        }
    }

    /// Runs a text as it is, without preparing it: transaction control, settings, migrations.
    pub(crate) async fn run(&mut self, statement: &Statement) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => {
                sqlx::raw_sql(statement.sqlite).execute(&mut **connection).await.map(drop)
            }
            Self::MySql(connection) => {
                sqlx::raw_sql(statement.mysql).execute(&mut **connection).await.map(drop)
            }
        }
    }

    pub(crate) async fn close(self) {
        use sqlx::Connection as _;
        // It is given up either way; the engine rolls back what was open.
        let _ = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::MySql(connection) => connection.close().await,
        };
    }
}

async fn sqlite_execute(
    connection: &mut SqliteConnection,
    statement: &Statement,
    values: &[Value<'_>],
) -> Result<u64, Error> {
    let query = sqlx::query_with(statement.sqlite, sqlite_arguments(values)?);
    Ok(query.execute(connection).await?.rows_affected())
}

async fn mysql_execute(
    connection: &mut MySqlConnection,
    statement: &Statement,
    values: &[Value<'_>],
) -> Result<u64, Error> {
    let query = sqlx::query_with(statement.mysql, mysql_arguments(values)?);
    Ok(query.execute(connection).await?.rows_affected())
}

async fn sqlite_rows(
    connection: &mut SqliteConnection,
    statement: &Statement,
    values: &[Value<'_>],
) -> Result<Vec<Row>, Error> {
    let query = sqlx::query_with(statement.sqlite, sqlite_arguments(values)?);
    Ok(query.fetch_all(connection).await?.into_iter().map(Row::Sqlite).collect())
}

async fn mysql_rows(
    connection: &mut MySqlConnection,
    statement: &Statement,
    values: &[Value<'_>],
) -> Result<Vec<Row>, Error> {
    let query = sqlx::query_with(statement.mysql, mysql_arguments(values)?);
    Ok(query.fetch_all(connection).await?.into_iter().map(Row::MySql).collect())
}

fn sqlite_arguments(values: &[Value<'_>]) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        let added = match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Integer(number) => arguments.add(*number),
            Value::Text(text) => arguments.add(*text),
            Value::Bytes(bytes) => arguments.add(*bytes),
        };
        added.map_err(Error::Encode)?;
    }
    Ok(arguments)
}

fn mysql_arguments(values: &[Value<'_>]) -> Result<MySqlArguments, Error> {
    let bytes = values.iter().map(|value| match value {
        Value::Null => 0,
        Value::Integer(_) => 8,
        Value::Text(text) => text.len() + 4,
        Value::Bytes(bytes) => bytes.len() + 4,
    });
    let mut arguments = MySqlArguments::default();
    arguments.reserve(values.len(), bytes.sum());
    for value in values {
        let added = match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Integer(number) => arguments.add(*number),
            Value::Text(text) => arguments.add(*text),
            Value::Bytes(bytes) => arguments.add(*bytes),
        };
        added.map_err(Error::Encode)?;
    }
    Ok(arguments)
}
