//! Where the passphrase of the keyring comes from: exactly one place.
//!
//! A file, a credential of systemd, an environment variable, the terminal, or a key that the hub made
//! for itself. The passphrase is never an argument of the command line, which every user of the machine
//! can read.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use certs::seal::{Passphrase, SealError};
use zeroize::Zeroizing;

use crate::secret_file::write_secret_file;

/// The environment variable that may hold the passphrase itself.
pub const PASSPHRASE_VARIABLE: &str = "EVENTFLOW_CA_PASSPHRASE";

/// The environment variable that may name the passphrase's file.
pub const PASSPHRASE_FILE_VARIABLE: &str = "EVENTFLOW_CA_PASSPHRASE_FILE";

/// The environment variable with which systemd says where a service's credentials are.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// The name of the credential (`LoadCredential=` of systemd.exec).
const CREDENTIAL: &str = "ca-passphrase";

/// The file in the data folder that holds a generated passphrase.
const GENERATED: &str = "master.key";

/// The file beside it that holds its successor while the keyring is rotated.
const GENERATED_NEXT: &str = "master.key.next";

/// Largest passphrase file, in bytes. A larger one is refused: it is another file.
const FILE_BYTES_MAX: u64 = 4096;

/// Where the passphrase comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassphraseSource {
    /// The text of this file, without one newline at its end.
    File(PathBuf),
    /// The credential of this path, which systemd hands to the service alone.
    Credential(PathBuf),
    /// The value of [`PASSPHRASE_VARIABLE`].
    Environment,
    /// What a person types, unseen.
    Terminal,
    /// A random key in the data folder, made at the first start.
    Generated,
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// Two places were named.
    #[error("the passphrase is given twice, by {one} and by {other}; take one of the two away")]
    Twice {
        /// One place.
        one: String,
        /// The other.
        other: String,
    },
    /// Nobody typed one.
    #[error("no passphrase was read from the terminal: {reason}; name a file with --passphrase-file")]
    NoTerminal {
        /// What the system said.
        reason: io::Error,
    },
    /// It was typed differently the second time.
    #[error("the two passphrases differ; nothing was changed, type the same one twice")]
    Mistyped,
    /// The file cannot be read.
    #[error("the passphrase file {} could not be read: {reason}; check its path and its owner", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// Others can read the file.
    #[error(
        "every user of this machine can read the passphrase file {} (mode {mode:03o}); run `chmod o-rwx` on it",
        path.display()
    )]
    WorldReadable {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is too large to be a passphrase.
    #[error("the passphrase file {} has more than {FILE_BYTES_MAX} bytes; it is another file", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// The variable is not set.
    #[error("{PASSPHRASE_VARIABLE} is not set; set it, or name a file in {PASSPHRASE_FILE_VARIABLE}")]
    NotSet,
    /// It is no passphrase.
    #[error("the passphrase from {source_name} was refused: {reason}")]
    Refused {
        /// Where it came from.
        source_name: String,
        /// What is wrong with it.
        reason: SealError,
    },
    /// The generated key was not stored.
    #[error("the generated passphrase was not written to {}: {reason}; make the folder writable", path.display())]
    NotWritten {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
}

impl PassphraseError {
    /// The exit code that this error ends the hub with: 78, wrong configuration.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        78
    }
}

impl PassphraseSource {
    /// The credential that systemd gave to this process, if it did.
    #[must_use]
    pub fn credential() -> Option<Self> {
        let path = Path::new(&std::env::var_os(CREDENTIALS_VARIABLE)?).join(CREDENTIAL);
        path.exists().then_some(Self::Credential(path))
    }

    /// [`PASSPHRASE_VARIABLE`], if it is set.
    #[must_use]
    pub fn environment() -> Option<Self> {
        std::env::var_os(PASSPHRASE_VARIABLE).map(|_| Self::Environment)
    }

    /// The one of `given`, which may name the same file twice; a generated key if there is none.
    ///
    /// # Errors
    /// [`PassphraseError::Twice`] if there are several.
    pub fn one_of(given: impl IntoIterator<Item = Self>) -> Result<Self, PassphraseError> {
        let mut given = given.into_iter();
        let Some(one) = given.next() else { return Ok(Self::Generated) };
        match given.find(|other| !one.is_same_file(other)) {
            Some(other) => Err(PassphraseError::Twice { one: one.to_string(), other: other.to_string() }),
            None => Ok(one),
        }
    }

    /// Whether both are one file: a unit may name the file of its credential.
    fn is_same_file(&self, other: &Self) -> bool {
        match (self.file(), other.file()) {
            (Some(one), Some(other)) => match (one.canonicalize(), other.canonicalize()) {
                (Ok(one), Ok(other)) => one == other,
                _ => one == other,
            },
            _ => false,
        }
    }

    fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Credential(path) => Some(path),
            Self::Environment | Self::Terminal | Self::Generated => None,
        }
    }
}

impl std::fmt::Display for PassphraseSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Credential(path) => write!(f, "systemd's credential {}", path.display()),
            Self::Environment => f.write_str(PASSPHRASE_VARIABLE),
            Self::Terminal => f.write_str("the terminal"),
            Self::Generated => write!(f, "{GENERATED} in the data folder"),
        }
    }
}

/// The passphrase from `source`. A generated key is made if the data folder has none yet.
///
/// # Errors
/// [`PassphraseError`] says which place was tried and what to do.
pub(crate) fn passphrase(source: &PassphraseSource, data: &Path) -> Result<Passphrase, PassphraseError> {
    let text = match source {
        PassphraseSource::File(path) | PassphraseSource::Credential(path) => read(path)?,
        PassphraseSource::Environment => {
            let value = std::env::var_os(PASSPHRASE_VARIABLE).ok_or(PassphraseError::NotSet)?;
            tracing::warn!(
                "the passphrase comes from {PASSPHRASE_VARIABLE}, which child processes and crash reports \
                 see; a file is safer"
            );
            Zeroizing::new(value.into_encoded_bytes())
        }
        PassphraseSource::Terminal => typed("Passphrase of the keyring: ")?,
        PassphraseSource::Generated => {
            let path = data.join(GENERATED);
            if !path.exists() {
                generate(&path)?;
            }
            read(&path)?
        }
    };
    checked(text, &source.to_string())
}

/// The passphrase from `source` of a keyring that is there: none is made.
///
/// # Errors
/// As [`passphrase`], and [`PassphraseError::Unreadable`] where there is no generated key.
pub(crate) fn existing(source: &PassphraseSource, data: &Path) -> Result<Passphrase, PassphraseError> {
    match source {
        PassphraseSource::Generated => passphrase(&PassphraseSource::File(data.join(GENERATED)), data),
        PassphraseSource::File(_)
        | PassphraseSource::Credential(_)
        | PassphraseSource::Environment
        | PassphraseSource::Terminal => passphrase(source, data),
    }
}

/// A new passphrase from `source`: one from the terminal is typed twice, and a generated one is not yet
/// in its place.
///
/// # Errors
/// As [`passphrase`], and [`PassphraseError::Mistyped`].
pub(crate) fn new_passphrase(source: &PassphraseSource, data: &Path) -> Result<Passphrase, PassphraseError> {
    match source {
        PassphraseSource::Terminal => {
            let text = typed("New passphrase of the keyring: ")?;
            if *typed("The same again: ")? != *text {
                return Err(PassphraseError::Mistyped);
            }
            checked(text, &source.to_string())
        }
        PassphraseSource::Generated => {
            // One that a rotation left behind before it was used is used now.
            let path = data.join(GENERATED_NEXT);
            if !path.exists() {
                generate(&path)?;
            }
            checked(read(&path)?, &path.display().to_string())
        }
        PassphraseSource::File(_) | PassphraseSource::Credential(_) | PassphraseSource::Environment => {
            passphrase(source, data)
        }
    }
}

/// Whether a passphrase is known already or thought up now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// It is known, and typed once.
    Once,
    /// It is new, and typed twice.
    Twice,
}

/// The passphrase of something else than the keyring: the text of a file, or what a person types when asked
/// for the passphrase of `what`.
///
/// # Errors
/// [`PassphraseError`] says which place was tried and what to do.
pub fn passphrase_of(what: &str, file: Option<&Path>, new: Typed) -> Result<Passphrase, PassphraseError> {
    if let Some(path) = file {
        return checked(read(path)?, &PassphraseSource::File(path.to_owned()).to_string());
    }
    let text = typed(&format!("Passphrase of {what}: "))?;
    if new == Typed::Twice && *typed("The same again: ")? != *text {
        return Err(PassphraseError::Mistyped);
    }
    checked(text, &PassphraseSource::Terminal.to_string())
}

/// Puts the newly generated key in the place of the former one, which is gone then.
///
/// # Errors
/// [`PassphraseError::NotWritten`].
pub(crate) fn use_generated(data: &Path) -> Result<(), PassphraseError> {
    let path = data.join(GENERATED);
    let moved = std::fs::rename(data.join(GENERATED_NEXT), &path)
        .and_then(|()| File::open(data))
        .and_then(|folder| folder.sync_all());
    moved.map_err(|reason| PassphraseError::NotWritten { path, reason })
}

fn typed(prompt: &str) -> Result<Zeroizing<Vec<u8>>, PassphraseError> {
    let text = rpassword::prompt_password(prompt).map_err(|reason| PassphraseError::NoTerminal { reason })?;
    Ok(Zeroizing::new(text.into_bytes()))
}

fn checked(text: Zeroizing<Vec<u8>>, source_name: &str) -> Result<Passphrase, PassphraseError> {
    // Whoever is told later that it was the wrong one finds here which one it was.
    tracing::info!(from = source_name, "passphrase read");
    Passphrase::new(text)
        .map_err(|reason| PassphraseError::Refused { source_name: source_name.to_owned(), reason })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, PassphraseError> {
    let unreadable = |reason| PassphraseError::Unreadable { path: path.to_owned(), reason };
    let file = File::open(path).map_err(unreadable)?;
    // The opened file is asked, not the path: another file may stand there by now.
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(PassphraseError::WorldReadable { path: path.to_owned(), mode });
    }
    // Room for all at once: a growing vector would leave copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(2 * usize::try_from(FILE_BYTES_MAX).unwrap_or(0)));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(PassphraseError::TooLarge { path: path.to_owned() });
    }
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    Ok(text)
}

/// Writes 256 random bits as text. Whoever comes second leaves the first one's key alone.
fn generate(path: &Path) -> Result<(), PassphraseError> {
    let not_written = |reason| PassphraseError::NotWritten { path: path.to_owned(), reason };
    let key = random_text().map_err(not_written)?;
    let draft = path.with_added_extension(format!("{}.draft", std::process::id()));
    let written = write_secret_file(&draft, &key).and_then(|()| {
        // A link fails if the name is taken, and the name never stands for half a file.
        match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    let removed = std::fs::remove_file(&draft);
    written.and(removed).map_err(not_written)?;
    tracing::info!(
        path = %path.display(),
        "a passphrase was generated; back this file up: without it the hub's keys cannot be opened"
    );
    Ok(())
}

fn random_text() -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    let random = certs::tls::provider().secure_random;
    random.fill(bytes.as_mut_slice()).map_err(|_| io::Error::other("the system gave no random bytes"))?;
    let mut text = Zeroizing::new(vec![0; 2 * bytes.len()]);
    hex::encode_to_slice(bytes.as_slice(), &mut text).map_err(io::Error::other)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_generated_key_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        passphrase(&PassphraseSource::Generated, folder.path()).unwrap();
        let path = folder.path().join(GENERATED);
        let first = std::fs::read(&path).unwrap();
        passphrase(&PassphraseSource::Generated, folder.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        assert_eq!(first.len(), 64);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let drafts = std::fs::read_dir(folder.path()).unwrap();
        assert!(!drafts.flatten().any(|entry| entry.path().extension().is_some_and(|end| end == "draft")));
    }

    #[test]
    fn only_one_newline_at_the_end_is_not_part_of_the_passphrase() {
        let (_folder, path) = file("twelve chars\n\n", 0o640);
        assert_eq!(read(&path).unwrap().as_slice(), b"twelve chars\n");
    }

    #[test]
    fn a_file_that_every_user_can_read_is_refused() {
        let (_folder, path) = file("correct horse battery", 0o604);
        assert!(matches!(read(&path), Err(PassphraseError::WorldReadable { mode: 0o604, .. })));
    }

    #[test]
    fn short_large_and_missing_files_are_refused() {
        let data = tempfile::tempdir().unwrap();
        let from = |path| passphrase(&PassphraseSource::File(path), data.path());
        let (_folder, path) = file("elf zeichen\n", 0o600);
        assert!(matches!(from(path), Err(PassphraseError::Refused { .. })));
        let (_folder, path) = file(&"x".repeat(4097), 0o600);
        assert!(matches!(from(path), Err(PassphraseError::TooLarge { .. })));
        let missing = from(PathBuf::from("/nonexistent/passphrase"));
        assert!(matches!(missing, Err(PassphraseError::Unreadable { .. })));
    }

    #[test]
    fn two_sources_are_refused_and_both_are_named() {
        let file = || PassphraseSource::File(PathBuf::from("/etc/passphrase"));
        let error =
            PassphraseSource::one_of([file(), PassphraseSource::Environment]).unwrap_err().to_string();
        assert!(error.contains("/etc/passphrase") && error.contains(PASSPHRASE_VARIABLE), "{error}");
        assert_eq!(PassphraseSource::one_of([]).unwrap(), PassphraseSource::Generated);
        assert_eq!(PassphraseSource::one_of([file()]).unwrap(), file());
    }

    #[test]
    fn a_file_that_is_named_twice_is_one_source() {
        let (folder, path) = file("correct horse battery", 0o600);
        let (_other_folder, other) = file("correct horse battery", 0o600);
        let around = folder.path().join(".").join("passphrase");
        let one_of = |given: [PathBuf; 2]| {
            let [named, credential] = given;
            PassphraseSource::one_of([
                PassphraseSource::File(named),
                PassphraseSource::Credential(credential),
            ])
        };
        assert_eq!(one_of([path.clone(), around]).unwrap(), PassphraseSource::File(path.clone()));
        assert!(matches!(one_of([path, other]), Err(PassphraseError::Twice { .. })));
    }

    #[test]
    fn a_newly_generated_key_takes_its_place_only_when_it_is_to_be_used() {
        let folder = tempfile::tempdir().unwrap();
        passphrase(&PassphraseSource::Generated, folder.path()).unwrap();
        let key = || std::fs::read(folder.path().join(GENERATED)).unwrap();
        let first = key();
        new_passphrase(&PassphraseSource::Generated, folder.path()).unwrap();
        assert_eq!(key(), first);
        let next = std::fs::read(folder.path().join(GENERATED_NEXT)).unwrap();
        new_passphrase(&PassphraseSource::Generated, folder.path()).unwrap();
        assert_eq!(std::fs::read(folder.path().join(GENERATED_NEXT)).unwrap(), next, "it is not made again");
        use_generated(folder.path()).unwrap();
        assert_eq!(key(), next);
        assert!(!folder.path().join(GENERATED_NEXT).exists());
    }
}
