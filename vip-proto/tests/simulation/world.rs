//! Nodes, their data planes and the network between them, in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vip_proto::election::{Command, State};
use vip_proto::native::{Key, Keyring, MAX_DATAGRAM, RejectReason};
use vip_proto::node::{InstanceConfig, LinkState, NodeConfig, Report};
use vip_proto::{Action, Epoch, Incarnation, Instant, Node, NodeAddress, Priority, Vrid};

use crate::attacker::{Attacker, Replay};
use crate::faults::{Fault, Setup};
use crate::rng::Rng;

/// Advert interval of all nodes; the unit in which everything else is thought of.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// How long after the last disturbance the rules hold again: an advert may be late and lost once,
/// and two nodes that met as Active need a round trip.
const SETTLING: Duration = Duration::from_millis(500);

pub(crate) const VRID: Vrid = Vrid::new(1).unwrap();

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake {
        node: usize,
        life: u64,
    },
    Deliver {
        from: usize,
        to: usize,
        datagram: Vec<u8>,
    },
    Thaw {
        node: usize,
        life: u64,
    },
}

struct Host {
    agent: Option<Node>,
    /// Counts agents and freezes, so that events meant for a former one are dropped.
    life: u64,
    frozen: bool,
    frozen_at: Instant,
    link: LinkState,
    inbox: VecDeque<(usize, Vec<u8>)>,
    lease_until: Instant,
    /// Highest epoch the agent knew when it was last awake.
    epoch: Epoch,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    setup: Setup,
    rng: Rng,
    hosts: Vec<Host>,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    counter: u64,
    /// `cut[from][to]`.
    cut: Vec<Vec<bool>>,
    lost_last: Vec<Vec<bool>>,
    /// Until when two leases are excused: links are cut, or were until a moment ago.
    excused_until: Instant,
    pub(crate) last_transition: Instant,
    pub(crate) claims: u64,
    pub(crate) split_brains: u64,
    attacker: Attacker,
    seed: u64,
    trace: bool,
}

impl World {
    pub(crate) fn new(setup: Setup, seed: u64, trace: bool) -> Self {
        let count = setup.priorities.len();
        let hosts = (0..count).map(|_| Host::new()).collect();
        Self {
            now: Instant::from_nanos(1_000_000_000),
            setup,
            rng: Rng::new(seed ^ 0x5eed),
            hosts,
            events: BinaryHeap::new(),
            counter: 0,
            cut: vec![vec![false; count]; count],
            lost_last: vec![vec![false; count]; count],
            excused_until: Instant::default(),
            last_transition: Instant::default(),
            claims: 0,
            split_brains: 0,
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

    /// The nodes whose data plane holds a valid lease.
    pub(crate) fn holders(&self) -> Vec<usize> {
        (0..self.count())
            .filter(|node| self.hosts[*node].lease_until > self.now)
            .collect()
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
        }
        self.now = end;
    }

    pub(crate) fn inject(&mut self, fault: Fault) {
        self.note(|| format!("--- {fault:?}"));
        match fault {
            Fault::Kill(node) => self.stop(node),
            Fault::Crash(node) => {
                self.stop(node);
                self.hosts[node].lease_until = Instant::default();
            }
            Fault::Start(node) => self.start(node),
            Fault::Freeze(node, duration) => self.freeze(node, duration),
            Fault::Cut(from, to) => {
                self.cut[from][to] = true;
            }
            Fault::Heal => {
                if self.is_cut() {
                    self.excused_until = self.now + SETTLING;
                }
                self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
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
            Fault::Shutdown(node) => {
                self.tell(node, Node::handle_shutdown);
                if !self.hosts[node].frozen {
                    self.stop(node);
                }
            }
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
            if !self.running(node) {
                self.inject(Fault::Start(node));
            }
            if self.hosts[node].link != LinkState::Up {
                self.inject(Fault::Link(node, LinkState::Up));
            }
        }
    }

    fn is_cut(&self) -> bool {
        self.cut.iter().flatten().any(|cut| *cut)
    }

    fn start(&mut self, node: usize) {
        if self.running(node) {
            return;
        }
        let mut agent = Node::new(self.config(node), &[self.instance(node)]);
        let host = &mut self.hosts[node];
        host.life += 1;
        if host.link != LinkState::Up {
            agent.handle_link(VRID, host.link, self.now);
        }
        host.agent = Some(agent);
        self.tell(node, Node::handle_startup);
    }

    fn stop(&mut self, node: usize) {
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
            self.tell(node, Node::handle_timeout);
        }
        while let Some((from, datagram)) = self.hosts[node].inbox.pop_front() {
            self.tell(node, |agent, now| {
                agent.handle_datagram(address(from), &datagram, now)
            });
        }
        self.tell(node, Node::handle_timeout);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { node, life } if self.hosts[node].life == life => {
                self.tell(node, Node::handle_timeout);
            }
            Event::Thaw { node, life } if self.hosts[node].life == life => self.thaw(node),
            Event::Wake { .. } | Event::Thaw { .. } => {}
            Event::Deliver { from, to, datagram } => {
                let host = &mut self.hosts[to];
                if host.frozen {
                    host.inbox.push_back((from, datagram));
                } else {
                    self.tell(to, |agent, now| {
                        agent.handle_datagram(address(from), &datagram, now)
                    });
                }
            }
        }
    }

    /// Calls a handler of a running node, carries out its actions and arms its next timeout.
    fn tell(&mut self, node: usize, handler: impl FnOnce(&mut Node, Instant)) {
        if self.hosts[node].frozen {
            return;
        }
        let Some(mut agent) = self.hosts[node].agent.take() else {
            return;
        };
        handler(&mut agent, self.now);
        while let Some(action) = agent.poll_action() {
            self.carry_out(node, &mut agent, action);
        }
        let epoch = agent.status(self.now).instances[0].epoch;
        assert!(
            epoch >= self.hosts[node].epoch,
            "{}",
            self.blame("an epoch went back")
        );
        let host = &mut self.hosts[node];
        host.epoch = epoch;
        host.life += 1;
        let life = host.life;
        if let Some(timeout) = agent.poll_timeout() {
            self.schedule(timeout.max(self.now), Event::Wake { node, life });
        }
        self.hosts[node].agent = Some(agent);
    }

    fn carry_out(&mut self, node: usize, agent: &mut Node, action: Action) {
        match action {
            Action::Claim {
                epoch, lease_until, ..
            } => {
                self.claims += 1;
                assert!(
                    epoch > self.hosts[node].epoch,
                    "{}",
                    self.blame("a claim did not take a higher epoch than all its node knew")
                );
                self.hosts[node].epoch = epoch;
                self.note(|| format!("node {node} claims {epoch}"));
                self.hold(node, lease_until);
            }
            Action::Renew { lease_until, .. } => self.hold(node, lease_until),
            Action::Release { .. } => self.hosts[node].lease_until = Instant::default(),
            Action::Transmit => self.transmit(node, agent),
            Action::Announce { .. } => assert!(
                self.hosts[node].lease_until > self.now,
                "{}",
                self.blame("announced without a lease")
            ),
            Action::Report(report) => {
                match report {
                    Report::Transition { .. } => self.last_transition = self.now,
                    Report::SplitBrain { .. } => self.split_brains += 1,
                    Report::Rejected { reason, .. } => assert!(
                        matches!(reason, RejectReason::Replayed | RejectReason::StaleSession),
                        "{}",
                        self.blame(&format!("an honest advert was rejected: {reason:?}"))
                    ),
                    Report::PeerUp { .. } | Report::PeerDown { .. } | Report::VipsDiffer { .. } => {
                    }
                }
                self.note(|| format!("node {node} reports {report:?}"));
            }
        }
    }

    /// The one rule: two data planes never hold a lease at once.
    fn hold(&mut self, node: usize, lease_until: Instant) {
        self.note(|| format!("node {node} holds until {lease_until:?}"));
        self.hosts[node].lease_until = lease_until;
        let excused = self.is_cut() || self.now < self.excused_until;
        assert!(
            excused || self.holders().len() < 2,
            "{}",
            self.blame(&format!("two leases: {:?}", self.holders()))
        );
    }

    fn transmit(&mut self, node: usize, agent: &mut Node) {
        let mut buffer = [0; MAX_DATAGRAM];
        let datagram = agent.encode_advert(&mut buffer).to_vec();
        let says = State::from_wire(datagram[50]).expect("the record's state");
        if says == State::Active {
            assert!(
                self.hosts[node].lease_until > self.now,
                "{}",
                self.blame("says Active without a lease")
            );
        }
        self.note(|| format!("node {node} says {says:?}, flags {}", datagram[51]));
        self.attack(node, &datagram);
        for to in (0..self.count()).filter(|to| *to != node) {
            let lost = !self.lost_last[node][to] && self.rng.chance(self.setup.loss);
            self.lost_last[node][to] = lost;
            if lost {
                self.note(|| format!("advert {node} -> {to} lost ({says:?})"));
            }
            if !lost && !self.cut[node][to] {
                let delay = u64::try_from(self.setup.delay.as_nanos()).unwrap();
                let delay = Duration::from_nanos(self.rng.below(delay));
                let datagram = datagram.clone();
                self.schedule(
                    self.now + delay,
                    Event::Deliver {
                        from: node,
                        to,
                        datagram,
                    },
                );
            }
        }
    }

    fn attack(&mut self, node: usize, datagram: &[u8]) {
        let hosts = self.count();
        let attacks = self
            .attacker
            .hears(node, datagram, self.setup.replays, hosts);
        for Replay {
            from,
            to,
            datagram,
            after,
        } in attacks
        {
            self.schedule(self.now + after, Event::Deliver { from, to, datagram });
        }
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.counter += 1;
        self.events.push(Reverse((at, self.counter, event)));
    }

    fn config(&mut self, node: usize) -> NodeConfig {
        let count = self.count();
        NodeConfig {
            address: address(node),
            incarnation: Incarnation(self.rng.next()),
            advert_interval: INTERVAL,
            down_factor: self.setup.down_factor,
            startup_delay: INTERVAL * u32::try_from(self.rng.below(5)).unwrap(),
            alone_delay: INTERVAL * u32::try_from(self.rng.below(12)).unwrap(),
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

    fn note(&self, line: impl FnOnce() -> String) {
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
            lease_until: Instant::default(),
            epoch: Epoch(0),
        }
    }
}

fn address(node: usize) -> NodeAddress {
    NodeAddress(IpAddr::V4(Ipv4Addr::new(
        192,
        0,
        2,
        u8::try_from(node + 1).unwrap(),
    )))
}
