//! Which authorities count for what: decided from their rows and the replacement under way, by nothing
//! else, so that every hub decides alike.
//!
//! Authorities have generations. The first ones are called `root`, `issuer/hub` and `issuer/spoke`; those
//! that a replacement makes have its generation behind a `/`. All active ones are trusted. The newest of
//! each kind is in use, except that those of a replacement which is not activated yet only come next.

use proto::rotation::{AuthorityState, Rotation, RotationStep};

use super::error::IdentityError;

/// What an authority is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AuthorityKind {
    /// Peers trust it.
    Root,
    /// A root that was signed by the one before, for peers that know only that one.
    Cross,
    /// It issues for hubs.
    HubIssuer,
    /// It issues for spokes.
    SpokeIssuer,
}

/// An authority by kind and generation: what its id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AuthorityId {
    pub(crate) kind: AuthorityKind,
    pub(crate) generation: u64,
}

/// An authority that has a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: AuthorityId,
    pub(crate) active: bool,
}

/// Which authorities count for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) root: AuthorityId,
    pub(crate) hub_issuer: AuthorityId,
    pub(crate) spoke_issuer: AuthorityId,
    /// Everything that peers are to trust, the root in use first.
    pub(crate) roots: Vec<AuthorityId>,
    /// What is shown with chains, for peers that know only a former root.
    pub(crate) cross: Vec<AuthorityId>,
    /// All authorities that count, by kind and generation.
    pub(crate) active: Vec<AuthorityId>,
}

impl AuthorityKind {
    /// The id of the first generation, and what those of later ones begin with.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Cross => "cross",
            Self::HubIssuer => "issuer/hub",
            Self::SpokeIssuer => "issuer/spoke",
        }
    }

    /// The word in the column `role`.
    pub(crate) fn role(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Cross => "cross",
            Self::HubIssuer | Self::SpokeIssuer => "issuer",
        }
    }

    pub(crate) fn of(self, generation: u64) -> AuthorityId {
        AuthorityId { kind: self, generation }
    }
}

impl AuthorityId {
    /// The authority with this id, if it is one's.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        use AuthorityKind::{Cross, HubIssuer, Root, SpokeIssuer};
        let (kind, rest) = [Root, Cross, HubIssuer, SpokeIssuer]
            .into_iter()
            .find_map(|kind| text.strip_prefix(kind.name()).map(|rest| (kind, rest)))?;
        let generation = match rest {
            "" => certs::FIRST_GENERATION,
            later => {
                later.strip_prefix('/')?.parse().ok().filter(|given| *given > certs::FIRST_GENERATION)?
            }
        };
        Some(kind.of(generation))
    }
}

impl std::fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.generation {
            certs::FIRST_GENERATION => f.write_str(self.kind.name()),
            later => write!(f, "{}/{later}", self.kind.name()),
        }
    }
}

impl Standing {
    /// What counts for what, of those that are `known`, while `open` is under way.
    ///
    /// # Errors
    /// [`IdentityError::AuthorityMissing`] if nothing is in use of some kind.
    pub(crate) fn of(known: &[Known], open: Option<&Rotation>) -> Result<Self, IdentityError> {
        let issuing = match open {
            Some(open) if open.step < RotationStep::Activated => open.generation() - 1,
            Some(_) | None => u64::MAX,
        };
        let mut active: Vec<_> = known.iter().filter(|known| known.active).map(|known| known.id).collect();
        active.sort_unstable();
        let in_use = |kind: AuthorityKind| {
            let candidates = active.iter().filter(|id| id.kind == kind && id.generation <= issuing);
            candidates.max().copied().ok_or_else(|| IdentityError::AuthorityMissing { id: kind.name() })
        };
        let root = in_use(AuthorityKind::Root)?;
        let others = active.iter().filter(|id| id.kind == AuthorityKind::Root && **id != root);
        Ok(Self {
            root,
            hub_issuer: in_use(AuthorityKind::HubIssuer)?,
            spoke_issuer: in_use(AuthorityKind::SpokeIssuer)?,
            roots: std::iter::once(root).chain(others.copied()).collect(),
            cross: active
                .iter()
                .filter(|id| id.kind == AuthorityKind::Cross && id.generation <= root.generation)
                .copied()
                .collect(),
            active,
        })
    }

    /// What one of the active ones is there for.
    pub(crate) fn state(&self, id: AuthorityId) -> AuthorityState {
        let in_use = match id.kind {
            AuthorityKind::Root => self.root,
            AuthorityKind::HubIssuer => self.hub_issuer,
            AuthorityKind::SpokeIssuer => self.spoke_issuer,
            AuthorityKind::Cross => return AuthorityState::Former,
        };
        match id.generation.cmp(&in_use.generation) {
            std::cmp::Ordering::Less => AuthorityState::Former,
            std::cmp::Ordering::Equal => AuthorityState::InUse,
            std::cmp::Ordering::Greater => AuthorityState::Next,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_says_kind_and_generation_and_nothing_else_is_one() {
        for text in ["root", "root/2", "issuer/hub", "issuer/hub/17", "issuer/spoke", "cross/3"] {
            assert_eq!(AuthorityId::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "roots", "root/", "root/1", "root/0", "root/-2", "root/2/3", "issuer", "issuer/hubs"]
        {
            assert_eq!(AuthorityId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_prepared_is_trusted_and_does_not_issue() {
        let open = super::super::rotation::tests::rotation(RotationStep::Prepared);
        let known: Vec<_> = [AuthorityKind::Root, AuthorityKind::HubIssuer, AuthorityKind::SpokeIssuer]
            .into_iter()
            .flat_map(|kind| [1, 2].map(|generation| Known { id: kind.of(generation), active: true }))
            .collect();
        let standing = Standing::of(&known, Some(&open)).unwrap();
        assert_eq!(standing.root.to_string(), "root");
        assert_eq!(standing.roots.iter().map(ToString::to_string).collect::<Vec<_>>(), ["root", "root/2"]);
        assert_eq!(standing.state(AuthorityKind::SpokeIssuer.of(2)), AuthorityState::Next);
        let activated = Standing::of(&known, None).unwrap();
        assert_eq!(activated.roots.iter().map(ToString::to_string).collect::<Vec<_>>(), ["root/2", "root"]);
        assert_eq!(activated.state(AuthorityKind::SpokeIssuer.of(1)), AuthorityState::Former);
    }

    proptest! {
        #[test]
        fn every_id_that_is_printed_is_read_back(generation in 1..u64::MAX) {
            for kind in [AuthorityKind::Root, AuthorityKind::Cross, AuthorityKind::HubIssuer] {
                let id = kind.of(generation);
                prop_assert_eq!(AuthorityId::parse(&id.to_string()), Some(id));
            }
        }
    }
}
