//! See `eventflow_fuzz::messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventflow_fuzz::messages::run(bytes));
