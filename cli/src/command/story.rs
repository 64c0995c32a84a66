//! `show` and `why`: what is known of one event, and what it waits for.

use clap::Args;
use proto::EventId;

use crate::connect::connect;
use crate::failure::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::shown::parked::FullStory;
use crate::shown::story::Why;

/// Which event.
#[derive(Debug, Args)]
pub(crate) struct EventArgs {
    /// The event
    id: EventId,
}

/// Prints the event and what became of it in each group.
pub(crate) async fn show(args: EventArgs, place: &Place, output: &mut Output) -> Outcome {
    let spoke = connect(place).await?;
    let story = spoke.story(&args.id).await?;
    let history = spoke.parked_history(&args.id).await?;
    output.show(&FullStory { story, history })
}

/// Prints one sentence for each group.
pub(crate) async fn why(args: EventArgs, place: &Place, output: &mut Output) -> Outcome {
    let story = connect(place).await?.story(&args.id).await?;
    Why::of(&story).iter().try_for_each(|why| output.show(why))
}
