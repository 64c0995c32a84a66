//! The bytes of everything that can be on the wire, kept in `tests/golden/v1.txt`.
//!
//! A line that is there never changes: another build of the same protocol version speaks it. A new
//! variant needs a new line, which `EVENTFLOW_GOLDEN=add` writes.

// What serves several tests is test code too, which clippy does not see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "golden/access.rs"]
mod access;
#[path = "golden/admin.rs"]
mod admin;
#[path = "golden/certs.rs"]
mod certs;
#[path = "golden/chains.rs"]
mod chains;
#[path = "golden/groups.rs"]
mod groups;
#[path = "golden/parked.rs"]
mod parked;
#[path = "golden/rotation.rs"]
mod rotation;
#[path = "golden/token.rs"]
mod token;
#[path = "golden/values.rs"]
mod values;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use bincode::{BorrowDecode, Encode};
use eventflow_proto::wire;

/// Whether bytes are decoded to a value.
type Reads = Box<dyn Fn(&[u8]) -> bool>;

/// One value of the protocol, named `Type/Variant`, and its bytes.
pub(crate) struct Golden {
    name: &'static str,
    bytes: Vec<u8>,
    /// Whether bytes are decoded to the value that this was made from.
    is_read_from: Reads,
}

/// Names `value` and encodes it.
pub(crate) fn golden<T>(name: &'static str, value: T) -> Golden
where
    T: Encode + for<'frame> BorrowDecode<'frame, ()> + PartialEq + 'static,
{
    let mut bytes = Vec::new();
    wire::encode(&value, &mut bytes).unwrap();
    let is_read_from =
        Box::new(move |bytes: &[u8]| wire::decode::<T>(bytes).is_ok_and(|decoded| decoded == value));
    Golden { name, bytes, is_read_from }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1.txt")
}

fn recorded() -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            line.split_once(' ').map(|(name, bytes)| (name.to_owned(), hex::decode(bytes).unwrap())).unwrap()
        })
        .collect()
}

fn line(golden: &Golden) -> String {
    format!("{} {}", golden.name, hex::encode(&golden.bytes))
}

#[test]
fn everything_on_the_wire_has_the_bytes_that_it_always_had() {
    let recorded = recorded();
    let mut added = String::new();
    for golden in values::all() {
        match recorded.get(golden.name) {
            Some(bytes) => assert_eq!(&golden.bytes, bytes, "the bytes of {} have changed", golden.name),
            None => writeln!(added, "{}", line(&golden)).unwrap(),
        }
    }
    if std::env::var_os("EVENTFLOW_GOLDEN").is_some_and(|wish| wish == "add") {
        let before = std::fs::read_to_string(file()).unwrap_or_default();
        std::fs::write(file(), before + &added).unwrap();
    } else {
        assert_eq!(added, "", "these are not in {}", file().display());
    }
}

#[test]
fn recorded_bytes_are_read_as_what_they_were_written_from() {
    let recorded = recorded();
    for golden in values::all() {
        assert!((golden.is_read_from)(&recorded[golden.name]), "{}", golden.name);
    }
}

#[test]
fn no_recorded_line_is_without_its_value() {
    let names: Vec<_> = values::all().iter().map(|golden| golden.name).collect();
    for name in recorded().keys() {
        assert!(names.contains(&name.as_str()), "nothing speaks {name} any more");
    }
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len(), "a name stands for two values");
}

#[test]
fn every_variant_of_every_enum_is_recorded() {
    let values = values::all();
    for (name, refuses) in values::enums() {
        let mut first_bytes: Vec<_> = values
            .iter()
            .filter(|golden| golden.name.split('/').next() == Some(name))
            .map(|golden| golden.bytes[0])
            .collect();
        first_bytes.sort_unstable();
        first_bytes.dedup();
        let next = u8::try_from(first_bytes.len()).unwrap();
        assert_eq!(first_bytes, (0..next).collect::<Vec<_>>(), "a variant of {name} is not recorded");
        assert!(refuses(next), "{name} has a variant {next} that is not recorded");
    }
}

#[test]
fn a_recorded_message_that_is_cut_or_goes_on_is_refused() {
    for golden in values::all() {
        let longer = [golden.bytes.as_slice(), &[0]].concat();
        assert!(!(golden.is_read_from)(&longer), "{} with a byte more", golden.name);
        for end in 0..golden.bytes.len() {
            assert!(!(golden.is_read_from)(&golden.bytes[..end]), "{} cut at {end}", golden.name);
        }
    }
}
