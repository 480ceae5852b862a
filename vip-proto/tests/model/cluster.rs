//! A state of the model: hosts, the adverts between them, what may still go wrong, and what did.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use vip_proto::election::State;
use vip_proto::native::MAX_DATAGRAM;
use vip_proto::node::{EchoInstance, EchoSeen, PROBED_INSTANCES};
use vip_proto::{Action, Epoch, Instant, Node};

use crate::host::{Claim, Host};
use crate::setup::{
    BETWEEN_SLIPS, Flaw, LONGEST, PER_INTERVAL, QUANTUM, SETTLING, Setup, VRID, address, host_of,
    incarnation, quanta,
};
use crate::wire::{Advert, Content};

/// Most moves that are counted.
const MANY_MOVES: u8 = 9;

mod digest;
mod disturb;

/// All there is at one moment.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) setup: Arc<Setup>,
    /// Quanta since the start; no part of the state.
    pub(crate) time: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) wire: Vec<Advert>,
    /// The latest that was ever claimed.
    epoch: Epoch,
    /// Faults that may still happen.
    pub(crate) budget: u8,
    /// Whether the last advert from one to the other was lost.
    lost_last: Vec<Vec<bool>>,
    pub(crate) cut: Option<Cut>,
    /// Quanta for which two Active nodes are still excused.
    pub(crate) excused: u16,
    /// Quanta until a clock may slip again.
    pub(crate) steady: u16,
    /// Quanta without exactly one node answering, although nothing disturbs the cluster any more.
    pub(crate) unsettled: u16,
    /// Who answered last, and how often that has changed since the last disturbance.
    answered: Option<usize>,
    pub(crate) moves: u8,
    /// Whether the next probe from one to the other is lost, and whether the last was.
    pub(crate) deaf: Vec<Vec<bool>>,
    pub(crate) probe_lost: Vec<Vec<bool>>,
    /// Nothing but orders and the network's faults so far: there is no moment without a node that
    /// takes packets.
    seamless: bool,
    /// There was an order already.
    ordered: bool,
    /// Nothing but restarts: the instance stays where it is.
    steadfast: bool,
    /// The rules broken on the way here, by their bits in [`crate::properties`].
    pub(crate) broken: u16,
}

/// A link that carries nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Cut {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Whether the way back is cut, too.
    pub(crate) both: bool,
    /// Quanta it has lasted.
    pub(crate) lasted: u16,
}

/// What is broken by what a node does, rather than by how the cluster looks.
pub(crate) mod broken {
    /// An advert says Active, or something is announced, without a claim and a lease.
    pub(crate) const CLAIM_WITHOUT_LEASE: u16 = 1;
    /// An epoch goes back, or a claim takes one that was known.
    pub(crate) const EPOCH: u16 = 2;
    /// The kernel acts as something else than the node says it is.
    pub(crate) const OTHER_CLAIM: u16 = 4;
    /// Nobody takes packets although nothing has failed.
    pub(crate) const GAP: u16 = 8;
    /// The instance has moved because of a restart within the grace.
    pub(crate) const MOVED: u16 = 16;
    /// An agent that resumes extends its lease before it has sent an advert.
    pub(crate) const EXTENDED: u16 = 32;
}

impl Cluster {
    /// All agents running and settled, their grids so many quanta apart.
    pub(crate) fn settled(setup: Arc<Setup>, phase: u16) -> Self {
        let count = setup.count();
        let begin = Instant::from_nanos(3_600_000_000_000);
        let mut cluster = Self {
            time: 0,
            hosts: (0..count).map(|_| Host::new(begin, count)).collect(),
            wire: Vec::new(),
            epoch: Epoch(0),
            budget: 0,
            lost_last: vec![vec![false; count]; count],
            cut: None,
            excused: 0,
            steady: 0,
            unsettled: 0,
            answered: None,
            moves: 0,
            deaf: vec![vec![false; count]; count],
            probe_lost: vec![vec![false; count]; count],
            seamless: false,
            ordered: false,
            steadfast: false,
            broken: 0,
            setup,
        };
        for host in 0..count {
            cluster.start(host);
            let until = cluster.time + u64::from(phase);
            while cluster.time < until {
                cluster.advance(1, None);
            }
        }
        let until = cluster.time + 40 * u64::from(PER_INTERVAL);
        while cluster.time < until {
            cluster.advance(cluster.distance(), None);
        }
        cluster.budget = cluster.setup.budget;
        cluster.moves = 0;
        cluster.seamless = true;
        cluster
    }

    pub(crate) fn answering(&self) -> usize {
        self.hosts.iter().filter(|host| host.answers()).count()
    }

    pub(crate) fn may_be_lost(&self, advert: usize) -> bool {
        let Advert { from, to, .. } = self.wire[advert];
        !self.lost_last[from][to]
    }

    /// Whether it is the next to arrive of those from its sender to its receiver.
    pub(crate) fn is_first(&self, advert: usize) -> bool {
        let Advert { from, to, .. } = self.wire[advert];
        let same = |other: &Advert| other.from == from && other.to == to && !other.touched;
        self.wire.iter().position(same) == Some(advert)
    }

    /// Whether one probes the other.
    pub(crate) fn asks(&self, from: usize, to: usize) -> bool {
        let host = &self.hosts[from];
        host.runs() && host.eventful && host.kernel.asks == Some(to)
    }

    /// Quanta until something happens.
    pub(crate) fn distance(&self) -> u16 {
        let frozen = self.hosts.iter().any(|host| host.frozen.is_some());
        let timeouts = self.hosts.iter().filter_map(|host| {
            let due = host.agent.as_ref()?.poll_timeout()?;
            host.frozen.is_none().then(|| quanta(host.clock, due))
        });
        let arrivals = self.wire.iter().map(|advert| advert.due);
        let next = timeouts.chain(arrivals).min().unwrap_or(PER_INTERVAL);
        if frozen { next.min(1) } else { next }
    }

    /// Lets time pass, and happen what happens then. `slip`: whose clock goes wrong meanwhile (by one
    /// quantum), and whether it is fast.
    pub(crate) fn advance(&mut self, by: u16, slip: Option<(usize, bool)>) {
        self.time += u64::from(by);
        for host in &mut self.hosts {
            host.eventful = false;
            host.kernel.asks = None;
            if let Some(frozen) = &mut host.frozen {
                *frozen += by;
            }
        }
        for (index, ticks) in (0..self.hosts.len()).map(|index| (index, ticks(index, by, slip))) {
            if ticks > by {
                self.hosts[index].clock = self.hosts[index].clock + QUANTUM;
                self.wake(index);
            }
            let rest = ticks.min(by);
            self.hosts[index].clock = self.hosts[index].clock + QUANTUM * u32::from(rest);
        }
        if self.hosts.iter().any(Host::stays_away) {
            self.seamless = false;
            self.steadfast = false;
        }
        self.steady = match slip {
            Some(_) => BETWEEN_SLIPS,
            None => self.steady.saturating_sub(by),
        };
        self.deliver(by);
        for host in 0..self.hosts.len() {
            self.wake(host);
            if self.hosts[host]
                .frozen
                .is_some_and(|frozen| frozen >= LONGEST)
            {
                self.thaw(host);
            }
        }
        self.excused = self.excused.saturating_sub(by);
        if let Some(cut) = &mut self.cut {
            cut.lasted += by;
            self.excused = SETTLING;
            if cut.lasted >= LONGEST {
                self.cut = None;
            }
        }
        self.judge(by);
    }

    fn judge(&mut self, by: u16) {
        let living = self.hosts.iter().any(|host| host.agent.is_some());
        let disturbed = self.excused > 0 || self.hosts.iter().any(|host| host.frozen.is_some());
        self.unsettled = if !living || disturbed || self.answering() == 1 {
            0
        } else {
            self.unsettled + by
        };
    }

    /// What arrives now.
    fn deliver(&mut self, by: u16) {
        for advert in &mut self.wire {
            advert.due = advert.due.saturating_sub(by);
        }
        let (arrived, under_way) = std::mem::take(&mut self.wire)
            .into_iter()
            .partition(|advert| advert.due == 0);
        self.wire = under_way;
        let arrived: Vec<Advert> = arrived;
        for advert in arrived {
            if !advert.touched {
                self.lost_last[advert.from][advert.to] = false;
            }
            let host = &mut self.hosts[advert.to];
            if host.frozen.is_some() {
                host.inbox.push_back(advert);
            } else if host.agent.is_some() {
                self.hear(&advert);
            }
        }
    }

    fn hear(&mut self, advert: &Advert) {
        let from = address(advert.from);
        self.look(advert.to);
        self.tell(advert.to, |agent, now| {
            agent.handle_datagram(from, &advert.content.datagram, now);
        });
    }

    /// What the driver reads in the kernel before anything is decided.
    fn look(&mut self, index: usize) {
        if self.hosts[index].kernel.told_over {
            self.tell(index, Node::handle_lease_ended);
        }
        for peer in 0..self.hosts.len() {
            if let Some(echo) = self.hosts[index].kernel.stamps[peer].take() {
                self.tell(index, |agent, now| {
                    agent.handle_echo(address(peer), &echo, now);
                });
            }
        }
    }

    /// The agent's timer, if it is due.
    fn wake(&mut self, index: usize) {
        let host = &self.hosts[index];
        let due = |agent: &Node| agent.poll_timeout().is_some_and(|at| at <= host.clock);
        if host.frozen.is_none() && host.agent.as_ref().is_some_and(due) {
            self.look(index);
            self.tell(index, Node::handle_timeout);
        }
    }

    /// Gives an agent an input and carries out what it wants done.
    fn tell(&mut self, index: usize, input: impl FnOnce(&mut Node, Instant)) {
        let host = &mut self.hosts[index];
        host.eventful = true;
        let Some(mut agent) = host.agent.take() else {
            return;
        };
        input(&mut agent, host.clock);
        while let Some(action) = agent.poll_action() {
            self.carry_out(index, &mut agent, action);
        }
        let ended = agent.is_stopped();
        let host = &mut self.hosts[index];
        host.agent = Some(agent);
        let epoch = host.epoch();
        let active = host.state() == Some(State::Active);
        if epoch < std::mem::replace(&mut host.known, epoch) {
            self.broken |= broken::EPOCH;
        }
        if active != self.hosts[index].kernel.claim.is_some() {
            self.broken |= broken::OTHER_CLAIM;
        }
        if ended {
            self.hosts[index].agent = None;
        }
        if self.seamless && !self.hosts.iter().any(Host::accepts) {
            self.broken |= broken::GAP;
        }
    }

    fn carry_out(&mut self, index: usize, agent: &mut Node, action: Action) {
        let flaw = self.setup.flaw;
        let host = &mut self.hosts[index];
        match action {
            Action::Lease { until, anew } => {
                if anew && host.kernel.claim.is_some() {
                    self.broken |= broken::OTHER_CLAIM;
                }
                if until > host.kernel.lease_until && host.silent {
                    self.broken |= broken::EXTENDED;
                }
                host.kernel.told_over &= !anew;
                host.kernel.lease_until = match flaw {
                    Some(Flaw::LongLease(more)) => until + QUANTUM * u32::from(more),
                    _ => until,
                };
            }
            Action::Claim {
                epoch, answering, ..
            } => {
                let answering = answering || flaw == Some(Flaw::AnswersEarly);
                self.claim(index, Claim { epoch, answering });
            }
            Action::Release { .. } => {
                if flaw != Some(Flaw::KeepsClaim) {
                    host.kernel.claim = None;
                }
            }
            Action::Transmit => self.transmit(index, agent),
            Action::Announce { .. } => {
                if !host.answers() {
                    self.broken |= broken::CLAIM_WITHOUT_LEASE;
                }
            }
            Action::Probe { peer, .. } => self.probe(index, host_of(peer)),
            Action::Session {
                peer, incarnation, ..
            } => host.kernel.sessions[host_of(peer)] = Some(incarnation),
            Action::Report(_) => {}
        }
    }

    /// A probe and its echo, which take no time.
    fn probe(&mut self, index: usize, to: usize) {
        self.hosts[index].kernel.asks = Some(to);
        let lost = std::mem::take(&mut self.deaf[index][to]);
        self.probe_lost[index][to] = lost;
        let cut = |cut: Cut| cut.stops(index, to) || cut.stops(to, index);
        let asker = incarnation(index, self.hosts[index].life);
        let sent = self.hosts[index].clock;
        let asked = &mut self.hosts[to];
        if lost || self.cut.is_some_and(cut) || !asked.up {
            return;
        }
        if asked.kernel.sessions[index] != Some(asker) {
            return;
        }
        let leased = asked.leased() && self.setup.flaw != Some(Flaw::SaysLeaseOver);
        asked.kernel.told_over |= !asked.leased();
        let claim = asked.kernel.claim;
        let mut instances = [None; PROBED_INSTANCES];
        instances[0] = Some(EchoInstance {
            vrid: VRID,
            active: leased && claim.is_some(),
            epoch: claim.map_or(Epoch(0), |claim| claim.epoch),
        });
        let left = asked.kernel.lease_until.saturating_since(asked.clock);
        let echo = EchoSeen {
            sent,
            arrived: sent,
            incarnation: incarnation(to, asked.life),
            lease_left: if leased { left } else { Duration::ZERO },
            instances,
        };
        self.hosts[index].kernel.stamps[to] = Some(echo);
    }

    fn claim(&mut self, index: usize, claim: Claim) {
        let host = &mut self.hosts[index];
        self.epoch = self.epoch.max(claim.epoch);
        let goes_on = host.kernel.claim.is_some();
        if claim.epoch < host.claimed || (!goes_on && claim.epoch <= host.known) {
            self.broken |= broken::EPOCH;
        }
        host.claimed = claim.epoch;
        host.kernel.claim = Some(claim);
        if claim.answering && self.answered.replace(index) != Some(index) {
            self.moves = (self.moves + 1).min(MANY_MOVES);
            if self.steadfast {
                self.broken |= broken::MOVED;
            }
        }
    }

    fn transmit(&mut self, index: usize, agent: &mut Node) {
        let mut buffer = [0; MAX_DATAGRAM];
        let content = Arc::new(Content::of(agent.encode_advert(&mut buffer)));
        let host = &mut self.hosts[index];
        host.sent[host.life] = content.sequence;
        host.silent = false;
        if content.record.state == State::Active && !host.accepts() {
            self.broken |= broken::CLAIM_WITHOUT_LEASE;
        }
        for to in (0..self.hosts.len()).filter(|to| *to != index) {
            let cut = self.cut.is_some_and(|cut| cut.stops(index, to));
            if self.hosts[to].agent.is_some() && !cut {
                self.wire.push(Advert {
                    from: index,
                    to,
                    due: self.setup.delay,
                    touched: false,
                    content: Arc::clone(&content),
                });
            }
        }
    }
}

impl Cut {
    const fn stops(self, from: usize, to: usize) -> bool {
        (self.from == from && self.to == to) || (self.both && self.from == to && self.to == from)
    }
}

/// Quanta by which a host's own clock goes on meanwhile.
fn ticks(host: usize, by: u16, slip: Option<(usize, bool)>) -> u16 {
    match slip {
        Some((slipping, true)) if slipping == host => by + 1,
        Some((slipping, false)) if slipping == host => by.saturating_sub(1),
        _ => by,
    }
}
