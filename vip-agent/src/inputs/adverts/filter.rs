//! What the kernel throws away before the election thread sees it.
//!
//! The election runs with real-time priority: whatever wakes it takes time from everything else on
//! the machine. A classic BPF filter on the socket drops what cannot be an advert, and of what comes
//! from a stranger all but a sample, which is enough for the report that says who is not configured.
//! Versions and types are not looked at: that a peer speaks another version must be told.

use std::net::IpAddr;

use socket2::SockFilter;
use vip_proto::native::{HEADER_LEN, MAC_LEN, MAX_DATAGRAM};

/// The filter of a UDP socket sees the UDP header first.
const UDP_HEADER: u32 = 8;
/// The first two bytes of an advert, "VI".
const MAGIC: u32 = 0x5649;
/// `SKF_NET_OFF` of linux/filter.h, −0x100000: offsets from here on count from the IP header.
const NETWORK_HEADER: u32 = 0xfff0_0000;
/// `SKF_AD_OFF + SKF_AD_RANDOM` of linux/filter.h, −0x1000 + 56: a random number.
const RANDOM: u32 = 0xffff_f038;
/// Of strangers' datagrams one in this many passes (a power of two).
const SAMPLE: u32 = 64;
/// With more peers than this, sources are left to the election: the kernel takes 4096 instructions.
const MAX_PEERS: usize = 256;

/// The datagram is dropped.
const DROP: u32 = 0;
/// The datagram is kept whole.
const KEEP: u32 = u32::MAX;

const LOAD_LENGTH: u16 = 0x80; // BPF_LD | BPF_W | BPF_LEN
const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const NOT_LESS: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// The filter; `peers` is empty if anybody may send.
pub(super) fn program(peers: &[IpAddr]) -> Vec<SockFilter> {
    let mut program = vec![
        SockFilter::new(LOAD_LENGTH, 0, 0, 0),
        SockFilter::new(NOT_LESS, 1, 0, UDP_HEADER + len(HEADER_LEN + MAC_LEN)),
        verdict(DROP),
        SockFilter::new(GREATER, 0, 1, UDP_HEADER + len(MAX_DATAGRAM)),
        verdict(DROP),
        SockFilter::new(LOAD_HALF, 0, 0, UDP_HEADER),
        SockFilter::new(EQUAL, 1, 0, MAGIC),
        verdict(DROP),
    ];
    if !(1..=MAX_PEERS).contains(&peers.len()) {
        program.push(verdict(KEEP));
        return program;
    }
    for peer in peers {
        keep_if_from(&mut program, *peer);
    }
    program.extend([
        SockFilter::new(LOAD_WORD, 0, 0, RANDOM),
        SockFilter::new(AND, 0, 0, SAMPLE - 1),
        SockFilter::new(EQUAL, 1, 0, 0),
        verdict(DROP),
        verdict(KEEP),
    ]);
    program
}

/// Keeps the datagram if this is its source, else goes on behind.
fn keep_if_from(program: &mut Vec<SockFilter>, peer: IpAddr) {
    // Place of the source address in the IP header (RFC 791 §3.1, RFC 8200 §3).
    let (offset, address) = match peer {
        IpAddr::V4(peer) => (12, peer.octets().to_vec()),
        IpAddr::V6(peer) => (8, peer.octets().to_vec()),
    };
    let words = address.as_chunks::<4>().0;
    let mut left = words.len();
    for (at, word) in (NETWORK_HEADER + offset..).step_by(4).zip(words) {
        left -= 1;
        // Over the words that are left, two instructions each, and the verdict.
        let elsewhere = u8::try_from(2 * left + 1).unwrap_or(u8::MAX);
        program.push(SockFilter::new(LOAD_WORD, 0, 0, at));
        program.push(SockFilter::new(
            EQUAL,
            0,
            elsewhere,
            u32::from_be_bytes(*word),
        ));
    }
    program.push(verdict(KEEP));
}

fn verdict(verdict: u32) -> SockFilter {
    SockFilter::new(RETURN, 0, 0, verdict)
}

/// A length of the protocol; all are far below 2³².
fn len(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    const SHORTEST: usize = HEADER_LEN + MAC_LEN;

    /// How many of `datagrams` a socket that expects `peers` gets from `from`.
    fn received(from: &str, to: &str, peers: &[&str], datagrams: &[Vec<u8>]) -> usize {
        let peers: Vec<IpAddr> = peers.iter().map(|peer| peer.parse().unwrap()).collect();
        let receiver = UdpSocket::bind((to.parse::<IpAddr>().unwrap(), 0)).unwrap();
        socket2::SockRef::from(&receiver)
            .attach_filter(&program(&peers))
            .unwrap();
        receiver
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let sender = UdpSocket::bind((from.parse::<IpAddr>().unwrap(), 0)).unwrap();
        let mut count = 0;
        for datagram in datagrams {
            sender
                .send_to(datagram, receiver.local_addr().unwrap())
                .unwrap();
            match receiver.recv(&mut [0; 2048]) {
                Ok(length) => {
                    assert_eq!(length, datagram.len());
                    count += 1;
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        count
    }

    fn advert(length: usize) -> Vec<u8> {
        let mut bytes = b"VI".to_vec();
        bytes.resize(length, 0);
        bytes
    }

    #[test]
    fn what_has_the_shape_of_an_advert_passes_whatever_its_version() {
        let good = [advert(SHORTEST), advert(MAX_DATAGRAM)];
        assert_eq!(received("127.0.0.1", "127.0.0.1", &[], &good), 2);
        let peers = ["127.0.0.9", "127.0.0.1"];
        assert_eq!(received("127.0.0.1", "127.0.0.1", &peers, &good), 2);
        assert_eq!(received("::1", "::1", &["fd00::1", "::1"], &good), 2);
    }

    #[test]
    fn what_has_not_is_dropped() {
        let mut other = advert(SHORTEST);
        other[1] = b'J';
        let bad = [
            Vec::new(),
            b"V".to_vec(),
            advert(SHORTEST - 1),
            advert(MAX_DATAGRAM + 1),
            other,
        ];
        assert_eq!(received("127.0.0.1", "127.0.0.1", &[], &bad), 0);
        assert_eq!(received("127.0.0.1", "127.0.0.1", &["127.0.0.1"], &bad), 0);
        assert_eq!(received("::1", "::1", &["::1"], &bad), 0);
    }

    #[test]
    fn of_strangers_a_sample_passes() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let peers = ["127.0.0.9".parse().unwrap(), "127.0.1.1".parse().unwrap()];
        let options = socket2::SockRef::from(&receiver);
        options.attach_filter(&program(&peers)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut passed = 0;
        for _ in 0..64 * 100 {
            sender
                .send_to(&advert(SHORTEST), receiver.local_addr().unwrap())
                .unwrap();
            passed += u32::from(receiver.recv(&mut [0; 2048]).is_ok());
        }
        // 100 are expected, with a standard deviation of 10.
        assert!((40..=160).contains(&passed), "{passed}");
    }

    #[test]
    fn the_largest_number_of_peers_is_taken_by_the_kernel() {
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        let peers = vec!["fd00::1".parse().unwrap(); MAX_PEERS];
        socket2::SockRef::from(&socket)
            .attach_filter(&program(&peers))
            .unwrap();
    }
}
