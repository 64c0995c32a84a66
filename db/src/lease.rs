//! A server's connection on loan from a pool, which gets back only what nobody left in the middle.
//!
//! A future may be dropped at any point. sqlx keeps a connection whose statement was dropped, and takes the
//! answer that comes late for that to something else: to what was prepared when a row was expected, for
//! one. The next who gets that connection waits for an answer that nobody gives, and the pool is the
//! smaller for it. Here it is closed instead, and its place in the pool is free at once. The server
//! notices later: until then it has one connection more, and what it was doing goes on.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use futures::TryStreamExt as _;
use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlPool};
use sqlx::pool::PoolConnection;
use sqlx::{Error, MySql};

use crate::row::Row;
use crate::statement::Statement;

/// How long a transaction that nobody ended may take to be rolled back; then its connection is closed.
const ROLLBACK_WITHIN: Duration = Duration::from_secs(5);

/// A connection on loan, between two statements or in the middle of one.
pub(crate) struct Lease {
    /// There until it is dropped.
    connection: Option<PoolConnection<MySql>>,
    in_the_middle: bool,
}

impl Lease {
    /// Cancel safe.
    pub(crate) async fn from(pool: &MySqlPool) -> Result<Self, Error> {
        // It would make every future that waits for it too large to be moved about.
        let connection = Box::pin(pool.acquire()).await?;
        Ok(Self { connection: Some(connection), in_the_middle: false })
    }

    /// Does something with the connection. Dropped in the middle, or after an error that is not the server's
    /// answer, nothing more can be done with it, and it is closed.
    pub(crate) async fn with<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let outcome = work(self.enter()?).await;
        self.leave(outcome.as_ref().err());
        outcome
    }

    /// Hands the rows that the statement answers with to `take`, one by one, until it breaks off. What is left
    /// then is read before anybody else gets the connection, or it is closed. Dropped, it is closed.
    pub(crate) async fn each<E: From<Error>>(
        &mut self,
        statement: &Statement,
        arguments: MySqlArguments,
        mut take: impl FnMut(Row) -> Result<ControlFlow<()>, E> + Send,
    ) -> Result<(), E> {
        let mut rows = sqlx::query_with(statement.mysql, arguments).fetch(self.enter()?);
        let outcome = loop {
            match rows.try_next().await {
                Ok(None) => break Ok(()),
                Ok(Some(row)) => match take(Row::MySql(row)) {
                    Ok(ControlFlow::Continue(())) => {}
                    // Between two rows, the connection knows what is still to come.
                    Ok(ControlFlow::Break(())) => break Ok(()),
                    Err(error) => break Err(error),
                },
                Err(error) => {
                    drop(rows);
                    self.leave(Some(&error));
                    return Err(error.into());
                }
            }
        };
        drop(rows);
        self.leave(None);
        outcome
    }

    fn enter(&mut self) -> Result<&mut MySqlConnection, Error> {
        if std::mem::replace(&mut self.in_the_middle, true) {
            let reason = "an earlier statement on this connection did not come to its end";
            return Err(Error::Io(io::Error::new(io::ErrorKind::BrokenPipe, reason)));
        }
        Ok(self.connection.as_mut().expect("it is there until it is dropped"))
    }

    /// An error that the server answered with ends a statement as well as any answer does.
    fn leave(&mut self, error: Option<&Error>) {
        self.in_the_middle = !matches!(error, None | Some(Error::Database(_)));
    }

    /// Has it closed in place of given back.
    fn give_up(&mut self) {
        self.in_the_middle = true;
    }

    async fn run(&mut self, text: &'static str) -> Result<(), Error> {
        self.with(async |connection| sqlx::raw_sql(text).execute(connection).await.map(drop)).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.in_the_middle {
            drop(self.connection.take().map(PoolConnection::detach));
        }
    }
}

/// A transaction on a connection on loan. Dropping it rolls back, in a task that ends within
/// [`ROLLBACK_WITHIN`] and that the end of the pool waits for.
pub(crate) struct Transaction {
    /// There until it has ended.
    lease: Option<Lease>,
}

impl Transaction {
    /// Cancel safe.
    pub(crate) async fn begin(pool: &MySqlPool) -> Result<Self, Error> {
        let mut lease = Lease::from(pool).await?;
        lease.run("START TRANSACTION").await?;
        Ok(Self { lease: Some(lease) })
    }

    pub(crate) fn lease(&mut self) -> &mut Lease {
        self.lease.as_mut().expect("it is there until the transaction has ended")
    }

    /// Dropped, or after an error that is not the server's answer, nobody knows whether it was committed.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        self.lease().run("COMMIT").await?;
        drop(self.lease.take());
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(mut lease) = self.lease.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return lease.give_up();
        };
        if !lease.in_the_middle {
            runtime.spawn(async move {
                let rolled_back = tokio::time::timeout(ROLLBACK_WITHIN, lease.run("ROLLBACK")).await;
                if !matches!(rolled_back, Ok(Ok(()))) {
                    // The next who begins would commit what is open still.
                    lease.give_up();
                }
            });
        }
    }
}
