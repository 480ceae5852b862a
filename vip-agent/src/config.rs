//! The validated configuration: the only form the rest of the agent sees.
//!
//! A file becomes a [`Config`] in three steps, each of which reports everything it finds and goes on
//! with what is sound: the text is parsed with the position of each value, `structure` holds it
//! against the [schema] (unknown keys, wrong types, numbers out of range), and `validate` checks
//! what values mean together. [`host`] then compares the result with the interfaces of a host.

pub mod diagnostic;
pub mod duration;
mod field;
pub mod host;
pub mod key;
mod load;
mod raw;
pub mod schema;
mod structure;
#[cfg(test)]
mod tests;
pub mod timing;
mod validate;

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use vip_proto::announce::Announce;
use vip_proto::{Priority, Vrid};

pub use diagnostic::{Finding, LoadError, Severity};
pub use host::{InterfaceFacts, host_findings};
pub use load::{Loaded, load};
pub(crate) use validate::{PIN_DIR, RUNTIME_DIR};

/// One node's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// How the nodes talk to each other.
    pub cluster: Cluster,
    /// How a dead node is noticed; `None`: by its adverts only.
    pub liveness: Option<Liveness>,
    /// What moves between them; at least one.
    pub instances: Vec<Instance>,
}

/// Settings of this node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Name shown in `status` and logs; default: the host name.
    pub name: String,
    /// Where the control socket and the lock are; default `/run/vip-agent`.
    pub runtime_dir: PathBuf,
    /// Directory on a BPF file system under which program, link and maps are pinned; default
    /// `/sys/fs/bpf/vip-agent`.
    pub pin_dir: PathBuf,
    /// How the program is attached.
    pub xdp: XdpMode,
    /// What happens to the data plane when the agent stops in an orderly way.
    pub on_exit: OnExit,
    /// How long the data plane goes on without an agent while the agent is restarted.
    pub restart_grace: Duration,
    /// How long, at most, packets that still come are forwarded to the node that took over.
    pub drain: Duration,
    /// Whether the agent puts the VIPs of `local` instances on `lo`.
    pub provision: bool,
    /// Log level of the XDP program; `None`: no log statements at all.
    pub xdp_log: Option<log::LevelFilter>,
}

/// How the XDP program is attached to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver; where it cannot, in the generic hook with a warning.
    Auto,
    /// In the driver or not at all.
    Native,
    /// In the generic hook.
    Generic,
}

/// What happens to the data plane when the agent stops in an orderly way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExit {
    /// Remove VIPs, program, link and maps.
    Detach,
    /// Leave them: the node stays silent for the VIPs until an agent adopts the data plane.
    Stay,
    /// Leave them, with the lease extended by `restart_grace`.
    Keep,
}

/// How the nodes of a cluster talk to each other.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Address the adverts are sent from; `None`: chosen by routing towards the first peer, or the
    /// first address of the interface that multicast goes out of.
    pub address: Option<IpAddr>,
    /// Who gets the adverts.
    pub transport: Transport,
    /// UDP port of adverts.
    pub port: u16,
    /// Time between adverts.
    pub advert_interval: Duration,
    /// How many intervals without an advert mean that the Active node is dead.
    pub down_factor: u8,
    /// How long the node only listens after its start.
    pub startup_delay: Duration,
    /// How long a node that hears no peer waits, after its start or its interface's coming up,
    /// before it believes to be alone.
    pub alone_delay: Duration,
    /// Files with the cluster's keys: the first signs, all are accepted.
    pub keys: Vec<Key>,
}

/// Liveness probes between the nodes.
#[derive(Debug, Clone)]
pub struct Liveness {
    /// Time between probes: 100 µs – 1 s.
    pub interval: Duration,
    /// Unanswered probes in a row that mean death: 2–10.
    pub misses: u8,
    /// UDP port.
    pub port: u16,
    /// How long the data plane goes on when the agent is silent, if less than adverts warrant.
    pub lease: Option<Duration>,
    /// Links besides those between the nodes' own addresses.
    pub links: Vec<LivenessLink>,
}

/// A further link to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivenessLink {
    /// The peer, by the address its adverts come from.
    pub peer: IpAddr,
    /// This node's address on the link.
    pub local: IpAddr,
    /// The peer's address on the link.
    pub remote: IpAddr,
}

/// Who gets the adverts.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Each peer by its address.
    Unicast {
        /// The other nodes.
        peers: Vec<IpAddr>,
    },
    /// A group on one interface, with TTL or hop limit 1.
    Multicast {
        /// Group address.
        group: IpAddr,
        /// Name of the interface.
        interface: String,
    },
}

/// A key of the cluster.
#[derive(Clone, zeroize::ZeroizeOnDrop)]
pub struct Key {
    /// Identifier carried in each advert.
    #[zeroize(skip)]
    pub id: u8,
    /// The secret: at least 32 bytes.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for Key {
    /// Names the key without showing the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A set of VIPs that move together.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Name used on the command line.
    pub name: String,
    /// Identifier on the wire, the same on all nodes.
    pub vrid: Vrid,
    /// Name of the interface the VIPs live on.
    pub interface: String,
    /// This node's priority.
    pub priority: Priority,
    /// Whether this node takes the instance from an Active node of lower priority.
    pub preempt: bool,
    /// How long such a node must have been seen before.
    pub preempt_delay: Duration,
    /// The addresses, without duplicates, in the order of the file.
    pub vips: Vec<IpAddr>,
    /// Which MAC address they have.
    pub mac: MacMode,
    /// What happens when another station claims one.
    pub on_conflict: OnConflict,
    /// Where packets for them go.
    pub steering: Steering,
    /// How neighbours are told.
    pub announce: Announce,
    /// Who is told by unicast too.
    pub unicast: Vec<Audience>,
}

/// Which MAC address the VIPs of an instance have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacMode {
    /// That of the interface.
    Interface,
    /// The virtual router's (RFC 9568 §7.3).
    Virtual,
}

/// What happens when another station claims a VIP while it is Active here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// Announce it again.
    Reassert,
    /// Give the instance up for a while.
    Yield,
}

/// Who is told by unicast where a VIP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The next hops on the instance's interface.
    Gateways,
    /// All stations in the host's neighbour table for the interface.
    Neighbours,
    /// The station with this address.
    Station(IpAddr),
}

/// Where packets for an instance's VIPs go on the Active node.
#[derive(Debug, Clone)]
pub enum Steering {
    /// To this host's own stack.
    Local,
    /// To the first healthy backend, by rewriting the destination MAC address (direct routing).
    L2 {
        /// The backends in order of preference; at least one.
        backends: Vec<Backend>,
    },
}

/// A host that serves VIPs behind the Active node.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Name shown in `status`; default: its address.
    pub name: String,
    /// Its own address, on a network this node is directly connected to.
    pub address: IpAddr,
    /// How its health is checked; `None`: it is healthy while its MAC address can be resolved.
    pub check: Option<TcpCheck>,
}

/// A check that opens a TCP connection and closes it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpCheck {
    /// Port on the backend's own address.
    pub port: u16,
    /// Time from the start of one check to the start of the next.
    pub interval: Duration,
    /// How long the connection may take.
    pub timeout: Duration,
    /// Consecutive successes after which the backend is healthy.
    pub rise: NonZeroU8,
    /// Consecutive failures after which it is not.
    pub fall: NonZeroU8,
}
