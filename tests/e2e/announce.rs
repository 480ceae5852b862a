//! How neighbours learn where the VIPs are, and how they find out by asking.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::{Capture, Frame, Instance, Lab, Node, scenario, wait_until};

use crate::frames::{BROADCAST, Seen, read, solicited_node};
use crate::support::{Cluster, PATIENCE, counter, log};

/// The flag O of a Neighbor Advertisement: take this even if another MAC address is known.
const OVERRIDE: u8 = 0x20;
/// The flag S: this answers a solicitation.
const SOLICITED: u8 = 0x40;

#[test]
fn becoming_active_is_announced_repeatedly_and_refreshed() {
    scenario(|lab| {
        let announce = "announce = { repeat = 3, interval = \"100ms\", refresh = \"1s\" }";
        let cluster = Cluster::running(
            lab,
            2,
            |_, instance| instance.line("preempt = false").line(announce),
            |_, config| config,
        )?;
        let capture = Capture::at_port_of(&cluster.client, "arp or icmp6")?;
        cluster.nodes[0].switchover("web")?;
        cluster.settle(1)?;
        // The repetitions, and two refreshes.
        std::thread::sleep(Duration::from_millis(2700));
        let frames = capture.stop()?;
        let node = &cluster.nodes[1];
        for vip in cluster.vips() {
            let times: Vec<u64> = frames
                .iter()
                .filter(|frame| announces(frame, node, vip))
                .map(|frame| frame.at_ns / 1_000_000)
                .collect();
            assert_eq!(
                times.len(),
                5,
                "3 rounds and 2 refreshes of {vip}: {times:?}"
            );
            let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            for (pause, wanted) in pauses.iter().zip([100, 100, 1000, 1000]) {
                assert!(
                    (wanted - 5..wanted + 300).contains(pause),
                    "pauses between announcements of {vip}: {pauses:?}"
                );
            }
        }
        let old = &cluster.nodes[0];
        let taken = frames
            .iter()
            .position(|frame| {
                cluster
                    .vips()
                    .iter()
                    .any(|vip| announces(frame, node, *vip))
            })
            .context("an announcement")?;
        let late = frames[taken..]
            .iter()
            .any(|frame| cluster.vips().iter().any(|vip| announces(frame, old, *vip)));
        assert!(!late, "the one that handed over announces nothing");
        Ok(())
    });
}

#[test]
fn a_thousand_vips_move_together_and_are_all_announced() {
    scenario(|lab| {
        let all: Vec<IpAddr> = (0..1000).map(numbered).collect();
        let mut cluster = thousand(lab, &all)?;
        let client = cluster.client.clone();
        // They are no addresses of the network: the client reaches them directly all the same.
        client.namespace().ip("route add 10.99.0.0/16 dev eth0")?;
        client.namespace().ip("-6 route add fd99::/64 dev eth0")?;
        let some = [all[0], all[499], all[500], all[501], all[999]];
        for vip in some {
            assert_pinged(&client, vip, cluster.nodes[0].mac())?;
        }
        let capture = Capture::at_port_of(&client, "arp or icmp6")?;
        cluster.nodes[0].crash()?;
        cluster.settle(1)?;
        for vip in some {
            assert_pinged(&client, vip, cluster.nodes[1].mac())?;
        }
        std::thread::sleep(Duration::from_secs(2));
        let frames = capture.stop()?;
        let node = &cluster.nodes[1];
        let announced: BTreeSet<IpAddr> = frames
            .iter()
            .filter_map(|frame| announced(frame, node))
            .collect();
        let missing: Vec<&IpAddr> = all.iter().filter(|vip| !announced.contains(vip)).collect();
        assert_eq!(
            missing,
            Vec::<&IpAddr>::new(),
            "VIPs that were not announced"
        );
        assert!(!log(&node.host)?.contains("announcement not sent"));
        Ok(())
    });
}

#[test]
fn solicitations_for_a_vip_reach_the_node_by_their_multicast_group() {
    scenario(|lab| {
        let cluster = Cluster::pair(lab)?;
        let IpAddr::V6(vip) = cluster.vips()[1] else {
            anyhow::bail!("the second VIP is IPv6");
        };
        let group = solicited_node(vip).to_string();
        for node in &cluster.nodes {
            let groups = node.host.namespace().ip("maddr show dev eth0")?;
            assert!(groups.contains(&format!("inet6 {group}")), "{groups}");
        }
        // The answer to a question.
        let capture = Capture::at_port_of(&cluster.client, "icmp6")?;
        cluster.client.forget_neighbours()?;
        assert_eq!(cluster.client.curl(vip.into())?, "node-1");
        let frames = capture.stop()?;
        let answers: Vec<u8> = frames
            .iter()
            .filter(|frame| frame.destination() == cluster.client.mac())
            .filter_map(|frame| {
                let Seen::Advertisement { target, flags } = read(frame) else {
                    return None;
                };
                (target == vip).then_some(flags)
            })
            .collect();
        assert!(!answers.is_empty());
        assert!(
            answers.iter().all(|flags| *flags == SOLICITED | OVERRIDE),
            "{answers:x?}"
        );
        Ok(())
    });
}

#[test]
fn a_host_that_wants_to_use_a_vip_finds_that_it_is_taken() {
    scenario(|lab| {
        // No announcement may come in between: it would tell the host as well.
        let quiet = "announce = { repeat = 1, refresh = \"never\" }";
        let cluster = Cluster::running(
            lab,
            2,
            |_, instance| instance.line("preempt = false").line(quiet),
            |_, config| config,
        )?;
        cluster.assert_served_by(0)?;
        let vip = cluster.vips()[1];
        let client = cluster.client.namespace();
        client.sysctl("ipv6/conf/eth0/accept_dad", "1")?;
        client.sysctl("ipv6/conf/eth0/dad_transmits", "1")?;
        let answered = counter(&cluster.nodes[0], "nd_reply")?;
        client.ip(&format!("addr add {vip}/128 dev eth0"))?;
        wait_until("the duplicate to be detected", PATIENCE, || {
            let address = client
                .ip(&format!("-6 addr show dev eth0 to {vip}"))
                .map_err(|error| format!("{error:#}"))?;
            address.contains("dadfailed").then_some(()).ok_or(address)
        })?;
        assert!(counter(&cluster.nodes[0], "nd_reply")? > answered);
        assert_eq!(cluster.active(), [0]);
        Ok(())
    });
}

#[test]
fn vips_in_use_come_first_and_single_stations_get_copies() {
    scenario(|lab| {
        let (mut cluster, all) = sixty(lab, "repeat = 1")?;
        let client = cluster.client.clone();
        // Asked for by broadcast, so that the Backup sees it: the second a while after the first.
        for vip in [all[57], all[31]] {
            assert_pinged(&client, vip, cluster.nodes[0].mac())?;
            std::thread::sleep(Duration::from_millis(1500));
        }
        let capture = Capture::at(&client, "arp")?;
        cluster.nodes[0].crash()?;
        cluster.settle(1)?;
        std::thread::sleep(Duration::from_millis(500));
        let frames = capture.stop()?;
        let from_node = frames
            .iter()
            .filter(|frame| frame.source() == cluster.nodes[1].mac());
        let seen: Vec<(IpAddr, [u8; 6])> = from_node
            .filter_map(|frame| match read(frame) {
                Seen::Arp { sender, target, .. } if sender == target => {
                    Some((sender.into(), frame.destination()))
                }
                Seen::Arp { .. }
                | Seen::Advertisement { .. }
                | Seen::Packet { .. }
                | Seen::Other => None,
            })
            .collect();
        let rest = all
            .iter()
            .copied()
            .filter(|vip| ![all[31], all[57]].contains(vip));
        let order: Vec<IpAddr> = [all[31], all[57]].into_iter().chain(rest).collect();
        let to_all = order.iter().map(|vip| (*vip, BROADCAST));
        let copies = order.iter().map(|vip| (*vip, client.mac()));
        let wanted: Vec<(IpAddr, [u8; 6])> = to_all.chain(copies).collect();
        // After these, those in use are announced again: no packet comes.
        assert_eq!(seen.get(..wanted.len()), Some(&wanted[..]));
        Ok(())
    });
}

#[test]
fn a_takeover_is_looked_after_until_packets_come() {
    scenario(|lab| {
        let (mut cluster, all) = sixty(lab, "repeat = 2, interval = \"100ms\"")?;
        let client = cluster.client.clone();
        for vip in [all[3], all[59]] {
            assert_pinged(&client, vip, cluster.nodes[0].mac())?;
        }
        let capture = Capture::at(&client, "arp")?;
        cluster.nodes[0].crash()?;
        cluster.settle(1)?;
        let node = &cluster.nodes[1];
        let takeover = crate::support::instance(node, "web")?["takeover"].clone();
        assert_eq!(takeover["first_packet_us"], serde_json::Value::Null);
        assert_eq!(
            (&takeover["vips_in_use"], &takeover["reached"]),
            (&2.into(), &0.into())
        );
        // One of them gets packets, the other one none.
        assert_pinged(&client, all[3], node.mac())?;
        let line = crate::support::wait_for_log(&node.host, &["not all neighbours have followed"])?;
        for part in [
            "vips_in_use=2",
            "reached=1",
            "announced_again=3",
            "first_packet_us=",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let takeover = crate::support::instance(node, "web")?["takeover"].clone();
        let first = takeover["first_packet_us"].as_u64().context("a number")?;
        assert!((1..10_000_000).contains(&first), "{takeover}");
        assert_eq!(
            (&takeover["reached"], &takeover["announced_again"]),
            (&1.into(), &3.into())
        );
        let frames = capture.stop()?;
        let times = |vip| {
            let again = frames.iter().filter(|frame| announces(frame, node, vip));
            again.count()
        };
        // The rounds, and three times more for the one that was missed.
        assert_eq!([times(all[59]), times(all[3]), times(all[30])], [5, 2, 2]);
        assert_eq!(
            log(&node.host)?.matches("neighbours have followed").count(),
            1
        );
        Ok(())
    });
}

/// Two nodes with sixty IPv4 VIPs, which are also announced to the client by unicast.
fn sixty(lab: &Lab, announce: &str) -> Result<(Cluster, Vec<IpAddr>)> {
    let all: Vec<IpAddr> = (0..60).map(numbered).collect();
    let mut cluster = Cluster::new(lab, 2, |_, instance| instance, |_, config| config)?;
    let client = cluster.client.clone();
    let hosts = [0, 1].map(|number: usize| cluster.nodes[number].host.clone());
    for number in 0..2 {
        let unicast = client.v4();
        let web = Instance::new("web", 51)
            .priority(if number == 0 { 200 } else { 100 })
            .line(&format!(
                "announce = {{ {announce}, refresh = \"never\", unicast = [\"{unicast}\"] }}"
            ));
        let web = all.iter().fold(web, |web, vip| web.vip(*vip));
        let config = lab::NodeConfig::new(&hosts[number])
            .peers(&[&hosts[1 - number]])
            .interval(crate::support::INTERVAL)
            .instance(web);
        cluster.nodes[number] = Node::new(&hosts[number], config)?;
        cluster.nodes[number].start()?;
    }
    cluster.settle(0)?;
    client.namespace().ip("route add 10.99.0.0/16 dev eth0")?;
    // Time for the rounds of the start, and for the client to be looked up.
    std::thread::sleep(Duration::from_secs(3));
    client.forget_neighbours()?;
    Ok((cluster, all))
}

/// VIP number N: 500 IPv4 and 500 IPv6 addresses.
fn numbered(number: u16) -> IpAddr {
    if number < 500 {
        let [high, low] = number.to_be_bytes();
        Ipv4Addr::new(10, 99, high, low).into()
    } else {
        Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 1, number).into()
    }
}

/// Two nodes with many VIPs in one instance.
fn thousand(lab: &Lab, vips: &[IpAddr]) -> Result<Cluster> {
    let mut cluster = Cluster::new(lab, 2, |_, instance| instance, |_, config| config)?;
    let hosts = [0, 1].map(|number: usize| cluster.nodes[number].host.clone());
    for number in 0..2 {
        let web = Instance::new("web", 51)
            .priority(if number == 0 { 200 } else { 100 })
            .line("announce = { repeat = 3, interval = \"500ms\" }");
        let web = vips.iter().fold(web, |web, vip| web.vip(*vip));
        cluster.nodes[number] = Node::new(
            &hosts[number],
            lab::NodeConfig::new(&hosts[number])
                .peers(&[&hosts[1 - number]])
                .interval(crate::support::INTERVAL)
                .instance(web),
        )?;
        cluster.nodes[number].start()?;
    }
    cluster.settle(0)?;
    Ok(cluster)
}

fn assert_pinged(client: &lab::Client, vip: IpAddr, mac: [u8; 6]) -> Result<()> {
    wait_until(&format!("{vip} to be pinged"), PATIENCE, || {
        match client.ping(vip, 1) {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    assert_eq!(client.neighbour(vip)?, Some(mac), "{vip}");
    Ok(())
}

/// Whether a frame is this node's announcement of this VIP.
fn announces(frame: &Frame, node: &Node, vip: IpAddr) -> bool {
    announced(frame, node) == Some(vip)
}

/// The VIP a node announces by this frame: a gratuitous ARP request by broadcast, or an unsolicited
/// Neighbor Advertisement with the override flag to all nodes.
fn announced(frame: &Frame, node: &Node) -> Option<IpAddr> {
    if frame.source() != node.mac() {
        return None;
    }
    let seen = read(frame);
    if let Seen::Arp {
        request: true,
        sender,
        target,
    } = seen
    {
        return (sender == target && frame.destination() == BROADCAST).then_some(sender.into());
    }
    if let Seen::Advertisement { target, flags } = seen {
        let unsolicited = flags & OVERRIDE != 0 && flags & SOLICITED == 0;
        let to_all = frame.destination() == [0x33, 0x33, 0, 0, 0, 1];
        return (unsolicited && to_all).then_some(target.into());
    }
    None
}
