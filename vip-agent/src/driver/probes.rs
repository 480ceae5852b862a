//! Liveness probes and the lease as the data plane sees it: what is fed before anything is decided.

use vip_common::abi::PROBE_INSTANCES;
use vip_proto::{Incarnation, NodeAddress};

use super::{Driver, Notice};
use crate::clock;

impl Driver {
    /// Feeds what the data plane knows and the machine must know before it decides: a lease that was
    /// told to be over, and answers to probes.
    pub(super) fn feed_dataplane(&mut self) {
        // A slot that cannot be read is the next write's failure.
        if self.instances.was_told_over().unwrap_or(false) {
            self.node.handle_lease_ended(clock::now());
            self.drain();
        }
        self.collect_echoes();
        self.drain();
    }

    /// Tells the machine what was answered: what it wants done about that is still to be drained.
    pub(super) fn collect_echoes(&mut self) {
        let Some(prober) = &mut self.prober else {
            return;
        };
        prober.collect(|peer, echo| {
            self.flight.answered(peer, echo);
            self.node.handle_echo(peer, echo, clock::now());
        });
    }

    /// A probe that cannot leave says nothing about the peer: the machine is told.
    pub(super) fn probe(&mut self, peer: NodeAddress, vrids: [u8; PROBE_INSTANCES]) {
        let Some(prober) = &mut self.prober else {
            return;
        };
        match prober.probe(peer, vrids, clock::now()) {
            Ok(()) => {
                self.counters.probes_sent += 1;
                self.probes_failing = false;
            }
            Err(error) => {
                self.counters.probes_failed += 1;
                self.node.handle_probe_failure(peer, clock::now());
                if !std::mem::replace(&mut self.probes_failing, true) {
                    let error = format!("to {peer}: {error}");
                    self.notify(Notice::ProbeFailed { error });
                }
            }
        }
    }

    /// A peer's incarnation is known: probes to and from it have keys now.
    pub(super) fn session(&mut self, peer: NodeAddress, incarnation: Incarnation, key_id: u8) {
        let Some(prober) = &mut self.prober else {
            return;
        };
        let room = if prober.has_room_for(peer) {
            Ok(())
        } else {
            // Of nodes that come and go, the machine forgets those that are gone.
            let known = self.node.status(clock::now()).peers;
            let known: Vec<NodeAddress> = known.iter().map(|peer| peer.address).collect();
            prober.keep(&known)
        };
        let begun = room.and_then(|()| prober.session(peer, incarnation, key_id));
        if let Err(error) = begun {
            let error = format!("with {peer}: {error}");
            self.notify(Notice::ProbeFailed { error });
        }
    }

    /// Probes leave by the interface that adverts leave by.
    pub(super) fn follow_probes(&mut self) {
        let (Some(prober), Some(interface)) = (&mut self.prober, self.adverts.interface()) else {
            return;
        };
        if let Err(error) = prober.follow(interface) {
            let error = format!("by the new interface: {error}");
            self.notify(Notice::ProbeFailed { error });
        }
    }
}
