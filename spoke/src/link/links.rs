//! Which connections are up: the one in use, and those before it that retire.

use proto::limits::RETIRING_LINKS_MAX;

/// The numbers of the connections on which deliveries can still be answered; 0 is none. What came over
/// any other one is dead: it comes again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Links([u64; RETIRING_LINKS_MAX + 1]);

impl Links {
    /// Whether `connection` is up.
    pub(crate) fn hold(&self, connection: u64) -> bool {
        connection != 0 && self.0.contains(&connection)
    }
}

impl FromIterator<u64> for Links {
    fn from_iter<I: IntoIterator<Item = u64>>(connections: I) -> Self {
        let mut links = Self::default();
        links.0.iter_mut().zip(connections).for_each(|(place, connection)| *place = connection);
        links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_are_up_are_told_from_others() {
        let links = Links::from_iter([4, 2]);
        assert!(links.hold(4) && links.hold(2) && !links.hold(3) && !links.hold(0));
    }
}
