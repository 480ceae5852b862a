//! Sends adverts, and stores what an agent that goes on with the data plane must know of them.

use std::io;

use super::{Driver, Notice};
use crate::clock;

impl Driver {
    pub(super) fn transmit(&mut self) {
        // If this process was stopped since the machine decided, a lease may be over by now: the
        // machine looks again, so that no advert claims what the data plane has given up.
        let now = clock::now();
        self.collect_echoes();
        self.node.handle_timeout(now);
        let advert = self.node.encode_advert(&mut self.buffer);
        match self.adverts.send(advert) {
            Ok(()) => {
                self.transmit_failing = false;
                if self.remember().is_err() {
                    self.counters.dataplane_failures += 1;
                }
            }
            Err(error) => {
                self.node.handle_transmit_failure(clock::now());
                if !std::mem::replace(&mut self.transmit_failing, true) {
                    let from = self.adverts.address();
                    self.notify(Notice::TransmitFailed {
                        error: format!("from {from}: {error}"),
                    });
                }
            }
        }
    }

    fn remember(&self) -> io::Result<()> {
        let sequence = self.node.sequence();
        self.instances.set_identity(self.incarnation, sequence)?;
        let held = self.node.held();
        let slots = held.filter_map(|vrid| self.placements.get(&vrid));
        self.instances
            .set_held(slots.map(|placement| placement.slot))
    }
}
