//! VIPs with virtual MAC addresses: the same on whichever node is Active.

use std::net::IpAddr;

use anyhow::Result;
use lab::{
    BackendConfig, Capture, Client, Frame, Host, Instance, Node, NodeConfig, scenario, wait_until,
};

use crate::frames::{BROADCAST, Mac, Seen, read};
use crate::link::plug_in_anew;
use crate::support::{
    Cluster, INTERVAL, PATIENCE, VIP, counter, instance, wait_for_http, wait_for_log,
    wait_for_server,
};

/// RFC 9568 §7.3 with the identifier 51.
const V4: Mac = [0x00, 0x00, 0x5e, 0x00, 0x01, 51];
const V6: Mac = [0x00, 0x00, 0x5e, 0x00, 0x02, 51];

/// The address the VIPs of a family have.
fn mac_of(vip: IpAddr) -> Mac {
    if vip.is_ipv4() { V4 } else { V6 }
}

/// The further unicast addresses of a host's `eth0`.
fn filter(host: &Host) -> Result<Vec<String>> {
    let text = host.run("bridge", &["fdb", "show", "dev", "eth0"])?;
    let unicast = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(mac, _)| mac.to_owned())
        .filter(|mac| !mac.starts_with("33:33") && !mac.starts_with("01:00:5e"));
    Ok(unicast.collect())
}

/// Both VIPs are served by this node, by all means a client has, at their virtual addresses.
fn assert_served_by(cluster: &Cluster, number: usize) -> Result<()> {
    for vip in cluster.vips() {
        let name = cluster.nodes[number].host.name();
        wait_for_server(&cluster.client, vip, name)?;
        wait_until("all pings to be answered", PATIENCE, || {
            match cluster.client.ping(vip, 3) {
                Ok(3) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
        assert_eq!(cluster.client.neighbour(vip)?, Some(mac_of(vip)), "{vip}");
    }
    assert_eq!(cluster.client.arping(cluster.v4(), 1)?, [V4]);
    Ok(())
}

fn is_virtual(_: usize, instance: Instance) -> Instance {
    instance.line("mac = \"virtual\"").line("preempt = false")
}

#[test]
fn a_virtual_mac_is_served_wherever_the_instance_is_active() {
    scenario(|lab| {
        let cluster = Cluster::running(lab, 2, is_virtual, |_, config| config)?;
        assert_eq!(instance(&cluster.nodes[0], "web")?["mac"], "virtual");
        // On veth a native program could not give the frames to the host's own stack.
        assert_eq!(
            cluster.nodes[0].status()?["interfaces"][0]["xdp"],
            "generic"
        );
        cluster.client.forget_neighbours()?;
        assert_served_by(&cluster, 0)?;
        // The Backup's card lets the frames in that a switch floods; its data plane drops them.
        assert_eq!(filter(&cluster.nodes[1].host)?.len(), 2);
        cluster.nodes[0].switchover("web")?;
        cluster.settle(1)?;
        assert_served_by(&cluster, 1)?;
        cluster.client.forget_neighbours()?;
        assert_served_by(&cluster, 1)
    });
}

#[test]
fn one_frame_per_family_moves_all_vips_and_no_client_learns_anything() {
    scenario(|lab| {
        let quiet = "announce = { repeat = 1, refresh = \"never\" }";
        let mut cluster = Cluster::running(
            lab,
            2,
            |number, instance| {
                let web = is_virtual(number, instance).line(quiet);
                (1..100).flat_map(more).fold(web, Instance::vip)
            },
            |_, config| config,
        )?;
        let client = cluster.client.clone();
        client.namespace().ip("route add 10.98.0.0/16 dev eth0")?;
        client.namespace().ip("-6 route add fd98::/64 dev eth0")?;
        let some = [cluster.vips(), more(1), more(99)].concat();
        for vip in &some {
            assert_pinged(&client, *vip)?;
        }
        // What the client knows stays true: nothing is to be confirmed for a while.
        for vip in &some {
            pin(&client, *vip)?;
        }
        let capture = Capture::at(&client, "arp or icmp6")?;
        cluster.nodes[0].crash()?;
        cluster.settle(1)?;
        for vip in &some {
            assert_pinged(&client, *vip)?;
        }
        let frames = capture.stop()?;
        let announced: Vec<&Frame> = frames
            .iter()
            .filter(|frame| frame.source() == V4 || frame.source() == V6)
            .filter(|frame| matches!(read(frame), Seen::Arp { .. } | Seen::Advertisement { .. }))
            .collect();
        let sources: Vec<Mac> = announced.iter().map(|frame| frame.source()).collect();
        assert_eq!(sources, [V4, V6], "{announced:?}");
        let asked = frames.iter().filter(|frame| frame.source() == client.mac());
        let asked: Vec<&Frame> = asked.filter(|frame| asks(frame)).collect();
        assert!(asked.is_empty(), "the client had to ask: {asked:?}");
        Ok(())
    });
}

/// Two VIPs that are only there to be many.
fn more(number: u8) -> [IpAddr; 2] {
    let v6 = std::net::Ipv6Addr::new(0xfd98, 0, 0, 0, 0, 0, 1, number.into());
    [[10, 98, 0, number].into(), v6.into()]
}

fn assert_pinged(client: &Client, vip: IpAddr) -> Result<()> {
    wait_until(&format!("{vip} to be pinged"), PATIENCE, || {
        match client.ping(vip, 1) {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    assert_eq!(client.neighbour(vip)?, Some(mac_of(vip)), "{vip}");
    Ok(())
}

/// Keeps the client's kernel from asking for the VIP.
fn pin(client: &Client, vip: IpAddr) -> Result<()> {
    let mac = crate::support::mac_text(mac_of(vip));
    let entry = format!("neigh replace {vip} lladdr {mac} nud permanent dev eth0");
    client.namespace().ip(&entry).map(drop)
}

/// Whether a frame asks who has a VIP.
fn asks(frame: &Frame) -> bool {
    match read(frame) {
        Seen::Arp { request, .. } => request && frame.destination() == BROADCAST,
        Seen::Packet { target, .. } => target.is_multicast() && is_solicitation(frame),
        Seen::Advertisement { .. } | Seen::Other => false,
    }
}

fn is_solicitation(frame: &Frame) -> bool {
    frame.bytes.get(54) == Some(&135)
}

#[test]
fn packets_to_a_virtual_mac_are_steered_to_the_backend() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let client = lab.client("client", &[&lan])?;
        let vips: [IpAddr; 2] = [lan.v4(VIP).into(), lan.v6(VIP).into()];
        let backend = lab.backend("ECS-1", &[&lan], &vips)?;
        let hosts = [lab.host("node-1", &[&lan])?, lab.host("node-2", &[&lan])?];
        let mut nodes = Vec::new();
        for (host, peer, priority) in [(&hosts[0], &hosts[1], 200), (&hosts[1], &hosts[0], 100)] {
            let lb = Instance::new("lb", 51)
                .priority(priority)
                .vip(vips[0])
                .vip(vips[1])
                .line("mac = \"virtual\"")
                .backend(BackendConfig {
                    name: "ECS-1".to_owned(),
                    address: backend.host.v4().into(),
                    check: String::new(),
                });
            let config = NodeConfig::new(host).peers(&[peer]).interval(INTERVAL);
            let mut node = Node::new(host, config.instance(lb))?;
            node.start()?;
            nodes.push(node);
        }
        nodes[0].wait_for_state("lb", "active", PATIENCE)?;
        for vip in vips {
            wait_for_server(&client, vip, "ECS-1")?;
            assert_eq!(client.neighbour(vip)?, Some(mac_of(vip)));
        }
        nodes[0].crash()?;
        nodes[1].wait_for_state("lb", "active", PATIENCE)?;
        for vip in vips {
            wait_for_server(&client, vip, "ECS-1")?;
            assert_eq!(client.neighbour(vip)?, Some(mac_of(vip)));
        }
        assert!(counter(&nodes[1], "steer_tx")? > 0);
        Ok(())
    });
}

#[test]
fn the_cards_filter_has_the_virtual_macs_while_they_are_configured() {
    const ENTRIES: [&str; 2] = ["00:00:5e:00:01:33", "00:00:5e:00:02:33"];
    scenario(|lab| {
        let mut cluster = Cluster::running(lab, 2, is_virtual, |_, config| config)?;
        let host = cluster.nodes[0].host.clone();
        let entries = || -> Result<Vec<String>> {
            let mut entries = filter(&host)?;
            entries.sort();
            Ok(entries)
        };
        assert_eq!(entries()?, ENTRIES);
        // Somebody removes one: it is put back.
        host.run("bridge", &["fdb", "del", ENTRIES[0], "dev", "eth0", "self"])?;
        wait_until("the entry to be back", PATIENCE, || match entries() {
            Ok(now) if now == ENTRIES => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
        // They outlive an agent that is killed, and go with the next one's orderly stop.
        cluster.nodes[0].kill()?;
        assert_eq!(entries()?, ENTRIES);
        cluster.nodes[0].start()?;
        assert_eq!(entries()?, ENTRIES);
        assert!(cluster.nodes[0].stop()?.success());
        assert_eq!(entries()?, Vec::<String>::new());
        // An agent that needs them no more removes what a killed one has left.
        cluster.nodes[0].start()?;
        cluster.nodes[0].kill()?;
        let plain = Instance::new("web", 51).vip(cluster.v4());
        let config = NodeConfig::new(&host)
            .peers(&[&cluster.nodes[1].host])
            .instance(plain);
        cluster.nodes[0] = Node::new(&host, config)?;
        cluster.nodes[0].start()?;
        assert_eq!(entries()?, Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn an_entry_that_others_have_made_is_left_alone() {
    scenario(|lab| {
        let mut cluster = Cluster::new(lab, 2, is_virtual, |_, config| config)?;
        let host = cluster.nodes[0].host.clone();
        let entry = "00:00:5e:00:01:33";
        host.run("bridge", &["fdb", "add", entry, "dev", "eth0", "self"])?;
        cluster.nodes[0].start()?;
        wait_for_log(&host, &["has the virtual MAC address already", entry])?;
        assert_eq!(filter(&host)?.len(), 2);
        assert!(cluster.nodes[0].stop()?.success());
        assert_eq!(filter(&host)?, [entry]);
        Ok(())
    });
}

#[test]
fn an_interface_without_a_list_of_addresses_becomes_promiscuous() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let host = lab.host("node", &[&lan])?;
        // A macvlan takes no further address.
        let namespace = host.namespace();
        namespace.ip("link add link eth0 name sub0 type macvlan mode bridge")?;
        namespace.ip("link set sub0 up")?;
        let web = Instance::new("web", 51)
            .interface("sub0")
            .vip(lan.v4(VIP))
            .line("mac = \"virtual\"");
        // No program on the interface below: the kernel allows only one of the two.
        let config = NodeConfig::new(&host)
            .cluster_line(&format!("address = \"{}\"", host.v4()))
            .liveness_line("enabled = false")
            .node_line("xdp = \"generic\"")
            .instance(web);
        let mut node = Node::new(&host, config)?;
        let is_promiscuous = || -> Result<bool> {
            let link = namespace.ip("link show sub0")?;
            Ok(link.contains("PROMISC"))
        };
        assert!(!is_promiscuous()?);
        node.start()?;
        let line = wait_for_log(&host, &["promiscuous"])?;
        assert!(line.contains("WARN"), "{line}");
        assert!(is_promiscuous()?);
        node.kill()?;
        assert!(is_promiscuous()?);
        node.start()?;
        assert!(node.stop()?.success());
        assert!(!is_promiscuous()?);
        // Somebody else's choice stays.
        namespace.ip("link set sub0 promisc on")?;
        node.start()?;
        assert!(node.stop()?.success());
        assert!(is_promiscuous()?);
        Ok(())
    });
}

#[test]
fn a_new_interface_gets_the_filter_entries_and_serves_again() {
    scenario(|lab| {
        let cluster = Cluster::running(
            lab,
            2,
            |_, instance| instance.line("mac = \"virtual\""),
            |_, config| config,
        )?;
        let host = cluster.nodes[0].host.clone();
        host.namespace().ip("link del eth0")?;
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
        assert_served_by(&cluster, 1)?;
        plug_in_anew(&cluster.nodes[0], &cluster.lan, [2, 0, 0, 0, 9, 9])?;
        cluster.settle(0)?;
        assert_eq!(filter(&host)?.len(), 2);
        for vip in cluster.vips() {
            assert_eq!(wait_for_http(&cluster.client, vip)?, "node-1");
        }
        assert_served_by(&cluster, 0)
    });
}
