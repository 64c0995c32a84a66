//! How long leaves live, and how much time their holders get.

use std::time::Duration;

/// The shortest life of a leaf: shorter ones would end while they are renewed.
pub const LEAF_LIFETIME_MIN: Duration = Duration::from_secs(10);

/// The longest life of a leaf: issuers are replaced that long before their end.
pub const LEAF_LIFETIME_MAX: Duration = Duration::from_hours(30 * 24);

/// The time that spokes get to renew before what is replaced in haste is revoked.
pub const RENEW_WITHIN: Duration = Duration::from_secs(60);

/// How long leaves live, and how much time their holders get in haste.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafTimes {
    pub(crate) lifetime: Duration,
    pub(crate) renew_within: Duration,
}

/// Leaves cannot live that long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "certificates cannot live for {wanted:?}; choose between {LEAF_LIFETIME_MIN:?} and {LEAF_LIFETIME_MAX:?}"
)]
pub struct LeafLifetimeError {
    /// What was wanted.
    pub wanted: Duration,
}

impl LeafTimes {
    /// Leaves that live for `lifetime`, and holders that get `renew_within` in haste.
    ///
    /// # Errors
    /// [`LeafLifetimeError`] if that is outside [`LEAF_LIFETIME_MIN`] and [`LEAF_LIFETIME_MAX`].
    pub fn new(lifetime: Duration, renew_within: Duration) -> Result<Self, LeafLifetimeError> {
        if (LEAF_LIFETIME_MIN..=LEAF_LIFETIME_MAX).contains(&lifetime) {
            Ok(Self { lifetime, renew_within })
        } else {
            Err(LeafLifetimeError { wanted: lifetime })
        }
    }

    /// How long leaves live.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The time that spokes get to renew before what is replaced in haste is revoked.
    #[must_use]
    pub fn renew_within(&self) -> Duration {
        self.renew_within
    }
}

impl Default for LeafTimes {
    fn default() -> Self {
        Self { lifetime: certs::LEAF_LIFETIME, renew_within: RENEW_WITHIN }
    }
}
