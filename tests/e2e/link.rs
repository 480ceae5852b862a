//! What happens to the Active node's interface, and a planned hand-over.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::host::parse_mac;
use lab::{Lab, Network, Node, scenario, wait_until};

use crate::support::{
    Cluster, PATIENCE, instance, log, mac_text, wait_for_http, wait_for_log, xdp_program,
};

/// Long enough for a node that would preempt to do it.
const QUIET: Duration = Duration::from_millis(1500);
/// Exit code of a command the daemon refused.
const REFUSED: i32 = 12;

#[test]
fn a_node_that_loses_its_carrier_hands_over_and_takes_part_again_when_it_is_back() {
    scenario(|lab| {
        let cluster = preempting(lab)?;
        cluster.nodes[0].host.unplug()?;
        cluster.nodes[0].wait_for_state("web", "backup", PATIENCE)?;
        assert_eq!(instance(&cluster.nodes[0], "web")?["reason"], "link_down");
        wait_for_link(&cluster.nodes[0], "down")?;
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
        cluster.assert_served_by(1)?;
        // It does not claim anything while nobody could hear it.
        std::thread::sleep(QUIET);
        assert_eq!(cluster.active(), [1]);
        cluster.nodes[0].host.plug()?;
        cluster.settle(0)?;
        wait_for_link(&cluster.nodes[0], "up")?;
        cluster.assert_served_by(0)
    });
}

#[test]
fn an_interface_that_is_deleted_and_made_anew_is_attached_to_again() {
    scenario(|lab| {
        let cluster = preempting(lab)?;
        let host = &cluster.nodes[0].host;
        let old = interface(&cluster.nodes[0])?;
        host.namespace().ip("link del eth0")?;
        cluster.nodes[0].wait_for_state("web", "initialize", PATIENCE)?;
        assert_eq!(instance(&cluster.nodes[0], "web")?["reason"], "link_gone");
        wait_for_link(&cluster.nodes[0], "gone")?;
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
        cluster.assert_served_by(1)?;

        let new_mac = [2, 0, 0, 0, 9, 9];
        plug_in_anew(&cluster.nodes[0], &cluster.lan, new_mac)?;
        cluster.settle(0)?;
        wait_for_link(&cluster.nodes[0], "up")?;
        let new = interface(&cluster.nodes[0])?;
        assert_ne!(new["ifindex"], old["ifindex"]);
        assert_eq!(new["mac"], mac_text(new_mac));
        assert!(xdp_program(host, "eth0")?.is_some());
        assert_eq!(cluster.client.arping(cluster.v4(), 1)?, [new_mac]);
        for vip in cluster.vips() {
            assert_eq!(wait_for_http(&cluster.client, vip)?, "node-1");
            assert_eq!(cluster.client.neighbour(vip)?, Some(new_mac));
        }
        // The group memberships are those of the new interface, too.
        cluster.client.forget_neighbours()?;
        assert_eq!(cluster.client.curl(cluster.vips()[1])?, "node-1");
        Ok(())
    });
}

#[test]
fn an_interface_that_is_renamed_is_gone_until_its_name_is_back() {
    scenario(|lab| {
        let cluster = Cluster::running(lab, 2, |_, instance| instance, |_, config| config)?;
        let node = &cluster.nodes[0];
        let rename = |from: &str, to: &str| -> Result<()> {
            // Not every kernel renames an interface that is up.
            node.host.namespace().ip(&format!("link set {from} down"))?;
            node.host
                .namespace()
                .ip(&format!("link set {from} name {to}"))?;
            node.host.namespace().ip(&format!("link set {to} up"))?;
            Ok(())
        };
        let namespace = node.host.namespace();
        namespace.sysctl("ipv6/conf/eth0/keep_addr_on_down", "1")?;
        rename("eth0", "other")?;
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
        wait_for_log(&node.host, &["interface is gone", "eth0"])?;
        assert_eq!(instance(node, "web")?["reason"], "link_gone");
        rename("other", "eth0")?;
        cluster.settle(0)?;
        cluster.assert_served_by(0)
    });
}

#[test]
fn adverts_by_multicast_go_on_after_their_interface_was_made_anew() {
    for group in ["239.255.81.12", "ff02::5112"] {
        scenario(|lab| {
            let group = group.parse()?;
            let cluster = Cluster::running(
                lab,
                2,
                |_, instance| instance,
                |_, config| config.multicast(group, "eth0"),
            )?;
            cluster.nodes[0].host.namespace().ip("link del eth0")?;
            cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
            // With its old MAC address, and so with its old link-local address: the node's identity.
            let mac = cluster.nodes[0].mac();
            plug_in_anew(&cluster.nodes[0], &cluster.lan, mac)?;
            cluster.settle(0)?;
            for node in &cluster.nodes {
                wait_until("the peer to be heard", PATIENCE, || {
                    let status = node.status().map_err(|error| format!("{error:#}"))?;
                    let peers = status["peers"].as_array().cloned().unwrap_or_default();
                    peers
                        .iter()
                        .any(|peer| peer["alive"] == true)
                        .then_some(())
                        .ok_or_else(|| status["peers"].to_string())
                })?;
            }
            Ok(())
        });
    }
}

#[test]
fn answers_carry_the_interfaces_present_mac_address() {
    scenario(|lab| {
        let cluster = preempting(lab)?;
        cluster.assert_served_by(0)?;
        let new_mac = [2, 0, 0, 0, 9, 9];
        let host = &cluster.nodes[0].host;
        host.namespace()
            .ip(&format!("link set eth0 address {}", mac_text(new_mac)))?;
        wait_until("status to show it", PATIENCE, || {
            match interface(&cluster.nodes[0]) {
                Ok(status) if status["mac"] == mac_text(new_mac) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
        cluster.settle(0)?;
        cluster.client.forget_neighbours()?;
        for vip in cluster.vips() {
            assert_eq!(wait_for_http(&cluster.client, vip)?, "node-1");
            assert_eq!(cluster.client.neighbour(vip)?, Some(new_mac), "{vip}");
        }
        assert_eq!(cluster.client.arping(cluster.v4(), 1)?, [new_mac]);
        assert_eq!(cluster.active(), [0]);
        Ok(())
    });
}

#[test]
fn a_switchover_goes_to_the_best_node_and_is_not_taken_back() {
    scenario(|lab| {
        let cluster = Cluster::running(lab, 3, |_, instance| instance, |_, config| config)?;
        let said = cluster.nodes[0].switchover("web")?;
        let best = cluster.nodes[1].host.v4().to_string();
        assert!(said.contains(&best) && said.contains("Active"), "{said}");
        cluster.settle(1)?;
        assert_eq!(instance(&cluster.nodes[0], "web")?["reason"], "switchover");
        assert_eq!(instance(&cluster.nodes[1], "web")?["reason"], "successor");
        assert_eq!(instance(&cluster.nodes[0], "web")?["held"], true);
        // The first node is the best and may preempt, but not after it was told to hand over.
        std::thread::sleep(QUIET);
        assert_eq!(cluster.active(), [1]);
        cluster.assert_served_by(1)
    });
}

#[test]
fn a_switchover_goes_to_the_node_that_is_named() {
    scenario(|lab| {
        let stay = |_, instance: lab::Instance| instance.line("preempt = false");
        let mut cluster = Cluster::new(lab, 3, stay, |_, config| config)?;
        for number in 0..3 {
            cluster.nodes[number].start()?;
            cluster.nodes[0].wait_for_state("web", "active", PATIENCE)?;
        }
        cluster.settle(0)?;
        let third = cluster.nodes[2].host.v4().to_string();
        let output = switchover(&cluster.nodes[0], &["--to", &third])?;
        assert_eq!(output, (Some(0), format!("web: {third} is Active now")));
        cluster.settle(2)?;
        assert!(!log(&cluster.nodes[1].host)?.contains("to=\"active\""));
        cluster.assert_served_by(2)?;

        // Refusals: on a Backup, with the Active node's name; to somebody who is not there.
        let (code, text) = switchover(&cluster.nodes[0], &[])?;
        assert_eq!(code, Some(REFUSED));
        assert!(
            text.contains("not Active") && text.contains(&third),
            "{text}"
        );
        let stranger = cluster.lan.v4(77).to_string();
        let (code, text) = switchover(&cluster.nodes[2], &["--to", &stranger])?;
        assert_eq!(code, Some(REFUSED));
        assert!(text.contains(&stranger), "{text}");
        assert_eq!(cluster.active(), [2], "a refusal changes nothing");
        Ok(())
    });
}

#[test]
fn a_switchover_without_anybody_to_hand_over_to_is_refused() {
    scenario(|lab| {
        let mut cluster = preempting(lab)?;
        cluster.nodes[1].crash()?;
        wait_for_log(&cluster.nodes[0].host, &["peer not heard"])?;
        let (code, text) = switchover(&cluster.nodes[0], &[])?;
        assert_eq!(code, Some(REFUSED));
        assert!(text.contains("no live peer"), "{text}");
        assert_eq!(cluster.active(), [0], "it goes on serving");
        assert_eq!(instance(&cluster.nodes[0], "web")?["held"], false);
        cluster.assert_served_by(0)
    });
}

/// Two nodes, the first Active and, as it is the better one, always again if it can.
fn preempting(lab: &Lab) -> Result<Cluster> {
    Cluster::running(lab, 2, |_, instance| instance, |_, config| config)
}

/// What `status` says of the first interface.
fn interface(node: &Node) -> Result<serde_json::Value> {
    Ok(node.status()?["interfaces"][0].clone())
}

fn wait_for_link(node: &Node, link: &str) -> Result<()> {
    wait_until(
        &format!("the link to be {link}"),
        PATIENCE,
        || match interface(node) {
            Ok(status) if status["link"] == link => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
}

/// Makes a node's deleted `eth0` anew, with its old addresses and a new MAC address.
pub(crate) fn plug_in_anew(node: &Node, lan: &Network, mac: [u8; 6]) -> Result<()> {
    let (host, switch) = (&node.host, lan.switch());
    let port = format!("again{}", host.eth0().port.number());
    switch.ip(&format!(
        "link add {port} type veth peer name eth0 address {} netns {}",
        mac_text(mac),
        host.namespace().name()
    ))?;
    switch.run("ethtool", &["-K", &port, "tx", "off"])?;
    host.run("ethtool", &["-K", "eth0", "tx", "off"])?;
    // As on the lab's own ports: without a program there, XDP_TX would stall.
    let pass = lab_pass_program(node)?;
    switch.run(
        "ip",
        &["link", "set", "dev", &port, "xdpdrv", "pinned", &pass],
    )?;
    switch.ip(&format!("link set {port} master br0 up"))?;
    host.namespace().ip("link set eth0 up")?;
    host.namespace()
        .ip(&format!("addr add {}/24 dev eth0", host.v4()))?;
    host.namespace()
        .ip(&format!("addr add {}/64 dev eth0 nodad", host.v6()))?;
    let link = host.namespace().ip("-o link show eth0")?;
    let shown = link
        .split_whitespace()
        .skip_while(|word| *word != "link/ether")
        .nth(1)
        .and_then(parse_mac);
    anyhow::ensure!(shown == Some(mac), "{link}");
    Ok(())
}

/// Where the lab keeps the program of its switch ports.
fn lab_pass_program(node: &Node) -> Result<String> {
    let pins = node.host.pin_dir().parent().context("the lab's pins")?;
    Ok(pins.join("pass").display().to_string())
}

/// Runs `vip-agent switchover web`: exit code, and what it says up to the first comma.
fn switchover(node: &Node, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let socket = node.config.socket();
    let socket = socket.to_str().context("a path in UTF-8")?;
    let command = [&["switchover", "web", "--socket", socket][..], arguments].concat();
    let output = node.command(&command)?;
    let text = if output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split(',').next().unwrap_or_default().to_owned()
    } else {
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    Ok((output.status.code(), text))
}
