//! Parked events: which there are, delivering them again, giving them up for good.

use proto::EventId;
use proto::message::{Reply, Request};
use proto::parked::{
    ParkedAct, ParkedChange, ParkedCursor, ParkedEvent, ParkedReply, ParkedRequest, ParkedSelection,
    UnparkMode,
};

use crate::error::RequestError;
use crate::link::{Link, Weight};
use crate::spoke::{Spoke, unexpected};

/// Parked events of one page.
const EVENTS_PER_PAGE: u32 = 500;

impl Spoke {
    /// The parked events that `selection` selects, by group and position, a page at a time.
    pub fn parked(&self, selection: ParkedSelection) -> ParkedPages {
        self.pages(Wanted::List, selection)
    }

    /// Has the selected parked events delivered again, a batch at a time: `next` says what was taken.
    ///
    /// Failures are counted anew. Of a process that is parked as a whole everything is delivered again,
    /// from its first parked event on and in order, whichever of them is selected. Elsewhere replayed
    /// events come in the order of the log before what their process has not been given yet; what it
    /// was given since they were parked, it was given before them.
    pub fn replay(&self, selection: ParkedSelection) -> ParkedPages {
        self.pages(Wanted::Unpark(ParkedAct::Replay, UnparkMode::Take), selection)
    }

    /// Settles the selected parked events as failed for good, a batch at a time: `next` says what was
    /// taken.
    pub fn discard(&self, selection: ParkedSelection, reason: impl Into<String>) -> ParkedPages {
        let act = ParkedAct::Discard { reason: reason.into() };
        self.pages(Wanted::Unpark(act, UnparkMode::Take), selection)
    }

    /// What [`Spoke::replay`] would take.
    pub fn would_replay(&self, selection: ParkedSelection) -> ParkedPages {
        self.pages(Wanted::Unpark(ParkedAct::Replay, UnparkMode::Look), selection)
    }

    /// What was done about an event while it was parked, in every group, the oldest first.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if there is no such event.
    pub async fn parked_history(&self, id: &EventId) -> Result<Vec<ParkedChange>, RequestError> {
        match ask(&self.link, ParkedRequest::History(id.clone())).await? {
            ParkedReply::History(changes) => Ok(changes),
            reply @ ParkedReply::Page(_) => Err(unexpected(Reply::Parked(reply)).into()),
        }
    }

    fn pages(&self, wanted: Wanted, selection: ParkedSelection) -> ParkedPages {
        ParkedPages { link: self.link.clone(), wanted, selection, place: Place::Start }
    }
}

#[derive(Debug, Clone)]
enum Wanted {
    List,
    Unpark(ParkedAct, UnparkMode),
}

#[derive(Debug, Clone)]
enum Place {
    Start,
    After(ParkedCursor),
    End,
}

/// Parked events, a page or a batch at a time. Nothing is asked or done before [`ParkedPages::next`].
#[must_use = "nothing is done before it is asked for the next page"]
pub struct ParkedPages {
    link: Link,
    wanted: Wanted,
    selection: ParkedSelection,
    place: Place,
}

impl ParkedPages {
    /// The next page or batch, which may be empty; `None` after the last. After an error it may be
    /// called again and goes on where it was. Dropping the future does not undo what was asked for.
    ///
    /// # Errors
    /// [`RequestError`]; [`proto::Refusal::Invalid`] if one event is selected by its id and it is not
    /// parked: the text says what it is instead. [`proto::Refusal::Unavailable`] while as many events are being
    /// replayed as a group may have.
    pub async fn next(&mut self) -> Option<Result<Vec<ParkedEvent>, RequestError>> {
        let after = match &self.place {
            Place::Start => None,
            Place::After(cursor) => Some(cursor.clone()),
            Place::End => return None,
        };
        let selection = self.selection.clone();
        let request = match self.wanted.clone() {
            Wanted::List => ParkedRequest::List { selection, after, limit: EVENTS_PER_PAGE },
            Wanted::Unpark(act, mode) => ParkedRequest::Unpark { selection, after, act, mode },
        };
        match ask(&self.link, request).await {
            Ok(ParkedReply::Page(page)) => {
                self.place = page.next.map_or(Place::End, Place::After);
                Some(Ok(page.events))
            }
            Ok(reply @ ParkedReply::History(_)) => {
                self.place = Place::End;
                Some(Err(unexpected(Reply::Parked(reply)).into()))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// All that are left, in memory.
    ///
    /// # Errors
    /// As [`ParkedPages::next`]; what was done before the error stays done.
    pub async fn all(mut self) -> Result<Vec<ParkedEvent>, RequestError> {
        let mut all = Vec::new();
        while let Some(page) = self.next().await {
            all.extend(page?);
        }
        Ok(all)
    }
}

impl std::fmt::Debug for ParkedPages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParkedPages").field("wanted", &self.wanted).field("place", &self.place).finish()
    }
}

async fn ask(link: &Link, request: ParkedRequest) -> Result<ParkedReply, RequestError> {
    match link.ask(Weight::Question, Request::Parked(Box::new(request))).await? {
        Reply::Parked(reply) => Ok(reply),
        reply => Err(unexpected(reply).into()),
    }
}
