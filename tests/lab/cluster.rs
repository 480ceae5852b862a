//! The cluster the demo shows and the benchmarks measure: a client, two nodes, two backends.
//!
//! ```text
//!                        lan (bridge)
//!   client ── node-1 ── node-2 ── backend-1 ── backend-2
//!             ECS 1     ECS 2
//! ```
//!
//! Instance `web` (`local`): an IPv4 and an IPv6 VIP served by the nodes themselves. Instance `lb`
//! (`l2`): an IPv4 and an IPv6 VIP that the Active node steers to the first healthy backend.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;

use crate::{
    Backend, BackendConfig, Client, Host, HttpServer, Instance, Lab, Network, Node, NodeConfig,
    Probe, Report, Responder, clock, wait_until,
};

/// How long the cluster may take to do anything that is not measured.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// What a [`Cluster`] is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Time between adverts.
    pub interval: Duration,
    /// Number of IPv4 VIPs of `web`, besides its IPv6 one; the first is probed.
    pub vips: u16,
    /// Whether `lb` and its backends exist.
    pub backends: bool,
    /// Time between checks of a backend.
    pub check_interval: Duration,
    /// Lines of `[liveness]`, e.g. `interval = "250us"`.
    pub liveness: &'static [&'static str],
    /// Whether the VIPs have the virtual router's MAC addresses instead of the interface's.
    pub virtual_mac: bool,
}

impl Default for Plan {
    /// 10 ms adverts, one VIP per family, backends checked every 25 ms.
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(10),
            vips: 1,
            backends: true,
            check_interval: Duration::from_millis(25),
            liveness: &[],
            virtual_mac: false,
        }
    }
}

impl Plan {
    /// An instance without VIPs that stays where it is.
    fn instance(&self, name: &str, vrid: u8, priority: u8) -> Instance {
        let instance = Instance::new(name, vrid)
            .priority(priority)
            .line("preempt = false");
        if self.virtual_mac {
            instance.line("mac = \"virtual\"")
        } else {
            instance
        }
    }
}

/// A node with what it serves.
#[derive(Debug)]
pub struct ServingNode {
    /// The agent and its host.
    pub node: Node,
    /// Name its servers answer with.
    pub answers_as: String,
    _http: HttpServer,
    _echo: Responder,
}

/// The cluster, running.
#[derive(Debug)]
pub struct Cluster {
    /// Who asks.
    pub client: Client,
    /// The nodes; the first is Active at the start.
    pub nodes: [ServingNode; 2],
    /// The backends in order of preference; empty without `lb`.
    pub backends: Vec<Backend>,
    /// The VIPs of `web` that are asked: IPv4, IPv6.
    pub web: [IpAddr; 2],
    /// The VIPs of `lb`: IPv4, IPv6.
    pub lb: [IpAddr; 2],
}

impl Cluster {
    /// Builds and starts it; `node-1` is Active for everything afterwards.
    ///
    /// # Errors
    /// If something does not start, with the end of its log.
    pub fn start(lab: &Lab, plan: &Plan) -> Result<Self> {
        let lan = lab.network("lan")?;
        let client = lab.client("client", &[&lan])?;
        let hosts = [lab.host("node-1", &[&lan])?, lab.host("node-2", &[&lan])?];
        let web = [lan.v4(100).into(), lan.v6(100).into()];
        let lb = [lan.v4(200).into(), lan.v6(200).into()];
        let backends = if plan.backends {
            vec![
                lab.backend("backend-1", &[&lan], &lb)?,
                lab.backend("backend-2", &[&lan], &lb)?,
            ]
        } else {
            Vec::new()
        };
        let [one, two] = &hosts;
        let nodes = [
            serving(plan, &lan, one, two, 150, &backends)?,
            serving(plan, &lan, two, one, 100, &backends)?,
        ];
        let mut cluster = Self {
            client,
            nodes,
            backends,
            web,
            lb,
        };
        for number in 0..2 {
            cluster.nodes[number].node.start()?;
            cluster.wait_until_active(0)?;
        }
        for vip in cluster
            .web
            .into_iter()
            .chain(cluster.lb.into_iter().filter(|_| plan.backends))
        {
            cluster.wait_for_http(vip)?;
        }
        Ok(cluster)
    }

    /// The instances there are.
    #[must_use]
    pub fn instances(&self) -> &'static [&'static str] {
        if self.backends.is_empty() {
            &["web"]
        } else {
            &["web", "lb"]
        }
    }

    /// Waits until this node is Active for everything.
    ///
    /// # Errors
    /// If it is not within [`PATIENCE`].
    pub fn wait_until_active(&self, number: usize) -> Result<()> {
        for instance in self.instances() {
            self.nodes[number]
                .node
                .wait_for_state(instance, "active", PATIENCE)?;
        }
        Ok(())
    }

    /// Plugs a crashed node in again, starts its agent, and waits until both nodes hear each other:
    /// a switch takes up to a second until a port that came up forwards.
    ///
    /// # Errors
    /// If it is not Backup, with everybody heard, within [`PATIENCE`].
    pub fn repair(&mut self, number: usize) -> Result<()> {
        self.nodes[number].node.host.plug()?;
        self.nodes[number].node.start()?;
        self.wait_until_heard()?;
        self.wait_until_backup(number)
    }

    /// Waits until both nodes hear each other.
    ///
    /// # Errors
    /// If they do not within [`PATIENCE`].
    pub fn wait_until_heard(&self) -> Result<()> {
        for serving in &self.nodes {
            let what = format!("{} to hear its peer", serving.node.host.name());
            wait_until(&what, PATIENCE, || {
                let status = serving
                    .node
                    .status()
                    .map_err(|error| format!("{error:#}"))?;
                match status["peers"][0]["alive"].as_bool() {
                    Some(true) => Ok(()),
                    _ => Err(status["peers"].to_string()),
                }
            })?;
        }
        Ok(())
    }

    /// Waits until this node is Backup for everything.
    ///
    /// # Errors
    /// If it is not within [`PATIENCE`].
    pub fn wait_until_backup(&self, number: usize) -> Result<()> {
        for instance in self.instances() {
            self.nodes[number]
                .node
                .wait_for_state(instance, "backup", PATIENCE)?;
        }
        Ok(())
    }

    /// Waits until HTTP is answered at this VIP, and answers by whom.
    ///
    /// # Errors
    /// If nobody does within [`PATIENCE`].
    pub fn wait_for_http(&self, vip: IpAddr) -> Result<String> {
        wait_until(&format!("HTTP to be answered at {vip}"), PATIENCE, || {
            self.client.curl(vip).map_err(|error| format!("{error:#}"))
        })
    }

    /// Waits until HTTP at the VIP of `lb` is answered by this backend.
    ///
    /// # Errors
    /// If it is not within [`PATIENCE`].
    pub fn wait_for_backend(&self, name: &str) -> Result<()> {
        let vip = self.lb[0];
        wait_until(
            &format!("{name} to answer at {vip}"),
            PATIENCE,
            || match self.client.curl(vip) {
                Ok(by) if by == name => Ok(()),
                Ok(by) => Err(by),
                Err(error) => Err(format!("{error:#}")),
            },
        )
    }

    /// Asks both VIPs of an instance all the time; call [`Watch::step`] while something happens.
    ///
    /// # Errors
    /// If the client cannot ask.
    pub fn watch(&self, vips: [IpAddr; 2]) -> Result<Watch> {
        let [v4, v6] = vips;
        // The IPv6 probe is there to show that it works too; the IPv4 one measures.
        let watch = Watch {
            v4: Probe::start(&self.client, v4, Duration::from_millis(1))?,
            v6: Probe::start(&self.client, v6, Duration::from_millis(2))?,
        };
        watch.v4.wait_for_answer(PATIENCE)?;
        watch.v6.wait_for_answer(PATIENCE)?;
        Ok(watch)
    }
}

/// Probes of both families.
#[derive(Debug)]
pub struct Watch {
    v4: Probe,
    v6: Probe,
}

/// What the client saw during one step.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The IPv4 probe.
    pub v4: Report,
    /// The IPv6 probe.
    pub v6: Report,
}

impl Watch {
    /// Lets `happening` happen, waits `settle`, and reports what the client saw.
    ///
    /// # Errors
    /// What `happening` answers.
    pub fn step(&self, settle: Duration, happening: impl FnOnce() -> Result<()>) -> Result<Seen> {
        let before = clock::now_ns();
        // A steady state first, so that the last answer before the gap is known.
        std::thread::sleep(Duration::from_millis(50));
        happening()?;
        std::thread::sleep(settle);
        let after = clock::now_ns();
        Ok(Seen {
            v4: self.v4.report(before, after),
            v6: self.v6.report(before, after),
        })
    }
}

fn serving(
    plan: &Plan,
    lan: &Network,
    host: &Host,
    peer: &Host,
    priority: u8,
    backends: &[Backend],
) -> Result<ServingNode> {
    let answers_as = host.name().replace("node-", "ECS ");
    let probed: [IpAddr; 2] = [lan.v4(100).into(), lan.v6(100).into()];
    let mut web = plan.instance("web", 51, priority);
    for vip in probed.into_iter().chain((1..plan.vips).map(further_vip)) {
        web = web.vip(vip);
    }
    let mut config = NodeConfig::new(host)
        .peers(&[peer])
        .interval(plan.interval)
        .instance(web);
    for line in plan.liveness {
        config = config.liveness_line(line);
    }
    if !backends.is_empty() {
        let mut lb = plan
            .instance("lb", 52, priority)
            .vip(lan.v4(200))
            .vip(lan.v6(200));
        for backend in backends {
            lb = lb.backend(BackendConfig {
                name: backend.host.name().to_owned(),
                address: backend.host.v4().into(),
                check: format!(
                    "{{ tcp = 80, interval = \"{0}ms\", timeout = \"{0}ms\", rise = 2, fall = 2 }}",
                    plan.check_interval.as_millis()
                ),
            });
        }
        config = config.instance(lb);
    }
    Ok(ServingNode {
        node: Node::new(host, config)?,
        _http: HttpServer::start(host, &answers_as, 80)?,
        _echo: Responder::start(host, &answers_as, &probed)?,
        answers_as,
    })
}

/// VIPs that are only there to be many: 10.255.0.0/16 has room for them.
fn further_vip(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    [10, 255, high, low].into()
}
