//! `show` and `why`: what is known of one event, or of the schedule of one, and what it waits for.

use clap::Args;
use proto::EventId;
use proto::report::EventStory;
use spoke::schedule::ScheduleReport;
use spoke::{RequestError, Spoke};

use crate::connect::connect;
use crate::failure::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::shown::parked::FullStory;
use crate::shown::schedule::ScheduleWhy;
use crate::shown::story::Why;

/// Which event.
#[derive(Debug, Args)]
pub(crate) struct EventArgs {
    /// The event, or the schedule that is to become it
    id: EventId,
}

/// Prints the event and what became of it in each group.
pub(crate) async fn show(args: EventArgs, place: &Place, output: &mut Output) -> Outcome {
    let spoke = connect(place).await?;
    match find(&spoke, &args.id).await? {
        Found::Event(story) => {
            let history = spoke.parked_history(&args.id).await?;
            output.show(&FullStory { story: *story, history })
        }
        Found::Schedule(report) => output.show(&*report),
    }
}

/// Prints one sentence for each group.
pub(crate) async fn why(args: EventArgs, place: &Place, output: &mut Output) -> Outcome {
    match find(&connect(place).await?, &args.id).await? {
        Found::Event(story) => Why::of(&story).iter().try_for_each(|why| output.show(why)),
        Found::Schedule(report) => output.show(&ScheduleWhy::of(*report)),
    }
}

/// What an id belongs to.
enum Found {
    Event(Box<EventStory>),
    Schedule(Box<ScheduleReport>),
}

/// The event with this id, or what is to become it.
async fn find(spoke: &Spoke, id: &EventId) -> Outcome<Found> {
    let missing = match spoke.story(id).await {
        Ok(story) => return Ok(Found::Event(Box::new(story))),
        Err(missing @ RequestError::NotFound { .. }) => missing,
        Err(error) => return Err(error.into()),
    };
    match spoke.show_schedule(id.clone()).await {
        Ok(report) => Ok(Found::Schedule(Box::new(report))),
        Err(RequestError::NotFound { .. }) => Err(missing.into()),
        Err(error) => Err(error.into()),
    }
}
