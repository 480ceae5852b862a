//! `vip-agent reload` and SIGHUP under traffic: another configuration or another program, and nothing
//! is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::{Instance, Node, NodeConfig, clock, scenario, wait_until};
use serde_json::json;

use crate::support::{
    Cluster, INTERVAL, PATIENCE, VIP, counter, instance, log, on_lo, wait_for_field, wait_for_log,
};
use crate::traffic::{Traffic, assert_nobody_took_over, identity, upgradable, upgradable_pair};

/// Runs `vip-agent reload` on a node.
fn reload(node: &Node, further: &[&str]) -> Result<Output> {
    let socket = node.config.socket();
    let socket = socket.to_str().context("a path in UTF-8")?;
    node.command(&[&["reload", "--socket", socket], further].concat())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts that a reload succeeded, and returns what it said.
fn reloaded(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Puts a shell script in place of a node's program, as an upgrade does: by a rename.
fn replace_program(node: &Node, script: &str) -> Result<PathBuf> {
    let program = node.program.clone().context("a program of its own")?;
    let new = program.with_extension("new");
    fs::write(&new, script)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    fs::rename(&new, &program)?;
    Ok(program)
}

/// The configuration of the first node with one more VIP.
fn with_another_vip(cluster: &mut Cluster, number: usize, host: u8) -> Result<std::net::IpAddr> {
    let vip = cluster.lan.v4(host).into();
    let text = cluster.nodes[number].config.text();
    let [v4, v6] = cluster.vips();
    let before = format!("[\"{v4}\", \"{v6}\"]");
    ensure!(text.contains(&before), "{before} in {text}");
    let text = text.replace(&before, &format!("[\"{v4}\", \"{v6}\", \"{vip}\"]"));
    fs::write(cluster.nodes[number].config.path(), text)?;
    Ok(vip)
}

#[test]
fn a_reload_applies_the_configuration_and_loses_nothing() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        cluster.assert_served_by(0)?;
        let traffic = Traffic::start(&cluster)?;
        let pid = cluster.nodes[0].pid()?;
        let (before, answered) = (
            identity(&cluster.nodes[0])?,
            counter(&cluster.nodes[0], "arp_reply")?,
        );
        let vip = with_another_vip(&mut cluster, 0, VIP + 1)?;
        let start = clock::now_ns();
        let said = reloaded(&reload(&cluster.nodes[0], &[])?);
        assert!(said.contains("went on with the data plane"), "{said}");
        assert!(said.contains(&format!("pid {pid}")), "{said}");
        std::thread::sleep(INTERVAL * 10);
        traffic.assert_untouched(start, "node-1");

        let node = &cluster.nodes[0];
        assert_eq!(identity(node)?, before, "the same claim goes on");
        let status = node.status()?;
        assert_eq!(status["resumed"], json!(true));
        assert_eq!(status["pid"], json!(pid));
        assert_eq!(instance(node, "web")?["reason"], "resumed");
        assert!(counter(node, "arp_reply")? >= answered, "counters are kept");
        assert_eq!(on_lo(&node.host, &[vip])?, [vip]);
        assert_eq!(
            cluster.client.arping(cluster.lan.v4(VIP + 1), 1)?,
            [node.mac()]
        );
        assert_eq!(cluster.client.ping(vip, 2)?, 2, "the new VIP is served");
        assert_nobody_took_over(&cluster)
    });
}

#[test]
fn many_reloads_by_signal_lose_nothing() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        cluster.assert_served_by(0)?;
        let traffic = Traffic::start(&cluster)?;
        let before = identity(&cluster.nodes[0])?;
        let start = clock::now_ns();
        for round in 1..=5 {
            // More of them do no harm: while one is being done the others wait or are refused.
            for _ in 0..3 {
                cluster.nodes[0].hang_up()?;
            }
            let host = &cluster.nodes[0].host;
            wait_until("another reload", PATIENCE, || {
                let log = log(host).map_err(|error| format!("{error:#}"))?;
                match log.matches("going on with the data plane").count() {
                    count if count >= round => Ok(()),
                    count => Err(count.to_string()),
                }
            })?;
            cluster.nodes[0].wait_for_state("web", "active", PATIENCE)?;
        }
        std::thread::sleep(INTERVAL * 5);
        traffic.assert_untouched(start, "node-1");
        assert_eq!(identity(&cluster.nodes[0])?, before);
        assert_nobody_took_over(&cluster)
    });
}

#[test]
fn a_reload_with_a_bad_configuration_is_refused_and_changes_nothing() {
    scenario(|lab| {
        let mut cluster = Cluster::pair(lab)?;
        cluster.assert_served_by(0)?;
        let traffic = Traffic::start(&cluster)?;
        let pid = cluster.nodes[0].pid()?;
        let uptime = |node: &Node| -> Result<u64> {
            node.status()?["uptime_ms"].as_u64().context("an uptime")
        };
        let before = uptime(&cluster.nodes[0])?;
        let good = cluster.nodes[0].config.text();
        let path = cluster.nodes[0].config.path().to_owned();
        let start = clock::now_ns();
        for (from, to, reason) in [
            ("priority = 200", "priority = 300", "priority"),
            ("interface = \"eth0\"", "interface = \"eth7\"", "eth7"),
            ("[node]", "[nod]", "nod"),
        ] {
            ensure!(good.contains(from), "{from} in {good}");
            fs::write(&path, good.replace(from, to))?;
            let output = reload(&cluster.nodes[0], &[])?;
            assert_eq!(output.status.code(), Some(12), "{}", stderr(&output));
            assert!(stderr(&output).contains(reason), "{}", stderr(&output));
            wait_for_log(&cluster.nodes[0].host, &["nothing is reloaded"])?;
        }
        let moved = good.replace("pin_dir = \"", "pin_dir = \"/sys/fs/bpf/other/");
        fs::write(&path, moved)?;
        let output = reload(&cluster.nodes[0], &["--force"])?;
        assert_eq!(output.status.code(), Some(12), "{}", stderr(&output));
        assert!(stderr(&output).contains("pin_dir"), "{}", stderr(&output));
        fs::write(&path, good)?;
        traffic.assert_untouched(start, "node-1");
        assert_eq!(cluster.nodes[0].pid()?, pid);
        assert!(uptime(&cluster.nodes[0])? > before, "it is the same agent");
        Ok(())
    });
}

#[test]
fn a_reload_keeps_steering_to_the_backend_that_serves() {
    scenario(|lab| {
        let cluster = crate::support::with_backends(lab)?;
        let watch = cluster.watch(cluster.lb)?;
        let seen = watch.step(INTERVAL * 10, || {
            reloaded(&reload(&cluster.nodes[0].node, &[])?);
            Ok(())
        })?;
        for report in [seen.v4, seen.v6] {
            assert!(report.sent > 100, "{report}");
            assert_eq!((report.lost, report.duplicates), (0, 0), "{report}");
            let by: Vec<&String> = report.answers.keys().collect();
            assert_eq!(by, ["backend-1"], "{report}");
        }
        // It is looked after as before.
        drop(watch);
        cluster.backends[0].host.unplug()?;
        cluster.wait_for_backend("backend-2")
    });
}

#[test]
fn instances_in_another_order_are_handed_over_first() {
    scenario(|lab| {
        let second = |_, config: NodeConfig| {
            let vip: std::net::IpAddr = [10, 1, 0, 140].into();
            let second = Instance::new("second", 52).priority(100).vip(vip);
            config.instance(second.line("preempt = false"))
        };
        let mut cluster = upgradable(lab, second)?;
        cluster.nodes[0].wait_for_state("second", "active", PATIENCE)?;
        let traffic = Traffic::start(&cluster)?;
        let text = cluster.nodes[0].config.text();
        let (head, web) = text.split_once("[[instance]]").context("an instance")?;
        let (web, second) = web.split_once("[[instance]]").context("another one")?;
        let swapped = format!("{head}[[instance]]{second}\n[[instance]]{web}");
        fs::write(cluster.nodes[0].config.path(), swapped)?;
        let start = clock::now_ns();
        let said = reloaded(&reload(&cluster.nodes[0], &[])?);
        assert!(said.contains("handing everything over first"), "{said}");
        assert!(said.contains("order"), "{said}");
        cluster.settle(1)?;
        std::thread::sleep(INTERVAL * 5);
        traffic.assert_lossless(start);
        cluster.nodes[1].kill()?;
        cluster.nodes[0].wait_for_state("web", "active", PATIENCE)?;
        cluster.assert_served_by(0)
    });
}

/// A script that answers `abi` with a version nobody has, and is the real agent in all else.
fn of_another_version() -> Result<String> {
    let real = lab::node::agent_program()?;
    let real = real.display();
    Ok(format!(
        "#!/bin/sh\ncase $1 in abi) echo 9999;; *) exec {real} \"$@\";; esac\n"
    ))
}

#[test]
fn a_program_with_another_data_plane_gets_it_after_a_hand_over() {
    scenario(|lab| {
        let mut cluster = upgradable_pair(lab)?;
        let traffic = Traffic::start(&cluster)?;
        let pid = cluster.nodes[0].pid()?;
        replace_program(&cluster.nodes[0], &of_another_version()?)?;
        let start = clock::now_ns();
        let said = reloaded(&reload(&cluster.nodes[0], &[])?);
        assert!(said.contains("9999"), "{said}");
        cluster.settle(1)?;
        std::thread::sleep(INTERVAL * 5);
        traffic.assert_lossless(start);
        assert_eq!(cluster.nodes[0].status()?["resumed"], json!(false));
        assert_eq!(cluster.nodes[0].pid()?, pid);
        cluster.assert_served_by(1)
    });
}

#[test]
fn without_a_successor_such_a_reload_is_refused_unless_forced() {
    scenario(|lab| {
        let mut cluster = upgradable_pair(lab)?;
        assert!(cluster.nodes[1].stop()?.success());
        replace_program(&cluster.nodes[0], &of_another_version()?)?;
        let traffic = Traffic::start(&cluster)?;
        let start = clock::now_ns();
        wait_until("the peer to be known as gone", PATIENCE, || {
            match reload(&cluster.nodes[0], &[]) {
                Ok(output) if output.status.code() == Some(12) => Ok(()),
                Ok(output) => Err(format!("{output:?}")),
                Err(error) => Err(format!("{error:#}")),
            }
        })?;
        let output = reload(&cluster.nodes[0], &[])?;
        assert!(stderr(&output).contains("--force"), "{}", stderr(&output));
        std::thread::sleep(INTERVAL * 2);
        traffic.assert_untouched(start, "node-1");
        reloaded(&reload(&cluster.nodes[0], &["--force"])?);
        cluster.nodes[0].wait_for_state("web", "active", PATIENCE)?;
        cluster.assert_served_by(0)
    });
}

#[test]
fn a_program_that_vanishes_after_the_check_leaves_the_data_plane_at_work() {
    scenario(|lab| {
        let mut cluster = upgradable_pair(lab)?;
        let traffic = Traffic::start(&cluster)?;
        let real = lab::node::agent_program()?;
        let real = real.display();
        let script =
            format!("#!/bin/sh\ncase $1 in check) rm -f \"$0\";; esac\nexec {real} \"$@\"\n");
        let program = replace_program(&cluster.nodes[0], &script)?;
        let start = clock::now_ns();
        cluster.nodes[0].hang_up()?;
        let status = cluster.nodes[0].wait_for_exit(PATIENCE)?;
        assert_eq!(status.code(), Some(13));
        wait_for_log(&cluster.nodes[0].host, &["could not be run in place"])?;
        assert!(!program.exists());
        // A supervisor starts what is there again.
        fs::copy(lab::node::agent_program()?, &program)?;
        cluster.nodes[0].start()?;
        wait_for_field(&cluster.nodes[0], "web", "reason", &json!("resumed"))?;
        traffic.assert_untouched(start, "node-1");
        Ok(())
    });
}

#[test]
fn a_signal_to_reload_while_it_starts_does_no_harm() {
    scenario(|lab| {
        let mut cluster = Cluster::new(lab, 2, |_, instance| instance, |_, config| config)?;
        cluster.nodes[0].launch()?;
        // The agent holds the signal back from the first line of its own on.
        let lock = cluster.nodes[0].config.socket().with_file_name("lock");
        wait_until("the agent to have begun", PATIENCE, || {
            lock.exists()
                .then_some(())
                .ok_or_else(|| "no lock".to_owned())
        })?;
        for _ in 0..40 {
            cluster.nodes[0].hang_up()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        cluster.settle(0)?;
        cluster.assert_served_by(0)
    });
}
