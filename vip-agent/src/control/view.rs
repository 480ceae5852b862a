//! Puts together what `status` shows, from everything that knows a part of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vip_proto::election::{State, TransitionReason};
use vip_proto::node::{PeerInstance, PeerStatus};
use vip_proto::{Instant, Vrid};

use crate::api;
use crate::config::{Config, Instance, MacMode, Steering};
use crate::dataplane::Dataplane;
use crate::dataplane::events::ConflictTally;
use crate::dataplane::tables::{first_backend, first_vip};
use crate::error::RunError;
use crate::health::board::Condition;
use crate::health::supervisor::Boards;
use crate::host::interface::Interface;
use crate::inputs::request::Snapshot;
use crate::outputs::announce::takeover::Takeovers;

/// What does not change while the agent runs, or not by the election.
#[derive(Debug)]
pub struct Facts<'f> {
    /// The configuration.
    pub config: &'f Config,
    /// The data plane, for its counters.
    pub dataplane: &'f Dataplane,
    /// The backends.
    pub boards: &'f Boards,
    /// The interfaces with the data plane on them; `None` where one is gone.
    pub interfaces: &'f BTreeMap<String, Option<Interface>>,
    /// Random number of this start, as text.
    pub incarnation: &'f str,
    /// When the agent started.
    pub started: Instant,
    /// Whether the election thread has real-time priority.
    pub realtime: bool,
    /// Whether this agent went on with the data plane of the one before it.
    pub resumed: bool,
    /// What became of the last claims.
    pub takeovers: &'f Takeovers,
    /// What other stations have claimed.
    pub conflicts: &'f ConflictTally,
}

/// The whole status.
///
/// # Errors
/// [`RunError::Dataplane`] if the counters cannot be read.
pub fn status(facts: &Facts<'_>, snapshot: &Snapshot) -> Result<api::Status, RunError> {
    let config = facts.config;
    let instances = config
        .instances
        .iter()
        .enumerate()
        .map(|(number, instance)| instance_status(facts, snapshot, number, instance))
        .collect::<Result<_, _>>()?;
    Ok(api::Status {
        node: config.node.name.clone(),
        address: snapshot.address.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        abi: vip_common::abi::ABI_VERSION,
        pid: std::process::id(),
        incarnation: facts.incarnation.to_owned(),
        uptime_ms: milliseconds(facts.started, snapshot.now),
        advert_interval_us: micros(config.cluster.advert_interval),
        realtime: facts.realtime,
        resumed: facts.resumed,
        interfaces: facts.interfaces.iter().map(interface_status).collect(),
        instances,
        peers: snapshot
            .node
            .peers
            .iter()
            .map(|peer| peer_status(peer, snapshot.now))
            .collect(),
        counters: facts.dataplane.counters()?,
        protocol: protocol(snapshot),
    })
}

fn instance_status(
    facts: &Facts<'_>,
    snapshot: &Snapshot,
    number: usize,
    instance: &Instance,
) -> Result<api::InstanceStatus, RunError> {
    let election = snapshot
        .node
        .instances
        .iter()
        .find(|status| status.vrid == instance.vrid);
    let reason = election.map_or(TransitionReason::Started, |status| status.reason);
    let state = election.map_or(State::Initialize, |status| status.state);
    Ok(api::InstanceStatus {
        name: instance.name.clone(),
        vrid: instance.vrid.get(),
        interface: instance.interface.clone(),
        state: state_word(state).to_owned(),
        reason: reason_word(reason).to_owned(),
        since_ms: election.map_or(0, |status| milliseconds(status.since, snapshot.now)),
        priority: instance.priority.get(),
        epoch: election.map_or(0, |status| status.epoch.0),
        lease_left_us: election
            .and_then(|status| status.lease_until)
            .map(|end| micros(end.saturating_since(snapshot.now))),
        active: election
            .and_then(|status| status.active)
            .map(|address| address.0),
        held: election.is_some_and(|status| status.held),
        vips: vips(facts, number, instance)?,
        steering: match instance.steering {
            Steering::Local => "local".to_owned(),
            Steering::L2 { .. } => "l2".to_owned(),
        },
        backends: backends(facts, number, instance)?,
        mac: match instance.mac {
            MacMode::Interface => "interface".to_owned(),
            MacMode::Virtual => "virtual".to_owned(),
        },
        conflicts: facts.conflicts.of(number),
        takeover: takeover(facts, number, instance),
    })
}

fn takeover(facts: &Facts<'_>, number: usize, instance: &Instance) -> Option<api::TakeoverStatus> {
    let takeover = facts.takeovers.last(instance.vrid)?;
    let vips = first_vip(facts.config, number)..first_vip(facts.config, number + 1);
    let arrivals = takeover.arrivals(&facts.dataplane.slots().seen, vips);
    Some(api::TakeoverStatus {
        first_packet_us: arrivals.first_packet.map(micros),
        vips_in_use: takeover.in_use.len(),
        reached: arrivals.reached,
        announced_again: takeover.announced_again,
    })
}

fn vips(
    facts: &Facts<'_>,
    number: usize,
    instance: &Instance,
) -> Result<Vec<api::VipStatus>, RunError> {
    (first_vip(facts.config, number)..)
        .zip(&instance.vips)
        .map(|(index, address): (u32, &IpAddr)| {
            let stats = facts.dataplane.vip_stats(index)?;
            Ok(api::VipStatus {
                address: *address,
                packets: stats.packets,
                bytes: stats.bytes,
            })
        })
        .collect()
}

fn backends(
    facts: &Facts<'_>,
    number: usize,
    instance: &Instance,
) -> Result<Vec<api::BackendStatus>, RunError> {
    let Some(board) = facts.boards.get(&instance.name) else {
        return Ok(Vec::new());
    };
    (first_backend(facts.config, number)..)
        .zip(board.snapshot())
        .map(|(index, condition): (u32, Condition)| {
            let stats = facts.dataplane.backend_stats(index)?;
            Ok(api::BackendStatus {
                healthy: condition.is_healthy(),
                name: condition.name,
                address: condition.address,
                active: condition.active,
                mac: condition.reach.map(|reach| mac_text(reach.mac)),
                last_check: match condition.trouble {
                    Some(trouble) => format!("{}; {trouble}", condition.last_check),
                    None => condition.last_check,
                },
                packets: stats.packets,
                bytes: stats.bytes,
            })
        })
        .collect()
}

fn interface_status((name, interface): (&String, &Option<Interface>)) -> api::InterfaceStatus {
    let Some(interface) = interface else {
        return api::InterfaceStatus {
            name: name.clone(),
            ifindex: 0,
            mac: String::new(),
            xdp: "none".to_owned(),
            link: "gone".to_owned(),
        };
    };
    api::InterfaceStatus {
        name: name.clone(),
        ifindex: interface.index,
        mac: mac_text(interface.mac),
        xdp: match interface.xdp {
            None => "none",
            Some(xdp) if xdp.native => "native",
            Some(_) => "generic",
        }
        .to_owned(),
        link: if interface.up { "up" } else { "down" }.to_owned(),
    }
}

fn peer_status(peer: &PeerStatus, now: Instant) -> api::PeerStatus {
    api::PeerStatus {
        address: peer.address.0,
        alive: peer.alive,
        last_heard_ms: peer.last_heard.map(|heard| {
            #[expect(
                clippy::float_arithmetic,
                reason = "for display: milliseconds with fraction"
            )]
            let milliseconds = now.saturating_since(heard).as_secs_f64() * 1e3;
            milliseconds
        }),
        adverts: peer.adverts,
        instances: peer.instances.iter().map(peer_instance).collect(),
        probe: peer.probed.then(|| api::ProbeStatus {
            answered: peer.armed,
            unanswered: peer.unanswered,
            round_trip_us: peer.last_echo.map(|echo| micros(echo.rtt)),
        }),
    }
}

fn peer_instance(instance: &PeerInstance) -> api::PeerInstance {
    api::PeerInstance {
        vrid: Vrid::get(instance.vrid),
        state: state_word(instance.state).to_owned(),
        priority: instance.priority,
        epoch: instance.epoch.0,
    }
}

fn protocol(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let node = snapshot.node.counters;
    let own = snapshot.loop_counters;
    [
        ("adverts_sent", node.adverts_sent),
        ("adverts_received", node.adverts_received),
        ("adverts_rejected", node.rejected),
        ("transmit_failed", node.transmit_failed),
        ("wakeups", own.wakeups),
        ("timer_late_max_us", own.timer_late_max_ns / 1000),
        ("reports_lost", own.reports_lost),
        ("dataplane_failures", own.dataplane_failures),
        ("probes_sent", own.probes_sent),
        ("probes_failed", own.probes_failed),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// The state as the API writes it.
#[must_use]
pub const fn state_word(state: State) -> &'static str {
    match state {
        State::Initialize => "initialize",
        State::Backup => "backup",
        State::Active => "active",
    }
}

/// The reason as the API writes it.
#[must_use]
pub const fn reason_word(reason: TransitionReason) -> &'static str {
    match reason {
        TransitionReason::Started => "started",
        TransitionReason::ActiveDown => "active_down",
        TransitionReason::Successor => "successor",
        TransitionReason::ActiveLeft => "active_left",
        TransitionReason::Preempted => "preempted",
        TransitionReason::Switchover => "switchover",
        TransitionReason::LostConflict => "lost_conflict",
        TransitionReason::LeaseExpired => "lease_expired",
        TransitionReason::LinkDown => "link_down",
        TransitionReason::LinkGone => "link_gone",
        TransitionReason::LinkUp => "link_up",
        TransitionReason::DataplaneFailed => "dataplane_failed",
        TransitionReason::Shutdown => "shutdown",
        TransitionReason::NodeDead => "node_dead",
        TransitionReason::AgentDead => "agent_dead",
        TransitionReason::Resumed => "resumed",
        TransitionReason::Conflict => "conflict",
    }
}

/// A MAC address in the usual notation.
#[must_use]
pub fn mac_text(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

fn milliseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_since(from).as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
