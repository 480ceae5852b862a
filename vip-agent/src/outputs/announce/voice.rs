//! The announcements of one instance.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use vip_proto::announce::Schedule;
use vip_proto::{Instant, Vrid};

use super::round::{Round, by_activity};
use super::takeover::{Takeover, Takeovers};
use super::{Mac, frames};
use crate::config::{Instance, MacMode};
use crate::dataplane::seen::SeenTable;
use crate::dataplane::slots::{InstanceSlots, Macs};
use crate::driver::Placement;
use crate::outputs::packet_socket::PacketSocket;

/// How often a full queue of the interface is waited for in one round.
const QUEUE_FULL_PAUSES: u32 = 50;

/// VIPs in use that got no packet after all rounds are announced again, this often and with this
/// pause.
const AGAIN: u32 = 3;
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The shortest time after the last round in which packets are waited for.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

/// Where a voice looks and speaks.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) socket: PacketSocket,
    pub(super) instances: Arc<InstanceSlots>,
    pub(super) seen: Arc<SeenTable>,
    pub(super) takeovers: Arc<Takeovers>,
}

/// What became of some announcements.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// This many were sent, as far as there were any.
    Frames(usize),
    /// The interface's queue is full.
    QueueFull,
}

/// One instance's announcements.
#[derive(Debug)]
pub(super) struct Voice {
    name: String,
    vrid: Vrid,
    vips: Vec<IpAddr>,
    /// Number of the first VIP in [`SeenTable`].
    first: u32,
    mode: MacMode,
    schedule: Schedule,
    /// From the claim until all rounds should have had their effect.
    patience: Duration,
    slot: u32,
    ifindex: u32,
    macs: Macs,
    stations: Arc<[Mac]>,
    /// Rounds that are not over; the first is being sent.
    rounds: VecDeque<Round>,
    /// Times the queue was full in the first of them.
    pauses: u32,
    takeover: Option<Watched>,
}

/// A takeover whose effect is watched.
#[derive(Debug)]
struct Watched {
    takeover: Takeover,
    /// When to look; `None`: it was reported.
    look: Option<Instant>,
}

impl Voice {
    /// An instance that has nothing to say yet.
    pub(super) fn new(instance: &Instance, placement: &Placement, macs: Macs, first: u32) -> Self {
        let announce = instance.announce;
        let rest = u32::from(announce.repeat.max(1)) - 1;
        Self {
            name: instance.name.clone(),
            vrid: instance.vrid,
            vips: instance.vips.clone(),
            first,
            mode: instance.mac,
            schedule: Schedule::new(announce),
            patience: announce.interval.saturating_mul(rest)
                + announce.interval.max(LEAST_PATIENCE),
            slot: placement.slot,
            ifindex: placement.ifindex.unwrap_or(0),
            macs,
            stations: Arc::new([]),
            rounds: VecDeque::new(),
            pauses: 0,
            takeover: None,
        }
    }

    /// The instance is Active here, perhaps since long: all rounds from the first.
    pub(super) fn start(&mut self, stage: &Stage, now: Instant) {
        self.rounds.clear();
        self.schedule.start(now);
        let claimed_at = stage.instances.claimed_at(self.slot).unwrap_or_default();
        let known = self.takeover.as_ref().map(|one| one.takeover.claimed_at);
        if known != Some(claimed_at) {
            let takeover = Takeover::new(&stage.seen, self.numbers(), claimed_at);
            stage.takeovers.note(self.vrid, takeover.clone());
            self.takeover = Some(Watched {
                takeover,
                look: Some(now + self.patience),
            });
        }
    }

    /// This VIP, once, before anything else.
    pub(super) fn reassert(&mut self, vip: IpAddr) {
        if let Some(number) = self.vips.iter().position(|own| *own == vip) {
            let round = Round::new(vec![number], Arc::clone(&self.stations));
            self.rounds.push_front(round);
        }
    }

    /// The instance is not Active here: nothing more.
    pub(super) fn stop(&mut self) {
        self.schedule.stop();
        self.rounds.clear();
        if let Some(watched) = &mut self.takeover {
            watched.look = None;
        }
    }

    pub(super) const fn set_interface(&mut self, ifindex: u32, macs: Macs) {
        self.ifindex = ifindex;
        self.macs = macs;
    }

    pub(super) fn set_audience(&mut self, stations: Vec<Mac>) {
        self.stations = stations.into();
    }

    pub(super) fn has_more_to_say(&self) -> bool {
        !self.rounds.is_empty()
    }

    /// When something is due if nothing is being said.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let look = self.takeover.as_ref().and_then(|watched| watched.look);
        self.schedule.poll_timeout().into_iter().chain(look).min()
    }

    /// Begins what is due, unless the round before is not over: then it is late.
    pub(super) fn handle_timeout(&mut self, stage: &Stage, now: Instant) {
        if self.has_more_to_say() {
            return;
        }
        if self.schedule.poll_round(now) {
            let vips = match self.mode {
                MacMode::Interface => self.by_activity(&stage.seen),
                MacMode::Virtual => self.one_of_each_family(),
            };
            self.begin(vips);
        }
        self.look(stage, now);
    }

    /// Sends the next announcements, `room` at most, as long as the lease lasts.
    pub(super) fn speak(&mut self, stage: &Stage, room: usize, now: Instant) -> Spoken {
        if !stage.may_speak(self.slot, now) {
            self.stop();
            return Spoken::Frames(0);
        }
        for sent in 0..room {
            let Some((number, station)) = self.rounds.front().and_then(Round::peek) else {
                self.rounds.pop_front();
                self.pauses = 0;
                return Spoken::Frames(sent);
            };
            let Some(vip) = self.vips.get(number).copied() else {
                continue;
            };
            match frames::send(&stage.socket, self.ifindex, self.macs, vip, station) {
                Ok(()) => self.rounds.front_mut().map_or((), Round::advance),
                Err(error) if is_full(&error) && self.pauses < QUEUE_FULL_PAUSES => {
                    self.pauses += 1;
                    return Spoken::QueueFull;
                }
                Err(error) => {
                    warn!(instance = self.name, %vip, %error, "announcement not sent");
                    self.rounds.clear();
                    self.pauses = 0;
                    return Spoken::Frames(sent);
                }
            }
        }
        Spoken::Frames(room)
    }

    fn begin(&mut self, vips: Vec<usize>) {
        self.rounds
            .push_back(Round::new(vips, Arc::clone(&self.stations)));
    }

    /// The numbers of the VIPs in [`SeenTable`].
    fn numbers(&self) -> Range<u32> {
        let count = u32::try_from(self.vips.len()).unwrap_or(u32::MAX);
        self.first..self.first.saturating_add(count)
    }

    fn by_activity(&self, seen: &SeenTable) -> Vec<usize> {
        by_activity(self.numbers().map(|vip| seen.wanted(vip)))
    }

    /// All VIPs of a family have one address: where one of them is, there are all.
    fn one_of_each_family(&self) -> Vec<usize> {
        let v4 = self.vips.iter().position(IpAddr::is_ipv4);
        let v6 = self.vips.iter().position(IpAddr::is_ipv6);
        v4.into_iter().chain(v6).collect()
    }

    /// Looks whether the takeover has worked; announces again what is still missing, and reports
    /// once in the end.
    fn look(&mut self, stage: &Stage, now: Instant) {
        let numbers = self.numbers();
        let Some(watched) = &mut self.takeover else {
            return;
        };
        if watched.look.is_none_or(|look| now < look) {
            return;
        }
        let takeover = &mut watched.takeover;
        let unreached: Vec<u32> = takeover.unreached(&stage.seen).collect();
        if unreached.is_empty() || takeover.announced_again == AGAIN {
            watched.look = None;
            let arrivals = takeover.arrivals(&stage.seen, numbers);
            let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            let (instance, in_use) = (&self.name, takeover.in_use.len());
            let (reached, announced_again) = (arrivals.reached, takeover.announced_again);
            let first_packet_us = arrivals.first_packet.map(micros);
            if reached < in_use {
                warn!(
                    instance,
                    first_packet_us,
                    vips_in_use = in_use,
                    reached,
                    announced_again,
                    "not all neighbours have followed the takeover"
                );
            } else if first_packet_us.is_none() {
                info!(instance, "nobody has sent to the VIPs yet");
            } else {
                info!(
                    instance,
                    first_packet_us,
                    vips_in_use = in_use,
                    reached,
                    announced_again,
                    "the neighbours send here"
                );
            }
            return;
        }
        takeover.announced_again += 1;
        watched.look = Some(now + AGAIN_AFTER);
        stage.takeovers.note(self.vrid, takeover.clone());
        let vips = match self.mode {
            MacMode::Interface => unreached
                .iter()
                .filter_map(|vip| usize::try_from(vip - self.first).ok())
                .collect(),
            MacMode::Virtual => self.one_of_each_family(),
        };
        self.begin(vips);
    }
}

impl Stage {
    fn may_speak(&self, slot: u32, now: Instant) -> bool {
        self.instances
            .acts_until(slot)
            .is_ok_and(|until| now < until)
    }
}

fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}
