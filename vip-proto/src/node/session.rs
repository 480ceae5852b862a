//! Which adverts of a peer are fresh: sessions by incarnation, without clocks.

use crate::Incarnation;
use crate::native::{Freshness, RejectReason, Window};

/// How many superseded incarnations of a peer are remembered.
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
    /// It opens a new verified session: it was made after this node's start.
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
    retired: [Option<Incarnation>; RETIRED],
    next_retired: usize,
}

impl Sessions {
    /// Judges an authentic advert; `echoed`: it names this node's current incarnation.
    pub(crate) fn judge(
        &mut self,
        incarnation: Incarnation,
        sequence: u64,
        echoed: bool,
    ) -> Result<Standing, RejectReason> {
        if self.retired.contains(&Some(incarnation)) {
            return Err(RejectReason::StaleSession);
        }
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
        self.judge_candidate(incarnation, sequence)?;
        if !echoed {
            return Ok(Standing::Unverified);
        }
        let opened = self.candidate.take();
        if let Some(old) = core::mem::replace(&mut self.verified, opened) {
            self.retire(old.incarnation);
        }
        Ok(Standing::Opened)
    }

    /// What to echo: the candidate first, it is the one that waits for it.
    pub(crate) fn echoes(&self) -> impl Iterator<Item = Incarnation> {
        [self.candidate, self.verified]
            .into_iter()
            .flatten()
            .map(|session| session.incarnation)
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

    fn retire(&mut self, incarnation: Incarnation) {
        if let Some(slot) = self.retired.get_mut(self.next_retired) {
            *slot = Some(incarnation);
        }
        self.next_retired = (self.next_retired + 1) % RETIRED;
    }
}
