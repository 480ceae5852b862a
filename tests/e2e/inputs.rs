//! What reaches the agent, and what does not: adverts' addresses, lost link changes, floods, the
//! program taken off its interface, and the control API asked badly.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::{Host, Lab, Node, agent_program, scenario, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use crate::link::plug_in_anew;
use crate::support::{Cluster, INTERVAL, PATIENCE, instance, protocol, wait_for_log, xdp_program};

/// Long enough for a node that believes nobody to become Active.
const QUIET: Duration = Duration::from_millis(1500);

#[test]
fn adverts_by_multicast_come_from_the_configured_address() {
    // An IPv6 address the kernel would not choose for a link-local group, and a secondary IPv4 one.
    for group in ["ff02::5112", "239.255.81.12"] {
        scenario(|lab| {
            let mut cluster = multicast(lab, group, |number, node| match group {
                "ff02::5112" => format!("fd00:1::{number}:{node}"),
                _ => format!("10.255.{number}.{node}"),
            })?;
            for node in &mut cluster.nodes {
                node.start()?;
            }
            cluster.settle(0)?;
            std::thread::sleep(QUIET);
            assert_eq!(cluster.active(), [0]);
            for (number, node) in cluster.nodes.iter().enumerate() {
                let address = own_address(&cluster.nodes[1 - number])?;
                wait_until_heard(node, address, true)?;
            }
            Ok(())
        });
    }
}

#[test]
fn a_node_waits_for_the_link_local_address_its_adverts_come_from() {
    scenario(|lab| {
        let group = "ff02::5112".parse()?;
        let mut cluster = Cluster::new(
            lab,
            2,
            |_, instance| instance,
            |_, config| config.multicast(group, "eth0"),
        )?;
        cluster.nodes[0].start()?;
        cluster.settle(0)?;
        // Duplicate address detection, which the lab else does without, takes a second or two.
        let host = cluster.nodes[1].host.clone();
        host.namespace().ip("link set eth0 down")?;
        host.namespace().sysctl("ipv6/conf/eth0/accept_dad", "1")?;
        host.namespace().ip("link set eth0 up")?;
        cluster.nodes[1].start()?;
        wait_for_log(&host, &["waiting", "duplicate address detection"])?;
        assert!(
            own_address(&cluster.nodes[1])?
                .to_string()
                .starts_with("fe80:")
        );
        for (number, node) in cluster.nodes.iter().enumerate() {
            wait_until_heard(node, own_address(&cluster.nodes[1 - number])?, true)?;
        }
        cluster.settle(0)
    });
}

#[test]
fn a_node_without_an_address_for_its_adverts_does_not_start_and_says_why() {
    scenario(|lab| {
        let group = [239, 255, 81, 12].into();
        let mut cluster = Cluster::new(
            lab,
            1,
            |_, instance| instance,
            |_, config| config.multicast(group, "eth0"),
        )?;
        cluster.nodes[0]
            .host
            .namespace()
            .ip("-4 addr flush dev eth0")?;
        cluster.nodes[0].launch()?;
        let status = cluster.nodes[0].wait_for_exit(PATIENCE)?;
        assert!(!status.success());
        wait_for_log(
            &cluster.nodes[0].host,
            &["error:", "eth0", "no IPv4 address"],
        )?;
        Ok(())
    });
}

#[test]
fn an_agent_outlives_the_reader_of_its_log() {
    scenario(|lab| {
        let cluster = Cluster::new(lab, 2, |_, instance| instance, |_, config| config)?;
        let node = &cluster.nodes[0];
        let (reader, log) = std::io::pipe()?;
        drop(reader);
        let mut command = Command::new(agent_program()?);
        command.arg("run").arg("--config").arg(node.config.path());
        command.stdout(Stdio::null()).stderr(log);
        let mut agent = node.host.namespace().enter(|| Ok(command.spawn()?))?;
        let result = node.wait_for_state("web", "active", PATIENCE);
        let signal = if result.is_ok() {
            Signal::TERM
        } else {
            Signal::KILL
        };
        let sent = kill_process(Pid::from_child(&agent), signal);
        let status = agent.wait()?;
        sent?;
        result?;
        anyhow::ensure!(status.success(), "{status}");
        Ok(())
    });
}

#[test]
fn a_node_keeps_its_address_and_says_that_it_cannot_send_while_it_is_gone() {
    // By multicast: the interface is made anew with another MAC address, and so another link-local one.
    scenario(|lab| {
        let group = "ff02::5112".parse()?;
        let cluster = Cluster::running(
            lab,
            2,
            |_, instance| instance,
            |_, config| config.multicast(group, "eth0"),
        )?;
        let (node, peer) = (&cluster.nodes[0], &cluster.nodes[1]);
        let address = own_address(node)?;
        node.host.namespace().ip("link del eth0")?;
        peer.wait_for_state("web", "active", PATIENCE)?;
        plug_in_anew(node, &cluster.lan, [2, 0, 0, 0, 9, 9])?;
        wait_for_log(
            &node.host,
            &["adverts cannot be sent", &address.to_string()],
        )?;
        wait_until_heard(peer, address, false)?;
        node.host
            .namespace()
            .ip(&format!("addr add {address}/64 dev eth0 nodad"))?;
        wait_until_heard(peer, address, true)?;
        assert_eq!(own_address(node)?, address);
        cluster.settle(0)
    });
    // By unicast: the address is taken away, and comes back.
    scenario(|lab| {
        let cluster = Cluster::running(lab, 2, |_, instance| instance, |_, config| config)?;
        let (node, peer) = (&cluster.nodes[0], &cluster.nodes[1]);
        let address = own_address(node)?;
        let namespace = node.host.namespace();
        namespace.ip(&format!("addr del {address}/24 dev eth0"))?;
        wait_for_log(
            &node.host,
            &["adverts cannot be sent", &address.to_string()],
        )?;
        wait_until_heard(peer, address, false)?;
        namespace.ip(&format!("addr add {address}/24 dev eth0"))?;
        wait_until_heard(peer, address, true)?;
        wait_until_heard(node, own_address(peer)?, true)?;
        cluster.settle(0)
    });
}

#[test]
fn an_interface_whose_deletion_the_kernel_could_not_tell_is_gone_nevertheless() {
    scenario(|lab| {
        let mut cluster = Cluster::running(lab, 2, |_, instance| instance, |_, config| config)?;
        cluster.nodes[0].freeze()?;
        let namespace = cluster.nodes[0].host.namespace();
        // More changes than the agent's socket has room for; the last ones are dropped.
        let changes: String = (0..1000)
            .map(|number| format!("link set dev lo alias change-{number}\n"))
            .collect();
        let batch = cluster.nodes[0].host.file("batch");
        std::fs::write(&batch, changes + "link del eth0\n")?;
        let batch = batch.to_str().context("a path in UTF-8")?;
        namespace.run("ip", &["-batch", batch])?;
        cluster.nodes[0].thaw()?;
        cluster.nodes[0].wait_for_state("web", "initialize", PATIENCE)?;
        assert_eq!(instance(&cluster.nodes[0], "web")?["reason"], "link_gone");
        wait_for_log(&cluster.nodes[0].host, &["interface is gone"])?;
        // And the watch goes on: the interface may come back.
        let mac = cluster.nodes[0].mac();
        plug_in_anew(&cluster.nodes[0], &cluster.lan, mac)?;
        cluster.settle(0)?;
        cluster.assert_served_by(0)
    });
}

#[test]
fn a_data_plane_that_is_taken_off_its_interface_is_noticed_and_put_back() {
    scenario(|lab| {
        let cluster = Cluster::running(lab, 2, |_, instance| instance, |_, config| config)?;
        let host = &cluster.nodes[0].host;
        assert_eq!(xdp(&cluster.nodes[0])?, "native");
        let before = xdp_program(host, "eth0")?;
        lab::pass_program::detach(&pinned_link(host)?)?;
        assert_eq!(xdp_program(host, "eth0")?, None);
        wait_for_log(host, &["the data plane was taken off", "eth0"])?;
        wait_for_log(host, &["state changed", "reason=\"dataplane_failed\""])?;
        // It is put back, and only then the node takes part again.
        cluster.settle(0)?;
        assert_eq!(xdp_program(host, "eth0")?, before);
        assert_eq!(xdp(&cluster.nodes[0])?, "native");
        cluster.assert_served_by(0)?;

        // Another program is in its place: the node stays out, says so, and status shows it.
        lab::pass_program::detach(&pinned_link(host)?)?;
        let pass = host
            .pin_dir()
            .parent()
            .context("the lab's pins")?
            .join("pass");
        let pass = pass.to_str().context("a path in UTF-8")?;
        host.run(
            "ip",
            &["link", "set", "dev", "eth0", "xdpgeneric", "pinned", pass],
        )?;
        wait_for_log(host, &["cannot be used", "another XDP program"])?;
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
        cluster.nodes[0].wait_for_state("web", "initialize", PATIENCE)?;
        assert_eq!(xdp(&cluster.nodes[0])?, "generic");
        host.namespace().ip("link set dev eth0 xdpgeneric off")?;
        cluster.settle(0)?;
        cluster.assert_served_by(0)
    });
}

#[test]
fn what_a_bridge_says_of_its_ports_does_not_disturb_the_election() {
    scenario(|lab| {
        let cluster = Cluster::running(lab, 2, |_, instance| instance, |_, config| config)?;
        let namespace = cluster.nodes[0].host.namespace();
        let before = xdp_program(&cluster.nodes[0].host, "eth0")?;
        let epoch = instance(&cluster.nodes[0], "web")?["epoch"].clone();
        namespace.ip("link add br0 type bridge")?;
        for change in ["master br0", "nomaster"] {
            namespace.ip(&format!("link set eth0 {change}"))?;
            std::thread::sleep(INTERVAL);
            assert_eq!(cluster.active(), [0], "{change}");
        }
        std::thread::sleep(QUIET);
        assert_eq!(instance(&cluster.nodes[0], "web")?["epoch"], epoch);
        assert_eq!(xdp_program(&cluster.nodes[0].host, "eth0")?, before);
        cluster.assert_served_by(0)
    });
}

#[test]
fn what_cannot_be_an_advert_does_not_reach_the_election() {
    scenario(|lab| {
        let cluster = Cluster::running(lab, 2, |_, instance| instance, |_, config| config)?;
        let node = &cluster.nodes[0];
        let before = protocol(node, "adverts_rejected")?;
        let target = std::net::SocketAddr::from((node.host.v4(), PORT));
        let peer = &cluster.nodes[1].host;
        let socket = peer
            .namespace()
            .enter(|| Ok(std::net::UdpSocket::bind((peer.v4(), 0))?))?;
        for garbage in [&b""[..], b"VI", &[0x55; 200], &[0x56; 1500]] {
            for _ in 0..100 {
                socket.send_to(garbage, target)?;
            }
        }
        // One that has the shape, so that what came before it has been dealt with.
        let mut shaped = b"VI".to_vec();
        shaped.resize(200, 0);
        socket.send_to(&shaped, target)?;
        wait_until("the datagram to be rejected", PATIENCE, || {
            let now = protocol(node, "adverts_rejected").map_err(|error| format!("{error:#}"))?;
            (now > before).then_some(()).ok_or_else(|| now.to_string())
        })?;
        assert_eq!(protocol(node, "adverts_rejected")?, before + 1);
        cluster.settle(0)
    });
}

#[test]
fn the_control_api_refuses_what_it_does_not_understand_in_its_own_words() {
    scenario(|lab| {
        let cluster = Cluster::running(lab, 2, |_, instance| instance, |_, config| config)?;
        let node = &cluster.nodes[0];
        let long = format!("{{\"to\": \"{}\"}}", "1".repeat(5000));
        for (method, path, body, status) in [
            (
                "POST",
                "/v1/instances/web/switchover",
                "{\"t0\": null}",
                "400",
            ),
            ("POST", "/v1/instances/web/switchover", "to=best", "400"),
            ("POST", "/v1/instances/web/switchover", &long, "413"),
            ("POST", "/v1/instances/none/switchover", "{}", "404"),
            ("GET", "/v1/instances/web/switchover", "", "405"),
            ("GET", "/v2/status", "", "404"),
        ] {
            let answer = ask(node, method, path, body)?;
            let (head, text) = answer.split_once("\r\n\r\n").context("an answer")?;
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            let reply: serde_json::Value = serde_json::from_str(text)?;
            assert!(
                reply["error"]
                    .as_str()
                    .is_some_and(|error| error.len() > 10),
                "{answer}"
            );
        }
        assert_eq!(cluster.active(), [0], "nothing was handed over");
        Ok(())
    });
}

/// UDP port of adverts.
const PORT: u16 = vip_proto::native::DEFAULT_PORT;

/// One request to the agent's control socket, and the whole answer.
fn ask(node: &Node, method: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = UnixStream::connect(node.config.socket())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: vip-agent\r\nConnection: close\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What `status` says of the program on the first interface.
fn xdp(node: &Node) -> Result<String> {
    let status = node.status()?;
    let xdp = status["interfaces"][0]["xdp"].as_str();
    Ok(xdp.unwrap_or_default().to_owned())
}

/// Where the agent has pinned its link to the host's only interface.
fn pinned_link(host: &Host) -> Result<PathBuf> {
    let found = host.run(
        "find",
        &[
            host.pin_dir().to_str().context("a path in UTF-8")?,
            "-name",
            "link-eth0-*",
        ],
    )?;
    Ok(PathBuf::from(found.trim()))
}

/// Two nodes that send to a group from addresses of their own, `address(network, node)`.
fn multicast(lab: &Lab, group: &str, address: impl Fn(u8, usize) -> String) -> Result<Cluster> {
    let group = group.parse()?;
    let cluster = Cluster::new(
        lab,
        2,
        |_, instance| instance,
        |number, config| {
            config
                .multicast(group, "eth0")
                .cluster_line(&format!("address = \"{}\"", address(7, number + 1)))
        },
    )?;
    for (number, node) in cluster.nodes.iter().enumerate() {
        node.host
            .add_address(address(7, number + 1).parse()?, "eth0")?;
    }
    Ok(cluster)
}

/// The address a node says its adverts come from.
fn own_address(node: &Node) -> Result<IpAddr> {
    let status = node.status()?;
    Ok(status["address"].as_str().unwrap_or_default().parse()?)
}

/// Waits until a node hears a peer, or no longer.
fn wait_until_heard(node: &Node, peer: IpAddr, heard: bool) -> Result<()> {
    let what = format!("{peer} to be heard ({heard}) by {}", node.host.name());
    wait_until(&what, PATIENCE, || {
        let status = node.status().map_err(|error| format!("{error:#}"))?;
        let peers = status["peers"].as_array().cloned().unwrap_or_default();
        peers
            .iter()
            .any(|one| one["address"] == peer.to_string() && one["alive"] == heard)
            .then_some(())
            .ok_or_else(|| status["peers"].to_string())
    })
}
