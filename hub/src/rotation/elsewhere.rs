//! The part of the desk for roots whose keys are elsewhere: requests go out, what was signed comes in, and
//! whoever cannot have it signed withdraws.

use db::{RotationRow, StepChanges};
use proto::Refusal;
use proto::rotation::{Rotation, RotationKind, RotationStep};

use super::{RotationDesk, unavailable};
use crate::identity::{IdentityError, Imported};

impl RotationDesk {
    /// Requests for issuers: new ones if a replacement of `kind` begins with this or has begun, else those
    /// that were given out before.
    pub(crate) async fn request(
        &self,
        kind: RotationKind,
        agent: &str,
    ) -> Result<(Rotation, Vec<Vec<u8>>), Refusal> {
        if kind == RotationKind::Leaf {
            let reason = "leaves hang from issuers, which hubs have; a root signs nothing for them";
            return Err(Refusal::Invalid { reason: reason.to_owned() });
        }
        let rows = self.identity.new_requests(self.clock.now()).map_err(|error| error.to_refusal())?;
        let (stored, row) = self.rotations().request(kind, &rows, agent).await.map_err(unavailable)?;
        if stored {
            self.looked_after().await?;
            return Ok((row.rotation, rows.into_iter().map(|row| row.cert).collect()));
        }
        let waits = row.rotation.kind == kind && row.rotation.step == RotationStep::Begun;
        let before = self.rotations().requests().await.map_err(unavailable)?;
        if waits && !before.is_empty() {
            return Ok((row.rotation, before.into_iter().map(|row| row.cert).collect()));
        }
        Err(Refusal::Invalid { reason: under_way(&row) })
    }

    /// Takes what was signed for the requests of the replacement under way: its number, and what was stored.
    pub(crate) async fn import(
        &self,
        certificates: Vec<Vec<u8>>,
        agent: &str,
    ) -> Result<(u64, Imported), Refusal> {
        // Another hub may have given out the requests.
        self.access.refresh().await?;
        let row = self.rotations().open().await.map_err(unavailable)?;
        let row = row.ok_or_else(|| IdentityError::NothingRequested.to_refusal())?;
        let imported = self.identity.imported(&row.rotation, certificates, self.clock.now());
        let imported = imported.map_err(|error| error.to_refusal())?;
        let changes = StepChanges { stored: imported.rows.clone(), ..StepChanges::default() };
        if !self.rotations().step(&row, RotationStep::Prepared, &changes, agent).await.map_err(unavailable)? {
            let reason = "the replacement was withdrawn or went on meanwhile; see eventflow certs status";
            return Err(Refusal::Unavailable { reason: reason.to_owned() });
        }
        self.looked_after().await?;
        Ok((row.rotation.id, imported))
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
        self.looked_after().await?;
        Ok(row.rotation.id)
    }

    /// What has changed counts on this hub at once, and its task looks.
    async fn looked_after(&self) -> Result<(), Refusal> {
        self.access.refresh().await?;
        self.wake.notify_one();
        Ok(())
    }
}

fn under_way(row: &RotationRow) -> String {
    let Rotation { id, kind, step, .. } = &row.rotation;
    format!(
        "replacement {id} of kind {} is under way and there is one at a time: it is {}",
        kind.as_str(),
        step.as_str()
    )
}
