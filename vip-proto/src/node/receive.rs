//! A datagram's way: checked, authenticated, judged by its session, then given to the elections.

use core::time::Duration;

use super::peers::{NoPlace, Peer};
use super::session::Standing;
use super::{Node, Report};
use crate::election::State;
use crate::election::input::{Heard, Input};
use crate::election::timing::Pace;
use crate::native::{AdvertView, Flags, Header, InstanceRecord, RejectReason};
use crate::{Instant, NodeAddress, Vrid};

impl Node {
    /// Nothing is changed, and nothing decided, by what is not authentic.
    pub(super) fn receive(
        &mut self,
        from: NodeAddress,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), RejectReason> {
        let view = self.authenticate(from, datagram)?;
        let header = view.header();
        let echoed = view
            .echoes()
            .filter(|echo| echo.incarnation == self.incarnation)
            .map(|echo| echo.sequence)
            .max();
        let sent = self.sequence;
        let standing = self
            .peers
            .entry(from, sent)
            .ok_or(RejectReason::TooManyPeers)?
            .sessions
            .judge(header.incarnation, header.sequence, echoed, sent)?;
        // Whatever it says: a lease that is over is given up first.
        self.wake(now);
        self.counters.adverts_received += 1;
        if let Some(peer) = self.peers.get_mut(from) {
            peer.adverts += 1;
        }
        match standing {
            Standing::Overtaken => {}
            Standing::Unverified => self.take_unverified(&view, now),
            Standing::Verified => self.take_verified(&view, now),
            Standing::Opened => {
                // It has verified us or is about to: the answer lets it be sure at once.
                self.out.transmit();
                self.take_verified(&view, now);
            }
        }
        Ok(())
    }

    /// The cheap checks first, so that most of what is sent to the port by others costs no hashing.
    fn authenticate<'d>(
        &self,
        from: NodeAddress,
        datagram: &'d [u8],
    ) -> Result<AdvertView<'d>, RejectReason> {
        let view = AdvertView::new_checked(datagram)?;
        let header = view.header();
        if header.sender != from {
            return Err(RejectReason::SenderMismatch);
        }
        if from == self.address || header.incarnation == self.incarnation {
            return Err(RejectReason::OwnPacket);
        }
        self.peers.admits(from).map_err(|no_place| match no_place {
            NoPlace::Unknown => RejectReason::UnknownPeer,
            NoPlace::Full => RejectReason::TooManyPeers,
        })?;
        view.verify(&self.keys)?;
        Ok(view)
    }

    fn take_verified(&mut self, view: &AdvertView<'_>, now: Instant) {
        let header = view.header();
        let Some(peer) = self.peers.get_mut(header.sender) else {
            return;
        };
        peer.note(header, pace_of(header), now);
        peer.grace = header.grace;
        peer.confirmed = Some(now);
        peer.watch.heard(header.grace, now);
        let told = (header.incarnation, header.key_id);
        if peer.told.replace(told) != Some(told) {
            self.out
                .session(header.sender, header.incarnation, header.key_id);
        }
        if !core::mem::replace(&mut peer.alive, true) {
            self.out.report(Report::PeerUp {
                peer: header.sender,
            });
        }
        let changed = self.take_records(view, true);
        self.feed_records(view, true, pace_of(header), now);
        if changed {
            self.feed_all(Input::CandidatesChanged, now);
        }
    }

    /// All an unverified advert can do is make this node wait: somebody may be Active there. Its pace
    /// counts only where it is slower.
    fn take_unverified(&mut self, view: &AdvertView<'_>, now: Instant) {
        let header = view.header();
        let interval = self.pace.interval;
        let Some(peer) = self.peers.get_mut(header.sender) else {
            return;
        };
        peer.heard = Some(now);
        // Answered at once, so that both sides know each other after one round trip; but not more
        // often than twice an interval, whoever replays what.
        if peer.answered.is_none_or(|last| now >= last + interval / 2) {
            peer.answered = Some(now);
            self.out.transmit();
        }
        // What a live verified session said is not overwritten by what may be a recording.
        let pace = pace_of(header).slower(self.pace);
        if !peer.alive {
            let pace = if peer.present {
                pace.slower(peer.pace)
            } else {
                pace
            };
            peer.note(header, pace, now);
            self.take_records(view, false);
        }
        self.feed_records(view, false, pace, now);
    }

    /// Stores what the peer says; whether others have to wait less for it now.
    fn take_records(&mut self, view: &AdvertView<'_>, verified: bool) -> bool {
        let header = view.header();
        let Some(peer) = self.peers.get_mut(header.sender) else {
            return false;
        };
        peer.verified = verified;
        let mut changed = false;
        for (index, election) in self.elections.iter().enumerate() {
            let config = election.config();
            let record = record_of(view, config.vrid);
            let (Some(known), Some(digest)) =
                (peer.records.get_mut(index), peer.digests.get_mut(index))
            else {
                continue;
            };
            if weight(record.as_ref()) < weight(known.as_ref()) {
                if !verified {
                    // A recording must not make this node wait less.
                    continue;
                }
                changed = true;
            }
            *known = record;
            if let Some(record) = record.filter(|_| verified)
                && digest.replace(record.vips_digest) != Some(record.vips_digest)
                && record.vips_digest != config.vips_digest
            {
                self.out.report(Report::VipsDiffer {
                    vrid: config.vrid,
                    peer: header.sender,
                });
            }
        }
        changed
    }

    fn feed_records(&mut self, view: &AdvertView<'_>, verified: bool, pace: Pace, now: Instant) {
        let header = view.header();
        for record in view.records() {
            let (peer, incarnation) = (header.sender, header.incarnation);
            let heard = Heard {
                peer,
                incarnation,
                verified,
                pace,
                grace: if verified {
                    header.grace
                } else {
                    Duration::ZERO
                },
                record,
            };
            self.feed(self.position(record.vrid), Input::Heard(heard), now);
        }
    }
}

impl Peer {
    fn note(&mut self, header: &Header, pace: Pace, now: Instant) {
        self.heard = Some(now);
        self.present = true;
        self.spoke_as = header.incarnation;
        self.pace = pace;
    }
}

const fn pace_of(header: &Header) -> Pace {
    Pace {
        interval: header.advert_interval,
        factor: header.down_factor,
    }
}

fn record_of(view: &AdvertView<'_>, vrid: Vrid) -> Option<InstanceRecord> {
    view.records().find(|record| record.vrid == vrid)
}

/// How much others have to wait for somebody who says this.
fn weight(record: Option<&InstanceRecord>) -> u8 {
    match record {
        Some(record) if record.state != State::Backup || record.priority == 0 => 0,
        Some(record) if record.flags.contains(Flags::YIELD) => 1,
        Some(_) => 2,
        None => 0,
    }
}
