//! The ABI between the XDP program and the agent: the BPF maps.
//!
//! A packet's way through the maps: destination address → [`VipEntry`] → [`InstanceSlot`] (has this
//! node claimed it?) and [`AgentSlot`] (is its agent's lease valid?) → [`ServiceSlot`] (where to?) →
//! [`BackendEntry`] (with which addresses?). A failover writes one word of an [`InstanceSlot`]; a
//! change of backend writes one [`ServiceSlot`]. A liveness probe's way: source address → `PEERS` →
//! [`LivenessSlot`].

pub mod agent;
pub mod backend;
pub mod counter;
pub mod event;
pub mod flight;
pub mod instance;
pub mod liveness;
#[cfg(feature = "user")]
mod pod;
pub mod stats;
pub mod vip;

pub use agent::AgentSlot;
pub use backend::{BackendEntry, MacCell, NO_BACKEND, STEER_L2, STEER_LOCAL, ServiceSlot};
pub use counter::Counter;
pub use event::{ConflictKind, Event};
pub use flight::{FLIGHT_RECORDS, FlightRecord};
pub use instance::{ANSWERING, CLAIMED, InstanceSlot};
pub use liveness::{EchoStamp, LivenessSlot, PROBE_INSTANCES, PeerKey};
pub use stats::Stats;
pub use vip::{VipEntry, VipKeyV4, VipKeyV6, VipSeen};

/// Version of everything in this module. Raised whenever a map's name, type, key, value or meaning
/// changes; it names the directory under which maps are pinned, so that two versions never share
/// one, and is compared before pinned maps are adopted.
pub const ABI_VERSION: u32 = 2;

/// Name of the XDP program inside the object file and as shown by `bpftool prog`.
pub const PROGRAM: &str = "vip_xdp";

/// What kind of BPF map a [`MapSpec`] names. The numbers are the kernel's `enum bpf_map_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_HASH`.
    Hash = 1,
    /// `BPF_MAP_TYPE_ARRAY`, created with `BPF_F_MMAPABLE`.
    MmapArray = 2,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`.
    PerCpuArray = 6,
    /// `BPF_MAP_TYPE_RINGBUF`.
    RingBuf = 27,
}

/// How many entries a map gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// Fixed number (for a ring buffer: bytes).
    Fixed(u32),
    /// Sized at load time by the number of configured VIPs.
    Vips,
    /// Sized at load time by the number of configured instances.
    Instances,
    /// Sized at load time by the number of configured backends.
    Backends,
}

/// One line of the map table: what the object file must contain and the agent expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapSpec {
    /// Name in the object file, and file name of the pin.
    pub name: &'static str,
    /// Map type.
    pub kind: MapKind,
    /// Size of a key in bytes (0 for a ring buffer).
    pub key_size: usize,
    /// Size of a value in bytes (0 for a ring buffer).
    pub value_size: usize,
    /// Number of entries.
    pub capacity: Capacity,
}

/// [`VipKeyV4`] → [`VipEntry`].
pub const VIPS_V4: &str = "VIPS_V4";
/// [`VipKeyV6`] → [`VipEntry`].
pub const VIPS_V6: &str = "VIPS_V6";
/// Instance index → [`InstanceSlot`].
pub const INSTANCES: &str = "INSTANCES";
/// Service index → [`ServiceSlot`].
pub const SERVICES: &str = "SERVICES";
/// Backend index → [`BackendEntry`].
pub const BACKENDS: &str = "BACKENDS";
/// [`Counter`] → packets.
pub const COUNTERS: &str = "COUNTERS";
/// VIP index → [`Stats`].
pub const VIP_STATS: &str = "VIP_STATS";
/// Backend index → [`Stats`].
pub const BACKEND_STATS: &str = "BACKEND_STATS";
/// Ring buffer of [`Event`].
pub const EVENTS: &str = "EVENTS";
/// 0 → [`AgentSlot`].
pub const AGENT: &str = "AGENT";
/// VRID → one more than the instance's index, as a `u64`; 0: no instance has it.
pub const VRIDS: &str = "VRIDS";
/// [`PeerKey`] → index into `LIVENESS`.
pub const PEERS: &str = "PEERS";
/// Index of a link to a peer → [`LivenessSlot`].
pub const LIVENESS: &str = "LIVENESS";
/// VIP index → [`VipSeen`].
pub const VIP_SEEN: &str = "VIP_SEEN";
/// Ring of [`FlightRecord`].
pub const FLIGHT: &str = "FLIGHT";

/// Number of links to peers that the data plane has room for.
pub const MAX_PEER_LINKS: u32 = 64;

/// Every map of the data plane.
pub const MAPS: [MapSpec; 15] = [
    spec::<VipKeyV4, VipEntry>(VIPS_V4, MapKind::Hash, Capacity::Vips),
    spec::<VipKeyV6, VipEntry>(VIPS_V6, MapKind::Hash, Capacity::Vips),
    spec::<u32, InstanceSlot>(INSTANCES, MapKind::MmapArray, Capacity::Instances),
    spec::<u32, ServiceSlot>(SERVICES, MapKind::MmapArray, Capacity::Instances),
    spec::<u32, BackendEntry>(BACKENDS, MapKind::MmapArray, Capacity::Backends),
    spec::<u32, u64>(
        COUNTERS,
        MapKind::PerCpuArray,
        Capacity::Fixed(Counter::COUNT),
    ),
    spec::<u32, Stats>(VIP_STATS, MapKind::PerCpuArray, Capacity::Vips),
    spec::<u32, Stats>(BACKEND_STATS, MapKind::PerCpuArray, Capacity::Backends),
    MapSpec {
        name: EVENTS,
        kind: MapKind::RingBuf,
        key_size: 0,
        value_size: 0,
        capacity: Capacity::Fixed(64 * 1024),
    },
    spec::<u32, AgentSlot>(AGENT, MapKind::MmapArray, Capacity::Fixed(1)),
    spec::<u32, u64>(VRIDS, MapKind::MmapArray, Capacity::Fixed(256)),
    spec::<PeerKey, u32>(PEERS, MapKind::Hash, Capacity::Fixed(MAX_PEER_LINKS)),
    spec::<u32, LivenessSlot>(
        LIVENESS,
        MapKind::MmapArray,
        Capacity::Fixed(MAX_PEER_LINKS),
    ),
    spec::<u32, VipSeen>(VIP_SEEN, MapKind::MmapArray, Capacity::Vips),
    spec::<u32, FlightRecord>(FLIGHT, MapKind::MmapArray, Capacity::Fixed(FLIGHT_RECORDS)),
];

const fn spec<K, V>(name: &'static str, kind: MapKind, capacity: Capacity) -> MapSpec {
    MapSpec {
        name,
        kind,
        key_size: size_of::<K>(),
        value_size: size_of::<V>(),
        capacity,
    }
}

/// Names of the read-only globals that the agent sets when it loads the program.
pub mod globals {
    /// `u64`: resolution of the kernel's coarse monotonic clock in nanoseconds (one scheduler
    /// tick). The program trusts the free coarse clock while a lease has more than this left, and
    /// reads the precise one only below it.
    pub const COARSE_TICK_NS: &str = "COARSE_TICK_NS";
    /// `u16`: UDP port of liveness probes; 0: none are answered or taken.
    pub const LIVENESS_PORT: &str = "LIVENESS_PORT";
    /// `u8`: log level of aya-log; 0 switches every log statement off (the verifier removes them).
    pub const LOG_LEVEL: &str = "AYA_LOG_LEVEL";
}
