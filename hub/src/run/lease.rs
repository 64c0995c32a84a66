//! The lease: what keeps a second hub from working on a database that has one.

use std::time::Duration;

use db::{HubRow, Hubs, RegisterError};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::error::HubError;

/// How long a hub counts as alive without renewing its lease.
const LEASE: Duration = Duration::from_secs(5);

/// How often the lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// Registers this hub, waiting for the lease of one that died without quitting.
pub(super) async fn register(hubs: &Hubs, row: &HubRow, stop: &CancellationToken) -> Result<(), HubError> {
    let mut patience = LEASE * 2;
    loop {
        match hubs.register(row).await {
            Ok(()) => return Ok(()),
            Err(RegisterError::Alive { hub, for_ms }) => {
                let wait = Duration::from_millis(for_ms).min(RENEW_EVERY);
                if patience.is_zero() || stop.is_cancelled() {
                    return Err(HubError::AnotherHub { hub, ends_in: Duration::from_millis(for_ms) });
                }
                info!(other = %hub, for_ms, "another hub holds the lease; waiting whether it renews it");
                patience = patience.saturating_sub(wait);
                tokio::time::sleep(wait).await;
            }
            Err(error) => {
                return Err(HubError::Database(proto::Refusal::Unavailable { reason: error.to_string() }));
            }
        }
    }
}

/// Renews the lease, and says so when it is lost for good.
pub(super) async fn keep(
    hubs: Hubs,
    row: HubRow,
    lost: watch::Sender<Option<String>>,
    stop: CancellationToken,
) {
    let mut ticks = interval(RENEW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match hubs.renew(&row.id, LEASE).await {
            Ok(true) => {}
            // It ran out while the database was away; if nobody has taken over it is ours again.
            Ok(false) => match hubs.register(&row).await {
                Ok(()) => info!("the lease had run out and is held again"),
                Err(RegisterError::Alive { hub, .. }) => {
                    error!(other = %hub, "another hub has taken over; this one stops");
                    lost.send_replace(Some(format!("hub {hub} has taken over")));
                    return;
                }
                Err(error) => warn!(%error, "the lease could not be taken again; trying again"),
            },
            // The database is away: nobody else can take over either, and the fences hold.
            Err(error) => warn!(%error, "the lease could not be renewed; trying again"),
        }
    }
}
