//! Brings the election up: from the configuration and the slots of a data plane to a running thread.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};
use vip_proto::native::{Key, Keyring};
use vip_proto::node::{InstanceConfig, LinkState, Liveness, Node, NodeConfig, Resumed};
use vip_proto::{Incarnation, Instant, NodeAddress, Vrid};

use super::digest::digest;
use super::notice_channel;
use crate::clock;
use crate::config::{Config, Transport};
use crate::dataplane::pins::Pins;
use crate::dataplane::slots::{InstanceSlots, Macs};
use crate::dataplane::{Slots, pinned};
use crate::driver::{self, Driver, Notice, Placement};
use crate::error::RunError;
use crate::flight::Recorder;
use crate::host::interface::{self, Interface};
use crate::inputs::adverts::AdvertSocket;
use crate::inputs::link::LinkWatch;
use crate::inputs::request::{Request, Requests, requests};
use crate::liveness::{self, Prober};
use crate::outputs::announce::takeover::Takeovers;
use crate::outputs::announce::{self, Announcer};
use crate::realtime;

/// The election thread.
pub(super) type Election = JoinHandle<io::Result<()>>;

/// What the election stands on.
pub(super) struct Ground<'g> {
    pub(super) slots: Slots,
    /// Kernel's numbers of the data plane's programs.
    pub(super) programs: Vec<u32>,
    /// The interfaces of the instances, at least.
    pub(super) interfaces: &'g [Interface],
    /// The agent to go on as; `None`: a new one.
    pub(super) earlier: Option<(Incarnation, Resumed)>,
}

/// The running election.
#[derive(Debug)]
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
    /// Whether it goes on as an earlier agent.
    pub(super) resumed: bool,
}

impl Elected {
    /// Makes the election know a program that is about to replace the one on the interfaces: else it
    /// would take it for a stranger's.
    pub(super) async fn expect_program(&self, program: u32) -> Result<(), RunError> {
        let what = || RunError::io("telling the election of the new program");
        let (reply, known) = oneshot::channel();
        self.requests
            .send(Request::Replacing { program, reply })
            .map_err(|error| what()(io::Error::other(error)))?;
        known.await.map_err(|error| what()(io::Error::other(error)))
    }
}

/// Starts the election.
pub(super) fn start(
    config: &Config,
    adverts: AdvertSocket,
    ground: Ground<'_>,
) -> Result<Elected, RunError> {
    let started = clock::now();
    let slots = ground.slots;
    let resumed = ground.earlier.is_some();
    let placements = place(config, &slots, ground.interfaces, resumed)?;
    release_others(
        &slots.instances,
        &placements,
        ground.earlier.as_ref(),
        started,
    )?;
    let (node_config, instances) = node_config(config, adverts.address(), &ground.earlier)?;
    let prober = prober(config, &node_config, &adverts)?;
    let incarnation = node_config.incarnation;
    let mut node = match &ground.earlier {
        Some((_, resumed)) => Node::resume(node_config, &instances, resumed, started),
        None => Node::new(node_config, &instances),
    };
    slots
        .instances
        .set_identity(incarnation, node.sequence())
        .map_err(RunError::io("writing who this agent is"))?;
    for (vrid, placement) in &placements {
        let macs = slots
            .instances
            .macs(placement.slot)
            .map_err(RunError::io("reading where the instances are"))?;
        node.handle_station(*vrid, macs.station);
        let held = slots.instances.is_held(placement.slot);
        if resumed && held.map_err(RunError::io("reading what was moved away"))? {
            node.handle_held(*vrid);
        }
        if placement.ifindex.is_none() {
            node.handle_link(*vrid, LinkState::Gone, started);
        }
    }
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
    flight.begin(incarnation, resumed, names);
    let parts = driver::Parts {
        flight,
        prober,
        node,
        placements,
        programs: ground.programs,
        incarnation,
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
        resumed,
    })
}

/// Writes who answers on which interface, and remembers it for the election. Where an agent goes on
/// with a data plane, an interface that it is not on yet is one that is to come.
fn place(
    config: &Config,
    slots: &Slots,
    interfaces: &[Interface],
    resumed: bool,
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
            ifindex: (!resumed || interface.xdp.is_some()).then_some(interface.index),
            mac: instance.mac,
        };
        placements.insert(instance.vrid, placement);
    }
    Ok(placements)
}

/// Releases what is claimed and is not gone on with: all of it, if the lease has ended by `now`.
fn release_others(
    slots: &InstanceSlots,
    placements: &BTreeMap<Vrid, Placement>,
    earlier: Option<&(Incarnation, Resumed)>,
    now: Instant,
) -> Result<(), RunError> {
    let resumed = earlier
        .map(|(_, resumed)| resumed)
        .filter(|resumed| resumed.lease_until > now);
    let goes_on = |vrid: &Vrid| {
        resumed.is_some_and(|resumed| resumed.claims.iter().any(|(claimed, _)| claimed == vrid))
    };
    placements
        .iter()
        .filter(|(vrid, _)| !goes_on(vrid))
        .try_for_each(|(_, placement)| match slots.claimed(placement.slot)? {
            Some(_) => slots.release(placement.slot, None),
            None => Ok(()),
        })
        .map_err(RunError::io("releasing what is not gone on with"))
}

fn incarnation() -> Result<Incarnation, RunError> {
    getrandom::u64().map(Incarnation).map_err(|error| {
        RunError::io("taking a random number for this start")(io::Error::other(error))
    })
}

/// What asks the peers' data planes, if anything does.
fn prober(
    config: &Config,
    node: &NodeConfig,
    adverts: &AdvertSocket,
) -> Result<Option<Prober>, RunError> {
    let Some(liveness) = &config.liveness else {
        return Ok(None);
    };
    let parts = liveness::Parts {
        links: pinned::peer_links(&Pins::new(&config.node.pin_dir))?,
        address: node.address,
        interface: adverts.interface().unwrap_or(0),
        incarnation: node.incarnation,
        keys: node.keys.clone(),
    };
    let peers = match &config.cluster.transport {
        Transport::Unicast { peers } => Some(peers.as_slice()),
        Transport::Multicast { .. } => None,
    };
    Prober::new(parts, liveness.clone(), peers)
        .map(Some)
        .map_err(RunError::io(format!(
            "opening the sockets of liveness probes on UDP port {} of {}",
            liveness.port, node.address
        )))
}

/// What the machine is made of: a new one, or one that goes on as an earlier agent.
fn node_config(
    config: &Config,
    address: NodeAddress,
    earlier: &Option<(Incarnation, Resumed)>,
) -> Result<(NodeConfig, Vec<InstanceConfig>), RunError> {
    let incarnation = match earlier {
        Some((incarnation, _)) => *incarnation,
        None => incarnation()?,
    };
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
        liveness: config.liveness.as_ref().map(|liveness| Liveness {
            interval: liveness.interval,
            misses: liveness.misses,
        }),
        lease: config.liveness.as_ref().and_then(|liveness| liveness.lease),
        drain: config.node.drain,
        peers,
        keys,
    };
    Ok((node, instances))
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
