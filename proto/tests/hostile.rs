//! Bytes that are meant to do harm: they end a connection, never the process.
//!
//! A failed allocation aborts and cannot be caught, so the worst of them are decoded in a child
//! process that has little memory.

// What serves several tests is test code too, which clippy does not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod samples;

use std::hint::black_box;
use std::process::Command;

use eventflow_proto::enrol::{EnrolReply, EnrolRequest};
use eventflow_proto::limits::FRAME_BYTES_MAX;
use eventflow_proto::message::{HubMessage, SpokeMessage};
use eventflow_proto::read::Page;
use eventflow_proto::session::{HubSession, SpokeSession};
use eventflow_proto::wire;
use samples::*;

const CHILD: &str = "EVENTFLOW_HOSTILE_CHILD";

/// Address space of the child, in KiB: a decoder that believes a length ends here.
const CHILD_KIB: u32 = 256 * 1024;

/// The bytes of every recorded message.
fn recorded() -> Vec<Vec<u8>> {
    include_str!("golden/v1.txt")
        .lines()
        .filter_map(|line| line.strip_prefix('#').is_none().then(|| line.split_once(' ')).flatten())
        .map(|(_, bytes)| hex::decode(bytes).unwrap())
        .collect()
}

/// Lengths that nobody can have, as varints of 64 and of 32 bits.
fn lengths() -> Vec<Vec<u8>> {
    let wide = [u64::MAX, 1 << 62, 1 << 46, 1 << 34, 1 << 32, 1 << 28, FRAME_BYTES_MAX as u64 * 4];
    let narrow = [u32::MAX, 1 << 24];
    let wide = wide.iter().map(|length| [&[253], &length.to_le_bytes()[..]].concat());
    wide.chain(narrow.iter().map(|length| [&[252], &length.to_le_bytes()[..]].concat())).collect()
}

fn decode_as_everything(frame: &[u8]) {
    let _ = black_box(wire::decode::<SpokeMessage>(frame));
    let _ = black_box(wire::decode::<HubMessage>(frame));
    let _ = black_box(wire::decode::<EnrolRequest>(frame));
    let _ = black_box(wire::decode::<EnrolReply>(frame));
}

#[test]
fn a_length_that_nobody_can_have_costs_neither_the_process_nor_its_memory() {
    if std::env::var_os(CHILD).is_some() {
        return decode_bombs();
    }
    let this = "a_length_that_nobody_can_have_costs_neither_the_process_nor_its_memory";
    let child = Command::new("sh")
        .args(["-c", "ulimit -v \"$0\" && exec \"$@\"", &CHILD_KIB.to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", this, "--test-threads=1", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{}: {output}{}", child.status, String::from_utf8_lossy(&child.stderr));
    let peak = output.lines().find_map(|line| line.strip_prefix("peak KiB: ")).expect("the child measures");
    assert!(peak.parse::<u32>().unwrap() < 64 * 1024, "the child needed {peak} KiB");
}

/// Every recorded message with an impossible length at every place.
fn decode_bombs() {
    let lengths = lengths();
    for message in recorded() {
        for place in 0..message.len() {
            for length in &lengths {
                decode_as_everything(&[&message[..place], length].concat());
                let rest = &message[place + 1..];
                decode_as_everything(&[&message[..place], length, rest].concat());
            }
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("\npeak KiB: {}", peak.trim().trim_end_matches(" kB"));
}

#[test]
fn a_list_that_says_to_be_longer_than_its_frame_is_refused_before_its_memory_is_taken() {
    let events = 300_000_u32.to_le_bytes();
    let frame = [&[1, 1, 0, 252][..], &events].concat();
    let error = wire::decode::<SpokeMessage>(&frame).unwrap_err();
    assert!(error.to_string().contains("LimitExceeded"), "{error}");
}

#[test]
fn a_list_of_the_smallest_things_ends_with_its_frame() {
    // Names are one byte and a length, so a full frame has half a million of them.
    let count = u32::try_from((FRAME_BYTES_MAX - 64) / 2).unwrap();
    let mut frame = vec![1];
    frame.push(252);
    frame.extend(count.to_le_bytes());
    (0..count).for_each(|_| frame.extend([1, b'a']));
    assert!(wire::decode::<Page>(&[frame.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn any_byte_of_any_message_may_be_wrong_at_either_end() {
    for message in recorded() {
        for place in 0..message.len() {
            for wrong in [0, 1, 127, 250, 251, 253, 255, message[place] ^ 1] {
                let mut frame = message.clone();
                frame[place] = wrong;
                // A violation or not, and what is to be said then can be said.
                let mut hub = open_hub();
                let _ = black_box(hub.handle_frame(&frame, START));
                sent(&mut hub);
                let mut spoke = open_spoke();
                let _ = black_box(spoke.handle_frame(&frame, START));
                said(&mut spoke);
            }
        }
    }
}

#[test]
fn any_message_may_come_before_its_turn_at_either_end() {
    for message in recorded() {
        let mut hub = HubSession::new(HUB, START);
        let _ = black_box(hub.handle_frame(&message, START));
        assert_eq!(sent(&mut hub), []);
        let mut spoke = SpokeSession::new(spoke());
        assert!(spoke.handle_frame(&message, START).is_err());
        spoke.connected(START);
        let _ = black_box(spoke.handle_frame(&message, START));
    }
}
