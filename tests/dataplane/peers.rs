//! The agent's side of the links to peers: which of them have a place in the maps.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{HashMap, Map};
use etherparse::PacketBuilder;
use socket2::{Domain, Protocol, Socket, Type};
use vip_agent::config;
use vip_agent::dataplane::object::OBJECT;
use vip_agent::dataplane::peers::PeerLinks;
use vip_agent::liveness::{Parts, Prober};
use vip_agent::outputs::probes::ProbeSockets;
use vip_common::abi::{self, MAX_PEER_LINKS};
use vip_proto::native::{Key, Keyring};
use vip_proto::{Incarnation, NodeAddress};

/// Nodes that come and go, as they may without a list of peers, do not use up the links.
pub fn those_that_are_gone_make_room() {
    let mut prober = prober();
    let peers: Vec<NodeAddress> = (0..=MAX_PEER_LINKS).map(peer).collect();
    let (last, first) = peers.split_last().expect("there are many");
    let begin = |prober: &mut Prober, peer| prober.session(peer, Incarnation(7), 1);
    for peer in first {
        assert!(prober.has_room_for(*peer));
        begin(&mut prober, *peer).expect("there is room");
    }
    assert!(prober.has_room_for(peers[0]), "it has its place");
    assert!(!prober.has_room_for(*last));
    begin(&mut prober, *last).expect_err("all places are taken");

    let present = [peers[3], *last];
    prober.keep(&present).expect("links are forgotten");
    for peer in present {
        begin(&mut prober, peer).expect("there is room again");
    }
    let others = first.iter().filter(|peer| !present.contains(peer));
    for peer in others.take(MAX_PEER_LINKS as usize - present.len()) {
        begin(&mut prober, *peer).expect("the others have made room");
    }
    assert!(!prober.has_room_for(peer(1000)));
}

/// Errors that hosts, routers or anybody who forges them reports by ICMP do not keep probes from being
/// sent: a probe that cannot leave says nothing about the peer, so that its death would not be seen.
pub fn forged_icmp_does_not_silence_probes() {
    const PORT_UNREACHABLE: u8 = 3;
    const HOST_PROHIBITED: u8 = 10;
    const PROHIBITED: u8 = 13;

    let (here, peer) = (Ipv4Addr::new(127, 77, 0, 1), Ipv4Addr::new(127, 77, 0, 2));
    let any = UdpSocket::bind((here, 0)).expect("a free port");
    let port = any.local_addr().expect("it is bound").port();
    drop(any);
    let mut sockets = ProbeSockets::new(port);
    sockets.open(here.into(), 0).expect("the socket is opened");
    sockets.connect(here.into(), peer.into());
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).expect("needs root");
    for code in [PORT_UNREACHABLE, HOST_PROHIBITED, PROHIBITED] {
        let message = unreachable_by(code, (here, port), (peer, port));
        raw.send_to(&message, &SocketAddr::from((here, 0)).into())
            .expect("it is sent");
        std::thread::sleep(Duration::from_millis(5));
        sockets
            .send(here.into(), peer.into(), b"probe")
            .unwrap_or_else(|error| panic!("code {code}: {error}"));
    }
}

/// An ICMP message that the UDP datagram between these could not be delivered.
fn unreachable_by(code: u8, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(from.0.octets(), to.0.octets(), 64).udp(from.1, to.1);
    let mut datagram = Vec::new();
    builder
        .write(&mut datagram, b"")
        .expect("a vector takes all");
    let mut message = vec![3, code, 0, 0, 0, 0, 0, 0];
    message.extend(datagram);
    let words = message.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        _ => 0,
    });
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

fn peer(number: u32) -> NodeAddress {
    NodeAddress(IpAddr::V4((0x0a01_0000 + number).into()))
}

/// A prober of maps of its own.
fn prober() -> Prober {
    let mut ebpf = Ebpf::load(OBJECT).expect("this kernel cannot take the BPF object");
    let Some(Map::Array(slots)) = ebpf.take_map(abi::LIVENESS) else {
        panic!("LIVENESS is an array");
    };
    let peers = ebpf.take_map(abi::PEERS).expect(abi::PEERS);
    let peers = HashMap::try_from(peers).expect(abi::PEERS);
    let links = PeerLinks::open(slots.fd().as_fd(), peers).expect("the links are opened");
    let secret = [7; 32];
    let keys = [Key {
        id: 1,
        secret: &secret,
    }];
    let parts = Parts {
        links,
        address: NodeAddress([127, 0, 0, 1].into()),
        interface: 0,
        incarnation: Incarnation(1),
        keys: Keyring::new(&keys).expect("a sound key"),
    };
    let liveness = config::Liveness {
        interval: Duration::from_millis(1),
        misses: 3,
        port: 0,
        lease: None,
        links: Vec::new(),
    };
    Prober::new(parts, liveness, None).expect("a socket is opened")
}
