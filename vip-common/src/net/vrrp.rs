//! VRRP advertisements of others (RFC 9568), as far as they concern us: the protocol itself is not
//! spoken here, but whoever speaks it with one of our virtual router identifiers is in our way.

use bytemuck::{Pod, Zeroable};
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::ip;

/// IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;
/// Where advertisements go on IPv4 (RFC 9568 §5.1.1.2).
pub const GROUP_V4: [u8; 4] = [224, 0, 0, 18];
/// Where advertisements go on IPv6 (RFC 9568 §5.1.2.2).
pub const GROUP_V6: [u8; 16] = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12];

/// TTL and hop limit of every advertisement: it has crossed no router (RFC 9568 §5.1.1.3).
const HOP_LIMIT: u8 = 255;
/// The only type of packet there is.
const ADVERTISEMENT: u8 = 1;

/// The first eight bytes of an advertisement, the same in versions 2 and 3.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct VrrpHeader {
    /// Version (4 bits), type (4 bits).
    pub version_type: u8,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// Number of addresses.
    pub count: u8,
    /// Of no meaning here.
    pub rest: [u8; 4],
}

impl VrrpHeader {
    /// Whether this is an advertisement of version 2 or 3.
    #[must_use]
    pub const fn is_advertisement(&self) -> bool {
        matches!(self.version_type >> 4, 2 | 3) && self.version_type & 0x0f == ADVERTISEMENT
    }
}

/// Whether the header is that of a whole VRRP packet without IP options, to the group and from this
/// link; `available`: bytes of the frame from the header on.
#[must_use]
pub fn is_vrrp_v4(header: &Ipv4Hdr, available: usize) -> bool {
    header.proto == PROTOCOL
        && u32::from_ne_bytes(header.dst_addr) == u32::from_ne_bytes(GROUP_V4)
        && header.ttl == HOP_LIMIT
        && ip::is_consistent_v4(header, available)
        && ip::header_len(header) == size_of::<Ipv4Hdr>()
        && ip::total_len(header) >= size_of::<Ipv4Hdr>() + size_of::<VrrpHeader>()
        && !ip::is_fragment(header)
}

/// Like [`is_vrrp_v4`], for IPv6 without extension headers.
#[must_use]
pub fn is_vrrp_v6(header: &Ipv6Hdr, available: usize) -> bool {
    header.next_hdr == PROTOCOL
        && u128::from_ne_bytes(header.dst_addr) == u128::from_ne_bytes(GROUP_V6)
        && header.hop_limit == HOP_LIMIT
        && ip::is_consistent_v6(header, available)
        && ip::payload_len(header) >= size_of::<VrrpHeader>()
}
