//! `groups ls` and `groups show`: consumer groups and how far they are.

use clap::Subcommand;
use proto::GroupName;
use proto::report::GroupReport;

use crate::connect::connect;
use crate::failure::Outcome;
use crate::output::Output;
use crate::place::Place;

/// What to know of groups.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupsArgs {
    /// All groups as a table
    Ls,
    /// One group
    Show {
        /// The group
        group: GroupName,
    },
}

/// Prints one group or all.
pub(crate) async fn run(args: GroupsArgs, place: &Place, output: &mut Output) -> Outcome {
    let spoke = connect(place).await?;
    if let GroupsArgs::Show { group } = args {
        // One group may consume several domains, each with a progress of its own.
        return spoke.group(&group).await?.iter().try_for_each(|report| output.show(report));
    }
    let (mut groups, mut after): (Vec<GroupReport>, Option<GroupName>) = (Vec::new(), None);
    loop {
        let page = spoke.groups(after.as_ref()).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.group.clone());
        groups.extend(page);
    }
    output.table(&groups, "there are no groups; the first consumer of a group makes it")
}
