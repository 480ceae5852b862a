//! One loaded program, and what a frame does in it.

mod state;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues, RingBuf};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use vip_agent::dataplane::object::OBJECT;
use vip_common::abi::{
    self, AgentSlot, Counter, EchoStamp, Event, InstanceSlot, LivenessSlot, ServiceSlot, Stats,
    VipSeen, globals,
};

use super::fixture::{Expect, Lease, Setup, Stamp, Verdict};
use super::world;

/// Number of VIPs and backends with statistics.
const STATS: u32 = 4;
/// A second in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;
/// What is left of a valid lease, in nanoseconds.
pub const LEASE: u64 = 3600 * SECOND;
/// No frame is longer.
const LONGEST: usize = 4096;

/// The loaded program with its maps.
pub struct Harness {
    ebpf: Ebpf,
    agent: Array<MapData, AgentSlot>,
    instances: Array<MapData, InstanceSlot>,
    links: Array<MapData, LivenessSlot>,
    seen: Array<MapData, VipSeen>,
    services: Array<MapData, ServiceSlot>,
    counters: PerCpuArray<MapData, u64>,
    vip_stats: PerCpuArray<MapData, Stats>,
    backend_stats: PerCpuArray<MapData, Stats>,
    events: RingBuf<MapData>,
}

/// What a run changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub output: Vec<u8>,
    pub counters: Vec<(Counter, u64)>,
    pub vips: Vec<(u32, Stats)>,
    pub backends: Vec<(u32, Stats)>,
    pub events: Vec<Event>,
    /// Links on which a probe was remembered, and its nonce.
    pub probed: Vec<(u32, u64)>,
    pub stamps: Vec<Stamp>,
    /// Whether the lease was ended for good.
    pub ended: bool,
    /// Whether a forwarded frame was noted.
    pub drained: bool,
}

impl Outcome {
    /// The outcome that fulfils an expectation for a frame of `len` bytes.
    pub fn expected(expect: &Expect, len: usize) -> Self {
        let one = Stats {
            packets: 1,
            bytes: len as u64,
        };
        Self {
            verdict: expect.verdict,
            output: expect.output.clone(),
            counters: expect
                .counter
                .into_iter()
                .map(|counter| (counter, 1))
                .collect(),
            vips: expect.vip.into_iter().map(|index| (index, one)).collect(),
            backends: expect
                .backend
                .into_iter()
                .map(|index| (index, one))
                .collect(),
            events: expect.event.into_iter().collect(),
            probed: expect.probed.into_iter().collect(),
            stamps: expect.stamp.into_iter().collect(),
            ended: expect.ended,
            drained: expect.counter == Some(Counter::DrainForwarded),
        }
    }
}

/// Counters and statistics, all CPUs together.
#[derive(Debug, Clone)]
struct Totals {
    counters: Vec<u64>,
    vips: Vec<Stats>,
    backends: Vec<Stats>,
}

/// The program all tests of this process share.
pub fn harness() -> MutexGuard<'static, Harness> {
    static HARNESS: OnceLock<Mutex<Harness>> = OnceLock::new();
    HARNESS
        .get_or_init(|| Mutex::new(Harness::load(0, None)))
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

impl Harness {
    /// Loads the object; `tick` overrides the resolution of the coarse clock.
    pub fn load(log_level: u8, tick: Option<u64>) -> Self {
        Self::load_with_port(log_level, tick, world::PORT)
    }

    /// Like [`Self::load`], with the UDP port of liveness probes.
    pub fn load_with_port(log_level: u8, tick: Option<u64>, port: u16) -> Self {
        // Asked first: without root every later message would be a puzzle.
        assert!(
            rustix::process::geteuid().is_root(),
            "the data-plane tests load an XDP program and need root (`cargo xtask test` uses sudo)"
        );
        let mut loader = EbpfLoader::new();
        loader
            .verifier_log_level(VerifierLogLevel::STATS)
            .override_global(globals::LOG_LEVEL, &log_level, true)
            .override_global(globals::LIVENESS_PORT, &port, true)
            .map_max_entries(abi::VIP_STATS, STATS)
            .map_max_entries(abi::VIP_SEEN, STATS)
            .map_max_entries(abi::BACKEND_STATS, STATS);
        if let Some(tick) = &tick {
            loader.override_global(globals::COARSE_TICK_NS, tick, true);
        }
        let mut ebpf = loader
            .load(OBJECT)
            .expect("this kernel cannot take the BPF object");
        program(&mut ebpf)
            .load()
            .expect("the verifier refuses the XDP program");

        let mut harness = Self {
            agent: take(&mut ebpf, abi::AGENT),
            instances: take(&mut ebpf, abi::INSTANCES),
            links: take(&mut ebpf, abi::LIVENESS),
            seen: take(&mut ebpf, abi::VIP_SEEN),
            services: take(&mut ebpf, abi::SERVICES),
            counters: take(&mut ebpf, abi::COUNTERS),
            vip_stats: take(&mut ebpf, abi::VIP_STATS),
            backend_stats: take(&mut ebpf, abi::BACKEND_STATS),
            events: take(&mut ebpf, abi::EVENTS),
            ebpf,
        };
        harness.write_vips();
        harness.write_backends();
        harness.write_peers();
        harness
    }

    /// The loaded program.
    pub fn program(&mut self) -> &mut Xdp {
        program(&mut self.ebpf)
    }

    /// Brings the maps into the state, sends one frame, and says what changed.
    pub fn run(&mut self, setup: Setup, input: &[u8]) -> Outcome {
        let until = match setup.lease {
            Lease::Active | Lease::TakingOver | Lease::Backup | Lease::ToldOver => now() + LEASE,
            Lease::Expired | Lease::BackupExpired => now() - SECOND,
            Lease::NeverBegun => 0,
        };
        self.run_until(until, setup, input)
    }

    /// Like [`Self::run`], with the end of the lease given.
    pub fn run_until(&mut self, until: u64, setup: Setup, input: &[u8]) -> Outcome {
        self.set(until, setup);
        self.measure(input)
    }

    /// Sends one frame, and says what changed.
    pub fn measure(&mut self, input: &[u8]) -> Outcome {
        let before = self.totals();
        let (links, agent, instance) = (self.links(), self.agent(), self.instance());
        let start = now();
        let (verdict, output) = self.send(input);
        let end = now();
        let after = self.totals();
        let changed: Vec<_> = (0..)
            .zip(links.iter().zip(self.links()))
            .map(|(index, (before, after))| (index, *before, after))
            .collect();
        Outcome {
            probed: changed
                .iter()
                .filter(|(_, before, after)| before.probed_nonce != after.probed_nonce)
                .map(|(index, _, after)| (*index, after.probed_nonce))
                .collect(),
            stamps: changed
                .iter()
                .filter(|(_, before, after)| before.echo != after.echo)
                .map(|(index, _, after)| stamp(*index, &after.echo, start, end))
                .collect(),
            ended: self.agent().ended_generation != agent.ended_generation,
            drained: self.instance().drained_at_ns != instance.drained_at_ns,
            verdict,
            output,
            counters: Counter::ALL
                .iter()
                .map(|counter| {
                    let index = counter.index() as usize;
                    (*counter, after.counters[index] - before.counters[index])
                })
                .filter(|(_, raised)| *raised != 0)
                .collect(),
            vips: difference(&before.vips, &after.vips),
            backends: difference(&before.backends, &after.backends),
            events: self.drain_events(),
        }
    }

    /// Runs the program on one frame.
    pub fn send(&mut self, input: &[u8]) -> (Verdict, Vec<u8>) {
        let mut output = vec![0; LONGEST];
        let result = self
            .program()
            .test_run(TestRunOptions {
                data_in: Some(input),
                data_out: Some(&mut output),
                ..TestRunOptions::new()
            })
            .expect("BPF_PROG_TEST_RUN");
        output.truncate(result.data_size_out as usize);
        let verdict = match result.return_value {
            0 => Verdict::Aborted,
            1 => Verdict::Drop,
            2 => Verdict::Pass,
            3 => Verdict::Transmit,
            4 => Verdict::Redirect,
            other => panic!("the program returned {other}"),
        };
        (verdict, output)
    }

    /// The value of one counter.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters
            .get(&counter.index(), 0)
            .expect("a counter")
            .iter()
            .sum()
    }

    /// Takes everything out of the ring buffer.
    pub fn drain_events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(record) = self.events.next() {
            events.push(bytemuck::pod_read_unaligned(&record));
        }
        events
    }

    fn totals(&self) -> Totals {
        let stats = |map: &PerCpuArray<MapData, Stats>| {
            (0..STATS)
                .map(|index| sum(&map.get(&index, 0).expect("statistics")))
                .collect()
        };
        Totals {
            counters: Counter::ALL
                .iter()
                .map(|counter| self.counter(*counter))
                .collect(),
            vips: stats(&self.vip_stats),
            backends: stats(&self.backend_stats),
        }
    }
}

/// The stamp of an echo that arrived between two times.
fn stamp(link: u32, echo: &EchoStamp, start: u64, end: u64) -> Stamp {
    assert_eq!(echo.begin, echo.end, "a whole stamp");
    assert!(
        (start..=end).contains(&echo.arrived_ns),
        "arrived at {} between {start} and {end}",
        echo.arrived_ns
    );
    Stamp {
        link,
        nonce: echo.begin,
        incarnation: echo.incarnation,
        lease_left_ns: echo.lease_left_ns,
        instances: echo.instances.map(u64::to_ne_bytes),
    }
}

/// The precise monotonic clock, the one leases are measured on, in nanoseconds.
pub fn now() -> u64 {
    nanoseconds(rustix::time::ClockId::Monotonic)
}

/// The coarse monotonic clock, in nanoseconds.
pub fn coarse_now() -> u64 {
    nanoseconds(rustix::time::ClockId::MonotonicCoarse)
}

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    u64::try_from(time.tv_sec).expect("after boot") * 1_000_000_000
        + u64::try_from(time.tv_nsec).expect("not negative")
}

fn program(ebpf: &mut Ebpf) -> &mut Xdp {
    let program = ebpf
        .program_mut(abi::PROGRAM)
        .expect("the program is in the object");
    program.try_into().expect("the program is of type XDP")
}

fn take<M>(ebpf: &mut Ebpf, name: &str) -> M
where
    M: TryFrom<aya::maps::Map>,
    M::Error: std::fmt::Debug,
{
    ebpf.take_map(name).expect(name).try_into().expect(name)
}

fn sum(values: &PerCpuValues<Stats>) -> Stats {
    values.iter().fold(Stats::default(), |total, value| Stats {
        packets: total.packets + value.packets,
        bytes: total.bytes + value.bytes,
    })
}

fn difference(before: &[Stats], after: &[Stats]) -> Vec<(u32, Stats)> {
    (0..)
        .zip(before.iter().zip(after))
        .filter(|(_, (before, after))| before != after)
        .map(|(index, (before, after))| {
            let (packets, bytes) = (after.packets - before.packets, after.bytes - before.bytes);
            (index, Stats { packets, bytes })
        })
        .collect()
}
