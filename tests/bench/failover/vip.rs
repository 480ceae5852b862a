//! VIP: two nodes in a cluster, or two backends behind one.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use lab::cluster::{Cluster, PATIENCE, Plan};
use lab::{Client, Lab, wait_until};

use super::Fault;
use super::measure::Pair;

/// Two nodes; the VIP is served by themselves.
pub(super) struct Nodes {
    pub(super) cluster: Cluster,
    interval: Duration,
    /// Last, so that it goes last.
    lab: Lab,
}

/// Two nodes; the VIP is served by the first healthy backend.
struct Backends(Nodes);

/// A pair of nodes.
pub(super) fn local(plan: &Plan) -> Result<Box<dyn Pair>> {
    Ok(Box::new(Nodes::start(plan)?))
}

/// A pair of backends.
pub(super) fn behind(plan: &Plan) -> Result<Box<dyn Pair>> {
    Ok(Box::new(Backends(Nodes::start(plan)?)))
}

impl Nodes {
    /// Starts a cluster in a lab of its own.
    pub(super) fn start(plan: &Plan) -> Result<Self> {
        let lab = Lab::new()?;
        let cluster = match Cluster::start(&lab, plan) {
            Ok(cluster) => cluster,
            Err(error) => return Err(error.context(lab.logs())),
        };
        let nodes = Self {
            cluster,
            interval: plan.interval,
            lab,
        };
        nodes.cluster.wait_until_heard()?;
        nodes.wait_until_followed();
        Ok(nodes)
    }

    /// Until a Backup follows the Active node with its probes: it needs some adverts for that.
    fn wait_until_followed(&self) {
        std::thread::sleep(2 * self.interval + Duration::from_millis(50));
    }

    /// Waits until one node is Active and the other Backup, whoever it is.
    fn wait_until_settled(&self) -> Result<()> {
        wait_until("one Active and one Backup", PATIENCE, || {
            let states = [0, 1].map(|number| {
                let node = &self.cluster.nodes[number].node;
                node.state("web")
                    .unwrap_or_else(|error| format!("{error:#}"))
            });
            match states.each_ref().map(String::as_str) {
                ["active", "backup"] | ["backup", "active"] => Ok(()),
                _ => Err(states.join(", ")),
            }
        })
    }
}

impl Pair for Nodes {
    fn client(&self) -> &Client {
        &self.cluster.client
    }

    fn vip(&self) -> IpAddr {
        self.cluster.web[0]
    }

    fn names(&self) -> [String; 2] {
        self.cluster
            .nodes
            .each_ref()
            .map(|node| node.answers_as.clone())
    }

    fn cause(&mut self, fault: Fault, to: usize) -> Result<()> {
        let node = &mut self.cluster.nodes[to].node;
        match fault {
            Fault::Crash => {
                // Nobody's carrier goes: there is a switch in between.
                node.host.isolate()?;
                node.kill()
            }
            Fault::Kill => node.kill(),
            Fault::Hang => node.freeze(),
            Fault::Stop => node.stop().map(drop),
            Fault::Switchover => node.switchover("web").map(drop),
            Fault::Restart => {
                node.kill()?;
                node.start()
            }
            Fault::Reload => node.reload().map(drop),
            Fault::Backend => bail!("there are no backends here"),
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn settle(&self, fault: Fault) -> Duration {
        match fault {
            // The lease from before must have been renewed, or have run out.
            Fault::Restart => 4 * self.interval,
            // And the agent that says so is about to be replaced.
            Fault::Reload => 4 * self.interval + Duration::from_millis(400),
            Fault::Crash
            | Fault::Kill
            | Fault::Hang
            | Fault::Stop
            | Fault::Switchover
            | Fault::Backend => Duration::from_millis(50),
        }
    }

    fn repair(&mut self, fault: Fault, to: usize) -> Result<()> {
        let lease = 4 * self.interval;
        let node = &mut self.cluster.nodes[to].node;
        match fault {
            Fault::Crash => {
                // A machine that comes up again has no lease from before.
                std::thread::sleep(lease);
                node.host.heal()?;
                node.start()?;
            }
            Fault::Kill | Fault::Stop => node.start()?,
            Fault::Hang => node.thaw()?,
            Fault::Switchover | Fault::Restart | Fault::Reload | Fault::Backend => {}
        }
        self.cluster.wait_until_heard()?;
        self.wait_until_settled()?;
        self.wait_until_followed();
        Ok(())
    }

    fn logs(&self) -> String {
        self.lab.logs()
    }
}

impl Pair for Backends {
    fn client(&self) -> &Client {
        self.0.client()
    }

    fn vip(&self) -> IpAddr {
        self.0.cluster.lb[0]
    }

    fn names(&self) -> [String; 2] {
        let name = |number: usize| self.0.cluster.backends[number].host.name().to_owned();
        [name(0), name(1)]
    }

    fn cause(&mut self, fault: Fault, to: usize) -> Result<()> {
        ensure!(
            fault == Fault::Backend,
            "{fault:?} does not happen to backends"
        );
        self.0.cluster.backends[to].host.isolate()
    }

    fn patience(&self) -> Duration {
        self.0.patience()
    }

    fn settle(&self, fault: Fault) -> Duration {
        self.0.settle(fault)
    }

    fn repair(&mut self, _fault: Fault, to: usize) -> Result<()> {
        self.0.cluster.backends[to].host.heal()?;
        // The first healthy one gets the packets again.
        let first = self.names()[0].clone();
        self.0.cluster.wait_for_backend(&first)
    }

    fn logs(&self) -> String {
        self.0.logs()
    }
}
