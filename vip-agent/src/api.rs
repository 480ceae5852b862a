//! The control API: what the daemon answers over its Unix socket, and `--json` prints.
//!
//! - `GET /v1/status` → [`Status`]
//! - `GET /v1/why` → [`Recording`]
//! - `POST /v1/instances/{name}/switchover` with [`SwitchoverRequest`] → [`SwitchoverReply`]
//! - `POST /v1/reload` with [`ReloadRequest`] → [`ReloadReply`]
//!
//! Anything that goes wrong → [`ErrorReply`] with a 4xx or 5xx status.
//! Fields are only ever added within `v1`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Everything `vip-agent status` shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Name of the node.
    pub node: String,
    /// Address its adverts come from.
    pub address: IpAddr,
    /// Version of the agent.
    pub version: String,
    /// Version of the map ABI.
    pub abi: u32,
    /// Process id of the agent.
    pub pid: u32,
    /// Random number of this start, in hexadecimal.
    pub incarnation: String,
    /// Milliseconds since the agent started.
    pub uptime_ms: u64,
    /// Time between adverts, in microseconds.
    pub advert_interval_us: u64,
    /// Whether the election runs with real-time priority.
    pub realtime: bool,
    /// Whether this agent went on with the data plane of the one before it, without a failover.
    #[serde(default)]
    pub resumed: bool,
    /// The interfaces the program is attached to.
    pub interfaces: Vec<InterfaceStatus>,
    /// The instances, in the order of the configuration.
    pub instances: Vec<InstanceStatus>,
    /// The other nodes.
    pub peers: Vec<PeerStatus>,
    /// Data-plane counters by name, summed over all CPUs.
    pub counters: std::collections::BTreeMap<String, u64>,
    /// Counters of the advert protocol by name.
    pub protocol: std::collections::BTreeMap<String, u64>,
}

/// An interface with the data plane on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// Its MAC address.
    pub mac: String,
    /// `native` or `generic`.
    pub xdp: String,
    /// `up`, `down` or `gone`.
    pub link: String,
}

/// One instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its name.
    pub name: String,
    /// Its identifier.
    pub vrid: u8,
    /// Its interface.
    pub interface: String,
    /// `initialize`, `backup` or `active`.
    pub state: String,
    /// Why it is in this state, as a word (`active_down`, `preempted` …).
    pub reason: String,
    /// Milliseconds in this state.
    pub since_ms: u64,
    /// This node's priority.
    pub priority: u8,
    /// Epoch of the last claim known.
    pub epoch: u32,
    /// Microseconds until the lease ends, while Active.
    pub lease_left_us: Option<u64>,
    /// Address of the Active node, if known.
    pub active: Option<IpAddr>,
    /// Whether a switchover keeps this node from preempting.
    pub held: bool,
    /// Each VIP with what was accepted for it.
    pub vips: Vec<VipStatus>,
    /// `local` or `l2`.
    pub steering: String,
    /// The backends in order of preference; empty for `local`.
    pub backends: Vec<BackendStatus>,
    /// Which MAC address the VIPs have: `interface` or `virtual`.
    #[serde(default)]
    pub mac: String,
    /// How often other stations claimed a VIP or the identifier while this node was Active, since
    /// the agent started.
    #[serde(default)]
    pub conflicts: u64,
    /// What became of this node's last claim; `null`: the agent has made none.
    #[serde(default)]
    pub takeover: Option<TakeoverStatus>,
}

/// How the neighbours have followed a claim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TakeoverStatus {
    /// Microseconds from the claim to the first packet for any of the VIPs; `null`: none has come.
    pub first_packet_us: Option<u64>,
    /// VIPs that were asked for or sent to in the minute before the claim, as far as this node saw.
    pub vips_in_use: usize,
    /// How many of those have got a packet since.
    pub reached: usize,
    /// How often the others were announced again.
    pub announced_again: u32,
}

/// One VIP.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VipStatus {
    /// The address.
    pub address: IpAddr,
    /// Packets accepted for it.
    pub packets: u64,
    /// Bytes accepted for it.
    pub bytes: u64,
}

/// One backend.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// Whether it is healthy.
    pub healthy: bool,
    /// Whether it gets the packets.
    pub active: bool,
    /// Its MAC address, if resolved.
    pub mac: Option<String>,
    /// Result of the last check, as a phrase.
    pub last_check: String,
    /// Packets sent to it.
    pub packets: u64,
    /// Bytes sent to it.
    pub bytes: u64,
}

/// Another node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its address.
    pub address: IpAddr,
    /// Whether it was heard within its down interval.
    pub alive: bool,
    /// Milliseconds since it was last heard; `null`: never.
    pub last_heard_ms: Option<f64>,
    /// Adverts accepted from it.
    pub adverts: u64,
    /// What it says of the instances.
    pub instances: Vec<PeerInstance>,
    /// The liveness probes to it; `null`: it is not Active for anything this node could take over, so
    /// that none are sent.
    #[serde(default)]
    pub probe: Option<ProbeStatus>,
}

/// Liveness probes to a peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// Whether its data plane answers, so that silence would mean death.
    pub answered: bool,
    /// Probes since the last one that was answered, at most thirty.
    pub unanswered: u32,
    /// Round trip of the last echo in microseconds; `null`: there was none yet.
    pub round_trip_us: Option<u64>,
}

/// What a peer says of one instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerInstance {
    /// Identifier of the instance.
    pub vrid: u8,
    /// Its state there.
    pub state: String,
    /// The peer's priority; 0: it is leaving.
    pub priority: u8,
    /// The epoch it knows.
    pub epoch: u32,
}

/// Body of a switchover request. A field that is not known is an error: it may be `to`, misspelt.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchoverRequest {
    /// The node to hand over to; absent: the best one alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<IpAddr>,
}

/// Answer to a switchover request, sent once the successor was heard to be Active.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SwitchoverReply {
    /// The node that is Active now.
    pub active: IpAddr,
    /// Milliseconds from the release here to the successor's first advert as Active.
    pub took_ms: f64,
}

/// Body of a reload request.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// Reload even if no other node can take over what cannot be kept meanwhile.
    #[serde(default)]
    pub force: bool,
}

/// Answer to a reload request: it was checked, and happens now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReloadReply {
    /// Process id of the agent, before and after.
    pub pid: u32,
    /// The program that is run.
    pub program: std::path::PathBuf,
    /// Why everything is handed over to other nodes first; absent: nothing is, this node stays
    /// Active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_over: Option<String>,
}

/// What went wrong, for a person.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorReply {
    /// What was wrong and what to do.
    pub error: String,
}

/// What the flight recorder holds: the answer to `GET /v1/why`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recording {
    /// Name of the node.
    pub node: String,
    /// The configured instances.
    pub instances: Vec<InstanceName>,
    /// The records, the oldest first.
    pub records: Vec<Record>,
}

/// What an instance is called.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceName {
    /// Its name.
    pub name: String,
    /// Its identifier.
    pub vrid: u8,
}

/// One record, in the numbers of the table in `vip-agent/src/flight/record.rs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1, without gaps over all starts of the agent.
    pub number: u64,
    /// When it happened, on `CLOCK_MONOTONIC` in nanoseconds.
    pub at_ns: u64,
    /// What happened.
    pub kind: u32,
    /// Identifier of the instance; 0: it concerns the node.
    pub vrid: u32,
    /// The peer concerned, IPv4 in mapped form; `::`: none.
    pub peer: std::net::Ipv6Addr,
    /// Details, by kind.
    pub details: [u64; 3],
}
