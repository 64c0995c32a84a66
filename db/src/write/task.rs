//! The writer task.

use proto::Position;
use tokio::sync::mpsc;

use crate::connection::Connection;
use crate::database::Database;
use crate::write::commits::Teller;
use crate::write::writer::{Command, WriterOptions};

pub(crate) struct Task {
    database: Database,
    options: WriterOptions,
    queue: mpsc::Receiver<Command>,
    connection: Connection,
    teller: Option<Teller>,
}

impl Task {
    pub(crate) async fn new(
        database: Database,
        options: WriterOptions,
        queue: mpsc::Receiver<Command>,
    ) -> Result<Self, sqlx::Error> {
        let connection = database.connect_writer().await?;
        Ok(Self { database, options, queue, connection, teller: None })
    }
    pub(crate) fn head(&self) -> Position { Position(0) }
    pub(crate) fn tell_through(&mut self, teller: Teller) { self.teller = Some(teller); }
    pub(crate) async fn run(self) {}
}
