//! Frames that tests send past the client's network stack, and what captured ones say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use lab::frame::FrameSocket;
use lab::{Client, Frame, Host};

/// A MAC address.
pub(crate) type Mac = [u8; 6];
/// To all stations.
pub(crate) const BROADCAST: Mac = [0xff; 6];
/// `EtherType` of IPv4.
const IPV4: u16 = 0x0800;
/// `EtherType` of ARP.
const ARP: u16 = 0x0806;
/// `EtherType` of IPv6.
const IPV6: u16 = 0x86dd;
/// ICMPv6 type of a Neighbor Solicitation.
const SOLICITATION: u8 = 135;
/// ICMPv6 type of a Neighbor Advertisement.
const ADVERTISEMENT: u8 = 136;

/// Who sends: the client's first interface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    /// Its MAC address.
    pub(crate) mac: Mac,
    /// Its IPv4 address.
    pub(crate) v4: Ipv4Addr,
    /// Its IPv6 address.
    pub(crate) v6: Ipv6Addr,
}

impl Sender {
    /// A host's first interface.
    pub(crate) fn of(host: &Host) -> Self {
        Self {
            mac: host.mac(),
            v4: host.v4(),
            v6: host.v6(),
        }
    }

    /// An ARP request, with VLAN tags (`TPID`, `TCI`) if there are any.
    pub(crate) fn arp_request(&self, target: Ipv4Addr, tags: &[(u16, u16)]) -> Vec<u8> {
        let mut frame = ethernet(BROADCAST, self.mac, tags, ARP);
        frame.extend(arp(1, self.mac, self.v4, [0; 6], target));
        frame.resize(frame.len().max(60), 0);
        frame
    }

    /// A gratuitous ARP request: it says that this station has `address`.
    pub(crate) fn gratuitous_arp(&self, address: Ipv4Addr) -> Vec<u8> {
        let mut frame = ethernet(BROADCAST, self.mac, &[], ARP);
        frame.extend(arp(1, self.mac, address, [0; 6], address));
        frame.resize(60, 0);
        frame
    }

    /// A Neighbor Solicitation to the solicited-node group.
    pub(crate) fn solicitation(&self, target: Ipv6Addr) -> Vec<u8> {
        let group = solicited_node(target);
        let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        message.extend(target.octets());
        message.extend([1, 1]);
        message.extend(self.mac);
        let mut frame = ethernet(group_mac(group), self.mac, &[], IPV6);
        frame.extend(ipv6(self.v6, group, 58, 255, &message, 2));
        frame
    }

    /// An unsolicited Neighbor Advertisement: it says that this station has `address`.
    pub(crate) fn advertisement(&self, address: Ipv6Addr) -> Vec<u8> {
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let mut message = vec![ADVERTISEMENT, 0, 0, 0, 0x20, 0, 0, 0];
        message.extend(address.octets());
        message.extend([2, 1]);
        message.extend(self.mac);
        let mut frame = ethernet(group_mac(group), self.mac, &[], IPV6);
        frame.extend(ipv6(address, group, 58, 255, &message, 2));
        frame
    }

    /// A VRRPv3 advert over IPv4 for one address, from the virtual MAC address of `vrid`.
    pub(crate) fn vrrp(&self, vrid: u8, address: Ipv4Addr) -> Vec<u8> {
        let group = Ipv4Addr::new(224, 0, 0, 18);
        // Version 3, type 1; priority 200; one address; an advert each second.
        let mut advert = vec![0x31, vrid, 200, 1, 0, 100, 0, 0];
        advert.extend(address.octets());
        let pseudo = [&self.v4.octets()[..], &group.octets(), &[0, 112, 0, 12]].concat();
        let sum = checksum(&[&pseudo, &advert]);
        advert[6..8].copy_from_slice(&sum.to_be_bytes());
        let source = [0x00, 0x00, 0x5e, 0x00, 0x01, vrid];
        let mut frame = ethernet([0x01, 0x00, 0x5e, 0x00, 0x00, 0x12], source, &[], IPV4);
        frame.extend(ipv4(self.v4, group, 112, 255, &advert));
        frame.resize(frame.len().max(60), 0);
        frame
    }

    /// A UDP datagram over IPv4 or IPv6 in a frame to the station `to`.
    pub(crate) fn udp(&self, to: Mac, target: IpAddr, port: u16, hops: u8, data: &[u8]) -> Vec<u8> {
        let length = sixteen_bits(8 + data.len());
        // The source port says where it comes from in a capture.
        let mut datagram = [4000, port, length, 0].map(u16::to_be_bytes).concat();
        datagram.extend(data);
        match target {
            IpAddr::V4(target) => {
                let mut frame = ethernet(to, self.mac, &[], IPV4);
                // Without UDP checksum: allowed over IPv4.
                frame.extend(ipv4(self.v4, target, 17, hops, &datagram));
                frame
            }
            IpAddr::V6(target) => {
                let mut frame = ethernet(to, self.mac, &[], IPV6);
                frame.extend(ipv6(self.v6, target, 17, hops, &datagram, 6));
                frame
            }
        }
    }
}

fn ethernet(to: Mac, from: Mac, tags: &[(u16, u16)], ether_type: u16) -> Vec<u8> {
    let mut frame = [to, from].concat();
    for (tpid, tci) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame
}

fn arp(
    operation: u8,
    mac: Mac,
    address: Ipv4Addr,
    target_mac: Mac,
    target: Ipv4Addr,
) -> impl Iterator<Item = u8> {
    [0, 1, 8, 0, 6, 4, 0, operation]
        .into_iter()
        .chain(mac)
        .chain(address.octets())
        .chain(target_mac)
        .chain(target.octets())
}

fn ipv4(source: Ipv4Addr, target: Ipv4Addr, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let length = sixteen_bits(20 + payload.len());
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 1, 0, 0, ttl, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(target.octets());
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// `sum_at`: where in the payload its checksum stands.
fn ipv6(
    source: Ipv6Addr,
    target: Ipv6Addr,
    protocol: u8,
    hops: u8,
    payload: &[u8],
    sum_at: usize,
) -> Vec<u8> {
    let length = sixteen_bits(payload.len());
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([protocol, hops]);
    packet.extend(source.octets());
    packet.extend(target.octets());
    let pseudo = [&[0, 0][..], &length.to_be_bytes(), &[0, 0, 0, protocol]].concat();
    let sum = checksum(&[&packet[8..40], &pseudo, payload]);
    packet.extend(payload);
    packet[40 + sum_at..42 + sum_at].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// RFC 1071. All parts but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: usize = parts
        .iter()
        .flat_map(|part| part.chunks(2))
        .map(|pair| (usize::from(pair[0]) << 8) | usize::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !sixteen_bits(sum)
}

#[expect(clippy::expect_used, reason = "tests send short packets")]
fn sixteen_bits(number: usize) -> u16 {
    number.try_into().expect("a number of 16 bits")
}

/// The group that listens for solicitations of an address (RFC 4291 §2.7.1).
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// What a captured frame is, as far as the tests care. Numbers in host byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// ARP.
    Arp {
        /// Whether it is a request; else a reply.
        request: bool,
        /// The sender's protocol address.
        sender: Ipv4Addr,
        /// The target's protocol address.
        target: Ipv4Addr,
    },
    /// A Neighbor Advertisement.
    Advertisement {
        /// The address it is about.
        target: Ipv6Addr,
        /// The octet with the flags R, S and O.
        flags: u8,
    },
    /// Another IP packet.
    Packet {
        /// Source address.
        source: IpAddr,
        /// Destination address.
        target: IpAddr,
        /// TTL or hop limit.
        hops: u8,
    },
    /// Anything else.
    Other,
}

/// Reads a frame without VLAN tags.
pub(crate) fn read(frame: &Frame) -> Seen {
    match frame.ether_type() {
        ARP => read_arp(frame.bytes.get(14..)),
        IPV4 => read_ipv4(frame.bytes.get(14..)),
        IPV6 => read_ipv6(frame.bytes.get(14..)),
        _ => None,
    }
    .unwrap_or(Seen::Other)
}

/// Reads an ARP packet.
pub(crate) fn read_arp(packet: Option<&[u8]>) -> Option<Seen> {
    let packet = packet?.get(..28)?;
    Some(Seen::Arp {
        request: packet[7] == 1,
        sender: array::<4>(packet, 14)?.into(),
        target: array::<4>(packet, 24)?.into(),
    })
}

fn read_ipv4(packet: Option<&[u8]>) -> Option<Seen> {
    let packet = packet?.get(..20)?;
    Some(Seen::Packet {
        source: Ipv4Addr::from(array::<4>(packet, 12)?).into(),
        target: Ipv4Addr::from(array::<4>(packet, 16)?).into(),
        hops: packet[8],
    })
}

fn read_ipv6(packet: Option<&[u8]>) -> Option<Seen> {
    let packet = packet?;
    let header = packet.get(..40)?;
    if header[6] == 58 && packet.get(40) == Some(&ADVERTISEMENT) {
        return Some(Seen::Advertisement {
            target: array::<16>(packet, 48)?.into(),
            flags: *packet.get(44)?,
        });
    }
    Some(Seen::Packet {
        source: Ipv6Addr::from(array::<16>(header, 8)?).into(),
        target: Ipv6Addr::from(array::<16>(header, 24)?).into(),
        hops: header[7],
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The VIP a frame speaks for: it says who has the address, or comes from it.
pub(crate) fn speaks_for(frame: &Frame, vips: &[IpAddr]) -> Option<IpAddr> {
    let address = match read(frame) {
        Seen::Arp { sender, .. } => sender.into(),
        Seen::Advertisement { target, .. } => target.into(),
        Seen::Packet { source, .. } => source,
        Seen::Other => return None,
    };
    vips.contains(&address).then_some(address)
}

/// Sends the same frames over and over until it is dropped.
pub(crate) struct Asker {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Asker {
    /// Sends all of `frames` each `period`.
    #[expect(clippy::expect_used, reason = "a test's way to fail")]
    pub(crate) fn start(client: &Client, frames: Vec<Vec<u8>>, period: Duration) -> Result<Self> {
        let socket = FrameSocket::open(client.namespace(), "eth0")?;
        let (stop, rounds) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (told, count) = (stop.clone(), rounds.clone());
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                for frame in &frames {
                    socket.send(frame).expect("sending a frame");
                }
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(period);
            }
        });
        Ok(Self {
            stop,
            rounds,
            thread: Some(thread),
        })
    }

    /// How many times all frames were sent so far.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed already.
            drop(thread.join());
        }
    }
}
