//! The file as it is written: names, types and documentation of its keys, and no rules beyond those
//! that a JSON schema can express. What `vip-agent schema` prints is made from these types, and the
//! structure check enforces what it says; doc comments here are the schema's descriptions.

use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::duration::{Text, TextOrNever};
use super::field::Field;

/// Configuration of vip-agent on one node.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "vip-agent configuration", extend("required" = ["cluster", "instance"]))]
pub(super) struct File {
    /// How the nodes talk to each other.
    pub(super) cluster: Field<Cluster>,
    /// A set of VIPs that move together. Between 1 and 48 of them.
    #[schemars(length(min = 1, max = 48))]
    pub(super) instance: Field<Vec<Field<Instance>>>,
    /// How a node or agent that has died is noticed within milliseconds.
    pub(super) liveness: Field<Liveness>,
    /// This node; everything has a default.
    pub(super) node: Field<Node>,
}

/// How the nodes talk to each other.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("allOf" = [
    {"oneOf": [{"required": ["key_file"]}, {"required": ["key_files"]}]},
    {"oneOf": [{"required": ["peers"]}, {"required": ["multicast"]}]},
]))]
pub(super) struct Cluster {
    /// File with the key that signs adverts; relative to the configuration file.
    pub(super) key_file: Field<PathBuf>,
    /// Several key files, for changing the key: the first signs, all are accepted.
    #[schemars(length(min = 1, max = 8))]
    pub(super) key_files: Field<Vec<Field<PathBuf>>>,
    /// Addresses of the other nodes, which get each advert by unicast.
    pub(super) peers: Field<Vec<Field<IpAddr>>>,
    /// Send adverts to a multicast group instead of to `peers`.
    pub(super) multicast: Field<Multicast>,
    /// Address the adverts are sent from; default: chosen by routing towards the first peer.
    pub(super) address: Field<IpAddr>,
    /// UDP port of adverts.
    #[schemars(range(min = 1, max = 65535), extend("default" = 8112))]
    pub(super) port: Field<u16>,
    /// Time between adverts.
    #[schemars(extend("default" = "100ms", "x-minimum" = "1ms", "x-maximum" = "40.95s"))]
    pub(super) advert_interval: Field<Text>,
    /// How many intervals without an advert mean that the Active node is dead.
    #[schemars(range(min = 2, max = 10), extend("default" = 3))]
    pub(super) down_factor: Field<u8>,
    /// How long the node only listens after its start.
    #[schemars(extend("default" = "0s", "x-minimum" = "0s", "x-maximum" = "5min"))]
    pub(super) startup_delay: Field<Text>,
    /// How long a node that hears no peer waits after its start, or after its interface came up,
    /// before it believes to be alone. Ends when a peer is heard.
    #[schemars(extend("default" = "1s", "x-minimum" = "0s", "x-maximum" = "5min"))]
    pub(super) alone_delay: Field<Text>,
}

/// Liveness probes: questions that the data plane of the Active node answers by itself, so that a
/// dead node is told from a busy agent within a few of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Liveness {
    /// Whether Backups send probes, and this node answers them. Without, adverts alone tell.
    #[schemars(extend("default" = true))]
    pub(super) enabled: Field<bool>,
    /// Time between probes to the Active node.
    #[schemars(extend("default" = "1ms", "x-minimum" = "100us", "x-maximum" = "1s"))]
    pub(super) interval: Field<Text>,
    /// How many probes in a row may stay unanswered before the node is taken to be dead.
    #[schemars(range(min = 2, max = 10), extend("default" = 3))]
    pub(super) misses: Field<u8>,
    /// UDP port of probes, the same on all nodes; default: the one above `cluster.port`.
    #[schemars(range(min = 1, max = 65535))]
    pub(super) port: Field<u16>,
    /// How long the data plane goes on when the agent is silent; default, and at most: what the
    /// adverts warrant, (`down_factor` - 1) x `advert_interval` less a quarter. Shorter, an agent that
    /// was killed is replaced sooner, and one that is late loses its VIPs sooner.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "5min"))]
    pub(super) lease: Field<Text>,
    /// Further links over which peers are probed. A node is dead only if no link answers.
    #[schemars(length(min = 1))]
    pub(super) link: Field<Vec<Field<LivenessLink>>>,
}

/// A further link to a peer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["peer", "local", "remote"]))]
pub(super) struct LivenessLink {
    /// The peer, by the address its adverts come from.
    pub(super) peer: Field<IpAddr>,
    /// This node's address on the link.
    pub(super) local: Field<IpAddr>,
    /// The peer's address on the link.
    pub(super) remote: Field<IpAddr>,
}

/// A multicast group on one interface.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["group", "interface"]))]
pub(super) struct Multicast {
    /// Address of the group, like 239.255.81.12 or ff02::5112.
    pub(super) group: Field<IpAddr>,
    /// Name of the interface adverts leave by.
    #[schemars(length(min = 1, max = 15))]
    pub(super) interface: Field<String>,
}

/// A set of VIPs that move together.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "vrid", "interface", "vips"]))]
pub(super) struct Instance {
    /// Name used on the command line; letters, digits, `-`, `_` and `.`.
    #[schemars(length(min = 1, max = 63))]
    pub(super) name: Field<String>,
    /// Identifier of the instance, the same on all nodes.
    #[schemars(range(min = 1, max = 255))]
    pub(super) vrid: Field<u8>,
    /// Name of the interface the VIPs live on.
    #[schemars(length(min = 1, max = 15))]
    pub(super) interface: Field<String>,
    /// The virtual addresses, IPv4 or IPv6, without prefix length.
    #[schemars(length(min = 1))]
    pub(super) vips: Field<Vec<Field<IpAddr>>>,
    /// Priority of this node; the highest becomes Active.
    #[schemars(range(min = 1, max = 254), extend("default" = 100))]
    pub(super) priority: Field<u8>,
    /// Whether this node takes over from an Active node of lower priority.
    #[schemars(extend("default" = true))]
    pub(super) preempt: Field<bool>,
    /// How long an Active node of lower priority is left alone before it is preempted.
    #[schemars(extend("default" = "0s", "x-minimum" = "0s", "x-maximum" = "24h"))]
    pub(super) preempt_delay: Field<Text>,
    /// Which MAC address the VIPs have.
    #[schemars(extend("default" = "interface"))]
    pub(super) mac: Field<MacMode>,
    /// What happens when another station claims a VIP of this instance while it is Active here.
    #[schemars(extend("default" = "reassert"))]
    pub(super) on_conflict: Field<OnConflict>,
    /// Where packets for the VIPs go; default: `l2` if there are backends, else `local`.
    pub(super) steering: Field<Steering>,
    /// How neighbours are told that the VIPs have moved here.
    pub(super) announce: Field<Announce>,
    /// Hosts that serve the VIPs (steering `l2`): the first healthy one in order gets the packets.
    #[schemars(length(min = 1))]
    pub(super) backend: Field<Vec<Field<Backend>>>,
}

/// Which MAC address the VIPs have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum MacMode {
    /// That of the Active node's interface: a failover is announced for each VIP.
    Interface,
    /// The virtual router's of RFC 9568 section 7.3 (00-00-5E-00-01-VRID for IPv4,
    /// 00-00-5E-00-02-VRID for IPv6): one announcement moves all VIPs of the instance.
    Virtual,
}

/// What happens when another station claims a VIP of this instance while it is Active here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum OnConflict {
    /// Announce the VIP again, at most once a second, and stay Active.
    Reassert,
    /// Give the instance up for a minute.
    Yield,
}

/// Where packets for the VIPs go on the Active node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Steering {
    /// To this host's own stack.
    Local,
    /// To a backend, by rewriting the destination MAC address (direct routing).
    L2,
}

/// How neighbours are told that the VIPs have moved here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Announce {
    /// Rounds of gratuitous ARP and unsolicited Neighbor Advertisements after becoming Active.
    #[schemars(range(min = 1, max = 100), extend("default" = 5))]
    pub(super) repeat: Field<u8>,
    /// Time between these rounds.
    #[schemars(extend("default" = "200ms", "x-minimum" = "1ms", "x-maximum" = "1min"))]
    pub(super) interval: Field<Text>,
    /// Time between single rounds while Active, or `never`.
    #[schemars(extend("default" = "60s", "x-minimum" = "1s", "x-maximum" = "24h"))]
    pub(super) refresh: Field<TextOrNever>,
    /// Stations that are told by unicast too, for switches that limit broadcasts: `gateways` (the next
    /// hops on the instance's interface), `neighbours` (all stations this host knows there), or
    /// addresses.
    pub(super) unicast: Field<Vec<Field<String>>>,
}

/// A host that serves the VIPs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["address"]))]
pub(super) struct Backend {
    /// Its own address, on a network this node is directly connected to.
    pub(super) address: Field<IpAddr>,
    /// Name shown in `status`; default: its address.
    #[schemars(length(min = 1, max = 63))]
    pub(super) name: Field<String>,
    /// How its health is checked; default: it is healthy while its MAC address can be resolved.
    pub(super) check: Field<Check>,
}

/// A check that opens a TCP connection and closes it again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["tcp"]))]
pub(super) struct Check {
    /// TCP port on the backend's own address.
    #[schemars(range(min = 1, max = 65535))]
    pub(super) tcp: Field<u16>,
    /// Time from the start of one check to the start of the next.
    #[schemars(extend("default" = "1s", "x-minimum" = "10ms", "x-maximum" = "1h"))]
    pub(super) interval: Field<Text>,
    /// How long the connection may take; at most `interval`.
    #[schemars(extend("default" = "500ms", "x-minimum" = "1ms", "x-maximum" = "1min"))]
    pub(super) timeout: Field<Text>,
    /// Consecutive successes after which the backend is healthy.
    #[schemars(range(min = 1, max = 100), extend("default" = 2))]
    pub(super) rise: Field<u8>,
    /// Consecutive failures after which it is not.
    #[schemars(range(min = 1, max = 100), extend("default" = 3))]
    pub(super) fall: Field<u8>,
}

/// This node.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Node {
    /// Name shown in `status` and logs; default: the host name.
    #[schemars(length(min = 1, max = 63))]
    pub(super) name: Field<String>,
    /// Directory of the control socket and the lock.
    #[schemars(extend("default" = "/run/vip-agent"))]
    pub(super) runtime_dir: Field<PathBuf>,
    /// Directory on a BPF file system under which the data plane is pinned.
    #[schemars(extend("default" = "/sys/fs/bpf/vip-agent"))]
    pub(super) pin_dir: Field<PathBuf>,
    /// How the XDP program is attached.
    #[schemars(extend("default" = "auto"))]
    pub(super) xdp: Field<XdpMode>,
    /// What happens to the data plane when the agent stops in an orderly way.
    #[schemars(extend("default" = "detach"))]
    pub(super) on_exit: Field<OnExit>,
    /// How long the data plane goes on without an agent while the agent is restarted: on
    /// `vip-agent reload`, and on a stop with `on_exit = "keep"`.
    #[schemars(extend("default" = "2s", "x-minimum" = "100ms", "x-maximum" = "1min"))]
    pub(super) restart_grace: Field<Text>,
    /// How long, at most, packets that still come are forwarded to the node that took over.
    #[schemars(extend("default" = "5s", "x-minimum" = "0s", "x-maximum" = "1min"))]
    pub(super) drain: Field<Text>,
    /// Whether the agent puts the VIPs of `local` instances on `lo`.
    #[schemars(extend("default" = true))]
    pub(super) provision: Field<bool>,
    /// Log level of the XDP program; anything but `off` costs time per packet.
    #[schemars(extend("default" = "off"))]
    pub(super) xdp_log: Field<XdpLog>,
}

/// How the XDP program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum XdpMode {
    /// In the driver; where it cannot, in the generic hook with a warning.
    Auto,
    /// In the driver or not at all.
    Native,
    /// In the generic hook.
    Generic,
}

/// What happens to the data plane when the agent stops in an orderly way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum OnExit {
    /// Remove VIPs, program and maps.
    Detach,
    /// Leave them: the node stays silent for the VIPs until an agent adopts the data plane.
    Stay,
    /// Leave them, and stay Active for `restart_grace`: for a supervisor that starts the agent again
    /// at once.
    Keep,
}

/// Log level of the XDP program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum XdpLog {
    /// No log statements at all.
    Off,
    /// Errors.
    Error,
    /// And warnings.
    Warn,
    /// And what changes.
    Info,
    /// And what helps to find a fault.
    Debug,
    /// And each packet.
    Trace,
}
