//! The task that moves replacements of leaves and authorities on, and the desk where they are asked for.
//!
//! Nothing is kept here that the tables do not tell: each second the task reads the row of the replacement
//! under way and the facts, asks [`next`] what is to be done, and does it in one transaction. So a hub that
//! is killed at any point is followed by itself or another one, which comes to the same step. The task
//! also renews the hub's own leaf and says what ends soon.

use std::sync::Arc;
use std::time::Duration;

use db::{Hanging, RecordError, RotationRow, Rotations};
use proto::rotation::{
    AuthorityStatus, Begun, CertsStatus, HubTrust, KeyPlace, Pace, RotationKind, RotationStep,
};
use proto::{HubId, Refusal, Timestamp};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::access::{AccessWatch, Roster};
use crate::clock::Clock;
use crate::identity::expiry::{Essential, Reminders};
use crate::identity::rotation::{Facts, Next, next};
use crate::identity::standing::{AuthorityId, AuthorityKind};
use crate::identity::{HubIdentity, IdentityError};
use crate::metrics::Metrics;

mod elsewhere;

pub(crate) use elsewhere::{Asked, Taken};

/// How often the task looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Steps that are done one after the other before anything else gets its turn.
const STEPS_PER_TURN: usize = 8;

/// What is written beside certificates that are revoked because what they hang from was replaced in haste.
const HASTE: &str = "replaced with --now";

/// Names a step at which replacements stay until the hub is started without it: `before-` or `after-` and
/// the step, such as `before-retired`. Specs kill the hub there; it changes nothing else.
const HOLD_VARIABLE: &str = "EVENTFLOW_ROTATION_HOLD";

/// Everything that replacements need, cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RotationDesk {
    identity: Arc<HubIdentity>,
    access: AccessWatch,
    roster: Roster,
    hub: HubId,
    clock: Clock,
    wake: Arc<Notify>,
}

/// The task.
pub(crate) struct RotationTask {
    desk: RotationDesk,
    metrics: Metrics,
    noted: Option<HubTrust>,
    reminders: Reminders,
    hold: Option<String>,
}

/// Why a turn of the task did not come to its end.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("what is trusted could not be read: {0}")]
    Refresh(Refusal),
}

/// Whether there may be something to do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Moved,
    Idle,
}

impl RotationDesk {
    pub(crate) fn new(identity: Arc<HubIdentity>, access: AccessWatch, hub: HubId, clock: Clock) -> Self {
        Self { identity, access, roster: Roster::default(), hub, clock, wake: Arc::new(Notify::new()) }
    }

    /// Who is connected.
    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Begins a replacement, or says which one is under way.
    pub(crate) async fn begin(
        &self,
        kind: RotationKind,
        pace: Pace,
        agent: &str,
    ) -> Result<(Begun, RotationRow), Refusal> {
        let begun = self.rotations().begin(kind, pace, agent).await.map_err(unavailable)?;
        self.wake.notify_one();
        Ok(begun)
    }

    /// How everything stands.
    pub(crate) async fn status(&self) -> Result<CertsStatus, Refusal> {
        let failed = |error: IdentityError| error.to_refusal();
        let rotations = self.rotations();
        let row = rotations.latest().await.map_err(unavailable)?;
        let waits_for = match &row {
            Some(row) => match next(&row.rotation, &self.facts(row).await.map_err(unavailable)?) {
                Next::Wait(waits) => waits,
                Next::Step(_) | Next::Revoke => Vec::new(),
            },
            None => Vec::new(),
        };
        let trust = self.access.now().trust.told().version;
        let behind = self.roster.behind(trust);
        let ends = self.identity.ends().map_err(failed)?;
        let warnings = ends.warnings(self.clock.now()).into_iter().map(|(_, text)| text).collect();
        Ok(CertsStatus {
            authorities: self.authorities(),
            leaf_ends: ends.hub_leaf,
            rotation: row.map(|row| row.rotation),
            waits_for,
            trust,
            hubs: rotations.hubs().await.map_err(unavailable)?,
            spokes_behind: behind.named,
            spokes_behind_count: behind.count,
            warnings,
        })
    }

    fn authorities(&self) -> Vec<AuthorityStatus> {
        let (rows, standing) = self.identity.standing();
        let status = |row: db::CertificateRow| {
            let id = AuthorityId::parse(&row.id).filter(|id| standing.active.contains(id))?;
            // It is nothing that issues, and goes with the root that has signed it.
            if id.kind == AuthorityKind::Cross {
                return None;
            }
            let key = if row.key.is_some() { KeyPlace::Here } else { KeyPlace::Elsewhere };
            let state = standing.state(id);
            (row.version == 0).then_some(AuthorityStatus {
                id: row.id,
                state,
                key,
                ends: row.not_after,
                fingerprint: row.fingerprint,
            })
        };
        rows.into_iter().filter_map(status).collect()
    }

    fn rotations(&self) -> Rotations {
        self.identity.rotations()
    }

    async fn facts(&self, row: &RotationRow) -> Result<Facts, RecordError> {
        let rotations = self.rotations();
        let rotation = &row.rotation;
        let now = rotations.now().await?;
        let hanging = match rotation.step {
            RotationStep::Activated => rotations.hanging(&self.identity.hanging_from(rotation), now).await?,
            RotationStep::Begun | RotationStep::Prepared | RotationStep::Retired | RotationStep::Archived => {
                Hanging::default()
            }
        };
        Ok(Facts {
            now,
            told: row.trust,
            hubs: rotations.hubs().await?,
            no_longer: self.identity.no_longer(rotation),
            hanging,
            missing: self.identity.missing(rotation),
            renew_within: self.identity.times().renew_within,
        })
    }
}

impl RotationTask {
    pub(crate) fn new(desk: RotationDesk, metrics: Metrics) -> Self {
        let hold = std::env::var(HOLD_VARIABLE).ok();
        Self { desk, metrics, noted: None, reminders: Reminders::default(), hold }
    }

    /// Works until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut failing, wake) = (false, Arc::clone(&self.desk.wake));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = wake.notified() => {}
                _ = ticks.tick() => {}
            }
            // To its end, also when the hub stops: a connection that is given back in the middle of a statement
            // may wait for an answer for ever, and then nobody can close the database.
            let turned = self.turn().await;
            match &turned {
                Err(error) if !failing => {
                    error!(%error, "certificates cannot be looked after; trying again each second");
                }
                Err(_) | Ok(()) => {}
            }
            failing = turned.is_err();
        }
    }

    /// Looks after everything once.
    async fn turn(&mut self) -> Result<(), TurnError> {
        let now = self.desk.clock.now();
        let renewed = self.desk.identity.renew_leaf_if_due(now).await;
        self.tell_ends(now)?;
        renewed?;
        for _ in 0..STEPS_PER_TURN {
            self.note_trust().await?;
            if self.rotate().await? == Turn::Idle {
                break;
            }
        }
        Ok(())
    }

    fn tell_ends(&mut self, now: Timestamp) -> Result<(), TurnError> {
        let ends = self.desk.identity.ends()?;
        for essential in Essential::ALL {
            self.metrics.set_certificate_expires(essential, ends.of(essential).since(now));
        }
        for (essential, warning) in ends.warnings(now) {
            if self.reminders.remind(essential, now) {
                warn!("{warning}");
            }
        }
        Ok(())
    }

    /// Records what this hub works with and what its spokes have kept, if that has changed.
    async fn note_trust(&mut self) -> Result<(), TurnError> {
        let loaded = self.desk.access.now().trust.told().version;
        let kept = self.desk.roster.kept().map_or(loaded, |kept| kept.min(loaded));
        let trust = HubTrust { hub: self.desk.hub.clone(), loaded, kept };
        if self.noted.as_ref() != Some(&trust) {
            self.desk.rotations().note_trust(&trust).await?;
            self.noted = Some(trust);
        }
        Ok(())
    }

    /// Moves the replacement under way on by a step, if it is time.
    async fn rotate(&self) -> Result<Turn, TurnError> {
        let desk = &self.desk;
        let Some(row) = desk.rotations().open().await? else {
            return self.begin_if_due().await;
        };
        // What is done is decided by what this hub has read, which must be what the last step has left.
        if desk.access.now().trust.told().version < row.trust {
            self.refresh().await?;
            return Ok(Turn::Moved);
        }
        match next(&row.rotation, &desk.facts(&row).await?) {
            Next::Wait(_) => Ok(Turn::Idle),
            Next::Step(to) => self.step(&row, to).await,
            Next::Revoke => {
                let from = desk.identity.hanging_from(&row.rotation);
                let revoked = desk.rotations().revoke_hanging(&from, HASTE, desk.hub.as_str()).await?;
                warn!(revoked, issuers = from.issuers.join(" "), "certificates were revoked: {HASTE}");
                self.refresh().await?;
                Ok(Turn::Moved)
            }
        }
    }

    async fn step(&self, row: &RotationRow, to: RotationStep) -> Result<Turn, TurnError> {
        let desk = &self.desk;
        if self.holds("before", to) {
            return Ok(Turn::Idle);
        }
        let changes = desk.identity.changes(&row.rotation, to, desk.clock.now())?;
        if desk.rotations().step(row, to, &changes, desk.hub.as_str()).await? {
            let (rotation, kind) = (row.rotation.id, row.rotation.kind.as_str());
            info!(rotation, kind, step = to.as_str(), "a replacement of certificates has moved on");
        }
        if self.holds("after", to) {
            std::future::pending::<()>().await;
        }
        self.refresh().await?;
        Ok(Turn::Moved)
    }

    /// Issuers that come to their end are replaced without anybody's asking, if their root's key is here.
    async fn begin_if_due(&self) -> Result<Turn, TurnError> {
        let desk = &self.desk;
        if !desk.identity.ends()?.issuers_due(desk.clock.now()) || desk.identity.root_key_is_elsewhere() {
            return Ok(Turn::Idle);
        }
        let kind = RotationKind::Intermediate;
        let (begun, row) = desk.rotations().begin(kind, Pace::Orderly, desk.hub.as_str()).await?;
        if begun == Begun::New {
            info!(rotation = row.rotation.id, "issuing certificates come to their end and are replaced");
        }
        Ok(Turn::Moved)
    }

    fn holds(&self, when: &str, step: RotationStep) -> bool {
        self.hold.as_ref().is_some_and(|hold| *hold == format!("{when}-{}", step.as_str()))
    }

    async fn refresh(&self) -> Result<(), TurnError> {
        self.desk.access.refresh().await.map_err(TurnError::Refresh)
    }
}

fn unavailable(error: RecordError) -> Refusal {
    Refusal::Unavailable { reason: error.to_string() }
}
