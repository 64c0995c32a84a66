//! Ids that a spoke makes: for events and for processes.
//!
//! Both are UUIDs of version 7: no two spokes make the same one, and those of one process sort in
//! the order in which they were made, which spares the database random index pages.

use proto::{EventId, Pid};
use uuid::Uuid;

/// A new event id. Within a program each one sorts after those made before it.
///
/// ```
/// let (first, second) = (eventflow_spoke::generate_id(), eventflow_spoke::generate_id());
/// assert!(first < second);
/// ```
#[must_use]
pub fn generate_id() -> EventId {
    EventId::from_uuid(Uuid::now_v7())
}

/// A new pid, for a process that is about to start.
///
/// ```
/// assert_ne!(eventflow_spoke::generate_pid(), eventflow_spoke::generate_pid());
/// ```
///
/// # Panics
/// Never: a UUID is a pid.
#[must_use]
pub fn generate_pid() -> Pid {
    Pid::parse(Uuid::now_v7().as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
        .expect("a UUID is 36 plain characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_program_sort_in_the_order_in_which_they_were_made() {
        let ids: Vec<_> = (0..10_000).map(|_| generate_id()).collect();
        assert!(ids.is_sorted());
        let pids: std::collections::HashSet<_> = (0..10_000).map(|_| generate_pid()).collect();
        assert_eq!(pids.len(), 10_000);
    }
}
