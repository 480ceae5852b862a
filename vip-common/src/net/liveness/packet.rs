//! The datagrams that carry probes and echoes, and how a probe becomes its echo in place.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use network_types::udp::UdpHdr;

use super::Liveness;
use crate::abi::PeerKey;
use crate::net::checksum::Sum;
use crate::net::{icmp, ip};

/// Length of the UDP datagram, its header included.
const UDP_LEN: u16 = 112;

const _: () = assert!(size_of::<UdpHdr>() + size_of::<Liveness>() == UDP_LEN as usize);

/// An IPv4 packet without options that carries a probe or an echo, from the IP header on.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PacketV4 {
    /// IPv4 header.
    pub ip: Ipv4Hdr,
    /// UDP header.
    pub udp: UdpHdr,
    /// Probe or echo.
    pub payload: Liveness,
}

/// An IPv6 packet without extension headers that carries a probe or an echo, from the IP header on.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PacketV6 {
    /// IPv6 header.
    pub ip: Ipv6Hdr,
    /// UDP header.
    pub udp: UdpHdr,
    /// Probe or echo.
    pub payload: Liveness,
}

impl PacketV4 {
    /// Whether this is a whole UDP datagram to `port` with a payload of the right length and
    /// beginning, `available` bytes of the frame being left from the IP header on. UDP's checksum is
    /// not looked at: the payload has its own authentication code.
    #[must_use]
    #[inline(always)]
    pub fn is_liveness(&self, port: u16, available: usize) -> bool {
        ip::is_consistent_v4(&self.ip, available)
            && ip::header_len(&self.ip) == size_of::<Ipv4Hdr>()
            && ip::total_len(&self.ip) == size_of::<Self>()
            && self.ip.proto == ip::PROTOCOL_UDP
            && !ip::is_fragment(&self.ip)
            && is_for(&self.udp, port)
            && self.payload.is_known()
    }

    /// The sender's address.
    #[must_use]
    #[inline(always)]
    pub const fn source(&self) -> PeerKey {
        ip::mapped(self.ip.src_addr)
    }

    /// The receiver's address.
    #[must_use]
    #[inline(always)]
    pub const fn destination(&self) -> PeerKey {
        ip::mapped(self.ip.dst_addr)
    }

    /// Sends the datagram back to where it came from, its payload being an answer by now. UDP's
    /// checksum is left out, as IPv4 allows (RFC 768).
    #[inline(always)]
    pub const fn send_back(&mut self) {
        icmp::return_v4(&mut self.ip);
        (self.udp.src, self.udp.dst) = (self.udp.dst, self.udp.src);
        self.udp.check = [0; 2];
    }
}

impl PacketV6 {
    /// Whether this is a UDP datagram to `port` with a payload of the right length and beginning,
    /// `available` bytes of the frame being left from the IP header on. UDP's checksum is not looked
    /// at: the payload has its own authentication code.
    #[must_use]
    #[inline(always)]
    pub fn is_liveness(&self, port: u16, available: usize) -> bool {
        ip::is_consistent_v6(&self.ip, available)
            && self.ip.next_hdr == ip::PROTOCOL_UDP
            && ip::payload_len(&self.ip) == usize::from(UDP_LEN)
            && is_for(&self.udp, port)
            && self.payload.is_known()
    }

    /// The sender's address.
    #[must_use]
    #[inline(always)]
    pub const fn source(&self) -> PeerKey {
        self.ip.src_addr
    }

    /// The receiver's address.
    #[must_use]
    #[inline(always)]
    pub const fn destination(&self) -> PeerKey {
        self.ip.dst_addr
    }

    /// Sends the datagram back to where it came from, its payload being an answer by now, with the
    /// checksum that IPv6 demands (RFC 8200 §8.1).
    #[inline(always)]
    pub fn send_back(&mut self) {
        icmp::return_v6(&mut self.ip);
        (self.udp.src, self.udp.dst) = (self.udp.dst, self.udp.src);
        self.udp.check = self.checksum();
    }

    #[inline(always)]
    fn checksum(&self) -> [u8; 2] {
        let [first, second] = self.payload.first_halves();
        let mut sum = Sum::ZERO
            .sixteen(&self.ip.src_addr)
            .sixteen(&self.ip.dst_addr)
            // The length stands in the pseudo-header and in the UDP header.
            .word(UDP_LEN.to_be_bytes())
            .word([0, ip::PROTOCOL_UDP])
            .word(self.udp.src)
            .word(self.udp.dst)
            .word(self.udp.len)
            .half(&first)
            .half(&second)
            .eight(&self.payload.nonce)
            .eight(&self.payload.incarnation)
            .eight(&self.payload.lease_left_ns)
            .eight(&self.payload.mac);
        for instance in &self.payload.instances {
            sum = sum.eight(instance);
        }
        match sum.checksum() {
            // Zero would say that there is none.
            [0, 0] => [0xff, 0xff],
            other => other,
        }
    }
}

#[inline(always)]
fn is_for(udp: &UdpHdr, port: u16) -> bool {
    u16::from_be_bytes(udp.dst) == port && u16::from_be_bytes(udp.len) == UDP_LEN
}
