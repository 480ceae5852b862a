//! The data plane: nanoseconds per packet, by what becomes of it.
//!
//! Measured through `BPF_PROG_TEST_RUN`, so without driver and network; the frames are warm in the
//! cache. Every repetition gets a frame of its own (see [`trampoline`]): a probe is answered once, so
//! the probes of a run have 256 rising nonces on each of 64 links, which is what a link has saved up
//! echoes for; the slots of the links are reset before the next run. That each frame took the way it
//! was meant to is checked by the program's own counters.

mod frames;
mod trampoline;

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, HashMap, MapData, PerCpuArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use bytemuck::Zeroable as _;
use vip_agent::dataplane::object::OBJECT;
use vip_common::abi::{
    self, AgentSlot, BackendEntry, Counter, InstanceSlot, LivenessSlot, MacCell, NO_BACKEND,
    PeerKey, STEER_L2, STEER_LOCAL, ServiceSlot, VipEntry, globals,
};

use self::frames::{Family, KEY, LINKS, OURS, PORT, SUCCESSOR};
use self::trampoline::{Frames, Trampoline};
use crate::rows::Rows;

/// Interface of test runs' frames: loopback.
const INGRESS: u32 = 1;
/// Frames per run: as many as the links are answered at once.
const REPEAT: u32 = 16_384;

/// What is measured: a name, what becomes of the packet, the state it meets, and the packets.
struct Case {
    name: &'static str,
    counter: Option<Counter>,
    service: ServiceSlot,
    claim: u64,
    family: Family,
    frames: Frames,
}

/// Measures all cases, in turns.
pub(crate) fn run(runs: u32, rows: &mut Rows) -> Result<()> {
    let mut plane = Plane::load()?;
    let floor = trampoline::floor()?;
    let mut measured = Vec::new();
    for case in cases()? {
        let target = plane.program()?.fd()?.as_fd().try_clone_to_owned()?;
        let under_test = Trampoline::new(&case.frames, target.as_fd())?;
        let empty = Trampoline::new(&case.frames, floor.as_fd())?;
        measured.push((case, under_test, empty, Vec::new()));
    }
    let mut floors = Vec::new();
    for _ in 0..runs {
        for (case, under_test, empty, costs) in &mut measured {
            let floor = empty.run(REPEAT)?;
            plane.prepare(case)?;
            let before = plane.counted(case)?;
            let cost = under_test.run(REPEAT)?;
            let counted = plane.counted(case)? - before;
            ensure!(
                case.counter.is_none() || counted == u64::from(REPEAT),
                "{}: {counted} of {REPEAT} packets",
                case.name
            );
            costs.push(cost.saturating_sub(floor));
            floors.push(floor);
        }
    }
    for (case, .., costs) in measured {
        rows.numbers("xdp", case.name, "cost of a packet", "ns", costs);
    }
    let name = "an empty program (taken off)";
    rows.numbers("xdp", name, "cost of a packet", "ns", floors);
    Ok(())
}

fn cases() -> Result<Vec<Case>> {
    let case = |name, counter, frames| -> Result<Case> {
        Ok(Case {
            name,
            counter,
            service: ServiceSlot {
                mode: STEER_L2,
                backend: 0,
            },
            claim: InstanceSlot::claim(1, true),
            family: Family::V4,
            frames: Frames::new(frames)?,
        })
    };
    let local = ServiceSlot {
        mode: STEER_LOCAL,
        backend: NO_BACKEND,
    };
    let answered = Some(Counter::ProbeAnswered);
    Ok(vec![
        case("not ours", None, frames::plain()?)?,
        case(
            "ARP request answered",
            Some(Counter::ArpReply),
            frames::arp(),
        )?,
        Case {
            service: local,
            ..case(
                "IPv4, local VIP",
                Some(Counter::PassLocal),
                frames::to_vip()?,
            )?
        },
        case(
            "IPv4, steered VIP",
            Some(Counter::SteerTx),
            frames::to_vip()?,
        )?,
        Case {
            claim: 0,
            ..case(
                "IPv4, drained",
                Some(Counter::DrainForwarded),
                frames::to_vip()?,
            )?
        },
        case(
            "IPv4 probe answered",
            answered,
            frames::probes(Family::V4, REPEAT)?,
        )?,
        Case {
            family: Family::V6,
            ..case(
                "IPv6 probe answered",
                answered,
                frames::probes(Family::V6, REPEAT)?,
            )?
        },
        case(
            "IPv4 echo taken",
            Some(Counter::EchoTaken),
            frames::echoes(Family::V4, REPEAT)?,
        )?,
    ])
}

/// The program under test with its maps.
struct Plane {
    ebpf: Ebpf,
    instances: Array<MapData, InstanceSlot>,
    services: Array<MapData, ServiceSlot>,
    peers: HashMap<MapData, PeerKey, u32>,
    links: Array<MapData, LivenessSlot>,
    counters: PerCpuArray<MapData, u64>,
}

impl Plane {
    fn load() -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .override_global(globals::LIVENESS_PORT, &PORT, true)
            .override_global(globals::COARSE_TICK_NS, &10_000_000_u64, true)
            .load(OBJECT)
            .context("loading the BPF object")?;
        program(&mut ebpf)?.load()?;
        let mut plane = Self {
            instances: take(&mut ebpf, abi::INSTANCES)?,
            services: take(&mut ebpf, abi::SERVICES)?,
            peers: take(&mut ebpf, abi::PEERS)?,
            links: take(&mut ebpf, abi::LIVENESS)?,
            counters: take(&mut ebpf, abi::COUNTERS)?,
            ebpf,
        };
        plane.fill()?;
        Ok(plane)
    }

    fn program(&mut self) -> Result<&mut Xdp> {
        program(&mut self.ebpf)
    }

    /// What stays the same for all cases.
    fn fill(&mut self) -> Result<()> {
        let mut agent: Array<_, AgentSlot> = take(&mut self.ebpf, abi::AGENT)?;
        let lease = AgentSlot {
            lease_until_ns: u64::MAX,
            generation: 1,
            incarnation: 1,
            ..AgentSlot::zeroed()
        };
        agent.set(0, lease, 0)?;
        let mut vips: HashMap<_, [u8; 4], VipEntry> = take(&mut self.ebpf, abi::VIPS_V4)?;
        let vip = VipEntry {
            instance: 0,
            service: 0,
            stats: 0,
            reserved: 0,
        };
        vips.insert(frames::VIP, vip, 0)?;
        let mut vrids: Array<_, u64> = take(&mut self.ebpf, abi::VRIDS)?;
        vrids.set(u32::from(frames::VRID), 1, 0)?;
        let mut backends: Array<_, BackendEntry> = take(&mut self.ebpf, abi::BACKENDS)?;
        let backend = BackendEntry {
            destination: MacCell::new(SUCCESSOR),
            source: MacCell::new(OURS),
            ifindex: INGRESS,
            reserved: 0,
        };
        backends.set(0, backend, 0)?;
        Ok(())
    }

    /// The state that a case's packets meet.
    fn prepare(&mut self, case: &Case) -> Result<()> {
        let own = MacCell::new(OURS);
        let instance = InstanceSlot {
            claim: case.claim,
            mac_v4: own,
            mac_v6: own,
            station: own,
            ifindex: INGRESS,
            vrid: u32::from(frames::VRID),
            successor: MacCell::new(SUCCESSOR),
            drain_until_ns: u64::MAX,
            ..InstanceSlot::zeroed()
        };
        self.instances.set(0, instance, 0)?;
        self.services.set(0, case.service, 0)?;
        let known: Vec<PeerKey> = self.peers.keys().collect::<Result<_, _>>()?;
        for peer in &known {
            self.peers.remove(peer)?;
        }
        for link in 0..LINKS {
            self.peers.insert(case.family.peer(link), link, 0)?;
            let slot = LivenessSlot {
                probe_key: KEY,
                echo_key: KEY,
                local: case.family.local(),
                ..LivenessSlot::zeroed()
            };
            self.links.set(link, slot, 0)?;
        }
        Ok(())
    }

    /// How many packets have taken the case's way.
    fn counted(&self, case: &Case) -> Result<u64> {
        let Some(counter) = case.counter else {
            return Ok(0);
        };
        Ok(self.counters.get(&counter.index(), 0)?.iter().sum())
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let program = ebpf
        .program_mut(abi::PROGRAM)
        .context("the program is in the object")?;
    Ok(program.try_into()?)
}

fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M>
where
    M: TryFrom<aya::maps::Map>,
    M::Error: std::error::Error + Send + Sync + 'static,
{
    M::try_from(ebpf.take_map(name).context(name)?).context(name)
}
