//! A connection as bytes on their way, in one direction: they arrive in pieces of any size, and a
//! cut loses what has not arrived.

use std::collections::VecDeque;

use crate::random::Random;

#[derive(Default)]
pub(crate) struct Pipe {
    on_their_way: VecDeque<u8>,
    arrived: Vec<u8>,
    /// Nothing arrives any more, and nobody is told.
    pub(crate) is_dead: bool,
}

impl Pipe {
    pub(crate) fn send(&mut self, payload: &[u8]) {
        let header = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.on_their_way.extend(header.iter().chain(payload));
    }

    /// Lets some bytes arrive.
    pub(crate) fn flow(&mut self, random: &mut Random) {
        if !self.is_dead {
            let bytes = random.below(self.on_their_way.len() + 1);
            self.arrived.extend(self.on_their_way.drain(..bytes));
        }
    }

    pub(crate) fn flow_all(&mut self) {
        if !self.is_dead {
            self.arrived.extend(self.on_their_way.drain(..));
        }
    }

    /// The next frame that has arrived whole.
    pub(crate) fn frame(&mut self) -> Option<Vec<u8>> {
        let header = self.arrived.first_chunk::<4>()?;
        let end = 4 + u32::from_be_bytes(*header) as usize;
        (self.arrived.len() >= end).then(|| self.arrived.drain(..end).skip(4).collect())
    }
}
