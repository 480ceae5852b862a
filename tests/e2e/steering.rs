//! Steering by `l2`: packets for a VIP go to the first healthy backend, unchanged above the link.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::frame::FrameSocket;
use lab::{
    Backend, BackendConfig, Capture, Client, Frame, Host, Instance, Lab, Network, Node, NodeConfig,
    scenario, wait_until,
};
use serde_json::Value;

use crate::frames::{Seen, Sender, read};
use crate::support::{
    INTERVAL, PATIENCE, VIP, counter, instance, mac_text, wait_for_log, wait_for_server,
};

/// A check that is quick to notice.
const CHECK: &str = "{ tcp = 80, interval = \"50ms\", timeout = \"50ms\", rise = 2, fall = 2 }";

/// A client, a director and two backends on one network.
struct Pool {
    lan: Network,
    client: Client,
    director: Node,
    backends: Vec<Backend>,
    vips: [IpAddr; 2],
}

impl Pool {
    fn start(lab: &Lab) -> Result<Self> {
        let lan = lab.network("lan")?;
        let client = lab.client("client", &[&lan])?;
        let host = lab.host("director", &[&lan])?;
        let vips = [lan.v4(VIP).into(), lan.v6(VIP).into()];
        let backends = vec![
            lab.backend("ECS-1", &[&lan], &vips)?,
            lab.backend("ECS-2", &[&lan], &vips)?,
        ];
        let mut director = Node::new(&host, config(&host, &vips, &backends))?;
        director.start()?;
        director.wait_for_state("lb", "active", PATIENCE)?;
        let pool = Self {
            lan,
            client,
            director,
            backends,
            vips,
        };
        pool.assert_served_by("ECS-1")?;
        Ok(pool)
    }

    /// Both VIPs are answered by this backend, and `status` agrees.
    fn assert_served_by(&self, name: &str) -> Result<()> {
        for vip in self.vips {
            wait_for_server(&self.client, vip, name)?;
        }
        let active: Vec<Value> = self
            .status()?
            .into_iter()
            .filter(|backend| backend["active"] == true)
            .map(|backend| backend["name"].clone())
            .collect();
        assert_eq!(active, [name]);
        Ok(())
    }

    /// What `status` says of the backends.
    fn status(&self) -> Result<Vec<Value>> {
        backends(&self.director)
    }
}

#[test]
fn packets_reach_the_backend_unchanged_but_for_a_hop() {
    scenario(|lab| {
        let pool = Pool::start(lab)?;
        let first = &pool.backends[0].host;
        let before = pool.status()?[0]["packets"].as_u64().context("a number")?;
        let capture = Capture::at_port_of(first, "udp port 7")?;
        let socket = FrameSocket::open(pool.client.namespace(), "eth0")?;
        let sender = Sender::of(&pool.client);
        for vip in pool.vips {
            // The last one has no hop left.
            for hops in [64, 2, 1] {
                socket.send(&sender.udp(pool.director.mac(), vip, 7, hops, b"hello"))?;
            }
        }
        let frames = capture.stop()?;
        for (vip, own) in pool
            .vips
            .into_iter()
            .zip([IpAddr::from(sender.v4), sender.v6.into()])
        {
            let seen: Vec<u8> = frames
                .iter()
                .filter(|frame| frame.destination() == first.mac())
                .filter_map(|frame| {
                    let Seen::Packet {
                        source,
                        target,
                        hops,
                    } = read(frame)
                    else {
                        return None;
                    };
                    if (source, target) != (own, vip) {
                        return None;
                    }
                    assert_eq!(frame.source(), pool.director.mac());
                    assert!(frame.bytes.ends_with(b"hello"), "{frame:?}");
                    Some(hops)
                })
                .collect();
            assert_eq!(seen, [63, 1], "hops left at the backend: {vip}");
            // The answer comes from the VIP straight to the client: the checksum was right.
            let answered = frames.iter().any(|frame| {
                frame.destination() == pool.client.mac()
                    && matches!(read(frame), Seen::Packet { source, target, .. }
                        if (source, target) == (vip, own))
            });
            assert!(answered, "{vip}: {frames:?}");
        }
        assert_eq!(counter(&pool.director, "drop_ttl")?, 2);
        let after = pool.status()?[0]["packets"].as_u64().context("a number")?;
        // The end of an earlier connection may be among them.
        assert!(
            after >= before + 4,
            "packets of the backend: {before}, {after}"
        );
        Ok(())
    });
}

#[test]
fn the_first_healthy_backend_gets_the_packets() {
    scenario(|lab| {
        let mut pool = Pool::start(lab)?;
        pool.backends[0].stop();
        pool.assert_served_by("ECS-2")?;
        wait_for_log(&pool.director.host, &["backend fails its check", "ECS-1"])?;
        pool.backends[0].start()?;
        pool.assert_served_by("ECS-1")?;

        for backend in &mut pool.backends {
            backend.stop();
        }
        wait_until("no backend to be healthy", PATIENCE, || {
            let status = pool.status().map_err(|error| format!("{error:#}"))?;
            status
                .iter()
                .all(|backend| backend["healthy"] == false && backend["active"] == false)
                .then_some(())
                .ok_or_else(|| format!("{status:?}"))
        })?;
        wait_for_log(&pool.director.host, &["no healthy backend"])?;
        let dropped = counter(&pool.director, "drop_no_backend")?;
        for vip in pool.vips {
            assert!(pool.client.curl(vip).is_err(), "{vip}");
        }
        assert!(counter(&pool.director, "drop_no_backend")? >= dropped + 2);
        assert_eq!(pool.director.state("lb")?, "active", "the VIPs stay");
        pool.backends[1].start()?;
        pool.assert_served_by("ECS-2")
    });
}

#[test]
fn a_backend_that_dies_as_a_whole_is_left_too() {
    scenario(|lab| {
        let pool = Pool::start(lab)?;
        pool.backends[0].host.unplug()?;
        pool.assert_served_by("ECS-2")?;
        pool.backends[0].host.plug()?;
        pool.assert_served_by("ECS-1")
    });
}

#[test]
fn a_backends_new_mac_address_is_followed() {
    scenario(|lab| {
        let pool = Pool::start(lab)?;
        let new = mac_text([2, 0, 0, 0, 9, 9]);
        pool.backends[0]
            .host
            .namespace()
            .ip(&format!("link set eth0 address {new}"))?;
        wait_until("the new MAC address to be known", PATIENCE, || {
            let status = pool.status().map_err(|error| format!("{error:#}"))?;
            (status[0]["mac"] == new)
                .then_some(())
                .ok_or_else(|| status[0].to_string())
        })?;
        pool.assert_served_by("ECS-1")
    });
}

#[test]
fn the_director_itself_answers_pings_and_whole_datagrams_arrive_in_fragments() {
    scenario(|lab| {
        let pool = Pool::start(lab)?;
        let answered = counter(&pool.director, "echo_reply")?;
        for vip in pool.vips {
            assert_eq!(pool.client.ping(vip, 3)?, 3, "{vip}");
        }
        assert_eq!(counter(&pool.director, "echo_reply")?, answered + 6);
        for vip in pool.vips {
            // Fragments are left to the backend, which puts them together and answers.
            let vip = vip.to_string();
            let said = pool.client.run(
                "ping",
                &["-n", "-c", "2", "-i", "0.1", "-W", "2", "-s", "4000", &vip],
            )?;
            assert!(said.contains(" 2 received"), "{said}");
        }
        assert_eq!(counter(&pool.director, "echo_reply")?, answered + 6);
        Ok(())
    });
}

#[test]
fn a_backend_behind_another_interface_is_redirected_to() {
    scenario(|lab| {
        let (front, back) = (lab.network("front")?, lab.network("back")?);
        let client = lab.client("client", &[&front])?;
        let host = lab.host("director", &[&front, &back])?;
        let vips = [front.v4(VIP).into(), front.v6(VIP).into()];
        // It answers the client directly, by an interface of its own.
        let backends = vec![lab.backend("ECS-1", &[&back, &front], &vips)?];
        let mut director = Node::new(&host, config(&host, &vips, &backends))?;
        director.start()?;
        director.wait_for_state("lb", "active", PATIENCE)?;
        for vip in vips {
            wait_for_server(&client, vip, "ECS-1")?;
        }
        assert!(counter(&director, "steer_redirect")? > 0);
        assert_eq!(counter(&director, "steer_tx")?, 0);
        let capture = Capture::start(
            backends[0].host.interfaces()[0].port.switch(),
            backends[0].host.interfaces()[0].port.name(),
            "tcp port 80",
        )?;
        wait_for_server(&client, vips[0], "ECS-1")?;
        let arrived: Vec<Frame> = capture
            .stop()?
            .into_iter()
            .filter(|frame| frame.destination() == backends[0].host.mac())
            .filter(|frame| matches!(read(frame), Seen::Packet { target, .. } if target == vips[0]))
            .collect();
        assert!(!arrived.is_empty());
        let outward = host.interfaces()[1].mac;
        assert!(
            arrived.iter().all(|frame| frame.source() == outward),
            "{arrived:?}"
        );
        Ok(())
    });
}

#[test]
fn a_backend_behind_a_router_is_refused_with_the_reason() {
    scenario(|lab| {
        let (front, far) = (lab.network("front")?, lab.network("far")?);
        let client = lab.client("client", &[&front])?;
        let host = lab.host("director", &[&front])?;
        let router = lab.host("router", &[&front, &far])?;
        router.namespace().sysctl("ipv4/ip_forward", "1")?;
        let vips: [IpAddr; 2] = [front.v4(VIP).into(), front.v6(VIP).into()];
        let backends = vec![
            lab.backend("ECS-1", &[&far], &vips)?,
            lab.backend("ECS-2", &[&front], &vips)?,
        ];
        host.namespace()
            .ip(&format!("route add default via {}", router.v4()))?;
        let gateway = router.interfaces()[1].v4;
        backends[0]
            .host
            .namespace()
            .ip(&format!("route add default via {gateway}"))?;
        let mut director = Node::new(&host, config(&host, &vips, &backends))?;
        director.start()?;
        wait_for_server(&client, vips[0], "ECS-2")?;
        wait_until("the check to pass", PATIENCE, || {
            let status = self::backends(&director).map_err(|error| format!("{error:#}"))?;
            let last = status[0]["last_check"].as_str().unwrap_or_default();
            // It can be reached, and would be healthy, but not by rewriting a MAC address.
            (last.starts_with("ok;")
                && last.contains(&format!("behind the router {}", router.v4())))
            .then_some(())
            .ok_or_else(|| status[0].to_string())
        })?;
        let status = self::backends(&director)?;
        assert_eq!(status[0]["healthy"], false);
        assert_eq!(status[0]["mac"], Value::Null);
        assert_eq!(status[1]["active"], true);
        Ok(())
    });
}

#[test]
fn steering_goes_on_after_the_interface_was_made_anew_or_has_a_new_address() {
    scenario(|lab| {
        let pool = Pool::start(lab)?;
        let host = &pool.director.host;
        let new_mac = [2, 0, 0, 0, 9, 9];
        host.namespace()
            .ip(&format!("link set eth0 address {}", mac_text(new_mac)))?;
        wait_until("status to show the new address", PATIENCE, || {
            let status = pool
                .director
                .status()
                .map_err(|error| format!("{error:#}"))?;
            (status["interfaces"][0]["mac"] == mac_text(new_mac))
                .then_some(())
                .ok_or_else(|| status["interfaces"].to_string())
        })?;
        pool.client.forget_neighbours()?;
        pool.assert_served_by("ECS-1")?;
        assert_steered_from(&pool, new_mac)?;

        host.namespace().ip("link del eth0")?;
        pool.director.wait_for_state("lb", "initialize", PATIENCE)?;
        let newest = [2, 0, 0, 0, 8, 8];
        crate::link::plug_in_anew(&pool.director, &pool.lan, newest)?;
        pool.director.wait_for_state("lb", "active", PATIENCE)?;
        pool.client.forget_neighbours()?;
        pool.assert_served_by("ECS-1")?;
        assert_steered_from(&pool, newest)
    });
}

/// Frames to the backend carry this source, once the agent has had its time to notice.
fn assert_steered_from(pool: &Pool, mac: [u8; 6]) -> Result<()> {
    wait_until("steered frames to carry the new source", PATIENCE, || {
        let sources = || -> Result<Vec<[u8; 6]>> {
            let capture = Capture::at_port_of(&pool.backends[0].host, "tcp dst port 80")?;
            wait_for_server(&pool.client, pool.vips[0], "ECS-1")?;
            std::thread::sleep(Duration::from_millis(50));
            let frames = capture.stop()?;
            let to_backend = frames.iter().filter(|frame| {
                matches!(read(frame), Seen::Packet { target, .. } if target == pool.vips[0])
            });
            Ok(to_backend.map(Frame::source).collect())
        };
        let seen = sources().map_err(|error| format!("{error:#}"))?;
        (!seen.is_empty() && seen.iter().all(|source| *source == mac))
            .then_some(())
            .ok_or_else(|| format!("{seen:?}"))
    })
}

/// A director alone, with a pool of these backends.
fn config(host: &Host, vips: &[IpAddr], backends: &[Backend]) -> NodeConfig {
    let mut lb = Instance::new("lb", 52);
    for vip in vips {
        lb = lb.vip(*vip);
    }
    for backend in backends {
        lb = lb.backend(BackendConfig {
            name: backend.host.name().to_owned(),
            address: backend.host.v4().into(),
            check: CHECK.to_owned(),
        });
    }
    NodeConfig::new(host)
        .cluster_line(&format!("address = \"{}\"", host.v4()))
        .interval(INTERVAL)
        .instance(lb)
}

/// What `status` says of the backends.
fn backends(director: &Node) -> Result<Vec<Value>> {
    let status = instance(director, "lb")?;
    status["backends"].as_array().cloned().context("a list")
}
