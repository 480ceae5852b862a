//! Nodes, their data planes and the network between them, in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vip_proto::election::{Command, State};
use vip_proto::native::{Key, Keyring};
use vip_proto::node::{InstanceConfig, LinkState, NodeConfig, Resumed};
use vip_proto::{Epoch, Incarnation, Instant, Node, NodeAddress, Priority, Vrid};

use crate::attacker::Attacker;
use crate::faults::{Fault, Setup};
use crate::kernel::{Echo, Kernel, Probe};
use crate::network::Network;
use crate::rng::Rng;

/// Advert interval of all nodes; the unit in which everything else is thought of.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// How long after the last disturbance the rules hold again: an advert may be late and lost once,
/// and two nodes that met as Active need a round trip.
pub(crate) const SETTLING: Duration = Duration::from_millis(500);

pub(crate) const VRID: Vrid = Vrid::new(1).unwrap();

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    Wake {
        node: usize,
        life: u64,
    },
    Deliver {
        from: usize,
        to: usize,
        datagram: Vec<u8>,
    },
    Probe {
        from: usize,
        to: usize,
        probe: Probe,
    },
    Echo {
        from: usize,
        to: usize,
        echo: Echo,
    },
    Thaw {
        node: usize,
        life: u64,
    },
    Resume {
        node: usize,
        life: u64,
    },
}

pub(crate) struct Host {
    pub(crate) agent: Option<Node>,
    /// Counts agents, freezes and wake-ups, so that events meant for a former one are dropped.
    life: u64,
    frozen: bool,
    frozen_at: Instant,
    link: LinkState,
    inbox: VecDeque<(usize, Vec<u8>)>,
    /// `None`: the host is down.
    pub(crate) kernel: Option<Kernel>,
    /// Highest epoch the agent knew when it was last awake.
    pub(crate) epoch: Epoch,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) setup: Setup,
    pub(crate) rng: Rng,
    pub(crate) hosts: Vec<Host>,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    counter: u64,
    pub(crate) network: Network,
    /// Until when two that answer are excused: links are cut, or were until a moment ago.
    pub(crate) excused_until: Instant,
    /// From now on somebody must take packets at any moment.
    pub(crate) must_serve: bool,
    pub(crate) tally: Tally,
    pub(crate) attacker: Attacker,
    seed: u64,
    trace: bool,
}

/// What has happened, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) claims: u64,
    pub(crate) split_brains: u64,
    /// Hand-overs in which the old Active node was heard to have left.
    pub(crate) handed_over: u64,
    pub(crate) nodes_dead: u64,
    pub(crate) agents_dead: u64,
    pub(crate) resumed: u64,
    /// When a hand-over last failed.
    pub(crate) failed_at: Instant,
}

impl World {
    pub(crate) fn new(setup: Setup, seed: u64, trace: bool) -> Self {
        let count = setup.priorities.len();
        Self {
            now: Instant::from_nanos(1_000_000_000),
            setup,
            rng: Rng::new(seed ^ 0x5eed),
            hosts: (0..count).map(|_| Host::new()).collect(),
            events: BinaryHeap::new(),
            counter: 0,
            network: Network::new(count, seed),
            excused_until: Instant::default(),
            must_serve: false,
            tally: Tally::default(),
            attacker: Attacker::new(seed),
            seed,
            trace,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.hosts.len()
    }

    pub(crate) fn running(&self, node: usize) -> bool {
        self.hosts[node].agent.is_some()
    }

    pub(crate) fn state(&self, node: usize) -> Option<State> {
        let agent = self.hosts[node].agent.as_ref()?;
        Some(agent.status(self.now).instances[0].state)
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(Reverse((at, _, _))) = self.events.peek()
            && *at <= end
        {
            let Some(Reverse((at, _, event))) = self.events.pop() else {
                break;
            };
            self.now = at;
            self.happen(event);
            self.check_service();
        }
        self.now = end;
    }

    pub(crate) fn inject(&mut self, fault: Fault) {
        self.note(|| format!("--- {fault:?}"));
        match fault {
            Fault::Kill(node) => self.stop(node),
            Fault::Crash(node) => {
                self.stop(node);
                self.hosts[node].kernel = None;
            }
            Fault::Start(node) => self.start(node),
            Fault::Resume(node, after) => {
                if self.running(node) {
                    self.replace(node, after);
                }
            }
            Fault::Restart(node, grace, after) => {
                if self.awake(node) && self.running(node) {
                    // Who is frozen may not know this start of the agent well enough to grant it.
                    if self.hosts.iter().any(|host| host.frozen) {
                        self.excused_until = self.now + grace + SETTLING;
                    }
                    self.tell(node, |agent, now| agent.handle_restart(now, grace));
                    self.replace(node, after);
                }
            }
            Fault::Freeze(node, duration) => self.freeze(node, duration),
            Fault::Cut(from, to) => self.network.cut(from, to),
            Fault::Heal => {
                if self.network.is_cut() {
                    self.excused_until = self.now + SETTLING;
                }
                self.network.heal();
            }
            Fault::Switchover(node, to) => {
                let to = to.map(address);
                self.tell(node, |agent, now| {
                    // Refusals are part of the game: the schedule does not know who is Active.
                    let _refused = agent
                        .handle_command(VRID, Command::Switchover { to }, now)
                        .is_err();
                });
            }
            Fault::Link(node, link) => {
                self.hosts[node].link = link;
                self.tell(node, |agent, now| agent.handle_link(VRID, link, now));
            }
            Fault::DataplaneFailure(node) => {
                self.tell(node, |agent, now| agent.handle_dataplane_failure(VRID, now));
            }
            Fault::ForeignClaim(node) => {
                self.tell(node, |agent, now| agent.handle_foreign_claim(VRID, now));
            }
            Fault::Shutdown(node) => self.tell(node, Node::handle_shutdown),
        }
    }

    /// Everything runs, nothing is cut or frozen any more.
    pub(crate) fn calm(&mut self) {
        self.setup.replays = 0;
        self.inject(Fault::Heal);
        for node in 0..self.count() {
            if self.hosts[node].frozen {
                self.thaw(node);
            }
            if self.hosts[node].link != LinkState::Up {
                self.inject(Fault::Link(node, LinkState::Up));
            }
        }
        // Those that leave have done so after this.
        self.run_for(INTERVAL * 4);
        for node in 0..self.count() {
            if !self.running(node) {
                self.inject(Fault::Start(node));
            }
        }
    }

    fn start(&mut self, node: usize) {
        if self.running(node) {
            return;
        }
        self.excuse_extended_leases(node);
        let incarnation = Incarnation(self.rng.next());
        let mut agent = Node::new(self.config(node, incarnation), &[self.instance(node)]);
        let host = &mut self.hosts[node];
        host.kernel.get_or_insert_default().begins(incarnation);
        if host.link != LinkState::Up {
            agent.handle_link(VRID, host.link, self.now);
        }
        self.runs(node, agent);
    }

    /// A new agent cannot know of the grace another one has asked for before it stopped.
    fn excuse_extended_leases(&mut self, node: usize) {
        let usual = self.now + INTERVAL * u32::from(self.setup.down_factor);
        let others = (0..self.count()).filter(|other| *other != node);
        let leases =
            others.filter_map(|other| Some(self.hosts[other].kernel.as_ref()?.lease_until()));
        if let Some(extended) = leases.filter(|until| *until > usual).max() {
            self.excused_until = self.excused_until.max(extended + SETTLING);
        }
    }

    fn runs(&mut self, node: usize, mut agent: Node) {
        agent.handle_station(VRID, mac(node));
        let host = &mut self.hosts[node];
        host.life += 1;
        host.agent = Some(agent);
        self.tell(node, Node::handle_startup);
    }

    /// The agent goes, and another comes in its place.
    fn replace(&mut self, node: usize, after: Duration) {
        self.stop(node);
        let life = self.hosts[node].life;
        self.schedule(self.now + after, Event::Resume { node, life });
    }

    /// As the daemon does it: adopts what still holds, and otherwise starts anew.
    fn resume(&mut self, node: usize) {
        let now = self.now;
        let Some(kernel) = self.hosts[node].kernel.as_mut().filter(|it| it.valid(now)) else {
            self.note(|| format!("node {node} finds its lease over"));
            self.start(node);
            return;
        };
        // What was not completed is no claim.
        kernel.claim = kernel.claim.filter(|claim| claim.answering);
        let resumed = Resumed {
            sequence: kernel.sequence,
            lease_until: kernel.lease_until(),
            claims: kernel.claim.iter().map(|it| (VRID, it.epoch)).collect(),
        };
        let (claims, incarnation) = (kernel.claim.is_some(), kernel.incarnation.unwrap());
        let (config, instance) = (self.config(node, incarnation), self.instance(node));
        let agent = Node::resume(config, &[instance], &resumed, now);
        self.note(|| format!("node {node} resumes: {resumed:?}"));
        let link = self.hosts[node].link;
        self.runs(node, agent);
        assert!(
            !claims || self.state(node) == Some(State::Active),
            "{}",
            self.blame("what was answered for was not resumed")
        );
        if link != LinkState::Up {
            self.inject(Fault::Link(node, link));
        }
    }

    pub(crate) fn stop(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        host.epoch = Epoch(0);
        host.agent = None;
        host.frozen = false;
        host.inbox.clear();
        host.life += 1;
    }

    fn freeze(&mut self, node: usize, duration: Duration) {
        let host = &mut self.hosts[node];
        if host.agent.is_some() && !host.frozen {
            host.frozen = true;
            host.frozen_at = self.now;
            host.life += 1;
            let life = host.life;
            self.schedule(self.now + duration, Event::Thaw { node, life });
        }
    }

    /// Feeds what has waited: the datagrams first, as the contract says; but a stall that can be
    /// told from a timer that is a little late must be harmless in the other order too.
    fn thaw(&mut self, node: usize) {
        self.note(|| format!("node {node} thaws"));
        let host = &mut self.hosts[node];
        host.frozen = false;
        let noticed = self.now.saturating_since(host.frozen_at) > INTERVAL * 3 / 2;
        if noticed && self.rng.chance(50) {
            self.turn(node);
        }
        while let Some((from, datagram)) = self.hosts[node].inbox.pop_front() {
            self.tell(node, |agent, now| {
                agent.handle_datagram(address(from), &datagram, now)
            });
        }
        self.turn(node);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { node, life } if self.hosts[node].life == life => self.turn(node),
            Event::Thaw { node, life } if self.hosts[node].life == life => self.thaw(node),
            Event::Resume { node, life } if self.hosts[node].life == life => self.resume(node),
            Event::Wake { .. } | Event::Thaw { .. } | Event::Resume { .. } => {}
            Event::Deliver { from, to, datagram } => {
                let host = &mut self.hosts[to];
                if host.frozen {
                    host.inbox.push_back((from, datagram));
                } else {
                    self.tell(to, |agent, now| {
                        agent.handle_datagram(address(from), &datagram, now)
                    });
                    self.turn(to);
                }
            }
            Event::Probe { from, to, probe } => {
                let now = self.now;
                let echo = self.hosts[to]
                    .kernel
                    .as_mut()
                    .and_then(|kernel| kernel.answer(from, &probe, now));
                if let Some(echo) = echo.filter(|_| self.network.is_open(to, from)) {
                    let delay = self.network.probe_delay(&self.setup);
                    let (from, to) = (to, from);
                    self.schedule(self.now + delay, Event::Echo { from, to, echo });
                }
            }
            Event::Echo { from, to, echo } => {
                let now = self.now;
                if let Some(kernel) = self.hosts[to].kernel.as_mut() {
                    kernel.stamp(from, &echo, now);
                }
            }
        }
    }

    pub(crate) fn schedule(&mut self, at: Instant, event: Event) {
        self.counter += 1;
        self.events.push(Reverse((at, self.counter, event)));
    }

    /// Arms the agent's next timeout.
    pub(crate) fn arm(&mut self, node: usize, timeout: Option<Instant>) {
        let host = &mut self.hosts[node];
        host.life += 1;
        let life = host.life;
        if let Some(timeout) = timeout {
            self.schedule(timeout.max(self.now), Event::Wake { node, life });
        }
    }

    pub(crate) fn awake(&self, node: usize) -> bool {
        !self.hosts[node].frozen
    }

    fn config(&mut self, node: usize, incarnation: Incarnation) -> NodeConfig {
        let count = self.count();
        NodeConfig {
            address: address(node),
            incarnation,
            advert_interval: INTERVAL,
            down_factor: self.setup.down_factor,
            startup_delay: INTERVAL * u32::try_from(self.rng.below(5)).unwrap(),
            alone_delay: INTERVAL * u32::try_from(self.rng.below(12)).unwrap(),
            liveness: self.setup.liveness,
            lease: self.setup.lease,
            drain: INTERVAL * 10,
            peers: (0..count)
                .filter(|peer| *peer != node)
                .map(address)
                .collect(),
            keys: Keyring::new(&[Key {
                id: 1,
                secret: &[7; 32],
            }])
            .unwrap(),
        }
    }

    fn instance(&self, node: usize) -> InstanceConfig {
        InstanceConfig {
            vrid: VRID,
            priority: Priority::new(self.setup.priorities[node]).unwrap(),
            preempt: self.setup.preempt,
            preempt_delay: self.setup.preempt_delay,
            vips_digest: 0,
        }
    }

    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        if self.trace {
            println!(
                "{:10.3} {}",
                (self.now.as_nanos() - 1_000_000_000) as f64 / 1e8,
                line()
            );
        }
    }

    pub(crate) fn blame(&self, what: &str) -> String {
        format!(
            "{what}, at {:?}; {:?}\nreplay with VIP_SIM_SEED={}",
            self.now, self.setup, self.seed
        )
    }
}

impl Host {
    fn new() -> Self {
        Self {
            agent: None,
            life: 0,
            frozen: false,
            frozen_at: Instant::default(),
            link: LinkState::Up,
            inbox: VecDeque::new(),
            kernel: None,
            epoch: Epoch(0),
        }
    }
}

pub(crate) fn address(node: usize) -> NodeAddress {
    NodeAddress(IpAddr::V4(Ipv4Addr::new(
        192,
        0,
        2,
        u8::try_from(node + 1).unwrap(),
    )))
}

/// Which node has this address.
pub(crate) fn node_at(address: NodeAddress) -> usize {
    match address.0 {
        IpAddr::V4(address) => usize::from(address.octets()[3]) - 1,
        IpAddr::V6(_) => panic!("all nodes have IPv4 addresses"),
    }
}

fn mac(node: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, u8::try_from(node + 1).unwrap()]
}
