//! Another station claims a VIP.

use std::net::IpAddr;

use lab::frame::FrameSocket;
use lab::{scenario, wait_until};

use crate::frames::Sender;
use crate::support::{Cluster, PATIENCE, counter, instance, log, mac_text, wait_for_log};

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
        assert_eq!(instance(node, "web")?["state"], "active");
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
