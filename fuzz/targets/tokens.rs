//! See `eventflow_fuzz::tokens`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventflow_fuzz::tokens::run(bytes));
