//! Long answers, read a page at a time while they are used.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use proto::Position;
use proto::message::{Reply, Request};
use proto::read::{More, Page, Query};

use crate::error::RequestError;
use crate::link::{Link, Weight};
use crate::spoke::unexpected;

/// A page of the whole log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// Events by position. Deleted ones are left out.
    pub events: Vec<proto::Event>,
    /// Everything up to it has been looked at: ask again after it.
    pub through: Position,
    /// Whether there may be more after it.
    pub more: More,
}

/// What a reader found, as a stream. The next page is asked for when the one before is used up.
///
/// Events that are stored meanwhile may or may not be among them. After an error the stream ends.
#[must_use = "nothing is read before it is polled"]
pub struct Listing<T> {
    items: BoxStream<'static, Result<T, RequestError>>,
}

impl<T: Send + 'static> Listing<T> {
    /// Reads pages with `query`, which is given the cursor that `cursor` took from the last page.
    pub(crate) fn new<C: Clone + Send + 'static>(
        link: Link,
        start: C,
        query: impl Fn(C) -> Query + Send + 'static,
        take: impl Fn(C, Page) -> Option<(Vec<T>, C, More)> + Send + 'static,
    ) -> Self {
        let pages = futures::stream::try_unfold(Some((link, start, query, take)), async |state| {
            let Some((link, cursor, query, take)) = state else { return Ok(None) };
            let page = page(&link, query(cursor.clone())).await?;
            let Some((items, cursor, more)) = take(cursor, page) else {
                return Err(wrong_page());
            };
            let rest = match more {
                More::Maybe => Some((link, cursor, query, take)),
                More::No => None,
            };
            Ok(Some((items, rest)))
        });
        Self::of_pages(pages)
    }

    /// What comes in pages until there are no more.
    pub(crate) fn of_pages(pages: impl Stream<Item = Result<Vec<T>, RequestError>> + Send + 'static) -> Self {
        let items = pages.map(|page| {
            let (items, error) = match page {
                Ok(items) => (items, None),
                Err(error) => (Vec::new(), Some(error)),
            };
            futures::stream::iter(items.into_iter().map(Ok).chain(error.map(Err)))
        });
        Self { items: items.flatten().boxed() }
    }

    /// One that says `error` and ends.
    pub(crate) fn failed(error: RequestError) -> Self {
        Self { items: futures::stream::iter([Err(error)]).boxed() }
    }

    /// The next one; `None` after the last.
    ///
    /// # Errors
    /// [`RequestError`] if a page could not be read.
    pub async fn next(&mut self) -> Option<Result<T, RequestError>> {
        self.items.next().await
    }

    /// All that are left, in memory.
    ///
    /// # Errors
    /// [`RequestError`] if a page could not be read.
    pub async fn all(mut self) -> Result<Vec<T>, RequestError> {
        let mut all = Vec::new();
        while let Some(item) = self.next().await {
            all.push(item?);
        }
        Ok(all)
    }
}

impl<T> Stream for Listing<T> {
    type Item = Result<T, RequestError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_next_unpin(context)
    }
}

impl<T> fmt::Debug for Listing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").finish_non_exhaustive()
    }
}

/// Asks for one page.
pub(crate) async fn page(link: &Link, query: Query) -> Result<Page, RequestError> {
    match link.ask(Weight::Question, Request::Read(query)).await? {
        Reply::Page(page) => Ok(page),
        reply => Err(unexpected(reply).into()),
    }
}

/// The hub answered with another kind of page.
pub(crate) fn wrong_page() -> RequestError {
    RequestError::Refused(proto::Refusal::Invalid {
        reason: "the hub answered with another kind of page; update the older of the two".to_owned(),
    })
}
