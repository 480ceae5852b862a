//! ARP: who has an active VIP? Answered in place.

use core::ops::ControlFlow::{self, Break, Continue};

use network_types::arp::ArpHdr;
use vip_common::abi::{ConflictKind, Counter, VipEntry};
use vip_common::net::ethernet::{self, EthernetHeader};
use vip_common::net::{MacAddress, arp, ip};

use super::classify::Frame;
use crate::lease::Standing;
use crate::maps::Instance;
use crate::packet::Packet;
use crate::verdict::Verdict;
use crate::{lease, maps, telemetry};

/// Answers requests for a VIP, and reports stations that claim one.
#[inline(always)]
pub fn answer(packet: &mut Packet<'_>, frame: &Frame) -> ControlFlow<Verdict> {
    if frame.ether_type != ethernet::ARP {
        return Continue(());
    }
    let Some(header) = packet.network_at::<ArpHdr>(0) else {
        return Break(Verdict::Ignore);
    };
    if !arp::is_ipv4_over_ethernet(header) {
        return Break(Verdict::Ignore);
    }
    let claim = Claim {
        address: header.spa,
        mac: header.sha,
    };
    if arp::is_request(header) {
        let target = header.tpa;
        if let Some(vip) = maps::vip_v4(&target) {
            return Break(request(packet, frame, vip, target, claim));
        }
    }
    Break(other(packet, frame, claim))
}

/// What an ARP packet says about its sender.
#[derive(Clone, Copy)]
struct Claim {
    mac: MacAddress,
    address: [u8; 4],
}

/// A request for a VIP is never left to the kernel, which would answer for any address it has, on
/// whatever node: it is answered here or dropped.
#[inline(always)]
fn request(
    packet: &mut Packet<'_>,
    frame: &Frame,
    vip: VipEntry,
    target: [u8; 4],
    claim: Claim,
) -> Verdict {
    let Some(instance) = maps::instance(vip.instance) else {
        return Verdict::Drop(Counter::DropInternal);
    };
    // An announcement, ours or another's, asks for nothing.
    let is_announcement = u32::from_ne_bytes(claim.address) == u32::from_ne_bytes(target);
    let now = lease::coarse_now();
    if !is_announcement {
        telemetry::wanted(vip, now);
    }
    match lease::standing(instance, now) {
        Standing::NotActive => return Verdict::Drop(Counter::ArpNotActive),
        Standing::TakingOver => return Verdict::Drop(Counter::ArpTakingOver),
        Standing::Answering => {}
    }
    if packet.ifindex() != instance.ifindex() {
        return Verdict::Drop(Counter::ArpOtherInterface);
    }
    let mac = instance.mac_v4();
    if is_announcement {
        if is_ours(instance, claim.mac) {
            return Verdict::Drop(Counter::ArpOwn);
        }
        report(packet, frame, vip, claim);
        return Verdict::Drop(Counter::ArpConflict);
    }
    let Some(header) = packet.at::<EthernetHeader>(0) else {
        return Verdict::Ignore;
    };
    if !header.is_for_either(mac, instance.station()) {
        return Verdict::Drop(Counter::ArpOtherMac);
    }
    header.answer_from(mac);
    let Some(header) = packet.network_at::<ArpHdr>(0) else {
        return Verdict::Ignore;
    };
    arp::answer(header, mac);
    Verdict::Transmit(Counter::ArpReply)
}

/// Any other ARP packet passes; but if its sender calls a VIP its own while we are Active, the agent
/// must know (RFC 5227 §2.4).
#[inline(always)]
fn other(packet: &Packet<'_>, frame: &Frame, claim: Claim) -> Verdict {
    let Some(vip) = maps::vip_v4(&claim.address) else {
        return Verdict::Ignore;
    };
    let Some(instance) = maps::instance(vip.instance) else {
        return Verdict::Ignore;
    };
    if is_ours(instance, claim.mac) || !lease::is_answering(instance) {
        return Verdict::Ignore;
    }
    report(packet, frame, vip, claim);
    Verdict::Pass(Counter::ArpConflict)
}

/// Whether the address is one that this node itself sends from.
#[inline(always)]
fn is_ours(instance: Instance, mac: MacAddress) -> bool {
    ethernet::is_same(mac, instance.mac_v4()) || ethernet::is_same(mac, instance.station())
}

#[inline(always)]
fn report(packet: &Packet<'_>, frame: &Frame, vip: VipEntry, claim: Claim) {
    let (kind, address) = (ConflictKind::Arp, ip::mapped(claim.address));
    telemetry::report_conflict(packet, frame, kind, vip.instance, address, claim.mac);
}
