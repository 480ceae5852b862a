//! Tells the neighbours where the VIPs are: gratuitous ARP and unsolicited Neighbor Advertisements.
//!
//! Runs on a thread of its own, so that announcing thousands of VIPs delays no advert. It never
//! speaks for a VIP without looking at the lease first: a process that was stopped and goes on must
//! not announce what another node owns by now. What it says is paced, so that neither the queues of
//! the interface nor those of the neighbours overflow, and instances take turns.

mod choir;
mod frames;
mod pace;
mod round;
pub mod takeover;
mod voice;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tracing::warn;
use vip_proto::Vrid;

use self::choir::Choir;
use self::takeover::Takeovers;
use self::voice::Voice;
use super::packet_socket::PacketSocket;
use crate::config::Config;
use crate::dataplane::Slots;
use crate::dataplane::slots::Macs;
use crate::dataplane::tables::first_vip;
use crate::driver::Placement;
use crate::realtime;

/// A MAC address.
pub type Mac = [u8; 6];

/// What the announcer is told.
#[derive(Debug)]
enum Message {
    Announce(Vrid),
    Reassert(Vrid, IpAddr),
    Withdraw(Vrid),
    Interface {
        vrid: Vrid,
        ifindex: u32,
        macs: Macs,
    },
    Audience(Vrid, Vec<Mac>),
}

impl Message {
    /// The instance it is about.
    const fn vrid(&self) -> Vrid {
        match self {
            Self::Announce(vrid)
            | Self::Reassert(vrid, _)
            | Self::Withdraw(vrid)
            | Self::Interface { vrid, .. }
            | Self::Audience(vrid, _) => *vrid,
        }
    }
}

/// A way to the announcer; its thread ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Announcer {
    sender: Sender<Message>,
}

impl Announcer {
    /// The instance is Active here: tell the neighbours, now and again as configured.
    pub fn announce(&self, vrid: Vrid) {
        self.tell(Message::Announce(vrid));
    }

    /// Somebody else has claimed this VIP of the instance: tell the neighbours once more, now.
    pub fn reassert(&self, vrid: Vrid, vip: IpAddr) {
        self.tell(Message::Reassert(vrid, vip));
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

    /// Which stations are told by unicast besides.
    pub fn set_audience(&self, vrid: Vrid, stations: Vec<Mac>) {
        self.tell(Message::Audience(vrid, stations));
    }

    fn tell(&self, message: Message) {
        // Only fails when the thread has panicked; the election goes on without it, and the panic
        // has been printed.
        drop(self.sender.send(message));
    }
}

/// Starts the announcer's thread. What becomes of a takeover is noted in `takeovers`.
///
/// # Errors
/// If the packet socket cannot be opened or the thread cannot be started.
pub fn start(
    config: &Config,
    slots: &Slots,
    placements: &BTreeMap<Vrid, Placement>,
    takeovers: Arc<Takeovers>,
) -> io::Result<Announcer> {
    let socket = PacketSocket::open()?;
    let mut voices = BTreeMap::new();
    for (number, instance) in config.instances.iter().enumerate() {
        let Some(placement) = placements.get(&instance.vrid) else {
            continue;
        };
        let macs = slots.instances.macs(placement.slot)?;
        let first = first_vip(config, number);
        voices.insert(instance.vrid, Voice::new(instance, placement, macs, first));
    }
    let (sender, receiver) = channel();
    let choir = Choir::new(socket, slots, voices, takeovers);
    thread::Builder::new()
        .name("vip-announcer".to_owned())
        .spawn(move || {
            if let Err(error) = realtime::promote(realtime::Role::Announcer) {
                warn!(%error, "no real-time priority for the announcer");
            }
            choir.sing(&receiver);
        })?;
    Ok(Announcer { sender })
}
