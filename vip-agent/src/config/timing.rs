//! What a configuration means in time.

use std::time::Duration;

use vip_proto::Priority;
use vip_proto::election::timing::Pace;

use super::{Cluster, Instance};

/// How long the parts of a failover take at most, without network and scheduling delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long the data plane acts for the VIPs after the agent's last advert.
    pub lease: Duration,
    /// How much longer a Backup of this priority waits than one of priority 256 (RFC 9568 §6.1:
    /// Skew_Time).
    pub skew: Duration,
    /// From the last advert of an Active node that crashed to this node's being Active.
    pub takeover: Duration,
}

impl Timing {
    /// The times of an instance with this priority.
    #[must_use]
    pub fn new(cluster: &Cluster, priority: Priority) -> Self {
        let pace = Pace {
            interval: cluster.advert_interval,
            factor: cluster.down_factor,
        };
        Self {
            lease: pace.lease(),
            skew: pace.skew(priority),
            takeover: pace.down_interval(priority),
        }
    }

    /// The times of this instance.
    #[must_use]
    pub fn of(cluster: &Cluster, instance: &Instance) -> Self {
        Self::new(cluster, instance.priority)
    }
}
