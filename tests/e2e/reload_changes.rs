//! What a reload changes besides the configuration the agent reads: what neighbours are told, and
//! which backends get the packets.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::{Capture, scenario};
use serde_json::json;

use crate::frames::{BROADCAST, Seen, read};
use crate::support::{Cluster, INTERVAL, VIP, instance, wait_for_field, wait_for_log};

/// Replaces a part of a configuration file.
fn edit(path: &std::path::Path, from: &str, to: &str) -> Result<()> {
    let text = fs::read_to_string(path)?;
    ensure!(text.contains(from), "{from} in {text}");
    Ok(fs::write(path, text.replace(from, to))?)
}

#[test]
fn a_reload_tells_the_neighbours_of_new_vips_and_goes_on_telling_them() {
    scenario(|lab| {
        let announce = "announce = { repeat = 1, refresh = \"1s\" }";
        let cluster = Cluster::running(
            lab,
            2,
            |_, instance| instance.line(announce),
            |_, config| config,
        )?;
        let node = &cluster.nodes[0];
        let new: IpAddr = cluster.lan.v4(VIP + 1).into();
        let old: IpAddr = cluster.v4().into();
        let quoted = format!("\"{old}\"");
        edit(node.config.path(), &quoted, &format!("{quoted}, \"{new}\""))?;
        let capture = Capture::at_port_of(&cluster.client, "arp")?;
        node.reload()?;
        std::thread::sleep(Duration::from_millis(2500));
        let frames = capture.stop()?;
        for vip in [old, new] {
            let announced = frames.iter().filter(|frame| {
                let from_node = frame.source() == node.mac() && frame.destination() == BROADCAST;
                from_node
                    && matches!(read(frame), Seen::Arp { request: true, sender, target }
                        if sender == target && IpAddr::from(sender) == vip)
            });
            let times = announced.count();
            assert!(times >= 3, "{vip} was announced {times} times");
        }
        assert_eq!(instance(node, "web")?["reason"], "resumed");
        Ok(())
    });
}

#[test]
fn a_reload_that_removes_a_dead_backend_leaves_the_packets_with_the_one_that_serves() {
    scenario(|lab| {
        let cluster = crate::support::with_backends(lab)?;
        cluster.backends[0].host.unplug()?;
        cluster.wait_for_backend("backend-2")?;
        let node = &cluster.nodes[0].node;
        // Checked so rarely that only what is carried over can serve meanwhile.
        edit(
            node.config.path(),
            "interval = \"25ms\"",
            "interval = \"2s\"",
        )?;
        let text = fs::read_to_string(node.config.path())?;
        let parts: Vec<&str> = text.split("\n[[instance.backend]]\n").collect();
        let [head, first, second] = parts[..] else {
            anyhow::bail!("two backends in {text}");
        };
        ensure!(first.contains("backend-1"), "{first}");
        let shorter = format!("{head}\n[[instance.backend]]\n{second}");
        let longer =
            format!("{head}\n[[instance.backend]]\n{first}\n[[instance.backend]]\n{second}");
        for text in [shorter, longer] {
            fs::write(node.config.path(), text)?;
            let watch = cluster.watch(cluster.lb)?;
            let seen = watch.step(INTERVAL * 10, || {
                node.reload()?;
                Ok(())
            })?;
            for report in [seen.v4, seen.v6] {
                assert!(report.sent > 100, "{report}");
                assert_eq!((report.lost, report.duplicates), (0, 0), "{report}");
                let by: Vec<&String> = report.answers.keys().collect();
                assert_eq!(by, ["backend-2"], "{report}");
            }
            let status = node.status()?;
            let backends = status["instances"].as_array().context("instances")?;
            let active: Vec<_> = backends
                .iter()
                .filter_map(|instance| instance["backends"].as_array())
                .flatten()
                .filter(|backend| backend["active"] == true)
                .map(|backend| backend["name"].clone())
                .collect();
            assert_eq!(active, ["backend-2"], "{status}");
        }
        Ok(())
    });
}

#[test]
fn a_reload_does_not_bring_back_what_an_operator_has_moved_away() {
    scenario(|lab| {
        let preempt = |_, instance: lab::Instance| instance.line("preempt = true");
        let cluster = Cluster::running(lab, 2, preempt, |_, config| config)?;
        cluster.nodes[0].switchover("web")?;
        cluster.settle(1)?;
        for _ in 0..2 {
            cluster.nodes[0].reload()?;
            std::thread::sleep(INTERVAL * 15);
            assert_eq!(cluster.nodes[0].state("web")?, "backup");
            assert_eq!(instance(&cluster.nodes[0], "web")?["held"], true);
        }
        cluster.assert_served_by(1)
    });
}

#[test]
fn a_signal_that_comes_too_early_is_not_lost() {
    scenario(|lab| {
        let mut cluster = crate::traffic::upgradable_pair(lab)?;
        let host = cluster.nodes[0].host.clone();
        let program = cluster.nodes[0].program.clone().context("its own")?;
        let real = program.with_extension("real");
        fs::rename(&program, &real)?;
        // Says no only some time after it has read the configuration.
        let slow = format!(
            "#!/bin/sh\n[ \"$1\" = run ] && exec '{0}' \"$@\"\n'{0}' \"$@\" || {{ sleep 1; exit 2; }}\n",
            real.display()
        );
        fs::write(&program, slow)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let path = cluster.nodes[0].config.path().to_owned();
        edit(&path, "priority = 200", "priority = 300")?;
        cluster.nodes[0].hang_up()?;
        wait_for_log(&host, &["asked to reload"])?;
        std::thread::sleep(Duration::from_millis(500));
        edit(&path, "priority = 300", "priority = 199")?;
        cluster.nodes[0].hang_up()?;
        wait_for_log(&host, &["nothing is reloaded"])?;
        wait_for_field(&cluster.nodes[0], "web", "priority", &json!(199))
    });
}
