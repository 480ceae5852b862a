//! The agent's side of the links to peers: which of them have a place in the maps.

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{HashMap, Map};
use vip_agent::config;
use vip_agent::dataplane::object::OBJECT;
use vip_agent::dataplane::peers::PeerLinks;
use vip_agent::liveness::{Parts, Prober};
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
    Prober::new(parts, liveness, &[]).expect("a socket is opened")
}
