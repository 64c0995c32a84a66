//! Ids for rows that have none, made from what the row says.
//!
//! Equal content gives an equal id, so importing a file again adds nothing. Rows of one file that
//! are equal in everything are still events of their own: each further one gets a number mixed in,
//! which comes out the same when the file is read again. An id starts with the row's time, because
//! databases store ids that grow with time several times faster than random ones.

use std::collections::HashMap;

use proto::{EventId, NewEvent};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The ids given so far in one file.
///
/// It holds twelve bytes or so for each row. Two contents that fall on the same key only make the
/// number of the later one larger, and that is again the same at the next reading.
#[derive(Debug, Default)]
pub(crate) struct DerivedIds {
    seen: HashMap<u64, u32>,
}

impl DerivedIds {
    /// The id for `event`, whose own id does not matter.
    pub(crate) fn next(&mut self, event: &NewEvent) -> EventId {
        let millis = event.timestamp.map_or(0, |time| time.millis().max(0));
        let content = event.digest();
        let (key, _) = content.split_first_chunk::<8>().expect("a digest has 16 bytes");
        let equals_before = self.seen.entry(u64::from_le_bytes(*key)).or_insert(0);
        let hash = Sha256::new().chain_update(content).chain_update(equals_before.to_le_bytes()).finalize();
        *equals_before = equals_before.saturating_add(1);

        // 48 bits of milliseconds last until the year 10889. Version and variant overwrite six bits.
        let time = millis.to_be_bytes().into_iter().skip(2);
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(time.chain(hash)).for_each(|(to, from)| *to = from);
        EventId::from_uuid(Uuid::new_v8(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proto::{Domain, EventName, Pid, Timestamp};

    use super::*;

    fn event(pid: &str, time: &str) -> NewEvent {
        NewEvent {
            timestamp: Some(Timestamp::parse(time).unwrap()),
            ..NewEvent::new(
                EventId::from_uuid(Uuid::nil()),
                Domain::parse("permit").unwrap(),
                Pid::parse(pid).unwrap(),
                EventName::parse("received").unwrap(),
            )
        }
    }

    #[test]
    fn equal_files_give_equal_ids_and_equal_rows_ids_of_their_own() {
        let rows = [event("a", "2011-10-11T11:45:40Z"), event("b", "2011-10-11T11:45:40Z")];
        let read = || {
            let mut ids = DerivedIds::default();
            rows.iter().chain(&rows).map(|row| ids.next(row)).collect::<Vec<_>>()
        };
        let ids = read();
        assert_eq!(ids, read());
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    }

    #[test]
    fn later_events_have_larger_ids_and_all_are_uuids_of_version_8() {
        let mut ids = DerivedIds::default();
        let times = ["1969-12-31T00:00:00Z", "2011-10-11T11:45:40.276Z", "2011-10-11T11:45:40.277Z"];
        let ids = times.map(|time| ids.next(&event("a", time)));
        assert!(ids.is_sorted());
        for id in ids {
            let uuid = Uuid::parse_str(id.as_str()).unwrap();
            assert_eq!(uuid.get_version_num(), 8);
            assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        }
    }

    #[test]
    fn an_id_never_changes_because_files_are_imported_again_years_later() {
        let id = DerivedIds::default().next(&event("a", "2011-10-11T11:45:40.276Z"));
        assert_eq!(id.as_str(), "0132f2cd-67b4-8dd3-ba4b-26b182f21285");
    }
}
