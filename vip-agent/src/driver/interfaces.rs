//! What interfaces do to the election: they come, go, change, and lose the data plane.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vip_proto::node::LinkState;
use vip_proto::{Instant, Vrid};

use super::{Driver, Notice};
use crate::clock;
use crate::dataplane::slots::Macs;
use crate::flight::Event;
use crate::host::interface::Interface;

/// Time until the rest of the agent is told again what it must not miss.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// The longest time between two demands to attach to one interface: each doubles the last.
const TELL_AGAIN_MAX: Duration = Duration::from_secs(8);

/// What has to be done about interfaces but is not done yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By name: interfaces that the data plane must be attached to.
    attaching: BTreeMap<String, Attaching>,
    /// By interface: the latest notice that could not be handed over.
    untold: BTreeMap<String, Notice>,
    /// When to look again.
    due: Option<Instant>,
}

/// An interface that waits for the data plane.
#[derive(Debug)]
struct Attaching {
    interface: Interface,
    next: Instant,
    wait: Duration,
}

impl Pending {
    /// When to look again; `None`: nothing is left to be done.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    fn is_empty(&self) -> bool {
        self.attaching.is_empty() && self.untold.is_empty()
    }
}

impl Driver {
    /// An interface is there, in this condition.
    pub(super) fn interface_is(&mut self, interface: &Interface) {
        if let Err(error) = self.adverts.follow(interface) {
            self.notify(Notice::TransmitFailed {
                error: format!("moving to the new {}: {error}", interface.name),
            });
        }
        self.follow_probes();
        if self.is_renamed(interface) {
            // The instances are on the name: for them, the interface is gone.
            self.interface_deleted(interface.index);
        }
        let here: Vec<(Vrid, Option<u32>)> = self
            .placements
            .iter()
            .filter(|(_, placement)| placement.interface == interface.name)
            .map(|(vrid, placement)| (*vrid, placement.ifindex))
            .collect();
        if here.is_empty() {
            return;
        }
        if here
            .iter()
            .all(|(_, index)| *index != Some(interface.index))
        {
            // Made anew: nobody may be Active on it before the data plane is attached.
            self.demand(interface);
            return;
        }
        if self.is_foreign(interface) {
            self.detached(interface);
            return;
        }
        for (vrid, _) in here {
            self.place(vrid, interface);
            let state = if interface.up {
                LinkState::Up
            } else {
                LinkState::Down
            };
            self.flight.link(vrid, state);
            self.node.handle_link(vrid, state, clock::now());
            self.drain();
        }
        self.tell_of(&interface.name, Notice::InterfaceChanged(interface.clone()));
    }

    /// The data plane is attached to an interface that was made anew, or had lost it. If it is not
    /// waited for (any more), then it was said before, or the interface is gone since.
    pub(super) fn interface_attached(&mut self, attached: &Interface) {
        let Entry::Occupied(entry) = self.pending.attaching.entry(attached.name.clone()) else {
            return;
        };
        if entry.get().interface.index != attached.index {
            return;
        }
        // The rest is as the kernel told it last: whoever attached looked some time ago.
        let interface = &Interface {
            xdp: attached.xdp,
            ..entry.remove().interface
        };
        let ifindex = interface.index;
        self.flight.note(Event::Attached { ifindex });
        for placement in self.placements.values_mut() {
            if placement.interface == interface.name {
                placement.ifindex = Some(interface.index);
            }
        }
        self.interface_is(interface);
    }

    pub(super) fn interface_deleted(&mut self, index: u32) {
        self.pending
            .attaching
            .retain(|_, attaching| attaching.interface.index != index);
        if let Some(name) = self.displace(index) {
            self.tell_of(&name.clone(), Notice::InterfaceGone { name });
        }
    }

    /// All interfaces were listed: one that is missing is gone, even if nobody said so.
    pub(super) fn interfaces_listed(&mut self, present: &BTreeSet<u32>) {
        let known: BTreeSet<u32> = self
            .placements
            .values()
            .filter_map(|placement| placement.ifindex)
            .chain(
                self.pending
                    .attaching
                    .values()
                    .map(|one| one.interface.index),
            )
            .collect();
        for index in known.difference(present) {
            self.interface_deleted(*index);
        }
    }

    /// Somebody looked what is in the XDP slot of an interface.
    pub(super) fn interface_guarded(&mut self, interface: &Interface) {
        if self.is_foreign(interface) && !self.placed_on(interface.index).is_empty() {
            self.detached(interface);
        }
    }

    /// Whether the interface was known by another name.
    fn is_renamed(&self, interface: &Interface) -> bool {
        let placed = self.placements.values().any(|placement| {
            placement.ifindex == Some(interface.index) && placement.interface != interface.name
        });
        let attaching = self.pending.attaching.iter().any(|(name, attaching)| {
            attaching.interface.index == interface.index && *name != interface.name
        });
        placed || attaching
    }

    /// Whether the interface has anything but the data plane's program in its XDP slot.
    fn is_foreign(&self, interface: &Interface) -> bool {
        interface
            .xdp
            .is_none_or(|xdp| !self.programs.contains(&xdp.id))
    }

    /// The interface is not guarded by the data plane any more: nothing answers for the VIPs, and
    /// without its filter the kernel may.
    fn detached(&mut self, interface: &Interface) {
        let ifindex = interface.index;
        self.flight.note(Event::Detached { ifindex });
        for vrid in self.placed_on(interface.index) {
            self.counters.dataplane_failures += 1;
            self.node.handle_dataplane_failure(vrid, clock::now());
            self.drain();
        }
        // Out of the election until it is attached again.
        self.displace(interface.index);
        self.notify(Notice::Detached(interface.clone()));
        self.demand(interface);
    }

    /// Takes the instances off an interface; answers its name if there were any.
    fn displace(&mut self, index: u32) -> Option<String> {
        let mut name = None;
        for vrid in self.placed_on(index) {
            if let Some(placement) = self.placements.get_mut(&vrid) {
                placement.ifindex = None;
                name = Some(placement.interface.clone());
            }
            self.flight.link(vrid, LinkState::Gone);
            self.node.handle_link(vrid, LinkState::Gone, clock::now());
            self.drain();
        }
        name
    }

    fn placed_on(&self, index: u32) -> Vec<Vrid> {
        self.placements
            .iter()
            .filter(|(_, placement)| placement.ifindex == Some(index))
            .map(|(vrid, _)| *vrid)
            .collect()
    }

    /// Demands that the data plane be attached: now, and again until it is.
    fn demand(&mut self, interface: &Interface) {
        if let Some(attaching) = self.pending.attaching.get_mut(&interface.name)
            && attaching.interface.index == interface.index
        {
            attaching.interface.clone_from(interface);
            return;
        }
        let attaching = Attaching {
            interface: interface.clone(),
            next: clock::now() + TELL_AGAIN,
            wait: TELL_AGAIN,
        };
        self.pending
            .attaching
            .insert(interface.name.clone(), attaching);
        self.tell_of(
            &interface.name,
            Notice::InterfaceAppeared(interface.clone()),
        );
    }

    /// Answers for the instance's VIPs carry the interface's present address.
    fn place(&mut self, vrid: Vrid, interface: &Interface) {
        let Some(mode) = self.placements.get(&vrid).map(|placement| placement.mac) else {
            return;
        };
        let index = interface.index;
        let macs = Macs::of(mode, vrid, interface.mac);
        self.write(vrid, |slots, slot| {
            slots.set_interface(slot, vrid, index, macs)
        });
        self.node.handle_station(vrid, interface.mac);
        self.announcer.set_interface(vrid, index, macs);
    }

    /// Tells the rest of the agent what it must not miss: if there is no room, then later. Of one
    /// interface only the latest counts.
    fn tell_of(&mut self, name: &str, notice: Notice) {
        match self.notices.try_send(notice) {
            Ok(()) => {
                self.pending.untold.remove(name);
            }
            Err(refused) => {
                self.pending
                    .untold
                    .insert(name.to_owned(), refused.into_inner());
            }
        }
    }

    /// Does what is due; cheap when nothing is.
    pub(super) fn look_after_interfaces(&mut self) {
        if self.pending.is_empty() && !self.links.is_pending() {
            self.pending.due = None;
            return;
        }
        let now = clock::now();
        match self.pending.due {
            None => self.pending.due = Some(now + TELL_AGAIN),
            Some(due) if due <= now => {
                self.pending.due = Some(now + TELL_AGAIN);
                self.links.retry();
                for (name, notice) in std::mem::take(&mut self.pending.untold) {
                    self.tell_of(&name, notice);
                }
                self.demand_again(now);
            }
            Some(_) => {}
        }
    }

    fn demand_again(&mut self, now: Instant) {
        let mut due = Vec::new();
        for attaching in self.pending.attaching.values_mut() {
            if attaching.next <= now {
                attaching.wait = (attaching.wait * 2).min(TELL_AGAIN_MAX);
                attaching.next = now + attaching.wait;
                due.push(attaching.interface.clone());
            }
        }
        for interface in due {
            self.tell_of(
                &interface.name.clone(),
                Notice::InterfaceAppeared(interface),
            );
        }
    }
}
