//! A datagram's way: checked, authenticated, judged by its session, then given to the elections.

use super::peers::{NoPlace, Peer};
use super::session::Standing;
use super::{Node, Report};
use crate::election::State;
use crate::election::input::{Heard, Input};
use crate::election::timing::Pace;
use crate::native::{AdvertView, Flags, Header, InstanceRecord, RejectReason};
use crate::{Instant, NodeAddress, Vrid};

impl Node {
    /// Cheap checks first, the signature next, and only then anything that changes state.
    pub(super) fn receive(
        &mut self,
        from: NodeAddress,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), RejectReason> {
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
        let echoed = view.echoes().any(|echo| echo == self.incarnation);
        let peer = self.peers.entry(from).ok_or(RejectReason::TooManyPeers)?;
        let standing = peer
            .sessions
            .judge(header.incarnation, header.sequence, echoed)?;
        peer.adverts += 1;
        self.counters.adverts_received += 1;
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

    fn take_verified(&mut self, view: &AdvertView<'_>, now: Instant) {
        let header = view.header();
        let Some(peer) = self.peers.entry(header.sender) else {
            return;
        };
        peer.note(header, now);
        peer.confirmed = Some(now);
        if !core::mem::replace(&mut peer.alive, true) {
            self.out.report(Report::PeerUp {
                peer: header.sender,
            });
        }
        let changed = self.take_records(view, true);
        self.feed_records(view, true, now);
        if changed {
            self.feed_all(Input::CandidatesChanged, now);
        }
    }

    /// All an unverified advert can do is make this node wait: somebody may be Active there.
    fn take_unverified(&mut self, view: &AdvertView<'_>, now: Instant) {
        let header = view.header();
        let interval = self.pace.interval;
        let Some(peer) = self.peers.entry(header.sender) else {
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
        if !peer.alive {
            peer.note(header, now);
            self.take_records(view, false);
        }
        self.feed_records(view, false, now);
    }

    /// Stores what the peer says; whether others have to wait less for it now.
    fn take_records(&mut self, view: &AdvertView<'_>, verified: bool) -> bool {
        let header = view.header();
        let Some(peer) = self.peers.entry(header.sender) else {
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

    fn feed_records(&mut self, view: &AdvertView<'_>, verified: bool, now: Instant) {
        let header = view.header();
        let pace = pace_of(header);
        for record in view.records() {
            let (peer, incarnation) = (header.sender, header.incarnation);
            let heard = Heard {
                peer,
                incarnation,
                verified,
                pace,
                record,
            };
            self.feed(self.position(record.vrid), Input::Heard(heard), now);
        }
    }
}

impl Peer {
    fn note(&mut self, header: &Header, now: Instant) {
        self.heard = Some(now);
        self.present = true;
        self.spoke_as = header.incarnation;
        self.pace = pace_of(header);
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
