//! IPv6 Neighbor Discovery: where is an active VIP? Answered in place.

use core::ops::ControlFlow::{self, Break, Continue};

use network_types::ip::Ipv6Hdr;
use vip_common::abi::{ConflictKind, Counter, VipEntry};
use vip_common::net::ethernet::{self, EthernetHeader};
use vip_common::net::ndp::{self, AdvertisementPacket, LinkLayerOption, NeighborMessage};
use vip_common::net::{MacAddress, ip};

use super::classify::Frame;
use crate::lease::Standing;
use crate::packet::Packet;
use crate::verdict::Verdict;
use crate::{lease, maps, telemetry};

const IP: usize = size_of::<Ipv6Hdr>();

/// Answers solicitations for a VIP, and reports stations that claim one.
#[inline(always)]
pub fn answer(packet: &mut Packet<'_>, frame: &Frame) -> ControlFlow<Verdict> {
    if frame.ether_type != ethernet::IPV6 {
        return Continue(());
    }
    let Some(header) = packet.network_at::<Ipv6Hdr>(0) else {
        return Break(Verdict::Ignore);
    };
    if header.next_hdr != ip::PROTOCOL_ICMPV6 {
        return Continue(());
    }
    let Some(message) = packet.network_at::<NeighborMessage>(IP) else {
        return Continue(());
    };
    match message.kind {
        ndp::SOLICITATION => match maps::vip_v6(&message.target) {
            Some(vip) => Break(solicitation(packet, vip)),
            None => Continue(()),
        },
        ndp::ADVERTISEMENT => match maps::vip_v6(&message.target) {
            Some(vip) => advertisement(packet, frame, vip),
            None => Continue(()),
        },
        _ => Continue(()),
    }
}

/// A solicitation for a VIP is never left to the kernel, which would answer for any address it has,
/// on whatever node: it is answered here or dropped.
#[inline(always)]
fn solicitation(packet: &mut Packet<'_>, vip: VipEntry) -> Verdict {
    let Some(instance) = maps::instance(vip.instance) else {
        return Verdict::Drop(Counter::DropInternal);
    };
    let now = lease::coarse_now();
    telemetry::wanted(vip, now);
    match lease::standing(instance, now) {
        Standing::NotActive => return Verdict::Drop(Counter::NdNotActive),
        Standing::TakingOver => return Verdict::Drop(Counter::NdTakingOver),
        Standing::Answering => {}
    }
    if packet.ifindex() != instance.ifindex() {
        return Verdict::Drop(Counter::NdOtherInterface);
    }
    let mac = instance.mac_v6();
    let Some(header) = packet.at::<EthernetHeader>(0) else {
        return Verdict::Ignore;
    };
    if !header.is_for_either(mac, instance.station()) {
        return Verdict::Drop(Counter::NdOtherMac);
    }
    if !is_valid(packet) {
        return Verdict::Drop(Counter::NdInvalid);
    }
    advertise(packet, mac)
}

/// What RFC 4861 §7.1.1 demands of a solicitation before it may be answered.
#[inline(always)]
fn is_valid(packet: &mut Packet<'_>) -> bool {
    let available = packet.network_len();
    let Some(header) = packet.network_at::<Ipv6Hdr>(0) else {
        return false;
    };
    if !ip::is_consistent_v6(header, available) || !ndp::may_be_solicitation(header) {
        return false;
    }
    let units = ip::payload_len(header) / ndp::UNIT;
    let mut check = ndp::SolicitationCheck::new(header);
    for unit in 0..ndp::MAX_UNITS {
        if unit == units {
            break;
        }
        let Some(bytes) = packet.network_at::<[u8; ndp::UNIT]>(IP + unit * ndp::UNIT) else {
            return false;
        };
        if !check.add(unit, bytes) {
            return false;
        }
    }
    check.passed(units)
}

/// Makes the solicitation an advertisement: 32 bytes of ICMPv6, whatever options were asked with.
#[inline(always)]
fn advertise(packet: &mut Packet<'_>, mac: MacAddress) -> Verdict {
    if !packet.resize(size_of::<AdvertisementPacket>()) {
        return Verdict::Drop(Counter::DropResize);
    }
    let Some(reply) = packet.network_at::<AdvertisementPacket>(0) else {
        return Verdict::Drop(Counter::DropResize);
    };
    let group = ndp::answer(reply, mac);
    let Some(header) = packet.at::<EthernetHeader>(0) else {
        return Verdict::Drop(Counter::DropResize);
    };
    header.answer_from(mac);
    if let Some(group) = group {
        header.destination = group;
    }
    Verdict::Transmit(Counter::NdReply)
}

/// An advertisement for a VIP that is not ours passes; but the agent must know if we are Active.
#[inline(always)]
fn advertisement(packet: &mut Packet<'_>, frame: &Frame, vip: VipEntry) -> ControlFlow<Verdict> {
    let Some(instance) = maps::instance(vip.instance) else {
        return Continue(());
    };
    let Some(claim) = claim(packet) else {
        return Continue(());
    };
    let is_ours = ethernet::is_same(claim.mac, instance.mac_v6())
        || ethernet::is_same(claim.mac, instance.station());
    if is_ours || !lease::is_answering(instance) {
        return Continue(());
    }
    let (kind, mac) = (ConflictKind::NeighborAdvertisement, claim.mac);
    telemetry::report_conflict(packet, frame, kind, vip.instance, claim.address, mac);
    Break(Verdict::Pass(Counter::NdConflict))
}

/// What an advertisement says about its target.
struct Claim {
    address: [u8; 16],
    mac: MacAddress,
}

/// The claim of an advertisement that crossed no router. The hardware address is that of the first
/// option if it is the target's, else the frame's sender.
#[inline(always)]
fn claim(packet: &mut Packet<'_>) -> Option<Claim> {
    let header = packet.network_at::<Ipv6Hdr>(0)?;
    let (on_link, len) = (ndp::is_on_link(header), ip::payload_len(header));
    if !on_link || len < size_of::<NeighborMessage>() {
        return None;
    }
    let sender = packet.at::<EthernetHeader>(0)?.source;
    let address = packet.network_at::<NeighborMessage>(IP)?.target;
    let mac = if len < usize::from(ndp::ADVERTISEMENT_LEN) {
        sender
    } else {
        match packet.network_at::<LinkLayerOption>(IP + size_of::<NeighborMessage>()) {
            Some(option) if option.kind == ndp::OPTION_TARGET => option.mac,
            _ => sender,
        }
    };
    Some(Claim { address, mac })
}
