//! A spoke's link against a hub that does exactly what the test says, over real TLS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod connecting;
mod consuming;
mod fake_hub;
mod memory_store;
mod projecting;
mod publishing;
mod reading;
mod renewing;
mod subscribing;
