//! Authorities: the root and the two issuers below it.
//!
//! The trust domain stands in each as a URI without a path (`spiffe://acme.internal`), so a leaf
//! takes it from its issuer. The issuer of spokes can issue nothing that a spoke would take for a
//! hub: it may name no host but `spoke.invalid`, and it is for clients only.

use std::time::Duration;

use proto::Timestamp;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, SanType,
    SerialNumber, SubjectPublicKeyInfo, string::Ia5String,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::error::CertError;
use crate::identity::{self, parsed};
use crate::key::SecretKey;
use crate::random;

/// How long before its making a certificate is valid at most, for peers whose clocks are behind.
const BACKDATED_MAX: Duration = Duration::from_mins(10);

/// The part of its life that a certificate is backdated by, if that is less.
const BACKDATED_PART: u32 = 10;

const DAY: Duration = Duration::from_hours(24);
const ROOT_LIFETIME: Duration = DAY.saturating_mul(3653);
pub(crate) const ISSUER_LIFETIME: Duration = DAY.saturating_mul(365);

/// The generation of the authorities that a first start makes.
pub const FIRST_GENERATION: u64 = 1;

/// The only host that the issuer of spokes may name. `.invalid` never resolves (RFC 6761).
pub(crate) const SPOKE_DNS: &str = "spoke.invalid";

/// An authority: its certificate and the key that signs.
#[derive(Debug, Clone)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    key: SecretKey,
}

/// What an issuer below the root issues for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuerKind {
    /// For hubs.
    Hub,
    /// For spokes.
    Spoke,
}

impl IssuerKind {
    /// Both, hubs first.
    pub const ALL: [Self; 2] = [Self::Hub, Self::Spoke];

    /// The common name of an issuer of this kind, and of the request for one.
    pub(crate) fn common_name(self) -> &'static str {
        match self {
            Self::Hub => "eventflow issuer of hubs",
            Self::Spoke => "eventflow issuer of spokes",
        }
    }
}

impl Authority {
    /// An authority that was stored.
    ///
    /// # Errors
    /// [`CertError::NotAnAuthority`] if the certificate is none, [`CertError::KeyMismatch`] if the
    /// key is another's.
    pub fn new(certificate: CertificateDer<'static>, key: SecretKey) -> Result<Self, CertError> {
        let read = parsed(&certificate)?;
        if !read.is_ca() {
            return Err(CertError::NotAnAuthority);
        }
        if !key.is_of(&read) {
            return Err(CertError::KeyMismatch);
        }
        Ok(Self { certificate, key })
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The key, to be sealed and stored.
    #[must_use]
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    /// Signs what `wanted` says, for the holder of `public`, within the authority's own lifetime.
    pub(crate) fn issue(
        &self,
        mut wanted: CertificateParams,
        public: &impl PublicKeyData,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<CertificateDer<'static>, CertError> {
        let end = identity::not_after(&self.certificate)?;
        if end <= now {
            return Err(CertError::IssuerEnded { end });
        }
        let (not_before, not_after) = span(now, lifetime)?;
        wanted.not_before = not_before;
        wanted.not_after = not_after.min(moment(end.millis())?);
        wanted.serial_number = Some(serial()?);
        wanted.use_authority_key_identifier_extension = true;
        self.key.signing(|pair| {
            let issuer = Issuer::from_ca_cert_der(&self.certificate, pair)
                .map_err(CertError::crypto("reading the issuing certificate"))?;
            let made: Certificate =
                wanted.signed_by(public, &issuer).map_err(CertError::crypto("signing a certificate"))?;
            Ok(made.der().clone())
        })
    }
}

/// A new root for `trust_domain`, for 10 years.
///
/// # Errors
/// [`CertError`] if the name cannot stand in a certificate or the crypto library fails.
pub fn root(trust_domain: &str, now: Timestamp) -> Result<Authority, CertError> {
    root_of_generation(trust_domain, FIRST_GENERATION, now)
}

/// As [`root`], with a name of its own for each generation, so that peers that trust two of them know
/// which one has signed what.
///
/// # Errors
/// As [`root`].
pub fn root_of_generation(
    trust_domain: &str,
    generation: u64,
    now: Timestamp,
) -> Result<Authority, CertError> {
    root_named(&root_name(generation), trust_domain, now)
}

/// A new root with this common name, which no other root of the trust domain should have.
pub(crate) fn root_named(name: &str, trust_domain: &str, now: Timestamp) -> Result<Authority, CertError> {
    let trust_domain = fit("the trust domain", trust_domain)?;
    // Path length 2 although 1 is used: a successor signed by this root can then issue too.
    let mut wanted = named_params(name, trust_domain, 2)?;
    (wanted.not_before, wanted.not_after) = span(now, ROOT_LIFETIME)?;
    wanted.serial_number = Some(serial()?);
    let key = SecretKey::generate()?;
    let certificate = key.signing(|pair| {
        let made = wanted.self_signed(pair).map_err(CertError::crypto("signing the root"))?;
        Ok(made.der().clone())
    })?;
    Ok(Authority { certificate, key })
}

/// The certificate that makes peers who trust only `former` believe what the root `next` has signed. It
/// ends with the former root.
///
/// # Errors
/// [`CertError`] if the former root has ended, the crypto library fails, or `next` has a name that cannot
/// be written again byte by byte.
pub fn cross_certificate(
    former: &Authority,
    next: &CertificateDer<'_>,
    now: Timestamp,
) -> Result<CertificateDer<'static>, CertError> {
    let read = parsed(next)?;
    let mut wanted = authority_params(1);
    wanted.distinguished_name = identity::subject(&read)?;
    if let Ok(trust_domain) = identity::trust_domain(next) {
        wanted.subject_alt_names = vec![uri(format!("spiffe://{trust_domain}"))?];
    }
    let public = SubjectPublicKeyInfo::from_der(read.public_key().raw)
        .map_err(CertError::crypto("reading the key of the next root"))?;
    let cross = former.issue(wanted, &public, now, ROOT_LIFETIME)?;
    if parsed(&cross)?.subject().as_raw() == read.subject().as_raw() {
        return Ok(cross);
    }
    let reason = "its name is not written the way that this hub writes names".to_owned();
    Err(CertError::Unfit { what: "the root", reason })
}

fn root_name(generation: u64) -> String {
    match generation {
        FIRST_GENERATION => "eventflow root".to_owned(),
        later => format!("eventflow root {later}"),
    }
}

/// A new issuer below `root`, for a year or what is left of the root.
///
/// # Errors
/// [`CertError`] if the root has ended or the crypto library fails.
pub fn intermediate(root: &Authority, kind: IssuerKind, now: Timestamp) -> Result<Authority, CertError> {
    let wanted = issuer_params(kind, &identity::trust_domain(&root.certificate)?)?;
    let key = SecretKey::generate()?;
    let certificate = key.signing(|pair: &KeyPair| root.issue(wanted, pair, now, ISSUER_LIFETIME))?;
    Ok(Authority { certificate, key })
}

/// What the certificate of an issuer says.
pub(crate) fn issuer_params(kind: IssuerKind, trust_domain: &str) -> Result<CertificateParams, CertError> {
    let mut wanted = named_params(kind.common_name(), trust_domain, 0)?;
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    match kind {
        IssuerKind::Hub => wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, client],
        IssuerKind::Spoke => {
            wanted.extended_key_usages = vec![client];
            wanted.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName(SPOKE_DNS.to_owned())],
                excluded_subtrees: vec![],
            });
        }
    }
    Ok(wanted)
}

fn named_params(
    common_name: &str,
    trust_domain: &str,
    path_length: u8,
) -> Result<CertificateParams, CertError> {
    let mut wanted = authority_params(path_length);
    wanted.distinguished_name.push(DnType::OrganizationName, trust_domain);
    wanted.distinguished_name.push(DnType::CommonName, common_name);
    wanted.subject_alt_names = vec![uri(format!("spiffe://{trust_domain}"))?];
    Ok(wanted)
}

fn authority_params(path_length: u8) -> CertificateParams {
    let mut wanted = CertificateParams::default();
    wanted.distinguished_name = DistinguishedName::new();
    wanted.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    wanted
}

pub(crate) fn uri(text: String) -> Result<SanType, CertError> {
    let text = Ia5String::try_from(text).map_err(CertError::crypto("writing a URI"))?;
    Ok(SanType::URI(text))
}

/// Takes `name` if it can stand in a URI as it is.
pub(crate) fn fit<'a>(what: &'static str, name: &'a str) -> Result<&'a str, CertError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if name.is_empty() || name.len() > 128 || !name.bytes().all(allowed) {
        return Err(CertError::Name { what, name: name.chars().take(64).collect() });
    }
    Ok(name)
}

/// 127 random bits: the library's own choice repeats when a key is certified again.
fn serial() -> Result<SerialNumber, CertError> {
    let mut bytes = random::bytes::<16>()?;
    // A serial is positive, and never shorter than the others.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

pub(crate) fn span(
    now: Timestamp,
    lifetime: Duration,
) -> Result<(OffsetDateTime, OffsetDateTime), CertError> {
    let now = moment(now.millis())?;
    let backdated = BACKDATED_MAX.min(lifetime / BACKDATED_PART);
    Ok((now.saturating_sub(signed(backdated)), now.saturating_add(signed(lifetime))))
}

fn signed(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

pub(crate) fn moment(millis: i64) -> Result<OffsetDateTime, CertError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .map_err(|_| CertError::Time { millis })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::now;

    #[test]
    fn serials_are_random_also_for_one_key() {
        let root = root("acme.internal", now()).unwrap();
        let key = SecretKey::generate().unwrap();
        let serial = || {
            let wanted = named_params("again", "acme.internal", 0).unwrap();
            let made = key.signing(|pair| root.issue(wanted, pair, now(), DAY)).unwrap();
            parsed(&made).unwrap().raw_serial().to_vec()
        };
        let (one, other) = (serial(), serial());
        assert_ne!(one, other);
        assert_eq!((one.len(), other.len()), (16, 16));
    }

    #[test]
    fn a_root_is_valid_from_ten_minutes_ago_for_ten_years() {
        let root = root("acme.internal", now()).unwrap();
        let validity = identity::validity(root.certificate()).unwrap();
        let second = |at: Timestamp| at.millis() / 1000;
        assert_eq!(second(validity.not_before), second(now()) - 600);
        assert_eq!(second(validity.not_after), second(now()) + 3653 * 24 * 3600);
    }

    #[test]
    fn an_issuer_ends_no_later_than_its_root() {
        let root = root("acme.internal", now()).unwrap();
        let end = identity::not_after(root.certificate()).unwrap();
        let late = Timestamp::from_millis(end.millis() - 1000).unwrap();
        let issuer = intermediate(&root, IssuerKind::Hub, late).unwrap();
        assert_eq!(identity::not_after(issuer.certificate()), Ok(end));
        assert!(matches!(intermediate(&root, IssuerKind::Hub, end), Err(CertError::IssuerEnded { .. })));
    }

    #[test]
    fn a_stored_authority_with_the_key_of_another_is_refused() {
        let root = root("acme.internal", now()).unwrap();
        let issuer = intermediate(&root, IssuerKind::Hub, now()).unwrap();
        let mixed = Authority::new(root.certificate().clone(), issuer.key().clone());
        assert!(matches!(mixed, Err(CertError::KeyMismatch)));
        assert!(Authority::new(issuer.certificate().clone(), issuer.key().clone()).is_ok());
    }

    #[test]
    fn a_trust_domain_that_would_change_the_uri_is_refused() {
        assert!(matches!(root("acme/hub", now()), Err(CertError::Name { .. })));
        assert!(matches!(root("", now()), Err(CertError::Name { .. })));
    }
}
