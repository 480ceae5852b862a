//! What is known of the backends, shared between checks, neighbour watch, steering and status.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vip_proto::backend::Candidate;

use super::neighbours::Reach;

/// One backend's present condition.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Its name.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// Whether its check passes; `None`: not checked yet.
    pub passes: Option<bool>,
    /// Result of the last check, as a phrase.
    pub last_check: String,
    /// How it is reached, if its MAC address is resolved and it is on a network this node is connected
    /// to.
    pub reach: Option<Reach>,
    /// Why its MAC address is not known, as a phrase.
    pub trouble: Option<String>,
    /// Whether it gets the packets.
    pub active: bool,
    /// Whether the agent before this one steered to it: it counts as healthy until it is known not to
    /// be.
    pub kept: bool,
}

impl Condition {
    /// What the choice of the active backend depends on.
    #[must_use]
    pub fn candidate(&self) -> Candidate {
        Candidate {
            healthy: self.passes.unwrap_or(self.kept),
            resolved: self.reach.is_some() || (self.kept && self.trouble.is_none()),
        }
    }

    /// Whether packets can be steered to it.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let Candidate { healthy, resolved } = self.candidate();
        healthy && resolved
    }
}

/// The backends of one instance, in order of preference.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Vec<Condition>>>);

impl Board {
    /// A board with these backends.
    #[must_use]
    pub fn new(backends: Vec<Condition>) -> Self {
        Self(Arc::new(Mutex::new(backends)))
    }

    /// Exclusive access; short, and never across an await.
    pub fn lock(&self) -> MutexGuard<'_, Vec<Condition>> {
        // The data is plain values: a panic elsewhere cannot have left it half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of what is known.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Condition> {
        self.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kept: bool, passes: Option<bool>, trouble: Option<&str>) -> Condition {
        Condition {
            name: "one".to_owned(),
            address: [10, 0, 0, 1].into(),
            passes,
            last_check: String::new(),
            reach: None,
            trouble: trouble.map(str::to_owned),
            active: false,
            kept,
        }
    }

    #[test]
    fn a_kept_backend_is_healthy_until_it_is_known_not_to_be() {
        assert!(condition(true, None, None).is_healthy());
        assert!(!condition(false, None, None).is_healthy());
        assert!(!condition(true, Some(false), None).is_healthy());
        assert!(!condition(true, None, Some("its MAC address does not resolve")).is_healthy());
    }
}
