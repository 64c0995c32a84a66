//! Sealing: private keys at rest, under a passphrase.
//!
//! ```text
//! passphrase ─Argon2id─► 32 bytes ─HKDF─► key encryption key ─AES-256-GCM─► data key ─AES-256-GCM─► secrets
//! ```
//!
//! So another passphrase means wrapping one key again, and the slow step runs once at start.
//! Everything that a row says beside the secret is authenticated with it: a row that was moved,
//! put back from an older version or changed in any byte does not open.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::CertError;
use crate::random;

/// Fewest characters of a passphrase that a person chose.
pub const PASSPHRASE_CHARS_MIN: usize = 12;

/// How the key is derived from the passphrase; another word in a keyring is refused.
const KDF: &str = "argon2id-19";

/// The first byte of everything sealed; another one is refused.
const FORMAT: u8 = 1;

const NONCE_BYTES: usize = 12;

/// Why something was not sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The passphrase is too short.
    #[error("the passphrase has {found} characters; give it at least {PASSPHRASE_CHARS_MIN}")]
    TooShort {
        /// How many it has.
        found: usize,
    },
    /// The keyring did not open.
    #[error("keyring {kek_id} did not open: wrong passphrase or tampered keyring row")]
    WrongPassphraseOrTampered {
        /// Which keyring.
        kek_id: String,
    },
    /// A secret did not open.
    #[error(
        "the sealed key of {id} did not open under data key {dek_id}: its row was changed or belongs elsewhere"
    )]
    Tampered {
        /// Which secret.
        id: String,
        /// The key that it was tried with.
        dek_id: String,
    },
    /// A keyring asks for more than a hub will spend.
    #[error("the keyring asks for {what} {found}; at most {max} is allowed: its row was changed")]
    CostTooHigh {
        /// Of what.
        what: &'static str,
        /// How much.
        found: u32,
        /// How much is allowed.
        max: u32,
    },
    /// The keyring or secret was written by another version.
    #[error("{what} {found:?} is not known; it was written by a newer eventflow or changed")]
    Unknown {
        /// What is not known.
        what: &'static str,
        /// What was found.
        found: String,
    },
    /// The crypto library failed.
    #[error("the crypto library failed: {reason}")]
    Crypto {
        /// What it says.
        reason: String,
    },
}

impl From<CertError> for SealError {
    fn from(error: CertError) -> Self {
        Self::Crypto { reason: error.to_string() }
    }
}

/// What opens a keyring. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes a passphrase of at least [`PASSPHRASE_CHARS_MIN`] characters.
    ///
    /// # Errors
    /// [`SealError::TooShort`].
    pub fn new(text: impl Into<Zeroizing<Vec<u8>>>) -> Result<Self, SealError> {
        let text = text.into();
        // Bytes that are not UTF-8 count as characters: a generated key may be anything.
        let found = std::str::from_utf8(&text).map_or(text.len(), |text| text.chars().count());
        if found < PASSPHRASE_CHARS_MIN {
            return Err(SealError::TooShort { found });
        }
        Ok(Self(text))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    /// Never the passphrase.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// What deriving a key costs: memory, passes over it, lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes that could be filled in parallel.
    pub lanes: u32,
}

impl Default for KdfCost {
    /// RFC 9106's second choice: 64 MiB, 3 passes, 4 lanes.
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }
}

impl KdfCost {
    /// The most that a stored keyring may ask for, so that a changed row cannot exhaust the machine.
    pub const MAX: Self = Self { memory_kib: 1024 * 1024, passes: 10, lanes: 16 };

    /// The least that the algorithm takes: for tests.
    pub const TINY: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };

    fn check(self) -> Result<(), SealError> {
        for (what, found, max) in [
            ("memory in KiB", self.memory_kib, Self::MAX.memory_kib),
            ("passes", self.passes, Self::MAX.passes),
            ("lanes", self.lanes, Self::MAX.lanes),
        ] {
            if found > max {
                return Err(SealError::CostTooHigh { what, found, max });
            }
        }
        Ok(())
    }
}

/// A keyring as it is stored: how to derive the key from the passphrase, and the wrapped data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    /// The keyring's id.
    pub kek_id: String,
    /// The key derivation.
    pub kdf: String,
    /// Its cost.
    pub cost: KdfCost,
    /// Its salt.
    pub salt: Vec<u8>,
    /// The data key's id.
    pub dek_id: String,
    /// The data key, sealed.
    pub wrapped: Vec<u8>,
    /// The nonce of that sealing.
    pub nonce: Vec<u8>,
}

impl Keyring {
    fn associated(&self) -> Vec<u8> {
        let numbers = [self.cost.memory_kib, self.cost.passes, self.cost.lanes].map(u32::to_le_bytes);
        associated(&[
            b"eventflow/keyring/v1",
            self.kek_id.as_bytes(),
            self.kdf.as_bytes(),
            numbers.as_flattened(),
            &self.salt,
            self.dek_id.as_bytes(),
        ])
    }
}

/// Something sealed: the nonce and the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The nonce, new for each sealing.
    pub nonce: Vec<u8>,
    /// A format byte, the ciphertext, the tag.
    pub bytes: Vec<u8>,
}

/// The data key of an opened keyring. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Dek {
    id: String,
    key: Zeroizing<[u8; 32]>,
}

impl Dek {
    /// The id that sealed rows name it by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals `secret` as version `version` of what `id` names.
    ///
    /// # Errors
    /// [`SealError::Crypto`].
    pub fn seal(&self, id: &str, version: u32, secret: &[u8]) -> Result<Sealed, SealError> {
        let nonce = random::bytes::<NONCE_BYTES>()?;
        let bytes = encrypt(&self.key, nonce, secret, &self.associated(id, version))?;
        Ok(Sealed { nonce: nonce.to_vec(), bytes })
    }

    /// Opens what was sealed for this id and version.
    ///
    /// # Errors
    /// [`SealError::Tampered`] if it was sealed for anything else or changed since.
    pub fn open(&self, id: &str, version: u32, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        decrypt(&self.key, &sealed.nonce, &sealed.bytes, &self.associated(id, version))?
            .ok_or_else(|| SealError::Tampered { id: id.to_owned(), dek_id: self.id.clone() })
    }

    fn associated(&self, id: &str, version: u32) -> Vec<u8> {
        let version = version.to_le_bytes();
        associated(&[b"eventflow/key/v1", b"certificate", id.as_bytes(), &version, self.id.as_bytes()])
    }
}

impl fmt::Debug for Dek {
    /// The id only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dek({})", self.id)
    }
}

impl Dek {
    /// The same data key in a new keyring under `passphrase`: what it has sealed stays as it is. Takes as
    /// long as `cost` says: not for an async task.
    ///
    /// # Errors
    /// As [`new_keyring`].
    pub fn keyring(&self, passphrase: &Passphrase, cost: KdfCost) -> Result<Keyring, SealError> {
        let mut keyring = Keyring {
            kek_id: random::id()?,
            kdf: KDF.to_owned(),
            cost,
            salt: random::bytes::<16>()?.to_vec(),
            dek_id: self.id.clone(),
            wrapped: Vec::new(),
            nonce: Vec::new(),
        };
        let kek = derive(passphrase, &keyring)?;
        let nonce = random::bytes::<NONCE_BYTES>()?;
        keyring.wrapped = encrypt(&kek, nonce, self.key.as_slice(), &keyring.associated())?;
        keyring.nonce = nonce.to_vec();
        Ok(keyring)
    }
}

/// A new data key in a new keyring under `passphrase`. Takes as long as `cost` says: not for an
/// async task.
///
/// # Errors
/// [`SealError`] if the cost is not one that would be read back, or the crypto library fails.
pub fn new_keyring(passphrase: &Passphrase, cost: KdfCost) -> Result<(Keyring, Dek), SealError> {
    let dek = Dek { id: random::id()?, key: Zeroizing::new(random::bytes()?) };
    let keyring = dek.keyring(passphrase, cost)?;
    Ok((keyring, dek))
}

/// The data key of a stored keyring. Takes as long as the keyring's cost says: not for an async task.
///
/// # Errors
/// [`SealError::WrongPassphraseOrTampered`], or why the keyring was not even tried.
pub fn open_keyring(passphrase: &Passphrase, keyring: &Keyring) -> Result<Dek, SealError> {
    if keyring.kdf != KDF {
        return Err(SealError::Unknown { what: "the key derivation", found: keyring.kdf.clone() });
    }
    let kek = derive(passphrase, keyring)?;
    let wrong = || SealError::WrongPassphraseOrTampered { kek_id: keyring.kek_id.clone() };
    let key = decrypt(&kek, &keyring.nonce, &keyring.wrapped, &keyring.associated())?.ok_or_else(wrong)?;
    let key: [u8; 32] = key.as_slice().try_into().map_err(|_| wrong())?;
    Ok(Dek { id: keyring.dek_id.clone(), key: Zeroizing::new(key) })
}

fn derive(passphrase: &Passphrase, keyring: &Keyring) -> Result<Zeroizing<[u8; 32]>, SealError> {
    keyring.cost.check()?;
    let KdfCost { memory_kib, passes, lanes } = keyring.cost;
    let failed = |error: argon2::Error| SealError::Crypto { reason: error.to_string() };
    let params = argon2::Params::new(memory_kib, passes, lanes, Some(32)).map_err(failed)?;
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut derived = Zeroizing::new([0; 32]);
    argon.hash_password_into(&passphrase.0, &keyring.salt, derived.as_mut_slice()).map_err(failed)?;
    let mut kek = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, derived.as_slice())
        .expand(b"eventflow/kek/v1", kek.as_mut_slice())
        .map_err(|error| SealError::Crypto { reason: error.to_string() })?;
    Ok(kek)
}

fn encrypt(
    key: &[u8; 32],
    nonce: [u8; NONCE_BYTES],
    secret: &[u8],
    associated: &[u8],
) -> Result<Vec<u8>, SealError> {
    let sealed = Aes256Gcm::new(key.into())
        .encrypt(&Nonce::from(nonce), Payload { msg: secret, aad: associated })
        .map_err(|error| SealError::Crypto { reason: error.to_string() })?;
    Ok([&[FORMAT], sealed.as_slice()].concat())
}

/// The secret; `None` if the tag does not fit.
fn decrypt(
    key: &[u8; 32],
    nonce: &[u8],
    sealed: &[u8],
    associated: &[u8],
) -> Result<Option<Zeroizing<Vec<u8>>>, SealError> {
    let body = match sealed.split_first() {
        Some((&FORMAT, body)) => body,
        Some((other, _)) => {
            return Err(SealError::Unknown { what: "the sealing format", found: other.to_string() });
        }
        None => return Ok(None),
    };
    let Ok(nonce) = <[u8; NONCE_BYTES]>::try_from(nonce) else {
        return Ok(None);
    };
    let opened =
        Aes256Gcm::new(key.into()).decrypt(&Nonce::from(nonce), Payload { msg: body, aad: associated });
    Ok(opened.ok().map(Zeroizing::new))
}

/// The parts, each with its length before it, so that no two lists of parts give the same bytes.
fn associated(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(*part);
    }
    bytes
}

#[cfg(test)]
mod tests;
