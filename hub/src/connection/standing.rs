//! Whether the peer is still who it was: its certificate, what it may listen to, what it was told to
//! trust.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, Ended, GO_AWAY_RETRY};

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection<S> {
    /// Looks at itself again after something was revoked, granted or replaced.
    pub(super) async fn access_changed(&mut self) -> Result<(), Ended> {
        self.access.mark_unchanged();
        self.still_counts().await?;
        self.check_listeners().await;
        // Before Welcome nothing is said; after it, everything is.
        if self.trust_told > 0 {
            self.tell_trust();
        }
        Ok(())
    }

    /// Whether the peer's certificate still counts, if it was named by a revocation since it was asked
    /// last.
    pub(super) async fn still_counts(&mut self) -> Result<(), Ended> {
        let revoked = Arc::clone(&self.access.borrow().revoked);
        let concerning = revoked.concerning(&self.caller.peer);
        if concerning <= self.revocation_seen {
            return Ok(());
        }
        self.revocation_seen = concerning;
        let Err(error) = self.terms.commands.identity.still_counts(&self.caller.peer).await else {
            return Ok(());
        };
        match error.expulsion() {
            Some(cause) => self.session.expelled(cause, error.to_string()),
            // Nobody is served whose certificate may be revoked. It can ask again, at the door.
            None => self.session.go_away(error.to_string(), GO_AWAY_RETRY),
        }
        Err(Ended::Expelled(error.to_string()))
    }

    /// Tells the peer what to trust, if there is something newer than it was told.
    pub(super) fn tell_trust(&mut self) {
        let trust = Arc::clone(&self.access.borrow().trust);
        if trust.told().version > self.trust_told {
            self.trust_told = trust.told().version;
            self.session.trust(trust.told().clone());
        }
        if trust.is_replaced(&self.caller.peer) && self.renewing.replaced(trust.told().version) {
            self.session.renew(trust.spread());
        }
    }
}
