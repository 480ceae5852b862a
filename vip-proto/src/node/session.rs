//! Which adverts of a peer are fresh: sessions by incarnation, without clocks.
//!
//! Every advert of this node is a challenge: nobody can echo its sequence number before it was sent.
//! A session is opened only by an advert that echoes one of this node's sent after the peer's
//! session before was opened. So whatever was recorded before that opens nothing, however many times
//! the peer has started since, and nothing has to be remembered but one number.

use crate::Incarnation;
use crate::native::{Echo, Freshness, RejectReason, Window};

/// How many superseded incarnations of a peer are known as such. Nothing depends on it: an older one
/// is answered like a stranger instead of being rejected.
const RETIRED: usize = 8;

/// One start of the peer's agent and which of its adverts have been seen.
#[derive(Debug, Clone, Copy)]
struct Session {
    incarnation: Incarnation,
    window: Window,
}

/// What an authentic advert is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In the verified session, newer than all before.
    Verified,
    /// It opens a new verified session: it was made after the one before was opened.
    Opened,
    /// In the verified session, but overtaken by a newer one: says nothing any more.
    Overtaken,
    /// It may have been made at any time, even before this node's start.
    Unverified,
}

/// The sessions with one peer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    verified: Option<Session>,
    candidate: Option<Session>,
    /// The last advert this node had sent when `verified` was opened: only the echo of a later one
    /// opens another.
    floor: u64,
    retired: [Option<Incarnation>; RETIRED],
    next_retired: usize,
}

impl Sessions {
    /// No session yet; only the echo of an advert sent after `floor` opens one.
    pub(crate) fn above(floor: u64) -> Self {
        Self {
            floor,
            ..Self::default()
        }
    }

    /// Judges an authentic advert. `echoed`: the sequence number of this node's present incarnation
    /// it names, if any; `sent`: the last one this node has used.
    pub(crate) fn judge(
        &mut self,
        incarnation: Incarnation,
        sequence: u64,
        echoed: Option<u64>,
        sent: u64,
    ) -> Result<Standing, RejectReason> {
        if let Some(session) = self
            .verified
            .as_mut()
            .filter(|session| session.incarnation == incarnation)
        {
            return match session.window.accept(sequence) {
                Freshness::Newest => Ok(Standing::Verified),
                Freshness::Late => Ok(Standing::Overtaken),
                Freshness::Replayed => Err(RejectReason::Replayed),
            };
        }
        let fresh = echoed.is_some_and(|echoed| self.floor < echoed && echoed <= sent);
        if !fresh && self.retired.contains(&Some(incarnation)) {
            return Err(RejectReason::StaleSession);
        }
        self.judge_candidate(incarnation, sequence)?;
        if !fresh {
            return Ok(Standing::Unverified);
        }
        let opened = self.candidate.take();
        if let Some(old) = core::mem::replace(&mut self.verified, opened) {
            self.retire(old.incarnation, incarnation);
        }
        self.floor = sent;
        Ok(Standing::Opened)
    }

    /// What to echo: the candidate first, it is the one that waits for it.
    pub(crate) fn echoes(&self) -> impl Iterator<Item = Echo> {
        [self.candidate, self.verified]
            .into_iter()
            .flatten()
            .map(|session| Echo {
                incarnation: session.incarnation,
                sequence: session.window.highest(),
            })
    }

    /// The peer's start that is believed.
    #[cfg(test)]
    pub(crate) fn verified(&self) -> Option<Incarnation> {
        self.verified.map(|session| session.incarnation)
    }

    fn judge_candidate(
        &mut self,
        incarnation: Incarnation,
        sequence: u64,
    ) -> Result<(), RejectReason> {
        match self
            .candidate
            .as_mut()
            .filter(|session| session.incarnation == incarnation)
        {
            Some(session) => match session.window.accept(sequence) {
                Freshness::Newest => Ok(()),
                // Nothing is gained by an overtaken advert of a session that is not verified.
                Freshness::Late | Freshness::Replayed => Err(RejectReason::Replayed),
            },
            None => {
                self.candidate = Some(Session {
                    incarnation,
                    window: Window::starting_at(sequence),
                });
                Ok(())
            }
        }
    }

    /// `old` was superseded by `new`, which is not superseded (any more, if two agents run with one
    /// address).
    fn retire(&mut self, old: Incarnation, new: Incarnation) {
        for slot in &mut self.retired {
            slot.take_if(|retired| *retired == new);
        }
        if let Some(slot) = self.retired.get_mut(self.next_retired) {
            *slot = Some(old);
        }
        self.next_retired = (self.next_retired + 1) % RETIRED;
    }
}
