//! The frames that the data plane is measured with.

use anyhow::{Context as _, Result};
use etherparse::PacketBuilder;
use vip_common::net::header::bytes_of;
use vip_common::net::ip::mapped;
use vip_common::net::liveness::{Liveness, MIN_NONCE_STEP_NS};

/// UDP port of liveness probes.
pub(crate) const PORT: u16 = 8113;
/// Links that probes come by.
pub(crate) const LINKS: u32 = 64;
/// Key of all probes and echoes.
pub(crate) const KEY: [u64; 2] = [1, 2];
/// The VIP, and its instance's identifier.
pub(crate) const VIP: [u8; 4] = [192, 0, 2, 10];
/// See [`VIP`].
pub(crate) const VRID: u8 = 10;
/// Our MAC address.
pub(crate) const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The MAC address of whoever gets the packets next.
pub(crate) const SUCCESSOR: [u8; 6] = [2, 0, 0, 0, 0, 2];

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
const CLIENT: [u8; 4] = [192, 0, 2, 77];
const ELSEWHERE: [u8; 4] = [192, 0, 2, 200];

/// Address family of the links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Our own address on the links.
    pub(crate) const fn local(self) -> [u8; 16] {
        match self {
            Self::V4 => mapped([10, 0, 0, 1]),
            Self::V6 => [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        }
    }

    /// The peer's address on a link.
    pub(crate) const fn peer(self, link: u32) -> [u8; 16] {
        let [.., last] = link.to_be_bytes();
        match self {
            Self::V4 => mapped([10, 0, 1, last]),
            Self::V6 => [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, last],
        }
    }
}

/// A datagram to an address that is no VIP.
pub(crate) fn plain() -> Result<Vec<Vec<u8>>> {
    datagram(CLIENT, ELSEWHERE)
}

/// A datagram to the VIP.
pub(crate) fn to_vip() -> Result<Vec<Vec<u8>>> {
    datagram(CLIENT, VIP)
}

/// Who has the VIP?
pub(crate) fn arp() -> Vec<Vec<u8>> {
    let mut frame = [&[0xff; 6][..], &CLIENT_MAC, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    frame.extend([&CLIENT_MAC[..], &CLIENT, &[0; 6], &VIP].concat());
    frame.resize(64, 0);
    vec![frame]
}

/// This many probes, on all links in turns, with rising nonces.
pub(crate) fn probes(family: Family, number: u32) -> Result<Vec<Vec<u8>>> {
    messages(number, |link, nonce| {
        let probe = Liveness::probe(nonce, 1, [VRID, 0, 0, 0, 0, 0, 0, 0], KEY);
        payload(family, link, &probe)
    })
}

/// Like [`probes`], but echoes to ours.
pub(crate) fn echoes(family: Family, number: u32) -> Result<Vec<Vec<u8>>> {
    messages(number, |link, nonce| {
        let mut echo = Liveness::probe(nonce, 1, [VRID, 0, 0, 0, 0, 0, 0, 0], KEY);
        echo.answer(1, 1_000_000);
        echo.mac = echo.authentication_code(KEY);
        payload(family, link, &echo)
    })
}

fn messages(number: u32, message: impl Fn(u32, u64) -> Result<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
    (0..number)
        .map(|index| {
            let round = u64::from(index / LINKS) + 1;
            message(index % LINKS, round * MIN_NONCE_STEP_NS)
        })
        .collect()
}

fn payload(family: Family, link: u32, message: &Liveness) -> Result<Vec<u8>> {
    let ethernet = PacketBuilder::ethernet2(CLIENT_MAC, OURS);
    let (peer, local) = (family.peer(link), family.local());
    let ip = match family {
        Family::V4 => ethernet.ipv4(last_four(peer), last_four(local), 64),
        Family::V6 => ethernet.ipv6(peer, local, 64),
    };
    let mut frame = Vec::new();
    ip.udp(40_000, PORT)
        .write(&mut frame, bytes_of(message))
        .context("building a probe")?;
    Ok(frame)
}

fn datagram(from: [u8; 4], to: [u8; 4]) -> Result<Vec<Vec<u8>>> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(CLIENT_MAC, OURS)
        .ipv4(from, to, 64)
        .udp(40_000, 80)
        .write(&mut frame, &[0; 32])
        .context("building a datagram")?;
    Ok(vec![frame])
}

fn last_four([.., a, b, c, d]: [u8; 16]) -> [u8; 4] {
    [a, b, c, d]
}
