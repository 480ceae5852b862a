//! What the agent does to its host besides serving: that no other way in answers for a VIP, that what
//! an earlier agent left is taken over or put away, and that what belongs to others is left alone.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::{Client, Host, Instance, Lab, Network, Node, NodeConfig, scenario, wait_until};

use crate::link::plug_in_anew;
use crate::support::{
    Cluster, PATIENCE, VIP, instance, log, on_lo, wait_for_http, wait_for_log, xdp_program,
};

/// Exit codes, as documented.
mod code {
    pub(super) const NO_INTERFACE: i32 = 5;
    pub(super) const XDP_BUSY: i32 = 7;
    pub(super) const ALREADY_RUNNING: i32 = 8;
}

/// Two nodes with two cards in the same segment, the first one Active, and somebody who asks.
struct TwoCards {
    lan: Network,
    client: Client,
    nodes: Vec<Node>,
}

impl TwoCards {
    fn running(lab: &Lab) -> Result<Self> {
        let lan = lab.network("lan")?;
        let client = lab.client("client", &[&lan])?;
        let hosts = ["node-1", "node-2"].map(|name| lab.host(name, &[&lan, &lan]));
        let [first, second] = hosts;
        let (first, second) = (first?, second?);
        let mut nodes = Vec::new();
        for (host, peer, priority) in [(&first, &second, 200), (&second, &first, 100)] {
            let web = Instance::new("web", 51).priority(priority).vip(lan.v4(VIP));
            let config = NodeConfig::new(host)
                .cluster_line(&format!("address = \"{}\"", host.v4()))
                .peers(&[peer])
                .instance(web);
            nodes.push(Node::new(host, config)?);
        }
        for node in &mut nodes {
            node.start()?;
        }
        nodes[0].wait_for_state("web", "active", PATIENCE)?;
        nodes[1].wait_for_state("web", "backup", PATIENCE)?;
        Ok(Self { lan, client, nodes })
    }
}

/// A kernel setting for all interfaces.
fn setting(host: &Host, key: &str) -> Result<String> {
    let text = host.run("cat", &[&format!("/proc/sys/net/ipv4/conf/all/{key}")])?;
    Ok(text.trim().to_owned())
}

/// A node by itself.
fn alone(host: &Host, vips: &[IpAddr]) -> NodeConfig {
    let web = Instance::new("web", 51);
    let web = vips.iter().fold(web, |web, vip| web.vip(*vip));
    NodeConfig::new(host)
        .cluster_line(&format!("address = \"{}\"", host.v4()))
        .instance(web)
}

/// The agent ends by itself with this code; returns what it said.
fn refused(node: &mut Node, code: i32) -> Result<String> {
    let before = log(&node.host).unwrap_or_default().len();
    node.launch()?;
    let status = node.wait_for_exit(PATIENCE)?;
    let said = log(&node.host)?.split_off(before);
    assert_eq!(status.code(), Some(code), "{said}");
    Ok(said)
}

fn pass_program(lab: &Lab) -> Result<String> {
    let pass = lab.pin_dir().join("pass");
    Ok(pass.to_str().context("a path in UTF-8")?.to_owned())
}

/// Pinned links to an interface.
fn pinned_links(node: &Node, interface: &str) -> Result<Vec<PathBuf>> {
    let mut links = Vec::new();
    for version in std::fs::read_dir(node.config.pin_dir())? {
        for pin in std::fs::read_dir(version?.path())? {
            let path = pin?.path();
            if path
                .display()
                .to_string()
                .contains(&format!("link-{interface}-"))
            {
                links.push(path);
            }
        }
    }
    Ok(links)
}

#[test]
fn no_other_card_of_any_node_answers_for_a_vip() {
    scenario(|lab| {
        let mut cards = TwoCards::running(lab)?;
        let vip = cards.lan.v4(VIP);
        let active = cards.nodes[0].mac();
        assert_eq!(cards.client.arping(vip, 3)?, [active; 3]);
        for node in &cards.nodes {
            wait_for_log(&node.host, &["WARN", "eth1", "whether or not it is active"])?;
        }
        // Also where an agent was killed, and after its card was made anew.
        let host = cards.nodes[1].host.clone();
        cards.nodes[1].kill()?;
        host.namespace().ip("link del eth0")?;
        plug_in_anew(&cards.nodes[1], &cards.lan, [2, 0, 0, 0, 9, 9])?;
        assert_eq!(on_lo(&host, &[vip.into()])?, [IpAddr::from(vip)]);
        cards.client.forget_neighbours()?;
        assert_eq!(cards.client.arping(vip, 3)?, [active; 3]);
        // Somebody else's sysctl does not change it for long.
        let first = cards.nodes[0].host.clone();
        first.namespace().sysctl("ipv4/conf/all/arp_ignore", "0")?;
        wait_until("the setting to be put right", PATIENCE, || {
            match setting(&first, "arp_ignore") {
                Ok(value) if value == "1" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
    });
}

#[test]
fn kernel_settings_are_put_back_even_after_a_crash() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let host = lab.host("node", &[&lan])?;
        host.namespace().sysctl("ipv4/conf/all/arp_announce", "1")?;
        let mut node = Node::new(&host, alone(&host, &[lan.v4(VIP).into()]))?;
        node.start()?;
        let now = || -> Result<[String; 2]> {
            Ok([
                setting(&host, "arp_announce")?,
                setting(&host, "arp_ignore")?,
            ])
        };
        assert_eq!(now()?, ["2", "1"]);
        node.kill()?;
        assert_eq!(now()?, ["2", "1"], "the VIP is still there");
        node.start()?;
        assert!(node.stop()?.success());
        assert_eq!(now()?, ["1", "0"]);
        Ok(())
    });
}

#[test]
fn a_pin_directory_has_one_agent() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        let host = cluster.nodes[0].host.clone();
        let pins = cluster.nodes[0].config.pin_dir().to_owned();
        let program = xdp_program(&host, "eth0")?;
        let config = alone(&host, &[cluster.lan.v4(101).into()])
            .cluster_line("port = 8113")
            .apart(&host, "second")
            .pinned_in(&pins);
        let said = refused(&mut Node::new(&host, config)?, code::ALREADY_RUNNING)?;
        assert!(said.contains(&pins.display().to_string()), "{said}");
        assert!(said.contains("pin_dir"), "{said}");
        assert_eq!(xdp_program(&host, "eth0")?, program);
        cluster.assert_served_by(0)?;
        assert!(cluster.nodes[0].stop()?.success());
        assert!(!pins.exists());
        Ok(())
    });
}

#[test]
fn what_others_keep_in_the_pin_directory_is_left_alone() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let host = lab.host("node", &[&lan])?;
        let mut node = Node::new(&host, alone(&host, &[lan.v4(VIP).into()]))?;
        let other = node.config.pin_dir().join("somebody");
        let outdated = node.config.pin_dir().join("v0");
        std::fs::create_dir_all(&other)?;
        std::fs::create_dir_all(&outdated)?;
        node.start()?;
        assert!(!outdated.exists(), "an agent's own earlier version goes");
        assert!(node.stop()?.success());
        assert!(other.is_dir());
        assert_eq!(std::fs::read_dir(node.config.pin_dir())?.count(), 1);
        Ok(std::fs::remove_dir(other)?)
    });
}

#[test]
fn a_failed_start_leaves_an_earlier_data_plane_as_it_was() {
    for (taken, kept) in [("eth1", "eth0"), ("eth0", "eth1")] {
        scenario(|lab| {
            let lan = lab.network("lan")?;
            let other_lan = lab.network("other")?;
            let client = lab.client("client", &[&lan])?;
            let host = lab.host("node", &[&lan, &other_lan])?;
            let vips = [lan.v4(VIP).into(), other_lan.v4(VIP).into()];
            let config = alone(&host, &vips[..1])
                .instance(Instance::new("other", 52).interface("eth1").vip(vips[1]));
            let mut node = Node::new(&host, config)?;
            node.start()?;
            node.wait_for_state("web", "active", PATIENCE)?;
            node.kill()?;
            // Somebody takes an interface away from it.
            for link in pinned_links(&node, taken)? {
                std::fs::remove_file(link)?;
            }
            wait_until(
                "the program to be detached",
                PATIENCE,
                || match xdp_program(&host, taken) {
                    Ok(None) => Ok(()),
                    other => Err(format!("{other:?}")),
                },
            )?;
            let attach = ["link", "set", "dev", taken, "xdpdrv", "pinned"];
            host.run("ip", &[&attach[..], &[&pass_program(lab)?]].concat())?;
            refused(&mut node, code::XDP_BUSY)?;
            assert!(xdp_program(&host, kept)?.is_some(), "still guarded");
            assert_eq!(on_lo(&host, &vips)?, vips);
            assert_eq!(setting(&host, "arp_ignore")?, "1");
            assert_eq!(client.arping(lan.v4(VIP), 2)?, [[0; 6]; 0], "and silent");
            host.run("ip", &["link", "set", "dev", taken, "xdpdrv", "off"])?;
            node.start()?;
            node.wait_for_state("other", "active", PATIENCE)?;
            assert_eq!(client.arping(lan.v4(VIP), 1)?, [host.mac()]);
            assert!(node.stop()?.success());
            assert_eq!(on_lo(&host, &vips)?, Vec::<IpAddr>::new());
            Ok(())
        });
    }
}

#[test]
fn an_address_that_is_not_there_yet_is_worth_another_start() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let host = lab.host("node", &[&lan])?;
        let late = lan.v4(77);
        let config = NodeConfig::new(&host)
            .cluster_line(&format!("address = \"{late}\""))
            .instance(Instance::new("web", 51).vip(lan.v4(VIP)));
        let mut node = Node::new(&host, config)?;
        let said = refused(&mut node, code::NO_INTERFACE)?;
        assert!(said.contains(&late.to_string()), "{said}");
        host.namespace()
            .ip(&format!("addr add {late}/24 dev eth0"))?;
        node.start()?;
        node.wait_for_state("web", "active", PATIENCE)
    });
}

#[test]
fn a_stop_during_the_start_undoes_it() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let host = lab.host("node", &[&lan])?;
        // So many that putting them on lo takes a while.
        let vips: Vec<IpAddr> = (0..20_000_u32)
            .map(|number| std::net::Ipv4Addr::from_bits(0x0a40_0000 + number).into())
            .collect();
        let mut node = Node::new(&host, alone(&host, &vips))?;
        node.launch()?;
        wait_until(
            "the data plane to be attached",
            PATIENCE,
            || match xdp_program(&host, "eth0") {
                Ok(Some(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )?;
        let status = node.stop()?;
        assert!(status.success(), "{status}");
        let said = log(&host)?;
        assert!(said.contains("stopped while starting"), "too late: {said}");
        assert_eq!(xdp_program(&host, "eth0")?, None);
        let left = host.namespace().ip("-o -4 addr show dev lo")?;
        assert!(!left.contains("10.64."), "{left}");
        assert_eq!(setting(&host, "arp_ignore")?, "0");
        assert!(!node.config.pin_dir().exists());
        Ok(())
    });
}

#[test]
fn another_xdp_mode_counts_after_a_crash_too() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        let host = cluster.nodes[0].host.clone();
        let shown = |node: &Node| -> Result<String> {
            Ok(node.status()?["interfaces"][0]["xdp"].to_string())
        };
        assert_eq!(shown(&cluster.nodes[0])?, "\"native\"");
        for mode in ["generic", "native"] {
            cluster.nodes[0].kill()?;
            cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
            let config = cluster.nodes[0].config.clone();
            cluster.nodes[0].config = config.clone().node_line(&format!("xdp = \"{mode}\""));
            cluster.nodes[0].start()?;
            assert_eq!(shown(&cluster.nodes[0])?, format!("{mode:?}"));
            wait_for_log(&host, &["another mode"])?;
            cluster.settle(1)?;
            cluster.nodes[1].switchover("web")?;
            cluster.settle(0)?;
            for vip in cluster.vips() {
                assert_eq!(wait_for_http(&cluster.client, vip)?, "node-1");
            }
            cluster.nodes[0].config = config;
        }
        Ok(())
    });
}

#[test]
fn a_deleted_pin_detaches_nothing_while_the_agent_runs() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        let host = cluster.nodes[0].host.clone();
        let program = xdp_program(&host, "eth0")?;
        let links = pinned_links(&cluster.nodes[0], "eth0")?;
        assert_eq!(links.len(), 1);
        std::fs::remove_file(&links[0])?;
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(xdp_program(&host, "eth0")?, program);
        cluster.assert_served_by(0)?;
        assert!(cluster.nodes[0].stop()?.success());
        wait_until(
            "the program to be detached",
            PATIENCE,
            || match xdp_program(&host, "eth0") {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
    });
}

#[test]
fn a_vip_that_is_guarded_no_longer_leaves_lo_whoever_provisions() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let host = lab.host("node", &[&lan])?;
        let [old, kept] = [lan.v4(VIP), lan.v4(101)].map(IpAddr::from);
        let mut node = Node::new(&host, alone(&host, &[old, kept]))?;
        node.start()?;
        node.kill()?;
        node.config = alone(&host, &[kept]).node_line("provision = false");
        node.start()?;
        assert_eq!(on_lo(&host, &[old, kept])?, [kept]);
        Ok(())
    });
}

#[test]
fn an_interface_that_cannot_be_attached_to_at_once_is_tried_again() {
    scenario(|lab| {
        let cluster = Cluster::pair(lab)?;
        let host = cluster.nodes[0].host.clone();
        host.namespace().ip("link del eth0")?;
        cluster.nodes[0].wait_for_state("web", "initialize", PATIENCE)?;
        // Made anew under another name, with somebody else's program on it.
        plug_in_anew_renamed(lab, &cluster.nodes[0], &cluster.lan)?;
        wait_for_log(&host, &["ERROR", "cannot be used", "another XDP program"])?;
        let tries = || -> Result<usize> { Ok(log(&host)?.matches("cannot be used").count()) };
        std::thread::sleep(Duration::from_millis(2500));
        assert_eq!(tries()?, 1, "said once");
        assert_eq!(instance(&cluster.nodes[0], "web")?["state"], "initialize");
        host.run("ip", &["link", "set", "dev", "eth0", "xdpdrv", "off"])?;
        cluster.nodes[0].wait_for_state("web", "backup", PATIENCE)?;
        assert!(xdp_program(&host, "eth0")?.is_some());
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)
    });
}

/// Gives a node an `eth0` anew that has a foreign XDP program from its first moment.
fn plug_in_anew_renamed(lab: &Lab, node: &Node, lan: &Network) -> Result<()> {
    let (host, switch) = (&node.host, lan.switch());
    let port = format!("again{}", host.eth0().port.number());
    let own = host.namespace();
    switch.ip(&format!(
        "link add {port} type veth peer name fresh address {} netns {}",
        crate::support::mac_text(host.mac()),
        own.name()
    ))?;
    let pass = pass_program(lab)?;
    let attach = ["link", "set", "dev", "fresh", "xdpdrv", "pinned", &pass];
    host.run("ip", &attach)?;
    switch.run("ethtool", &["-K", &port, "tx", "off"])?;
    switch.ip(&format!("link set {port} master br0 up"))?;
    own.ip("link set fresh name eth0")?;
    own.ip("link set eth0 up")?;
    own.ip(&format!("addr add {}/24 dev eth0", host.v4()))?;
    own.ip(&format!("addr add {}/64 dev eth0 nodad", host.v6()))?;
    Ok(())
}
