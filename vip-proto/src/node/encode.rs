//! This node's advert.

use super::Node;
use crate::election::Election;
use crate::native::{self, Echo, Header, MAX_DATAGRAM, MAX_ECHOES};
use crate::{Incarnation, Instant};

impl Node {
    /// Writes the current advert (authenticated, with the next sequence number) into `buffer`.
    /// Does not allocate.
    #[expect(
        clippy::expect_used,
        reason = "the largest advert fits: asserted beside MAX_DATAGRAM"
    )]
    pub fn encode_advert<'b>(&mut self, buffer: &'b mut [u8; MAX_DATAGRAM]) -> &'b [u8] {
        self.sequence += 1;
        self.counters.adverts_sent += 1;
        let header = Header {
            key_id: self.keys.signing_id(),
            sender: self.address,
            incarnation: self.incarnation,
            sequence: self.sequence,
            advert_interval: self.pace.interval,
            down_factor: self.pace.factor,
            grace: self.grace,
        };
        let (echoes, count) = self.echoes();
        let echoes = echoes.into_iter().take(count).map(|(_, echo)| echo);
        let records = self.elections.iter().map(Election::record);
        native::emit(&header, records, echoes, &self.keys, buffer)
            .expect("at most MAX_INSTANCES records and MAX_ECHOES echoes")
    }

    /// What was heard of whom, those heard last first, and how many there are.
    fn echoes(&self) -> ([(Instant, Echo); MAX_ECHOES], usize) {
        let none = Echo {
            incarnation: Incarnation(0),
            sequence: 0,
        };
        let mut latest = [(Instant::default(), none); MAX_ECHOES];
        let mut count = 0;
        for peer in self.peers.iter() {
            let Some(heard) = peer.heard else { continue };
            for echo in peer.sessions.echoes() {
                // Insertion into a short sorted list: whatever falls off its end was heard earlier.
                let place = latest
                    .iter()
                    .take(count)
                    .position(|(at, _)| *at < heard)
                    .unwrap_or(count);
                if let Some(tail) = latest.get_mut(place..).filter(|tail| !tail.is_empty()) {
                    tail.rotate_right(1);
                    count = (count + 1).min(MAX_ECHOES);
                }
                if let Some(slot) = latest.get_mut(place) {
                    *slot = (heard, echo);
                }
            }
        }
        (latest, count)
    }
}
