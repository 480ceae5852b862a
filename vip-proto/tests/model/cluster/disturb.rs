//! What may happen to a cluster.

use vip_proto::election::Command;
use vip_proto::node::Resumed;
use vip_proto::{Epoch, Node};

use super::{Cluster, Cut};
use crate::host::Kernel;
use crate::setup::{Flaw, GRACE, SETTLING, VRID};
use crate::wire::Advert;

impl Cluster {
    /// The agent starts: where the one before it stopped, if the lease goes on; else with nothing.
    pub(crate) fn start(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.eventful = true;
        if host.leased() {
            let claim = host.kernel.claim.filter(|claim| claim.answering);
            // An instance that was only accepted stays with who hands it over.
            host.kernel.claim = claim;
            let resumed = Resumed {
                sequence: host.sent[host.life],
                lease_until: host.kernel.lease_until,
                claims: claim.iter().map(|claim| (VRID, claim.epoch)).collect(),
            };
            host.silent = true;
            let (config, instance) = self.setup.node(index, host.life);
            let now = host.clock;
            host.agent = Some(Node::resume(config, &[instance], &resumed, now));
        } else {
            host.up = true;
            host.life += usize::from(host.sent[host.life] > 0);
            host.kernel = Kernel::new(self.setup.count());
            let (config, instance) = self.setup.node(index, host.life);
            host.agent = Some(Node::new(config, &[instance]));
        }
        (host.claimed, host.known) = (Epoch(0), Epoch(0));
        self.tell(index, |agent, now| {
            agent.handle_station(VRID, [2, 0, 0, 0, 0, 1]);
            agent.handle_startup(now);
        });
        self.wake(index);
        self.hosts[index].silent = false;
        self.disturbed();
    }

    /// The agent is gone; its lease is not.
    pub(crate) fn kill(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.agent = None;
        host.frozen = None;
        host.inbox.clear();
        if self.setup.flaw == Some(Flaw::GraceWithoutNotice) && host.leased() {
            host.kernel.lease_until = host.kernel.lease_until + GRACE;
        }
        self.failed();
    }

    /// The host is gone, with its lease.
    pub(crate) fn crash(&mut self, index: usize) {
        self.kill(index);
        self.hosts[index].up = false;
        self.hosts[index].kernel = Kernel::new(self.setup.count());
    }

    pub(crate) fn freeze(&mut self, index: usize) {
        self.hosts[index].frozen = Some(0);
        self.failed();
    }

    /// The agent goes on: what waits is read first.
    pub(crate) fn thaw(&mut self, index: usize) {
        self.hosts[index].frozen = None;
        for advert in std::mem::take(&mut self.hosts[index].inbox) {
            self.hear(&advert);
        }
        self.wake(index);
        self.disturbed();
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize, both: bool) {
        self.cut = Some(Cut {
            from,
            to,
            both,
            lasted: 0,
        });
        self.excused = SETTLING;
        self.failed();
    }

    pub(crate) fn heal(&mut self) {
        self.cut = None;
        self.disturbed();
    }

    pub(crate) fn switch_over(&mut self, index: usize) {
        self.ordered();
        self.tell(index, |agent, now| {
            let order = Command::Switchover { to: None };
            // Refused, it changes nothing.
            let _refused = agent.handle_command(VRID, order, now);
        });
        self.steadfast = false;
        self.disturbed();
    }

    pub(crate) fn shut_down(&mut self, index: usize) {
        self.ordered();
        // With nobody to hand over to, there is nobody to take packets.
        self.seamless &= self.hosts[index].knows_a_backup();
        self.steadfast = false;
        self.tell(index, Node::handle_shutdown);
        self.disturbed();
    }

    pub(crate) fn restart(&mut self, index: usize) {
        self.ordered();
        self.steadfast = self.seamless;
        self.tell(index, |agent, now| agent.handle_restart(now, GRACE));
        self.disturbed();
    }

    pub(crate) fn lose_probe(&mut self, from: usize, to: usize) {
        self.deaf[from][to] = true;
        self.disturbed();
    }

    /// Orders that cross each other may undo each other: the first is the one that counts.
    fn ordered(&mut self) {
        self.seamless &= !std::mem::replace(&mut self.ordered, true);
    }

    /// Something has failed that costs packets.
    fn failed(&mut self) {
        self.seamless = false;
        self.steadfast = false;
        self.disturbed();
    }

    /// An advert is lost, or comes only so many quanta later than it should.
    pub(crate) fn lose(&mut self, advert: usize, late: Option<u16>) {
        let Advert { from, to, .. } = self.wire[advert];
        self.lost_last[from][to] = true;
        match late {
            Some(late) => {
                self.wire[advert].due += late;
                self.wire[advert].touched = true;
            }
            None => drop(self.wire.remove(advert)),
        }
        self.disturbed();
    }

    /// An advert comes once more, so many quanta later.
    pub(crate) fn duplicate(&mut self, advert: usize, later: u16) {
        let mut copy = self.wire[advert].clone();
        copy.due += later;
        copy.touched = true;
        self.wire.push(copy);
        self.disturbed();
    }

    pub(crate) fn disturbed(&mut self) {
        self.moves = 0;
        self.unsettled = 0;
    }
}
