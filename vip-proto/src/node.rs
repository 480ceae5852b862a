//! One node: all its elections, its view of the peers, and the adverts between them.

use alloc::vec::Vec;
use core::time::Duration;

use crate::election::input::{Context, Input};
use crate::election::timing::Pace;
use crate::election::{Command, Election, InstanceStatus, Refusal, State};
use crate::native::{
    self, DOWN_FACTOR_RANGE, Echo, Header, INTERVAL_RANGE, Keyring, MAX_DATAGRAM, MAX_ECHOES,
    MAX_INSTANCES,
};
use crate::{Epoch, Incarnation, Instant, NodeAddress, Priority, Vrid};

mod action;
pub(crate) mod outbox;
mod peers;
mod receive;
mod rejections;
mod session;
mod status;

#[cfg(test)]
mod tests;

pub use action::{Action, Drain, PROBED_INSTANCES, Report};
use outbox::Outbox;
use peers::PeerTable;
use rejections::Rejections;

/// What a node knows of itself; see `docs/election.md`.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The address the node's adverts come from.
    pub address: NodeAddress,
    /// Random number of this start of the agent.
    pub incarnation: Incarnation,
    /// Time between adverts: 1 ms – 40.95 s.
    pub advert_interval: Duration,
    /// How many intervals may pass without an advert before the Active node is taken to be dead
    /// (RFC 9568: 3): 2–10.
    pub down_factor: u8,
    /// How long the node only listens after its start.
    pub startup_delay: Duration,
    /// How long a node that hears no peer waits, after its start or its interface's coming up, before
    /// it believes to be alone: a network may need a while until it forwards. Ends when a peer is
    /// heard.
    pub alone_delay: Duration,
    /// The only addresses adverts are accepted from; empty: any authenticated sender (multicast).
    pub peers: Vec<NodeAddress>,
    /// Keys of the cluster.
    pub keys: Keyring,
}

/// One instance as the election sees it.
#[derive(Debug, Clone, Copy)]
pub struct InstanceConfig {
    /// Identifier of the instance.
    pub vrid: Vrid,
    /// This node's priority for it.
    pub priority: Priority,
    /// Whether this node takes the instance from an Active node of lower priority (RFC 9568 §6.1).
    pub preempt: bool,
    /// How long an Active node of lower priority must have been seen before it is preempted.
    pub preempt_delay: Duration,
    /// Digest of the instance's VIPs; nodes report when theirs differ.
    pub vips_digest: u32,
}

/// Why an instance cannot be Active on this node although its agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// The interface is there and has carrier.
    Up,
    /// The interface is down or has no carrier: Backup, not eligible.
    Down,
    /// The interface does not exist: Initialize.
    Gone,
}

/// A peer, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Address of the peer.
    pub address: NodeAddress,
    /// When it was last heard; `None`: never.
    pub last_heard: Option<Instant>,
    /// Whether it is within its down interval.
    pub alive: bool,
    /// Its advert interval, if heard.
    pub advert_interval: Option<Duration>,
    /// Accepted adverts.
    pub adverts: u64,
    /// Per instance: priority, whether it says it is Active, epoch.
    pub instances: Vec<PeerInstance>,
}

/// What a peer says of one instance, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerInstance {
    /// Which instance.
    pub vrid: Vrid,
    /// The peer's priority; 0: it is leaving.
    pub priority: u8,
    /// The peer's state.
    pub state: State,
    /// The epoch it knows.
    pub epoch: Epoch,
}

/// Counts of one node's protocol engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeCounters {
    /// Adverts encoded for sending.
    pub adverts_sent: u64,
    /// Adverts accepted.
    pub adverts_received: u64,
    /// Datagrams rejected, for any reason.
    pub rejected: u64,
    /// Adverts that could not be sent.
    pub transmit_failed: u64,
}

/// Everything `status` shows, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Each instance.
    pub instances: Vec<InstanceStatus>,
    /// Each peer, in the order of its address.
    pub peers: Vec<PeerStatus>,
    /// Counts.
    pub counters: NodeCounters,
}

/// The machine. See the [crate] for how to drive it.
#[derive(Debug, Clone)]
pub struct Node {
    address: NodeAddress,
    incarnation: Incarnation,
    startup_delay: Duration,
    alone_delay: Duration,
    keys: Keyring,
    pace: Pace,
    elections: Vec<Election>,
    peers: PeerTable,
    out: Outbox,
    phase: Phase,
    /// While this lasts, what is read may have waited in a queue for long.
    stalled_until: Instant,
    last_tick: Instant,
    /// End of the agent's lease; `None`: it is over.
    lease: Option<Instant>,
    sequence: u64,
    counters: NodeCounters,
    rejections: Rejections,
}

/// Where in its life a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Made, not started.
    New,
    /// Running; the elections start at `start`, if they have not yet.
    Running {
        start: Option<Instant>,
        next_tick: Instant,
    },
    /// Shut down: nothing happens any more.
    Stopped,
}

impl Node {
    /// A node that has not started. Interval and down factor are brought into their ranges;
    /// instances beyond [`MAX_INSTANCES`] or with a VRID already taken are left out, an incarnation
    /// of 0 becomes 1 (the configuration's own checks refuse all this with a message).
    #[must_use]
    pub fn new(config: NodeConfig, instances: &[InstanceConfig]) -> Self {
        let pace = Pace {
            interval: config
                .advert_interval
                .clamp(*INTERVAL_RANGE.start(), *INTERVAL_RANGE.end()),
            factor: config
                .down_factor
                .clamp(*DOWN_FACTOR_RANGE.start(), *DOWN_FACTOR_RANGE.end()),
        };
        let mut elections: Vec<Election> = Vec::with_capacity(instances.len());
        for instance in instances.iter().take(MAX_INSTANCES) {
            if elections
                .iter()
                .all(|known| known.config().vrid != instance.vrid)
            {
                elections.push(Election::new(*instance));
            }
        }
        let address = config.address.canonical();
        let peers: Vec<NodeAddress> = config.peers.iter().map(|peer| peer.canonical()).collect();
        Self {
            address,
            incarnation: Incarnation(config.incarnation.0.max(1)),
            startup_delay: config.startup_delay,
            alone_delay: config.alone_delay,
            keys: config.keys,
            pace,
            peers: PeerTable::new(&peers, address, pace, elections.len()),
            out: Outbox::with_capacity(elections.len()),
            elections,
            phase: Phase::New,
            stalled_until: Instant::default(),
            last_tick: Instant::default(),
            lease: None,
            sequence: 0,
            counters: NodeCounters::default(),
            rejections: Rejections::default(),
        }
    }

    /// Starts the elections: listens for `startup_delay`, then takes part.
    pub fn handle_startup(&mut self, now: Instant) {
        if self.phase != Phase::New {
            return;
        }
        // The advert of the start counts as the tick before the first: a lease claimed at once is
        // renewed from it.
        self.last_tick = now;
        let next_tick = now + self.pace.interval;
        self.phase = Phase::Running {
            start: Some(now + self.startup_delay),
            next_tick,
        };
        self.out.transmit();
        self.out.flush();
    }

    /// A datagram arrived on the advert port from this source address.
    pub fn handle_datagram(&mut self, from: NodeAddress, datagram: &[u8], now: Instant) {
        if !matches!(self.phase, Phase::Running { .. }) {
            return;
        }
        let from = from.canonical();
        if let Err(reason) = self.receive(from, datagram, now) {
            self.counters.rejected += 1;
            let known = self.peers.knows(from);
            if self.rejections.is_news(from, known, reason, now) {
                self.out.report(Report::Rejected { from, reason });
            }
        }
        self.out.flush();
    }

    /// The time [`Self::poll_timeout`] named has come (harmless if it has not).
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.wake(now) {
            return;
        }
        self.expire_peers(now);
        if let Phase::Running { start, next_tick } = &mut self.phase {
            let starts = start.take_if(|start| now >= *start).is_some();
            let ticks = now >= *next_tick;
            if ticks {
                *next_tick = next_on_grid(*next_tick, self.pace.interval, now);
            }
            if starts {
                self.feed_all(Input::Started, now);
            }
            self.feed_all(Input::Timeout, now);
            if ticks {
                self.out.transmit();
                self.renew_lease(now);
            }
        }
        self.out.flush();
    }

    /// The instance's interface changed.
    pub fn handle_link(&mut self, vrid: Vrid, link: LinkState, now: Instant) {
        if self.phase == Phase::New {
            // Known before the start, it is taken into account at the start.
            self.feed(self.position(vrid), Input::Link(link), now);
            self.out.flush();
        }
        if self.wake(now) {
            self.feed(self.position(vrid), Input::Link(link), now);
            self.out.flush();
        }
    }

    /// The operator asks for something.
    ///
    /// # Errors
    /// Why it cannot be done; nothing has changed then.
    pub fn handle_command(
        &mut self,
        vrid: Vrid,
        command: Command,
        now: Instant,
    ) -> Result<(), Refusal> {
        let running = self.wake(now);
        let index = self.position(vrid).ok_or(Refusal::NoSuchInstance)?;
        if !running {
            return Err(Refusal::NotActive { active: None });
        }
        let Command::Switchover { to } = command;
        let to = to.map(NodeAddress::canonical);
        let answer = self
            .with_election(index, now, |election, ctx, out| {
                election.switchover(to, ctx, out)
            })
            .unwrap_or(Err(Refusal::NoSuchInstance));
        self.out.flush();
        answer
    }

    /// A claim or renewal could not be written to the data plane: the instance steps down.
    pub fn handle_dataplane_failure(&mut self, vrid: Vrid, now: Instant) {
        if self.wake(now) {
            self.feed(self.position(vrid), Input::DataplaneFailed, now);
            self.out.flush();
        }
    }

    /// The data plane has told a peer that the lease is over: it is, whatever this node's clock says.
    pub fn handle_lease_ended(&mut self, now: Instant) {
        if self.wake(now) {
            self.end_lease(now);
            self.out.flush();
        }
    }

    /// An advert could not be sent to any peer. It is counted; the election goes on as in a
    /// partition, in which this node may be the only one that still can serve.
    pub fn handle_transmit_failure(&mut self, now: Instant) {
        self.counters.transmit_failed += 1;
        self.wake(now);
    }

    /// The agent stops: releases everything and says so to the peers. After the actions of this
    /// handler there are no others, and no timeouts.
    pub fn handle_shutdown(&mut self, now: Instant) {
        if self.phase == Phase::Stopped {
            return;
        }
        self.wake(now);
        self.feed_all(Input::Shutdown, now);
        self.out.transmit();
        self.out.flush();
        self.phase = Phase::Stopped;
    }

    /// The next thing to do; drain until `None` after every `handle_*`.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.out.pop()
    }

    /// When to call [`Self::handle_timeout`], if no input comes before. `None` before the start and
    /// after the shutdown.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let Phase::Running { start, next_tick } = self.phase else {
            return None;
        };
        let elections = self.elections.iter().filter_map(Election::timeout);
        let peers = self.peers.iter().filter_map(peers::Peer::timeout);
        elections.chain(peers).chain(start).chain([next_tick]).min()
    }

    /// Writes the current advert (authenticated, with the next sequence number) into `buffer`.
    /// Does not allocate.
    #[expect(
        clippy::expect_used,
        reason = "the largest advert fits: asserted beside MAX_DATAGRAM"
    )]
    pub fn encode_advert<'b>(&mut self, buffer: &'b mut [u8; MAX_DATAGRAM]) -> &'b [u8] {
        self.sequence += 1;
        self.counters.adverts_sent += 1;
        let header = Header {
            key_id: self.keys.signing_id(),
            sender: self.address,
            incarnation: self.incarnation,
            sequence: self.sequence,
            advert_interval: self.pace.interval,
            down_factor: self.pace.factor,
            reserved: 0,
        };
        let (echoes, count) = self.echoes();
        let echoes = echoes.into_iter().take(count).map(|(_, echo)| echo);
        let records = self.elections.iter().map(Election::record);
        native::emit(&header, records, echoes, &self.keys, buffer)
            .expect("at most MAX_INSTANCES records and MAX_ECHOES echoes")
    }

    /// Takes note of the time before anything is decided at it; whether the node is running.
    fn wake(&mut self, now: Instant) -> bool {
        let Phase::Running { next_tick, .. } = self.phase else {
            return false;
        };
        if now > next_tick + self.pace.interval / 2 {
            self.stalled_until = now + self.pace.interval / 2;
        }
        if self.lease.is_some_and(|until| now >= until) {
            self.end_lease(now);
        }
        self.feed_all(Input::Woken, now);
        // The lease comes first, also in the queue: whatever follows is decided without it.
        self.out.flush();
        true
    }

    /// The advert of a tick goes out with this drain: the lease it warrants.
    fn renew_lease(&mut self, now: Instant) {
        let previous = core::mem::replace(&mut self.last_tick, now);
        let until = self.pace.renewed(previous, now);
        match self.lease {
            Some(lease) if until > lease => {
                self.lease = Some(until);
                self.out.renew_lease(until);
            }
            Some(_) => {}
            None => self.begin_lease(now),
        }
    }

    /// A lease that depends on nothing before: nothing is claimed.
    fn begin_lease(&mut self, now: Instant) {
        let until = now + self.pace.lease();
        self.lease = Some(until);
        self.out.begin_lease(until);
    }

    fn end_lease(&mut self, now: Instant) {
        self.lease = None;
        self.feed_all(Input::LeaseEnded, now);
    }

    fn expire_peers(&mut self, now: Instant) {
        let mut changed = false;
        for peer in self.peers.iter_mut() {
            let silence = peer.pace.silence();
            let recent = |at: Option<Instant>| at.is_some_and(|at| now < at + silence);
            if peer.present && !recent(peer.heard) {
                peer.present = false;
                changed = true;
            }
            if peer.alive && !recent(peer.confirmed) {
                peer.alive = false;
                self.out.report(Report::PeerDown { peer: peer.address });
            }
        }
        if changed {
            self.feed_all(Input::CandidatesChanged, now);
        }
    }

    fn feed_all(&mut self, input: Input, now: Instant) {
        for index in 0..self.elections.len() {
            self.feed(Some(index), input, now);
        }
    }

    fn feed(&mut self, index: Option<usize>, input: Input, now: Instant) {
        if let Some(index) = index {
            self.with_election(index, now, |election, ctx, out| {
                election.handle(input, ctx, out)
            });
        }
    }

    /// Lets an election decide, with everything it needs to know.
    fn with_election<T>(
        &mut self,
        index: usize,
        now: Instant,
        decide: impl FnOnce(&mut Election, &Context<'_>, &mut Outbox) -> T,
    ) -> Option<T> {
        let peers = self.peers.for_instance(index);
        let ctx = Context {
            now,
            address: self.address,
            incarnation: self.incarnation,
            pace: self.pace,
            stalled_until: self.stalled_until,
            alone_delay: self.alone_delay,
            peers: &peers,
        };
        let decided = self
            .elections
            .get_mut(index)
            .map(|election| decide(election, &ctx, &mut self.out));
        if self.lease.is_none() && self.out.claims() {
            self.begin_lease(now);
        }
        decided
    }

    /// What was heard of whom, those heard last first, and how many there are.
    fn echoes(&self) -> ([(Instant, Echo); MAX_ECHOES], usize) {
        let none = Echo {
            incarnation: Incarnation(0),
            sequence: 0,
        };
        let mut latest = [(Instant::default(), none); MAX_ECHOES];
        let mut count = 0;
        for peer in self.peers.iter() {
            let Some(heard) = peer.heard else { continue };
            for echo in peer.sessions.echoes() {
                // Insertion into a short sorted list: whatever falls off its end was heard earlier.
                let place = latest
                    .iter()
                    .take(count)
                    .position(|(at, _)| *at < heard)
                    .unwrap_or(count);
                if let Some(tail) = latest.get_mut(place..).filter(|tail| !tail.is_empty()) {
                    tail.rotate_right(1);
                    count = (count + 1).min(MAX_ECHOES);
                }
                if let Some(slot) = latest.get_mut(place) {
                    *slot = (heard, echo);
                }
            }
        }
        (latest, count)
    }

    fn position(&self, vrid: Vrid) -> Option<usize> {
        self.elections
            .iter()
            .position(|election| election.config().vrid == vrid)
    }
}

/// The first point of the grid after `now`: missed ones are skipped, never made up for in a burst.
fn next_on_grid(due: Instant, interval: Duration, now: Instant) -> Instant {
    let late = now.saturating_since(due).as_nanos();
    let missed = u32::try_from(late / interval.as_nanos().max(1)).unwrap_or(u32::MAX);
    due + interval.saturating_mul(missed.saturating_add(1))
}
