//! A cluster's hash: the same for states that behave in the same way.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use vip_proto::Instant;

use super::Cluster;
use crate::canonical::{INCARNATIONS, LIVES, Mixer, Origin};
use crate::setup::{incarnation, quanta};
use crate::wire::Advert;

impl Cluster {
    /// A number that is the same for states that behave in the same way.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = Mixer::default();
        let sent: Vec<[u64; LIVES]> = self.hosts.iter().map(|host| host.sent).collect();
        let epoch = self.epoch.0;
        let mut origin = Origin {
            now: Instant::default(),
            memory: u64::try_from(self.setup.memory().as_nanos()).unwrap(),
            future: u64::try_from(self.setup.future().as_nanos()).unwrap(),
            epoch,
            sent: &sent,
            own: 0,
        };
        let mut text = String::with_capacity(4096);
        let mut stamps = String::new();
        for (index, host) in self.hosts.iter().enumerate() {
            origin.now = host.clock;
            origin.own = incarnation(index, host.life.min(LIVES - 1)).0;
            if let Some(agent) = &host.agent {
                text.clear();
                write!(text, "{agent:?}").unwrap();
                origin.digest(&text, &mut hasher);
            }
            (host.up, host.frozen, host.silent, host.kernel.asks).hash(&mut hasher);
            (host.life, host.kernel.told_over).hash(&mut hasher);
            write!(stamps, "{:?}{:?}", host.kernel.sessions, host.kernel.stamps).unwrap();
            origin.digest(&stamps, &mut hasher);
            stamps.clear();
            let claim = host.kernel.claim.map(|claim| {
                let behind = epoch.wrapping_sub(claim.epoch.0);
                (claim.answering, behind)
            });
            let left = quanta(host.clock, host.kernel.lease_until);
            (claim, left, host.eventful, host.inbox.len()).hash(&mut hasher);
            for advert in &host.inbox {
                advert.digest(&mut origin, &mut hasher);
            }
        }
        self.wire.len().hash(&mut hasher);
        for advert in &self.wire {
            advert.digest(&mut origin, &mut hasher);
        }
        if self.setup.walks {
            (self.time, self.budget).hash(&mut hasher);
        }
        (self.budget, &self.lost_last, self.cut, self.excused).hash(&mut hasher);
        let steady = if self.budget > 0 { self.steady } else { 0 };
        (
            steady,
            self.unsettled,
            self.answered,
            self.moves,
            self.broken,
        )
            .hash(&mut hasher);
        hasher.finish()
    }
}

impl Advert {
    fn digest(&self, origin: &mut Origin<'_>, hasher: &mut impl Hasher) {
        (self.from, self.to, self.due, self.touched).hash(hasher);
        origin.own = (self.from as u64 + 1) * INCARNATIONS;
        origin.digest(&self.content.text, hasher);
    }
}

impl PartialEq for Cluster {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Hash for Cluster {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest());
    }
}
