//! Stores in the caller's own SQLite, MySQL or MariaDB: three small tables beside those of the effect.
//!
//! The texts are the same for both but where an engine has no other way. Nothing here depends on the
//! isolation level: a checkpoint is moved by an update that names the position that it moves from.

use proto::{Event, Position, ProjectionName};
use sqlx::{Error, MySql, MySqlPool, Sqlite, SqlitePool, Transaction};

use super::store::{Build, Checkpoint, Generation, Generations, ProjectionStore, Standing, Step, Switched};

const FIND: &str = include_str!("../../../sql/projection/find.sql");
const INSERT: &str = include_str!("../../../sql/projection/insert.sql");
const CLAIM: &str = include_str!("../../../sql/projection/claim.sql");
const SWITCH: &str = include_str!("../../../sql/projection/switch.sql");
const FIND_CHECKPOINT: &str = include_str!("../../../sql/projection_checkpoint/find.sql");
const RETIRE: &str = include_str!("../../../sql/projection_checkpoint/retire.sql");
const DELETE: &str = include_str!("../../../sql/projection_checkpoint/delete.sql");

/// The texts that are an engine's own.
struct Texts {
    create: &'static str,
    insert_checkpoint: &'static str,
    advance: &'static str,
    skip: &'static str,
}

const SQLITE: Texts = Texts {
    create: include_str!("../../../sql/sqlite/projection/create.sql"),
    insert_checkpoint: include_str!("../../../sql/sqlite/projection_checkpoint/insert.sql"),
    advance: include_str!("../../../sql/sqlite/projection_checkpoint/advance.sql"),
    skip: include_str!("../../../sql/sqlite/projection_skipped/replace.sql"),
};

const MYSQL: Texts = Texts {
    create: include_str!("../../../sql/mysql/projection/create.sql"),
    insert_checkpoint: include_str!("../../../sql/mysql/projection_checkpoint/insert.sql"),
    advance: include_str!("../../../sql/mysql/projection_checkpoint/advance.sql"),
    skip: include_str!("../../../sql/mysql/projection_skipped/replace.sql"),
};

macro_rules! sql_store {
    ($(#[$doc:meta])* $name:ident, $engine:ty, $pool:ty, $texts:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            pool: $pool,
        }

        impl $name {
            /// A store in the database that `pool` leads to. Clones share the pool.
            #[must_use]
            pub fn new(pool: $pool) -> Self {
                Self { pool }
            }

            /// Makes the tables `projection`, `projection_checkpoint` and `projection_skipped` where they are
            /// missing. Without it they must be there.
            ///
            /// # Errors
            /// What the database said.
            pub async fn prepare(&self) -> Result<(), Error> {
                sqlx::raw_sql($texts.create).execute(&self.pool).await.map(drop)
            }

            /// The build that readers are to use; `None` if the projection never ran.
            ///
            /// # Errors
            /// What the database said.
            pub async fn serving(&self, name: &ProjectionName) -> Result<Option<Generation>, Error> {
                Ok(self.builds(name).await?.map(|builds| builds.serving))
            }

            async fn builds(&self, name: &ProjectionName) -> Result<Option<Generations>, Error> {
                let query = sqlx::query_as::<_, (i64, i64)>(FIND).bind(name.as_str());
                let row = query.fetch_optional(&self.pool).await?;
                row.map(|(serving, newest)| {
                    Ok(Generations { serving: generation(serving)?, newest: generation(newest)? })
                })
                .transpose()
            }
        }

        impl ProjectionStore for $name {
            type Transaction = Transaction<'static, $engine>;
            type Error = Error;

            async fn generations(&mut self, name: &ProjectionName) -> Result<Option<Generations>, Error> {
                self.builds(name).await
            }

            async fn checkpoint(&mut self, build: &Build) -> Result<Option<Checkpoint>, Error> {
                let query = sqlx::query_as::<_, (i64, i64, i64)>(FIND_CHECKPOINT)
                    .bind(build.name.as_str())
                    .bind(i64::from(build.generation.0));
                query.fetch_optional(&self.pool).await?.map(checkpoint).transpose()
            }

            async fn begin(&mut self) -> Result<Self::Transaction, Error> {
                self.pool.begin().await
            }

            async fn add(
                &mut self,
                transaction: &mut Self::Transaction,
                build: &Build,
                position: Position,
                incarnation: u64,
            ) -> Result<bool, Error> {
                let (name, generation) = (build.name.as_str(), i64::from(build.generation.0));
                let claim = if build.generation == Generation(1) {
                    sqlx::query(INSERT).bind(name).bind(generation).bind(generation)
                } else {
                    sqlx::query(CLAIM).bind(generation).bind(name).bind(generation - 1)
                };
                let claimed = match claim.execute(&mut **transaction).await {
                    Ok(done) => done.rows_affected(),
                    Err(Error::Database(error)) if error.is_unique_violation() => 0,
                    Err(error) => return Err(error),
                };
                if claimed == 0 {
                    return Ok(false);
                }
                let insert = sqlx::query($texts.insert_checkpoint).bind(name).bind(generation);
                let insert = insert.bind(number(position)?).bind(incarnation.cast_signed());
                insert.execute(&mut **transaction).await?;
                Ok(true)
            }

            async fn advance(
                &mut self,
                transaction: &mut Self::Transaction,
                build: &Build,
                step: &Step,
            ) -> Result<bool, Error> {
                let update = sqlx::query($texts.advance)
                    .bind(number(step.to)?)
                    .bind(build.name.as_str())
                    .bind(i64::from(build.generation.0))
                    .bind(number(step.from)?)
                    .bind(step.incarnation.cast_signed());
                Ok(update.execute(&mut **transaction).await?.rows_affected() == 1)
            }

            async fn skipped(
                &mut self,
                transaction: &mut Self::Transaction,
                build: &Build,
                event: &Event,
            ) -> Result<(), Error> {
                let replace = sqlx::query($texts.skip)
                    .bind(build.name.as_str())
                    .bind(i64::from(build.generation.0))
                    .bind(number(event.position)?)
                    .bind(event.id.as_str());
                replace.execute(&mut **transaction).await.map(drop)
            }

            async fn switch(
                &mut self,
                transaction: &mut Self::Transaction,
                from: &Build,
                to: &Build,
                at: Checkpoint,
            ) -> Result<Switched, Error> {
                let (name, from) = (to.name.as_str(), i64::from(from.generation.0));
                let switch = sqlx::query(SWITCH).bind(i64::from(to.generation.0)).bind(name).bind(from);
                if switch.execute(&mut **transaction).await?.rows_affected() == 0 {
                    return Ok(Switched::Changed);
                }
                let retire = sqlx::query(RETIRE).bind(name).bind(from);
                let retire = retire.bind(number(at.position)?).bind(at.incarnation.cast_signed());
                match retire.execute(&mut **transaction).await?.rows_affected() {
                    0 => Ok(Switched::Behind),
                    _ => Ok(Switched::Done),
                }
            }

            async fn remove(
                &mut self,
                transaction: &mut Self::Transaction,
                build: &Build,
            ) -> Result<bool, Error> {
                let (name, generation) = (build.name.as_str(), i64::from(build.generation.0));
                let delete = sqlx::query(DELETE).bind(name).bind(generation).bind(name).bind(generation);
                Ok(delete.execute(&mut **transaction).await?.rows_affected() > 0)
            }

            async fn commit(&mut self, transaction: Self::Transaction) -> Result<(), Error> {
                transaction.commit().await
            }

            async fn rollback(&mut self, transaction: Self::Transaction) -> Result<(), Error> {
                transaction.rollback().await
            }
        }
    };
}

sql_store! {
    /// Keeps checkpoints in an SQLite file of the caller's. It is as durable as the pool's `synchronous` makes
    /// it; whatever is lost is lost together with the effect.
    SqliteStore, Sqlite, SqlitePool, SQLITE
}
sql_store! {
    /// Keeps checkpoints in a MySQL or MariaDB database of the caller's, in InnoDB tables: the effect must be
    /// in such tables, too.
    MySqlStore, MySql, MySqlPool, MYSQL
}

/// SQL's integers end before ours.
fn number(position: Position) -> Result<i64, Error> {
    i64::try_from(position.0).map_err(|error| Error::Encode(error.into()))
}

fn generation(number: i64) -> Result<Generation, Error> {
    u32::try_from(number).map(Generation).map_err(|error| Error::Decode(error.into()))
}

fn checkpoint((position, incarnation, retired): (i64, i64, i64)) -> Result<Checkpoint, Error> {
    let position = u64::try_from(position).map_err(|error| Error::Decode(error.into()))?;
    let standing = if retired == 0 { Standing::Current } else { Standing::Retired };
    Ok(Checkpoint { position: Position(position), incarnation: incarnation.cast_unsigned(), standing })
}
