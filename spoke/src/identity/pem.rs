//! Keys and certificates as the text that every TLS tool reads.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use certs::{CertificateDer, SecretKey};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

/// Characters of a line, as RFC 7468 wants it.
const LINE_CHARS: usize = 64;

/// The key, if there is one, and then the certificates.
pub(super) fn text(key: Option<&SecretKey>, certificates: &[CertificateDer<'_>]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    if let Some(key) = key {
        section(&mut text, "PRIVATE KEY", key.as_pkcs8());
    }
    for certificate in certificates {
        section(&mut text, "CERTIFICATE", certificate);
    }
    text
}

fn section(text: &mut String, label: &str, der: &[u8]) {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    // So that the text is never moved, which would leave a copy of the key behind.
    text.reserve(encoded.len() + encoded.len() / LINE_CHARS + 128);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_CHARS));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
}

/// The key and the certificates in `text`, if it holds both.
pub(super) fn identity(text: &[u8]) -> Option<(SecretKey, Vec<CertificateDer<'static>>)> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(text).ok()?;
    let key = SecretKey::from_pkcs8(key.secret_pkcs8_der().to_vec()).ok()?;
    Some((key, certificates(text)?))
}

/// The certificates in `text`, if there is any and nothing is damaged.
pub(super) fn certificates(text: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().ok()?;
    (!certificates.is_empty()).then_some(certificates)
}
