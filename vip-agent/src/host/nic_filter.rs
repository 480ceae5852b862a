//! Lets frames to virtual MAC addresses in through the network card's filter.
//!
//! A card passes on what is sent to its own address and to groups. Each virtual address is added to
//! the list of further unicast addresses of the interface (as `bridge fdb add MAC dev IF self` does);
//! where the driver has no such filter, the kernel makes the interface promiscuous by itself, and
//! where it has no such list, this does. It is done once, on every node: nothing changes at failover.
//!
//! What was made is kept in a file of the runtime directory, so that an agent that starts after a
//! crash removes what is not needed any more. What others have made is left alone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::{Error, Handle, LinkMessageBuilder, LinkUnspec};
use tracing::{info, warn};

use super::interface::Interface;
use crate::config::{Config, MacMode};
use crate::control::view::mac_text;
use crate::dataplane::slots::Macs;

/// Something that was added to an interface, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    /// A further unicast address.
    Address(u32, [u8; 6]),
    /// It takes all frames.
    Promiscuous(u32),
}

/// What the agent has added to the filters of network cards. It stays when this is dropped: the data
/// plane may stay, too.
#[derive(Debug)]
pub struct NicFilters {
    file: PathBuf,
    made: BTreeSet<Entry>,
    /// What was left as it is, and said so, once.
    said: BTreeSet<Entry>,
}

impl NicFilters {
    /// What an earlier agent has left.
    #[must_use]
    pub fn remembered(runtime_dir: &Path) -> Self {
        let file = runtime_dir.join("nic-filters");
        let text = fs::read_to_string(&file).unwrap_or_default();
        Self {
            made: text.lines().filter_map(Entry::parse).collect(),
            said: BTreeSet::new(),
            file,
        }
    }

    /// Adds what the configuration needs on these interfaces, as far as it is missing, and removes
    /// what was added before and is not needed. Trouble is said in the log.
    pub async fn apply(&mut self, handle: &Handle, config: &Config, present: &[Interface]) {
        let wanted = wanted(config, present);
        let interfaces: BTreeSet<u32> = wanted.iter().map(|(index, _)| *index).collect();
        let needed = |entry: &Entry| match entry {
            Entry::Address(index, mac) => wanted.contains(&(*index, *mac)),
            Entry::Promiscuous(index) => interfaces.contains(index),
        };
        let stale: Vec<Entry> = self.made.iter().copied().filter(|e| !needed(e)).collect();
        for entry in stale {
            self.remove(handle, entry).await;
        }
        for (index, mac) in wanted {
            self.add(handle, index, mac).await;
        }
    }

    /// Adds again what somebody has removed.
    pub async fn enforce(&self, handle: &Handle) {
        for entry in &self.made {
            let added = match *entry {
                Entry::Address(index, mac) => add_address(handle, index, mac, Existing::Keep).await,
                Entry::Promiscuous(index) => set_promiscuous(handle, index, true).await,
            };
            // An interface that is gone: its entries go when it is back.
            if let Err(error) = added
                && errno(&error) != Some(libc::ENODEV)
            {
                warn!(%entry, %error, "the network card's filter cannot be kept");
            }
        }
    }

    /// Removes everything that was added.
    pub async fn restore(mut self, handle: &Handle) {
        for entry in self.made.clone() {
            self.remove(handle, entry).await;
        }
        if self.made.is_empty()
            && let Err(error) = fs::remove_file(&self.file)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(file = %self.file.display(), %error, "removing the list of filter entries");
        }
    }

    async fn add(&mut self, handle: &Handle, index: u32, mac: [u8; 6]) {
        let entry = Entry::Address(index, mac);
        let existing = if self.made.contains(&entry) {
            Existing::Keep
        } else {
            Existing::Refuse
        };
        // Before it is added: a crash right afterwards must not forget it.
        let is_new = self.remember(entry);
        let Err(error) = add_address(handle, index, mac, existing).await else {
            return;
        };
        if is_new {
            self.forget(entry);
        }
        if errno(&error) == Some(libc::EEXIST) {
            if self.said.insert(entry) {
                info!(%entry, "the network card's filter has the virtual MAC address already");
            }
            return;
        }
        self.add_promiscuous(handle, entry, index, &error).await;
    }

    /// The way out when an address cannot be added.
    async fn add_promiscuous(&mut self, handle: &Handle, address: Entry, index: u32, why: &Error) {
        let entry = Entry::Promiscuous(index);
        if self.made.contains(&entry) {
            return;
        }
        match is_promiscuous(handle, index).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => return warn!(%entry, %error, "asking for the interface's flags"),
        }
        self.remember(entry);
        match set_promiscuous(handle, index, true).await {
            Ok(()) => warn!(
                %address, error = %why,
                "the interface takes no further unicast address: it is promiscuous now, which costs \
                 time for each frame it sees that is not for this host"
            ),
            Err(error) => {
                self.forget(entry);
                if self.said.insert(entry) {
                    warn!(
                        %address, %error,
                        "frames to the virtual MAC address may be kept out by the network card: make \
                         the interface promiscuous by hand"
                    );
                }
            }
        }
    }

    async fn remove(&mut self, handle: &Handle, entry: Entry) {
        let removed = match entry {
            Entry::Address(index, mac) => remove_address(handle, index, mac).await,
            Entry::Promiscuous(index) => set_promiscuous(handle, index, false).await,
        };
        match removed {
            Ok(()) => self.forget(entry),
            // The interface is gone, or somebody else was faster.
            Err(error) if matches!(errno(&error), Some(libc::ENODEV | libc::ENOENT)) => {
                self.forget(entry);
            }
            Err(error) => {
                warn!(%entry, %error, "a filter entry of the network card is left behind")
            }
        }
    }

    /// Answers whether it is new.
    fn remember(&mut self, entry: Entry) -> bool {
        let is_new = self.made.insert(entry);
        if is_new {
            self.save();
        }
        is_new
    }

    fn forget(&mut self, entry: Entry) {
        if self.made.remove(&entry) {
            self.save();
        }
    }

    fn save(&self) {
        let text: String = self.made.iter().map(|entry| format!("{entry}\n")).collect();
        if let Err(error) = fs::write(&self.file, text) {
            warn!(
                file = %self.file.display(), %error,
                "filter entries of the network card would be left behind after a crash"
            );
        }
    }
}

/// The virtual addresses of instances, by the index of their interface.
fn wanted(config: &Config, present: &[Interface]) -> Vec<(u32, [u8; 6])> {
    let mut wanted = Vec::new();
    for instance in &config.instances {
        let Some(interface) = present.iter().find(|one| one.name == instance.interface) else {
            continue;
        };
        if instance.mac != MacMode::Virtual {
            continue;
        }
        let macs = Macs::of(instance.mac, instance.vrid, interface.mac);
        if instance.vips.iter().any(IpAddr::is_ipv4) {
            wanted.push((interface.index, macs.v4));
        }
        if instance.vips.iter().any(IpAddr::is_ipv6) {
            wanted.push((interface.index, macs.v6));
        }
    }
    wanted
}

impl std::fmt::Display for Entry {
    /// As in the file, too.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(index, mac) => write!(f, "{index} {}", mac_text(*mac)),
            Self::Promiscuous(index) => write!(f, "{index} promiscuous"),
        }
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let (index, what) = line.split_once(' ')?;
        let index = index.parse().ok()?;
        if what == "promiscuous" {
            return Some(Self::Promiscuous(index));
        }
        let bytes = what.split(':').map(|byte| u8::from_str_radix(byte, 16));
        let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().ok()?;
        Some(Self::Address(index, bytes.try_into().ok()?))
    }
}

/// What to do about an address that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Keep,
    Refuse,
}

async fn add_address(
    handle: &Handle,
    index: u32,
    mac: [u8; 6],
    existing: Existing,
) -> Result<(), Error> {
    let request = handle
        .neighbours()
        .add_bridge(index, &mac)
        .state(NeighbourState::Permanent)
        .flags(NeighbourFlags::Own);
    match existing {
        Existing::Keep => request.replace().execute().await,
        Existing::Refuse => request.execute().await,
    }
}

async fn remove_address(handle: &Handle, index: u32, mac: [u8; 6]) -> Result<(), Error> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    handle.neighbours().del(message).execute().await
}

async fn is_promiscuous(handle: &Handle, index: u32) -> Result<bool, Error> {
    let mut links = handle.link().get().match_index(index).execute();
    let link = links.try_next().await?.ok_or(Error::RequestFailed)?;
    Ok(link.header.flags.contains(LinkFlags::Promisc))
}

async fn set_promiscuous(handle: &Handle, index: u32, promiscuous: bool) -> Result<(), Error> {
    let link = LinkMessageBuilder::<LinkUnspec>::new()
        .index(index)
        .promiscuous(promiscuous);
    handle.link().set(link.build()).execute().await
}

/// The kernel's error number.
fn errno(error: &Error) -> Option<i32> {
    let Error::NetlinkError(message) = error else {
        return None;
    };
    message.to_io().raw_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_written() {
        for entry in [
            Entry::Address(7, [0, 0, 0x5e, 0, 1, 51]),
            Entry::Promiscuous(12),
        ] {
            assert_eq!(Entry::parse(&entry.to_string()), Some(entry));
        }
        for line in ["", "7", "x promiscuous", "7 00:00:5e:00:01", "7 fast"] {
            assert_eq!(Entry::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn what_was_made_is_remembered_until_it_is_removed() {
        let runtime = tempfile::tempdir().unwrap();
        let mut filters = NicFilters::remembered(runtime.path());
        let [one, two] = [1, 2].map(|last| Entry::Address(3, [0, 0, 0x5e, 0, 1, last]));
        assert!(filters.remember(one) && filters.remember(two));
        assert!(!filters.remember(one), "not new");
        filters.forget(one);
        let later = NicFilters::remembered(runtime.path());
        assert_eq!(later.made, BTreeSet::from([two]));
    }
}
