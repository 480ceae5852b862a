//! The state that a frame meets: how it comes into the maps, and how it is read again.

use aya::maps::{Array, HashMap};
use bytemuck::Zeroable as _;
use vip_common::abi::{
    self, AgentSlot, BackendEntry, InstanceSlot, LivenessSlot, MacCell, NO_BACKEND, STEER_L2,
    STEER_LOCAL, ServiceSlot, VipEntry, VipSeen,
};

use super::{Harness, LEASE, SECOND, now, take};
use crate::fixture::{Drain, Lease, Macs, Service, Setup};
use crate::world;

/// Number of links in use.
const LINKS: u32 = 4;
/// An index in none of the arrays.
const NOWHERE: u32 = 1_000_000;

impl Harness {
    /// Writes the slots.
    pub fn set(&mut self, until: u64, setup: Setup) {
        self.set_agent(agent(until, setup.lease));
        let slot = instance(setup);
        self.set_instance(slot);
        let standby = InstanceSlot {
            claim: 0,
            vrid: u32::from(world::STANDBY_VRID),
            successor: MacCell::new([0; 6]),
            ..slot
        };
        self.instances.set(1, standby, 0).expect("instance 1");
        self.services
            .set(0, service(setup.service), 0)
            .expect("service 0");
        self.reset_links();
    }

    /// The agent's slot.
    pub fn agent(&self) -> AgentSlot {
        self.agent.get(&0, 0).expect("the agent's slot")
    }

    /// Writes the agent's slot.
    pub fn set_agent(&mut self, agent: AgentSlot) {
        self.agent.set(0, agent, 0).expect("the agent's slot");
    }

    /// The slot of instance 0.
    pub fn instance(&self) -> InstanceSlot {
        self.instances.get(&0, 0).expect("instance 0")
    }

    /// Writes the slot of instance 0.
    pub fn set_instance(&mut self, slot: InstanceSlot) {
        self.instances.set(0, slot, 0).expect("instance 0");
    }

    /// The slot of one link.
    pub fn link(&self, index: u32) -> LivenessSlot {
        self.links.get(&index, 0).expect("a link")
    }

    /// Writes the slot of one link.
    pub fn set_link(&mut self, index: u32, link: LivenessSlot) {
        self.links.set(index, link, 0).expect("a link");
    }

    /// What is known of who uses the VIP with this index.
    pub fn seen(&self, index: u32) -> VipSeen {
        self.seen.get(&index, 0).expect("a VIP")
    }

    /// Writes what is known of who uses the VIP with this index.
    pub fn set_seen(&mut self, index: u32, seen: VipSeen) {
        self.seen.set(index, seen, 0).expect("a VIP");
    }

    pub(super) fn links(&self) -> Vec<LivenessSlot> {
        (0..LINKS).map(|index| self.link(index)).collect()
    }

    fn reset_links(&mut self) {
        for (index, local, keyed) in [
            (0, world::LOCAL4.to_ipv6_mapped(), true),
            (1, world::LOCAL6, true),
            (2, world::LOCAL4.to_ipv6_mapped(), false),
            (3, world::LOCAL6, false),
        ] {
            let mut link = LivenessSlot {
                local: local.octets(),
                ..LivenessSlot::zeroed()
            };
            if keyed {
                (link.probe_key, link.echo_key) = (world::PROBE_KEY, world::ECHO_KEY);
                (link.probed_nonce, link.probed_key) = (world::LAST_PROBE, world::PROBE_KEY[0]);
                (link.echo.begin, link.echo.end) = (world::LAST_ECHO, world::LAST_ECHO);
            }
            self.set_link(index, link);
        }
    }

    pub(super) fn write_peers(&mut self) {
        let mut peers: HashMap<_, [u8; 16], u32> = take(&mut self.ebpf, abi::PEERS);
        for (address, index) in [
            (world::PEER4.to_ipv6_mapped(), 0),
            (world::PEER6, 1),
            (world::KEYLESS4.to_ipv6_mapped(), 2),
            (world::KEYLESS6, 3),
            (world::NO_LINK4.to_ipv6_mapped(), NOWHERE),
            (world::NO_LINK6, NOWHERE),
        ] {
            peers.insert(address.octets(), index, 0).expect("a peer");
        }
        let mut vrids: Array<_, u64> = take(&mut self.ebpf, abi::VRIDS);
        for (vrid, index) in [
            (world::VRID, 0),
            (world::STANDBY_VRID, 1),
            (world::NO_INSTANCE_VRID, NOWHERE),
        ] {
            let cell = u64::from(index) + 1;
            vrids.set(u32::from(vrid), cell, 0).expect("a VRID");
        }
    }

    pub(super) fn write_vips(&mut self) {
        let entry = |instance, service, stats| VipEntry {
            instance,
            service,
            stats,
            reserved: 0,
        };
        let mut v4: HashMap<_, [u8; 4], VipEntry> = take(&mut self.ebpf, abi::VIPS_V4);
        let mut v6: HashMap<_, [u8; 16], VipEntry> = take(&mut self.ebpf, abi::VIPS_V6);
        for (address, vip) in [
            (world::VIP4, entry(0, 0, 0)),
            (world::STANDBY4, entry(1, 0, 2)),
            (world::NO_INSTANCE4, entry(NOWHERE, 0, 2)),
            (world::NO_SERVICE4, entry(0, NOWHERE, 2)),
        ] {
            v4.insert(address.octets(), vip, 0).expect("a VIP");
        }
        for (address, vip) in [
            (world::VIP6, entry(0, 0, 1)),
            (world::STANDBY6, entry(1, 0, 3)),
            (world::NO_INSTANCE6, entry(NOWHERE, 0, 3)),
            (world::NO_SERVICE6, entry(0, NOWHERE, 3)),
        ] {
            v6.insert(address.octets(), vip, 0).expect("a VIP");
        }
    }

    pub(super) fn write_backends(&mut self) {
        let mut backends: Array<_, BackendEntry> = take(&mut self.ebpf, abi::BACKENDS);
        for (index, mac, ifindex) in [
            (0, world::BACKEND, world::INGRESS),
            (1, world::BACKEND, world::ELSEWHERE),
            (2, [0; 6], world::INGRESS),
        ] {
            let entry = BackendEntry {
                destination: MacCell::new(mac),
                source: MacCell::new(world::EGRESS),
                ifindex,
                reserved: 0,
            };
            backends.set(index, entry, 0).expect("a backend");
        }
    }
}

fn agent(lease_until_ns: u64, lease: Lease) -> AgentSlot {
    let generation = if lease == Lease::NeverBegun {
        0
    } else {
        world::GENERATION
    };
    let ended_generation = if lease == Lease::ToldOver {
        generation
    } else {
        generation.saturating_sub(1)
    };
    AgentSlot {
        lease_until_ns,
        generation,
        incarnation: world::INCARNATION,
        ended_generation,
        ..AgentSlot::zeroed()
    }
}

fn instance(setup: Setup) -> InstanceSlot {
    let claim = match setup.lease {
        Lease::Active | Lease::Expired | Lease::ToldOver | Lease::NeverBegun => {
            InstanceSlot::claim(world::EPOCH, true)
        }
        Lease::TakingOver => InstanceSlot::claim(world::EPOCH, false),
        Lease::Backup | Lease::BackupExpired => 0,
    };
    let (mac_v4, mac_v6) = match setup.macs {
        Macs::Interface => (world::OURS, world::OURS),
        Macs::Virtual => (world::VIRTUAL4, world::VIRTUAL6),
    };
    let (successor, drain_until_ns) = match setup.drain {
        Drain::None => ([0; 6], 0),
        Drain::Unknown => ([0; 6], now() + LEASE),
        Drain::To(mac) => (mac, now() + LEASE),
        Drain::Over(mac) => (mac, now() - SECOND),
    };
    InstanceSlot {
        claim,
        mac_v4: MacCell::new(mac_v4),
        mac_v6: MacCell::new(mac_v6),
        station: MacCell::new(world::OURS),
        ifindex: setup.ifindex,
        vrid: u32::from(world::VRID),
        successor: MacCell::new(successor),
        drain_until_ns,
        ..InstanceSlot::zeroed()
    }
}

const fn service(service: Service) -> ServiceSlot {
    let (mode, backend) = match service {
        Service::Local => (STEER_LOCAL, NO_BACKEND),
        Service::Here => (STEER_L2, 0),
        Service::There => (STEER_L2, 1),
        Service::Unresolved => (STEER_L2, 2),
        Service::NoBackend => (STEER_L2, NO_BACKEND),
        Service::Dangling => (STEER_L2, NOWHERE),
        Service::UnknownMode => (7, 0),
    };
    ServiceSlot { mode, backend }
}
