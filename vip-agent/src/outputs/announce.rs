//! Tells the neighbours where the VIPs are: gratuitous ARP and unsolicited Neighbor Advertisements.
//!
//! Runs on a thread of its own, so that announcing thousands of VIPs delays no advert. It never
//! speaks for a VIP without looking at the lease first: a process that was stopped and goes on must
//! not announce what another node owns by now.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use tracing::warn;
use vip_common::net::{arp, ndp};
use vip_proto::announce::Schedule;
use vip_proto::{Instant, Vrid};

use super::packet_socket::PacketSocket;
use crate::clock;
use crate::config::Config;
use crate::dataplane::slots::{InstanceSlots, Macs};
use crate::driver::Placement;
use crate::realtime;

/// Announcements sent between two looks at the lease.
const BATCH: usize = 32;

/// Pause when the interface's queue is full, and how often it is taken before the rest of the round
/// is left to the next one.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(1);
const QUEUE_FULL_PAUSES: u32 = 50;

/// What the election tells the announcer.
#[derive(Debug)]
enum Message {
    Announce(Vrid),
    Withdraw(Vrid),
    Interface {
        vrid: Vrid,
        ifindex: u32,
        macs: Macs,
    },
}

/// The election's end; the thread ends when it is dropped.
#[derive(Debug)]
pub struct Announcer {
    sender: Sender<Message>,
}

impl Announcer {
    /// The instance is Active here: tell the neighbours, now and again as configured.
    pub fn announce(&self, vrid: Vrid) {
        self.tell(Message::Announce(vrid));
    }

    /// The instance is not Active here any more: say nothing about it.
    pub fn withdraw(&self, vrid: Vrid) {
        self.tell(Message::Withdraw(vrid));
    }

    /// From which interface, and with which addresses, the instance's VIPs are announced.
    pub fn set_interface(&self, vrid: Vrid, ifindex: u32, macs: Macs) {
        self.tell(Message::Interface {
            vrid,
            ifindex,
            macs,
        });
    }

    fn tell(&self, message: Message) {
        // Only fails when the thread has panicked; the election goes on without it, and the panic
        // has been printed.
        drop(self.sender.send(message));
    }
}

/// One instance's announcements.
#[derive(Debug)]
struct Voice {
    name: String,
    vips: Vec<IpAddr>,
    schedule: Schedule,
    slot: u32,
    ifindex: u32,
    macs: Macs,
}

/// Starts the announcer's thread.
///
/// # Errors
/// If the packet socket cannot be opened or the thread cannot be started.
pub fn start(
    config: &Config,
    instances: Arc<InstanceSlots>,
    placements: &BTreeMap<Vrid, Placement>,
) -> io::Result<Announcer> {
    let socket = PacketSocket::open()?;
    let mut voices = BTreeMap::new();
    for instance in &config.instances {
        let Some(placement) = placements.get(&instance.vrid) else {
            continue;
        };
        let voice = Voice {
            name: instance.name.clone(),
            vips: instance.vips.clone(),
            schedule: Schedule::new(instance.announce),
            slot: placement.slot,
            ifindex: placement.ifindex.unwrap_or(0),
            macs: instances.macs(placement.slot)?,
        };
        voices.insert(instance.vrid, voice);
    }
    let (sender, receiver) = channel();
    thread::Builder::new()
        .name("vip-announcer".to_owned())
        .spawn(move || {
            if let Err(error) = realtime::promote(realtime::Role::Announcer) {
                warn!(%error, "no real-time priority for the announcer");
            }
            Choir {
                socket,
                instances,
                voices,
            }
            .sing(&receiver);
        })?;
    Ok(Announcer { sender })
}

/// The announcer's thread.
#[derive(Debug)]
struct Choir {
    socket: PacketSocket,
    instances: Arc<InstanceSlots>,
    voices: BTreeMap<Vrid, Voice>,
}

impl Choir {
    fn sing(mut self, receiver: &Receiver<Message>) {
        loop {
            let due = self
                .voices
                .values()
                .filter_map(|voice| voice.schedule.poll_timeout())
                .min();
            let message = match due {
                Some(due) => receiver.recv_timeout(due.saturating_since(clock::now())),
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(message) => self.heed(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for voice in self.voices.values_mut() {
                if voice.schedule.poll_round(clock::now()) {
                    round(voice, &self.socket, &self.instances);
                }
            }
        }
    }

    fn heed(&mut self, message: Message) {
        let (Message::Announce(vrid) | Message::Withdraw(vrid) | Message::Interface { vrid, .. }) =
            message;
        let Some(voice) = self.voices.get_mut(&vrid) else {
            return;
        };
        match message {
            Message::Announce(_) => voice.schedule.start(clock::now()),
            Message::Withdraw(_) => voice.schedule.stop(),
            Message::Interface { ifindex, macs, .. } => {
                voice.ifindex = ifindex;
                voice.macs = macs;
            }
        }
    }
}

/// Announces each VIP of the instance once, as long as the lease lasts.
fn round(voice: &mut Voice, socket: &PacketSocket, instances: &InstanceSlots) {
    let mut pauses = 0;
    for batch in voice.vips.chunks(BATCH) {
        if !may_speak(instances, voice.slot, clock::now()) {
            voice.schedule.stop();
            return;
        }
        for vip in batch {
            while let Err(error) = send(socket, voice.ifindex, voice.macs, *vip) {
                let full = error.raw_os_error() == Some(libc::ENOBUFS);
                if !full || pauses == QUEUE_FULL_PAUSES {
                    warn!(instance = voice.name, %vip, %error, "announcement not sent");
                    return;
                }
                pauses += 1;
                thread::sleep(QUEUE_FULL_PAUSE);
            }
        }
    }
}

fn may_speak(instances: &InstanceSlots, slot: u32, now: Instant) -> bool {
    instances.acts_until(slot).is_ok_and(|until| now < until)
}

fn send(socket: &PacketSocket, ifindex: u32, macs: Macs, vip: IpAddr) -> io::Result<()> {
    match vip {
        IpAddr::V4(vip) => socket.send(ifindex, &arp::gratuitous_arp(macs.v4, vip.octets())),
        IpAddr::V6(vip) => socket.send(ifindex, &ndp::unsolicited_na(macs.v6, vip.octets())),
    }
}
