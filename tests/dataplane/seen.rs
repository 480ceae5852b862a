//! Who uses a VIP: noted seldom, and only what says so.

use vip_common::abi::{InstanceSlot, VipSeen};

use super::fixture::{BACKUP, EXPIRED, LOCAL, STEER, Setup, TAKING_OVER, Verdict};
use super::frame::{Arp, Ipv4, Ipv6, Mac, Tags, ethernet, icmpv6, nd_option};
use super::harness::{Harness, SECOND, coarse_now, harness, now};
use super::world::{
    BROADCAST, CLIENT, CLIENT4, CLIENT6, OURS, PLAIN4, STANDBY4, STRANGER, VIP4, VIP6, VIP6_GROUP,
    VIP6_GROUP_MAC,
};

const NEVER: VipSeen = VipSeen {
    wanted_ns: 0,
    first_packet_ns: 0,
};
/// Number of VIPs whose use is noted.
const VIPS: u32 = 4;

fn arp(arp: Arp) -> Vec<u8> {
    ethernet(BROADCAST, CLIENT, Tags::None, 0x0806, &arp.bytes())
}

fn request() -> Vec<u8> {
    arp(Arp::request(CLIENT, CLIENT4, VIP4))
}

fn solicitation() -> Vec<u8> {
    let body = [&VIP6.octets()[..], &nd_option(1, 1, &CLIENT)].concat();
    let message = icmpv6(CLIENT6, VIP6_GROUP, 135, 0, [0; 4], &body);
    let ip = Ipv6 {
        hop_limit: 255,
        ..Ipv6::new(CLIENT6, VIP6_GROUP, 58)
    };
    ethernet(
        VIP6_GROUP_MAC,
        CLIENT,
        Tags::None,
        0x86dd,
        &ip.bytes(&message),
    )
}

fn ipv4(to: Mac) -> Vec<u8> {
    let packet = Ipv4::new(CLIENT4, VIP4, 17).bytes(b"data");
    ethernet(to, CLIENT, Tags::None, 0x0800, &packet)
}

fn ipv6(to: Mac) -> Vec<u8> {
    let packet = Ipv6::new(CLIENT6, VIP6, 17).bytes(b"data");
    ethernet(to, CLIENT, Tags::None, 0x86dd, &packet)
}

fn forget(harness: &mut Harness) {
    (0..VIPS).for_each(|vip| harness.set_seen(vip, NEVER));
}

/// The VIPs of which something has been noted, after they were forgotten.
fn noted(harness: &Harness, note: impl Fn(VipSeen) -> u64) -> Vec<u32> {
    (0..VIPS)
        .filter(|vip| note(harness.seen(*vip)) != 0)
        .collect()
}

/// Questions and packets make a VIP wanted, whoever is Active; announcements do not.
pub fn wanted_vips_are_noted() {
    let mut harness = harness();
    let own = Arp::request(OURS, VIP4, VIP4);
    let other = Arp::request(CLIENT, CLIENT4, PLAIN4);
    let standby = Arp::request(CLIENT, CLIENT4, STANDBY4);
    for setup in [LOCAL, STEER, BACKUP, EXPIRED, TAKING_OVER] {
        for (input, vips) in [
            (request(), &[0][..]),
            (solicitation(), &[1]),
            (ipv4(OURS), &[0]),
            (ipv6(OURS), &[1]),
            (ipv4(STRANGER), &[0]),
            (arp(standby), &[2]),
            (arp(own), &[]),
            (arp(Arp::request(STRANGER, VIP4, VIP4)), &[]),
            (arp(Arp::reply(STRANGER, VIP4, CLIENT, CLIENT4)), &[]),
            (arp(other), &[]),
        ] {
            forget(&mut harness);
            let start = coarse_now();
            harness.run(setup, &input);
            assert_eq!(noted(&harness, |seen| seen.wanted_ns), vips, "{setup:?}");
            for vip in vips {
                let at = harness.seen(*vip).wanted_ns;
                assert!((start..=coarse_now()).contains(&at), "{at} from {start}");
            }
        }
    }
}

/// A VIP in constant use is noted once a second.
pub fn wanted_is_stored_once_a_second() {
    let mut harness = harness();
    for (ago, stored) in [(SECOND / 2, false), (SECOND, true), (2 * SECOND, true)] {
        for input in [request(), ipv4(OURS)] {
            let wanted_ns = coarse_now() - ago;
            let before = VipSeen { wanted_ns, ..NEVER };
            harness.set_seen(0, before);
            harness.run(LOCAL, &input);
            let after = harness.seen(0).wanted_ns;
            assert_eq!(after != wanted_ns, stored, "after {ago} ns");
        }
    }
}

/// The first packet that is accepted after a claim is noted, to the nanosecond; no later one, and
/// nothing that is not accepted.
pub fn the_first_packet_is_noted() {
    let mut harness = harness();
    let claimed = |harness: &mut Harness, setup: Setup, claimed_at_ns| {
        harness.set(now() + 3600 * SECOND, setup);
        let slot = InstanceSlot {
            claimed_at_ns,
            ..harness.instance()
        };
        harness.set_instance(slot);
    };
    let first = |seen: VipSeen| seen.first_packet_ns;
    for setup in [LOCAL, STEER, TAKING_OVER] {
        for (vip, input) in [(0, ipv4(OURS)), (1, ipv6(OURS)), (0, ipv4(BROADCAST))] {
            forget(&mut harness);
            let start = now();
            claimed(&mut harness, setup, start);
            harness.measure(&input);
            let at = harness.seen(vip).first_packet_ns;
            assert!((start..=now()).contains(&at), "{at} from {start}");
            assert_eq!(noted(&harness, first), [vip]);
            harness.measure(&input);
            assert_eq!(harness.seen(vip).first_packet_ns, at, "the second packet");
            // A new claim has a first packet of its own.
            claimed(&mut harness, setup, now());
            harness.measure(&input);
            assert!(harness.seen(vip).first_packet_ns > at);
        }
    }
    forget(&mut harness);
    claimed(&mut harness, LOCAL, now());
    for input in [request(), solicitation(), ipv4(STRANGER)] {
        assert_ne!(harness.measure(&input).verdict, Verdict::Drop);
        assert_eq!(noted(&harness, first), [] as [u32; 0]);
    }
    claimed(&mut harness, BACKUP, now());
    assert_eq!(harness.measure(&ipv4(OURS)).verdict, Verdict::Drop);
    assert_eq!(noted(&harness, first), [] as [u32; 0]);
}

/// A drain is noted for the agent to see when the last frame went by.
pub fn drained_frames_are_noted() {
    let mut harness = harness();
    let start = coarse_now();
    harness.run(super::fixture::DRAINING, &ipv4(OURS));
    let at = harness.instance().drained_at_ns;
    assert!((start..=coarse_now()).contains(&at), "{at} from {start}");
}
