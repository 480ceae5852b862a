//! The agent is stopped, killed and started again under traffic.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use lab::{NodeConfig, clock, scenario};
use serde_json::json;

use crate::support::{INTERVAL, PATIENCE, on_lo, wait_for_field, wait_for_log};
use crate::traffic::{
    TICK, Traffic, assert_nobody_took_over, identity, upgradable, upgradable_pair,
};

#[test]
fn an_agent_told_to_keep_its_data_plane_can_be_restarted_without_loss() {
    scenario(|lab| {
        let mut cluster = upgradable(lab, |_, config| config.node_line("on_exit = \"keep\""))?;
        let traffic = Traffic::start(&cluster)?;
        let before = identity(&cluster.nodes[0])?;
        let start = clock::now_ns();
        for _ in 0..3 {
            assert!(cluster.nodes[0].stop()?.success());
            assert_eq!(
                on_lo(&cluster.nodes[0].host, &cluster.vips())?,
                cluster.vips()
            );
            std::thread::sleep(Duration::from_millis(700));
            cluster.nodes[0].start()?;
            cluster.nodes[0].wait_for_state("web", "active", PATIENCE)?;
        }
        std::thread::sleep(INTERVAL * 5);
        traffic.assert_untouched(start, "node-1");
        assert_eq!(identity(&cluster.nodes[0])?, before);
        assert_nobody_took_over(&cluster)?;
        cluster.assert_served_by(0)
    });
}

#[test]
fn an_agent_that_keeps_and_does_not_come_back_loses_its_vips_by_itself() {
    scenario(|lab| {
        let mut cluster = upgradable(lab, |_, config| {
            config
                .node_line("on_exit = \"keep\"")
                .node_line("restart_grace = \"500ms\"")
        })?;
        let traffic = Traffic::start(&cluster)?;
        let start = clock::now_ns();
        assert!(cluster.nodes[0].stop()?.success());
        cluster.settle(1)?;
        traffic.is_answered()?;
        for report in traffic.since(start) {
            let names: Vec<&str> = report.changes.iter().map(|(_, name)| &**name).collect();
            assert_eq!(names, ["node-1", "node-2"], "{report}");
            let [_, (taken, _)] = &report.changes[..] else {
                anyhow::bail!("two servers: {report}");
            };
            assert!(
                *taken >= start + 450_000_000,
                "not within its grace: {report}"
            );
        }
        cluster.assert_served_by(1)
    });
}

#[test]
fn an_agent_killed_and_started_at_once_loses_nothing() {
    scenario(|lab| {
        // Some 40 ms pass until the next agent's first advert: less than any lease has left at the
        // usual interval. But on a busy machine a process may take ten times as long to end and to start.
        let slower = |_, config: NodeConfig| config.interval(INTERVAL * 10);
        let mut cluster = upgradable(lab, slower)?;
        let traffic = Traffic::start(&cluster)?;
        let before = identity(&cluster.nodes[0])?;
        let start = clock::now_ns();
        for _ in 0..5 {
            cluster.nodes[0].kill()?;
            cluster.nodes[0].start()?;
            wait_for_field(&cluster.nodes[0], "web", "reason", &json!("resumed"))?;
            std::thread::sleep(INTERVAL * 11);
        }
        traffic.assert_untouched(start, "node-1");
        assert_eq!(identity(&cluster.nodes[0])?, before);
        assert_nobody_took_over(&cluster)
    });
}

#[test]
fn what_an_agent_of_another_version_left_is_replaced() {
    scenario(|lab| {
        let mut cluster = upgradable(lab, |_, config| config.node_line("on_exit = \"stay\""))?;
        let host = cluster.nodes[0].host.clone();
        assert!(cluster.nodes[0].stop()?.success());
        cluster.settle(1)?;
        let pins = cluster.nodes[0].config.pin_dir().to_owned();
        let version = fs::read_dir(&pins)?.next().context("a version")??.path();
        fs::rename(&version, pins.join("v9999"))?;
        cluster.nodes[0].start()?;
        wait_for_log(
            &host,
            &["removing the data plane of another vip-agent version"],
        )?;
        assert!(!pins.join("v9999").exists() && version.exists());
        cluster.nodes[1].kill()?;
        cluster.settle(0)?;
        cluster.assert_served_by(0)
    });
}

#[test]
fn a_lease_that_has_ended_is_not_gone_on_with() {
    scenario(|lab| {
        let mut cluster = upgradable_pair(lab)?;
        let incarnation = cluster.nodes[0].status()?["incarnation"].clone();
        cluster.nodes[0].kill()?;
        cluster.settle(1)?;
        cluster.nodes[0].start()?;
        cluster.settle(1)?;
        let status = cluster.nodes[0].status()?;
        assert_eq!(status["resumed"], json!(false));
        assert_ne!(status["incarnation"], incarnation);
        wait_for_log(&cluster.nodes[0].host, &["its lease has ended"])?;
        cluster.assert_served_by(1)
    });
}

#[test]
fn an_orderly_stop_under_traffic_loses_nothing() {
    scenario(|lab| {
        let mut cluster = upgradable_pair(lab)?;
        let traffic = Traffic::start(&cluster)?;
        let host = cluster.nodes[0].host.clone();
        let start = clock::now_ns();
        assert!(cluster.nodes[0].stop()?.success());
        assert_eq!(on_lo(&host, &cluster.vips())?, [] as [std::net::IpAddr; 0]);
        cluster.settle(1)?;
        std::thread::sleep(INTERVAL * 5);
        traffic.assert_lossless(start);
        wait_for_log(&host, &["the data plane is detached"])?;
        cluster.assert_served_by(1)
    });
}

#[test]
fn a_second_signal_stops_at_once_and_one_to_reload_does_no_harm() {
    scenario(|lab| {
        let mut cluster = upgradable(lab, |_, config| config.node_line("drain = \"10s\""))?;
        let host = cluster.nodes[0].host.clone();
        // Neighbours that never learn: what they send is forwarded for as long as it is allowed.
        let sender = crate::frames::Sender::of(&cluster.client);
        let stray = vec![sender.udp(host.mac(), cluster.vips()[0], 7, 64, b"stray")];
        let _stray = crate::frames::Asker::start(&cluster.client, stray, TICK * 10)?;
        cluster.nodes[0].terminate()?;
        cluster.settle(1)?;
        wait_for_log(&host, &["what neighbours still send here is forwarded"])?;
        cluster.nodes[0].hang_up()?;
        wait_for_log(&host, &["nothing is reloaded while"])?;
        cluster.nodes[0].terminate()?;
        let status = cluster.nodes[0].wait_for_exit(Duration::from_secs(3))?;
        assert!(status.success());
        wait_for_log(&host, &["stopping at once"])?;
        assert_eq!(on_lo(&host, &cluster.vips())?, [] as [std::net::IpAddr; 0]);
        Ok(())
    });
}
