//! Changing the passphrase of the keyring while hubs run: the data key is wrapped anew, and nothing that
//! it seals is touched.
//!
//! Running hubs hold the data key and notice nothing; whoever starts next needs the new passphrase, or
//! for as long as the former keyring is kept, either.

use std::path::Path;

use certs::seal::KdfCost;
use db::{Database, Former, RecordError};
use proto::Timestamp;

use crate::error::HubError;
use crate::identity::{IdentityError, blocking, keyring_row, open_any};
use crate::passphrase::{self, PassphraseSource};

/// A wish for another passphrase.
#[derive(Debug, Clone)]
pub struct KeyringRotation<'a> {
    /// The data folder, where a generated passphrase is kept.
    pub data: &'a Path,
    /// Where the passphrase comes from that opens the keyring now.
    pub from: PassphraseSource,
    /// Where the new one comes from.
    pub to: PassphraseSource,
    /// What becomes of the keyring that is replaced.
    pub former: Former,
    /// The cost of deriving the new key.
    pub cost: KdfCost,
    /// Who wants it, for the operator's log.
    pub agent: &'a str,
}

/// A keyring that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotatedKeyring {
    /// The one in use until now.
    pub former: String,
    /// The one in use from now on.
    pub active: String,
}

/// Wraps the data key under a new passphrase.
///
/// A generated passphrase takes its file's place only after the database has it, and until then the
/// former one opens: whenever it is cut short, one of the two files opens the keyring.
///
/// # Errors
/// [`HubError`]; with a wrong passphrase nothing was written.
pub async fn rotate_keyring(
    database: &Database,
    rotation: KeyringRotation<'_>,
    now: Timestamp,
) -> Result<RotatedKeyring, HubError> {
    let KeyringRotation { data, from, to, former, cost, agent } = rotation;
    let (old, new) = (passphrase::existing(&from, data)?, passphrase::new_passphrase(&to, data)?);
    let keyrings = database.keyrings();
    let stored = keyrings.openable().await.map_err(unavailable)?;
    let (opened, dek) = open_any(stored.clone(), &old).await?;
    let active = stored.first().map(|row| row.kek_id.clone()).unwrap_or(opened);
    let next = keyring_row(blocking(move || dek.keyring(&new, cost)).await?, now);
    let is_generated = to == PassphraseSource::Generated;
    // The former one must open until the file is in its place.
    let fate = if is_generated { Former::Kept } else { former };
    if !keyrings.replace(&active, &next, fate, agent).await.map_err(unavailable)? {
        return Err(IdentityError::Taken { id: next.kek_id }.into());
    }
    if is_generated {
        passphrase::use_generated(data)?;
        if former == Former::Retired {
            keyrings.retire(&active, agent, now).await.map_err(unavailable)?;
        }
    }
    Ok(RotatedKeyring { former: active, active: next.kek_id })
}

fn unavailable(error: RecordError) -> HubError {
    IdentityError::Unavailable { doing: "rewrapped", reason: error.to_string() }.into()
}
