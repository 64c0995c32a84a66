//! Where the hub is: named by the caller, or read from the data folder at every dial.
//!
//! A hub that was started again may listen on another port, so no file is ever remembered. The file of a
//! hub in the same folder goes before the one that an enrolment has left, whose addresses are dialled in
//! turn: the same one again for as long as it lets us in, and the next one when it does not.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
        /// Whose turn it is among those.
        turn: Turn,
    },
}

/// Which of several addresses is dialled next. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn(Arc<Mutex<Dialled>>);

#[derive(Debug, Default)]
struct Dialled {
    last: Option<String>,
    /// Whether the hub there has said Welcome since.
    welcome: bool,
}

impl Turn {
    /// The one that has let us in, or the one after the last that was dialled.
    fn take(&self, mut addresses: Vec<String>) -> Option<String> {
        let mut dialled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = addresses.iter().position(|address| Some(address) == dialled.last.as_ref());
        let next = match last {
            Some(last) if dialled.welcome => last,
            Some(last) => (last + 1) % addresses.len(),
            None if addresses.is_empty() => return None,
            None => 0,
        };
        let address = addresses.swap_remove(next);
        *dialled = Dialled { last: Some(address.clone()), welcome: false };
        Some(address)
    }
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
        let files = || Self::Files { hub: data.join("hub.addr"), enrolled, turn: Turn::default() };
        named.map_or_else(files, Self::Named)
    }

    /// The hub to dial now.
    pub(super) async fn find(&self) -> Result<Found, AddressError> {
        let (hub, enrolled, turn) = match self {
            Self::Named(address) => {
                return Ok(Found { address: address.clone(), distance: Distance::Anywhere });
            }
            Self::Files { hub, enrolled, turn } => (hub, enrolled, turn),
        };
        if let Some(address) = read(hub).await?.into_iter().next() {
            return Ok(Found { address, distance: Distance::Here });
        }
        match turn.take(read(enrolled).await?) {
            Some(address) => Ok(Found { address, distance: Distance::Anywhere }),
            None => Err(AddressError::Missing(hub.clone())),
        }
    }

    /// The hub that was dialled last has said Welcome: it is dialled again next time.
    pub(super) fn welcomed(&self) {
        match self {
            Self::Files { turn, .. } => {
                turn.0.lock().unwrap_or_else(PoisonError::into_inner).welcome = true;
            }
            Self::Named(_) => {}
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

/// The addresses in a file, one a line, none if there is no such file. Lines that hold none are passed over.
async fn read(path: &Path) -> Result<Vec<String>, AddressError> {
    match tokio::fs::read(path).await {
        Ok(text) => {
            let addresses: Vec<_> = text.split(|byte| *byte == b'\n').filter_map(parse).collect();
            match addresses.is_empty() {
                true => Err(AddressError::Unreadable(format!("{} does not hold host:port", path.display()))),
                false => Ok(addresses),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
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

    async fn found(address: &Address) -> (String, Distance) {
        let found = address.find().await.unwrap();
        (found.address, found.distance)
    }

    #[tokio::test]
    async fn the_file_is_read_again_at_every_dial() {
        let data = tempfile::tempdir().unwrap();
        let enrolled = data.path().join("hubs");
        let address = Address::new(None, data.path(), enrolled.clone());
        assert!(matches!(address.find().await, Err(AddressError::Missing(_))));
        std::fs::write(data.path().join("hub.addr"), "a:1\n").unwrap();
        assert_eq!(found(&address).await, ("a:1".to_owned(), Distance::Here));
        std::fs::write(data.path().join("hub.addr"), "a:2\n").unwrap();
        assert_eq!(found(&address).await, ("a:2".to_owned(), Distance::Here));
        let named = Address::new(Some("b:3".to_owned()), data.path(), enrolled);
        assert_eq!(found(&named).await, ("b:3".to_owned(), Distance::Anywhere));
    }

    #[tokio::test]
    async fn what_an_enrolment_has_left_is_taken_where_no_hub_has_the_folder() {
        let data = tempfile::tempdir().unwrap();
        let enrolled = data.path().join("hubs");
        std::fs::write(&enrolled, "far:1\nfar:2").unwrap();
        let address = Address::new(None, data.path(), enrolled);
        assert_eq!(found(&address).await, ("far:1".to_owned(), Distance::Anywhere));
        std::fs::write(data.path().join("hub.addr"), "near:1\n").unwrap();
        assert_eq!(found(&address).await, ("near:1".to_owned(), Distance::Here));
    }

    #[tokio::test]
    async fn an_address_that_lets_us_in_is_dialled_again_and_one_that_does_not_makes_room_for_the_next() {
        let data = tempfile::tempdir().unwrap();
        let enrolled = data.path().join("hubs");
        std::fs::write(&enrolled, "far:1\nnowhere\nfar:2\nfar:3\n").unwrap();
        let address = Address::new(None, data.path(), enrolled.clone());
        // A clone dials, as for each link.
        let next = async || address.clone().find().await.unwrap().address;
        assert_eq!((next().await, next().await), ("far:1".to_owned(), "far:2".to_owned()));
        address.welcomed();
        assert_eq!((next().await, next().await), ("far:2".to_owned(), "far:3".to_owned()));
        assert_eq!(next().await, "far:1");
        address.welcomed();
        // An enrolment has put another one first.
        std::fs::write(&enrolled, "far:9\nfar:1").unwrap();
        assert_eq!((next().await, next().await), ("far:1".to_owned(), "far:9".to_owned()));
        std::fs::write(&enrolled, "far:7").unwrap();
        assert_eq!(next().await, "far:7");
    }
}
