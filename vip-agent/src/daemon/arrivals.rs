//! Puts the first packet after each takeover into the recording.

use std::collections::BTreeMap;

use vip_proto::{Instant, Vrid};

use super::shared::Shared;
use crate::dataplane::tables::first_vip;
use crate::flight::Event;
use crate::inputs::request::Request;

/// The takeovers whose first packet is recorded, by when the claim was made.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    recorded: BTreeMap<Vrid, Instant>,
}

impl Arrivals {
    /// Looks for packets that have arrived since the last look.
    pub(super) fn look(&mut self, shared: &Shared) {
        let Some(seen) = shared
            .changing()
            .dataplane
            .as_ref()
            .map(|dataplane| dataplane.slots().seen)
        else {
            return;
        };
        for (number, instance) in shared.config.instances.iter().enumerate() {
            let vrid = instance.vrid;
            let Some(takeover) = shared.takeovers.last(vrid) else {
                continue;
            };
            // One that an earlier agent has made is in the recording already.
            if takeover.claimed_at < shared.started {
                continue;
            }
            if self.recorded.get(&vrid) == Some(&takeover.claimed_at) {
                continue;
            }
            let first = (first_vip(&shared.config, number)..)
                .zip(&instance.vips)
                .map(|(index, vip)| (seen.first_packet(index), *vip))
                .filter(|(at, _)| *at >= takeover.claimed_at)
                .min();
            let Some((at, vip)) = first else { continue };
            let after = at.saturating_since(takeover.claimed_at);
            let event = Event::FirstPacket { vrid, vip, after };
            if shared.requests.send(Request::Record { event, at }).is_ok() {
                self.recorded.insert(vrid, takeover.claimed_at);
            }
        }
    }
}
