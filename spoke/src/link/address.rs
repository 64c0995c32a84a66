//! Where the hub is: named by the caller, or read from the data folder at every dial.
//!
//! A hub that was started again may listen on another port, so the file is never remembered.

use std::io;
use std::path::{Path, PathBuf};

/// Longer than every `host:port`.
const ADDRESS_BYTES_MAX: usize = 300;

/// Where a hub's address is found.
#[derive(Debug, Clone)]
pub(super) enum Address {
    /// It was named.
    Named(String),
    /// It is in this file.
    File(PathBuf),
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
    pub(super) fn new(named: Option<String>, data: &Path) -> Self {
        named.map_or_else(|| Self::File(data.join("hub.addr")), Self::Named)
    }

    /// The `host:port` to dial now.
    pub(super) async fn find(&self) -> Result<String, AddressError> {
        let path = match self {
            Self::Named(address) => return Ok(address.clone()),
            Self::File(path) => path,
        };
        match tokio::fs::read(path).await {
            Ok(text) => parse(&text).ok_or_else(|| {
                AddressError::Unreadable(format!("{} does not hold host:port", path.display()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(AddressError::Missing(path.clone())),
            Err(error) => Err(AddressError::Unreadable(format!("{}: {error}", path.display()))),
        }
    }

    /// Whether the caller has named it, so that the hub may be on another machine.
    pub(super) fn is_named(&self) -> bool {
        matches!(self, Self::Named(_))
    }

    /// What people are told when nobody answers.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Named(address) => address.clone(),
            Self::File(path) => format!("the address in {}", path.display()),
        }
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

    #[tokio::test]
    async fn the_file_is_read_again_at_every_dial() {
        let data = tempfile::tempdir().unwrap();
        let address = Address::new(None, data.path());
        assert!(matches!(address.find().await, Err(AddressError::Missing(_))));
        std::fs::write(data.path().join("hub.addr"), "a:1\n").unwrap();
        assert_eq!(address.find().await.unwrap(), "a:1");
        std::fs::write(data.path().join("hub.addr"), "a:2\n").unwrap();
        assert_eq!(address.find().await.unwrap(), "a:2");
        assert_eq!(Address::new(Some("b:3".to_owned()), data.path()).find().await.unwrap(), "b:3");
    }
}
