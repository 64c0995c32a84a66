//! Private keys: PKCS#8 bytes that are wiped when dropped and never printed.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;
use zeroize::{Zeroize, Zeroizing};

use crate::error::CertError;

/// An ECDSA P-256 private key in PKCS#8 DER.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<Vec<u8>>);

impl SecretKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`CertError::Crypto`] if the crypto library makes none.
    pub fn generate() -> Result<Self, CertError> {
        let mut pair =
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CertError::crypto("making a key"))?;
        let key = Self(Zeroizing::new(pair.serialize_der()));
        pair.zeroize();
        Ok(key)
    }

    /// Takes PKCS#8 DER that was written earlier.
    ///
    /// # Errors
    /// [`CertError::NotAKey`] if it is anything else.
    pub fn from_pkcs8(der: impl Into<Zeroizing<Vec<u8>>>) -> Result<Self, CertError> {
        let key = Self(der.into());
        key.signing(|_| Ok(()))?;
        Ok(key)
    }

    /// The PKCS#8 DER, for storing: sealed, or in a file that only its owner can read.
    #[must_use]
    pub fn as_pkcs8(&self) -> &[u8] {
        &self.0
    }

    /// For TLS, which keeps a copy of its own.
    #[must_use]
    pub fn to_private_key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.to_vec()))
    }

    /// Whether it is the key that `certificate` is for.
    pub(crate) fn is_of(&self, certificate: &X509Certificate<'_>) -> bool {
        let public = |pair: &KeyPair| Ok(pair.subject_public_key_info());
        self.signing(public).is_ok_and(|public| public == certificate.public_key().raw)
    }

    /// Lends the key in the form that signs. The form is made for this one use, because the
    /// crypto library wipes nothing by itself.
    pub(crate) fn signing<T>(
        &self,
        sign: impl FnOnce(&KeyPair) -> Result<T, CertError>,
    ) -> Result<T, CertError> {
        let der = PrivatePkcs8KeyDer::from(self.0.as_slice());
        let mut pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)
            .map_err(|error| CertError::NotAKey { reason: error.to_string() })?;
        let outcome = sign(&pair);
        pair.zeroize();
        outcome
    }
}

impl fmt::Debug for SecretKey {
    /// Never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", SecretKey::generate().unwrap()), "SecretKey");
    }

    #[test]
    fn a_stored_key_comes_back_and_other_bytes_are_refused() {
        let key = SecretKey::generate().unwrap();
        let again = SecretKey::from_pkcs8(key.as_pkcs8().to_vec()).unwrap();
        assert_eq!(again.as_pkcs8(), key.as_pkcs8());
        assert!(matches!(SecretKey::from_pkcs8(vec![0x30, 0]), Err(CertError::NotAKey { .. })));
    }
}
