//! IP packets to a VIP: to this host's stack or to the active backend.

use core::ops::ControlFlow::{self, Break, Continue};

use network_types::icmp::{Icmpv4Hdr, Icmpv6Hdr};
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use vip_common::abi::{Counter, NO_BACKEND, STEER_L2, STEER_LOCAL, VipEntry};
use vip_common::net::ethernet::{self, EthernetHeader};
use vip_common::net::{MacAddress, icmp, ip};

use super::classify::Frame;
use super::drain;
use crate::lease::{self, Standing};
use crate::maps::{self, Backend};
use crate::packet::Packet;
use crate::telemetry;
use crate::verdict::Verdict;

/// Decides about packets whose destination is a VIP.
#[inline(always)]
pub fn to_backend(packet: &mut Packet<'_>, frame: &Frame) -> ControlFlow<Verdict> {
    match frame.ether_type {
        ethernet::IPV4 => v4(packet, frame),
        ethernet::IPV6 => v6(packet, frame),
        _ => Continue(()),
    }
}

#[inline(always)]
fn v4(packet: &mut Packet<'_>, frame: &Frame) -> ControlFlow<Verdict> {
    let Some(header) = packet.network_at::<Ipv4Hdr>(0) else {
        return Continue(());
    };
    let Some(vip) = maps::vip_v4(&header.dst_addr) else {
        return Continue(());
    };
    let macs = admit(packet, vip, frame)?;
    let available = packet.network_len();
    let Some(header) = packet.network_at::<Ipv4Hdr>(0) else {
        return Continue(());
    };
    if !ip::is_consistent_v4(header, available) {
        return Break(Verdict::Drop(Counter::DropMalformed));
    }
    // A header with options is left to the backend: source routes would have to be reversed.
    let plain = header.proto == ip::PROTOCOL_ICMP
        && ip::header_len(header) == size_of::<Ipv4Hdr>()
        && ip::total_len(header) >= size_of::<Ipv4Hdr>() + size_of::<Icmpv4Hdr>()
        && !ip::is_fragment(header);
    let service = service(packet, vip, macs)?;
    if plain {
        echo_v4(packet, vip, macs.own)?;
    }
    let backend = match next_hop(service) {
        Ok(backend) => backend,
        Err(reason) => return Break(Verdict::Drop(reason)),
    };
    let Some(header) = packet.network_at::<Ipv4Hdr>(0) else {
        return Continue(());
    };
    if ip::decrement_ttl(header).is_err() {
        return Break(Verdict::Drop(Counter::DropTtl));
    }
    Break(send(packet, vip, service, backend))
}

#[inline(always)]
fn v6(packet: &mut Packet<'_>, frame: &Frame) -> ControlFlow<Verdict> {
    let Some(header) = packet.network_at::<Ipv6Hdr>(0) else {
        return Continue(());
    };
    let Some(vip) = maps::vip_v6(&header.dst_addr) else {
        return Continue(());
    };
    let macs = admit(packet, vip, frame)?;
    let available = packet.network_len();
    let Some(header) = packet.network_at::<Ipv6Hdr>(0) else {
        return Continue(());
    };
    if !ip::is_consistent_v6(header, available) {
        return Break(Verdict::Drop(Counter::DropMalformed));
    }
    let plain =
        header.next_hdr == ip::PROTOCOL_ICMPV6 && ip::payload_len(header) >= size_of::<Icmpv6Hdr>();
    let service = service(packet, vip, macs)?;
    if plain {
        echo_v6(packet, vip, macs.own)?;
    }
    let backend = match next_hop(service) {
        Ok(backend) => backend,
        Err(reason) => return Break(Verdict::Drop(reason)),
    };
    let Some(header) = packet.network_at::<Ipv6Hdr>(0) else {
        return Continue(());
    };
    if ip::decrement_hop_limit(header).is_err() {
        return Break(Verdict::Drop(Counter::DropTtl));
    }
    Break(send(packet, vip, service, backend))
}

/// The hardware addresses of an instance that packets of one family can have.
#[derive(Clone, Copy)]
struct Macs {
    /// The VIPs'.
    own: MacAddress,
    /// The interface's.
    station: MacAddress,
}

/// Lets a packet in if this node is Active for the VIP and the frame is meant for it.
#[inline(always)]
fn admit(packet: &mut Packet<'_>, vip: VipEntry, frame: &Frame) -> ControlFlow<Verdict, Macs> {
    let Some(instance) = maps::instance(vip.instance) else {
        return Break(Verdict::Drop(Counter::DropInternal));
    };
    let now = lease::coarse_now();
    telemetry::wanted(vip, now);
    let macs = Macs {
        own: if frame.ether_type == ethernet::IPV4 {
            instance.mac_v4()
        } else {
            instance.mac_v6()
        },
        station: instance.station(),
    };
    if lease::standing(instance, now) == Standing::NotActive {
        return Break(drain::to_successor(packet, instance, macs.own, now));
    }
    let Some(header) = packet.at::<EthernetHeader>(0) else {
        return Break(Verdict::Ignore);
    };
    if !header.is_for_either(macs.own, macs.station) {
        return Break(Verdict::Pass(Counter::PassOtherMac));
    }
    telemetry::accepted(vip, instance);
    Continue(macs)
}

/// The backend index of a VIP that is steered by `l2`; a `local` one is decided about here.
#[inline(always)]
fn service(packet: &mut Packet<'_>, vip: VipEntry, macs: Macs) -> ControlFlow<Verdict, u32> {
    let Some(slot) = maps::service(vip.service) else {
        return Break(Verdict::Drop(Counter::DropInternal));
    };
    match slot.mode {
        STEER_LOCAL => {
            maps::add_vip_stats(vip.stats, packet.len());
            // The stack knows no address but the interface's own: to a virtual one it would take
            // the frame for another host's.
            if let Some(header) = packet.at::<EthernetHeader>(0)
                && ethernet::is_same(header.destination, macs.own)
            {
                header.destination = macs.station;
            }
            Break(Verdict::Pass(Counter::PassLocal))
        }
        STEER_L2 => Continue(slot.backend),
        _ => Break(Verdict::Drop(Counter::DropInternal)),
    }
}

/// The backend with this index, if frames can be sent to it.
#[inline(always)]
fn next_hop(index: u32) -> Result<Backend, Counter> {
    if index == NO_BACKEND {
        return Err(Counter::DropNoBackend);
    }
    let backend = maps::backend(index).ok_or(Counter::DropInternal)?;
    if backend.is_resolved() {
        Ok(backend)
    } else {
        Err(Counter::DropUnresolved)
    }
}

/// Sends the frame on by direct routing: new hardware addresses, everything above as it is.
#[inline(always)]
fn send(packet: &mut Packet<'_>, vip: VipEntry, index: u32, backend: Backend) -> Verdict {
    let Some(header) = packet.at::<EthernetHeader>(0) else {
        return Verdict::Ignore;
    };
    header.destination = backend.destination();
    header.source = backend.source();
    maps::add_vip_stats(vip.stats, packet.len());
    maps::add_backend_stats(index, packet.len());
    if backend.ifindex == packet.ifindex() {
        Verdict::Transmit(Counter::SteerTx)
    } else {
        Verdict::Redirect(Counter::SteerRedirect, backend.ifindex)
    }
}

#[inline(always)]
fn echo_v4(packet: &mut Packet<'_>, vip: VipEntry, mac: MacAddress) -> ControlFlow<Verdict> {
    let Some(message) = packet.network_at::<Icmpv4Hdr>(size_of::<Ipv4Hdr>()) else {
        return Continue(());
    };
    if !icmp::is_echo_request_v4(message) {
        return Continue(());
    }
    icmp::answer_v4(message);
    let Some(header) = packet.network_at::<Ipv4Hdr>(0) else {
        return Continue(());
    };
    icmp::return_v4(header);
    Break(echo_reply(packet, vip, mac))
}

#[inline(always)]
fn echo_v6(packet: &mut Packet<'_>, vip: VipEntry, mac: MacAddress) -> ControlFlow<Verdict> {
    let Some(message) = packet.network_at::<Icmpv6Hdr>(size_of::<Ipv6Hdr>()) else {
        return Continue(());
    };
    if !icmp::is_echo_request_v6(message) {
        return Continue(());
    }
    icmp::answer_v6(message);
    let Some(header) = packet.network_at::<Ipv6Hdr>(0) else {
        return Continue(());
    };
    icmp::return_v6(header);
    Break(echo_reply(packet, vip, mac))
}

#[inline(always)]
fn echo_reply(packet: &mut Packet<'_>, vip: VipEntry, mac: MacAddress) -> Verdict {
    let Some(header) = packet.at::<EthernetHeader>(0) else {
        return Verdict::Ignore;
    };
    header.answer_from(mac);
    maps::add_vip_stats(vip.stats, packet.len());
    Verdict::Transmit(Counter::EchoReply)
}
