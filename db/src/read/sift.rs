//! Takes from a statement's rows what is wanted, until the page is full.
//!
//! Rows that are not wanted move the page on all the same, so that a page never takes more than a
//! bounded number of rows, and whoever asks again never reads them again.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use proto::Position;
use proto::limits::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX};

use super::stored::{EventRow, Stored};
use super::{ReadError, Reader};
use crate::row::RowError;
use crate::statement::{Statement, Value};

/// How much a page may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Events, at least 1.
    pub(super) events: u32,
    /// Rows that the statement is allowed to answer with: its last placeholder.
    pub(super) rows: u32,
}

/// What was taken.
pub(super) struct Sifted {
    pub(super) stored: Vec<Stored>,
    /// The last row that was looked at; `None` if there was none.
    pub(super) last: Option<Position>,
    pub(super) ended: Ended,
}

/// Why no more was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// There was no other row.
    NoMoreRows,
    /// The page is full, or has looked at as many rows as it may.
    Full,
}

impl Reader {
    /// The size of a page of `limit` events of which every row is wanted, tombstones apart.
    pub(super) fn size_of_all(&self, limit: u32) -> Size {
        let events = limit.clamp(1, PAGE_EVENTS_MAX);
        Size { events, rows: events.min(self.rows_that_fit()) }
    }

    /// The size of a page of `limit` events that are picked from among others.
    pub(super) fn size_of_some(&self, limit: u32) -> Size {
        Size { events: limit.clamp(1, PAGE_EVENTS_MAX), rows: PAGE_EVENTS_MAX.min(self.rows_that_fit()) }
    }

    /// As many rows as fill a page if they are as large as those of the page before.
    ///
    /// MySQL sends all rows of an answer, also those after the end of the page. With large events
    /// that would be many times the page.
    pub(super) fn rows_that_fit(&self) -> u32 {
        let bytes = self.bytes_per_event.load(Ordering::Relaxed).max(1);
        u32::try_from(PAGE_BYTES_MAX / bytes + 1).unwrap_or(PAGE_EVENTS_MAX)
    }

    pub(super) fn remember_size(&self, bytes: usize, events: usize) {
        let average = bytes / events.max(1);
        // After large events it takes a few pages until they are as long as before.
        let before = self.bytes_per_event.load(Ordering::Relaxed);
        self.bytes_per_event.store(average.max(before / 2), Ordering::Relaxed);
    }

    /// Runs `statement`, whose last placeholder is the number of rows, and keeps the rows that are
    /// not tombstones and that `wanted` says yes to.
    pub(super) async fn sift(
        &self,
        statement: &Statement,
        values: &[Value<'_>],
        size: Size,
        wanted: impl Fn(&EventRow) -> Result<bool, RowError> + Send + Sync,
    ) -> Result<Sifted, ReadError> {
        let mut values = values.to_vec();
        values.push(Value::Integer(i64::from(size.rows)));
        let events_max = usize::try_from(size.events).unwrap_or(usize::MAX);
        let mut sifted = Sifted { stored: Vec::new(), last: None, ended: Ended::NoMoreRows };
        let (mut rows, mut bytes) = (0_u32, 0_usize);
        let take = |row| -> Result<ControlFlow<()>, ReadError> {
            let row = EventRow(row);
            let position = row.position()?;
            if row.deleted()?.is_none() && wanted(&row)? {
                let stored = row.stored()?;
                bytes += stored.bytes;
                if bytes > PAGE_BYTES_MAX && !sifted.stored.is_empty() {
                    sifted.ended = Ended::Full;
                    return Ok(ControlFlow::Break(()));
                }
                sifted.stored.push(stored);
            }
            sifted.last = Some(position);
            rows += 1;
            if sifted.stored.len() >= events_max || rows >= size.rows {
                sifted.ended = Ended::Full;
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        };
        self.pools.each(statement, &values, take).await?;
        if !sifted.stored.is_empty() {
            self.remember_size(bytes, sifted.stored.len());
        }
        Ok(sifted)
    }
}
