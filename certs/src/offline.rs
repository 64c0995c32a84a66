//! Issuers that are signed by a root whose key is somewhere else: the request for one, its signing, and
//! what a certificate from outside has to be before it is taken.
//!
//! A signer may be another tool with ideas of its own, so nothing of a certificate is believed because it
//! was asked for. What is checked is what the hub relies on: that the issuer can issue what it is for, and
//! nothing else.

use proto::{HubId, ServiceName, Timestamp};
use rcgen::PublicKeyData;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, GeneralSubtree, ParsedExtension};

use crate::authority::{self, Authority, ISSUER_LIFETIME, IssuerKind, SPOKE_DNS, issuer_params};
use crate::error::CertError;
use crate::identity::{self, parsed};
use crate::key::SecretKey;
use crate::leaf::{LEAF_LIFETIME, hub_leaf, spoke_leaf};
use crate::random;
use crate::request::{self, spoke_request};
use crate::tls;

/// A request for an issuer's certificate.
#[derive(Debug, Clone)]
pub struct IssuerRequest {
    /// What the issuer is for.
    pub kind: IssuerKind,
    /// The request, DER.
    pub csr: Vec<u8>,
    /// The key that it is for. It stays with the hub.
    pub key: SecretKey,
}

/// A new key and the request for an issuer's certificate for it.
///
/// # Errors
/// [`CertError`] if the name cannot stand in a certificate or the crypto library fails.
pub fn issuer_request(kind: IssuerKind, trust_domain: &str) -> Result<IssuerRequest, CertError> {
    let mut wanted = issuer_params(kind, authority::fit("the trust domain", trust_domain)?)?;
    // Name constraints cannot stand in a request; whoever signs has to add them.
    wanted.name_constraints = None;
    let key = SecretKey::generate()?;
    let csr = key.signing(|pair| {
        let request = wanted.serialize_request(pair).map_err(CertError::crypto("signing a request"))?;
        Ok(request.der().to_vec())
    })?;
    Ok(IssuerRequest { kind, csr, key })
}

/// The trust domain that a request for an issuer is for.
///
/// # Errors
/// [`CertError::Request`] if it is no such request.
pub fn requested_trust_domain(csr: &[u8]) -> Result<String, CertError> {
    request::public_key(csr)?;
    Ok(request::common_name_and_trust_domain(csr)?.1)
}

/// Signs a request of a hub for an issuer, as the hub itself would with `root`: of the request only the key,
/// what the issuer is for and its trust domain are taken.
///
/// # Errors
/// [`CertError::Request`] if it is not a request for an issuer of the root's trust domain, and as
/// [`authority::intermediate`].
pub fn sign_issuer(
    root: &Authority,
    csr: &[u8],
    now: Timestamp,
) -> Result<(IssuerKind, CertificateDer<'static>), CertError> {
    let public = request::public_key(csr)?;
    let kind = requested_kind(csr)?;
    let (_, trust_domain) = request::common_name_and_trust_domain(csr)?;
    let of_root = identity::trust_domain(root.certificate())?;
    if trust_domain != of_root {
        let reason = format!("it is for the trust domain {trust_domain}, the root is {of_root}'s");
        return Err(CertError::Request { reason });
    }
    let issuer = root.issue(issuer_params(kind, &of_root)?, &public, now, ISSUER_LIFETIME)?;
    Ok((kind, issuer))
}

/// A new root that no hub has the key of, for 10 years.
///
/// # Errors
/// As [`authority::root`].
pub fn offline_root(trust_domain: &str, now: Timestamp) -> Result<Authority, CertError> {
    // Whoever trusts two roots for a time has to tell them apart, and there is no counter here.
    let number = u32::from_be_bytes(random::bytes()?);
    authority::root_named(&format!("eventflow root {number:08x}"), trust_domain, now)
}

/// Certificates that were signed elsewhere, by what they are.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The issuer of hubs.
    pub hub: Authority,
    /// The issuer of spokes.
    pub spoke: Authority,
    /// A root, if one was given.
    pub root: Option<CertificateDer<'static>>,
    /// That root signed by another one, if that was given.
    pub cross: Option<CertificateDer<'static>>,
}

/// Finds out what each of `given` is: certificates for the keys of both requests, at most one root and at most
/// one cross-certificate of it, in any order.
///
/// # Errors
/// [`CertError::Unfit`] if one is missing, is none of these, or if there are two of a kind;
/// [`CertError::NotACertificate`].
pub fn sort_signed(
    given: &[CertificateDer<'static>],
    hub: &SecretKey,
    spoke: &SecretKey,
) -> Result<Signed, CertError> {
    let bad = unfit("what was signed");
    let mut issuers: [Option<Authority>; 2] = [None, None];
    let (mut roots, mut others) = (Vec::new(), Vec::new());
    for (index, certificate) in given.iter().enumerate() {
        if given.iter().take(index).any(|before| before == certificate) {
            continue;
        }
        let read = parsed(certificate)?;
        let mut of_request = [hub, spoke].into_iter().zip(&mut issuers);
        if let Some((key, place)) = of_request.find(|(key, _)| key.is_of(&read)) {
            let issuer = Authority::new(certificate.clone(), key.clone()).map_err(|_| {
                bad("a certificate for a request is not an authority's (basicConstraints CA:TRUE is missing)")
            })?;
            if place.replace(issuer).is_some() {
                return Err(bad("there are two certificates for one request"));
            }
        } else if read.subject().as_raw() == read.issuer().as_raw() {
            roots.push(certificate.clone());
        } else {
            others.push(certificate.clone());
        }
    }
    let [hub, spoke] = issuers;
    let missing =
        |what: &str| bad(&format!("no certificate has the key of the request for the issuer of {what}"));
    let (hub, spoke) = (hub.ok_or_else(|| missing("hubs"))?, spoke.ok_or_else(|| missing("spokes"))?);
    if roots.len() > 1 {
        return Err(bad("there is more than one root"));
    }
    let root = roots.pop();
    let (mut crosses, strangers): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|other| root.as_ref().is_some_and(|root| same_key(root, other)));
    if let Some(stranger) = strangers.first() {
        let name = parsed(stranger)?.subject().to_string();
        return Err(bad(&format!(
            "the certificate of {name:?} is for no request, and neither a root nor one's"
        )));
    }
    if crosses.len() > 1 {
        return Err(bad("there is more than one cross-certificate"));
    }
    Ok(Signed { hub, spoke, root, cross: crosses.pop() })
}

/// Whether two certificates, of any tool, are for one key.
#[must_use]
pub fn same_key(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (parsed(one), parsed(other));
    matches!((one, other), (Ok(one), Ok(other)) if one.public_key().raw == other.public_key().raw)
}

/// Whether two certificates, of any tool, are of one name.
#[must_use]
pub fn same_name(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (parsed(one), parsed(other));
    matches!((one, other), (Ok(one), Ok(other)) if one.subject().as_raw() == other.subject().as_raw())
}

/// SHA-256 of the public key that the request `csr` is for (DER of SubjectPublicKeyInfo), by which people tell
/// requests apart.
///
/// # Errors
/// [`CertError::Request`] if it is no request, or is not signed with that key.
pub fn request_fingerprint(csr: &[u8]) -> Result<[u8; 32], CertError> {
    Ok(identity::fingerprint(&request::public_key(csr)?.subject_public_key_info()))
}

/// What the request `csr` is for, if it is for an issuer.
///
/// # Errors
/// [`CertError::Request`] if it is for something else.
pub fn requested_kind(csr: &[u8]) -> Result<IssuerKind, CertError> {
    let (name, _) = request::common_name_and_trust_domain(csr)?;
    let kind = IssuerKind::ALL.into_iter().find(|kind| kind.common_name() == name);
    kind.ok_or_else(|| CertError::Request { reason: format!("it asks for {name:?}, which is not an issuer") })
}

/// Whether `key` is the one that the request `csr` is for.
///
/// # Errors
/// [`CertError::KeyMismatch`], [`CertError::Request`].
pub fn check_request(csr: &[u8], key: &SecretKey) -> Result<(), CertError> {
    let asked = request::public_key(csr)?.subject_public_key_info();
    match key.signing(|pair| Ok(pair.subject_public_key_info()))? == asked {
        true => Ok(()),
        false => Err(CertError::KeyMismatch),
    }
}

/// Whether `cross` makes who trusts only `former` believe what hangs from `issuer`, an issuer of hubs.
///
/// # Errors
/// [`CertError::Unfit`] with what is wrong.
pub fn check_cross(
    cross: &CertificateDer<'static>,
    former: &CertificateDer<'static>,
    issuer: &Authority,
    now: Timestamp,
) -> Result<(), CertError> {
    let unfit = unfit("the cross-certificate");
    in_its_time(cross, now).map_err(|reason| unfit(&reason))?;
    let hub = HubId::parse("1.check").map_err(CertError::crypto("naming a hub"))?;
    let (leaf, _) = hub_leaf(issuer, &hub, now, LEAF_LIFETIME)?;
    let chain = [leaf, issuer.certificate().clone(), cross.clone()];
    tls::verify_hub(std::slice::from_ref(former), &chain, now).map_err(|error| {
        unfit(&format!("who trusts the former root alone does not believe by it what is new: {error}"))
    })
}

/// Whether `root` may be what hubs and spokes trust.
///
/// # Errors
/// [`CertError::Unfit`] with what is wrong, [`CertError::NotACertificate`].
pub fn check_root(root: &CertificateDer<'_>, now: Timestamp) -> Result<(), CertError> {
    let unfit = unfit("the root");
    let read = parsed(root)?;
    let constraints = read.basic_constraints().ok().flatten().map(|found| found.value);
    let Some(constraints) = constraints.filter(|found| found.ca) else {
        return Err(unfit("it is not an authority (basicConstraints CA:TRUE is missing)"));
    };
    if constraints.path_len_constraint.is_some_and(|length| length < 1) {
        return Err(unfit("its path length is 0, so no issuer can hang from it; it has to be 1 or more"));
    }
    if !is_signing_key(&read) {
        return Err(unfit("its key usage lacks keyCertSign"));
    }
    if read.subject().as_raw() != read.issuer().as_raw() || read.verify_signature(None).is_err() {
        return Err(unfit("it is not signed by itself"));
    }
    in_its_time(root, now).map_err(|reason| unfit(&reason))
}

/// Whether `issuer`, with the key that it was asked for, can issue for what it is meant, below `root`, and
/// for nothing else.
///
/// # Errors
/// [`CertError::Unfit`] with what is wrong, and as [`Authority::new`].
pub fn check_issuer(
    issuer: &Authority,
    kind: IssuerKind,
    trust_domain: &str,
    root: &CertificateDer<'static>,
    now: Timestamp,
) -> Result<(), CertError> {
    let what = match kind {
        IssuerKind::Hub => "the issuer of hubs",
        IssuerKind::Spoke => "the issuer of spokes",
    };
    let unfit = unfit(what);
    let certificate = issuer.certificate();
    let read = parsed(certificate)?;
    let constraints = read.basic_constraints().ok().flatten().map(|found| found.value.clone());
    if constraints.and_then(|found| found.path_len_constraint) != Some(0) {
        return Err(unfit("its path length has to be 0 (basicConstraints CA:TRUE, pathlen:0)"));
    }
    if !is_signing_key(&read) || !read.key_usage().ok().flatten().is_some_and(|usage| usage.value.crl_sign())
    {
        return Err(unfit("its key usage has to be keyCertSign and cRLSign"));
    }
    match identity::trust_domain(certificate) {
        Ok(found) if found == trust_domain => {}
        Ok(found) => return Err(unfit(&format!("it is for {found:?}, this hub is of {trust_domain:?}"))),
        Err(_) => {
            let needed = format!("it needs exactly one URI among its names: spiffe://{trust_domain}");
            return Err(unfit(&needed));
        }
    }
    let uses = read.extended_key_usage().ok().flatten().map(|found| found.value.clone());
    if kind == IssuerKind::Hub && !uses.as_ref().is_some_and(|uses| uses.client_auth) {
        return Err(unfit("its extendedKeyUsage lacks clientAuth"));
    }
    let clients_only = uses.as_ref().is_some_and(|uses| uses.client_auth && !uses.server_auth && !uses.any);
    if kind == IssuerKind::Spoke {
        if !clients_only {
            return Err(unfit(
                "it has to be for clients only (extendedKeyUsage clientAuth), so that no spoke can \
                              pass for a hub",
            ));
        }
        if !names_no_host(&read) {
            let needed =
                format!("it has to name no host (nameConstraints critical, permitted;DNS:{SPOKE_DNS})");
            return Err(unfit(&needed));
        }
    }
    in_its_time(certificate, now).map_err(|reason| unfit(&reason))?;
    let (end, end_of_root) = (identity::not_after(certificate)?, identity::not_after(root)?);
    if end > end_of_root {
        return Err(unfit(&format!("it ends at {end}, after its root, which ends at {end_of_root}")));
    }
    issues(issuer, kind, root, now).map_err(|error| unfit(&format!("a leaf of it is not believed: {error}")))
}

/// Issues a leaf and has it verified as the other end would.
fn issues(
    issuer: &Authority,
    kind: IssuerKind,
    root: &CertificateDer<'static>,
    now: Timestamp,
) -> Result<(), CertError> {
    let roots = std::slice::from_ref(root);
    let above = issuer.certificate().clone();
    match kind {
        IssuerKind::Hub => {
            let hub = HubId::parse("1.check").map_err(CertError::crypto("naming a hub"))?;
            let (leaf, _) = hub_leaf(issuer, &hub, now, LEAF_LIFETIME)?;
            tls::verify_hub(roots, &[leaf, above], now)
        }
        IssuerKind::Spoke => {
            let service = ServiceName::parse("check").map_err(CertError::crypto("naming a service"))?;
            let (csr, _) = spoke_request()?;
            let leaf = spoke_leaf(issuer, &csr, &service, "1", now, LEAF_LIFETIME)?;
            tls::verify_spoke(roots, &[leaf, above], now)
        }
    }
}

fn is_signing_key(read: &X509Certificate<'_>) -> bool {
    // Without the extension a key may be used for everything (RFC 5280, 4.2.1.3).
    read.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign())
}

fn names_no_host(read: &X509Certificate<'_>) -> bool {
    let mut extensions = read.extensions().iter();
    let found = extensions.find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::NameConstraints(constraints) => Some(constraints),
        _ => None,
    });
    let permitted = found.and_then(|found| found.permitted_subtrees.as_deref()).unwrap_or_default();
    matches!(permitted, [GeneralSubtree { base: GeneralName::DNSName(SPOKE_DNS) }])
}

fn in_its_time(certificate: &CertificateDer<'_>, now: Timestamp) -> Result<(), String> {
    let validity = identity::validity(certificate).map_err(|error| error.to_string())?;
    if validity.not_before > now {
        return Err(format!("it is valid from {} only", validity.not_before));
    }
    if validity.not_after <= now.plus(LEAF_LIFETIME) {
        return Err(format!("it ends at {}, and has to last for a day at least", validity.not_after));
    }
    Ok(())
}

fn unfit(what: &'static str) -> impl Fn(&str) -> CertError {
    move |reason| CertError::Unfit { what, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
