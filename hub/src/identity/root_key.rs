//! Taking the root's key out of the database: a copy that only a passphrase opens, and then it is gone.
//!
//! This works on the database beside hubs that run, with the passphrase of the keyring, so that no operator
//! can ask a hub for the key over the network. The key is deleted only when the copy was read back from
//! its file and opened.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use certs::Authority;
use certs::seal::Passphrase;
use db::{Database, ForgotKey};
use proto::Timestamp;
use proto::rotation::RotationKind;

use super::chain;
use super::error::IdentityError;
use super::keys::{known, open_any, unavailable};
use super::standing::{AuthorityKind, Standing};
use crate::error::HubError;
use crate::passphrase::{self, PassphraseSource};
use crate::secret_file::write_secret_file;

/// A wish to take the root's key out of the database.
#[derive(Debug)]
pub struct ForgetRootKey<'a> {
    /// The data folder, where a generated passphrase is kept.
    pub data: &'a Path,
    /// Where the passphrase of the keyring comes from.
    pub from: PassphraseSource,
    /// The copy that is to be kept; `None`: nobody will have the key any more.
    pub copy: Option<RootCopy>,
    /// Who wants it, for the operator's log.
    pub agent: &'a str,
}

/// A copy of the root and its key.
#[derive(Debug)]
pub struct RootCopy {
    /// The file. If it is there already it has to be such a copy, of this root and with this passphrase.
    pub file: PathBuf,
    /// What opens it.
    pub passphrase: Passphrase,
}

/// A root whose key is not in the database any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenRootKey {
    /// Its id.
    pub id: String,
    /// When the root ends.
    pub ends: Timestamp,
}

/// Writes the copy, reads it back, and deletes the key from the database.
///
/// # Errors
/// [`HubError`]; the key is in the database still. A copy that was written stays.
pub async fn forget_root_key(
    database: &Database,
    wish: ForgetRootKey<'_>,
) -> Result<ForgottenRootKey, HubError> {
    let ForgetRootKey { data, from, copy, agent } = wish;
    let secret = passphrase::existing(&from, data)?;
    let stored = database.keyrings().openable().await.map_err(unavailable("read"))?;
    let (_, dek) = open_any(stored, &secret).await?;
    let rotations = database.rotations();
    let rows = rotations.authorities().await.map_err(unavailable("read"))?;
    let open = rotations.open().await.map_err(unavailable("read"))?;
    let id = Standing::of(&known(&rows), None)?.root.to_string();
    let row = rows.iter().find(|row| row.version == 0 && row.id == id);
    let row = row.ok_or_else(|| IdentityError::AuthorityMissing { id: AuthorityKind::Root.name() })?;
    if row.key.is_none() {
        return Err(IdentityError::KeyElsewhere { id, wanted: RotationKind::Intermediate }.into());
    }
    if let Some(open) = open {
        return Err(IdentityError::KeyNeeded { id, rotation: open.rotation.id }.into());
    }
    let root = chain::authority(row, &dek)?;
    let detail = match copy {
        Some(copy) => {
            let path = copy.file.clone();
            let written = tokio::task::spawn_blocking(move || write(&root, &copy)).await;
            let written = written.unwrap_or_else(|error| Err(error.to_string()));
            written.map_err(|reason| IdentityError::NotCopied { path: path.clone(), reason })?;
            format!("its key was copied to {} and deleted", path.display())
        }
        None => "its key was deleted, without a copy".to_owned(),
    };
    let mark = chain::mark(&id, &row.fingerprint, &dek)?;
    let forgot = rotations.forget_root_key(&mark, &row.fingerprint, &detail, agent).await;
    match forgot.map_err(unavailable("changed"))? {
        ForgotKey::Done => Ok(ForgottenRootKey { id, ends: row.not_after }),
        ForgotKey::UnderWay(open) => Err(IdentityError::KeyNeeded { id, rotation: open.rotation.id }.into()),
        ForgotKey::Gone => Err(IdentityError::Taken { id }.into()),
    }
}

/// Writes the copy and opens it again. One that is there from before will do, if it is of this very root. What
/// was begun and does not open is removed.
fn write(root: &Authority, copy: &RootCopy) -> Result<(), String> {
    let text = root.to_protected_pem(&copy.passphrase).map_err(|error| error.to_string())?;
    let written = write_secret_file(&copy.file, text.as_bytes());
    let was_there = matches!(&written, Err(error) if error.kind() == ErrorKind::AlreadyExists);
    let read = match written {
        Err(error) if !was_there => Err(error.to_string()),
        Ok(()) | Err(_) => read_back(root, copy),
    };
    match read {
        Err(reason) if was_there => Err(format!("there is another file already, and {reason}")),
        Err(reason) => {
            // It holds nothing that is not in the database.
            let _ = std::fs::remove_file(&copy.file);
            Err(reason)
        }
        Ok(()) => Ok(()),
    }
}

fn read_back(root: &Authority, copy: &RootCopy) -> Result<(), String> {
    let text = std::fs::read(&copy.file).map_err(|error| error.to_string())?;
    let back = Authority::from_protected_pem(&text, &copy.passphrase).map_err(|error| error.to_string())?;
    if back.key().as_pkcs8() == root.key().as_pkcs8() && back.certificate() == root.certificate() {
        return Ok(());
    }
    Err("it holds another root".to_owned())
}
