//! The replacement of certificates as people and programs see it.

use std::fmt::Write as _;

use proto::Timestamp;
use proto::rotation::{
    AuthorityState, AuthorityStatus, CertsStatus, KeyPlace, Pace, Rotation, RotationStep, WaitsFor,
};

use crate::output::Shown;

impl Shown for Rotation {
    fn for_people(&self) -> String {
        let pace = match self.pace {
            Pace::Orderly => "",
            Pace::Hasty => ", in haste",
        };
        let mut text =
            format!("replacement {} of kind {}{pace}, by {}", self.id, self.kind.as_str(), self.agent);
        let steps = [
            (RotationStep::Begun, Some(self.begun)),
            (RotationStep::Prepared, self.prepared),
            (RotationStep::Activated, self.activated),
            (RotationStep::Retired, self.retired),
            (RotationStep::Archived, self.archived),
        ];
        // It went from its begin to its end, and nothing was changed by it.
        if let (None, Some(at)) = (self.prepared, self.archived) {
            let _ = write!(text, "\n  begun      {}\n  withdrawn  {at}", self.begun);
            return text;
        }
        for (step, at) in steps {
            let at = at.map_or_else(|| "-".to_owned(), |at: Timestamp| at.to_string());
            // Writing to a string never fails.
            let _ = write!(text, "\n  {:<10} {at}", step.as_str());
        }
        text
    }
}

impl Shown for CertsStatus {
    fn for_people(&self) -> String {
        let mut text = String::new();
        for AuthorityStatus { id, state, key, ends, fingerprint } in &self.authorities {
            let state = match state {
                AuthorityState::Next => "comes next",
                AuthorityState::InUse => "in use",
                AuthorityState::Former => "was in use",
            };
            let key = match key {
                KeyPlace::Here => "",
                KeyPlace::Elsewhere => ", its key is not here",
            };
            let _ = writeln!(text, "{id:<16} {state}, ends {ends}, SHA-256 {}{key}", start_of(fingerprint));
        }
        let _ = writeln!(text, "{:<16} ends {}", "this hub's leaf", self.leaf_ends);
        for hub in &self.hubs {
            let _ = writeln!(
                text,
                "hub {}: works with version {} of what is trusted, its spokes have kept {}; the newest is {}",
                hub.hub, hub.loaded, hub.kept, self.trust
            );
        }
        match &self.rotation {
            Some(rotation) => text.push_str(&rotation.for_people()),
            None => text.push_str("nothing was ever replaced"),
        }
        for wait in &self.waits_for {
            let _ = write!(text, "\n  waits for {}", waits_for(wait, self));
        }
        for warning in &self.warnings {
            let _ = write!(text, "\nwarning: {warning}");
        }
        text
    }
}

/// Enough of a fingerprint to tell authorities apart; `--json` shows the whole.
fn start_of(fingerprint: &[u8; 32]) -> String {
    let mut digits = hex::encode(fingerprint);
    digits.truncate(16);
    digits
}

fn waits_for(wait: &WaitsFor, status: &CertsStatus) -> String {
    match wait {
        WaitsFor::Hub(hub) => format!("hub {hub} to read what is trusted"),
        WaitsFor::Spokes { hub } => {
            let mut text = format!("spokes of hub {hub} to keep what is trusted");
            if status.spokes_behind_count > 0 {
                let named = status.spokes_behind.join(", ");
                let _ = write!(text, " (at the hub that was asked: {}, {named})", status.spokes_behind_count);
            }
            text
        }
        WaitsFor::Leaves { leaves, until } => {
            format!("{leaves} certificates that hang from what is replaced; the last ends at {until}")
        }
        WaitsFor::Renewals { until } => format!("spokes to renew, until {until}"),
        WaitsFor::Operator { advice } => format!("an operator: {advice}"),
    }
}
