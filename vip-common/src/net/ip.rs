//! IPv4 and IPv6 headers: what forwarding checks and changes.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::checksum;

/// Protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// Protocol and next header number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Next header number of ICMPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;

/// TTL and hop limit of the packets the data plane originates.
pub const DEFAULT_TTL: u8 = 64;

const MORE_FRAGMENTS_AND_OFFSET: u16 = 0x3fff;

/// The TTL or hop limit does not allow another hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlExceeded;

/// Whether the IPv4 header is consistent with itself and with the `available` bytes of the frame
/// from its start: version, header length, total length (RFC 1122 §3.2.1). Bytes behind the total
/// length are padding.
#[must_use]
pub fn is_consistent_v4(ip: &Ipv4Hdr, available: usize) -> bool {
    let header = header_len(ip);
    let total = total_len(ip);
    ip.vihl >> 4 == 4 && header >= size_of::<Ipv4Hdr>() && total >= header && total <= available
}

/// Whether the IPv6 header is consistent with itself and with the `available` bytes of the frame
/// from its start: version, payload length.
#[must_use]
pub fn is_consistent_v6(ip: &Ipv6Hdr, available: usize) -> bool {
    ip.vcf[0] >> 4 == 6 && size_of::<Ipv6Hdr>() + payload_len(ip) <= available
}

/// Length of the IPv4 header with its options, in bytes.
#[must_use]
pub fn header_len(ip: &Ipv4Hdr) -> usize {
    usize::from(ip.vihl & 0x0f) * 4
}

/// Length of the IPv4 datagram, header included, in bytes.
#[must_use]
pub fn total_len(ip: &Ipv4Hdr) -> usize {
    usize::from(u16::from_be_bytes(ip.tot_len))
}

/// Length of what follows the IPv6 header, in bytes.
#[must_use]
pub fn payload_len(ip: &Ipv6Hdr) -> usize {
    usize::from(u16::from_be_bytes(ip.payload_len))
}

/// Whether this is a fragment of a larger datagram, the first one included.
#[must_use]
pub const fn is_fragment(ip: &Ipv4Hdr) -> bool {
    u16::from_be_bytes(ip.frags) & MORE_FRAGMENTS_AND_OFFSET != 0
}

/// The IPv4 address as a mapped IPv6 one (`::ffff:a.b.c.d`).
///
/// As a number and not byte by byte: the data plane has no fast way to fill an array.
#[must_use]
#[inline(always)]
pub const fn mapped(address: [u8; 4]) -> [u8; 16] {
    (0xffff << 32 | u32::from_be_bytes(address) as u128).to_be_bytes()
}

/// Takes one hop off an IPv4 packet that is forwarded (RFC 1812 §5.3.1).
///
/// # Errors
/// [`TtlExceeded`], and the header unchanged, when none is left.
pub const fn decrement_ttl(ip: &mut Ipv4Hdr) -> Result<(), TtlExceeded> {
    if ip.ttl <= 1 {
        return Err(TtlExceeded);
    }
    set_ttl(ip, ip.ttl - 1);
    Ok(())
}

/// Sets the TTL and corrects the header checksum.
pub const fn set_ttl(ip: &mut Ipv4Hdr, ttl: u8) {
    ip.check = checksum::update(ip.check, [ip.ttl, ip.proto], [ttl, ip.proto]);
    ip.ttl = ttl;
}

/// Takes one hop off an IPv6 packet that is forwarded (RFC 8200 §3).
///
/// # Errors
/// [`TtlExceeded`], and the header unchanged, when none is left.
pub const fn decrement_hop_limit(ip: &mut Ipv6Hdr) -> Result<(), TtlExceeded> {
    if ip.hop_limit <= 1 {
        return Err(TtlExceeded);
    }
    ip.hop_limit -= 1;
    Ok(())
}
