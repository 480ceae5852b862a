//! What a configuration means in time.

use std::time::Duration;

use vip_proto::Priority;

use super::{Cluster, Instance};

/// How long the parts of a failover take at most, without network and scheduling delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long the data plane acts for the VIPs after the agent's last advert:
    /// down factor × interval − interval / 8.
    pub lease: Duration,
    /// How much longer a Backup of this priority waits than one of priority 256 (RFC 9568 §6.1:
    /// Skew_Time): (256 − priority) / 256 × interval.
    pub skew: Duration,
    /// From the crash of the Active node to this node's being Active:
    /// down factor × interval + skew.
    pub takeover: Duration,
}

impl Timing {
    /// The times of an instance with this priority.
    #[must_use]
    pub fn new(cluster: &Cluster, priority: Priority) -> Self {
        let interval = cluster.advert_interval;
        let down = interval * u32::from(cluster.down_factor);
        let skew = interval * (256 - u32::from(priority.get())) / 256;
        Self {
            lease: down.saturating_sub(interval / 8),
            skew,
            takeover: down + skew,
        }
    }

    /// The times of this instance.
    #[must_use]
    pub fn of(cluster: &Cluster, instance: &Instance) -> Self {
        Self::new(cluster, instance.priority)
    }
}
