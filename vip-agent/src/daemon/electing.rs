//! Brings the election up: from the configuration and the slots of a data plane to a running thread.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};
use vip_proto::native::{Key, Keyring};
use vip_proto::node::{InstanceConfig, Node, NodeConfig};
use vip_proto::{Incarnation, Instant, NodeAddress, Vrid};

use super::digest::digest;
use super::notice_channel;
use crate::clock;
use crate::config::{Config, Transport};
use crate::dataplane::Slots;
use crate::dataplane::slots::Macs;
use crate::driver::{self, Driver, Notice, Placement};
use crate::error::RunError;
use crate::flight::Recorder;
use crate::host::interface::{self, Interface};
use crate::inputs::adverts::AdvertSocket;
use crate::inputs::link::LinkWatch;
use crate::inputs::request::{Requests, requests};
use crate::outputs::announce::takeover::Takeovers;
use crate::outputs::announce::{self, Announcer};
use crate::realtime;

/// The election thread.
pub(super) type Election = JoinHandle<io::Result<()>>;

/// What the election stands on.
pub(super) struct Ground<'g> {
    pub(super) slots: Slots,
    /// Kernel's number of the data plane's program.
    pub(super) program: u32,
    /// The interfaces of the instances, at least.
    pub(super) interfaces: &'g [Interface],
}

/// The running election.
pub(super) struct Elected {
    pub(super) election: Election,
    pub(super) requests: Requests,
    pub(super) notices: mpsc::Receiver<Notice>,
    /// A way to the announcer besides the election's.
    pub(super) announcer: Announcer,
    pub(super) takeovers: Arc<Takeovers>,
    pub(super) incarnation: Incarnation,
    pub(super) started: Instant,
    pub(super) realtime: bool,
}

/// Starts the election.
pub(super) fn start(
    config: &Config,
    adverts: AdvertSocket,
    ground: Ground<'_>,
) -> Result<Elected, RunError> {
    let started = clock::now();
    let slots = ground.slots;
    let placements = place(config, &slots, ground.interfaces)?;
    let incarnation = incarnation()?;
    let node = node(config, adverts.address(), incarnation)?;
    let (requests, queue) = requests().map_err(RunError::io("opening the request queue"))?;
    let (notice_sender, notices) = notice_channel();
    let takeovers = Arc::new(Takeovers::default());
    let announcer = announce::start(config, &slots, &placements, Arc::clone(&takeovers))
        .map_err(RunError::io("starting the announcer"))?;
    let links = LinkWatch::open().map_err(RunError::io("subscribing to interface changes"))?;
    if let Err(error) = realtime::lock_memory() {
        warn!(%error, "memory is not locked: the election may be delayed by page faults");
    }
    let mut flight = Recorder::new(slots.flight);
    let names = config.instances.iter();
    let names = names.map(|instance| (instance.vrid, instance.name.as_str()));
    flight.begin(incarnation, false, names);
    let parts = driver::Parts {
        flight,
        node,
        placements,
        program: ground.program,
        instances: slots.instances,
        adverts,
        links,
        requests: queue,
        announcer: announcer.clone(),
        notices: notice_sender,
    };
    let (election, realtime) = spawn_election(parts)?;
    Ok(Elected {
        election,
        requests,
        notices,
        announcer,
        takeovers,
        incarnation,
        started,
        realtime,
    })
}

/// Writes who answers on which interface, and remembers it for the election.
fn place(
    config: &Config,
    slots: &Slots,
    interfaces: &[Interface],
) -> Result<BTreeMap<Vrid, Placement>, RunError> {
    let mut placements = BTreeMap::new();
    for (slot, instance) in (0_u32..).zip(&config.instances) {
        let interface = interface::find(interfaces, &instance.interface, &instance.name)?;
        let macs = Macs::of(instance.mac, instance.vrid, interface.mac);
        slots
            .instances
            .set_interface(slot, instance.vrid, interface.index, macs)
            .map_err(RunError::io(format!(
                "placing {} on its interface",
                instance.name
            )))?;
        let placement = Placement {
            slot,
            interface: interface.name.clone(),
            ifindex: Some(interface.index),
            mac: instance.mac,
        };
        placements.insert(instance.vrid, placement);
    }
    Ok(placements)
}

fn incarnation() -> Result<Incarnation, RunError> {
    getrandom::u64().map(Incarnation).map_err(|error| {
        RunError::io("taking a random number for this start")(io::Error::other(error))
    })
}

fn node(config: &Config, address: NodeAddress, incarnation: Incarnation) -> Result<Node, RunError> {
    let cluster = &config.cluster;
    let peers = match &cluster.transport {
        Transport::Unicast { peers } => peers.iter().map(|peer| NodeAddress(*peer)).collect(),
        Transport::Multicast { .. } => Vec::new(),
    };
    let instances: Vec<InstanceConfig> = config
        .instances
        .iter()
        .map(|instance| InstanceConfig {
            vrid: instance.vrid,
            priority: instance.priority,
            preempt: instance.preempt,
            preempt_delay: instance.preempt_delay,
            vips_digest: digest(&instance.vips),
        })
        .collect();
    let keys: Vec<Key<'_>> = cluster
        .keys
        .iter()
        .map(|key| Key {
            id: key.id,
            secret: &key.secret,
        })
        .collect();
    let keys = Keyring::new(&keys)
        .map_err(|error| RunError::HostConfig(format!("[cluster] key files: {error}")))?;
    let node = NodeConfig {
        address,
        incarnation,
        advert_interval: cluster.advert_interval,
        down_factor: cluster.down_factor,
        startup_delay: cluster.startup_delay,
        // Who has no peers is alone.
        alone_delay: match &cluster.transport {
            Transport::Unicast { peers } if peers.is_empty() => Duration::ZERO,
            Transport::Unicast { .. } | Transport::Multicast { .. } => cluster.alone_delay,
        },
        peers,
        keys,
    };
    Ok(Node::new(node, &instances))
}

/// Starts the election thread; answers whether it has real-time priority.
fn spawn_election(parts: driver::Parts) -> Result<(Election, bool), RunError> {
    let (tell, told) = std_mpsc::channel();
    let thread = thread::Builder::new()
        .name("vip-election".to_owned())
        .spawn(move || {
            // Whoever asked waits right below.
            drop(tell.send(realtime::promote(realtime::Role::Election)));
            Driver::new(parts).run()
        })
        .map_err(RunError::io("starting the election thread"))?;
    let realtime = match told.recv() {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            warn!(%error, "no real-time priority (CAP_SYS_NICE): failover may be false under load");
            false
        }
        Err(_) => false,
    };
    info!(realtime, "election started");
    Ok((thread, realtime))
}
