//! A node dies, hangs, is stopped or killed: another one serves, and the first is silent.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::{Capture, Frame, Host, Instance, Lab, Node, Probe, clock, scenario, wait_until};
use serde_json::json;

use crate::frames::{Asker, Seen, Sender, read, speaks_for};
use crate::support::{
    Cluster, INTERVAL, PATIENCE, counter, instance, log, on_lo, wait_for_field, wait_for_http,
    wait_for_log, xdp_program,
};

/// Time between questions.
const TICK: Duration = Duration::from_millis(2);
/// The longest a lease can be: the default down factor times the interval. A few milliseconds more
/// for the coarse clock the data plane looks at and for a signal to arrive.
const LEASE_NS: u64 = 3 * 50_000_000 + 30_000_000;

#[test]
fn after_a_crash_the_other_node_serves_ipv4_and_ipv6() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        cluster.assert_served_by(0)?;
        let probes = cluster
            .vips()
            .map(|vip| Probe::start(&cluster.client, vip, TICK));
        let probes = probes.into_iter().collect::<Result<Vec<_>>>()?;
        for probe in &probes {
            probe.wait_for_answer(PATIENCE)?;
        }
        let start = clock::now_ns();
        for probe in &probes {
            probe.wait_for_answer(PATIENCE)?;
        }
        cluster.nodes[0].crash()?;
        cluster.settle(1)?;
        for probe in &probes {
            probe.wait_for_answer(PATIENCE)?;
            let report = probe.report(start, clock::now_ns());
            let names: Vec<&str> = report.changes.iter().map(|(_, name)| &**name).collect();
            assert_eq!(names, ["node-1", "node-2"], "{report}");
            assert_eq!(report.duplicates, 0, "{report}");
        }
        assert_eq!(instance(&cluster.nodes[1], "web")?["reason"], "node_dead");
        cluster.assert_served_by(1)
    });
}

#[test]
fn a_frozen_node_is_silent_after_its_lease_and_exactly_one_node_answers() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        let silence = Silence::begin(&cluster)?;
        cluster.nodes[0].freeze()?;
        let (frames, unheard) = silence.end(&cluster)?;
        let before = counter(&cluster.nodes[1], "arp_reply")?;

        let after_thaw = Capture::at_port_of(&cluster.client, "arp or icmp6")?;
        cluster.nodes[0].thaw()?;
        wait_for_field(&cluster.nodes[0], "web", "state", &json!("backup"))?;
        assert_eq!(
            instance(&cluster.nodes[0], "web")?["reason"],
            "lease_expired"
        );
        let dropped = counter(&cluster.nodes[0], "drop_not_active")?;
        assert!(
            dropped >= u64::try_from(unheard)?,
            "{unheard} packets sent to the frozen node after its lease, {dropped} counted as dropped"
        );
        for name in ["arp_not_active", "nd_not_active"] {
            assert!(counter(&cluster.nodes[0], name)? > 0, "{name}");
        }
        // Time enough for any announcement it might still have meant to make.
        std::thread::sleep(Duration::from_millis(500));
        let announced = spoken(&after_thaw.stop()?, &cluster.nodes[0], &cluster.vips());
        assert_eq!(
            announced, 0,
            "frames of the thawed node that speak for a VIP"
        );
        assert!(frames > 100, "{frames} answers are too few to say anything");
        assert!(before > 0, "the successor counts its answers");
        assert_eq!(cluster.active(), [1]);
        cluster.assert_served_by(1)
    });
}

#[test]
fn a_killed_agent_leaves_a_silent_node_and_its_successor_adopts_the_data_plane() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        let answered = counter(&cluster.nodes[0], "arp_reply")?;
        let link = pinned_link(&cluster.nodes[0])?;
        let silence = Silence::begin(&cluster)?;
        cluster.nodes[0].kill()?;
        silence.end(&cluster)?;
        let host = cluster.nodes[0].host.clone();
        assert_eq!(on_lo(&host, &cluster.vips())?, cluster.vips());
        assert!(xdp_program(&host, "eth0")?.is_some(), "it stays attached");

        let restart = Capture::at_port_of(&cluster.client, "arp or icmp6")?;
        cluster.nodes[0].start()?;
        cluster.nodes[0].wait_for_state("web", "backup", PATIENCE)?;
        std::thread::sleep(Duration::from_millis(300));
        let announced = spoken(&restart.stop()?, &cluster.nodes[0], &cluster.vips());
        assert_eq!(announced, 0, "frames of the restarted node for a VIP");
        wait_for_log(&host, &["adopted the data plane"])?;
        assert_eq!(
            pinned_link(&cluster.nodes[0])?,
            link,
            "the same pinned link"
        );
        assert!(
            counter(&cluster.nodes[0], "arp_reply")? > answered,
            "counters go on"
        );
        assert_eq!(counter(&cluster.nodes[1], "arp_conflict")?, 0);
        assert!(!log(&cluster.nodes[1].host)?.contains("two nodes were active"));
        assert_eq!(cluster.active(), [1]);
        cluster.assert_served_by(1)?;

        // And it can serve again.
        cluster.nodes[1].stop()?;
        cluster.settle(0)?;
        cluster.assert_served_by(0)
    });
}

#[test]
fn an_orderly_stop_hands_over_at_once_and_leaves_nothing() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        let start = clock::now_ns();
        let capture = Capture::at_port_of(&cluster.client, "arp or icmp6")?;
        assert!(cluster.nodes[0].stop()?.success());
        cluster.settle(1)?;
        let successor = instance(&cluster.nodes[1], "web")?;
        // Not by a timer: it was named, and heard of it.
        assert_eq!(successor["reason"], "successor");
        let host = &cluster.nodes[0].host;
        assert_eq!(on_lo(host, &cluster.vips())?, Vec::<IpAddr>::new());
        assert_eq!(xdp_program(host, "eth0")?, None);
        assert!(!cluster.nodes[0].config.pin_dir().exists(), "no pins");
        cluster.assert_served_by(1)?;
        let frames = capture.stop()?;
        assert!(frames.iter().all(|frame| frame.at_ns > start));
        let taken = first_from(&frames, &cluster.nodes[1], &cluster.vips())?;
        let late = frames.iter().filter(|frame| {
            frame.at_ns >= taken
                && frame.source() == cluster.nodes[0].mac()
                && speaks_for(frame, &cluster.vips()).is_some()
        });
        assert_eq!(late.count(), 0, "the one that left is silent");
        Ok(())
    });
}

#[test]
fn an_agent_told_to_leave_its_data_plane_leaves_it_silent_and_it_is_adopted() {
    scenario(|lab| {
        let mut cluster = Cluster::new(
            lab,
            2,
            |_, instance| instance.line("preempt = false"),
            |_, config| config.node_line("on_exit = \"stay\""),
        )?;
        cluster.nodes[0].start()?;
        cluster.settle(0)?;
        cluster.assert_served_by(0)?;
        let link = pinned_link(&cluster.nodes[0])?;
        let answered = counter(&cluster.nodes[0], "arp_reply")?;
        assert!(cluster.nodes[0].stop()?.success());
        let host = cluster.nodes[0].host.clone();
        assert_eq!(on_lo(&host, &cluster.vips())?, cluster.vips());
        assert!(xdp_program(&host, "eth0")?.is_some());
        // Nobody else runs: whoever answered now would be this node.
        cluster.client.forget_neighbours()?;
        assert_eq!(cluster.client.arping(cluster.v4(), 1)?, [[0; 6]; 0]);
        for vip in cluster.vips() {
            assert_eq!(cluster.client.ping(vip, 2)?, 0, "{vip}");
        }
        cluster.nodes[0].start()?;
        cluster.settle(0)?;
        assert_eq!(pinned_link(&cluster.nodes[0])?, link);
        wait_for_log(&host, &["adopted the data plane"])?;
        assert!(counter(&cluster.nodes[0], "arp_reply")? >= answered);
        cluster.assert_served_by(0)
    });
}

#[test]
fn a_vip_that_is_no_longer_configured_after_a_kill_is_gone() {
    scenario(|lab| {
        let mut cluster = changed_vips(lab)?;
        let (kept, removed) = (cluster.vips(), cluster.lan.v4(101));
        let host = cluster.nodes[0].host.clone();
        cluster.nodes[0].start()?;
        cluster.settle(0)?;
        assert_eq!(cluster.client.arping(removed, 1)?, [host.mac()]);
        cluster.nodes[0].kill()?;
        assert_eq!(on_lo(&host, &[removed.into()])?, [IpAddr::from(removed)]);

        let web = Instance::new("web", 51).priority(200);
        let web = kept.iter().fold(web, |web, vip| web.vip(*vip));
        cluster.nodes[0].config = lab::NodeConfig::new(&host)
            .peers(&[&cluster.nodes[1].host])
            .interval(INTERVAL)
            .instance(web);
        cluster.nodes[0].start()?;
        cluster.settle(0)?;
        assert_eq!(on_lo(&host, &[removed.into()])?, Vec::<IpAddr>::new());
        assert_eq!(on_lo(&host, &kept)?, kept);
        cluster.client.forget_neighbours()?;
        assert_eq!(cluster.client.arping(removed, 1)?, [[0; 6]; 0]);
        assert_eq!(cluster.client.ping(removed.into(), 1)?, 0);
        for vip in kept {
            assert_eq!(wait_for_http(&cluster.client, vip)?, "node-1");
        }
        Ok(())
    });
}

/// A cluster whose first node has one VIP more than usual.
fn changed_vips(lab: &Lab) -> Result<Cluster> {
    let more = |number, instance: Instance| {
        if number == 0 {
            instance.vip([10, 1, 0, 101])
        } else {
            instance
        }
    };
    Cluster::new(lab, 2, more, |_, config| config)
}

/// The pinned link of `eth0`: its path and inode.
fn pinned_link(node: &Node) -> Result<(PathBuf, u64)> {
    for version in std::fs::read_dir(node.config.pin_dir())? {
        for pin in std::fs::read_dir(version?.path())? {
            let pin = pin?;
            if pin.file_name().to_string_lossy().starts_with("link-eth0-") {
                return Ok((pin.path(), pin.metadata()?.ino()));
            }
        }
    }
    anyhow::bail!(
        "no link is pinned below {}",
        node.config.pin_dir().display()
    )
}

/// How many frames of a node speak for a VIP.
fn spoken(frames: &[Frame], node: &Node, vips: &[IpAddr]) -> usize {
    frames
        .iter()
        .filter(|frame| frame.source() == node.mac() && speaks_for(frame, vips).is_some())
        .count()
}

/// When a node first speaks for a VIP.
fn first_from(frames: &[Frame], node: &Node, vips: &[IpAddr]) -> Result<u64> {
    frames
        .iter()
        .find(|frame| frame.source() == node.mac() && speaks_for(frame, vips).is_some())
        .map(|frame| frame.at_ns)
        .with_context(|| format!("{} never speaks for a VIP", node.host.name()))
}

/// Asks for the VIPs all the time, sends packets to the first node whoever is Active, and records
/// what reaches the client: the first node's agent is about to stop working.
struct Silence {
    capture: Capture,
    /// Who has the VIPs?
    questions: Asker,
    /// Packets to a VIP in frames to the first node, which a client with an old neighbour entry sends.
    stray: Asker,
}

impl Silence {
    fn begin(cluster: &Cluster) -> Result<Self> {
        cluster.assert_served_by(0)?;
        let sender = Sender::of(&cluster.client);
        let [v4, v6] = cluster.vips();
        let IpAddr::V6(target) = v6 else {
            anyhow::bail!("the second VIP is IPv6");
        };
        let questions = vec![
            sender.arp_request(cluster.v4(), &[]),
            sender.solicitation(target),
        ];
        let old = cluster.nodes[0].mac();
        let stray = vec![
            sender.udp(old, v4, 7, 64, b"stray"),
            sender.udp(old, v6, 7, 64, b"stray"),
        ];
        let silence = Self {
            capture: Capture::at_port_of(&cluster.client, "")?,
            questions: Asker::start(&cluster.client, questions, TICK)?,
            stray: Asker::start(&cluster.client, stray, TICK)?,
        };
        wait_until("some answers", PATIENCE, || {
            (silence.questions.rounds() > 50)
                .then_some(())
                .ok_or_else(|| silence.questions.rounds().to_string())
        })?;
        Ok(silence)
    }

    /// Call it right after the first node's agent has stopped working. Returns how many frames spoke
    /// for a VIP, and how many packets were sent to the silent node afterwards.
    fn end(self, cluster: &Cluster) -> Result<(usize, usize)> {
        let stopped = clock::now_ns();
        cluster.nodes[1].wait_for_state("web", "active", PATIENCE)?;
        std::thread::sleep(Duration::from_nanos(LEASE_NS));
        let rounds = self.stray.rounds();
        // The proof: a second of questions after the lease has ended.
        std::thread::sleep(Duration::from_secs(1));
        let unheard = 2 * (self.stray.rounds() - rounds);
        assert!(unheard > 100, "{unheard} stray packets");
        drop((self.questions, self.stray));
        let frames = self.capture.stop()?;
        let (old, new) = (&cluster.nodes[0], &cluster.nodes[1]);
        let vips = cluster.vips();
        let speaking: Vec<&Frame> = frames
            .iter()
            .filter(|frame| speaks_for(frame, &vips).is_some())
            .collect();
        let last = |what: &str, is: &dyn Fn(&Frame) -> bool| -> Result<u64> {
            speaking
                .iter()
                .rfind(|frame| frame.source() == old.mac() && is(frame))
                .map(|frame| frame.at_ns)
                .with_context(|| format!("{what} of the old node were never seen"))
        };
        // It did all of this up to then, so that the silence means something.
        let ends = [
            last("ARP replies", &|frame| {
                matches!(read(frame), Seen::Arp { .. })
            })?,
            last("advertisements", &|frame| {
                matches!(read(frame), Seen::Advertisement { .. })
            })?,
            last("packets from a VIP", &|frame| {
                matches!(read(frame), Seen::Packet { .. })
            })?,
        ];
        let first = first_from(&frames, new, &vips)?;
        for end in ends {
            assert!(
                end < first,
                "the old node spoke {} us after its successor began",
                (end - first) / 1000
            );
            assert!(
                end < stopped + LEASE_NS,
                "the old node spoke {} us after it was stopped",
                (end - stopped) / 1000
            );
        }
        let others = speaking
            .iter()
            .filter(|frame| ![old.mac(), new.mac()].contains(&frame.source()));
        assert_eq!(others.count(), 0, "somebody else speaks for a VIP");
        assert!(spoken(&frames, new, &vips) > 100, "the successor answers");
        assert_eq!(on_lo_everywhere(cluster)?, 4, "VIPs stay on lo of both");
        Ok((speaking.len(), unheard))
    }
}

/// How many VIPs are on all the `lo` together.
fn on_lo_everywhere(cluster: &Cluster) -> Result<usize> {
    let hosts: Vec<&Host> = cluster.nodes.iter().map(|node| &node.host).collect();
    hosts
        .iter()
        .map(|host| Ok(on_lo(host, &cluster.vips())?.len()))
        .sum()
}
