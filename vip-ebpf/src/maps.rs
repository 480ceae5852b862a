//! Every map, and the typed look-ups in them: the only place that makes pointers into map values.
//!
//! Names, types and sizes are those of `vip_common::abi::MAPS`. Numbers of entries here are
//! placeholders for those that the configuration sets at load time.

use core::ptr;

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};
use vip_common::abi::{
    AgentSlot, BackendEntry, Counter, Event, FLIGHT_RECORDS, FlightRecord, InstanceSlot,
    LivenessSlot, MAX_PEER_LINKS, PeerKey, ServiceSlot, Stats, VipEntry, VipKeyV4, VipKeyV6,
    VipSeen,
};
use vip_common::net::MacAddress;
use vip_common::net::liveness::Liveness;

const SIZED_AT_LOAD: u32 = 64;
const EVENTS_BYTES: u32 = 64 * 1024;

#[map]
static VIPS_V4: HashMap<VipKeyV4, VipEntry> = HashMap::with_max_entries(SIZED_AT_LOAD, 0);
#[map]
static VIPS_V6: HashMap<VipKeyV6, VipEntry> = HashMap::with_max_entries(SIZED_AT_LOAD, 0);
#[map]
static INSTANCES: Array<InstanceSlot> = Array::with_max_entries(SIZED_AT_LOAD, BPF_F_MMAPABLE);
#[map]
static SERVICES: Array<ServiceSlot> = Array::with_max_entries(SIZED_AT_LOAD, BPF_F_MMAPABLE);
#[map]
static BACKENDS: Array<BackendEntry> = Array::with_max_entries(SIZED_AT_LOAD, BPF_F_MMAPABLE);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);
#[map]
static VIP_STATS: PerCpuArray<Stats> = PerCpuArray::with_max_entries(SIZED_AT_LOAD, 0);
#[map]
static BACKEND_STATS: PerCpuArray<Stats> = PerCpuArray::with_max_entries(SIZED_AT_LOAD, 0);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);
#[map]
static AGENT: Array<AgentSlot> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static VRIDS: Array<u64> = Array::with_max_entries(256, BPF_F_MMAPABLE);
#[map]
static PEERS: HashMap<PeerKey, u32> = HashMap::with_max_entries(MAX_PEER_LINKS, 0);
#[map]
static LIVENESS: Array<LivenessSlot> = Array::with_max_entries(MAX_PEER_LINKS, BPF_F_MMAPABLE);
#[map]
static VIP_SEEN: Array<VipSeen> = Array::with_max_entries(SIZED_AT_LOAD, BPF_F_MMAPABLE);
/// Written by the agent alone; here because maps come from the object.
#[map]
static FLIGHT: Array<FlightRecord> = Array::with_max_entries(FLIGHT_RECORDS, BPF_F_MMAPABLE);

/// Resolution of the coarse clock in nanoseconds; the agent sets it at load time. The default is
/// that of the slowest kernel clock in use (100 Hz), which is right everywhere and costs a precise
/// reading a little more often.
#[unsafe(no_mangle)]
static COARSE_TICK_NS: Global<u64> = Global::new(10_000_000);

/// UDP port of liveness probes; 0: none.
#[unsafe(no_mangle)]
static LIVENESS_PORT: Global<u16> = Global::new(0);

/// UDP port of liveness probes; 0: none are answered or taken.
#[inline(always)]
pub fn liveness_port() -> u16 {
    LIVENESS_PORT.load()
}

/// Resolution of the coarse clock in nanoseconds.
#[inline(always)]
pub fn coarse_tick_ns() -> u64 {
    COARSE_TICK_NS.load()
}

/// The VIP with this IPv4 address.
#[inline(always)]
pub fn vip_v4(address: &VipKeyV4) -> Option<VipEntry> {
    // SAFETY: copied at once; the agent does not rewrite entries in use, and a torn read would still
    // be a valid value.
    unsafe { VIPS_V4.get(address) }.copied()
}

/// The VIP with this IPv6 address.
#[inline(always)]
pub fn vip_v6(address: &VipKeyV6) -> Option<VipEntry> {
    // SAFETY: as in `vip_v4`.
    unsafe { VIPS_V6.get(address) }.copied()
}

/// The agent's lease. Every field is read once, and each is one aligned machine word.
#[derive(Clone, Copy)]
pub struct Agent(*mut AgentSlot);

/// The agent's slot.
#[inline(always)]
pub fn agent() -> Option<Agent> {
    AGENT.get_ptr_mut(0).map(Agent)
}

impl Agent {
    /// End of the lease on the monotonic clock, in nanoseconds.
    #[inline(always)]
    pub fn lease_until_ns(self) -> u64 {
        // SAFETY: as in `Instance::claim`.
        unsafe { ptr::read_volatile(&raw const (*self.0).lease_until_ns) }
    }

    /// Number of the present lease.
    #[inline(always)]
    pub fn generation(self) -> u64 {
        // SAFETY: as in `Instance::claim`.
        unsafe { ptr::read_volatile(&raw const (*self.0).generation) }
    }

    /// Number of the last lease that a prober was told is over.
    #[inline(always)]
    pub fn ended_generation(self) -> u64 {
        // SAFETY: as in `Instance::claim`.
        unsafe { ptr::read_volatile(&raw const (*self.0).ended_generation) }
    }

    /// Makes the lease with this number count no more, whatever the agent writes.
    #[inline(always)]
    pub fn end(self, generation: u64) {
        // SAFETY: as in `Instance::claim`; the word is the program's own.
        unsafe { ptr::write_volatile(&raw mut (*self.0).ended_generation, generation) }
    }

    /// The agent's incarnation in the election.
    #[inline(always)]
    pub fn incarnation(self) -> u64 {
        // SAFETY: as in `Instance::claim`.
        unsafe { ptr::read_volatile(&raw const (*self.0).incarnation) }
    }
}

/// The slot of an instance. The agent stores into it at any time, so every field is read once, and
/// each is one aligned machine word.
#[derive(Clone, Copy)]
pub struct Instance(*mut InstanceSlot);

/// The instance with this index.
#[inline(always)]
pub fn instance(index: u32) -> Option<Instance> {
    INSTANCES.get_ptr_mut(index).map(Instance)
}

/// Index of the instance with this identifier.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "an index, plus one")]
pub fn index_of(vrid: u8) -> Option<u32> {
    let cell = VRIDS.get_ptr(u32::from(vrid))?;
    // SAFETY: as in `Instance::claim`.
    (unsafe { ptr::read_volatile(cell) } as u32).checked_sub(1)
}

impl Instance {
    /// Whether and how this node has claimed the instance.
    #[inline(always)]
    pub fn claim(self) -> u64 {
        // SAFETY: the pointer is that of an array element, which lives as long as the program; an
        // aligned 8-byte volatile read is one load and cannot be torn.
        unsafe { ptr::read_volatile(&raw const (*self.0).claim) }
    }

    /// The MAC address that ARP answers carry.
    #[inline(always)]
    pub fn mac_v4(self) -> MacAddress {
        // SAFETY: as in `claim`; the cell is eight aligned bytes.
        mac_of(unsafe { ptr::read_volatile((&raw const (*self.0).mac_v4).cast::<u64>()) })
    }

    /// The MAC address that Neighbor Discovery answers carry.
    #[inline(always)]
    pub fn mac_v6(self) -> MacAddress {
        // SAFETY: as in `mac_v4`.
        mac_of(unsafe { ptr::read_volatile((&raw const (*self.0).mac_v6).cast::<u64>()) })
    }

    /// The MAC address of the interface itself.
    #[inline(always)]
    pub fn station(self) -> MacAddress {
        // SAFETY: as in `mac_v4`.
        mac_of(unsafe { ptr::read_volatile((&raw const (*self.0).station).cast::<u64>()) })
    }

    /// The interface the VIPs live on.
    #[inline(always)]
    pub fn ifindex(self) -> u32 {
        // SAFETY: as in `claim`.
        unsafe { ptr::read_volatile(&raw const (*self.0).ifindex) }
    }

    /// When the present claim was made, on the monotonic clock in nanoseconds.
    #[inline(always)]
    pub fn claimed_at_ns(self) -> u64 {
        // SAFETY: as in `claim`.
        unsafe { ptr::read_volatile(&raw const (*self.0).claimed_at_ns) }
    }

    /// The station that took the instance over, if one is known.
    #[inline(always)]
    pub fn successor(self) -> Option<MacAddress> {
        // SAFETY: as in `mac_v4`.
        let cell = unsafe { ptr::read_volatile((&raw const (*self.0).successor).cast::<u64>()) };
        if cell == 0 { None } else { Some(mac_of(cell)) }
    }

    /// Until when frames are forwarded to it.
    #[inline(always)]
    pub fn drain_until_ns(self) -> u64 {
        // SAFETY: as in `claim`.
        unsafe { ptr::read_volatile(&raw const (*self.0).drain_until_ns) }
    }

    /// Notes that a frame has just been forwarded.
    #[inline(always)]
    pub fn set_drained(self, now: u64) {
        // SAFETY: as in `claim`; the word is the program's own.
        unsafe { ptr::write_volatile(&raw mut (*self.0).drained_at_ns, now) }
    }
}

/// One link to a peer. What the agent writes into it is read once, word by word; a key that is half
/// replaced makes one authentication fail.
#[derive(Clone, Copy)]
pub struct Link(*mut LivenessSlot);

/// The link to the peer with this address.
#[inline(always)]
pub fn link(source: &PeerKey) -> Option<Link> {
    // SAFETY: copied at once, as in `vip_v4`.
    let index = unsafe { PEERS.get(source) }.copied()?;
    LIVENESS.get_ptr_mut(index).map(Link)
}

impl Link {
    /// Key of the probes that the peer sends; zero: none.
    #[inline(always)]
    pub fn probe_key(self) -> [u64; 2] {
        // SAFETY: as in `Instance::claim`.
        unsafe {
            [
                ptr::read_volatile(&raw const (*self.0).probe_key[0]),
                ptr::read_volatile(&raw const (*self.0).probe_key[1]),
            ]
        }
    }

    /// Key of the echoes that the peer sends; zero: none.
    #[inline(always)]
    pub fn echo_key(self) -> [u64; 2] {
        // SAFETY: as in `Instance::claim`.
        unsafe {
            [
                ptr::read_volatile(&raw const (*self.0).echo_key[0]),
                ptr::read_volatile(&raw const (*self.0).echo_key[1]),
            ]
        }
    }

    /// This node's own address on the link.
    #[inline(always)]
    pub fn local(self) -> u128 {
        // SAFETY: as in `Instance::claim`; `u128` is read as two aligned words.
        unsafe { ptr::read((&raw const (*self.0).local).cast::<u128>()) }
    }

    /// What is remembered of the last probe that was answered.
    #[inline(always)]
    pub fn probed(self) -> Probed {
        // SAFETY: as in `Instance::claim`.
        unsafe {
            Probed {
                nonce: ptr::read_volatile(&raw const (*self.0).probed_nonce),
                key: ptr::read_volatile(&raw const (*self.0).probed_key),
                at_ns: ptr::read_volatile(&raw const (*self.0).probed_at_ns),
                credit_ns: ptr::read_volatile(&raw const (*self.0).credit_ns),
            }
        }
    }

    /// Remembers the probe that is answered now.
    #[inline(always)]
    pub fn set_probed(self, probed: Probed) {
        // SAFETY: as in `Instance::claim`; the words are the program's own.
        unsafe {
            ptr::write_volatile(&raw mut (*self.0).probed_nonce, probed.nonce);
            ptr::write_volatile(&raw mut (*self.0).probed_key, probed.key);
            ptr::write_volatile(&raw mut (*self.0).probed_at_ns, probed.at_ns);
            ptr::write_volatile(&raw mut (*self.0).credit_ns, probed.credit_ns);
        }
    }

    /// Nonce of the last echo.
    #[inline(always)]
    pub fn stamped_nonce(self) -> u64 {
        // SAFETY: as in `Instance::claim`.
        unsafe { ptr::read_volatile(&raw const (*self.0).echo.begin) }
    }

    /// Stamps an echo: a reader that finds its nonce at both ends has read one echo. Frames of one
    /// flow arrive on one CPU, so there is one writer.
    #[inline(always)]
    pub fn stamp(self, nonce: u64, arrived_ns: u64, echo: &Liveness) {
        // SAFETY: as in `Instance::claim`; the words are the program's own.
        unsafe {
            let stamp = &raw mut (*self.0).echo;
            ptr::write_volatile(&raw mut (*stamp).begin, nonce);
            ptr::write_volatile(&raw mut (*stamp).arrived_ns, arrived_ns);
            let incarnation = u64::from_be_bytes(echo.incarnation);
            ptr::write_volatile(&raw mut (*stamp).incarnation, incarnation);
            let lease_left = u64::from_be_bytes(echo.lease_left_ns);
            ptr::write_volatile(&raw mut (*stamp).lease_left_ns, lease_left);
            for (index, entry) in echo.instances.iter().enumerate() {
                let word = (&raw mut (*stamp).instances).cast::<u64>().add(index);
                ptr::write_volatile(word, u64::from_ne_bytes(*entry));
            }
            ptr::write_volatile(&raw mut (*stamp).end, nonce);
        }
    }
}

/// What is remembered of the last probe that was answered on a link.
#[derive(Clone, Copy)]
pub struct Probed {
    /// Its nonce.
    pub nonce: u64,
    /// Half of the key it was authenticated with.
    pub key: u64,
    /// When it was answered, on the monotonic clock in nanoseconds.
    pub at_ns: u64,
    /// Time that was left saved up for echoes then, in nanoseconds.
    pub credit_ns: u64,
}

/// Who uses a VIP. Both words are the program's own; CPUs may overwrite each other's, which are
/// alike.
#[derive(Clone, Copy)]
pub struct Seen(*mut VipSeen);

/// What is known of who uses the VIP with this index.
#[inline(always)]
pub fn seen(index: u32) -> Option<Seen> {
    VIP_SEEN.get_ptr_mut(index).map(Seen)
}

impl Seen {
    /// When somebody last wanted the VIP.
    #[inline(always)]
    pub fn wanted_ns(self) -> u64 {
        // SAFETY: as in `Instance::claim`.
        unsafe { ptr::read_volatile(&raw const (*self.0).wanted_ns) }
    }

    /// Notes that somebody wants the VIP.
    #[inline(always)]
    pub fn set_wanted(self, now: u64) {
        // SAFETY: as in `Instance::claim`.
        unsafe { ptr::write_volatile(&raw mut (*self.0).wanted_ns, now) }
    }

    /// When the first packet after a claim arrived.
    #[inline(always)]
    pub fn first_packet_ns(self) -> u64 {
        // SAFETY: as in `Instance::claim`.
        unsafe { ptr::read_volatile(&raw const (*self.0).first_packet_ns) }
    }

    /// Notes the first packet after a claim.
    #[inline(always)]
    pub fn set_first_packet(self, now: u64) {
        // SAFETY: as in `Instance::claim`.
        unsafe { ptr::write_volatile(&raw mut (*self.0).first_packet_ns, now) }
    }
}

/// Where packets of the service with this index go: both halves from one load.
#[inline(always)]
pub fn service(index: u32) -> Option<ServiceSlot> {
    let slot = SERVICES.get_ptr(index)?;
    // SAFETY: the pointer is that of an array element of eight aligned bytes; reading them as one
    // number is one load, and `ServiceSlot` is two numbers side by side.
    Some(unsafe {
        core::mem::transmute::<u64, ServiceSlot>(ptr::read_volatile(slot.cast::<u64>()))
    })
}

/// How frames reach one backend. Its cells are read one after the other; between two of them the
/// agent may have written, which is harmless because it never changes an entry that is in use other
/// than by resolving a new address.
#[derive(Clone, Copy)]
pub struct Backend {
    destination: u64,
    source: u64,
    /// The interface behind which the backend is.
    pub ifindex: u32,
}

/// The backend with this index.
#[inline(always)]
pub fn backend(index: u32) -> Option<Backend> {
    let entry = BACKENDS.get_ptr(index)?;
    // SAFETY: as in `Instance`.
    unsafe {
        Some(Backend {
            destination: ptr::read_volatile((&raw const (*entry).destination).cast()),
            source: ptr::read_volatile((&raw const (*entry).source).cast()),
            ifindex: ptr::read_volatile(&raw const (*entry).ifindex),
        })
    }
}

impl Backend {
    /// Whether the destination is known.
    #[inline(always)]
    pub const fn is_resolved(self) -> bool {
        self.destination != 0
    }

    /// Destination MAC address; of no meaning while the backend is not resolved.
    #[inline(always)]
    pub fn destination(self) -> MacAddress {
        mac_of(self.destination)
    }

    /// Source MAC address.
    #[inline(always)]
    pub fn source(self) -> MacAddress {
        mac_of(self.source)
    }
}

/// The address in the low-addressed six bytes of a `MacCell`.
#[inline(always)]
const fn mac_of(cell: u64) -> MacAddress {
    let [a, b, c, d, e, f, _, _] = cell.to_ne_bytes();
    [a, b, c, d, e, f]
}

/// Adds one to this CPU's cell of a counter.
#[inline(always)]
pub fn raise(counter: Counter) {
    if let Some(cell) = COUNTERS.get_ptr_mut(counter.index()) {
        // SAFETY: a live array element of this CPU, which runs one XDP program at a time.
        unsafe { *cell += 1 }
    }
}

/// Adds one packet to a VIP's statistics.
#[inline(always)]
pub fn add_vip_stats(index: u32, bytes: usize) {
    add(VIP_STATS.get_ptr_mut(index), bytes);
}

/// Adds one packet to a backend's statistics.
#[inline(always)]
pub fn add_backend_stats(index: u32, bytes: usize) {
    add(BACKEND_STATS.get_ptr_mut(index), bytes);
}

#[inline(always)]
fn add(stats: Option<*mut Stats>, bytes: usize) {
    if let Some(stats) = stats {
        // SAFETY: as in `raise`.
        unsafe {
            (*stats).packets += 1;
            (*stats).bytes += bytes as u64;
        }
    }
}

/// Hands an event to the agent; false when the buffer is full.
#[inline(always)]
pub fn publish(event: &Event) -> bool {
    EVENTS.output::<Event>(event, 0).is_ok()
}
