//! What a configuration means in time.

use std::time::Duration;

use vip_proto::Priority;
use vip_proto::election::timing::Pace;

use super::{Config, Instance, Steering, Transport};

/// How much sooner than an advert a shorter lease is renewed: this often while it lasts.
const RENEWALS_PER_LEASE: u32 = 4;

/// How long things take at most, without network and scheduling delays, if the nodes are configured
/// alike and only what is named fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long the data plane acts for the VIPs after the agent's last advert, or since it last
    /// renewed a shorter lease.
    pub lease: Duration,
    /// How late the agent may be without losing its lease.
    pub forgiven: Duration,
    /// What is left between the lease's end and the soonest takeover by adverts: for clocks that
    /// differ in rate.
    pub guard: Duration,
    /// How much longer a Backup of this priority waits than one of priority 256 (RFC 9568 §6.1:
    /// Skew_Time).
    pub skew: Duration,
    /// From the last advert of an Active node to this node's being Active, if nothing else is known.
    pub takeover: Duration,
    /// From the death of the Active node's host or link to this node's being Active.
    pub host_death: Duration,
    /// From the last sign of life of the Active node's agent, killed or hung, to this node's being
    /// Active.
    pub agent_death: Duration,
    /// The same as [`Self::host_death`] if a Backup that goes before this node dies with the Active
    /// node; `None`: there is no other peer.
    pub two_hosts_death: Option<Duration>,
    /// From the death of a checked backend to its successor's getting the packets; `None`: no backend
    /// is checked.
    pub backend_death: Option<Duration>,
}

impl Timing {
    /// The times of this instance.
    #[must_use]
    pub fn of(config: &Config, instance: &Instance) -> Self {
        let pace = Pace {
            interval: config.cluster.advert_interval,
            factor: config.cluster.down_factor,
        };
        let own = config.liveness.as_ref().and_then(|liveness| liveness.lease);
        let (lease, renewed) = match own.filter(|own| *own < pace.lease()) {
            Some(own) => (own, own / RENEWALS_PER_LEASE),
            None => (pace.lease(), pace.interval),
        };
        let takeover = pace.down_interval(instance.priority);
        let probes = config.liveness.as_ref().map(|liveness| Probes {
            interval: liveness.interval,
            misses: liveness.misses,
        });
        Self {
            lease,
            forgiven: lease.saturating_sub(renewed),
            guard: soonest_takeover(pace).saturating_sub(lease + pace.delay()),
            skew: pace.skew(instance.priority),
            takeover,
            host_death: probes.map_or(takeover, |probes| takeover.min(probes.silence())),
            agent_death: probes.map_or(takeover, |probes| {
                lease + takeover.min(probes.lease_seen_over())
            }),
            two_hosts_death: has_several_peers(config)
                .then(|| absence_noticed(pace) + pace.skew(instance.priority) + pace.intent()),
            backend_death: backend_death(instance),
        }
    }
}

/// Liveness probes in time.
#[derive(Clone, Copy)]
struct Probes {
    interval: Duration,
    misses: u8,
}

impl Probes {
    /// A node that dies right after it has answered: as many probes as prove it, and an interval for
    /// the answer to the last.
    fn silence(&self) -> Duration {
        self.interval * (u32::from(self.misses) + 1)
    }

    /// A lease that ends right after a probe was answered: the next probe is told, and the answer is
    /// looked at with the one after.
    fn lease_seen_over(&self) -> Duration {
        self.interval * 2
    }
}

/// The soonest a peer that hears nothing else takes over after an advert: one of the highest priority
/// that has missed it, where one may be missed, and counts from the one before.
fn soonest_takeover(pace: Pace) -> Duration {
    let highest = Priority::new(254).map_or(Duration::ZERO, |highest| pace.skew(highest));
    let counted = u32::from(pace.factor) - u32::from(pace.factor > 2);
    pace.interval * counted + highest
}

/// When a Backup that died is no longer waited for: noticed with the advert after its silence.
fn absence_noticed(pace: Pace) -> Duration {
    pace.silence() + pace.interval
}

fn has_several_peers(config: &Config) -> bool {
    match &config.cluster.transport {
        Transport::Unicast { peers } => peers.len() > 1,
        Transport::Multicast { .. } => true,
    }
}

/// A backend that dies right after a check: as many failing checks as it takes, the last of which
/// fails by its timeout.
fn backend_death(instance: &Instance) -> Option<Duration> {
    let Steering::L2 { backends } = &instance.steering else {
        return None;
    };
    let checks = backends.iter().filter_map(|backend| backend.check);
    checks
        .map(|check| check.interval * u32::from(check.fall.get()) + check.timeout)
        .max()
}

#[cfg(test)]
mod tests;
