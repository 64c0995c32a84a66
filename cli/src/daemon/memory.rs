//! What a hub has in memory stays there: no core file, and no other process of the user may look in.
//!
//! The data key of the keyring is in memory for as long as a hub runs. Who becomes the hub's user later,
//! or reads its disk, shall not find it in what a crash left behind.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tracing::warn;

/// Rules both out for this process. A system that does not allow it is told of, not given up on.
pub(super) fn keep_private() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        warn!(%error, "core files could not be ruled out; set LimitCORE=0 for this service");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!(%error, "this process can be looked into by others of its user");
    }
}
