//! Renewing the certificate beside the connection in use, and going over to the one that was made with it.
//!
//! A new key is made here, the hub issues a certificate for it, both are kept, and a further connection
//! is greeted with them. Only then is it used; the one before retires. Until then nothing has changed: if
//! any step fails, the connection in use works on.

use std::sync::Arc;
use std::time::Duration;

use proto::Refusal;
use proto::certs::Trust;
use proto::message::{Reply, Welcome};
use proto::session::FromHub;
use tracing::{debug, info, warn};

use super::super::beside::{Aside, Greeting, Shown, Worked};
use super::super::dial::Dialled;
use super::super::further::{Prepared, Setback};
use super::super::line::{Carried, Line};
use super::super::redial::Failure;
use super::super::renewal::Source;
use super::{Driver, frames, random};
use crate::identity::Identity;

impl Driver {
    /// The hub has said Welcome on the connection in use.
    pub(super) fn linked(&mut self, welcome: &Welcome) {
        let shown = self.shown.as_ref();
        let life = shown.and_then(|shown| {
            let life = shown.identity.life()?;
            Some(if shown.is_new { life.begun(welcome.now) } else { life })
        });
        self.renewal.linked(life, welcome.now, self.started.elapsed(), random);
    }

    /// The connection in use is gone, and with it what was begun over it.
    pub(super) fn unlinked(&mut self) {
        self.beside.greeting = None;
        self.new_key = None;
        self.board.forget_renewal();
        self.renewal.unlinked();
    }

    /// When there is something to do beside the connection in use.
    pub(super) fn due_aside(&self) -> Option<Duration> {
        let session = &self.board.session;
        let retiring = session.retiring().filter_map(|link| session.poll_retiring_timeout(link));
        let greeting = self.beside.greeting.as_ref().and_then(|greeting| greeting.session.poll_timeout());
        let renewal = self.renewal.due().filter(|_| self.may_renew());
        retiring.chain(greeting).chain(renewal).min()
    }

    /// Does what is due beside the connection in use.
    pub(super) fn time_aside(&mut self) {
        let now = self.started.elapsed();
        let retiring: Vec<_> = self.board.session.retiring().collect();
        for link in retiring {
            if let Err(violation) = self.board.session.handle_retiring_timeout(link, now) {
                self.broke(link, &Failure::Violation(violation));
            }
        }
        let greeting = self.beside.greeting.as_mut();
        if let Some(Err(violation)) = greeting.map(|greeting| greeting.session.handle_timeout(now)) {
            self.not_renewed(Setback::Failed(violation.to_string()));
        }
        if self.may_renew()
            && let Some(source) = self.renewal.begin(now)
        {
            self.begin_renewal(source);
        }
    }

    /// Takes what happened beside the connection in use, which is `line` if there is one.
    pub(super) fn aside(&mut self, aside: Aside, line: Option<&mut Line>) {
        match aside {
            Aside::Retiring(link, carried) => {
                let now = self.started.elapsed();
                let session = &mut self.board.session;
                let outcome = frames(carried, |frame| session.handle_retiring_frame(link, frame, now));
                if let Err(failure) = outcome {
                    self.broke(link, &failure);
                }
            }
            Aside::Greeting(carried) => match (self.greeted(carried), line) {
                (Ok(true), Some(line)) => self.go_over(line),
                (Ok(_), _) => {}
                (Err(setback), _) => self.not_renewed(setback),
            },
            Aside::Worked(Worked::Prepared(prepared)) if self.renewal.is_under_way() => {
                self.prepared(prepared);
            }
            Aside::Worked(Worked::Reached(reached)) if self.renewal.is_under_way() => self.reached(reached),
            Aside::Worked(Worked::TrustKept(kept)) => self.trust_kept(kept),
            // The connection that it was for is gone.
            Aside::Worked(Worked::Prepared(_) | Worked::Reached(_) | Worked::Done) => {}
        }
    }

    /// The hub tells what is to be trusted: it is kept, the newest last.
    pub(super) fn trust_told(&mut self, trust: Trust) {
        if self.trust.next.as_ref().is_none_or(|next| next.version < trust.version) {
            self.trust.next = Some(trust);
        }
        self.keep_trust();
    }

    /// The hub has answered the request for a certificate.
    pub(super) fn renewed(&mut self, outcome: Result<Reply, Refusal>) {
        match (outcome, self.new_key.take()) {
            (Ok(Reply::Renewed(enrolled)), Some(key)) => {
                let identity = Arc::new(Identity::issued(key, *enrolled));
                let (dialer, within) = (self.dialer.clone(), self.dial_timeout);
                self.beside.work(async move {
                    Worked::Reached(dialer.keep_and_reach(identity, within).await.map(Box::new))
                });
            }
            (Err(refusal), _) => self.not_renewed(Setback::Failed(refusal.to_string())),
            // The session takes no other reply for one to this, and the key is there while it is asked.
            (Ok(_), _) => self.not_renewed(Setback::Failed("the hub's answer makes no sense".to_owned())),
        }
    }

    fn may_renew(&self) -> bool {
        self.board.session.is_open() && !self.redial.is_going_away() && !self.board.is_closing()
    }

    fn begin_renewal(&mut self, source: Source) {
        let Some(shown) = &self.shown else { return };
        debug!(?source, "renewing the certificate");
        let (dialer, current) = (self.dialer.clone(), Arc::clone(&shown.identity));
        self.beside.work(async move { Worked::Prepared(dialer.prepare(current, source).await) });
    }

    fn prepared(&mut self, prepared: Result<Prepared, Setback>) {
        match prepared {
            Ok(Prepared::Request { csr, key }) => {
                self.new_key = Some(key);
                if let Err(error) = self.board.renew(csr) {
                    self.not_renewed(Setback::Failed(error.to_string()));
                }
            }
            Ok(Prepared::Kept(identity)) => {
                let (dialer, within) = (self.dialer.clone(), self.dial_timeout);
                self.beside.work(async move {
                    Worked::Reached(dialer.reach_as(identity, within).await.map(Box::new))
                });
            }
            Err(setback) => self.not_renewed(setback),
        }
    }

    fn reached(&mut self, reached: Result<Box<Dialled>, Setback>) {
        match reached {
            Ok(dialled) => {
                let Dialled { stream, address, is_new, identity } = *dialled;
                let session = self.board.session.successor(self.started.elapsed());
                let line = Line::new(stream, session.frame_bytes_max());
                let shown = Shown { identity, is_new };
                self.beside.greeting = Some(Greeting { line, session, shown, address });
            }
            Err(setback) => self.not_renewed(setback),
        }
    }

    /// Whether the next connection is open now.
    fn greeted(&mut self, carried: Carried) -> Result<bool, Setback> {
        let now = self.started.elapsed();
        let Some(Greeting { session, .. }) = &mut self.beside.greeting else { return Ok(false) };
        let outcome = frames(carried, |frame| session.handle_frame(frame, now));
        if outcome.is_ok() && session.is_open() {
            return Ok(true);
        }
        while let Some(event) = session.poll_event() {
            if let FromHub::Expelled { reason, .. } = event {
                return Err(Setback::Refused(reason));
            } else if let FromHub::GoAway { reason, .. } = event {
                return Err(Setback::Failed(reason));
            }
        }
        match outcome {
            Ok(()) => Ok(false),
            Err(Failure::NotBelieved(reason)) => Err(Setback::Refused(reason)),
            Err(failure) => Err(Setback::Failed(failure.to_string())),
        }
    }

    /// Uses the next connection from now on; the one before retires.
    fn go_over(&mut self, line: &mut Line) {
        let Some(Greeting { line: next, session, shown, address }) = self.beside.greeting.take() else {
            return;
        };
        let before = self.board.session.link();
        if !self.board.session.hand_over(session) {
            return;
        }
        info!(%address, "the certificate is renewed; going over to a new link");
        self.beside.retire(before, std::mem::replace(line, next));
        self.redial.dialled(&address, false);
        self.shown = Some(shown);
        self.renewal.done();
    }

    /// The renewal did not work. The connection in use works on, and it is tried again.
    fn not_renewed(&mut self, setback: Setback) {
        self.beside.greeting = None;
        self.new_key = None;
        let wait = self.renewal.failed(self.started.elapsed(), random);
        warn!(reason = %setback, ?wait, "the certificate was not renewed; the one in use counts, trying again");
        // After a restart the refused one would be of no use.
        if let (Setback::Refused(_), Some(shown)) = (&setback, &self.shown) {
            let (dialer, identity) = (self.dialer.clone(), Arc::clone(&shown.identity));
            self.beside.work(async move {
                if let Err(setback) = dialer.keep(identity).await {
                    warn!(reason = %setback, "the certificate in use could not be kept in the data folder");
                }
                Worked::Done
            });
        }
    }

    /// A retiring connection broke: what it had comes again over the one in use.
    fn broke(&mut self, link: u64, failure: &Failure) {
        info!(%failure, "a link that was about to end is gone");
        self.beside.drop_line(link);
        self.board.session.retired(link);
    }

    fn keep_trust(&mut self) {
        if self.trust.is_busy {
            return;
        }
        let Some(trust) = self.trust.next.take() else { return };
        self.trust.is_busy = true;
        let dialer = self.dialer.clone();
        self.beside.work(async move { Worked::TrustKept(dialer.keep_trust(trust).await) });
    }

    fn trust_kept(&mut self, kept: Result<u64, String>) {
        self.trust.is_busy = false;
        match kept {
            Ok(version) => {
                debug!(version, "what is trusted is kept");
                self.board.session.trust_kept(version);
            }
            Err(reason) => {
                warn!(%reason, "what is to be trusted could not be kept in the data folder; check who owns it");
            }
        }
        self.keep_trust();
    }
}
