//! Whose certificates do not count any more although they have not ended.

use db::Database;
use proto::Refusal;

/// All revocations that can still matter.
#[derive(Debug)]
pub(crate) struct Revoked {
    version: u64,
}

impl Revoked {
    /// Reads them. `version` was read before.
    pub(super) async fn load(_database: &Database, version: u64) -> Result<Self, Refusal> {
        Ok(Self { version })
    }

    /// The count of changes that they have seen.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }
}
