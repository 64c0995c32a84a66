//! Where the passphrase of the keyring comes from: exactly one place.
//!
//! A file, an environment variable, or a key that the hub made for itself. The passphrase is never
//! an argument of the command line, which every user of the machine can read.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use certs::seal::{Passphrase, SealError};
use zeroize::Zeroizing;

use crate::data_folder::DataFolder;

/// The environment variable that may hold the passphrase itself.
pub const PASSPHRASE_VARIABLE: &str = "EVENTFLOW_CA_PASSPHRASE";

/// The environment variable that may name the passphrase's file.
pub const PASSPHRASE_FILE_VARIABLE: &str = "EVENTFLOW_CA_PASSPHRASE_FILE";

/// The file in the data folder that holds a generated passphrase.
const GENERATED: &str = "master.key";

/// Largest passphrase file, in bytes. A larger one is refused: it is another file.
const FILE_BYTES_MAX: u64 = 4096;

/// Where the passphrase comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassphraseSource {
    /// The text of this file, without one newline at its end.
    File(PathBuf),
    /// The value of [`PASSPHRASE_VARIABLE`].
    Environment,
    /// A random key in the data folder, made at the first start.
    Generated,
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// Two places were named.
    #[error(
        "the passphrase is given twice, as a file and in {PASSPHRASE_VARIABLE}; take one of the two away"
    )]
    Twice,
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
    /// The one source that is asked for: `file`, the environment (if `in_environment`), or a
    /// generated key if neither is.
    ///
    /// # Errors
    /// [`PassphraseError::Twice`] if both are.
    pub fn one_of(file: Option<PathBuf>, environment: Option<()>) -> Result<Self, PassphraseError> {
        match (file, environment) {
            (Some(_), Some(())) => Err(PassphraseError::Twice),
            (Some(path), None) => Ok(Self::File(path)),
            (None, Some(())) => Ok(Self::Environment),
            (None, None) => Ok(Self::Generated),
        }
    }
}

/// The passphrase from `source`. A generated key is made if `folder` has none yet.
///
/// # Errors
/// [`PassphraseError`] says which place was tried and what to do.
pub(crate) fn passphrase(
    source: &PassphraseSource,
    folder: &DataFolder,
) -> Result<Passphrase, PassphraseError> {
    match source {
        PassphraseSource::File(path) => checked(read(path)?, &path.display().to_string()),
        PassphraseSource::Environment => {
            let value = std::env::var_os(PASSPHRASE_VARIABLE).ok_or(PassphraseError::NotSet)?;
            let value = Zeroizing::new(value.into_encoded_bytes());
            tracing::warn!(
                "the passphrase comes from {PASSPHRASE_VARIABLE}, which child processes and crash reports \
                 see; a file is safer"
            );
            checked(value, PASSPHRASE_VARIABLE)
        }
        PassphraseSource::Generated => {
            let path = folder.path(GENERATED);
            if !path.exists() {
                generate(&path)?;
            }
            checked(read(&path)?, &path.display().to_string())
        }
    }
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
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let written = write_new(&draft, &key).and_then(|()| {
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

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn random_text() -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    let random = certs::tls::provider().secure_random;
    random.fill(bytes.as_mut_slice()).map_err(|_| io::Error::other("the system gave no random bytes"))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Zeroizing::new(text.into_bytes()))
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
        let data = DataFolder::open(folder.path()).unwrap();
        passphrase(&PassphraseSource::Generated, &data).unwrap();
        let path = data.path(GENERATED);
        let first = std::fs::read(&path).unwrap();
        passphrase(&PassphraseSource::Generated, &data).unwrap();
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
        let data = DataFolder::open(data.path()).unwrap();
        let from = |path| passphrase(&PassphraseSource::File(path), &data);
        let (_folder, path) = file("elf zeichen\n", 0o600);
        assert!(matches!(from(path), Err(PassphraseError::Refused { .. })));
        let (_folder, path) = file(&"x".repeat(4097), 0o600);
        assert!(matches!(from(path), Err(PassphraseError::TooLarge { .. })));
        let missing = from(PathBuf::from("/nonexistent/passphrase"));
        assert!(matches!(missing, Err(PassphraseError::Unreadable { .. })));
    }

    #[test]
    fn two_sources_are_refused() {
        let path = || Some(PathBuf::from("passphrase"));
        assert!(matches!(PassphraseSource::one_of(path(), Some(())), Err(PassphraseError::Twice)));
        assert_eq!(PassphraseSource::one_of(None, None).unwrap(), PassphraseSource::Generated);
        assert_eq!(PassphraseSource::one_of(None, Some(())).unwrap(), PassphraseSource::Environment);
    }
}
