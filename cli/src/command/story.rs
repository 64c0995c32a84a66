//! `show` and `why`: what is known of one event, of its schedule or of its row of the outbox, and what it
//! waits for.

use clap::Args;
use proto::EventId;
use proto::report::EventStory;
use spoke::schedule::ScheduleReport;
use spoke::{OutboxStory, RequestError, Spoke};

use crate::connect::connect;
use crate::failure::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::shown::outbox::OutboxWhy;
use crate::shown::parked::FullStory;
use crate::shown::schedule::ScheduleWhy;
use crate::shown::story::Why;

/// Which event.
#[derive(Debug, Args)]
pub(crate) struct EventArgs {
    /// The event, or the schedule or row of the outbox that is to become it
    id: EventId,
}

/// Prints the event and what became of it in each group.
pub(crate) async fn show(args: EventArgs, place: &Place, output: &mut Output) -> Outcome {
    let spoke = connect(place).await?;
    let found = Found::find(&spoke, &args.id).await?;
    if let Some(story) = found.story {
        let history = spoke.parked_history(&args.id).await?;
        output.show(&FullStory { story: *story, history })?;
    }
    if let Some(report) = found.schedule {
        output.show(&*report)?;
    }
    found.outbox.map_or(Ok(()), |row| output.show(&OutboxWhy::of(&args.id, row)))
}

/// Prints one sentence for each group, or for what the event is still to come from.
pub(crate) async fn why(args: EventArgs, place: &Place, output: &mut Output) -> Outcome {
    let found = Found::find(&connect(place).await?, &args.id).await?;
    if let Some(story) = found.story {
        Why::of(&story).iter().try_for_each(|why| output.show(why))?;
    }
    if let Some(report) = found.schedule {
        output.show(&ScheduleWhy::of(*report))?;
    }
    found.outbox.map_or(Ok(()), |row| output.show(&OutboxWhy::of(&args.id, row)))
}

/// Everything that has an id: the event, else the schedule that is to become it, and a row of the outbox
/// that has it, too, because it could not be appended or has not been yet.
struct Found {
    story: Option<Box<EventStory>>,
    schedule: Option<Box<ScheduleReport>>,
    outbox: Option<OutboxStory>,
}

impl Found {
    async fn find(spoke: &Spoke, id: &EventId) -> Outcome<Self> {
        // The outbox first: a row that is drained meanwhile is then in the log.
        let outbox = spoke.outbox(id).await?;
        let missing = match spoke.story(id).await {
            Ok(story) => return Ok(Self { story: Some(Box::new(story)), schedule: None, outbox }),
            Err(missing @ RequestError::NotFound { .. }) => missing,
            Err(error) => return Err(error.into()),
        };
        match spoke.show_schedule(id.clone()).await {
            Ok(report) => Ok(Self { story: None, schedule: Some(Box::new(report)), outbox }),
            Err(RequestError::NotFound { .. }) if outbox.is_some() => {
                Ok(Self { story: None, schedule: None, outbox })
            }
            Err(RequestError::NotFound { .. }) => Err(missing.into()),
            Err(error) => Err(error.into()),
        }
    }
}
