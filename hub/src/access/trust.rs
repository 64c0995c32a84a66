//! What peers are to trust, and who is to renew.

use db::Database;
use proto::{Refusal, certs};

use crate::identity::HubIdentity;

/// What is trusted at one moment.
#[derive(Debug)]
pub(crate) struct Trust {
    told: certs::Trust,
}

impl Trust {
    /// Reads it. `version` was read before.
    pub(super) async fn load(
        _database: &Database,
        identity: &HubIdentity,
        version: u64,
    ) -> Result<Self, Refusal> {
        Ok(Self { told: certs::Trust { version, roots: vec![identity.root().to_vec()] } })
    }

    /// What peers are told.
    pub(crate) fn told(&self) -> &certs::Trust {
        &self.told
    }
}
