//! Acks with effects that the hub has not answered, and who wants to know what came of them.

use std::collections::HashMap;

use proto::chain::{Chain, Chained};
use proto::message::{Answer, Reply, Verdict};
use proto::session::{RequestKey, SpokeSession};
use proto::{Position, Refusal};
use tracing::{debug, warn};

use crate::consumer::{ChainError, Told};

#[derive(Default)]
pub(super) struct Chains {
    /// As many as deliveries may be without an answer.
    waiting: HashMap<RequestKey, Waiting>,
}

struct Waiting {
    position: Position,
    told: Option<Told>,
}

impl Chains {
    /// Says an ack with effects, of a delivery that came over `connection`.
    pub(super) fn say(
        &mut self,
        session: &mut SpokeSession,
        connection: u64,
        chain: Box<Chain>,
        told: Option<Told>,
    ) {
        let Chain { listener, position, attempt, .. } = *chain;
        match session.chain(connection, chain) {
            Ok(Some(key)) => drop(self.waiting.insert(key, Waiting { position, told })),
            // The connection is gone, and the delivery with it.
            Ok(None) => tell(told, Err(ChainError::Stale)),
            Err(error) => {
                let reason = error.to_string();
                let verdict = Verdict::Fail { reason: reason.clone(), after_ms: None };
                session.answer(connection, Answer { listener, position, attempt, verdict });
                refused(position, Refusal::Invalid { reason }, told);
            }
        }
    }

    /// Takes the answer to a chain. Gives back one that is to something else.
    pub(super) fn answered(
        &mut self,
        key: RequestKey,
        outcome: Result<Reply, Refusal>,
    ) -> Option<Result<Reply, Refusal>> {
        let Some(Waiting { position, told }) = self.waiting.remove(&key) else { return Some(outcome) };
        match outcome {
            Ok(Reply::Chained(Chained::Committed(appended))) => tell(told, Ok(appended)),
            Ok(Reply::Chained(Chained::Stale)) => {
                debug!(%position, "an ack with effects came too late; the event is with another member");
                tell(told, Err(ChainError::Stale));
            }
            // The session takes no other reply for one to a chain.
            Ok(_) | Err(Refusal::Stopping) => tell(told, Err(ChainError::Unknown)),
            Err(refusal) => refused(position, refusal, told),
        }
        None
    }

    /// The link of a chain has ended before its answer.
    pub(super) fn lost(&mut self, key: RequestKey) {
        if let Some(Waiting { position, told }) = self.waiting.remove(&key) {
            debug!(%position, "the link ended before an ack with effects was answered");
            tell(told, Err(ChainError::Unknown));
        }
    }
}

fn refused(position: Position, refusal: Refusal, told: Option<Told>) {
    warn!(%position, %refusal, "an ack with effects was refused: nothing of it is stored, its event counts as failed");
    tell(told, Err(ChainError::Refused(refusal)));
}

/// Who has given up waiting does not want to know.
fn tell(told: Option<Told>, outcome: Result<Vec<proto::message::Appended>, ChainError>) {
    if let Some(told) = told {
        let _ = told.send(outcome);
    }
}
