//! One host: the agent's node, and what its kernel does without it.

use std::collections::VecDeque;

use vip_proto::election::State;
use vip_proto::node::{EchoSeen, PeerInstance};
use vip_proto::{Epoch, Incarnation, Instant, Node};

use crate::canonical::LIVES;
use crate::wire::Advert;

/// A host and its clock.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) agent: Option<Node>,
    /// Whether the host itself, its kernel, is up.
    pub(crate) up: bool,
    /// Number of the agent's present or next start.
    pub(crate) life: usize,
    /// Quanta the agent has been frozen for.
    pub(crate) frozen: Option<u16>,
    pub(crate) clock: Instant,
    pub(crate) kernel: Kernel,
    pub(crate) inbox: VecDeque<Advert>,
    /// Sequence number of the last advert of each start.
    pub(crate) sent: [u64; LIVES],
    /// The highest epoch claimed, and the highest the agent has known.
    pub(crate) claimed: Epoch,
    pub(crate) known: Epoch,
    /// The agent has resumed and not sent an advert yet.
    pub(crate) silent: bool,
    /// Something has happened here at this moment: faults in between are the same as now.
    pub(crate) eventful: bool,
}

/// The claim word and the agent's lease.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kernel {
    pub(crate) lease_until: Instant,
    /// A prober was told that the lease is over: it is, whatever is written later.
    pub(crate) told_over: bool,
    pub(crate) claim: Option<Claim>,
    /// Starts of the peers' agents whose probes are answered.
    pub(crate) sessions: Vec<Option<Incarnation>>,
    /// Whom the agent has probed at this moment.
    pub(crate) asks: Option<usize>,
    /// Echoes that have arrived since the agent looked.
    pub(crate) stamps: Vec<Option<EchoSeen>>,
}

/// What the data plane acts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    pub(crate) epoch: Epoch,
    pub(crate) answering: bool,
}

impl Kernel {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            sessions: vec![None; count],
            stamps: vec![None; count],
            ..Self::default()
        }
    }
}

impl Host {
    pub(crate) fn new(clock: Instant, count: usize) -> Self {
        Self {
            agent: None,
            up: true,
            life: 0,
            frozen: None,
            clock,
            kernel: Kernel::new(count),
            inbox: VecDeque::new(),
            sent: [0; LIVES],
            claimed: Epoch(0),
            known: Epoch(0),
            silent: false,
            eventful: true,
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.agent.is_some() && self.frozen.is_none()
    }

    pub(crate) fn leased(&self) -> bool {
        self.up && !self.kernel.told_over && self.clock < self.kernel.lease_until
    }

    /// Whether what its agent has left has run out before it came back.
    pub(crate) fn stays_away(&self) -> bool {
        self.agent.is_none() && self.kernel.claim.is_some() && !self.leased()
    }

    /// Whether it takes packets.
    pub(crate) fn accepts(&self) -> bool {
        self.leased() && self.kernel.claim.is_some()
    }

    /// Whether it answers for the VIPs.
    pub(crate) fn answers(&self) -> bool {
        self.leased() && self.kernel.claim.is_some_and(|claim| claim.answering)
    }

    pub(crate) fn state(&self) -> Option<State> {
        let agent = self.agent.as_ref()?;
        Some(agent.status(self.clock).instances[0].state)
    }

    /// Whether the agent knows a peer that could take over.
    pub(crate) fn knows_a_backup(&self) -> bool {
        let status = self.agent.as_ref().map(|agent| agent.status(self.clock));
        let mut peers = status.iter().flat_map(|status| &status.peers);
        let ready = |says: &PeerInstance| says.state == State::Backup && says.priority > 0;
        peers.any(|peer| peer.alive && peer.instances.iter().any(ready))
    }

    pub(crate) fn epoch(&self) -> Epoch {
        let known = |agent: &Node| agent.status(self.clock).instances[0].epoch;
        self.agent.as_ref().map_or(Epoch(0), known)
    }
}
