//! How a node ends, and how another agent goes on in its place.

use core::time::Duration;

use super::{InstanceConfig, Node, NodeConfig, Phase, Resumed};
use crate::election::Election;
use crate::election::input::Input;
use crate::{Instant, Vrid};

/// More adverts than an agent sends between two times that its sequence number is stored.
const SEQUENCE_JUMP: u64 = 1_000_000;

impl Node {
    /// A node that goes on where a former agent stopped: with its incarnation (in `config`), and
    /// Active for what the data plane still answers for. If the lease is over by now, the node is
    /// one that has not started, as [`Self::new`] makes it. [`Self::handle_startup`] may be called in
    /// either case.
    #[must_use]
    pub fn resume(
        config: NodeConfig,
        instances: &[InstanceConfig],
        resumed: &Resumed,
        now: Instant,
    ) -> Self {
        let mut node = Self::new(config, instances);
        node.sequence = resumed.sequence.saturating_add(SEQUENCE_JUMP);
        // What echoes a former agent's advert may be a recording: only this one's count.
        node.peers.raise_floor(node.sequence);
        if resumed.lease_until <= now {
            return node;
        }
        node.run(now);
        node.adopt_lease(resumed.lease_until, now);
        for (vrid, epoch) in &resumed.claims {
            node.feed(node.position(*vrid), Input::Resumed(*epoch), now);
        }
        node.out.transmit();
        node.finish(now);
        node
    }

    /// A former agent was told by an operator to hand the instance over: this one does not preempt
    /// either, until it has been Active. For a node that resumes, before it is driven.
    pub fn handle_held(&mut self, vrid: Vrid) {
        let index = self.position(vrid);
        if let Some(election) = index.and_then(|index| self.elections.get_mut(index)) {
            election.hold();
        }
    }

    /// The instances that an operator has moved away: to be stored for an agent that resumes.
    pub fn held(&self) -> impl Iterator<Item = Vrid> {
        let held = self.elections.iter().filter(|election| election.is_held());
        held.map(|election| election.config().vrid)
    }

    /// The agent is about to be started anew, and its data plane goes on: tells the peers to be
    /// patient for `grace` more, extends the lease by it, and stops without releasing what it is
    /// Active for. A hand-over that is under way is called off; one to this node is given back.
    /// If a peer may not have understood, nothing is extended.
    pub fn handle_restart(&mut self, now: Instant, grace: Duration) {
        if self.phase == Phase::Stopped {
            return;
        }
        if self.wake(now) {
            self.feed_all(Input::Restart, now);
            if self.peers.iter().all(|peer| peer.alive || !peer.present) {
                let whole = u64::try_from(grace.as_nanos().div_ceil(1_000_000));
                self.grace = Duration::from_millis(whole.unwrap_or(u64::MAX));
                self.stretch_lease(now + grace);
            }
        }
        self.out.transmit_twice();
        self.phase = Phase::Stopped;
        self.finish(now);
    }

    /// The agent stops. What it is Active for is handed over first where a peer is ready:
    /// [`Self::is_stopped`] says when that is done, or its time is over. A second call ends it at
    /// once.
    pub fn handle_shutdown(&mut self, now: Instant) {
        if self.phase == Phase::Stopped {
            return;
        }
        self.wake(now);
        self.feed_all(Input::Shutdown, now);
        self.out.transmit();
        self.phase = match self.phase {
            Phase::Running { next_tick, .. } => Phase::Running {
                start: None,
                next_tick,
                leaving: true,
            },
            Phase::New | Phase::Stopped => Phase::Stopped,
        };
        self.finish(now);
    }

    /// Whether the node has ended: there are no actions after those that wait, and no timeouts.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    /// The last sequence number used: to be stored for an agent that resumes.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// A node that leaves ends when all its elections have.
    pub(super) fn leave_if_done(&mut self) {
        let leaving = matches!(self.phase, Phase::Running { leaving: true, .. });
        if leaving && self.elections.iter().all(Election::has_stopped) {
            // The last words: one of them may be lost.
            self.out.transmit_twice();
            self.phase = Phase::Stopped;
        }
    }
}
