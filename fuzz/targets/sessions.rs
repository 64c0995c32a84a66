//! See `eventflow_fuzz::sessions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventflow_fuzz::sessions::run(bytes));
