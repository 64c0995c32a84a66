//! Keeping what is trusted: the roots, and of which version they are.
//!
//! Versions only rise, so roots that come late never take the place of newer ones. The version stands
//! in a file beside the roots and is written after them: whoever is stopped between the two keeps the
//! same roots again.

use std::io;

use certs::{CertificateDer, pem};
use proto::certs::Trust;

use super::{ROOTS_FILE, Safe};

/// The version of the roots, in decimal digits.
const VERSION_FILE: &str = "roots.version";

impl Safe {
    /// Keeps the roots of `trust`, unless newer ones are kept. Gives the version that is kept.
    pub(crate) fn keep_trust(&self, trust: &Trust) -> io::Result<u64> {
        if let Some(kept) = self.trust_version()?.filter(|kept| *kept >= trust.version) {
            return Ok(kept);
        }
        let roots: Vec<_> = trust.roots.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        self.make_folder()?;
        self.write(ROOTS_FILE, pem::text(None, &roots).as_bytes())?;
        self.write(VERSION_FILE, trust.version.to_string().as_bytes())?;
        Ok(trust.version)
    }

    /// The version of the roots that are kept, if a hub has said one. What cannot be read is none: the
    /// hub says it again.
    pub(super) fn trust_version(&self) -> io::Result<Option<u64>> {
        let text = self.read(VERSION_FILE)?;
        Ok(text.and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok()))
    }

    /// The roots come from elsewhere, with no version.
    pub(super) fn forget_trust_version(&self) -> io::Result<()> {
        match std::fs::remove_file(self.folder.join(VERSION_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::{ServiceName, Timestamp};

    use super::super::Identity;
    use super::*;

    fn root(name: &str) -> Vec<u8> {
        certs::root(name, Timestamp::from_millis(1_700_000_000_000).unwrap()).unwrap().certificate().to_vec()
    }

    fn kept(safe: &Safe) -> Vec<Vec<u8>> {
        let text = safe.read(ROOTS_FILE).unwrap().unwrap();
        pem::certificates(&text).unwrap().iter().map(|der| der.to_vec()).collect()
    }

    fn safe(data: &std::path::Path) -> Safe {
        Safe::new(data, &ServiceName::parse("billing").unwrap())
    }

    #[test]
    fn newer_roots_are_kept_and_older_ones_never_take_their_place() {
        let data = tempfile::tempdir().unwrap();
        let (safe, old, new) = (safe(data.path()), vec![root("old")], vec![root("old"), root("new")]);
        assert_eq!(safe.keep_trust(&Trust { version: 3, roots: new.clone() }).unwrap(), 3);
        assert_eq!(safe.keep_trust(&Trust { version: 2, roots: old.clone() }).unwrap(), 3);
        assert_eq!(kept(&safe), new);
        assert_eq!(safe.keep_trust(&Trust { version: 4, roots: old.clone() }).unwrap(), 4);
        assert_eq!(kept(&safe), old);
    }

    #[test]
    fn a_damaged_version_is_none() {
        let data = tempfile::tempdir().unwrap();
        let (safe, roots) = (safe(data.path()), vec![root("a")]);
        safe.keep_trust(&Trust { version: 3, roots: roots.clone() }).unwrap();
        std::fs::write(safe.folder().join(VERSION_FILE), "nonsense").unwrap();
        assert_eq!(safe.keep_trust(&Trust { version: 1, roots }).unwrap(), 1);
    }

    #[test]
    fn a_renewed_identity_leaves_the_roots_alone_and_an_enrolled_one_brings_its_own() {
        let data = tempfile::tempdir().unwrap();
        let (safe, told, brought) = (safe(data.path()), root("told"), root("brought"));
        safe.keep_trust(&Trust { version: 3, roots: vec![told.clone()] }).unwrap();
        let identity = || {
            let (leaf, key) = (root("leaf").into(), certs::spoke_request().unwrap().1);
            Identity::new(vec![leaf], key, vec![brought.clone().into()])
        };
        safe.renew(&identity()).unwrap();
        assert_eq!(kept(&safe), [told]);
        safe.save(&identity()).unwrap();
        assert_eq!((kept(&safe), safe.trust_version().unwrap()), (vec![brought], None));
    }
}
