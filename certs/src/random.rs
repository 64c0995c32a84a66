//! Random bytes from the crypto provider, which takes them from the operating system.

use crate::error::CertError;
use crate::tls;

/// So many random bytes.
///
/// # Errors
/// [`CertError::Crypto`] if the operating system gives none.
pub fn bytes<const N: usize>() -> Result<[u8; N], CertError> {
    let mut bytes = [0; N];
    tls::provider().secure_random.fill(&mut bytes).map_err(|_| CertError::Crypto {
        doing: "taking random bytes",
        reason: "the operating system gave none".to_owned(),
    })?;
    Ok(bytes)
}

/// 128 random bits as 32 hexadecimal digits.
pub(crate) fn id() -> Result<String, CertError> {
    Ok(hex::encode(bytes::<16>()?))
}
