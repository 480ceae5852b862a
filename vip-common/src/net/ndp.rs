//! IPv6 Neighbor Discovery (RFC 4861): solicitation checked and answered in place, announcement.

use bytemuck::{Pod, Zeroable};
use network_types::ip::Ipv6Hdr;

use super::MacAddress;
use super::arp::concatenate;
use super::checksum::Sum;
use super::ethernet::{self, EthernetHeader};
use super::header::bytes_of;
use super::ip::{PROTOCOL_ICMPV6, payload_len};

/// ICMPv6 type of a Neighbor Solicitation.
pub const SOLICITATION: u8 = 135;
/// ICMPv6 type of a Neighbor Advertisement.
pub const ADVERTISEMENT: u8 = 136;
/// Option type: source link-layer address.
pub const OPTION_SOURCE: u8 = 1;
/// Option type: target link-layer address.
pub const OPTION_TARGET: u8 = 2;

/// All nodes on the link.
pub const ALL_NODES: [u8; 16] = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The Ethernet group of [`ALL_NODES`] (RFC 2464 §7).
pub const ALL_NODES_MAC: MacAddress = [0x33, 0x33, 0, 0, 0, 1];

/// Hop limit of every Neighbor Discovery packet: it has crossed no router.
pub const HOP_LIMIT: u8 = 255;

/// Length of an advertisement's ICMPv6 message: with the target link-layer address option.
pub const ADVERTISEMENT_LEN: u16 = 32;
/// Length of an advertisement's frame without VLAN tag.
pub const FRAME_LEN: usize = size_of::<EthernetHeader>() + size_of::<AdvertisementPacket>();

/// Version 6, no traffic class, no flow label.
const VERSION_6: [u8; 4] = [0x60, 0, 0, 0];
/// What lengths of options are measured in, bytes.
pub const UNIT: usize = 8;
/// Longest solicitation that is accepted, in units. Options in use (link-layer address, nonce) take
/// three at most; the bound is there because work per packet must have one.
pub const MAX_UNITS: usize = 16;

const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;
/// ff02::1:ff00:0/104 (RFC 4291 §2.7.1).
const SOLICITED_NODE: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;

/// What solicitations and advertisements have in common; options follow.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct NeighborMessage {
    /// [`SOLICITATION`] or [`ADVERTISEMENT`].
    pub kind: u8,
    /// Zero.
    pub code: u8,
    /// Over pseudo-header and message.
    pub checksum: [u8; 2],
    /// Router, solicited and override flag of an advertisement.
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The address that is asked for or spoken of.
    pub target: [u8; 16],
}

/// The option that carries an Ethernet address.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct LinkLayerOption {
    /// [`OPTION_SOURCE`] or [`OPTION_TARGET`]; for other options only this and `length` count.
    pub kind: u8,
    /// Length of the option in units of eight bytes.
    pub length: u8,
    /// The hardware address.
    pub mac: MacAddress,
}

/// A complete advertisement from the IPv6 header on.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AdvertisementPacket {
    /// IPv6 header.
    pub ip: Ipv6Hdr,
    /// ICMPv6 message.
    pub message: NeighborMessage,
    /// Where the target is.
    pub option: LinkLayerOption,
}

/// Whether the IPv6 header is that of a Neighbor Discovery packet that crossed no router.
#[must_use]
pub const fn is_on_link(ip: &Ipv6Hdr) -> bool {
    ip.hop_limit == HOP_LIMIT
}

/// Whether a solicitation with this source comes from a station that is still finding out whether it
/// may use the target address (Duplicate Address Detection, RFC 4862 §5.4).
#[must_use]
pub const fn is_detecting_duplicates(ip: &Ipv6Hdr) -> bool {
    u128::from_ne_bytes(ip.src_addr) == 0
}

/// Whether the IPv6 header can be that of a valid solicitation (RFC 4861 §7.1.1): hop limit, length,
/// and addresses that fit together. Lengths that are no whole number of [`UNIT`]s are not valid,
/// since options are measured in it; longer ones than [`MAX_UNITS`] are not accepted.
#[must_use]
pub fn may_be_solicitation(ip: &Ipv6Hdr) -> bool {
    let len = payload_len(ip);
    is_on_link(ip)
        && len >= size_of::<NeighborMessage>()
        && len.is_multiple_of(UNIT)
        && len <= MAX_UNITS * UNIT
        && ip.src_addr[0] != 0xff
        && (!is_detecting_duplicates(ip) || is_solicited_node(&ip.dst_addr))
}

/// The rest of what RFC 4861 §7.1.1 demands of a solicitation, checked unit by unit in one walk over
/// the ICMPv6 message: code, checksum, lengths of options, and no source link-layer address from a
/// station that detects duplicates.
#[derive(Debug, Clone, Copy)]
pub struct SolicitationCheck {
    sum: Sum,
    next_option: usize,
    detecting_duplicates: bool,
}

impl SolicitationCheck {
    /// The check of the message that follows `ip`.
    #[must_use]
    pub fn new(ip: &Ipv6Hdr) -> Self {
        Self {
            sum: pseudo_header(ip, u16::from_be_bytes(ip.payload_len)),
            next_option: size_of::<NeighborMessage>() / UNIT,
            detecting_duplicates: is_detecting_duplicates(ip),
        }
    }

    /// Takes in the message's next unit, the `index`-th from 0; false when the message is not valid
    /// whatever follows.
    #[must_use]
    pub const fn add(&mut self, index: usize, bytes: &[u8; UNIT]) -> bool {
        self.sum = self.sum.eight(bytes);
        let [first, second, ..] = *bytes;
        if index == 0 {
            return second == 0; // the message's code
        }
        if index == self.next_option {
            self.next_option += second as usize;
            return second != 0 && !(self.detecting_duplicates && first == OPTION_SOURCE);
        }
        true
    }

    /// Whether the message of `units` units, all of them taken in and none refused, is valid.
    #[must_use]
    pub const fn passed(&self, units: usize) -> bool {
        self.next_option == units && self.sum.is_valid()
    }
}

/// Whether the address is a solicited-node multicast address.
#[must_use]
pub const fn is_solicited_node(address: &[u8; 16]) -> bool {
    u128::from_be_bytes(*address) >> 24 == SOLICITED_NODE >> 24
}

/// Sum of the pseudo-header of an ICMPv6 message of `len` bytes (RFC 8200 §8.1).
#[must_use]
pub const fn pseudo_header(ip: &Ipv6Hdr, len: u16) -> Sum {
    Sum::ZERO
        .sixteen(&ip.src_addr)
        .sixteen(&ip.dst_addr)
        .word(len.to_be_bytes())
        .word([0, PROTOCOL_ICMPV6])
}

/// Turns a valid solicitation, resized to the length of an advertisement, into the advertisement
/// that says its target is at `mac` (RFC 4861 §7.2.4), and returns the hardware address it goes to
/// when that is not simply the asking station's.
///
/// Override is always set: a VIP has one place at a time, and the neighbours' old entry is the one
/// to be replaced.
pub fn answer(packet: &mut AdvertisementPacket, mac: MacAddress) -> Option<MacAddress> {
    let target = packet.message.target;
    let group = if is_detecting_duplicates(&packet.ip) {
        packet.ip.dst_addr = ALL_NODES;
        packet.message.flags = FLAG_OVERRIDE;
        Some(ALL_NODES_MAC)
    } else {
        packet.ip.dst_addr = packet.ip.src_addr;
        packet.message.flags = FLAG_OVERRIDE | FLAG_SOLICITED;
        None
    };
    packet.ip.src_addr = target;
    complete(packet, mac);
    group
}

/// The frame that tells every station on the link that `vip` is at `mac` (RFC 4861 §7.2.6): an
/// unsolicited advertisement to all nodes with the override flag.
#[must_use]
pub fn unsolicited_na(mac: MacAddress, vip: [u8; 16]) -> [u8; FRAME_LEN] {
    let ethernet = EthernetHeader {
        destination: ALL_NODES_MAC,
        source: mac,
        ether_type: ethernet::IPV6.to_be_bytes(),
    };
    let mut packet = AdvertisementPacket {
        ip: Ipv6Hdr {
            vcf: VERSION_6,
            payload_len: [0; 2],
            next_hdr: PROTOCOL_ICMPV6,
            hop_limit: HOP_LIMIT,
            src_addr: vip,
            dst_addr: ALL_NODES,
        },
        message: NeighborMessage {
            kind: ADVERTISEMENT,
            code: 0,
            checksum: [0; 2],
            flags: FLAG_OVERRIDE,
            reserved: [0; 3],
            target: vip,
        },
        option: LinkLayerOption::zeroed(),
    };
    complete(&mut packet, mac);
    concatenate(bytes_of(&ethernet), bytes_of(&packet))
}

/// Fills in what every advertisement has: IPv6 header, lengths, type, option and checksum.
fn complete(packet: &mut AdvertisementPacket, mac: MacAddress) {
    packet.ip.vcf = VERSION_6;
    packet.ip.payload_len = ADVERTISEMENT_LEN.to_be_bytes();
    packet.ip.hop_limit = HOP_LIMIT;
    packet.message.kind = ADVERTISEMENT;
    packet.message.code = 0;
    packet.message.reserved = [0; 3];
    packet.option = LinkLayerOption {
        kind: OPTION_TARGET,
        length: 1,
        mac,
    };

    let [a, b, c, d, e, f] = mac;
    packet.message.checksum = pseudo_header(&packet.ip, ADVERTISEMENT_LEN)
        .word([ADVERTISEMENT, 0])
        .word([packet.message.flags, 0])
        .sixteen(&packet.message.target)
        .eight(&[OPTION_TARGET, 1, a, b, c, d, e, f])
        .checksum();
}
