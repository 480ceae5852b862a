//! Brings the agent up, step by step; a step that fails undoes the ones before it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use rtnetlink::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};
use vip_proto::NodeAddress;

use super::electing::{self, Elected, Election};
use super::guard::Trouble;
use super::reload::{self, Order};
use super::shared::{Changing, Parts, Shared};
use super::{both, conflict_channel, earlier, ending, local_vips, probed, provisioned_vips};
use crate::config::Config;
use crate::dataplane::Dataplane;
use crate::dataplane::attach::{self, Attachment};
use crate::dataplane::events::{Conflict, ConflictTally, EventReader};
use crate::driver::Notice;
use crate::error::RunError;
use crate::health::supervisor::{Boards, Supervisor};
use crate::host::addresses::{self, Watched};
use crate::host::interface::{self, Interface};
use crate::host::membership::{self, Memberships};
use crate::host::nic_filter::NicFilters;
use crate::host::provision;
use crate::host::settings::Settings;
use crate::inputs::adverts::AdvertSocket;
use crate::inputs::request::Request;

/// The parts of a running agent.
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) election: Election,
    pub(super) notices: mpsc::Receiver<Notice>,
    /// What the control API asks of the daemon itself.
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) conflicts: mpsc::Receiver<Conflict>,
    pub(super) events: EventReader,
    pub(super) supervisor: Supervisor,
    pub(super) addresses: AddressWatch,
    pub(super) settings: Settings,
    pub(super) filters: NicFilters,
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
    /// What was added to the filters of network cards.
    filters: Option<NicFilters>,
    memberships: BTreeMap<String, Memberships>,
    /// VIPs that may be on `lo`.
    provisioned: Vec<IpAddr>,
    elected: Option<Elected>,
}

impl Progress {
    /// Undoes it: what is claimed is handed over, then the VIPs go, for the data plane guards them.
    /// What an earlier agent left stays, silent.
    pub(super) async fn undo(self, handle: &Handle) {
        if let Some(elected) = self.elected {
            let ended = ending::end(
                &elected.requests,
                elected.election,
                Request::Shutdown,
                std::future::pending(),
            )
            .await;
            if let Err(error) = ended {
                warn!(%error, "ending the election that had begun");
            }
        }
        if self.adopted {
            info!("the data plane an earlier agent left stays as it was, silent");
            return;
        }
        let Some(dataplane) = self.dataplane else {
            return;
        };
        let undone = take_away(handle, &self.provisioned, Some(dataplane), self.settings).await;
        if let Err(error) = undone {
            warn!(%error, "undoing what the start has changed");
        }
        if let Some(filters) = self.filters {
            filters.restore(handle).await;
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
///
/// Where an earlier agent's data plane is at work and fits, the election comes first: until its first
/// advert the lease that the earlier one left runs down. Else it comes last.
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
    let address = adverts.address();
    interfaces.extend(probed::interfaces(&config, address, &present));
    earlier::interfaces_are_free(&config, &interfaces)?;
    let mut gone_on_with = Vec::new();
    match earlier::adoption(&config, &interfaces) {
        Some(adoption) => {
            progress.adopted = true;
            let claims = adoption.resumed.claims.iter();
            gone_on_with.extend(claims.map(|(vrid, _)| *vrid));
            let slots = adoption.slots.clone();
            let ground = electing::Ground {
                slots: adoption.slots,
                programs: adoption.programs,
                interfaces: &interfaces,
                earlier: Some((adoption.incarnation, adoption.resumed)),
            };
            let elected = electing::start(&config, adverts, ground)
                .inspect_err(|_| earlier::give_up(&slots))?;
            progress.elected = Some(elected);
            // The groups were left with the earlier agent, and solicitations come all the time.
            progress.memberships = join_groups(&config, &interfaces)?;
            prepare(&config, handle, &interfaces, progress).await?;
        }
        None => {
            progress.memberships = join_groups(&config, &interfaces)?;
            let dataplane = prepare(&config, handle, &interfaces, progress).await?;
            let ground = electing::Ground {
                slots: dataplane.slots(),
                programs: vec![dataplane.program_id()?],
                interfaces: &interfaces,
                earlier: None,
            };
            progress.elected = Some(electing::start(&config, adverts, ground)?);
        }
    }
    let unfinished = finish(config, handle, &interfaces, address, progress).await?;
    if let Some(elected) = &progress.elected {
        // VIPs may be new, or have another MAC address; and the repeats of the earlier agent ended
        // with it.
        for vrid in gone_on_with {
            elected.announcer.announce(vrid);
        }
    }
    Ok(unfinished)
}

/// Brings host and data plane in line with the configuration. If the election runs already, then it
/// learns of the new program before anything is attached.
async fn prepare<'p>(
    config: &Config,
    handle: &Handle,
    interfaces: &[Interface],
    progress: &'p mut Progress,
) -> Result<&'p mut Dataplane, RunError> {
    let excluded = earlier::excluded_links(config, interfaces);
    earlier::clear_loopback(config, handle, !excluded.is_empty()).await?;
    earlier::detach(handle, excluded).await?;
    progress.provisioned = provisioned_vips(config);
    let dataplane = if progress.elected.is_some() {
        Dataplane::reload(config)?
    } else {
        Dataplane::load(config)?
    };
    let dataplane = progress.dataplane.insert(dataplane);
    progress
        .settings
        .get_or_insert_with(|| Settings::apply(&config.node.runtime_dir));
    if let Some(elected) = &progress.elected {
        elected.expect_program(dataplane.program_id()?).await?;
    }
    attach(dataplane, config, interfaces, &mut progress.adopted)?;
    dataplane.drop_stale_links(&interfaces.iter().collect::<Vec<_>>())?;
    provision::add_vips(handle, &progress.provisioned).await?;
    Ok(dataplane)
}

/// Attaches to each interface. Goes on after an error: what an earlier agent left is to be taken over
/// wherever it is, or it would be undone.
fn attach(
    dataplane: &mut Dataplane,
    config: &Config,
    interfaces: &[Interface],
    adopted: &mut bool,
) -> Result<(), RunError> {
    let mut result = Ok(());
    for interface in interfaces {
        let mode = attach::mode(config, interface);
        if mode != config.node.xdp {
            info!(
                interface = interface.name,
                "generic XDP: with a native program veth keeps frames to a virtual MAC address \
                 from this host"
            );
        }
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
pub(super) fn needed_interfaces(
    config: &Config,
    present: &[Interface],
) -> Result<Vec<Interface>, RunError> {
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
    config: Config,
    address: NodeAddress,
    boards: Boards,
    interfaces: BTreeMap<String, Option<Interface>>,
    conflicts: mpsc::Receiver<Conflict>,
    tally: Arc<ConflictTally>,
    events: EventReader,
    supervisor: Supervisor,
    addresses: AddressWatch,
}

impl Unfinished {
    /// The running agent.
    pub(super) fn with(self, progress: Progress) -> Result<Running, RunError> {
        let (Some(elected), Some(settings), Some(filters)) =
            (progress.elected, progress.settings, progress.filters)
        else {
            return Err(RunError::dataplane("starting")("a step was left out"));
        };
        let changing = Changing {
            dataplane: progress.dataplane,
            interfaces: self.interfaces,
        };
        let (reloads, orders) = reload::orders();
        let parts = Parts {
            config: self.config,
            boards: self.boards,
            requests: elected.requests,
            reloads,
            incarnation: elected.incarnation.to_string(),
            started: elected.started,
            realtime: elected.realtime,
            resumed: elected.resumed,
            announcer: elected.announcer,
            takeovers: elected.takeovers,
            conflicts: self.tally,
        };
        Ok(Running {
            shared: Arc::new(Shared::new(parts, changing)),
            election: elected.election,
            notices: elected.notices,
            orders,
            conflicts: self.conflicts,
            events: self.events,
            supervisor: self.supervisor,
            addresses: self.addresses,
            settings,
            filters,
            memberships: progress.memberships,
            waiting: BTreeMap::new(),
            guard: Trouble::default(),
            probed: probed::Said::new(self.address),
        })
    }
}

/// Everything around the election.
async fn finish(
    config: Config,
    handle: &Handle,
    interfaces: &[Interface],
    address: NodeAddress,
    progress: &mut Progress,
) -> Result<Unfinished, RunError> {
    let (Some(dataplane), Some(elected)) = (&mut progress.dataplane, &progress.elected) else {
        return Err(RunError::dataplane("starting")("a step was left out"));
    };
    // Looked at again: now the interfaces tell how the program is attached.
    let present = interface::list(handle).await?;
    let filters = NicFilters::remembered(&config.node.runtime_dir);
    let filters = progress.filters.insert(filters);
    filters.apply(handle, &config, &present).await;
    if !local_vips(&config).is_empty() {
        warn_of_unguarded(&present, interfaces);
    }
    let supervisor = Supervisor::start(&config, &dataplane.slots(), elected.resumed)?;
    let addresses = watch_addresses(&config, &progress.provisioned);
    let (conflict_sender, conflicts) = conflict_channel();
    let events = dataplane
        .take_events()
        .ok_or_else(|| RunError::dataplane("reading events")("the ring buffer is taken"))?;
    let tally = Arc::new(ConflictTally::new(config.instances.len()));
    let ebpf = dataplane.ebpf();
    let events = EventReader::start(ebpf, events, conflict_sender, Arc::clone(&tally))?;
    Ok(Unfinished {
        boards: supervisor.boards().clone(),
        config,
        address,
        interfaces: by_name(interfaces, &present),
        conflicts,
        tally,
        events,
        supervisor,
        addresses,
    })
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
