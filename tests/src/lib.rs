//! Databases, hubs and raw connections to test against. The specs in `specs/` are written with them.
//!
//! A spec that must hold on every engine is written once and run once an engine, see
//! [`on_every_engine!`]. Nothing here waits for time to pass: it waits for what is to happen, and
//! [`within`] ends a wait that would never end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    reason = "whatever goes wrong here ends the test that uses it"
)]

pub mod counted;
pub mod cutter;
pub mod database;
pub mod engine;
pub mod events;
pub mod hub;
pub mod ledger;
pub mod log;
pub mod outbox;
pub mod process;
pub mod process_log;
pub mod server;
pub mod stranger;
pub mod wire;

use std::future::Future;
use std::time::Duration;

pub use crate::cutter::Cutter;
pub use crate::hub::TestHub;
pub use database::TestDatabase;
pub use engine::Engine;
pub use log::Log;

/// Longest wait for anything: long enough for a loaded machine, short enough to name what hangs.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Waits for `future`, and fails the test with `what` if it never comes.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_MAX, future).await {
        Ok(value) => value,
        Err(_) => panic!("still waiting after {WAIT_MAX:?}: {what}"),
    }
}

/// Runs `test` on a runtime like the hub's.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built")
        .block_on(test)
}

/// Turns each `async fn name(database: &TestDatabase)` into a module of three tests: `name::sqlite`,
/// `name::mariadb` and `name::mysql`, each with a fresh database of its own.
#[macro_export]
macro_rules! on_every_engine {
    ($($(#[doc = $doc:literal])* async fn $name:ident($database:ident: $kind:ty) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[doc = $doc])*
            async fn spec($database: $kind) $body

            #[test]
            fn sqlite() {
                $crate::database::with_fresh($crate::Engine::Sqlite, spec);
            }

            #[test]
            fn mariadb() {
                $crate::database::with_fresh($crate::Engine::MariaDb, spec);
            }

            #[test]
            fn mysql() {
                $crate::database::with_fresh($crate::Engine::MySql, spec);
            }
        }
    )*};
}
