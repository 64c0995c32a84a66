//! Issuers from outside: what our own signer makes is taken, and what another one forgot is named.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose,
    NameConstraints,
};

use super::*;
use crate::authority::{cross_certificate, intermediate, root, root as root_of_ours};
use crate::scene::now;

const DOMAIN: &str = "acme.internal";

/// An issuer that `root` signs with what `change` makes of what it should say.
fn issuer(root: &Authority, kind: IssuerKind, change: impl FnOnce(&mut CertificateParams)) -> Authority {
    let key = SecretKey::generate().unwrap();
    let mut wanted = issuer_params(kind, DOMAIN).unwrap();
    change(&mut wanted);
    let made = key.signing(|pair| root.issue(wanted, pair, now(), ISSUER_LIFETIME)).unwrap();
    Authority::new(made, key).unwrap()
}

fn refusal(root: &Authority, kind: IssuerKind, change: impl FnOnce(&mut CertificateParams)) -> String {
    let issuer = issuer(root, kind, change);
    check_issuer(&issuer, kind, DOMAIN, root.certificate(), now()).unwrap_err().to_string()
}

#[test]
fn what_a_root_elsewhere_signs_for_a_request_can_issue_what_it_is_for() {
    let root = offline_root(DOMAIN, now()).unwrap();
    check_root(root.certificate(), now()).unwrap();
    for kind in IssuerKind::ALL {
        let request = issuer_request(kind, DOMAIN).unwrap();
        let (signed_for, certificate) = sign_issuer(&root, &request.csr, now()).unwrap();
        assert_eq!(signed_for, kind);
        let issuer = Authority::new(certificate, request.key).unwrap();
        check_issuer(&issuer, kind, DOMAIN, root.certificate(), now()).unwrap();
    }
}

#[test]
fn roots_made_elsewhere_differ_by_their_names() {
    let name = |root: &Authority| parsed(root.certificate()).unwrap().subject().to_string();
    let (one, other) = (offline_root(DOMAIN, now()).unwrap(), offline_root(DOMAIN, now()).unwrap());
    assert_ne!(name(&one), name(&other));
}

#[test]
fn a_request_for_another_trust_domain_or_for_no_issuer_is_not_signed() {
    let root = root(DOMAIN, now()).unwrap();
    let other = issuer_request(IssuerKind::Hub, "other.internal").unwrap();
    let (spoke, _) = spoke_request().unwrap();
    for csr in [other.csr, spoke, b"garbage".to_vec()] {
        assert!(matches!(sign_issuer(&root, &csr, now()), Err(CertError::Request { .. })));
    }
}

#[test]
fn an_issuer_of_spokes_that_could_pass_for_a_hub_is_refused() {
    let root = root(DOMAIN, now()).unwrap();
    let refused = refusal(&root, IssuerKind::Spoke, |wanted| {
        wanted.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    });
    assert!(refused.contains("clients only"), "{refused}");
    let refused = refusal(&root, IssuerKind::Spoke, |wanted| wanted.extended_key_usages.clear());
    assert!(refused.contains("clients only"), "{refused}");
    let refused = refusal(&root, IssuerKind::Spoke, |wanted| wanted.name_constraints = None);
    assert!(refused.contains("nameConstraints"), "{refused}");
    let refused = refusal(&root, IssuerKind::Spoke, |wanted| {
        let subtree = |host: &str| GeneralSubtree::DnsName(host.to_owned());
        wanted.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![subtree(SPOKE_DNS), subtree("eventflow.internal")],
            excluded_subtrees: vec![],
        });
    });
    assert!(refused.contains("nameConstraints"), "{refused}");
}

#[test]
fn an_issuer_that_could_make_issuers_is_refused() {
    let root = root(DOMAIN, now()).unwrap();
    for kind in IssuerKind::ALL {
        for constraints in [BasicConstraints::Unconstrained, BasicConstraints::Constrained(1)] {
            let refused = refusal(&root, kind, |wanted| wanted.is_ca = IsCa::Ca(constraints));
            assert!(refused.contains("path length"), "{refused}");
        }
        for usages in [vec![KeyUsagePurpose::CrlSign], vec![KeyUsagePurpose::KeyCertSign], vec![]] {
            let refused = refusal(&root, kind, |wanted| wanted.key_usages = usages);
            assert!(refused.contains("keyCertSign"), "{refused}");
        }
    }
}

#[test]
fn an_issuer_of_hubs_that_could_not_serve_is_refused() {
    let root = root(DOMAIN, now()).unwrap();
    let refused = refusal(&root, IssuerKind::Hub, |wanted| {
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert!(refused.contains("a leaf of it is not believed"), "{refused}");
    let refused = refusal(&root, IssuerKind::Hub, |wanted| {
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert!(refused.contains("lacks clientAuth"), "{refused}");
}

#[test]
fn the_key_of_a_root_from_outside_may_be_rsa() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut wanted = CertificateParams::default();
    wanted.distinguished_name.push(rcgen::DnType::OrganizationName, "Acme Corp");
    wanted.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = wanted.self_signed(&pair).unwrap().der().clone();
    check_root(&root, now()).unwrap();
    let signer = rcgen::Issuer::from_ca_cert_der(&root, &pair).unwrap();
    for kind in IssuerKind::ALL {
        let key = SecretKey::generate().unwrap();
        let mut wanted = issuer_params(kind, DOMAIN).unwrap();
        (wanted.not_before, wanted.not_after) =
            authority::span(now(), std::time::Duration::from_hours(48)).unwrap();
        let made = key.signing(|pair| Ok(wanted.signed_by(pair, &signer).unwrap().der().clone())).unwrap();
        check_issuer(&Authority::new(made, key).unwrap(), kind, DOMAIN, &root, now()).unwrap();
    }
    let former = root_of_ours(DOMAIN, now()).unwrap();
    cross_certificate(&former, &root, now()).unwrap();
}

#[test]
fn a_request_with_the_key_of_another_is_told_from_its_own() {
    let [one, other] = IssuerKind::ALL.map(|kind| issuer_request(kind, DOMAIN).unwrap());
    check_request(&one.csr, &one.key).unwrap();
    assert!(matches!(check_request(&one.csr, &other.key), Err(CertError::KeyMismatch)));
    assert_ne!(request_fingerprint(&one.csr).unwrap(), request_fingerprint(&other.csr).unwrap());
    assert_eq!(requested_kind(&one.csr), Ok(IssuerKind::Hub));
}

#[test]
fn an_issuer_of_another_trust_domain_of_another_root_or_out_of_its_time_is_refused() {
    let (root, other) = (root(DOMAIN, now()).unwrap(), root(DOMAIN, now()).unwrap());
    for kind in IssuerKind::ALL {
        let issuer = intermediate(&root, kind, now()).unwrap();
        let check = |domain: &str, root: &Authority, at| {
            let checked = check_issuer(&issuer, kind, domain, root.certificate(), at);
            checked.unwrap_err().to_string()
        };
        assert!(check("other.internal", &root, now()).contains("other.internal"));
        assert!(check(DOMAIN, &other, now()).contains("not believed"));
        assert!(check(DOMAIN, &root, now().plus(ISSUER_LIFETIME)).contains("it ends at"));
        let early = Timestamp::from_millis(now().millis() - 3_600_000).unwrap();
        assert!(check(DOMAIN, &root, early).contains("valid from"));
    }
}

#[test]
fn a_root_from_outside_is_signed_by_itself_and_may_have_issuers() {
    let root = root(DOMAIN, now()).unwrap();
    let other = offline_root(DOMAIN, now()).unwrap();
    let cross = cross_certificate(&root, other.certificate(), now()).unwrap();
    let issuer = intermediate(&root, IssuerKind::Hub, now()).unwrap();
    let refused = |certificate: &CertificateDer<'_>| check_root(certificate, now()).unwrap_err().to_string();
    assert!(refused(&cross).contains("not signed by itself"));
    assert!(refused(issuer.certificate()).contains("path length is 0"));
    let late = identity::not_after(root.certificate()).unwrap();
    assert!(check_root(root.certificate(), late).is_err());
}

#[test]
fn who_trusts_the_former_root_believes_what_hangs_from_one_that_it_has_cross_signed() {
    let former = root(DOMAIN, now()).unwrap();
    // A root of another tool: other parts of a name, other encodings.
    let key = SecretKey::generate().unwrap();
    let next = {
        let mut wanted = CertificateParams::default();
        wanted.distinguished_name = rcgen::DistinguishedName::new();
        let country = rcgen::string::PrintableString::try_from("SE").unwrap();
        wanted.distinguished_name.push(rcgen::DnType::CountryName, rcgen::DnValue::PrintableString(country));
        wanted.distinguished_name.push(rcgen::DnType::CommonName, "Acme Root G2");
        wanted.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let made = key.signing(|pair| Ok(wanted.self_signed(pair).unwrap().der().clone())).unwrap();
        Authority::new(made, key).unwrap()
    };
    let cross = cross_certificate(&former, next.certificate(), now()).unwrap();
    let issuer = issuer(&next, IssuerKind::Hub, |_| ());
    let (leaf, _) = hub_leaf(&issuer, &HubId::parse("1.HUB").unwrap(), now(), LEAF_LIFETIME).unwrap();
    let trusted = [former.certificate().clone()];
    let chain = [leaf, issuer.certificate().clone(), cross];
    tls::verify_hub(&trusted, &chain, now()).unwrap();
    assert!(tls::verify_hub(&trusted, &chain[..2], now()).is_err(), "without the cross-certificate");
}

#[test]
fn what_was_signed_is_told_apart_by_its_keys_in_any_order() {
    let (former, next) = (root(DOMAIN, now()).unwrap(), offline_root(DOMAIN, now()).unwrap());
    let [hub, spoke] = IssuerKind::ALL.map(|kind| issuer_request(kind, DOMAIN).unwrap());
    let signed = |request: &IssuerRequest| sign_issuer(&next, &request.csr, now()).unwrap().1;
    let (of_hub, of_spoke) = (signed(&hub), signed(&spoke));
    let cross = cross_certificate(&former, next.certificate(), now()).unwrap();
    let all = [cross.clone(), of_spoke.clone(), next.certificate().clone(), of_hub.clone()];
    let sorted = sort_signed(&all, &hub.key, &spoke.key).unwrap();
    assert_eq!((sorted.hub.certificate(), sorted.spoke.certificate()), (&of_hub, &of_spoke));
    assert_eq!((sorted.root.as_ref(), sorted.cross.as_ref()), (Some(next.certificate()), Some(&cross)));
    check_cross(&cross, former.certificate(), &sorted.hub, now()).unwrap();
    let other = root(DOMAIN, now()).unwrap();
    assert!(check_cross(&cross, other.certificate(), &sorted.hub, now()).is_err());
    let late = identity::not_after(&cross).unwrap();
    assert!(check_cross(&cross, former.certificate(), &sorted.hub, late).is_err());
    let refused =
        |given: &[CertificateDer<'static>]| sort_signed(given, &hub.key, &spoke.key).unwrap_err().to_string();
    assert!(refused(&all[..3]).contains("issuer of hubs"));
    assert!(refused(std::slice::from_ref(&of_hub)).contains("issuer of spokes"));
    assert!(refused(&[of_hub.clone(), of_spoke.clone(), signed(&hub)]).contains("two certificates"));
    let plain = {
        let wanted = CertificateParams::default();
        let made = hub.key.signing(|pair| next.issue(wanted, pair, now(), ISSUER_LIFETIME)).unwrap();
        [made, of_spoke.clone()]
    };
    assert!(refused(&plain).contains("CA:TRUE"), "what a tool signs that was told nothing");
    let roots = [next.certificate().clone(), other.certificate().clone()];
    assert!(
        refused(&[&[of_hub.clone(), of_spoke.clone()], &roots[..]].concat()).contains("more than one root")
    );
    let stranger = intermediate(&other, IssuerKind::Hub, now()).unwrap().certificate().clone();
    assert!(refused(&[of_hub, of_spoke, stranger]).contains("for no request"));
    assert!(matches!(
        sort_signed(&[CertificateDer::from(vec![1])], &hub.key, &spoke.key),
        Err(CertError::NotACertificate { .. })
    ));
}
