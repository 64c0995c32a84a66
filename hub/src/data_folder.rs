//! The hub's folder: what one hub keeps on its machine, and one hub at a time.
//!
//! The folder is its owner's alone. Whoever holds the lock on `hub.lock` is the hub; the system
//! takes the lock back however the process ends. Addresses are there only while the hub runs.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proto::HubId;

/// The file with the address for spokes, `host:port` in one line.
pub(crate) const HUB_ADDRESS: &str = "hub.addr";

/// The file with the address of health and metrics.
pub(crate) const HEALTH_ADDRESS: &str = "health.addr";

/// The enrolment socket.
pub(crate) const ENROLMENT_SOCKET: &str = "enrol.sock";

const LOCK: &str = "hub.lock";
const ID: &str = "hub.id";

/// Longest name of a hub, in characters. Longer is refused.
const HUB_NAME_CHARS_MAX: usize = 63;

/// Why a folder cannot be a hub's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataFolderError {
    /// Nothing can be written to it.
    #[error(
        "the data folder {} cannot be written: {doing} failed: {reason}; name another in EVENTFLOW_DATA or change its owner",
        path.display()
    )]
    NotWritable {
        /// Which folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        reason: io::Error,
    },
    /// Another hub uses it.
    #[error(
        "the data folder {} is in use by process {by}; stop that hub, or give this one a folder of its own",
        path.display()
    )]
    InUse {
        /// Which folder.
        path: PathBuf,
        /// The process that uses it, `?` if it has not said so.
        by: String,
    },
    /// The kept id is none.
    #[error("{} holds {text:?}, which is not a hub id; restore the file or delete it", path.display())]
    BadId {
        /// Which file.
        path: PathBuf,
        /// What it holds, cut to 64 characters.
        text: String,
    },
    /// The name cannot be a hub's.
    #[error("the hub name {name:?} is refused; use 1 to {HUB_NAME_CHARS_MAX} of a-z, A-Z, 0-9, '-' and '.'")]
    BadName {
        /// The name, cut to 64 characters.
        name: String,
    },
}

impl DataFolderError {
    /// The exit code that this error ends the hub with: 75 (try again later) while another hub uses
    /// the folder, else 78 (wrong configuration).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::InUse { .. } => 75,
            Self::NotWritable { .. } | Self::BadId { .. } | Self::BadName { .. } => 78,
        }
    }
}

/// A hub's folder, locked. Dropping it takes the addresses away and lets the next hub in.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    // Held, not read: the lock ends with it.
    _lock: File,
}

impl DataFolder {
    /// Makes the folder if it is missing, closes it to other users, and locks it.
    ///
    /// # Errors
    /// [`DataFolderError::NotWritable`] or, if another hub runs in it, [`DataFolderError::InUse`].
    pub(crate) fn open(path: &Path) -> Result<Self, DataFolderError> {
        let failed =
            |doing| move |reason| DataFolderError::NotWritable { path: path.to_owned(), doing, reason };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("making it"))?;
        std::fs::set_permissions(path, Permissions::from_mode(0o700))
            .map_err(failed("closing it to other users"))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(failed("opening hub.lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataFolderError::InUse { path: path.to_owned(), by: holder(&mut lock) });
            }
            Err(TryLockError::Error(reason)) => return Err(failed("locking hub.lock")(reason)),
        }
        say_holder(&mut lock).map_err(failed("writing hub.lock"))?;
        let folder = Self { path: path.to_owned(), _lock: lock };
        // A hub that was killed has left its own behind.
        folder.take_addresses_away();
        Ok(folder)
    }

    /// Where something of this name is in the folder.
    #[must_use]
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Says where the hub listens for spokes of this machine.
    ///
    /// # Errors
    /// [`DataFolderError::NotWritable`].
    pub(crate) fn write_address(&self, address: SocketAddr) -> Result<(), DataFolderError> {
        self.write(HUB_ADDRESS, &format!("{}\n", reachable(address)))
    }

    /// Says where health and metrics are.
    ///
    /// # Errors
    /// [`DataFolderError::NotWritable`].
    pub(crate) fn write_health_address(&self, address: SocketAddr) -> Result<(), DataFolderError> {
        self.write(HEALTH_ADDRESS, &format!("{}\n", reachable(address)))
    }

    /// The hub's id: a UUIDv7, a dot and `name`, made at the first start and kept from then on.
    ///
    /// # Errors
    /// [`DataFolderError`] if the name or what is kept is none, or nothing can be written.
    pub(crate) fn hub_id(&self, name: &str) -> Result<HubId, DataFolderError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if name.is_empty() || name.len() > HUB_NAME_CHARS_MAX || !name.chars().all(allowed) {
            return Err(DataFolderError::BadName { name: name.chars().take(64).collect() });
        }
        let path = self.path(ID);
        let kept = match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = format!("{}.{name}", uuid::Uuid::now_v7());
                self.write(ID, &format!("{made}\n"))?;
                made
            }
            Err(reason) => return Err(self.not_writable("reading hub.id", reason)),
        };
        HubId::parse(&kept)
            .ok()
            .filter(|id| id.as_str().chars().all(allowed))
            .ok_or_else(|| DataFolderError::BadId { path, text: kept.chars().take(64).collect() })
    }

    /// Writes a file of the folder so that a reader sees all of it or the former one.
    fn write(&self, name: &'static str, text: &str) -> Result<(), DataFolderError> {
        let draft = self.path(&format!("{name}.draft"));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&draft, self.path(name)));
        written.map_err(|reason| self.not_writable(name, reason))
    }

    fn not_writable(&self, doing: &'static str, reason: io::Error) -> DataFolderError {
        DataFolderError::NotWritable { path: self.path.clone(), doing, reason }
    }

    fn take_addresses_away(&self) {
        for name in [HUB_ADDRESS, HEALTH_ADDRESS, ENROLMENT_SOCKET] {
            // Mostly it is not there; if it stays, whoever reads it finds nobody at the address.
            std::fs::remove_file(self.path(name)).ok();
        }
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        self.take_addresses_away();
    }
}

/// Where a process of this machine reaches a listener on all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    match lock.take(32).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        Ok(_) | Err(_) => "?".to_owned(),
    }
}

fn say_holder(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_second_hub_in_one_folder_is_told_who_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::open(folder.path()).unwrap();
        let refused = DataFolder::open(folder.path()).unwrap_err();
        let pid = std::process::id().to_string();
        assert!(matches!(&refused, DataFolderError::InUse { by, .. } if *by == pid), "{refused}");
        assert_eq!(refused.exit_code(), 75);
        drop(first);
        assert!(DataFolder::open(folder.path()).is_ok());
    }

    #[test]
    fn the_folder_is_its_owners_alone_also_if_it_was_open_before() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let _folder = DataFolder::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = DataFolder::open(&file.path().join("data")).unwrap_err();
        assert!(matches!(refused, DataFolderError::NotWritable { .. }));
        assert!(refused.to_string().contains(&*file.path().to_string_lossy()), "{refused}");
        assert_eq!(refused.exit_code(), 78);
    }

    #[test]
    fn the_id_of_a_hub_is_made_once() {
        let path = tempfile::tempdir().unwrap();
        let id = DataFolder::open(path.path()).unwrap().hub_id("EVENTFLOW-HUB").unwrap();
        assert!(id.as_str().ends_with(".EVENTFLOW-HUB"));
        assert_eq!(DataFolder::open(path.path()).unwrap().hub_id("other").unwrap(), id);
    }

    #[test]
    fn bad_names_and_a_damaged_id_are_refused() {
        let path = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(path.path()).unwrap();
        for bad in ["", "a b", "a/b", "ä", &"a".repeat(64)] {
            assert!(matches!(folder.hub_id(bad), Err(DataFolderError::BadName { .. })), "{bad}");
        }
        std::fs::write(folder.path(ID), "../x").unwrap();
        assert!(matches!(folder.hub_id("hub"), Err(DataFolderError::BadId { .. })));
    }

    #[test]
    fn addresses_are_there_while_the_hub_runs_and_can_be_reached() {
        let path = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(path.path()).unwrap();
        folder.write_address("0.0.0.0:50001".parse().unwrap()).unwrap();
        let file = folder.path(HUB_ADDRESS);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "127.0.0.1:50001\n");
        drop(folder);
        assert!(!file.exists());
    }
}
