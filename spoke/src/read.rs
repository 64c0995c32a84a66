//! Reading the log: by id, by eventlog, by links, and as a state.

use proto::filter::NameFilter;
use proto::limits::{NAMES_PER_FILTER_MAX, PAGE_EVENTS_MAX};
use proto::read::{More, Page, Query, Window};
use proto::{Domain, Eid, Event, EventId, EventName, Pid, Position, Refusal, Timestamp};

use crate::error::RequestError;
use crate::link::Link;
use crate::listing::{Listing, LogPage, page, wrong_page};
use crate::spoke::Spoke;
use crate::state::merge_event;

impl Spoke {
    /// The event with this id.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if there is none, or it was deleted.
    pub async fn read(&self, id: &EventId) -> Result<Event, RequestError> {
        let what = || format!("event {id}");
        match page(&self.link, Query::ById(id.clone())).await? {
            Page::Events { events, .. } => {
                events.into_iter().next().ok_or_else(|| RequestError::NotFound { what: what() })
            }
            Page::Pids { .. } | Page::Domains { .. } => Err(wrong_page()),
        }
    }

    /// A reader of one eventlog.
    pub fn eventlog(&self, domain: &Domain, pid: &Pid) -> EventlogReader {
        let (domain, pid) = (domain.clone(), pid.clone());
        EventlogReader { link: self.link.clone(), domain, pid, names: Vec::new(), window: Window::default() }
    }

    /// The events that concern an entity, by position; of one domain, or of all.
    pub fn events_by_eid(&self, domain: Option<&Domain>, eid: &Eid) -> Listing<Event> {
        let (domain, eid) = (domain.cloned(), eid.clone());
        let query = move |after| Query::ByEid {
            domain: domain.clone(),
            eid: eid.clone(),
            after,
            limit: PAGE_EVENTS_MAX,
        };
        events(self.link.clone(), Position::default(), query)
    }

    /// The events that started the process `domain`/`pid`, by position.
    pub fn events_by_cpid(&self, domain: &Domain, pid: &Pid) -> Listing<Event> {
        let (domain, pid) = (domain.clone(), pid.clone());
        let query = move |after| Query::ByCpid {
            domain: domain.clone(),
            pid: pid.clone(),
            after,
            limit: PAGE_EVENTS_MAX,
        };
        events(self.link.clone(), Position::default(), query)
    }

    /// The distinct pids of a domain, sorted by bytes.
    pub fn pids(&self, domain: &Domain) -> Listing<Pid> {
        let domain = domain.clone();
        let query = move |after| Query::Pids { domain: domain.clone(), after, limit: PAGE_EVENTS_MAX };
        Listing::new(self.link.clone(), None, query, |_, page| match page {
            Page::Pids { pids, more } => {
                let last = pids.last().cloned();
                Some((pids, last, more))
            }
            Page::Events { .. } | Page::Domains { .. } => None,
        })
    }

    /// The distinct domains, sorted by bytes.
    pub fn domains(&self) -> Listing<Domain> {
        let query = |after| Query::Domains { after, limit: PAGE_EVENTS_MAX };
        Listing::new(self.link.clone(), None, query, |_, page| match page {
            Page::Domains { domains, more } => {
                let last = domains.last().cloned();
                Some((domains, last, more))
            }
            Page::Events { .. } | Page::Pids { .. } => None,
        })
    }

    /// The whole log after a position, as a stream.
    pub fn log(&self, after: Position) -> Listing<Event> {
        events(self.link.clone(), after, |after| Query::Log { after, limit: PAGE_EVENTS_MAX })
    }

    /// One page of the log after a position, for readers that keep their own place.
    ///
    /// # Errors
    /// [`RequestError`] if it could not be read.
    pub async fn log_after(&self, after: Position) -> Result<LogPage, RequestError> {
        match page(&self.link, Query::Log { after, limit: PAGE_EVENTS_MAX }).await? {
            Page::Events { events, through, more } => Ok(LogPage { events, through, more }),
            Page::Pids { .. } | Page::Domains { .. } => Err(wrong_page()),
        }
    }

    /// The state of a process: the deep merge of its events' data, in their order.
    ///
    /// # Errors
    /// [`RequestError`] if the eventlog could not be read, or an event's data is not a value.
    pub async fn state(&self, domain: &Domain, pid: &Pid) -> Result<serde_json::Value, RequestError> {
        let mut events = self.eventlog(domain, pid).events();
        let mut state = serde_json::Value::Object(serde_json::Map::new());
        while let Some(event) = events.next().await {
            merge_event(&mut state, &event?)?;
        }
        Ok(state)
    }

    /// The state of a process as its service sees it: `step` for each of its events, in their order.
    ///
    /// ```no_run
    /// # use eventflow_spoke::{Domain, Pid, RequestError, Spoke};
    /// # async fn example(spoke: Spoke, order: Domain, pid: Pid) -> Result<(), RequestError> {
    /// let items = spoke
    ///     .fold(&order, &pid, 0_u32, |items, event| match event.name.as_str() {
    ///         "item added" => items + 1,
    ///         "item removed" => items - 1,
    ///         _ => items,
    ///     })
    ///     .await?;
    /// # let _ = items; Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`] if the eventlog could not be read.
    pub async fn fold<S>(
        &self,
        domain: &Domain,
        pid: &Pid,
        initial: S,
        mut step: impl FnMut(S, &Event) -> S,
    ) -> Result<S, RequestError> {
        let mut events = self.eventlog(domain, pid).events();
        let mut state = initial;
        while let Some(event) = events.next().await {
            state = step(state, &event?);
        }
        Ok(state)
    }
}

/// Reads one eventlog, all of it or a part.
#[derive(Clone)]
#[must_use = "nothing is read before events() or all()"]
pub struct EventlogReader {
    link: Link,
    domain: Domain,
    pid: Pid,
    names: Vec<EventName>,
    window: Window,
}

impl EventlogReader {
    /// Only these names.
    pub fn names(mut self, names: impl IntoIterator<Item = EventName>) -> Self {
        self.names.extend(names);
        self
    }

    /// Only events between two times, both included; `None` is open.
    pub fn between(self, from: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        Self { window: Window { from, until }, ..self }
    }

    /// The events by version, as a stream.
    pub fn events(self) -> Listing<Event> {
        let Self { link, domain, pid, names, window } = self;
        let names = match NameFilter::of(names) {
            Ok(names) => names,
            Err(found) => return Listing::failed(too_many_names(found)),
        };
        let query = move |after| Query::Eventlog {
            domain: domain.clone(),
            pid: pid.clone(),
            names: names.clone(),
            window,
            after,
            limit: PAGE_EVENTS_MAX,
        };
        events(link, Position::default(), query)
    }

    /// The events by version, in memory.
    ///
    /// # Errors
    /// [`RequestError`] if the eventlog could not be read.
    pub async fn all(self) -> Result<Vec<Event>, RequestError> {
        self.events().all().await
    }
}

fn events(link: Link, after: Position, query: impl Fn(Position) -> Query + Send + 'static) -> Listing<Event> {
    Listing::new(link, after, query, |after, page| match page {
        // A page that does not move on would be asked for for ever.
        Page::Events { events, through, more } => {
            let more = if through > after { more } else { More::No };
            Some((events, through, more))
        }
        Page::Pids { .. } | Page::Domains { .. } => None,
    })
}

fn too_many_names(found: usize) -> RequestError {
    RequestError::Refused(Refusal::Invalid {
        reason: format!(
            "{found} event names were given; at most {NAMES_PER_FILTER_MAX} are allowed: leave them out and filter what comes"
        ),
    })
}
