//! The announcer's thread: instances take turns at one pace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use vip_proto::{Instant, Vrid};

use super::Message;
use super::pace::Pace;
use super::takeover::Takeovers;
use super::voice::{Spoken, Stage, Voice};
use crate::clock;
use crate::dataplane::Slots;
use crate::outputs::packet_socket::PacketSocket;

/// Announcements an instance sends in one turn, and between two looks at the lease.
const TURN: usize = 16;

/// All instances, and the way out.
#[derive(Debug)]
pub(super) struct Choir {
    stage: Stage,
    voices: BTreeMap<Vrid, Voice>,
    pace: Pace,
    /// Who had the last turn.
    last: Option<Vrid>,
}

impl Choir {
    pub(super) fn new(
        socket: PacketSocket,
        slots: &Slots,
        voices: BTreeMap<Vrid, Voice>,
        takeovers: Arc<Takeovers>,
    ) -> Self {
        Self {
            stage: Stage {
                socket,
                instances: Arc::clone(&slots.instances),
                seen: Arc::clone(&slots.seen),
                takeovers,
            },
            voices,
            pace: Pace::default(),
            last: None,
        }
    }

    /// Goes on until nobody can tell it anything any more.
    pub(super) fn sing(mut self, receiver: &Receiver<Message>) {
        loop {
            let message = match self.poll_timeout() {
                Some(due) => receiver.recv_timeout(due.saturating_since(clock::now())),
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(message) => {
                    self.heed(message);
                    receiver.try_iter().for_each(|message| self.heed(message));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for voice in self.voices.values_mut() {
                voice.handle_timeout(&self.stage, clock::now());
            }
            self.speak();
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.voices.values().any(Voice::has_more_to_say) {
            return Some(self.pace.next(clock::now()));
        }
        self.voices.values().filter_map(Voice::poll_timeout).min()
    }

    fn heed(&mut self, message: Message) {
        let Some(voice) = self.voices.get_mut(&message.vrid()) else {
            return;
        };
        match message {
            Message::Announce(_) => voice.start(&self.stage, clock::now()),
            Message::Reassert(_, vip) => voice.reassert(vip),
            Message::Withdraw(_) => voice.stop(),
            Message::Interface { ifindex, macs, .. } => voice.set_interface(ifindex, macs),
            Message::Audience(_, stations) => voice.set_audience(stations),
        }
    }

    /// Instances that have something to say take turns until there is no more room.
    fn speak(&mut self) {
        loop {
            let now = clock::now();
            let room = self.pace.room(now).min(TURN);
            if room == 0 {
                return;
            }
            let Some(vrid) = self.next_voice() else {
                return;
            };
            self.last = Some(vrid);
            let Some(voice) = self.voices.get_mut(&vrid) else {
                return;
            };
            match voice.speak(&self.stage, room, now) {
                Spoken::Frames(sent) => self.pace.sent(sent),
                Spoken::QueueFull => self.pace.exhaust(),
            }
        }
    }

    /// Whose turn it is: the next in order after the last one, from the beginning after the end.
    fn next_voice(&self) -> Option<Vrid> {
        let mut waiting = self
            .voices
            .iter()
            .filter(|(_, voice)| voice.has_more_to_say())
            .map(|(vrid, _)| *vrid);
        let first = waiting.next()?;
        let is_later = |vrid: &Vrid| self.last.is_none_or(|last| *vrid > last);
        Some(first)
            .filter(is_later)
            .or_else(|| waiting.find(is_later))
            .or(Some(first))
    }
}
