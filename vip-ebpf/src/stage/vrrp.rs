//! VRRP advertisements of others with the identifier of one of our instances.

use core::ops::ControlFlow::{self, Break, Continue};

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use vip_common::abi::{ConflictKind, Counter};
use vip_common::net::ethernet::{self, EthernetHeader};
use vip_common::net::ip;
use vip_common::net::vrrp::{self, VrrpHeader};

use super::classify::Frame;
use crate::packet::Packet;
use crate::verdict::Verdict;
use crate::{lease, maps, telemetry};

/// An advertisement passes; but if its sender uses the identifier of an instance we answer for, the
/// agent must know: the two share a virtual MAC address, or will.
///
/// This node sends no VRRP, so only a frame from the interface's own address is ours: one from the
/// virtual MAC address is what a router sends that believes to have it.
#[inline(always)]
pub fn watch(packet: &mut Packet<'_>, frame: &Frame) -> ControlFlow<Verdict> {
    let Some((sender, at)) = sender(packet, frame) else {
        return Continue(());
    };
    let Some(header) = packet.network_at::<VrrpHeader>(at) else {
        return Continue(());
    };
    if !header.is_advertisement() {
        return Continue(());
    }
    let Some(index) = maps::index_of(header.vrid) else {
        return Continue(());
    };
    let Some(instance) = maps::instance(index) else {
        return Continue(());
    };
    let Some(header) = packet.at::<EthernetHeader>(0) else {
        return Continue(());
    };
    let mac = header.source;
    if packet.ifindex() != instance.ifindex()
        || ethernet::is_same(mac, instance.station())
        || !lease::is_answering(instance)
    {
        return Continue(());
    }
    telemetry::report_conflict(packet, frame, ConflictKind::Vrrp, index, sender, mac);
    Break(Verdict::Pass(Counter::VrrpConflict))
}

/// Who sent the VRRP packet (an IPv4 address in mapped form), and where it begins.
#[inline(always)]
fn sender(packet: &mut Packet<'_>, frame: &Frame) -> Option<([u8; 16], usize)> {
    let available = packet.network_len();
    match frame.ether_type {
        ethernet::IPV4 => {
            let header = packet.network_at::<Ipv4Hdr>(0)?;
            vrrp::is_vrrp_v4(header, available)
                .then(|| (ip::mapped(header.src_addr), size_of::<Ipv4Hdr>()))
        }
        ethernet::IPV6 => {
            let header = packet.network_at::<Ipv6Hdr>(0)?;
            vrrp::is_vrrp_v6(header, available).then(|| (header.src_addr, size_of::<Ipv6Hdr>()))
        }
        _ => None,
    }
}
