//! A world of two hubs and three spokes on one set of tables, in which anything happens in any order:
//! whoever has a certificate that counts is let in by every hub that lives, and believes it.

use std::collections::BTreeSet;

use super::*;
use crate::identity::standing::{AuthorityId, AuthorityKind, Known, Standing};
use crate::identity::succession::former;

const HUBS: usize = 2;
const SPOKES: usize = 3;
const LIFE: Duration = Duration::from_secs(1_000);

#[derive(Debug, Clone)]
enum Happens {
    Begin(RotationKind),
    Turn(usize),
    Load(usize),
    Kill(usize),
    Start(usize),
    Connect(usize, usize),
    Leave(usize),
    Keep(usize),
    Renew(usize),
    Time(u16),
}

/// An authority's row: which one, and the root that has signed it.
#[derive(Debug, Clone, Copy)]
struct Row {
    id: AuthorityId,
    root: u64,
    active: bool,
}

#[derive(Debug, Clone, Copy)]
struct Leaf {
    issuer: AuthorityId,
    root: u64,
    until: Timestamp,
    counts: bool,
}

/// What a hub that lives has read.
#[derive(Debug, Clone)]
struct Reading {
    standing: Standing,
    rows: Vec<Row>,
    loaded: u64,
}

#[derive(Debug, Clone, Default)]
struct Spoke {
    believes: BTreeSet<u64>,
    leaf: Option<usize>,
    at: Option<usize>,
    kept: u64,
}

#[derive(Debug)]
struct World {
    now: Timestamp,
    trust: u64,
    rows: Vec<Row>,
    rotation: Option<Rotation>,
    told: u64,
    rotations: u64,
    leaves: Vec<Leaf>,
    hubs: [Option<Reading>; HUBS],
    hub_leaves: [Option<usize>; HUBS],
    spokes: [Spoke; SPOKES],
}

impl Reading {
    fn root_of(&self, id: AuthorityId) -> u64 {
        self.rows.iter().find(|row| row.id == id).unwrap().root
    }

    fn roots(&self) -> BTreeSet<u64> {
        self.standing.roots.iter().map(|id| id.generation).collect()
    }
}

impl World {
    fn new() -> Self {
        let first = |kind: AuthorityKind| Row { id: kind.of(1), root: 1, active: true };
        let rows = [AuthorityKind::Root, AuthorityKind::HubIssuer, AuthorityKind::SpokeIssuer].map(first);
        let mut world = Self {
            now: at(0),
            trust: 1,
            rows: rows.to_vec(),
            rotation: None,
            told: 0,
            rotations: 0,
            leaves: Vec::new(),
            hubs: [None, None],
            hub_leaves: [None; HUBS],
            spokes: Default::default(),
        };
        (0..HUBS).for_each(|hub| world.load(hub));
        (0..SPOKES).for_each(|spoke| world.connect(spoke, 0));
        world
    }

    fn open(&self) -> Option<&Rotation> {
        self.rotation.as_ref().filter(|rotation| rotation.step != RotationStep::Archived)
    }

    fn issue(&mut self, issuer: AuthorityId, root: u64) -> usize {
        self.leaves.push(Leaf { issuer, root, until: self.now.plus(LIFE), counts: true });
        self.leaves.len() - 1
    }

    fn counts(&self, leaf: Option<usize>) -> bool {
        leaf.is_some_and(|leaf| self.leaves[leaf].counts && self.leaves[leaf].until > self.now)
    }

    fn load(&mut self, hub: usize) {
        let known: Vec<_> = self.rows.iter().map(|row| Known { id: row.id, active: row.active }).collect();
        let standing = Standing::of(&known, self.open()).unwrap();
        let reading = Reading { standing, rows: self.rows.clone(), loaded: self.trust };
        let issuer = reading.standing.hub_issuer;
        let fits = self.hub_leaves[hub].is_some_and(|leaf| self.leaves[leaf].issuer == issuer);
        if !fits || self.hubs[hub].is_none() {
            if let Some(former) = self.hub_leaves[hub] {
                self.leaves[former].counts = false;
            }
            self.hub_leaves[hub] = Some(self.issue(issuer, reading.root_of(issuer)));
        }
        self.hubs[hub] = Some(reading);
    }

    fn connect(&mut self, spoke: usize, hub: usize) {
        let Some(reading) = self.hubs[hub].clone() else { return };
        if !self.counts(self.spokes[spoke].leaf) {
            // It enrols again, and takes what this hub says.
            let issuer = reading.standing.spoke_issuer;
            self.spokes[spoke].leaf = Some(self.issue(issuer, reading.root_of(issuer)));
            self.spokes[spoke].believes = reading.roots();
        }
        self.spokes[spoke].at = Some(hub);
        self.spokes[spoke].kept = 0;
    }

    fn keep(&mut self, spoke: usize) {
        if let Some(reading) = self.spokes[spoke].at.and_then(|hub| self.hubs[hub].clone()) {
            self.spokes[spoke].believes = reading.roots();
            self.spokes[spoke].kept = reading.loaded;
        }
    }

    fn renew(&mut self, spoke: usize) {
        let Some(reading) = self.spokes[spoke].at.and_then(|hub| self.hubs[hub].clone()) else { return };
        let Some(former) = self.spokes[spoke].leaf.filter(|leaf| self.counts(Some(*leaf))) else { return };
        let issuer = reading.standing.spoke_issuer;
        self.spokes[spoke].leaf = Some(self.issue(issuer, reading.root_of(issuer)));
        self.spokes[spoke].believes = reading.roots();
        self.leaves[former].counts = false;
    }

    fn facts(&self, rotation: &Rotation, standing: &Standing) -> Facts {
        let replaced = former(rotation, standing);
        let hangs = |leaf: &&Leaf| leaf.counts && leaf.until > self.now && replaced.contains(&leaf.issuer);
        let hanging = Hanging {
            leaves: self.leaves.iter().filter(hangs).count() as u64,
            until: self.leaves.iter().filter(hangs).map(|leaf| leaf.until).max(),
        };
        let hubs = self.hubs.iter().enumerate().filter_map(|(number, reading)| {
            let loaded = reading.as_ref()?.loaded;
            let here = self.spokes.iter().filter(|spoke| spoke.at == Some(number));
            let kept = here.map(|spoke| spoke.kept).min().unwrap_or(loaded);
            Some(hub(&format!("{number}.hub"), loaded, kept.min(loaded)))
        });
        Facts {
            now: self.now,
            told: self.told,
            hubs: hubs.collect(),
            no_longer: at(1 << 30),
            hanging,
            ..facts()
        }
    }

    fn turn(&mut self, hub: usize) {
        let (Some(reading), Some(rotation)) = (self.hubs[hub].clone(), self.open().cloned()) else { return };
        if reading.loaded < self.told {
            return self.load(hub);
        }
        let Next::Step(to) = next(&rotation, &self.facts(&rotation, &reading.standing)) else { return };
        let generation = rotation.generation();
        match to {
            RotationStep::Prepared => {
                let root = match rotation.kind {
                    RotationKind::Root => generation,
                    RotationKind::Intermediate | RotationKind::Leaf => reading.standing.root.generation,
                };
                let mut store = |kind: AuthorityKind, root| {
                    self.rows.push(Row { id: kind.of(generation), root, active: true });
                };
                if rotation.kind == RotationKind::Root {
                    store(AuthorityKind::Root, generation);
                    store(AuthorityKind::Cross, reading.standing.root.generation);
                }
                store(AuthorityKind::HubIssuer, root);
                store(AuthorityKind::SpokeIssuer, root);
            }
            RotationStep::Retired => {
                let gone = former(&rotation, &reading.standing);
                self.rows.iter_mut().filter(|row| gone.contains(&row.id)).for_each(|row| row.active = false);
            }
            RotationStep::Begun | RotationStep::Activated | RotationStep::Archived => {}
        }
        self.trust += 1;
        self.told = self.trust;
        self.rotation = Some(Rotation { step: to, ..rotation });
    }

    fn happens(&mut self, what: &Happens) {
        match *what {
            Happens::Begin(kind) if self.open().is_none() => {
                self.rotations += 1;
                self.trust += 1;
                self.told = self.trust;
                let begun = rotation(RotationStep::Begun);
                self.rotation = Some(Rotation { id: self.rotations, kind, ..begun });
            }
            Happens::Begin(_) => {}
            Happens::Turn(hub) => self.turn(hub),
            Happens::Load(hub) if self.hubs[hub].is_some() => self.load(hub),
            Happens::Load(_) => {}
            Happens::Kill(hub) => {
                self.hubs[hub] = None;
                self.spokes
                    .iter_mut()
                    .filter(|spoke| spoke.at == Some(hub))
                    .for_each(|spoke| spoke.at = None);
            }
            Happens::Start(hub) if self.hubs[hub].is_none() => self.load(hub),
            Happens::Start(_) => {}
            Happens::Connect(spoke, hub) => self.connect(spoke, hub),
            Happens::Leave(spoke) => self.spokes[spoke].at = None,
            Happens::Keep(spoke) => self.keep(spoke),
            Happens::Renew(spoke) => self.renew(spoke),
            Happens::Time(seconds) => self.now = self.now.plus(Duration::from_secs(u64::from(seconds))),
        }
    }

    /// Every hub that lives and every spoke whose certificate counts believe each other.
    fn check(&self) {
        for reading in self.hubs.iter().flatten() {
            for spoke in self.spokes.iter().filter(|spoke| self.counts(spoke.leaf)) {
                let leaf = self.leaves[spoke.leaf.unwrap()];
                assert!(
                    reading.roots().contains(&leaf.root),
                    "a hub does not believe {spoke:?}: {reading:?}"
                );
                let shown = reading.root_of(reading.standing.hub_issuer);
                let crossed = reading
                    .standing
                    .cross
                    .iter()
                    .any(|id| id.generation == shown && spoke.believes.contains(&reading.root_of(*id)));
                assert!(spoke.believes.contains(&shown) || crossed, "{spoke:?} does not believe {reading:?}");
            }
        }
    }
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        2 => prop_oneof![Just(RotationKind::Intermediate), Just(RotationKind::Root)].prop_map(Happens::Begin),
        8 => (0..HUBS).prop_map(Happens::Turn),
        3 => (0..HUBS).prop_map(Happens::Load),
        1 => (0..HUBS).prop_map(Happens::Kill),
        2 => (0..HUBS).prop_map(Happens::Start),
        3 => (0..SPOKES, 0..HUBS).prop_map(|(spoke, hub)| Happens::Connect(spoke, hub)),
        1 => (0..SPOKES).prop_map(Happens::Leave),
        5 => (0..SPOKES).prop_map(Happens::Keep),
        4 => (0..SPOKES).prop_map(Happens::Renew),
        2 => (0..600_u16).prop_map(Happens::Time),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nobody_is_locked_out_by_any_order_of_steps_crashes_and_absences(
        story in prop::collection::vec(happens(), 1..150)
    ) {
        let mut world = World::new();
        for what in &story {
            world.happens(what);
            world.check();
        }
        // When everybody is back a replacement under way comes to its end.
        let all = (0..HUBS).map(Happens::Start).chain([Happens::Time(2_000)]);
        let spokes = (0..SPOKES).flat_map(|spoke| [Happens::Connect(spoke, 0), Happens::Keep(spoke)]);
        let hubs = (0..HUBS).flat_map(|hub| [Happens::Load(hub), Happens::Turn(hub)]);
        let round: Vec<_> = all.chain(hubs).chain(spokes).collect();
        for what in round.iter().cycle().take(round.len() * 12) {
            world.happens(what);
            world.check();
        }
        prop_assert!(world.open().is_none(), "{:?}", world.rotation);
        prop_assert!(world.rows.iter().filter(|row| row.active).count() == 3);
    }
}
