//! A connection as bytes on their way: they arrive in pieces of any size, a cut loses what has not
//! arrived, and each end notices the cut in its own time.

use std::collections::VecDeque;

use super::random::Random;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    underway: VecDeque<u8>,
    arrived: Vec<u8>,
}

impl Pipe {
    pub(super) fn send(&mut self, payload: &[u8]) {
        let header = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.underway.extend(header.iter().chain(payload));
    }

    /// Lets some bytes arrive.
    pub(super) fn flow(&mut self, random: &mut Random) {
        let bytes = random.below(self.underway.len() + 1);
        self.arrived.extend(self.underway.drain(..bytes));
    }

    /// Lets all bytes arrive.
    pub(super) fn flow_all(&mut self) {
        self.arrived.extend(self.underway.drain(..));
    }

    /// The next frame that has arrived whole.
    pub(super) fn frame(&mut self) -> Option<Vec<u8>> {
        let header = self.arrived.first_chunk::<4>()?;
        let end = 4 + usize::try_from(u32::from_be_bytes(*header)).ok()?;
        (self.arrived.len() >= end).then(|| self.arrived.drain(..end).skip(4).collect())
    }

    /// Bytes that the reader has not taken.
    pub(super) fn unread(&self) -> usize {
        self.underway.len() + self.arrived.len()
    }
}

/// Both directions, and who still believes in them.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) to_hub: Pipe,
    pub(super) to_spoke: Pipe,
    /// Nothing passes any more.
    pub(super) cut: bool,
}
