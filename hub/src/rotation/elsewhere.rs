//! The part of the desk for roots whose keys are elsewhere: requests go out, what was signed comes in, and
//! whoever cannot have it signed withdraws.

use db::{Requested, RotationRow, StepChanges};
use proto::Refusal;
use proto::rotation::{Rotation, RotationKind, RotationStep};
use tracing::warn;

use super::{RotationDesk, unavailable};
use crate::identity::{IdentityError, Imported};

/// What came of a wish for requests.
pub(crate) enum Asked {
    /// These are to be signed for this replacement.
    Requests {
        rotation: Rotation,
        /// DER, the one for hubs first.
        requests: Vec<Vec<u8>>,
    },
    /// Another replacement is under way, and there is one at a time.
    UnderWay(Rotation),
}

/// What was taken.
pub(crate) struct Taken {
    pub(crate) rotation: u64,
    /// What was stored, by id.
    pub(crate) stored: Vec<String>,
    /// What a person should know.
    pub(crate) advice: Vec<String>,
}

impl RotationDesk {
    /// Requests for issuers: new ones if a replacement of `kind` begins with this or has begun, else those
    /// that were given out before.
    pub(crate) async fn request(&self, kind: RotationKind, agent: &str) -> Result<Asked, Refusal> {
        if kind == RotationKind::Leaf {
            let reason = "leaves hang from issuers, which hubs have; a root signs nothing for them";
            return Err(Refusal::Invalid { reason: reason.to_owned() });
        }
        let rows = self.identity.new_requests(self.clock.now()).map_err(|error| error.to_refusal())?;
        match self.rotations().request(kind, &rows, agent).await.map_err(unavailable)? {
            Requested::Stored(row) => {
                self.looked_after().await;
                let requests = rows.into_iter().map(|row| row.cert).collect();
                Ok(Asked::Requests { rotation: row.rotation, requests })
            }
            Requested::UnderWay(row) => {
                let waits = row.rotation.kind == kind && row.rotation.step == RotationStep::Begun;
                let before = self.rotations().requests().await.map_err(unavailable)?;
                let requests = self.identity.requests(before).map_err(|error| error.to_refusal())?;
                Ok(match waits && !requests.is_empty() {
                    true => Asked::Requests { rotation: row.rotation, requests },
                    false => Asked::UnderWay(row.rotation),
                })
            }
        }
    }

    /// Takes what was signed for the requests of the replacement under way. What was taken before is taken
    /// again, and nothing is done.
    pub(crate) async fn import(&self, certificates: Vec<Vec<u8>>, agent: &str) -> Result<Taken, Refusal> {
        // In this order: what is read here later belongs to this replacement, or its step fails.
        let row = self.rotations().open().await.map_err(unavailable)?;
        self.access.refresh().await?;
        let row = row.ok_or_else(|| IdentityError::NothingRequested.to_refusal())?;
        let before = self.identity.stored(&certificates);
        let imported = match self.identity.imported(&row.rotation, certificates, self.clock.now()) {
            Err(IdentityError::NothingRequested) if before.is_some() => {
                let stored = before.unwrap_or_default();
                return Ok(Taken { rotation: row.rotation.id, stored, advice: Vec::new() });
            }
            imported => imported.map_err(|error| error.to_refusal())?,
        };
        let Imported { rows, marks, advice } = imported;
        let stored: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
        let roots = rows.iter().filter(|row| marks.iter().any(|mark| mark.id == row.id));
        let note =
            roots.map(|root| format!("{} has the SHA-256 {}", root.id, hex::encode(root.fingerprint))).next();
        let changes = StepChanges { stored: rows, marks, note: note.clone(), ..StepChanges::default() };
        if !self.rotations().step(&row, RotationStep::Prepared, &changes, agent).await.map_err(unavailable)? {
            let reason = "the replacement was withdrawn or went on meanwhile; see eventflow certs status";
            return Err(Refusal::Unavailable { reason: reason.to_owned() });
        }
        if let Some(note) = note {
            warn!(by = agent, "a root from elsewhere was imported: {note}");
        }
        self.looked_after().await;
        Ok(Taken { rotation: row.rotation.id, stored, advice })
    }

    /// Ends the replacement under way, if nothing of it was prepared; its number.
    pub(crate) async fn withdraw(&self, agent: &str) -> Result<u64, Refusal> {
        let row = self.rotations().open().await.map_err(unavailable)?;
        let nothing =
            || Refusal::Invalid { reason: "no replacement of certificates is under way".to_owned() };
        let row = row.ok_or_else(nothing)?;
        if !self.rotations().withdraw(&row, agent).await.map_err(unavailable)? {
            let reason = format!("{}; one that is past its begin goes to its end by itself", under_way(&row));
            return Err(Refusal::Invalid { reason });
        }
        self.looked_after().await;
        Ok(row.rotation.id)
    }

    /// What has changed counts on this hub at once, and its task looks. It is done, even if it cannot be
    /// read again right now.
    async fn looked_after(&self) {
        if let Err(refusal) = self.access.refresh().await {
            warn!(%refusal, "a replacement has moved on; this hub follows when it can be read");
        }
        self.wake.notify_one();
    }
}

fn under_way(row: &RotationRow) -> String {
    let Rotation { id, kind, step, .. } = &row.rotation;
    let (kind, step) = (kind.as_str(), step.as_str());
    format!("replacement {id} of kind {kind} is under way and there is one at a time: it is {step}")
}
