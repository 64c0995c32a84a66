//! Who this spoke is: its certificate chain, its key, and the roots that it believes.
//!
//! The key is made here and never leaves the machine. It is kept in the data folder, in
//! `identity/<service>`, readable by its owner only, and replaced as a whole by a rename: whoever
//! reads finds the old identity or the new one. An identity counts as ended a while before its end
//! (`life`), so that a link is not made with one that is about to be cut. Roots that a hub tells of later
//! are kept beside it (`trust`).

mod enrol;
mod life;
mod token;
mod trust;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use certs::{CertError, CertificateDer, Role, SecretKey, pem};
use proto::enrol::Enrolled;
use proto::{ServiceName, Timestamp};
use tokio_rustls::rustls::ClientConfig;
use tracing::warn;
use zeroize::Zeroizing;

pub(crate) use enrol::{EnrolError, Issued, enrol, enrol_with_token};
pub(crate) use life::Life;
pub(crate) use token::{TokenSource, TokenTrouble};

/// The key and the chain, the leaf first.
const IDENTITY_FILE: &str = "identity.pem";

/// The roots that hubs' chains must end at.
const ROOTS_FILE: &str = "roots.pem";

/// Where hubs are, as one of them said when it issued the identity.
const HUBS_FILE: &str = "hubs";

/// A spoke's chain, its key, and what it believes.
#[derive(Debug)]
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: SecretKey,
    roots: Vec<CertificateDer<'static>>,
}

impl Identity {
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: SecretKey,
        roots: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self { chain, key, roots }
    }

    /// The identity of `key` that a hub has issued a certificate for.
    pub(crate) fn issued(key: SecretKey, enrolled: Enrolled) -> Self {
        let der = |all: Vec<Vec<u8>>| all.into_iter().map(CertificateDer::from).collect();
        Self::new(der(enrolled.chain), key, der(enrolled.roots))
    }

    /// The certificate that is its own.
    pub(crate) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.chain.first()
    }

    /// The service that it is for, if it is a spoke's.
    pub(crate) fn service(&self) -> Option<ServiceName> {
        let identity = certs::identity(self.leaf()?).ok()?;
        match identity.role {
            Role::Spoke => ServiceName::parse(&identity.service).ok(),
            Role::Hub => None,
        }
    }

    /// From when to when it counts, if it has a certificate.
    pub(crate) fn life(&self) -> Option<Life> {
        self.chain.first().and_then(Life::of)
    }

    /// The TLS settings that show this identity.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, CertError> {
        certs::tls::client_config(&self.roots, self.chain.clone(), &self.key)
    }

    /// Whether it is `service`'s and lasts for a while after `now`.
    fn is_usable(&self, service: &ServiceName, now: Timestamp) -> bool {
        let (Some(leaf), Some(life)) = (self.chain.first(), self.life()) else { return false };
        let is_its_own = certs::identity(leaf).is_ok_and(|identity| identity.service == service.as_str());
        is_its_own && life.is_usable(now)
    }
}

/// Where a service's identity is kept.
#[derive(Debug, Clone)]
pub(crate) struct Safe {
    folder: PathBuf,
    service: ServiceName,
}

impl Safe {
    pub(crate) fn new(data: &Path, service: &ServiceName) -> Self {
        // A service may be called `..`, and no service's name holds a `%`.
        let name = match service.as_str() {
            dotted if dotted.starts_with('.') => format!("%{dotted}"),
            plain => plain.to_owned(),
        };
        Self { folder: data.join("identity").join(name), service: service.clone() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The identity, if there is one that is still good. One that cannot be read as an identity is as
    /// good as none.
    pub(crate) fn load(&self, now: Timestamp) -> io::Result<Option<Identity>> {
        let (Some(identity), Some(roots)) = (self.read(IDENTITY_FILE)?, self.read(ROOTS_FILE)?) else {
            return Ok(None);
        };
        let (Some((key, chain)), Some(roots)) = (pem::identity(&identity), pem::certificates(&roots)) else {
            warn!(folder = %self.folder.display(), "the identity in this folder is damaged; making a new one");
            return Ok(None);
        };
        let identity = Identity { chain, key, roots };
        Ok(identity.is_usable(&self.service, now).then_some(identity))
    }

    /// Keeps `identity` and its roots in place of those before.
    pub(crate) fn save(&self, identity: &Identity) -> io::Result<()> {
        self.make_folder()?;
        self.forget_trust_version()?;
        // The roots first: the identity is what makes them count.
        self.write(ROOTS_FILE, pem::text(None, &identity.roots).as_bytes())?;
        self.renew(identity)
    }

    /// Keeps `identity` in place of the one before. What is trusted stays as it is: the hub tells of that
    /// by itself.
    pub(crate) fn renew(&self, identity: &Identity) -> io::Result<()> {
        self.make_folder()?;
        self.write(IDENTITY_FILE, pem::text(Some(&identity.key), &identity.chain).as_bytes())
    }

    /// Keeps where hubs are, the first to be dialled first.
    pub(crate) fn save_hubs(&self, hubs: &[String]) -> io::Result<()> {
        self.write(HUBS_FILE, hubs.join("\n").as_bytes())
    }

    /// The file with where hubs are, a line each.
    pub(crate) fn hubs_file(&self) -> PathBuf {
        self.folder.join(HUBS_FILE)
    }

    fn make_folder(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    fn read(&self, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        match fs::read(self.folder.join(name)) {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let draft = self.folder.join(format!(".{name}.{}", uuid::Uuid::now_v7()));
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&draft, self.folder.join(name)))
            .and_then(|()| fs::File::open(&self.folder)?.sync_all());
        if written.is_err() {
            // What cannot be removed is only a draft.
            let _ = fs::remove_file(&draft);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use certs::IssuerKind;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const MINUTE_MS: i64 = 60 * 1_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis).unwrap()
    }

    fn identity(service: &str) -> Identity {
        let root = certs::root("test", at(0)).unwrap();
        let issuer = certs::intermediate(&root, IssuerKind::Spoke, at(0)).unwrap();
        let (csr, key) = certs::spoke_request().unwrap();
        let service = ServiceName::parse(service).unwrap();
        let leaf = certs::spoke_leaf(&issuer, &csr, &service, "1", at(0), DAY).unwrap();
        Identity::new(vec![leaf, issuer.certificate().clone()], key, vec![root.certificate().clone()])
    }

    fn safe(data: &Path, service: &str) -> Safe {
        Safe::new(data, &ServiceName::parse(service).unwrap())
    }

    #[test]
    fn a_saved_identity_comes_back_and_only_its_owner_can_read_it() {
        let data = tempfile::tempdir().unwrap();
        let (safe, identity) = (safe(data.path(), "billing"), identity("billing"));
        assert!(safe.load(at(0)).unwrap().is_none());
        safe.save(&identity).unwrap();
        let loaded = safe.load(at(0)).unwrap().unwrap();
        assert_eq!(loaded.chain, identity.chain);
        assert_eq!(loaded.roots, identity.roots);
        assert_eq!(loaded.key.as_pkcs8(), identity.key.as_pkcs8());
        assert!(loaded.client_config().is_ok());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(safe.folder()), 0o700);
        assert_eq!(mode(&safe.folder().join(IDENTITY_FILE)), 0o600);
        assert_eq!(fs::read_dir(safe.folder()).unwrap().count(), 2);
    }

    #[test]
    fn an_identity_that_is_about_to_end_is_as_good_as_none() {
        let data = tempfile::tempdir().unwrap();
        let safe = safe(data.path(), "billing");
        safe.save(&identity("billing")).unwrap();
        let day = 24 * 60 * MINUTE_MS;
        assert!(safe.load(at(day - 11 * MINUTE_MS)).unwrap().is_some());
        assert!(safe.load(at(day - 9 * MINUTE_MS)).unwrap().is_none());
    }

    #[test]
    fn a_renewed_identity_takes_the_place_of_the_one_before() {
        let data = tempfile::tempdir().unwrap();
        let (safe, renewed) = (safe(data.path(), "billing"), identity("billing"));
        safe.save(&identity("billing")).unwrap();
        safe.renew(&renewed).unwrap();
        assert_eq!(safe.load(at(0)).unwrap().unwrap().chain, renewed.chain);
        assert_eq!(fs::read_dir(safe.folder()).unwrap().count(), 2);
    }

    #[test]
    fn a_damaged_identity_and_another_services_are_as_good_as_none() {
        let data = tempfile::tempdir().unwrap();
        let safe = safe(data.path(), "billing");
        safe.save(&identity("shipping")).unwrap();
        assert!(safe.load(at(0)).unwrap().is_none());
        safe.save(&identity("billing")).unwrap();
        let path = safe.folder().join(IDENTITY_FILE);
        let half = fs::read(&path).unwrap();
        fs::write(&path, &half[..half.len() / 2]).unwrap();
        assert!(safe.load(at(0)).unwrap().is_none());
    }

    #[test]
    fn a_service_called_like_a_folder_stays_in_the_folder_of_identities() {
        let data = Path::new("/data");
        assert_eq!(safe(data, "..").folder(), Path::new("/data/identity/%.."));
        assert_eq!(safe(data, "a.b").folder(), Path::new("/data/identity/a.b"));
    }
}
