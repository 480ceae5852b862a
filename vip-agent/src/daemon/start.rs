//! Brings the agent up, step by step; a step that fails undoes the ones before it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rtnetlink::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info, warn};
use vip_proto::native::{Key, Keyring};
use vip_proto::node::{InstanceConfig, Node, NodeConfig};
use vip_proto::{Incarnation, NodeAddress, Vrid};

use super::digest::digest;
use super::shared::{Changing, Parts, Shared};
use super::{conflict_channel, local_vips, notice_channel};
use crate::clock;
use crate::config::{Config, Transport};
use crate::dataplane::attach::{Attachment, occupied};
use crate::dataplane::events::{Conflict, EventReader};
use crate::dataplane::pins::Pins;
use crate::dataplane::sizes::Sizes;
use crate::dataplane::{Dataplane, Slots};
use crate::driver::{self, Driver, Notice, Placement};
use crate::error::RunError;
use crate::health::supervisor::Supervisor;
use crate::host::addresses::{self, Watched};
use crate::host::interface::{self, Interface};
use crate::host::membership::{self, Memberships};
use crate::host::provision::{self, Manners};
use crate::inputs::adverts::AdvertSocket;
use crate::inputs::link::LinkWatch;
use crate::inputs::request::requests;
use crate::outputs::announce;
use crate::realtime;

/// The election thread.
pub(super) type Election = JoinHandle<io::Result<()>>;

/// The parts of a running agent.
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) election: Election,
    pub(super) notices: mpsc::Receiver<Notice>,
    pub(super) conflicts: mpsc::Receiver<Conflict>,
    pub(super) events: EventReader,
    pub(super) supervisor: Supervisor,
    pub(super) addresses: JoinSet<()>,
    pub(super) manners: Vec<Manners>,
    pub(super) memberships: BTreeMap<String, Memberships>,
}

/// Starts everything.
pub(super) async fn start(config: Config, handle: &Handle) -> Result<Running, RunError> {
    let present = interface::list(handle).await?;
    let interfaces = needed_interfaces(&config, &present)?;
    interfaces_are_free(&config, &interfaces)?;
    // What can fail without the data plane is tried before the data plane is touched.
    let adverts = AdvertSocket::open(&config.cluster, handle).await?;
    clear_loopback(&config, handle).await?;
    let mut dataplane = Dataplane::load(&config)?;
    let adopted = match attach(&mut dataplane, &config, &interfaces) {
        Ok(adopted) => adopted,
        Err(error) => return Err(undo(dataplane, error)),
    };
    // Looked at again: now the interfaces tell how the program is attached.
    let present = interface::list(handle).await?;
    match finish(
        config,
        handle,
        adverts,
        &mut dataplane,
        &interfaces,
        &present,
    )
    .await
    {
        Ok(unfinished) => Ok(unfinished.with(dataplane)),
        Err((vips, error)) if !adopted => {
            if let Err(second) = provision::remove_vips(handle, &vips).await {
                warn!(error = %second, "taking the VIPs off lo again");
            }
            Err(undo(dataplane, error))
        }
        // What an earlier agent left stays as it was found: silent.
        Err((_, error)) => Err(error),
    }
}

/// Takes away a data plane that was just loaded, because of `error`.
fn undo(dataplane: Dataplane, error: RunError) -> RunError {
    if let Err(second) = dataplane.remove() {
        warn!(error = %second, "removing the data plane again");
    }
    error
}

/// The interfaces of the configuration, each once.
fn needed_interfaces(config: &Config, present: &[Interface]) -> Result<Vec<Interface>, RunError> {
    let mut needed: Vec<Interface> = Vec::new();
    for instance in &config.instances {
        let wanted_by = format!("instance {:?}", instance.name);
        let interface = interface::find(present, &instance.interface, &wanted_by)?;
        if !needed.contains(interface) {
            needed.push(interface.clone());
        }
    }
    Ok(needed)
}

/// Finds out early, and with a better word than "address already in use", that another agent or
/// another program has the interface. Where an earlier agent of this node has left something, only
/// attaching can tell.
fn interfaces_are_free(config: &Config, interfaces: &[Interface]) -> Result<(), RunError> {
    let pins = Pins::new(&config.node.pin_dir);
    let what = "looking for an earlier data plane";
    let links = pins.links().map_err(RunError::io(what))?;
    let others = pins.other_versions().map_err(RunError::io(what))?;
    if !(links.is_empty() && others.is_empty()) {
        return Ok(());
    }
    interfaces.iter().try_for_each(|interface| {
        interface
            .xdp
            .map_or(Ok(()), |other| Err(occupied(interface, other)))
    })
}

/// Takes VIPs of an earlier agent off `lo` that will not be guarded any more: those no longer
/// configured, and all of them if its data plane has to be replaced.
async fn clear_loopback(config: &Config, handle: &Handle) -> Result<(), RunError> {
    if !config.node.provision {
        return Ok(());
    }
    let pins = Pins::new(&config.node.pin_dir);
    let what = "looking for an earlier data plane";
    let earlier = pins.vips().map_err(RunError::io(what))?;
    let replaced = pins.incompatibility(Sizes::of(config)).is_some()
        || !pins
            .other_versions()
            .map_err(RunError::io(what))?
            .is_empty();
    let kept = local_vips(config);
    let unguarded: Vec<IpAddr> = earlier
        .into_iter()
        .filter(|vip| replaced || !kept.contains(vip))
        .collect();
    provision::remove_vips(handle, &unguarded).await
}

/// Attaches to each interface; answers whether any link was adopted.
fn attach(
    dataplane: &mut Dataplane,
    config: &Config,
    interfaces: &[Interface],
) -> Result<bool, RunError> {
    let mut adopted = false;
    for interface in interfaces {
        let attachment = dataplane.attach(interface, config.node.xdp)?;
        adopted |= attachment == Attachment::Adopted;
    }
    let keep: Vec<&Interface> = interfaces.iter().collect();
    dataplane.drop_stale_links(&keep)?;
    Ok(adopted)
}

/// A running agent without its data plane yet.
struct Unfinished {
    parts: Parts,
    interfaces: BTreeMap<String, Option<Interface>>,
    election: Election,
    notices: mpsc::Receiver<Notice>,
    conflicts: mpsc::Receiver<Conflict>,
    events: EventReader,
    supervisor: Supervisor,
    addresses: JoinSet<()>,
    manners: Vec<Manners>,
    memberships: BTreeMap<String, Memberships>,
}

impl Unfinished {
    fn with(self, dataplane: Dataplane) -> Running {
        let changing = Changing {
            dataplane: Some(dataplane),
            interfaces: self.interfaces,
        };
        Running {
            shared: Arc::new(Shared::new(self.parts, changing)),
            election: self.election,
            notices: self.notices,
            conflicts: self.conflicts,
            events: self.events,
            supervisor: self.supervisor,
            addresses: self.addresses,
            manners: self.manners,
            memberships: self.memberships,
        }
    }
}

/// Everything after the data plane is attached. On failure: the VIPs that may be on `lo` by then.
async fn finish(
    config: Config,
    handle: &Handle,
    adverts: AdvertSocket,
    dataplane: &mut Dataplane,
    interfaces: &[Interface],
    present: &[Interface],
) -> Result<Unfinished, (Vec<IpAddr>, RunError)> {
    let vips = if config.node.provision {
        local_vips(&config)
    } else {
        Vec::new()
    };
    let result = finish_steps(
        config, handle, adverts, dataplane, interfaces, present, &vips,
    )
    .await;
    result.map_err(|error| (vips, error))
}

async fn finish_steps(
    config: Config,
    handle: &Handle,
    adverts: AdvertSocket,
    dataplane: &mut Dataplane,
    interfaces: &[Interface],
    present: &[Interface],
    vips: &[IpAddr],
) -> Result<Unfinished, RunError> {
    let started = clock::now();
    let slots = dataplane.slots();
    let placements = place(&config, &slots, interfaces)?;
    let manners = interfaces
        .iter()
        .map(|i| provision::teach_manners(&i.name))
        .collect();
    let memberships = join_groups(&config, interfaces)?;
    provision::add_vips(handle, vips).await?;
    let supervisor = Supervisor::start(&config, &slots)?;
    let addresses = watch_addresses(&config, vips);
    let (conflict_sender, conflicts) = conflict_channel();
    let events = dataplane
        .take_events()
        .ok_or_else(|| RunError::dataplane("reading events")("the ring buffer is taken"))?;
    let events = EventReader::start(dataplane.ebpf(), events, conflict_sender)?;
    let incarnation = incarnation()?;
    let node = node(&config, adverts.address(), incarnation)?;
    let (requests, queue) = requests().map_err(RunError::io("opening the request queue"))?;
    let (notice_sender, notices) = notice_channel();
    let announcer = announce::start(&config, Arc::clone(&slots.instances), &placements)
        .map_err(RunError::io("starting the announcer"))?;
    let links = LinkWatch::open().map_err(RunError::io("subscribing to interface changes"))?;
    if let Err(error) = realtime::lock_memory() {
        warn!(%error, "memory is not locked: the election may be delayed by page faults");
    }
    let parts = driver::Parts {
        node,
        placements,
        instances: slots.instances,
        adverts,
        links,
        requests: queue,
        announcer,
        notices: notice_sender,
    };
    let (election, realtime) = spawn_election(parts)?;
    Ok(Unfinished {
        parts: Parts {
            boards: supervisor.boards().clone(),
            config,
            requests,
            incarnation: incarnation.to_string(),
            started,
            realtime,
        },
        interfaces: by_name(interfaces, present),
        election,
        notices,
        conflicts,
        events,
        supervisor,
        addresses,
        manners,
        memberships,
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
        slots
            .instances
            .set_interface(slot, interface.index, interface.mac)
            .map_err(RunError::io(format!(
                "placing {} on its interface",
                instance.name
            )))?;
        let placement = Placement {
            slot,
            interface: interface.name.clone(),
            ifindex: Some(interface.index),
        };
        placements.insert(instance.vrid, placement);
    }
    Ok(placements)
}

fn join_groups(
    config: &Config,
    interfaces: &[Interface],
) -> Result<BTreeMap<String, Memberships>, RunError> {
    interfaces
        .iter()
        .map(|interface| {
            let vips: Vec<IpAddr> = config
                .instances
                .iter()
                .filter(|instance| instance.interface == interface.name)
                .flat_map(|instance| instance.vips.iter().copied())
                .collect();
            Ok((interface.name.clone(), membership::join(interface, &vips)?))
        })
        .collect()
}

/// Starts to look after the VIPs on this host's interfaces; ends when the result is dropped.
fn watch_addresses(config: &Config, provisioned: &[IpAddr]) -> JoinSet<()> {
    let watched = Watched {
        provisioned: provisioned.to_vec(),
        vips: config
            .instances
            .iter()
            .flat_map(|instance| instance.vips.iter().copied())
            .collect(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        if let Err(error) = addresses::watch(watched).await {
            error!(%error, "the VIPs on lo are no longer looked after");
        }
    });
    tasks
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

/// The interfaces as they are after attaching, for `status`.
fn by_name(interfaces: &[Interface], present: &[Interface]) -> BTreeMap<String, Option<Interface>> {
    interfaces
        .iter()
        .map(|interface| {
            let now = present.iter().find(|now| now.index == interface.index);
            (interface.name.clone(), now.or(Some(interface)).cloned())
        })
        .collect()
}
