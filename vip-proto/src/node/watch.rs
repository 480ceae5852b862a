//! Watching the data planes of the nodes that are followed: probes, echoes, and what follows.

use core::time::Duration;

use super::peers::Peer;
use super::status::LastEcho;
use super::{Liveness, Node, PROBED_INSTANCES, Phase, Report, next_on_grid};
use crate::election::Election;
use crate::election::input::{Answer, Input};
use crate::{Epoch, Incarnation, Instant, NodeAddress, Vrid};

/// A peer whose agent is being restarted may leave so many times the misses unanswered: to end a
/// process and to put in a program keeps a processor busy for a while.
const PATIENCE: u8 = 3;
/// How long that goes on after its adverts are back.
const RESTARTED: Duration = Duration::from_secs(1);
/// Most unanswered probes that are remembered: the greatest number of misses there can be.
const REMEMBERED: usize = 10 * PATIENCE as usize;
/// The same is not reported of a watch more often.
const QUIET: Duration = Duration::from_secs(1);
/// After a verdict that was wrong, so many times the misses must be answered before the next.
const PROOF: u32 = 10;

/// The answer of a peer's data plane to a probe, as this node's data plane has stamped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EchoSeen {
    /// When the probe it answers was sent: the nonce.
    pub sent: Instant,
    /// When it arrived.
    pub arrived: Instant,
    /// The start of the peer's agent, as its data plane says.
    pub incarnation: Incarnation,
    /// What is left of the peer's lease; zero: it is over, for good.
    pub lease_left: Duration,
    /// What was asked about.
    pub instances: [Option<EchoInstance>; PROBED_INSTANCES],
}

/// An instance in an [`EchoSeen`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EchoInstance {
    /// Which instance.
    pub vrid: Vrid,
    /// Whether the peer's data plane acts for it.
    pub active: bool,
    /// Epoch of the claim, if so.
    pub epoch: Epoch,
}

/// When probes are sent, to all that are watched at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probes {
    /// The next ones; `None`: nobody is watched.
    next: Option<Instant>,
    /// When an own stall was last reported.
    told_stall: Option<Instant>,
}

/// What is known of one peer's answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    pub(crate) probed: bool,
    /// Whether any instance asks for it: [`Self::probed`] of the next moment.
    wanted: bool,
    /// When the probes since the last answered one were sent; the latest ones if there are more.
    sent: [Instant; REMEMBERED],
    count: usize,
    last_echo: Option<LastEcho>,
    /// It has answered since it is probed.
    answers: bool,
    /// How many more answers without a miss it takes until it is believed dead again.
    proof: u32,
    /// Until then its agent is being restarted, as it has announced.
    restarting: Option<Instant>,
    told_unanswered: Option<Instant>,
    told_late: bool,
    /// Of the present row.
    told_missed: bool,
    told_missed_at: Option<Instant>,
    /// Where the next probe begins to ask if not all instances fit.
    rotation: usize,
}

impl Watch {
    /// Whether silence means death.
    pub(crate) const fn armed(&self) -> bool {
        self.probed && self.answers && self.proof == 0
    }

    /// Probes since the last answered one.
    pub(crate) fn unanswered(&self) -> u32 {
        u32::try_from(self.count).unwrap_or(u32::MAX)
    }

    pub(crate) const fn last_echo(&self) -> Option<LastEcho> {
        self.last_echo
    }

    /// An advert of the verified session was heard, which announces this `grace`.
    pub(super) fn heard(&mut self, grace: Duration, now: Instant) {
        self.told_late = false;
        self.told_missed = false;
        let back = now + RESTARTED;
        self.restarting = if grace.is_zero() {
            self.restarting.map(|until| until.min(back))
        } else {
            Some(back + grace)
        };
    }

    /// How many probes in a row it may leave unanswered now.
    fn tolerates(&mut self, misses: u8, now: Instant) -> usize {
        self.restarting.take_if(|until| now >= *until);
        let patience = if self.restarting.is_some() {
            PATIENCE
        } else {
            1
        };
        usize::from(misses) * usize::from(patience)
    }

    fn begin(&mut self) {
        self.count = 0;
        self.answers = false;
    }

    fn sends(&mut self, now: Instant) {
        if self.count == REMEMBERED {
            self.sent.rotate_left(1);
            self.count -= 1;
        }
        if let Some(slot) = self.sent.get_mut(self.count) {
            *slot = now;
            self.count += 1;
        }
    }

    /// Whether the echo is news.
    fn takes(&mut self, echo: &EchoSeen) -> bool {
        if self.last_echo.is_some_and(|last| last.sent >= echo.sent) {
            return false;
        }
        let rtt = echo.arrived.saturating_since(echo.sent);
        self.last_echo = Some(LastEcho {
            sent: echo.sent,
            rtt,
        });
        let sent = self.sent.iter().take(self.count);
        let answered = sent.filter(|sent| **sent <= echo.sent).count();
        self.sent.rotate_left(answered);
        self.count -= answered;
        self.answers = true;
        self.proof = self.proof.saturating_sub(1);
        true
    }

    /// What its silence means at the time of a probe, before the next is sent.
    fn judge(&mut self, misses: u8, now: Instant) -> Judgement {
        if self.count >= self.tolerates(misses, now) {
            let armed = self.armed();
            if self.answers {
                // Not asked again until it has answered for a while: it may be this that is wrong.
                self.answers = false;
                self.proof = PROOF * u32::from(misses);
            }
            return if armed {
                Judgement::Dead
            } else {
                Judgement::Fine
            };
        }
        let told = self.told_unanswered.is_some_and(|at| now < at + QUIET);
        if self.count == 1 && self.armed() && !told {
            self.told_unanswered = Some(now);
            return Judgement::Unanswered;
        }
        Judgement::Fine
    }
}

/// What a watch comes to.
enum Judgement {
    Fine,
    Unanswered,
    Dead,
}

impl Node {
    /// The data plane has stamped an echo of this peer that is newer than the one before: fed before
    /// [`Self::handle_timeout`], so that nothing is decided while it waits.
    pub fn handle_echo(&mut self, peer: NodeAddress, echo: &EchoSeen, now: Instant) {
        let peer = peer.canonical();
        let future = echo.sent > now;
        let Some(known) = self.peers.get_mut(peer).filter(|_| !future) else {
            return;
        };
        if !known.watch.takes(echo) || !self.wake(now) {
            return;
        }
        let lease_over = echo.lease_left.is_zero();
        let mut active = false;
        for index in 0..self.elections.len() {
            let vrid = self
                .elections
                .get(index)
                .map(|election| election.config().vrid);
            let mut instances = echo.instances.iter().flatten();
            let instance = instances.find(|instance| Some(instance.vrid) == vrid);
            let answer = Answer {
                peer,
                incarnation: echo.incarnation,
                sent: echo.sent,
                lease_over,
                active: instance.map(|instance| instance.active),
            };
            active |= answer.active == Some(true) && !lease_over;
            self.feed(Some(index), Input::Echo(answer), now);
        }
        self.tell_late(peer, active, now);
        self.finish(now);
    }

    /// A probe could not be sent, by any link: the silence that follows says nothing about the peer.
    pub fn handle_probe_failure(&mut self, peer: NodeAddress, now: Instant) {
        if let Some(peer) = self.peers.get_mut(peer.canonical()) {
            peer.watch.count = 0;
        }
        if self.wake(now) {
            self.finish(now);
        }
    }

    /// No adverts, but the data plane acts on: somebody should know.
    fn tell_late(&mut self, peer: NodeAddress, active: bool, now: Instant) {
        let Some(known) = self.peers.get_mut(peer) else {
            return;
        };
        let silence = known.silence();
        let late = known.confirmed.is_some_and(|at| now >= at + silence);
        if active && late && !core::mem::replace(&mut known.watch.told_late, true) {
            self.out.report(Report::AgentLate { peer });
        }
    }

    /// At each tick: whose advert is overdue.
    pub(super) fn tell_missed(&mut self, now: Instant) {
        for peer in self.peers.iter_mut() {
            let due = peer.pace.interval * 3 / 2 + peer.grace;
            let since = peer.confirmed.filter(|at| peer.alive && now >= *at + due);
            if let Some(since) = since
                && !core::mem::replace(&mut peer.watch.told_missed, true)
                && peer.watch.told_missed_at.is_none_or(|at| now >= at + QUIET)
            {
                peer.watch.told_missed_at = Some(now);
                let peer = peer.address;
                self.out.report(Report::AdvertMissed { peer, since });
            }
        }
    }

    /// When the next probes are due.
    pub(super) const fn probe_timeout(&self) -> Option<Instant> {
        self.probes.next
    }

    /// Judges the silence of those that are watched, then asks again.
    pub(super) fn probe(&mut self, now: Instant) {
        let (Some(liveness), Some(due)) = (self.liveness, self.probes.next) else {
            return;
        };
        if now < due {
            return;
        }
        self.probes.next = Some(next_probe(due, liveness.interval, now));
        let late = now.saturating_since(due);
        let stalled = late > liveness.interval;
        if stalled {
            self.tell_stall(late, now);
        }
        for index in 0..self.peers.iter().count() {
            self.probe_peer(index, liveness, stalled, now);
        }
    }

    fn tell_stall(&mut self, late: Duration, now: Instant) {
        if self.probes.told_stall.is_none_or(|at| now >= at + QUIET) {
            self.probes.told_stall = Some(now);
            self.out.report(Report::OwnStall { late });
        }
    }

    fn probe_peer(&mut self, index: usize, liveness: Liveness, stalled: bool, now: Instant) {
        let Some(peer) = self.peers.iter_mut().nth(index) else {
            return;
        };
        if !peer.watch.probed {
            return;
        }
        let address = peer.address;
        if stalled {
            // What was not seen answered may have been answered late, or not been sent in time.
            peer.watch.count = 0;
        }
        let judgement = peer.watch.judge(liveness.misses, now);
        let count = peer.watch.unanswered();
        if !matches!(judgement, Judgement::Fine) {
            self.out.report(Report::ProbesUnanswered {
                peer: address,
                count,
            });
        }
        if matches!(judgement, Judgement::Dead) {
            self.feed_all(Input::NodeDead(address), now);
        }
        self.send_probe(index, now);
    }

    fn send_probe(&mut self, index: usize, now: Instant) {
        let Some(peer) = self.peers.iter_mut().nth(index) else {
            return;
        };
        let watched = |election: &&Election| election.watched() == Some(peer.address);
        let count = self.elections.iter().filter(watched).count();
        if count == 0 {
            return;
        }
        let first = if count > PROBED_INSTANCES {
            peer.watch.rotation % count
        } else {
            0
        };
        let mut vrids = [0; PROBED_INSTANCES];
        let asked = self.elections.iter().filter(watched).cycle();
        for (vrid, election) in vrids.iter_mut().zip(asked.skip(first).take(count)) {
            *vrid = election.config().vrid.get();
        }
        peer.watch.rotation = first + PROBED_INSTANCES;
        peer.watch.sends(now);
        self.out.probe(peer.address, vrids);
    }

    /// After every input: who is to be watched now.
    pub(super) fn update_watches(&mut self, now: Instant) {
        if self.liveness.is_none() {
            return;
        }
        let running = matches!(self.phase, Phase::Running { .. });
        for peer in self.elections.iter().filter_map(Election::watched) {
            if let Some(peer) = self.peers.get_mut(peer) {
                peer.watch.wanted = running;
            }
        }
        let mut any = false;
        for Peer { watch, .. } in self.peers.iter_mut() {
            let wanted = core::mem::take(&mut watch.wanted);
            if wanted && !watch.probed {
                watch.begin();
            }
            watch.probed = wanted;
            any |= wanted;
        }
        self.probes.next = match self.probes.next {
            Some(next) if any => Some(next),
            None if any => Some(now),
            _ => None,
        };
    }
}

/// The next point of the grid that leaves the probes sent now three quarters of an interval to be
/// answered.
fn next_probe(due: Instant, interval: Duration, now: Instant) -> Instant {
    let next = next_on_grid(due, interval, now);
    if next < now + interval * 3 / 4 {
        next + interval
    } else {
        next
    }
}
