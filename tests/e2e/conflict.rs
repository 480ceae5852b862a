//! Another station claims a VIP.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use lab::frame::FrameSocket;
use lab::{Capture, Frame, Lab, scenario, wait_until};
use serde_json::json;

use crate::frames::{Asker, BROADCAST, Seen, Sender, read};
use crate::support::{
    Cluster, PATIENCE, counter, instance, log, mac_text, wait_for_field, wait_for_log,
};

#[test]
fn a_station_that_claims_a_vip_is_named_and_the_vip_stays() {
    scenario(|lab| {
        let cluster = Cluster::pair(lab)?;
        let stranger = lab.client("stranger", &[&cluster.lan])?;
        let node = &cluster.nodes[0];
        assert_eq!(counter(node, "arp_conflict")?, 0);
        let socket = FrameSocket::open(stranger.namespace(), "eth0")?;
        socket.send(&Sender::of(&stranger).gratuitous_arp(cluster.v4()))?;
        let line = wait_for_log(
            &node.host,
            &[
                "another station claims",
                &mac_text(stranger.mac()),
                &cluster.v4().to_string(),
            ],
        )?;
        assert!(line.contains("ERROR"), "{line}");
        wait_until("the conflict to be counted", PATIENCE, || {
            match counter(node, "arp_conflict") {
                Ok(1) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
        let status = instance(node, "web")?;
        assert_eq!(
            (&status["state"], &status["conflicts"]),
            (&json!("active"), &json!(1))
        );
        // The Backup saw the same frame, and has nothing to say about a VIP that is not its own.
        assert_eq!(counter(&cluster.nodes[1], "arp_conflict")?, 0);
        assert!(!log(&cluster.nodes[1].host)?.contains("another station"));
        cluster.client.forget_neighbours()?;
        cluster.assert_served_by(0)
    });
}

#[test]
fn a_station_that_advertises_an_ipv6_vip_is_named_too() {
    scenario(|lab| {
        let cluster = Cluster::pair(lab)?;
        let stranger = lab.client("stranger", &[&cluster.lan])?;
        let IpAddr::V6(vip) = cluster.vips()[1] else {
            anyhow::bail!("the second VIP is IPv6");
        };
        let socket = FrameSocket::open(stranger.namespace(), "eth0")?;
        socket.send(&Sender::of(&stranger).advertisement(vip))?;
        wait_for_log(
            &cluster.nodes[0].host,
            &[
                "another station claims",
                &mac_text(stranger.mac()),
                &vip.to_string(),
            ],
        )?;
        assert_eq!(counter(&cluster.nodes[0], "nd_conflict")?, 1);
        assert_eq!(counter(&cluster.nodes[1], "nd_conflict")?, 0);
        assert_eq!(instance(&cluster.nodes[0], "web")?["state"], "active");
        Ok(())
    });
}

#[test]
fn a_claim_is_answered_at_once_and_a_flood_once_a_second() {
    scenario(|lab| {
        let cluster = quiet(lab, "")?;
        let stranger = lab.client("stranger", &[&cluster.lan])?;
        let node = &cluster.nodes[0];
        cluster.assert_served_by(0)?;
        let capture = Capture::at(&cluster.client, "arp or icmp6")?;
        let sender = Sender::of(&stranger);
        let IpAddr::V6(v6) = cluster.vips()[1] else {
            anyhow::bail!("the second VIP is IPv6");
        };
        let claims = vec![
            sender.gratuitous_arp(cluster.v4()),
            sender.advertisement(v6),
        ];
        let flood = Asker::start(&stranger, claims, Duration::from_millis(1))?;
        wait_until("a flood of claims", PATIENCE, || match flood.rounds() {
            count if count > 1000 => Ok(()),
            count => Err(count.to_string()),
        })?;
        drop(flood);
        let frames = capture.stop()?;
        let last = frames.last().map_or(0, |frame| frame.at_ns);
        let first = frames.iter().find(|frame| frame.source() == stranger.mac());
        let first = first.map_or(last, |frame| frame.at_ns);
        for vip in cluster.vips() {
            let answers: Vec<u64> = frames
                .iter()
                .filter(|frame| frame.source() == node.mac() && announced(frame) == Some(vip))
                .map(|frame| (frame.at_ns - first) / 1_000_000)
                .collect();
            let most = usize::try_from((last - first) / 1_000_000_000)? + 1;
            assert!((1..=most).contains(&answers.len()), "{vip}: {answers:?}");
            assert!(answers[0] < 500, "the first at once: {answers:?}");
            for pair in answers.windows(2) {
                assert!(pair[1] - pair[0] >= 990, "{vip}: {answers:?}");
            }
        }
        assert_eq!(cluster.active(), [0]);
        let counted = instance(node, "web")?["conflicts"].as_u64();
        assert!(counted > Some(1000), "{counted:?}");
        // Whatever the claims have done to the client: the last word was the node's, or it asks.
        cluster.client.forget_neighbours()?;
        cluster.assert_served_by(0)
    });
}

#[test]
fn a_claim_that_is_yielded_to_costs_the_instance_for_a_minute() {
    scenario(|lab| {
        let cluster = quiet(lab, "on_conflict = \"yield\"")?;
        let stranger = lab.client("stranger", &[&cluster.lan])?;
        let socket = FrameSocket::open(stranger.namespace(), "eth0")?;
        socket.send(&Sender::of(&stranger).gratuitous_arp(cluster.v4()))?;
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
        wait_for_field(&cluster.nodes[0], "web", "reason", &json!("conflict"))?;
        wait_for_log(
            &cluster.nodes[0].host,
            &["yielding", &mac_text(stranger.mac())],
        )?;
        // The next one yields, too: the station is asked to sort it out, not the nodes.
        socket.send(&Sender::of(&stranger).gratuitous_arp(cluster.v4()))?;
        wait_for_field(&cluster.nodes[1], "web", "reason", &json!("conflict"))?;
        wait_until("nobody to be active", PATIENCE, || match cluster.active() {
            active if active.is_empty() => Ok(()),
            active => Err(format!("{active:?}")),
        })?;
        std::thread::sleep(Duration::from_secs(2));
        assert!(
            cluster.active().is_empty(),
            "the VIPs are left to the station"
        );
        Ok(())
    });
}

#[test]
fn a_router_with_the_same_identifier_is_named_and_can_be_yielded_to() {
    scenario(|lab| {
        let cluster = quiet(lab, "mac = \"virtual\"\non_conflict = \"yield\"")?;
        let router = lab.client("router", &[&cluster.lan])?;
        let socket = FrameSocket::open(router.namespace(), "eth0")?;
        // Of another identifier: none of our business.
        socket.send(&Sender::of(&router).vrrp(52, cluster.v4()))?;
        socket.send(&Sender::of(&router).vrrp(51, cluster.v4()))?;
        let line = wait_for_log(
            &cluster.nodes[0].host,
            &[
                "VRRP adverts",
                "00:00:5e:00:01:33",
                &router.v4().to_string(),
            ],
        )?;
        assert!(line.contains("ERROR") && line.contains("vrid=51"), "{line}");
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
        wait_for_field(&cluster.nodes[0], "web", "reason", &json!("conflict"))?;
        assert_eq!(counter(&cluster.nodes[0], "vrrp_conflict")?, 1);
        assert_eq!(instance(&cluster.nodes[0], "web")?["conflicts"], 1);
        Ok(())
    });
}

#[test]
fn a_router_with_the_same_identifier_does_not_keep_the_switch() {
    scenario(|lab| {
        let cluster = quiet(lab, "mac = \"virtual\"")?;
        let router = lab.client("router", &[&cluster.lan])?;
        let capture = Capture::at(&cluster.client, "arp or icmp6")?;
        let socket = FrameSocket::open(router.namespace(), "eth0")?;
        socket.send(&Sender::of(&router).vrrp(51, cluster.v4()))?;
        wait_for_log(&cluster.nodes[0].host, &["announced again"])?;
        std::thread::sleep(Duration::from_millis(200));
        let frames = capture.stop()?;
        let [v4, v6] = [1, 2].map(|family| [0x00, 0x00, 0x5e, 0x00, family, 51]);
        for (vip, mac) in cluster.vips().into_iter().zip([v4, v6]) {
            let again = frames
                .iter()
                .filter(|frame| frame.source() == mac && announced(frame) == Some(vip));
            assert_eq!(again.count(), 1, "{vip}");
        }
        assert_eq!(cluster.active(), [0]);
        Ok(())
    });
}

#[test]
fn nodes_that_find_each_other_again_do_not_yield_to_each_other() {
    scenario(|lab| {
        let cluster = quiet(lab, "on_conflict = \"yield\"")?;
        for _ in 0..3 {
            cluster.lan.split(&[&cluster.nodes[1].host])?;
            cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
            assert_eq!(cluster.active(), [0, 1]);
            let capture = Capture::at(&cluster.client, "arp or icmp6")?;
            cluster.lan.join(&[&cluster.nodes[1].host])?;
            cluster.nodes[1].wait_for_state("web", "backup", PATIENCE)?;
            // Both policies' delays are over: had they been taken for strangers, one would be out.
            std::thread::sleep(Duration::from_secs(1));
            cluster.settle(0)?;
            // The winner announces again.
            let frames = capture.stop()?;
            for vip in cluster.vips() {
                let again = |frame: &Frame| {
                    frame.source() == cluster.nodes[0].mac() && announced(frame) == Some(vip)
                };
                assert!(frames.iter().any(again), "{vip} is not announced again");
            }
            cluster.assert_served_by(0)?;
        }
        for node in &cluster.nodes {
            assert!(!log(&node.host)?.contains("yielding"));
        }
        Ok(())
    });
}

/// Two nodes that announce a takeover once and do not refresh.
fn quiet(lab: &Lab, lines: &str) -> Result<Cluster> {
    let cluster = Cluster::running(
        lab,
        2,
        |_, instance| {
            let quiet = "announce = { repeat = 1, refresh = \"never\" }";
            instance.line(quiet).line(lines)
        },
        |_, config| config,
    )?;
    // The peers have heard each other, and nothing is announced any more.
    std::thread::sleep(Duration::from_millis(500));
    Ok(cluster)
}

/// The VIP that a frame announces to all.
fn announced(frame: &Frame) -> Option<IpAddr> {
    match read(frame) {
        Seen::Arp { sender, target, .. } => {
            (sender == target && frame.destination() == BROADCAST).then_some(sender.into())
        }
        Seen::Advertisement { target, .. } => {
            (frame.destination() == [0x33, 0x33, 0, 0, 0, 1]).then_some(target.into())
        }
        Seen::Packet { .. } | Seen::Other => None,
    }
}
