//! The inputs that fuzzing has kept (`fuzz/corpus`), run again as ordinary tests.

// The modules are those of the fuzz targets; here only their `run` is used.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(dead_code, unreachable_pub)]

#[path = "../../fuzz/src/choices.rs"]
mod choices;
#[path = "../../fuzz/src/frames.rs"]
mod frames;
#[path = "../../fuzz/src/groups.rs"]
mod groups;
#[path = "../../fuzz/src/messages.rs"]
mod messages;
#[path = "../../fuzz/src/sessions.rs"]
mod sessions;
#[path = "../../fuzz/src/tokens.rs"]
mod tokens;

use std::path::PathBuf;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut inputs = 0;
    for input in std::fs::read_dir(folder).unwrap() {
        run(&std::fs::read(input.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0, "the corpus of {target} is empty");
}

#[test]
fn every_kept_frame_is_a_message_or_an_error() {
    replay("frames", frames::run);
}

#[test]
fn every_kept_message_is_read_as_what_it_was() {
    replay("messages", messages::run);
}

#[test]
fn every_kept_course_of_two_sessions_breaks_no_promise() {
    replay("sessions", sessions::run);
}

#[test]
fn every_kept_text_is_a_token_or_an_error() {
    replay("tokens", tokens::run);
}

#[test]
fn courses_of_two_sessions_at_random_break_no_promise() {
    let mut state = 1_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(state >> 56).unwrap()
    };
    for _ in 0..300 {
        let bytes: Vec<_> = (0..2_000).map(|_| byte()).collect();
        sessions::run(&bytes);
        messages::run(&bytes);
    }
}
