//! Frames, built field by field. Nothing here uses the code under test: checksums are computed in
//! full, over the finished bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A hardware address.
pub type Mac = [u8; 6];

/// VLAN tags of a frame, outer first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    None,
    One,
    Two,
}

impl Tags {
    /// All cases, with a suffix for the fixture's name.
    pub const ALL: [(Self, &str); 3] = [
        (Self::None, ""),
        (Self::One, ", one tag"),
        (Self::Two, ", two tags"),
    ];

    /// The outer VLAN identifier.
    pub const fn vlan(self) -> u16 {
        match self {
            Self::None => 0,
            Self::One => 7,
            Self::Two => 100,
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::None => vec![],
            // Priority 5, identifier 7.
            Self::One => vec![0x81, 0x00, 0xa0, 7],
            // A service tag, then a customer tag with all bits of the identifier set.
            Self::Two => vec![0x88, 0xa8, 0, 100, 0x81, 0x00, 0x0f, 0xff],
        }
    }
}

/// An Ethernet frame.
pub fn ethernet(to: Mac, from: Mac, tags: Tags, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [
        &to[..],
        &from,
        &tags.bytes(),
        &ether_type.to_be_bytes(),
        payload,
    ]
    .concat()
}

/// The frame padded with zeros to Ethernet's minimum.
pub fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60), 0);
    frame
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy)]
pub struct Arp {
    pub hardware: u16,
    pub protocol: u16,
    pub hardware_len: u8,
    pub protocol_len: u8,
    pub operation: u16,
    pub sender_mac: Mac,
    pub sender: Ipv4Addr,
    pub target_mac: Mac,
    pub target: Ipv4Addr,
}

impl Arp {
    /// Who has `target`? Tell `sender`.
    pub const fn request(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self {
            hardware: 1,
            protocol: 0x0800,
            hardware_len: 6,
            protocol_len: 4,
            operation: 1,
            sender_mac,
            sender,
            target_mac: [0; 6],
            target,
        }
    }

    /// `sender` is at `sender_mac`.
    pub const fn reply(
        sender_mac: Mac,
        sender: Ipv4Addr,
        target_mac: Mac,
        target: Ipv4Addr,
    ) -> Self {
        Self {
            operation: 2,
            target_mac,
            ..Self::request(sender_mac, sender, target)
        }
    }

    pub fn bytes(self) -> Vec<u8> {
        [
            &self.hardware.to_be_bytes()[..],
            &self.protocol.to_be_bytes(),
            &[self.hardware_len, self.protocol_len],
            &self.operation.to_be_bytes(),
            &self.sender_mac,
            &self.sender.octets(),
            &self.target_mac,
            &self.target.octets(),
        ]
        .concat()
    }
}

/// An IPv4 header. Lengths are computed unless given.
#[derive(Debug, Clone)]
pub struct Ipv4 {
    pub version: u8,
    pub header_words: Option<u8>,
    pub total_len: Option<u16>,
    pub identification: u16,
    /// Flags (3 bits) and fragment offset (13 bits).
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub options: Vec<u8>,
}

impl Ipv4 {
    pub const fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Self {
        Self {
            version: 4,
            header_words: None,
            total_len: None,
            identification: 0x1234,
            fragment: 0x4000,
            ttl: 64,
            protocol,
            source,
            destination,
            options: Vec::new(),
        }
    }

    pub fn bytes(&self, payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let words = self.header_words.unwrap_or((header_len / 4) as u8);
        let total = self
            .total_len
            .unwrap_or((header_len + payload.len()) as u16);
        let mut header = [
            &[self.version << 4 | words, 0][..],
            &total.to_be_bytes(),
            &self.identification.to_be_bytes(),
            &self.fragment.to_be_bytes(),
            &[self.ttl, self.protocol, 0, 0],
            &self.source.octets(),
            &self.destination.octets(),
            &self.options,
        ]
        .concat();
        let checksum = checksum(&header);
        header[10..12].copy_from_slice(&checksum);
        [&header, payload].concat()
    }
}

/// An IPv6 header. The payload length is computed unless given.
#[derive(Debug, Clone, Copy)]
pub struct Ipv6 {
    pub first_word: u32,
    pub payload_len: Option<u16>,
    pub next_header: u8,
    pub hop_limit: u8,
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
}

impl Ipv6 {
    pub const fn new(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8) -> Self {
        Self {
            first_word: 0x6000_0000,
            payload_len: None,
            next_header,
            hop_limit: 64,
            source,
            destination,
        }
    }

    pub fn bytes(&self, payload: &[u8]) -> Vec<u8> {
        let len = self.payload_len.unwrap_or(payload.len() as u16);
        [
            &self.first_word.to_be_bytes()[..],
            &len.to_be_bytes(),
            &[self.next_header, self.hop_limit],
            &self.source.octets(),
            &self.destination.octets(),
            payload,
        ]
        .concat()
    }
}

/// An ICMP message with its checksum.
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0][..], &rest, data].concat();
    let checksum = checksum(&message);
    message[2..4].copy_from_slice(&checksum);
    message
}

/// An ICMPv6 message with its checksum.
pub fn icmpv6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    kind: u8,
    code: u8,
    rest: [u8; 4],
    data: &[u8],
) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0][..], &rest, data].concat();
    let pseudo_header = pseudo_header(source, destination, 58, &message);
    let checksum = checksum(&[&pseudo_header[..], &message].concat());
    message[2..4].copy_from_slice(&checksum);
    message
}

/// A UDP datagram without checksum.
pub fn udp(source_port: u16, port: u16, data: &[u8]) -> Vec<u8> {
    let len = 8 + data.len() as u16;
    let [a, b] = source_port.to_be_bytes();
    let [c, d] = port.to_be_bytes();
    let [e, f] = len.to_be_bytes();
    [&[a, b, c, d, e, f, 0, 0][..], data].concat()
}

/// A UDP datagram with the checksum that IPv6 demands.
pub fn udpv6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    source_port: u16,
    port: u16,
    data: &[u8],
) -> Vec<u8> {
    let mut datagram = udp(source_port, port, data);
    let pseudo_header = pseudo_header(source, destination, 17, &datagram);
    let checksum = match checksum(&[&pseudo_header[..], &datagram].concat()) {
        [0, 0] => [0xff, 0xff],
        other => other,
    };
    datagram[6..8].copy_from_slice(&checksum);
    datagram
}

/// What is summed up before a message of this protocol (RFC 8200 §8.1).
pub fn pseudo_header(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    protocol: u8,
    message: &[u8],
) -> Vec<u8> {
    let len = message.len() as u32;
    [
        &source.octets()[..],
        &destination.octets(),
        &len.to_be_bytes(),
        &[0, 0, 0, protocol],
    ]
    .concat()
}

/// A Neighbor Discovery option: type, length in units of eight bytes, content padded to it.
pub fn nd_option(kind: u8, units: u8, content: &[u8]) -> Vec<u8> {
    let mut option = [&[kind, units][..], content].concat();
    option.resize(usize::from(units) * 8, 0);
    option
}

/// The Internet checksum by its definition (RFC 1071): the complement of the ones' complement sum
/// of all 16-bit words.
pub fn checksum(bytes: &[u8]) -> [u8; 2] {
    (!sum(bytes)).to_be_bytes()
}

/// Whether data that contains its checksum is undamaged.
pub fn verifies(bytes: &[u8]) -> bool {
    sum(bytes) == 0xffff
}

fn sum(bytes: &[u8]) -> u16 {
    bytes
        .chunks(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
        .fold(0, |sum, word| {
            let (sum, carry) = sum.overflowing_add(word);
            sum + u16::from(carry)
        })
}
