//! What `status` shows, in typical and in bad situations.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::render::render;
use super::*;
use crate::api::{
    BackendStatus, InstanceStatus, InterfaceStatus, PeerInstance, PeerStatus, ProbeStatus,
    TakeoverStatus, VipStatus,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn vip(address: &str, packets: u64) -> VipStatus {
    VipStatus {
        address: ip(address),
        packets,
        bytes: packets * 60,
    }
}

fn instance() -> InstanceStatus {
    InstanceStatus {
        name: "web".into(),
        vrid: 51,
        interface: "eth0".into(),
        state: "active".into(),
        reason: "active_down".into(),
        since_ms: 192_000,
        priority: 100,
        epoch: 7,
        lease_left_us: Some(23_456),
        active: Some(ip("10.0.0.1")),
        held: false,
        vips: vec![vip("10.0.0.100", 1_234_567), vip("fd00::100", 0)],
        steering: "local".into(),
        backends: Vec::new(),
        mac: "interface".into(),
        conflicts: 0,
        takeover: None,
    }
}

fn peer() -> PeerStatus {
    let state = "backup".into();
    PeerStatus {
        address: ip("10.0.0.2"),
        alive: true,
        last_heard_ms: Some(4.25),
        adverts: 12_345,
        instances: vec![PeerInstance {
            vrid: 51,
            state,
            priority: 90,
            epoch: 7,
        }],
        probe: Some(ProbeStatus {
            answered: true,
            unanswered: 0,
            round_trip_us: Some(47),
        }),
    }
}

fn status() -> Status {
    let counters = [
        ("arp_answered", 12),
        ("vip_not_active", 0),
        ("steered", 1_234_567),
    ];
    Status {
        node: "node-a".into(),
        address: ip("10.0.0.1"),
        version: "0.1.0".into(),
        abi: 1,
        pid: 4242,
        incarnation: "00000000000000ab".into(),
        uptime_ms: 3_723_000,
        advert_interval_us: 10_000,
        realtime: true,
        resumed: false,
        interfaces: vec![InterfaceStatus {
            name: "eth0".into(),
            ifindex: 2,
            mac: "02:00:00:00:00:01".into(),
            xdp: "native".into(),
            link: "up".into(),
        }],
        instances: vec![instance()],
        peers: vec![peer()],
        counters: counters
            .map(|(name, count)| (name.to_owned(), count))
            .into(),
        protocol: BTreeMap::from([("adverts_sent".to_owned(), 99)]),
    }
}

fn plain(status: &Status) -> String {
    anstream::adapter::strip_str(&render(status)).to_string()
}

#[test]
fn what_followed_a_claim() {
    let mut status = status();
    let web = &mut status.instances[0];
    web.mac = "virtual".into();
    web.conflicts = 1234;
    web.takeover = Some(TakeoverStatus {
        first_packet_us: Some(412),
        vips_in_use: 3,
        reached: 2,
        announced_again: 1,
    });
    let text = plain(&status);
    for line in [
        "  vrid 51 on eth0 with a virtual MAC, priority 100",
        "  last claim: first packet after 412us, 2 of 3 VIPs in use reached\n",
        "  claimed by other stations 1\u{202f}234 times: the log names them\n",
    ] {
        assert!(text.contains(line), "{line:?} in:\n{text}");
    }
    status.instances[0].takeover = Some(TakeoverStatus {
        first_packet_us: None,
        vips_in_use: 0,
        reached: 0,
        announced_again: 0,
    });
    assert!(plain(&status).contains("  last claim: no packet yet\n"));
}

#[test]
fn active() {
    insta::assert_snapshot!(plain(&status()));
}

#[test]
fn backup_with_backends() {
    let backend = |name: &str, healthy, active| BackendStatus {
        name: name.into(),
        address: ip("10.0.0.11"),
        healthy,
        active,
        mac: active.then(|| "02:00:00:00:00:11".into()),
        last_check: if healthy {
            "connected in 0.4 ms"
        } else {
            "timed out after 500 ms"
        }
        .into(),
        packets: 5,
        bytes: 300,
    };
    let mut status = status();
    status.instances[0] = InstanceStatus {
        state: "backup".into(),
        reason: "preempted".into(),
        since_ms: 12_345,
        lease_left_us: None,
        active: Some(ip("10.0.0.2")),
        held: true,
        steering: "l2".into(),
        backends: vec![backend("ecs1", false, false), backend("ecs2", true, true)],
        ..instance()
    };
    insta::assert_snapshot!(plain(&status));
    for backend in &mut status.instances[0].backends {
        backend.active = false;
    }
    assert!(plain(&status).contains("no active backend"));
}

#[test]
fn link_down_and_peer_lost() {
    let mut status = status();
    status.realtime = false;
    status.interfaces[0].link = "down".into();
    status.instances[0] = InstanceStatus {
        state: "initialize".into(),
        reason: "link_gone".into(),
        since_ms: 850,
        lease_left_us: None,
        active: None,
        ..instance()
    };
    let never = PeerStatus {
        address: ip("10.0.0.3"),
        last_heard_ms: None,
        alive: false,
        adverts: 0,
        instances: Vec::new(),
        probe: None,
    };
    status.peers = vec![
        PeerStatus {
            alive: false,
            last_heard_ms: Some(93_000.0),
            ..peer()
        },
        never,
    ];
    insta::assert_snapshot!(plain(&status));
}

#[test]
fn no_peers_and_nothing_counted() {
    let mut status = status();
    status.peers.clear();
    status.counters.clear();
    status.protocol.clear();
    insta::assert_snapshot!(plain(&status));
}

#[test]
fn a_thousand_vips_do_not_flood_the_screen() {
    let mut status = status();
    status.instances[0].vips = (0..1000_u32)
        .map(|n| {
            vip(
                &Ipv4Addr::from_bits(0x0a01_0000 + n).to_string(),
                u64::from(n),
            )
        })
        .collect();
    let text = plain(&status);
    assert!(text.contains("… and 990 more VIPs"), "{text}");
    assert!(text.lines().count() < 40);
    status.instances[0].vips.truncate(12);
    assert!(!plain(&status).contains("more VIPs"));
}

#[test]
fn colours_only_around_the_same_text() {
    let coloured = render(&status());
    assert!(coloured.contains("\x1b["));
    assert!(!plain(&status()).contains('\x1b'));
}

#[test]
fn periods() {
    assert_eq!(period("1"), Ok(Duration::from_secs(1)));
    assert_eq!(period("0.2"), Ok(Duration::from_millis(200)));
    assert_eq!(period("200ms"), Ok(Duration::from_millis(200)));
    assert!(period("0").is_err());
    assert!(period("-1").is_err());
    assert!(period("often").is_err());
}
