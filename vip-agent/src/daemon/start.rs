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
use tracing::{info, warn};
use vip_proto::native::{Key, Keyring};
use vip_proto::node::{InstanceConfig, Node, NodeConfig};
use vip_proto::{Incarnation, NodeAddress, Vrid};

use super::digest::digest;
use super::guard::Trouble;
use super::shared::{Changing, Parts, Shared};
use super::{
    both, conflict_channel, earlier, local_vips, notice_channel, probed, provisioned_vips,
};
use crate::clock;
use crate::config::{Config, Transport, XdpMode};
use crate::dataplane::attach::Attachment;
use crate::dataplane::events::{Conflict, EventReader};
use crate::dataplane::slots::Macs;
use crate::dataplane::{Dataplane, Slots};
use crate::driver::{self, Driver, Notice, Placement};
use crate::error::RunError;
use crate::health::supervisor::Supervisor;
use crate::host::addresses::{self, Watched};
use crate::host::interface::{self, Interface};
use crate::host::membership::{self, Memberships};
use crate::host::provision;
use crate::host::settings::Settings;
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
    pub(super) addresses: AddressWatch,
    pub(super) settings: Settings,
    pub(super) memberships: BTreeMap<String, Memberships>,
    /// Interfaces that are gone or could not be attached to, with what was said about it last.
    pub(super) waiting: BTreeMap<String, Option<String>>,
    /// What keeps the daemon from seeing whether the data plane is still attached.
    pub(super) guard: Trouble,
    /// What was said about interfaces that only carry probes.
    pub(super) probed: probed::Said,
}

/// The task that looks after the VIPs on this host's interfaces.
pub(super) type AddressWatch = JoinSet<Result<(), RunError>>;

/// What a start has changed on the host so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    dataplane: Option<Dataplane>,
    /// Whether any of it is what an earlier agent left.
    adopted: bool,
    settings: Option<Settings>,
    /// VIPs that may be on `lo`.
    provisioned: Vec<IpAddr>,
}

impl Progress {
    /// Undoes it: VIPs first, for the data plane guards them. What an earlier agent left stays as it
    /// was found: silent.
    pub(super) async fn undo(self, handle: &Handle) {
        let Some(dataplane) = self.dataplane else {
            return;
        };
        if self.adopted {
            info!("the data plane an earlier agent left stays as it was, silent");
            return;
        }
        let undone = take_away(handle, &self.provisioned, Some(dataplane), self.settings).await;
        if let Err(error) = undone {
            warn!(%error, "undoing what the start has changed");
        }
    }
}

/// Takes the VIPs off `lo`, then the data plane away, for it guards them, and then puts the kernel's
/// settings back: also where the data plane cannot be removed, but not while VIPs are there.
pub(super) async fn take_away(
    handle: &Handle,
    vips: &[IpAddr],
    dataplane: Option<Dataplane>,
    settings: Option<Settings>,
) -> Result<(), RunError> {
    if let Err(error) = provision::remove_vips(handle, vips).await {
        warn!("VIPs could not be taken off lo: the data plane stays, silent");
        return Err(error);
    }
    let removed = dataplane.map_or(Ok(()), Dataplane::remove);
    if let Some(settings) = settings {
        settings.restore();
    }
    removed
}

/// Starts everything. May be given up at any time; whoever does, or gets an error, is to undo the
/// `progress`.
pub(super) async fn start(
    config: Config,
    handle: &Handle,
    progress: &mut Progress,
) -> Result<Unfinished, RunError> {
    let present = interface::list(handle).await?;
    let mut interfaces = needed_interfaces(&config, &present)?;
    earlier::interfaces_are_free(&config, &interfaces)?;
    // What can fail without the data plane is tried before the data plane is touched.
    let adverts = AdvertSocket::open(&config.cluster, handle).await?;
    interfaces.extend(probed::interfaces(&config, adverts.address(), &present));
    earlier::interfaces_are_free(&config, &interfaces)?;
    let excluded = earlier::excluded_links(&config, &interfaces);
    earlier::clear_loopback(&config, handle, !excluded.is_empty()).await?;
    earlier::detach(handle, excluded).await?;
    progress.provisioned = provisioned_vips(&config);
    let dataplane = progress.dataplane.insert(Dataplane::load(&config)?);
    progress
        .settings
        .get_or_insert_with(|| Settings::apply(&config.node.runtime_dir));
    attach(
        dataplane,
        config.node.xdp,
        &interfaces,
        &mut progress.adopted,
    )?;
    dataplane.drop_stale_links(&interfaces.iter().collect::<Vec<_>>())?;
    // Looked at again: now the interfaces tell how the program is attached.
    let present = interface::list(handle).await?;
    if !local_vips(&config).is_empty() {
        warn_of_unguarded(&present, &interfaces);
    }
    provision::add_vips(handle, &progress.provisioned).await?;
    finish(
        config,
        adverts,
        dataplane,
        &interfaces,
        &present,
        &progress.provisioned,
    )
}

/// Attaches to each interface. Goes on after an error: what an earlier agent left is to be taken over
/// wherever it is, or it would be undone.
fn attach(
    dataplane: &mut Dataplane,
    mode: XdpMode,
    interfaces: &[Interface],
    adopted: &mut bool,
) -> Result<(), RunError> {
    let mut result = Ok(());
    for interface in interfaces {
        match dataplane.attach(interface, mode) {
            Ok(Attachment::Fresh) => {}
            Ok(Attachment::Adopted) => {
                let interface = &interface.name;
                info!(interface, "adopted the data plane an earlier agent left");
                *adopted = true;
            }
            Err(error) => result = both(result, Err(error)),
        }
    }
    result
}

/// Says which interfaces let packets to VIPs in that the data plane does not see.
fn warn_of_unguarded(present: &[Interface], interfaces: &[Interface]) {
    let guarded: Vec<u32> = interfaces.iter().map(|interface| interface.index).collect();
    let others: Vec<&str> = interface::unguarded(present, &guarded)
        .into_iter()
        .map(|interface| interface.name.as_str())
        .collect();
    if !others.is_empty() {
        warn!(
            interfaces = others.join(", "),
            "no instance is on these interfaces, so the data plane does not guard them: packets to \
             a VIP that arrive there are taken by this host whether or not it is active"
        );
    }
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

/// A running agent without what is in its [`Progress`].
pub(super) struct Unfinished {
    parts: Parts,
    interfaces: BTreeMap<String, Option<Interface>>,
    election: Election,
    notices: mpsc::Receiver<Notice>,
    conflicts: mpsc::Receiver<Conflict>,
    events: EventReader,
    supervisor: Supervisor,
    addresses: AddressWatch,
    memberships: BTreeMap<String, Memberships>,
}

impl Unfinished {
    /// The running agent.
    pub(super) fn with(self, progress: Progress) -> Running {
        let settings = progress
            .settings
            .unwrap_or_else(|| Settings::apply(&self.parts.config.node.runtime_dir));
        let changing = Changing {
            dataplane: progress.dataplane,
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
            settings,
            memberships: self.memberships,
            waiting: BTreeMap::new(),
            guard: Trouble::default(),
            probed: probed::Said::default(),
        }
    }
}

/// Everything after the host is prepared; the election thread comes last.
fn finish(
    config: Config,
    adverts: AdvertSocket,
    dataplane: &mut Dataplane,
    interfaces: &[Interface],
    present: &[Interface],
    provisioned: &[IpAddr],
) -> Result<Unfinished, RunError> {
    let started = clock::now();
    let slots = dataplane.slots();
    let placements = place(&config, &slots, interfaces)?;
    let memberships = join_groups(&config, interfaces)?;
    let supervisor = Supervisor::start(&config, &slots)?;
    let addresses = watch_addresses(&config, provisioned);
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
        program: dataplane.program_id()?,
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
pub(super) fn watch_addresses(config: &Config, provisioned: &[IpAddr]) -> AddressWatch {
    let watched = Watched {
        provisioned: provisioned.to_vec(),
        vips: config
            .instances
            .iter()
            .flat_map(|instance| instance.vips.iter().copied())
            .collect(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(addresses::watch(watched));
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
