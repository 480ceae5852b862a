//! What is explored: a cluster, what may go wrong in it, and how often.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vip_proto::native::{Key, Keyring};
use vip_proto::node::{InstanceConfig, Liveness, NodeConfig};
use vip_proto::{Incarnation, Instant, NodeAddress, Priority, Vrid};

use crate::canonical::{INCARNATIONS, LIVES};

/// The quantum of time. All durations are multiples of it.
pub(crate) const QUANTUM: Duration = Duration::from_millis(10);
/// Quanta of an advert interval `I`.
pub(crate) const PER_INTERVAL: u16 = 8;
/// Advert interval of all nodes.
pub(crate) const INTERVAL: Duration = Duration::from_millis(80);
/// The longest freeze or cut, in quanta.
pub(crate) const LONGEST: u16 = 6 * PER_INTERVAL;
/// How long after a cut has healed two Active nodes are excused: an advert may be late and lost, and
/// they need a round trip.
pub(crate) const SETTLING: u16 = 5 * PER_INTERVAL;
/// Between two slips of a clock: longer than anybody's down interval, so that clocks drift by no more
/// than a quantum, an eighth of `I`, in it.
pub(crate) const BETWEEN_SLIPS: u16 = 5 * PER_INTERVAL;

/// How long peers are patient with an agent that starts anew.
pub(crate) const GRACE: Duration = Duration::from_millis(160);
/// How long stray packets are sent on.
const DRAIN: Duration = INTERVAL;

pub(crate) const VRID: Vrid = Vrid::new(1).unwrap();

/// What may go wrong, or be ordered. What makes it good again costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An advert is lost; never two in a row on a link.
    Lose,
    /// An advert arrives twice, the second time behind later ones.
    Duplicate,
    /// An advert arrives behind the next; counts as lost.
    Late,
    /// The host dies, its lease with it; it may start again.
    Crash,
    /// The agent dies, its lease goes on; it may start again.
    Kill,
    /// The agent stops for a while, the kernel goes on.
    Freeze,
    /// A clock gains or loses a quantum.
    Slip,
    /// Nothing gets from one node to another for a while.
    Cut,
    /// The operator moves the instance.
    Switchover,
    /// The agent stops in order; it may start again.
    Shutdown,
    /// The agent stops, to go on in its place within [`GRACE`].
    Restart,
    /// A probe is lost; never two in a row.
    LoseProbe,
}

/// A deliberate mistake: what the model must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The kernel lets each lease last longer, by this many quanta.
    LongLease(u16),
    /// A release is not carried out.
    KeepsClaim,
    /// The kernel answers for what is only to be accepted.
    AnswersEarly,
    /// The kernel says that a lease is over that is not.
    SaysLeaseOver,
    /// The lease of an agent that is killed goes on for the grace nobody was told of.
    GraceWithoutNotice,
    /// Two probes in a row may be lost.
    LosesProbes,
}

/// What a cluster is made of, and what may happen to it.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    /// Priorities whose Skew_Time is a number of quanta: 64, 128, 192.
    pub(crate) priorities: Vec<u8>,
    pub(crate) preempt: bool,
    pub(crate) factor: u8,
    /// How long an advert is under way: 0 or 1 quantum.
    pub(crate) delay: u16,
    /// By how many quanta the nodes' grids are apart, one initial state each.
    pub(crate) phases: Vec<u16>,
    /// Quanta between probes, and how many go unanswered until a node is dead.
    pub(crate) probes: Option<(u16, u8)>,
    /// What may happen.
    pub(crate) kinds: Vec<Kind>,
    /// How much of it.
    pub(crate) budget: u8,
    /// Quanta after which exactly one node answers again.
    pub(crate) settles: u16,
    pub(crate) flaw: Option<Flaw>,
    /// No state is the same as an earlier one: a walk that is to go on must not end where it has
    /// been before.
    pub(crate) walks: bool,
}

impl Setup {
    pub(crate) fn count(&self) -> usize {
        self.priorities.len()
    }

    /// Past moments count for this long.
    pub(crate) fn memory(&self) -> Duration {
        INTERVAL * (u32::from(self.factor) + 2)
    }

    /// What is further ahead than this is not waited for.
    pub(crate) fn future(&self) -> Duration {
        INTERVAL * 24
    }

    pub(crate) fn node(&self, host: usize, life: usize) -> (NodeConfig, InstanceConfig) {
        let config = NodeConfig {
            address: address(host),
            incarnation: incarnation(host, life),
            advert_interval: INTERVAL,
            down_factor: self.factor,
            startup_delay: Duration::ZERO,
            alone_delay: INTERVAL,
            liveness: self.probes.map(|(interval, misses)| Liveness {
                interval: QUANTUM * u32::from(interval),
                misses,
            }),
            lease: None,
            drain: DRAIN,
            peers: (0..self.count())
                .filter(|peer| *peer != host)
                .map(address)
                .collect(),
            keys: Keyring::new(&[Key {
                id: 1,
                secret: &[7; 32],
            }])
            .unwrap(),
        };
        let instance = InstanceConfig {
            vrid: VRID,
            priority: Priority::new(self.priorities[host]).unwrap(),
            preempt: self.preempt,
            preempt_delay: Duration::ZERO,
            vips_digest: 0,
        };
        (config, instance)
    }
}

pub(crate) fn incarnation(host: usize, life: usize) -> Incarnation {
    assert!(life < LIVES, "the budget allows for no more starts");
    Incarnation((host as u64 + 1) * INCARNATIONS + life as u64)
}

pub(crate) fn address(host: usize) -> NodeAddress {
    let last = u8::try_from(host + 1).unwrap();
    NodeAddress(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
}

/// The host with this address.
pub(crate) fn host_of(address: NodeAddress) -> usize {
    let IpAddr::V4(address) = address.0 else {
        panic!("{address} is no host's")
    };
    usize::from(address.octets()[3]) - 1
}

/// The whole quanta from one moment to a later one, rounded up.
pub(crate) fn quanta(from: Instant, to: Instant) -> u16 {
    let quanta = to
        .saturating_since(from)
        .as_nanos()
        .div_ceil(QUANTUM.as_nanos());
    u16::try_from(quanta).unwrap_or(u16::MAX)
}
