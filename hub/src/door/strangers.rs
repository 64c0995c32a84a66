//! How many strangers each address has at the door.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

/// Strangers by address. A counter, not a state that two tasks share.
#[derive(Debug, Clone, Default)]
pub(super) struct Strangers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One stranger at the door; dropping it makes room.
#[derive(Debug)]
pub(super) struct Stranger {
    of: Strangers,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Strangers {
    /// Counts one more from `address`; `None` if there are `max` already.
    pub(super) fn admit(
        &self,
        address: IpAddr,
        max: usize,
        permit: OwnedSemaphorePermit,
    ) -> Option<Stranger> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Stranger { of: self.clone(), address, _permit: permit })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut counts = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
