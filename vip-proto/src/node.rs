//! One node: all its elections, its view of the peers, and the adverts between them.

use alloc::vec::Vec;
use core::time::Duration;

use crate::election::input::{Context, Input};
use crate::election::timing::Pace;
use crate::election::{Command, Election, Refusal};
use crate::native::{Keyring, MAX_INSTANCES};
use crate::{Incarnation, Instant, NodeAddress, Vrid};

mod action;
mod config;
mod encode;
mod lease;
pub(crate) mod outbox;
mod peers;
mod receive;
mod rejections;
mod restart;
mod session;
mod status;
mod watch;

#[cfg(test)]
mod tests;

pub use action::{Action, Drain, PROBED_INSTANCES, Report};
pub use config::{
    InstanceConfig, LinkState, Liveness, NodeConfig, PROBE_INTERVAL_RANGE, PROBE_MISSES_RANGE,
    Resumed,
};
use lease::Lease;
use outbox::Outbox;
use peers::PeerTable;
use rejections::Rejections;
pub use status::{LastEcho, NodeCounters, NodeStatus, PeerInstance, PeerStatus};
use watch::Probes;
pub use watch::{EchoInstance, EchoSeen};

/// The machine. See the [crate] for how to drive it.
#[derive(Debug, Clone)]
pub struct Node {
    address: NodeAddress,
    incarnation: Incarnation,
    startup_delay: Duration,
    alone_delay: Duration,
    drain: Duration,
    keys: Keyring,
    pace: Pace,
    liveness: Option<Liveness>,
    elections: Vec<Election>,
    peers: PeerTable,
    out: Outbox,
    phase: Phase,
    /// While this lasts, what is read may have waited in a queue for long.
    stalled_until: Instant,
    last_tick: Instant,
    lease: Lease,
    probes: Probes,
    sequence: u64,
    /// What adverts ask the peers to wait longer for this node.
    grace: Duration,
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
        /// It ends when it has handed over.
        leaving: bool,
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
        let pace = config.pace();
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
            drain: config.drain,
            keys: config.keys,
            pace,
            liveness: config.liveness.map(Liveness::clamped),
            peers: PeerTable::new(&peers, address, pace, elections.len()),
            out: Outbox::with_capacity(elections.len()),
            elections,
            phase: Phase::New,
            stalled_until: Instant::default(),
            last_tick: Instant::default(),
            lease: Lease::new(config.lease, pace),
            probes: Probes::default(),
            sequence: 0,
            grace: Duration::ZERO,
            counters: NodeCounters::default(),
            rejections: Rejections::default(),
        }
    }

    /// Starts the elections: listens for `startup_delay`, then takes part.
    pub fn handle_startup(&mut self, now: Instant) {
        if self.phase != Phase::New {
            return;
        }
        self.run(now);
        self.out.transmit();
        self.finish(now);
    }

    /// The advert of the start counts as the tick before the first: a lease claimed at once is
    /// renewed from it.
    fn run(&mut self, now: Instant) {
        self.last_tick = now;
        self.phase = Phase::Running {
            start: Some(now + self.startup_delay),
            next_tick: now + self.pace.interval,
            leaving: false,
        };
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
        self.finish(now);
    }

    /// The time [`Self::poll_timeout`] named has come (harmless if it has not).
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.wake(now) {
            return;
        }
        self.expire_peers(now);
        self.probe(now);
        self.renew_short_lease(now);
        if let Phase::Running {
            start, next_tick, ..
        } = &mut self.phase
        {
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
                self.tell_missed(now);
                self.out.transmit();
                self.advance_lease(now);
            }
        }
        self.finish(now);
    }

    /// The instance's interface changed.
    pub fn handle_link(&mut self, vrid: Vrid, link: LinkState, now: Instant) {
        if self.phase == Phase::New {
            // Known before the start, it is taken into account at the start.
            self.feed(self.position(vrid), Input::Link(link), now);
            self.finish(now);
        }
        self.handle(vrid, Input::Link(link), now);
    }

    /// The MAC address of this node's interface that the instance is on: told to the peers, which
    /// send on to it what still comes to them after a hand-over.
    pub fn handle_station(&mut self, vrid: Vrid, mac: [u8; 6]) {
        let index = self.position(vrid);
        if let Some(election) = index.and_then(|index| self.elections.get_mut(index)) {
            election.set_mac(mac);
        }
    }

    /// Somebody outside the cluster claims the instance, and the policy is to yield: the node gives
    /// it up, if it is Active for it, and stays out for a minute.
    pub fn handle_foreign_claim(&mut self, vrid: Vrid, now: Instant) {
        self.handle(vrid, Input::ForeignClaim, now);
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
        self.finish(now);
        answer
    }

    /// A claim or renewal could not be written to the data plane: the instance steps down.
    pub fn handle_dataplane_failure(&mut self, vrid: Vrid, now: Instant) {
        self.handle(vrid, Input::DataplaneFailed, now);
    }

    /// The data plane has told a peer that the lease is over: it is, whatever this node's clock says.
    pub fn handle_lease_ended(&mut self, now: Instant) {
        if self.wake(now) {
            self.end_lease(true, now);
            self.finish(now);
        }
    }

    /// An advert could not be sent to any peer. It is counted; the election goes on as in a
    /// partition, in which this node may be the only one that still can serve.
    pub fn handle_transmit_failure(&mut self, now: Instant) {
        self.counters.transmit_failed += 1;
        self.wake(now);
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
        let Phase::Running {
            start, next_tick, ..
        } = self.phase
        else {
            return None;
        };
        let elections = self.elections.iter().filter_map(Election::timeout);
        let peers = self.peers.iter().filter_map(peers::Peer::timeout);
        let watches = [start, self.lease.timeout(), self.probe_timeout()];
        elections
            .chain(peers)
            .chain(watches.into_iter().flatten())
            .chain([next_tick])
            .min()
    }

    /// Takes note of the time before anything is decided at it; whether the node is running.
    fn wake(&mut self, now: Instant) -> bool {
        let Phase::Running { next_tick, .. } = self.phase else {
            return false;
        };
        if now > next_tick + self.pace.interval / 2 {
            self.stalled_until = now + self.pace.interval / 2;
        }
        self.check_lease(now);
        self.feed_all(Input::Woken, now);
        // The lease comes first, also in the queue: whatever follows is decided without it.
        self.out.flush();
        true
    }

    /// One input of one instance.
    fn handle(&mut self, vrid: Vrid, input: Input, now: Instant) {
        if self.wake(now) {
            self.feed(self.position(vrid), input, now);
            self.finish(now);
        }
    }

    /// Ends a handler.
    fn finish(&mut self, now: Instant) {
        self.leave_if_done();
        self.update_watches(now);
        self.out.flush();
    }

    fn expire_peers(&mut self, now: Instant) {
        let mut changed = false;
        for peer in self.peers.iter_mut() {
            let silence = peer.silence();
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
            drain: self.drain,
            peers: &peers,
        };
        let decided = self
            .elections
            .get_mut(index)
            .map(|election| decide(election, &ctx, &mut self.out));
        if self.lease.until().is_none() && self.out.claims() {
            self.begin_lease(now);
        }
        decided
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
