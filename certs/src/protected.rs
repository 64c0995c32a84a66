//! A root in a file of its own: its certificate, and its key encrypted under a passphrase.
//!
//! The key is PKCS#8 under PBES2 (RFC 8018, RFC 5958) with scrypt and AES-256-CBC, at a cost that OpenSSL
//! accepts by default, so that the file can be used without eventflow as well.

use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::pkcs5::scrypt;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::authority::Authority;
use crate::error::CertError;
use crate::key::SecretKey;
use crate::pem;
use crate::random;
use crate::seal::Passphrase;

/// The cost of scrypt: 2 to this power, 8 and 5, which is 16 MiB at a time. OpenSSL refuses more than 32.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 5;

const LABEL: &str = "ENCRYPTED PRIVATE KEY";

impl Authority {
    /// The certificate and the key as text, the key encrypted under `passphrase`.
    ///
    /// # Errors
    /// [`CertError::Crypto`] if the crypto library fails.
    pub fn to_protected_pem(&self, passphrase: &Passphrase) -> Result<String, CertError> {
        let failed = "encrypting a root's key";
        let cost =
            scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).map_err(CertError::crypto(failed))?;
        let (salt, iv) = (random::bytes::<16>()?, random::bytes::<16>()?);
        let scheme =
            Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).map_err(CertError::crypto(failed))?;
        let key = PrivateKeyInfoRef::try_from(self.key().as_pkcs8()).map_err(CertError::crypto(failed))?;
        let sealed =
            key.encrypt_with_params(scheme, passphrase.as_bytes()).map_err(CertError::crypto(failed))?;
        let mut text = String::new();
        pem::section(&mut text, LABEL, sealed.as_bytes());
        pem::section(&mut text, "CERTIFICATE", self.certificate());
        Ok(text)
    }

    /// Reads what [`Self::to_protected_pem`] or another tool wrote: one certificate of an authority and
    /// its encrypted key.
    ///
    /// # Errors
    /// [`CertError::NotProtected`] if one of the two is missing or the passphrase is another one, and as
    /// [`Authority::new`].
    pub fn from_protected_pem(text: &[u8], passphrase: &Passphrase) -> Result<Self, CertError> {
        let wrong = |reason: &str| CertError::NotProtected { reason: reason.to_owned() };
        let sealed = pem::find(text, LABEL)
            .ok_or_else(|| wrong("the file has no section `ENCRYPTED PRIVATE KEY`, or it is damaged"))?;
        let certificates = pem::certificates(text).unwrap_or_default();
        let [certificate] = certificates.as_slice() else {
            return Err(wrong("the file has to hold exactly one certificate, the root's"));
        };
        let sealed = EncryptedPrivateKeyInfoRef::try_from(sealed.as_slice())
            .map_err(|_| wrong("the key in the file is damaged, or encrypted in a way that is not known"))?;
        let opened = sealed.decrypt(passphrase.as_bytes()).map_err(|_| {
            wrong("the key did not open: the passphrase is another one, or the file is damaged")
        })?;
        let key = SecretKey::from_pkcs8(Zeroizing::new(opened.as_bytes().to_vec()))?;
        Self::new(CertificateDer::from(certificate.to_vec()), key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_root_comes_back_from_its_file_with_the_passphrase_and_with_no_other() {
        let root = Scene::new().root;
        let text = root.to_protected_pem(&passphrase("correct horse battery")).unwrap();
        let again = Authority::from_protected_pem(text.as_bytes(), &passphrase("correct horse battery"));
        let again = again.unwrap();
        assert_eq!(again.certificate(), root.certificate());
        assert_eq!(again.key().as_pkcs8(), root.key().as_pkcs8());
        let other = Authority::from_protected_pem(text.as_bytes(), &passphrase("correct horse batteries"));
        assert!(matches!(other, Err(CertError::NotProtected { .. })), "{other:?}");
    }

    #[test]
    fn the_file_has_nothing_of_the_key_in_clear() {
        let root = Scene::new().root;
        let text = root.to_protected_pem(&passphrase("correct horse battery")).unwrap();
        let sealed = pem::find(text.as_bytes(), LABEL).unwrap();
        assert!(!text.contains("BEGIN PRIVATE KEY"));
        let key = root.key().as_pkcs8();
        assert!(sealed.windows(16).all(|window| key.windows(16).all(|part| part != window)));
    }

    #[test]
    fn a_file_with_no_key_with_two_certificates_or_with_a_damaged_key_is_refused() {
        let (root, other) = (Scene::new().root, Scene::new().root);
        let secret = passphrase("correct horse battery");
        let text = root.to_protected_pem(&secret).unwrap();
        let plain = pem::text(None, std::slice::from_ref(root.certificate()));
        let two = format!("{text}{}", *pem::text(None, std::slice::from_ref(other.certificate())));
        let damaged = text.replacen("\nMI", "\nMJ", 1);
        let cut = text.get(..120).unwrap();
        for bad in ["", plain.as_str(), two.as_str(), damaged.as_str(), cut] {
            let read = Authority::from_protected_pem(bad.as_bytes(), &secret);
            assert!(matches!(read, Err(CertError::NotProtected { .. })), "{bad}: {read:?}");
        }
        let mixed = text.replace(
            pem::text(None, std::slice::from_ref(root.certificate())).as_str(),
            pem::text(None, std::slice::from_ref(other.certificate())).as_str(),
        );
        let read = Authority::from_protected_pem(mixed.as_bytes(), &secret);
        assert!(matches!(read, Err(CertError::KeyMismatch)), "{read:?}");
    }
}
