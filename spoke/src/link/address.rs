//! Where the hub is: named by the caller, or read from the data folder at every dial.
//!
//! A hub that was started again may listen on another port, so no file is ever remembered. The file of a
//! hub in the same folder goes before the one that an enrolment has left.

use std::io;
use std::path::{Path, PathBuf};

/// Longer than every `host:port`.
const ADDRESS_BYTES_MAX: usize = 300;

/// Where a hub's address is found.
#[derive(Debug, Clone)]
pub(super) enum Address {
    /// It was named.
    Named(String),
    /// It is in one of these files.
    Files {
        /// What a hub that has this data folder wrote.
        hub: PathBuf,
        /// What an enrolment at a hub elsewhere has left, the address that it was reached at first.
        enrolled: PathBuf,
    },
}

/// Where a hub is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its `host:port`.
    pub(super) address: String,
    /// Whether it has this data folder.
    pub(super) distance: Distance,
}

/// How far a hub is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distance {
    /// It has this data folder.
    Here,
    /// It may be anywhere.
    Anywhere,
}

/// Why there is no address.
#[derive(Debug)]
pub(super) enum AddressError {
    /// There is no such file: no hub was ever started there.
    Missing(PathBuf),
    /// The file does not hold an address, for example because a hub is just writing it.
    Unreadable(String),
}

impl Address {
    pub(super) fn new(named: Option<String>, data: &Path, enrolled: PathBuf) -> Self {
        named.map_or_else(|| Self::Files { hub: data.join("hub.addr"), enrolled }, Self::Named)
    }

    /// The hub to dial now.
    pub(super) async fn find(&self) -> Result<Found, AddressError> {
        let (hub, enrolled) = match self {
            Self::Named(address) => {
                return Ok(Found { address: address.clone(), distance: Distance::Anywhere });
            }
            Self::Files { hub, enrolled } => (hub, enrolled),
        };
        if let Some(address) = read(hub).await? {
            return Ok(Found { address, distance: Distance::Here });
        }
        match read(enrolled).await? {
            Some(address) => Ok(Found { address, distance: Distance::Anywhere }),
            None => Err(AddressError::Missing(hub.clone())),
        }
    }

    /// What people are told when nobody answers.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Named(address) => address.clone(),
            Self::Files { hub, .. } => format!("the address in {}", hub.display()),
        }
    }
}

/// The address in the first line of a file, if there is such a file.
async fn read(path: &Path) -> Result<Option<String>, AddressError> {
    match tokio::fs::read(path).await {
        Ok(text) => match text.split(|byte| *byte == b'\n').next().and_then(parse) {
            Some(address) => Ok(Some(address)),
            None => Err(AddressError::Unreadable(format!("{} does not hold host:port", path.display()))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AddressError::Unreadable(format!("{}: {error}", path.display()))),
    }
}

fn parse(text: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(text).ok()?.trim();
    let (host, port) = line.rsplit_once(':')?;
    let good = !host.is_empty() && port.parse::<u16>().is_ok() && line.len() <= ADDRESS_BYTES_MAX;
    good.then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_line_with_host_and_port() {
        assert_eq!(parse(b"127.0.0.1:50001\n"), Some("127.0.0.1:50001".to_owned()));
        assert_eq!(parse(b"[::1]:50001"), Some("[::1]:50001".to_owned()));
        for bad in [&b""[..], b"127.0.0.1", b":50001", b"host:99999", b"\xff:1", b"host:\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    fn found(address: &str, distance: Distance) -> Found {
        Found { address: address.to_owned(), distance }
    }

    #[tokio::test]
    async fn the_file_is_read_again_at_every_dial() {
        let data = tempfile::tempdir().unwrap();
        let enrolled = data.path().join("hubs");
        let address = Address::new(None, data.path(), enrolled.clone());
        assert!(matches!(address.find().await, Err(AddressError::Missing(_))));
        std::fs::write(data.path().join("hub.addr"), "a:1\n").unwrap();
        assert_eq!(address.find().await.unwrap(), found("a:1", Distance::Here));
        std::fs::write(data.path().join("hub.addr"), "a:2\n").unwrap();
        assert_eq!(address.find().await.unwrap(), found("a:2", Distance::Here));
        let named = Address::new(Some("b:3".to_owned()), data.path(), enrolled);
        assert_eq!(named.find().await.unwrap(), found("b:3", Distance::Anywhere));
    }

    #[tokio::test]
    async fn what_an_enrolment_has_left_is_taken_where_no_hub_has_the_folder() {
        let data = tempfile::tempdir().unwrap();
        let enrolled = data.path().join("hubs");
        std::fs::write(&enrolled, "far:1\nfar:2").unwrap();
        let address = Address::new(None, data.path(), enrolled);
        assert_eq!(address.find().await.unwrap(), found("far:1", Distance::Anywhere));
        std::fs::write(data.path().join("hub.addr"), "near:1\n").unwrap();
        assert_eq!(address.find().await.unwrap(), found("near:1", Distance::Here));
    }
}
