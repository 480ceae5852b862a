//! What the tests of the agent share: clusters of nodes that serve, and questions to them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::{
    Client, Host, HttpServer, Instance, Lab, Network, Node, NodeConfig, Responder, wait_until,
};
use serde_json::Value;

/// How long anything may take that is not measured: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// Time between adverts, where a test does not choose its own: short, and yet long enough that a stall
/// of a busy machine ends no lease.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// Host number of the VIPs: 10.N.0.100 and fd00:N::100.
pub(crate) const VIP: u8 = 100;

/// Nodes on one network with a `local` instance `web`; each serves the VIPs under its own name.
/// `node-1` is the best (priority 200, then 199 …).
pub(crate) struct Cluster {
    /// The network.
    pub(crate) lan: Network,
    /// Who asks.
    pub(crate) client: Client,
    /// The nodes, the best first.
    pub(crate) nodes: Vec<Node>,
    /// Their HTTP and UDP echo servers.
    servers: Vec<(HttpServer, Responder)>,
}

impl Cluster {
    /// Builds it; no agent runs yet. `instance` and `config` adapt what each node is configured with;
    /// the nodes' numbers count from 0.
    pub(crate) fn new(
        lab: &Lab,
        count: usize,
        instance: impl Fn(usize, Instance) -> Instance,
        config: impl Fn(usize, NodeConfig) -> NodeConfig,
    ) -> Result<Self> {
        let lan = lab.network("lan")?;
        let client = lab.client("client", &[&lan])?;
        let hosts = (1..=count)
            .map(|number| lab.host(&format!("node-{number}"), &[&lan]))
            .collect::<Result<Vec<Host>>>()?;
        let mut cluster = Self {
            lan,
            client,
            nodes: Vec::new(),
            servers: Vec::new(),
        };
        let vips = cluster.vips();
        for (number, host) in hosts.iter().enumerate() {
            let peers: Vec<&Host> = hosts
                .iter()
                .filter(|other| other.name() != host.name())
                .collect();
            let web = Instance::new("web", 51)
                .priority(u8::try_from(200 - number)?)
                .vip(vips[0])
                .vip(vips[1]);
            let base = NodeConfig::new(host).peers(&peers).interval(INTERVAL);
            let config = config(number, base.instance(instance(number, web)));
            cluster.nodes.push(Node::new(host, config)?);
            cluster.servers.push((
                HttpServer::start(host, host.name(), 80)?,
                Responder::start(host, host.name(), &vips)?,
            ));
        }
        Ok(cluster)
    }

    /// As [`Self::new`], and all agents run, the first node Active.
    pub(crate) fn running(
        lab: &Lab,
        count: usize,
        instance: impl Fn(usize, Instance) -> Instance,
        config: impl Fn(usize, NodeConfig) -> NodeConfig,
    ) -> Result<Self> {
        let mut cluster = Self::new(lab, count, instance, config)?;
        for node in &mut cluster.nodes {
            node.start()?;
        }
        cluster.settle(0)?;
        Ok(cluster)
    }

    /// Two nodes that run as configured by default, but never preempt.
    pub(crate) fn pair(lab: &Lab) -> Result<Self> {
        let stay = |_, instance: Instance| instance.line("preempt = false");
        let mut cluster = Self::new(lab, 2, stay, |_, config| config)?;
        for number in 0..2 {
            cluster.nodes[number].start()?;
            cluster.nodes[0].wait_for_state("web", "active", PATIENCE)?;
        }
        cluster.settle(0)?;
        Ok(cluster)
    }

    /// The IPv4 and the IPv6 VIP.
    pub(crate) fn vips(&self) -> [IpAddr; 2] {
        [self.v4().into(), self.lan.v6(VIP).into()]
    }

    /// The IPv4 VIP.
    pub(crate) fn v4(&self) -> Ipv4Addr {
        self.lan.v4(VIP)
    }

    /// Waits until this node is Active, and all others whose agents answer are Backup.
    pub(crate) fn settle(&self, active: usize) -> Result<()> {
        self.nodes[active].wait_for_state("web", "active", PATIENCE)?;
        for (number, node) in self.nodes.iter().enumerate() {
            if number != active && node.status().is_ok() {
                node.wait_for_state("web", "backup", PATIENCE)?;
            }
        }
        Ok(())
    }

    /// Both VIPs are served by this node, by all means a client has, and it knows the node's MAC.
    pub(crate) fn assert_served_by(&self, number: usize) -> Result<()> {
        let node = &self.nodes[number];
        for vip in self.vips() {
            let name = wait_for_http(&self.client, vip)?;
            assert_eq!(name, node.host.name(), "who answers HTTP at {vip}");
            wait_until(
                &format!("all pings of {vip} to be answered"),
                PATIENCE,
                || match self.client.ping(vip, 3) {
                    Ok(3) => Ok(()),
                    other => Err(format!("{other:?}")),
                },
            )?;
            assert_eq!(
                self.client.neighbour(vip)?,
                Some(node.mac()),
                "the client's neighbour entry of {vip}"
            );
        }
        assert_eq!(self.client.arping(self.v4(), 1)?, [node.mac()]);
        Ok(())
    }

    /// Numbers of the nodes that say they are Active.
    pub(crate) fn active(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|number| {
                self.nodes[*number]
                    .state("web")
                    .is_ok_and(|state| state == "active")
            })
            .collect()
    }
}

/// Waits until HTTP is answered at a VIP, and returns by whom.
pub(crate) fn wait_for_http(client: &Client, vip: IpAddr) -> Result<String> {
    wait_until(&format!("HTTP to be answered at {vip}"), PATIENCE, || {
        client.curl(vip).map_err(|error| format!("{error:#}"))
    })
}

/// Waits until HTTP at a VIP is answered by this server.
pub(crate) fn wait_for_server(client: &Client, vip: IpAddr, name: &str) -> Result<()> {
    wait_until(
        &format!("{name} to answer at {vip}"),
        PATIENCE,
        || match client.curl(vip) {
            Ok(answer) if answer == name => Ok(()),
            Ok(answer) => Err(answer),
            Err(error) => Err(format!("{error:#}")),
        },
    )
}

/// What `status` says of an instance.
pub(crate) fn instance(node: &Node, name: &str) -> Result<Value> {
    let status = node.status()?;
    status["instances"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|candidate| candidate["name"] == name)
        .cloned()
        .with_context(|| format!("no instance {name} in {status}"))
}

/// A data-plane counter.
pub(crate) fn counter(node: &Node, name: &str) -> Result<u64> {
    number(&node.status()?["counters"], name)
}

/// A counter of the advert protocol.
pub(crate) fn protocol(node: &Node, name: &str) -> Result<u64> {
    number(&node.status()?["protocol"], name)
}

fn number(counters: &Value, name: &str) -> Result<u64> {
    counters[name]
        .as_u64()
        .with_context(|| format!("no counter {name} in {counters}"))
}

/// Waits until a field of an instance has a value.
pub(crate) fn wait_for_field(node: &Node, name: &str, field: &str, value: &Value) -> Result<()> {
    let what = format!("{field} of {name} to be {value} on {}", node.host.name());
    wait_until(&what, PATIENCE, || match instance(node, name) {
        Ok(status) if status[field] == *value => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(format!("{error:#}")),
    })
}

/// All the agent on this host has logged.
pub(crate) fn log(host: &Host) -> Result<String> {
    let path = host.file("agent.log");
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// Waits until the agent on this host has logged a line with all of these words in it.
pub(crate) fn wait_for_log(host: &Host, words: &[&str]) -> Result<String> {
    let what = format!("a log line with {words:?} on {}", host.name());
    wait_until(&what, PATIENCE, || {
        let text = log(host).map_err(|error| format!("{error:#}"))?;
        text.lines()
            .find(|line| words.iter().all(|word| line.contains(word)))
            .map(ToOwned::to_owned)
            .ok_or_else(|| lab::process::tail(&host.file("agent.log"), 10))
    })
}

/// The VIPs that are on a host's `lo`.
pub(crate) fn on_lo(host: &Host, vips: &[IpAddr]) -> Result<Vec<IpAddr>> {
    let text = host.namespace().ip("-o addr show dev lo")?;
    let is_there = |vip: &IpAddr| {
        let length = if vip.is_ipv4() { 32 } else { 128 };
        text.contains(&format!(" {vip}/{length} "))
    };
    Ok(vips.iter().copied().filter(is_there).collect())
}

/// Kernel's number of the XDP program on an interface, if there is one.
pub(crate) fn xdp_program(host: &Host, interface: &str) -> Result<Option<String>> {
    let link = host.namespace().ip(&format!("-d link show {interface}"))?;
    Ok(link
        .split_once("prog/xdp id ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .map(ToOwned::to_owned))
}

/// A MAC address as the agent and `ip` write it.
pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The lab's cluster with its backends, the first of which serves `lb`.
pub(crate) fn with_backends(lab: &Lab) -> Result<lab::cluster::Cluster> {
    let plan = lab::cluster::Plan {
        interval: INTERVAL,
        ..lab::cluster::Plan::default()
    };
    let cluster = lab::cluster::Cluster::start(lab, &plan)?;
    cluster.wait_for_backend("backend-1")?;
    Ok(cluster)
}
