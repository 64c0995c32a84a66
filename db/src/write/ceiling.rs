//! What the database itself can do: the same rows in the same batches by one connection, without
//! a writer, a queue, a head or a cache. For measuring against.

use std::sync::Arc;

use proto::{Attempt, Event, Position, Timestamp, Version};

use crate::database::{Database, reason};
use crate::error::OpenError;
use crate::write::append::{Append, Prepared};
use crate::write::group::GroupId;
use crate::write::session::Session;
use crate::write::settlement::{Outcome, Run};

/// A connection that only inserts, after the end of the log and without moving it: the log is of no use
/// afterwards. Nobody else may write to it.
#[derive(Debug)]
pub struct Ceiling {
    session: Session,
    place: String,
    last: Position,
}

impl Database {
    /// A connection to measure the database with.
    ///
    /// # Errors
    /// [`OpenError::Failed`] if there is no log, or the database fails.
    pub async fn ceiling(&self) -> Result<Ceiling, OpenError> {
        self.check_schema().await?;
        let place = self.url().to_string();
        let failed = |reason: String| OpenError::Failed { place: place.clone(), reason };
        let connection = self.connect_writer().await.map_err(|error| failed(reason(&error)))?;
        let mut session = Session::new(connection, self.turn().clone());
        let head = session.head().await.map_err(|error| failed(reason(&error)))?;
        session.rollback().await.map_err(|error| failed(reason(&error)))?;
        let start = head.ok_or_else(|| failed("the log has no head".to_owned()))?.position;
        Ok(Ceiling { session, place, last: start })
    }
}

impl Ceiling {
    /// Inserts the events of `append` in one transaction, and with `outcomes` a row for each that says that
    /// it was handled. Each event is given the next position, and that as its version too, so that none is
    /// in the way of another.
    ///
    /// # Errors
    /// [`OpenError::Failed`] with what the engine said.
    pub async fn insert(&mut self, append: &mut Append, outcomes: bool) -> Result<(), OpenError> {
        for prepared in &mut append.events {
            self.last = self.last.next();
            prepared.event.position = self.last;
            prepared.event.version = Version(self.last.0);
        }
        let events: Vec<&Prepared> = append.events.iter().collect();
        let runs: Vec<_> = events.iter().filter(|_| outcomes).map(|event| handled(&event.event)).collect();
        let insert = async {
            self.session.begin().await?;
            self.session.insert_events(&events).await?;
            self.session.insert_runs(GroupId(1), &runs, "ceiling").await?;
            self.session.commit().await
        };
        insert.await.map_err(|error| OpenError::Failed { place: self.place.clone(), reason: reason(&error) })
    }

    /// A commit of one changed row, and nothing else: what a single durable write costs.
    ///
    /// # Errors
    /// [`OpenError::Failed`] with what the engine said.
    pub async fn commit(&mut self, now: Timestamp) -> Result<(), OpenError> {
        let commit = async {
            self.session.begin().await?;
            let end = self.session.head().await?;
            if let Some(end) = end {
                self.session.claim(end, end.position, now).await?;
            }
            self.session.commit().await
        };
        commit.await.map_err(|error| OpenError::Failed { place: self.place.clone(), reason: reason(&error) })
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.session.close().await;
    }
}

fn handled(event: &Event) -> Run {
    Run {
        slot: event.slot(),
        first: event.position,
        last: event.position,
        events: 1,
        consumer: Arc::from("ceiling"),
        attempts: Attempt(1),
        consumed_hub: event.timestamp,
        consumed_spoke: event.timestamp,
        settled: event.timestamp,
        outcome: Outcome::Success,
    }
}
