//! What the lab does to a node happens to the real agent.

use std::net::IpAddr;
use std::time::Duration;

use lab::{Instance, Node, NodeConfig, Probe, Responder, clock, scenario};

/// How long an agent may take to do anything that is not measured.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn an_agent_can_be_started_asked_killed_frozen_and_stopped() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let client = lab.client("client", &[&lan])?;
        let (a, b) = (lab.host("node-a", &[&lan])?, lab.host("node-b", &[&lan])?);
        let vip: IpAddr = lan.v4(100).into();
        let config = |host, peer, priority| {
            NodeConfig::new(host)
                .peers(&[peer])
                .interval(Duration::from_millis(20))
                .instance(
                    Instance::new("web", 1)
                        .priority(priority)
                        .vip(vip)
                        .vip(lan.v6(100)),
                )
        };
        let mut first = Node::new(&a, config(&a, &b, 200))?;
        let mut second = Node::new(&b, config(&b, &a, 100))?;
        let _echo_a = Responder::start(&a, "node-a", &[vip])?;
        let _echo_b = Responder::start(&b, "node-b", &[vip])?;
        first.start()?;
        second.start()?;
        first.wait_for_state("web", "active", PATIENCE)?;
        second.wait_for_state("web", "backup", PATIENCE)?;
        assert_eq!(first.status()?["node"], "node-a");
        assert_eq!(first.status()?["pid"], first.pid()?);
        assert_eq!(client.arping(lan.v4(100), 1)?, [first.mac()]);
        assert!(
            std::fs::read_dir(first.config.pin_dir())?.next().is_some(),
            "it pins there"
        );

        let probe = Probe::start(&client, vip, Duration::from_millis(1))?;
        probe.wait_for_answer(PATIENCE)?;
        let crash = clock::now_ns();
        first.crash()?;
        assert!(first.status().is_err(), "a dead agent does not answer");
        second.wait_for_state("web", "active", PATIENCE)?;
        probe.wait_for_answer(PATIENCE)?;
        let report = probe.report(crash, clock::now_ns());
        assert_eq!(
            (report.before.as_deref(), report.after.as_deref()),
            (Some("node-a"), Some("node-b"))
        );

        a.plug()?;
        first.start()?;
        first.wait_for_state("web", "active", PATIENCE)?;
        second.wait_for_state("web", "backup", PATIENCE)?;
        first.freeze()?;
        second.wait_for_state("web", "active", PATIENCE)?;
        first.thaw()?;
        first.wait_for_state("web", "active", PATIENCE)?;

        assert!(first.stop()?.success(), "an orderly end");
        second.wait_for_state("web", "active", PATIENCE)?;
        assert!(second.stop()?.success(), "an orderly end");
        assert_eq!(client.arping(lan.v4(100), 1)?, Vec::<[u8; 6]>::new());
        Ok(())
    });
}
