//! How long the oldest event of a group has waited for its outcome.
//!
//! The dispatcher knows the first event in hand that has none; when it was published only the tables
//! know. Where nothing is in hand it is the first event that the group has not read: after a crash of
//! the hub that one may have an outcome already, so the age may be too high until the group has read on.

use db::{ReadError, Reader, Wanted};
use proto::group::OldestUnsettled;
use proto::message::Scope;
use proto::{Position, Timestamp};

use super::group::Standing;

/// How many pages of the log are looked through for the first event that a group has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// One: what it does not find is told the next time, or never. For gauges.
    OnePage,
    /// All of them. For people.
    Whatever,
}

/// The oldest event of a group without an outcome, if there is one.
///
/// # Errors
/// What the database said.
pub(crate) async fn oldest(
    reader: &Reader,
    standing: &Standing,
    effort: Effort,
    now: Timestamp,
) -> Result<Option<OldestUnsettled>, ReadError> {
    let position = match standing.oldest {
        Some(position) => Some(position),
        None => unread(reader, standing, effort).await?,
    };
    let Some(position) = position else { return Ok(None) };
    // One that was deleted meanwhile waits for nothing.
    let Some(published) = reader.published(position).await? else { return Ok(None) };
    let age_ms = u64::try_from(now.since(published).as_millis()).unwrap_or(u64::MAX);
    Ok(Some(OldestUnsettled { position, published, age_ms }))
}

/// The first event that the group wants and has not read.
async fn unread(reader: &Reader, standing: &Standing, effort: Effort) -> Result<Option<Position>, ReadError> {
    let wanted = Wanted { topic: Some(standing.topic.clone()), scope: Scope::Published, pid: None };
    let mut after = standing.read_through;
    while after < standing.status.report.head {
        let page = reader.matching(&wanted, after, 1).await?;
        if let Some(event) = page.events.first() {
            return Ok(Some(event.position));
        }
        if page.through <= after || effort == Effort::OnePage {
            break;
        }
        after = page.through;
    }
    Ok(None)
}
