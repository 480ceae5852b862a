//! What a fixture is: a frame, the state it meets, and everything that must come of it.

use vip_common::abi::{Counter, Event};

use super::frame::{Mac, Tags};
use super::world::{self, INGRESS};

/// Collects fixtures for each family; their names begin with it.
pub fn for_each_family(all: &mut Vec<Fixture>, collect: impl Fn(&mut Vec<Fixture>, bool)) {
    for (v6, family) in [(false, "IPv4"), (true, "IPv6")] {
        let start = all.len();
        collect(all, v6);
        for fixture in &mut all[start..] {
            fixture.name = format!("{family}: {}", fixture.name);
        }
    }
}

/// Collects fixtures without and with VLAN tags; their names end with them.
pub fn for_all_tags(all: &mut Vec<Fixture>, collect: impl Fn(&mut Vec<Fixture>, Tags)) {
    for (tags, suffix) in Tags::ALL {
        let start = all.len();
        collect(all, tags);
        for fixture in &mut all[start..] {
            fixture.name.push_str(suffix);
        }
    }
}

/// What the program returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Verdict {
    Aborted = 0,
    Drop = 1,
    Pass = 2,
    Transmit = 3,
    Redirect = 4,
}

/// The agent's lease, and the claim of instance 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Claimed, and the lease ends far in the future.
    Active,
    /// Claimed, but another node still answers.
    TakingOver,
    /// Not claimed; the lease is valid.
    Backup,
    /// Not claimed, and the lease is over for a second.
    BackupExpired,
    /// Claimed; the lease is over for a second.
    Expired,
    /// Claimed, and the lease ends far in the future; but a prober was told that it is over.
    ToldOver,
    /// Claimed, in maps in which no agent has ever begun a lease.
    NeverBegun,
}

/// The hardware addresses of instance 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Macs {
    /// Everything is at the interface's own address.
    Interface,
    /// The VIPs are at virtual addresses.
    Virtual,
}

/// Whom instance 0 was handed over to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Nobody.
    None,
    /// Somebody, until far in the future; but where they are is not known.
    Unknown,
    /// This station, until far in the future.
    To(Mac),
    /// This station, until a second ago.
    Over(Mac),
}

/// Service 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Local,
    /// Steered to backend 0, which is behind the interface the frame came in by.
    Here,
    /// Steered to backend 1, which is behind another interface.
    There,
    /// Steered to backend 2, whose MAC is not known.
    Unresolved,
    /// Steered, but no backend is healthy.
    NoBackend,
    /// Steered to a backend that does not exist.
    Dangling,
    /// A steering mode of some later version.
    UnknownMode,
}

/// The state a frame meets.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub lease: Lease,
    pub service: Service,
    /// The interface that instance 0 lives on.
    pub ifindex: u32,
    pub macs: Macs,
    pub drain: Drain,
}

pub const LOCAL: Setup = Setup {
    lease: Lease::Active,
    service: Service::Local,
    ifindex: INGRESS,
    macs: Macs::Interface,
    drain: Drain::None,
};
pub const STEER: Setup = Setup {
    service: Service::Here,
    ..LOCAL
};
pub const BACKUP: Setup = Setup {
    lease: Lease::Backup,
    ..STEER
};
pub const EXPIRED: Setup = Setup {
    lease: Lease::Expired,
    ..STEER
};

pub const TAKING_OVER: Setup = Setup {
    lease: Lease::TakingOver,
    ..STEER
};
/// Not Active, and the successor is known.
pub const DRAINING: Setup = Setup {
    drain: Drain::To(world::SUCCESSOR),
    ..BACKUP
};

/// An echo as it is stamped, but for the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Index of the link.
    pub link: u32,
    pub nonce: u64,
    pub incarnation: u64,
    pub lease_left_ns: u64,
    pub instances: [[u8; 8]; 8],
}

/// One frame and what becomes of it.
#[derive(Debug, Clone)]
pub struct Fixture {
    pub name: String,
    pub setup: Setup,
    pub input: Vec<u8>,
    pub expect: Expect,
}

/// What becomes of a frame. What is not named must not happen: other counters stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    pub verdict: Verdict,
    pub output: Vec<u8>,
    pub counter: Option<Counter>,
    /// The statistics that count the frame: of this VIP.
    pub vip: Option<u32>,
    /// The statistics that count the frame: of this backend.
    pub backend: Option<u32>,
    pub event: Option<Event>,
    /// The probe that is remembered as answered: on this link, with this nonce.
    pub probed: Option<(u32, u64)>,
    pub stamp: Option<Stamp>,
    /// Whether the lease is ended for good.
    pub ended: bool,
}

impl Fixture {
    /// A frame that is not ours: passed, untouched, uncounted.
    pub fn ignored(name: impl Into<String>, setup: Setup, input: Vec<u8>) -> Self {
        Self::new(name, setup, input, Verdict::Pass, None)
    }

    /// ... with other bytes.
    pub fn output(mut self, output: Vec<u8>) -> Self {
        self.expect.output = output;
        self
    }

    /// A frame that is passed untouched, for a reason.
    pub fn passed(name: impl Into<String>, setup: Setup, input: Vec<u8>, counter: Counter) -> Self {
        Self::new(name, setup, input, Verdict::Pass, Some(counter))
    }

    /// A frame that is dropped.
    pub fn dropped(
        name: impl Into<String>,
        setup: Setup,
        input: Vec<u8>,
        counter: Counter,
    ) -> Self {
        Self::new(name, setup, input, Verdict::Drop, Some(counter))
    }

    /// A frame that leaves again as `output`.
    pub fn sent(
        name: impl Into<String>,
        setup: Setup,
        input: Vec<u8>,
        counter: Counter,
        output: Vec<u8>,
    ) -> Self {
        let mut fixture = Self::new(name, setup, input, Verdict::Transmit, Some(counter));
        fixture.expect.output = output;
        fixture
    }

    /// ... by another interface.
    pub fn redirected(mut self) -> Self {
        self.expect.verdict = Verdict::Redirect;
        self
    }

    /// ... and is counted for this VIP.
    pub fn vip(mut self, index: u32) -> Self {
        self.expect.vip = Some(index);
        self
    }

    /// ... and is counted for this backend.
    pub fn backend(mut self, index: u32) -> Self {
        self.expect.backend = Some(index);
        self
    }

    /// ... and the agent is told.
    pub fn event(mut self, event: Event) -> Self {
        self.expect.event = Some(event);
        self
    }

    /// ... and is remembered as the last probe of this link.
    pub fn probed(mut self, link: u32, nonce: u64) -> Self {
        self.expect.probed = Some((link, nonce));
        self
    }

    /// ... and ends the lease for good.
    pub fn ended(mut self) -> Self {
        self.expect.ended = true;
        self
    }

    /// ... and is stamped.
    pub fn stamped(mut self, stamp: Stamp) -> Self {
        self.expect.stamp = Some(stamp);
        self
    }

    fn new(
        name: impl Into<String>,
        setup: Setup,
        input: Vec<u8>,
        verdict: Verdict,
        counter: Option<Counter>,
    ) -> Self {
        let output = input.clone();
        let expect = Expect {
            verdict,
            output,
            counter,
            vip: None,
            backend: None,
            event: None,
            probed: None,
            stamp: None,
            ended: false,
        };
        Self {
            name: name.into(),
            setup,
            input,
            expect,
        }
    }
}
