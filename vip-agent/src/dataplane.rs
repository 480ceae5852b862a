//! The data plane as the agent sees it: loaded, attached, pinned, and filled.
//!
//! What is written while packets flow ([`slots`]) is memory shared with the kernel; everything else
//! happens at the start and the end.

pub mod adopt;
pub mod attach;
pub mod events;
pub mod flight;
mod mapped;
pub mod object;
pub mod peers;
pub mod pinned;
pub mod pins;
pub mod seen;
pub mod sizes;
pub mod slots;
pub mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use aya::maps::{MapData, PerCpuArray, RingBuf};
use aya::programs::Xdp;
use aya::programs::links::FdLink;
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use tracing::{info, warn};
use vip_common::abi::{self, Counter, MAPS, PROGRAM, Stats, globals};

use self::attach::{Attached, Attachment};
use self::flight::FlightRing;
use self::pins::Pins;
use self::seen::SeenTable;
use self::sizes::Sizes;
use self::slots::{BackendSlots, InstanceSlots, ServiceSlots};
use self::tables::Tables;
use crate::clock;
use crate::config::Config;
use crate::error::RunError;
use crate::host::interface::Interface;

/// The slots that are written while packets flow; shared between threads.
#[derive(Debug, Clone)]
pub struct Slots {
    /// The leases.
    pub instances: Arc<InstanceSlots>,
    /// The steering decisions.
    pub services: Arc<ServiceSlots>,
    /// The backends' addresses.
    pub backends: Arc<BackendSlots>,
    /// Who uses the VIPs.
    pub seen: Arc<SeenTable>,
    /// The flight recorder's ring.
    pub flight: Arc<FlightRing>,
}

/// A loaded data plane.
pub struct Dataplane {
    ebpf: Ebpf,
    pins: Pins,
    slots: Slots,
    counters: PerCpuArray<MapData, u64>,
    vip_stats: PerCpuArray<MapData, Stats>,
    backend_stats: PerCpuArray<MapData, Stats>,
    events: Option<RingBuf<MapData>>,
    tables: Tables,
    /// By interface name.
    links: BTreeMap<String, FdLink>,
}

impl std::fmt::Debug for Dataplane {
    /// The maps cannot be printed; where they are can.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dataplane")
            .field("pins", &self.pins)
            .finish_non_exhaustive()
    }
}

impl Dataplane {
    /// Loads the program with maps for this configuration, reusing pinned maps if they fit, and
    /// writes the VIP tables. No lease is valid afterwards and nothing is claimed; nothing is attached
    /// yet.
    ///
    /// # Errors
    /// [`RunError::Dataplane`] with what the kernel answered.
    pub fn load(config: &Config) -> Result<Self, RunError> {
        Self::load_with(config, false)
    }

    /// As [`Self::load`], for an agent that goes on with the data plane that is at work: lease and
    /// claims stay.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn reload(config: &Config) -> Result<Self, RunError> {
        Self::load_with(config, true)
    }

    fn load_with(config: &Config, resumed: bool) -> Result<Self, RunError> {
        let pins = Pins::new(&config.node.pin_dir);
        let sizes = Sizes::of(config);
        prepare_pins(&pins, sizes)?;
        let fresh = pins
            .is_empty()
            .map_err(RunError::io("looking for an earlier data plane"))?;
        let result = Self::load_pinned(config, pins.clone(), sizes, resumed);
        if result.is_err() && fresh {
            // Maps without a program are of no use to anybody. What an earlier agent left is: it
            // guards its VIPs.
            if let Err(error) = pins.remove() {
                warn!(%error, "removing the pinned maps again");
            }
        }
        result
    }

    fn load_pinned(
        config: &Config,
        pins: Pins,
        sizes: Sizes,
        resumed: bool,
    ) -> Result<Self, RunError> {
        let mut ebpf = load_object(config, &pins, sizes)?;
        let program = xdp(&mut ebpf)?;
        program
            .load()
            .map_err(RunError::dataplane("loading the XDP program"))?;
        pin_program(program, &pins)?;
        let slots = pinned::slots(&pins)?;
        let mut dataplane = Self {
            counters: per_cpu(&mut ebpf, abi::COUNTERS)?,
            vip_stats: per_cpu(&mut ebpf, abi::VIP_STATS)?,
            backend_stats: per_cpu(&mut ebpf, abi::BACKEND_STATS)?,
            events: Some(ring_buffer(&mut ebpf)?),
            tables: Tables::of(config),
            ebpf,
            pins,
            slots,
            links: BTreeMap::new(),
        };
        if !resumed {
            let released = dataplane.slots.instances.release_all();
            released.map_err(RunError::io("releasing the instances before the start"))?;
        }
        dataplane.write_tables()?;
        Ok(dataplane)
    }

    /// The slots.
    #[must_use]
    pub fn slots(&self) -> Slots {
        self.slots.clone()
    }

    /// The kernel's reports; can be taken once.
    pub fn take_events(&mut self) -> Option<RingBuf<MapData>> {
        self.events.take()
    }

    /// The loaded object, for its logger.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Kernel's number of the program: an interface with another one in its XDP slot is not guarded.
    ///
    /// # Errors
    /// [`RunError::Dataplane`] with what the kernel answered.
    pub fn program_id(&mut self) -> Result<u32, RunError> {
        let info = xdp(&mut self.ebpf)?
            .info()
            .map_err(RunError::dataplane("asking for the program's number"))?;
        Ok(info.id())
    }

    /// Attaches the program to an interface and pins the link. It stays attached while this value
    /// lives or the pin does. Attaching again changes nothing.
    ///
    /// # Errors
    /// See [`attach::attach`].
    pub fn attach(
        &mut self,
        interface: &Interface,
        mode: crate::config::XdpMode,
    ) -> Result<Attachment, RunError> {
        let own = self.program_id()?;
        if self.links.contains_key(&interface.name)
            && interface.xdp.is_some_and(|xdp| xdp.id == own)
        {
            return Ok(Attachment::Adopted);
        }
        let program = xdp(&mut self.ebpf)?;
        let Attached { attachment, link } = attach::attach(program, interface, mode, &self.pins)?;
        self.links.insert(interface.name.clone(), link);
        Ok(attachment)
    }

    /// Forgets the link to an interface that is gone. The pin goes with
    /// [`Self::drop_stale_links`] at the next start.
    pub fn forget(&mut self, interface: &str) {
        self.links.remove(interface);
    }

    /// Removes the pinned links of interfaces that are not in `keep`: they are gone, or no longer in
    /// the configuration.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn drop_stale_links(&self, keep: &[&Interface]) -> Result<(), RunError> {
        let wanted: Vec<_> = keep
            .iter()
            .map(|interface| self.pins.link(&interface.name, interface.index))
            .collect();
        for path in self
            .pins
            .links()
            .map_err(RunError::io("listing the pinned links"))?
        {
            if !wanted.contains(&path) {
                info!(path = %path.display(), "removing a stale pinned link");
                std::fs::remove_file(&path)
                    .map_err(RunError::io(format!("removing {}", path.display())))?;
            }
        }
        Ok(())
    }

    /// Detaches everywhere and removes every pin. VIPs must be off `lo` before.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn remove(self) -> Result<(), RunError> {
        self.pins
            .remove()
            .map_err(RunError::io("removing the pinned data plane"))
    }

    /// Data-plane counters by name, summed over all CPUs.
    ///
    /// # Errors
    /// [`RunError::Dataplane`].
    pub fn counters(&self) -> Result<BTreeMap<String, u64>, RunError> {
        Counter::ALL
            .iter()
            .map(|counter| {
                let values = self
                    .counters
                    .get(&counter.index(), 0)
                    .map_err(RunError::dataplane("reading the counters"))?;
                Ok((counter.name().to_owned(), values.iter().sum()))
            })
            .collect()
    }

    /// What was accepted for the VIP with this statistics index.
    ///
    /// # Errors
    /// [`RunError::Dataplane`].
    pub fn vip_stats(&self, index: u32) -> Result<Stats, RunError> {
        sum(&self.vip_stats, index)
    }

    /// What was sent to the backend with this index.
    ///
    /// # Errors
    /// [`RunError::Dataplane`].
    pub fn backend_stats(&self, index: u32) -> Result<Stats, RunError> {
        sum(&self.backend_stats, index)
    }

    /// Makes the VIP tables say what the configuration says, and forgets statistics that belonged
    /// to others.
    fn write_tables(&mut self) -> Result<(), RunError> {
        let changed = self.tables.write(&mut self.ebpf)?;
        if changed {
            let seen = self.slots.seen.clear();
            seen.map_err(RunError::io("clearing who used the VIPs"))?;
            for index in 0..self.vip_stats.len() {
                clear(&mut self.vip_stats, index)?;
            }
            for index in 0..self.backend_stats.len() {
                clear(&mut self.backend_stats, index)?;
            }
        }
        Ok(())
    }
}

/// Clears the way: pins of another version, and pinned maps that do not fit, are removed. Their
/// agent is gone (this one holds the lock), and nothing answers for the VIPs until the new data
/// plane is attached because the caller has taken them off `lo`.
fn prepare_pins(pins: &Pins, sizes: Sizes) -> Result<(), RunError> {
    let what = "looking for an earlier data plane";
    for other in pins.other_versions().map_err(RunError::io(what))? {
        warn!(path = %other.display(), "removing the data plane of another vip-agent version");
        pins::remove_tree(&other).map_err(RunError::io(format!("removing {}", other.display())))?;
    }
    if let Some(reason) = pins.incompatibility(sizes) {
        warn!(
            reason,
            "the pinned data plane does not fit this configuration: replacing it"
        );
        pins.remove()
            .map_err(RunError::io("removing the pinned data plane"))?;
    }
    pins.create()
        .map_err(RunError::io("creating the pin directory"))
}

fn load_object(config: &Config, pins: &Pins, sizes: Sizes) -> Result<Ebpf, RunError> {
    let tick = u64::try_from(clock::coarse_tick().as_nanos()).unwrap_or(u64::MAX);
    let log_level: u8 = match config.node.xdp_log {
        None => 0,
        Some(level) => level as u8,
    };
    let port = config.liveness.as_ref().map_or(0, |liveness| liveness.port);
    let mut loader = EbpfLoader::new();
    loader
        .verifier_log_level(VerifierLogLevel::STATS)
        .override_global(globals::COARSE_TICK_NS, &tick, true)
        .override_global(globals::LIVENESS_PORT, &port, true)
        .override_global(globals::LOG_LEVEL, &log_level, false);
    for spec in &MAPS {
        loader.map_max_entries(spec.name, sizes.entries(spec));
        loader.map_pin_path(spec.name, pins.map(spec.name));
    }
    loader
        .load(object::OBJECT)
        .map_err(RunError::dataplane("loading the BPF object"))
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, RunError> {
    ebpf.program_mut(PROGRAM)
        .ok_or_else(|| RunError::dataplane("looking for the XDP program")("not in the object"))?
        .try_into()
        .map_err(RunError::dataplane("looking for the XDP program"))
}

/// Pins the program in place of the one an earlier agent pinned. Links hold the program they run by
/// themselves; this pin is for whoever wants to look at it.
fn pin_program(program: &mut Xdp, pins: &Pins) -> Result<(), RunError> {
    let path = pins.program();
    let what = || format!("pinning the XDP program as {}", path.display());
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(RunError::io(what())(error)),
    }
    program.pin(&path).map_err(RunError::dataplane(what()))
}

fn per_cpu<V: aya::Pod>(ebpf: &mut Ebpf, name: &str) -> Result<PerCpuArray<MapData, V>, RunError> {
    let what = || format!("opening {name}");
    ebpf.take_map(name)
        .ok_or_else(|| RunError::dataplane(what())("not in the object"))?
        .try_into()
        .map_err(RunError::dataplane(what()))
}

fn ring_buffer(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>, RunError> {
    let what = || format!("opening {}", abi::EVENTS);
    ebpf.take_map(abi::EVENTS)
        .ok_or_else(|| RunError::dataplane(what())("not in the object"))?
        .try_into()
        .map_err(RunError::dataplane(what()))
}

fn sum(map: &PerCpuArray<MapData, Stats>, index: u32) -> Result<Stats, RunError> {
    let values = map
        .get(&index, 0)
        .map_err(RunError::dataplane("reading statistics"))?;
    Ok(values.iter().fold(Stats::default(), |total, value| Stats {
        packets: total.packets + value.packets,
        bytes: total.bytes + value.bytes,
    }))
}

fn clear(map: &mut PerCpuArray<MapData, Stats>, index: u32) -> Result<(), RunError> {
    let what = "clearing statistics";
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| RunError::io(what)(error))?;
    let zero = aya::maps::PerCpuValues::try_from(vec![Stats::default(); cpus])
        .map_err(RunError::io(what))?;
    map.set(index, zero, 0).map_err(RunError::dataplane(what))
}
