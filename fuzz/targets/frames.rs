//! See `eventflow_fuzz::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventflow_fuzz::frames::run(bytes));
