//! Which backend gets the packets.

/// What is known of one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its checks succeed, or it has none.
    pub healthy: bool,
    /// Its MAC address is known: packets can be sent to it.
    pub resolved: bool,
}

/// Index of the first backend, in order of preference, that is healthy and resolved.
#[must_use]
pub fn select(backends: impl IntoIterator<Item = Candidate>) -> Option<usize> {
    backends
        .into_iter()
        .position(|backend| backend.healthy && backend.resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn candidate(healthy: bool, resolved: bool) -> Candidate {
        Candidate { healthy, resolved }
    }

    #[test]
    fn the_first_in_order_that_is_both_healthy_and_resolved_is_selected() {
        let (good, sick, lost) = (
            candidate(true, true),
            candidate(false, true),
            candidate(true, false),
        );
        assert_eq!(select([good, good]), Some(0));
        assert_eq!(select([sick, lost, good, good]), Some(2));
        assert_eq!(select([sick, lost, candidate(false, false)]), None);
        assert_eq!(select([]), None);
    }
}
