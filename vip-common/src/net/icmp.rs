//! Echo requests answered in place (RFC 792, RFC 4443 §4).

use network_types::icmp::{Icmpv4Hdr, Icmpv6Hdr};
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::{checksum, ip};

const V4_ECHO_REPLY: u8 = 0;
const V4_ECHO_REQUEST: u8 = 8;
const V6_ECHO_REQUEST: u8 = 128;
const V6_ECHO_REPLY: u8 = 129;

/// Whether this is an ICMP echo request.
#[must_use]
pub const fn is_echo_request_v4(icmp: &Icmpv4Hdr) -> bool {
    icmp.type_ == V4_ECHO_REQUEST && icmp.code == 0
}

/// Whether this is an ICMPv6 echo request.
#[must_use]
pub const fn is_echo_request_v6(icmp: &Icmpv6Hdr) -> bool {
    icmp.type_ == V6_ECHO_REQUEST && icmp.code == 0
}

/// Turns an ICMP echo request into its reply. A request with a wrong checksum becomes a reply with
/// a wrong one.
pub const fn answer_v4(icmp: &mut Icmpv4Hdr) {
    let (old, new) = ([V4_ECHO_REQUEST, 0], [V4_ECHO_REPLY, 0]);
    icmp.check = checksum::update_all(icmp.check, old, new);
    icmp.type_ = V4_ECHO_REPLY;
}

/// Turns an ICMPv6 echo request into its reply. The pseudo-header's sum stays as it is: source and
/// destination have only changed places.
pub const fn answer_v6(icmp: &mut Icmpv6Hdr) {
    let (old, new) = ([V6_ECHO_REQUEST, 0], [V6_ECHO_REPLY, 0]);
    icmp.check = checksum::update(icmp.check, old, new);
    icmp.type_ = V6_ECHO_REPLY;
}

/// Sends an IPv4 packet back to where it came from, as one of our own.
pub const fn return_v4(packet: &mut Ipv4Hdr) {
    (packet.src_addr, packet.dst_addr) = (packet.dst_addr, packet.src_addr);
    ip::set_ttl(packet, ip::DEFAULT_TTL);
}

/// Sends an IPv6 packet back to where it came from, as one of our own.
pub const fn return_v6(packet: &mut Ipv6Hdr) {
    (packet.src_addr, packet.dst_addr) = (packet.dst_addr, packet.src_addr);
    packet.hop_limit = ip::DEFAULT_TTL;
}
