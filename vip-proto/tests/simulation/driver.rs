//! What a daemon does with its node, and what must be true whatever it does.

use vip_proto::election::{State, TransitionReason};
use vip_proto::native::{MAX_DATAGRAM, RejectReason};
use vip_proto::node::Report;
use vip_proto::{Action, Instant, Node};

use crate::attacker::Replay;
use crate::kernel::{Claim, Probe};
use crate::world::{Event, World, address, node_at};

impl World {
    /// One turn of the loop: what the data plane has seen, then what is due.
    pub(crate) fn turn(&mut self, node: usize) {
        if !self.awake(node) || !self.running(node) {
            return;
        }
        let Some(kernel) = self.hosts[node].kernel.as_mut() else {
            return;
        };
        let (news, told_over) = (kernel.news(), kernel.was_told_over());
        for (from, echo) in news {
            self.tell(node, |agent, now| {
                agent.handle_echo(address(from), &echo, now)
            });
        }
        if told_over {
            self.tell(node, Node::handle_lease_ended);
        }
        let due = |agent: &Node, now: Instant| agent.poll_timeout().is_some_and(|at| at <= now);
        self.tell(node, |agent, now| {
            if due(agent, now) {
                agent.handle_timeout(now);
            }
        });
    }

    /// Calls a handler of a running node, carries out its actions and arms its next timeout.
    pub(crate) fn tell(&mut self, node: usize, handler: impl FnOnce(&mut Node, Instant)) {
        if !self.awake(node) {
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
        self.hosts[node].epoch = epoch;
        self.arm(node, agent.poll_timeout());
        // One that has stopped for good is gone; its data plane is not.
        if agent.is_stopped() {
            self.stop(node);
        } else {
            self.hosts[node].agent = Some(agent);
        }
    }

    fn carry_out(&mut self, node: usize, agent: &mut Node, action: Action) {
        let now = self.now;
        match action {
            Action::Lease { until, anew } => {
                self.note(|| format!("node {node} holds until {until:?}, anew {anew}"));
                if let Some(kernel) = self.hosts[node].kernel.as_mut() {
                    assert!(
                        !anew || kernel.claim.is_none(),
                        "a new lease with old claims"
                    );
                    kernel.renew(until, anew);
                }
                self.check_exclusive();
            }
            Action::Claim {
                epoch, answering, ..
            } => self.claim(node, Claim { epoch, answering }),
            Action::Release { drain, .. } => {
                self.note(|| format!("node {node} releases, {drain:?}"));
                self.tally.handed_over += u64::from(drain.is_some());
                if let Some(kernel) = self.hosts[node].kernel.as_mut() {
                    kernel.claim = None;
                    kernel.drain = drain;
                }
            }
            Action::Probe { peer, vrids } => {
                let Some(prober) = self.hosts[node].kernel.as_ref().and_then(|k| k.incarnation)
                else {
                    return;
                };
                let (from, to) = (node, node_at(peer));
                let probe = Probe {
                    prober,
                    sent: now,
                    vrids,
                };
                if let Some(delay) = self.network.probe(from, to, &self.setup) {
                    self.schedule(now + delay, Event::Probe { from, to, probe });
                }
            }
            Action::Session {
                peer, incarnation, ..
            } => {
                if let Some(kernel) = self.hosts[node].kernel.as_mut() {
                    kernel.sessions.insert(node_at(peer), incarnation);
                }
            }
            Action::Transmit => self.transmit(node, agent),
            Action::Announce { .. } => assert!(
                self.holds(node) && self.claimed(node).is_some_and(|claim| claim.answering),
                "{}",
                self.blame("announced without answering")
            ),
            Action::Report(report) => self.reported(node, report),
        }
    }

    fn claim(&mut self, node: usize, claim: Claim) {
        self.note(|| format!("node {node} claims {claim:?}"));
        let before = self.claimed(node);
        let completes = before.is_some_and(|before| {
            before.epoch == claim.epoch && !before.answering && claim.answering
        });
        if !completes {
            self.tally.claims += 1;
            assert!(
                claim.epoch > self.hosts[node].epoch,
                "{}",
                self.blame("a claim did not take a higher epoch than all its node knew")
            );
            self.hosts[node].epoch = claim.epoch;
        }
        if let Some(kernel) = self.hosts[node].kernel.as_mut() {
            kernel.claim = Some(claim);
            kernel.drain = None;
        }
        self.check_exclusive();
    }

    fn reported(&mut self, node: usize, report: Report) {
        self.note(|| format!("node {node} reports {report:?}"));
        match report {
            Report::Transition { reason, .. } => {
                let tally = &mut self.tally;
                tally.nodes_dead += u64::from(reason == TransitionReason::NodeDead);
                tally.agents_dead += u64::from(reason == TransitionReason::AgentDead);
                tally.resumed += u64::from(reason == TransitionReason::Resumed);
            }
            Report::SplitBrain { .. } => self.tally.split_brains += 1,
            Report::HandoverFailed { .. } => self.tally.failed_at = self.now,
            Report::Rejected { reason, .. } => assert!(
                matches!(reason, RejectReason::Replayed | RejectReason::StaleSession),
                "{}",
                self.blame(&format!("an honest advert was rejected: {reason:?}"))
            ),
            Report::PeerUp { .. }
            | Report::PeerDown { .. }
            | Report::VipsDiffer { .. }
            | Report::OwnStall { .. }
            | Report::AgentLate { .. }
            | Report::ProbesUnanswered { .. }
            | Report::AdvertMissed { .. }
            | Report::LeaseBegun { .. }
            | Report::LeaseEnded { .. } => {}
        }
    }

    fn transmit(&mut self, node: usize, agent: &mut Node) {
        let mut buffer = [0; MAX_DATAGRAM];
        let datagram = agent.encode_advert(&mut buffer).to_vec();
        let says = State::from_wire(datagram[50]).expect("the record's state");
        if let Some(kernel) = self.hosts[node].kernel.as_mut() {
            kernel.sequence = agent.sequence();
        }
        assert!(
            says != State::Active || self.holds(node),
            "{}",
            self.blame("says Active without a lease")
        );
        self.note(|| format!("node {node} says {says:?}, flags {}", datagram[51]));
        self.attack(node, &datagram);
        for to in (0..self.count()).filter(|to| *to != node) {
            match self.network.advert(node, to, &self.setup) {
                Some(delay) => {
                    let (from, datagram) = (node, datagram.clone());
                    self.schedule(self.now + delay, Event::Deliver { from, to, datagram });
                }
                None => self.note(|| format!("advert {node} -> {to} lost ({says:?})")),
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

    /// Whether the agent may believe in its lease: its data plane does, or has told a peer otherwise
    /// a moment ago.
    fn holds(&self, node: usize) -> bool {
        let kernel = self.hosts[node].kernel.as_ref();
        kernel.is_some_and(|kernel| kernel.lease_until() > self.now)
    }

    fn claimed(&self, node: usize) -> Option<Claim> {
        self.hosts[node].kernel.as_ref()?.claim
    }

    /// The nodes whose data plane answers for the VIPs.
    pub(crate) fn answering(&self) -> Vec<usize> {
        let answers = |node: &usize| {
            let kernel = self.hosts[*node].kernel.as_ref();
            kernel.is_some_and(|kernel| kernel.answers(self.now))
        };
        (0..self.count()).filter(answers).collect()
    }

    /// The one rule: two data planes never answer at once.
    fn check_exclusive(&self) {
        let excused = self.network.is_cut() || self.now < self.excused_until;
        assert!(
            excused || self.answering().len() < 2,
            "{}",
            self.blame(&format!("two answer: {:?}", self.answering()))
        );
    }

    /// What is planned is seen by nobody: whoever a packet comes to takes it, or sends it on to one
    /// that does.
    pub(crate) fn check_service(&self) {
        if !self.must_serve {
            return;
        }
        let accepts = |node: usize| {
            let kernel = self.hosts[node].kernel.as_ref();
            kernel.is_some_and(|kernel| kernel.accepts(self.now))
        };
        assert!(
            (0..self.count()).any(accepts),
            "{}",
            self.blame("nobody takes packets")
        );
        for host in &self.hosts {
            let drain = host.kernel.as_ref().and_then(|kernel| kernel.drain);
            if let Some(drain) = drain.filter(|drain| drain.until > self.now) {
                let successor = usize::from(drain.mac[5]) - 1;
                assert!(
                    accepts(successor) || self.forwards(successor),
                    "{}",
                    self.blame("packets are sent on to a node that does not take them")
                );
            }
        }
    }

    fn forwards(&self, node: usize) -> bool {
        let kernel = self.hosts[node].kernel.as_ref();
        let drain = kernel.and_then(|kernel| kernel.drain);
        drain.is_some_and(|drain| drain.until > self.now)
    }
}
