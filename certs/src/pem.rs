//! Keys and certificates as the text that every TLS tool reads.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::key::SecretKey;

/// Characters of a line, as RFC 7468 wants it.
const LINE_CHARS: usize = 64;

/// The key, if there is one, and then the certificates.
#[must_use]
pub fn text(key: Option<&SecretKey>, certificates: &[CertificateDer<'_>]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    if let Some(key) = key {
        section(&mut text, "PRIVATE KEY", key.as_pkcs8());
    }
    for certificate in certificates {
        section(&mut text, "CERTIFICATE", certificate);
    }
    text
}

/// Requests for certificates, DER, as text.
#[must_use]
pub fn request_text<'a>(requests: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut text = Zeroizing::new(String::new());
    for request in requests {
        section(&mut text, "CERTIFICATE REQUEST", request);
    }
    std::mem::take(&mut *text)
}

pub(crate) fn section(text: &mut String, label: &str, der: &[u8]) {
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
#[must_use]
pub fn identity(text: &[u8]) -> Option<(SecretKey, Vec<CertificateDer<'static>>)> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(text).ok()?;
    let key = SecretKey::from_pkcs8(key.secret_pkcs8_der().to_vec()).ok()?;
    Some((key, certificates(text)?))
}

/// The certificates in `text`, if there is any and nothing is damaged.
#[must_use]
pub fn certificates(text: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

/// The requests for certificates in `text`, DER, if there is any and nothing is damaged.
#[must_use]
pub fn requests(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let requests: Result<Vec<_>, _> = CertificateSigningRequestDer::pem_slice_iter(text).collect();
    let requests: Vec<_> = requests.ok()?.iter().map(|request| request.to_vec()).collect();
    (!requests.is_empty()).then_some(requests)
}

/// The first section with this label, if there is one and it is whole.
pub(crate) fn find(text: &[u8], label: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, from) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = from.split_once(&format!("-----END {label}-----"))?;
    let digits = Zeroizing::new(body.split_ascii_whitespace().collect::<String>());
    STANDARD.decode(digits.as_bytes()).ok()
}
