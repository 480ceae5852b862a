//! From records to stories: what led to each transition, and what followed.

use std::collections::BTreeMap;
use std::time::Duration;

use vip_common::abi::FlightRecord;
use vip_proto::{Instant, Vrid};

use super::event::Event;
use super::record::Entry;

/// How long before a decision something may have led to it, and after it may have followed from it.
const REACH: Duration = Duration::from_secs(5);

/// What is done about a decision stands right before it in the recording: the machine decides,
/// writes, and then says so.
const FLIP_BEFORE: Duration = Duration::from_millis(10);

/// What was recorded.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    entries: Vec<Entry>,
    names: BTreeMap<Vrid, String>,
}

/// A transition with what belongs to it.
#[derive(Debug, Clone)]
pub struct Story {
    /// Which instance.
    pub vrid: Vrid,
    /// When the data plane was told; if it was not, when it was decided.
    pub at: Instant,
    /// The decision: an [`Event::Transition`].
    pub decision: Entry,
    /// What may have led to it, the oldest first.
    pub before: Vec<Entry>,
    /// What followed, the oldest first.
    pub after: Vec<Entry>,
}

impl Recording {
    /// Reads records, given in their order. `names`: what instances are called, where the caller
    /// knows better than the records.
    #[must_use]
    pub fn new(records: &[FlightRecord], names: impl IntoIterator<Item = (Vrid, String)>) -> Self {
        let entries: Vec<Entry> = records.iter().map(Entry::parse).collect();
        let mut known = recorded_names(&entries);
        known.extend(names);
        Self {
            entries,
            names: known,
        }
    }

    /// What an instance is called: its name, else `vrid 51`.
    #[must_use]
    pub fn name(&self, vrid: Vrid) -> String {
        self.names
            .get(&vrid)
            .cloned()
            .unwrap_or_else(|| format!("vrid {vrid}"))
    }

    /// The instances there are records of or names for, by name.
    #[must_use]
    pub fn instances(&self) -> BTreeMap<String, Vrid> {
        self.entries
            .iter()
            .filter_map(|entry| entry.vrid)
            .chain(self.names.keys().copied())
            .map(|vrid| (self.name(vrid), vrid))
            .collect()
    }

    /// The instance with this name or this VRID.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Vrid> {
        let instances = self.instances();
        let numbered = || {
            let vrid = name.parse().ok().and_then(Vrid::new)?;
            instances.values().copied().find(|known| *known == vrid)
        };
        instances.get(name).copied().or_else(numbered)
    }

    /// The last transitions of an instance, or of all, the oldest first.
    #[must_use]
    pub fn stories(&self, vrid: Option<Vrid>, last: usize) -> Vec<Story> {
        let mut stories: Vec<Story> = self
            .entries
            .iter()
            .enumerate()
            .rev()
            .filter_map(|(place, entry)| {
                let of = entry.vrid?;
                let wanted = vrid.is_none_or(|vrid| vrid == of) && is_transition_of(entry, of);
                wanted.then(|| self.story(place, *entry, of))
            })
            .take(last)
            .collect();
        stories.reverse();
        stories
    }

    fn story(&self, place: usize, decision: Entry, vrid: Vrid) -> Story {
        let (earlier, later) = self.entries.split_at(place);
        let earlier: Vec<&Entry> = earlier
            .iter()
            .rev()
            .take_while(|entry| !is_transition_of(entry, vrid))
            .filter(|entry| concerns(entry, vrid))
            .collect();
        // What is done stands before what is said of it; other news may stand in between.
        let flip = earlier
            .iter()
            .filter(|entry| is_consequence(entry) && is_flip_of(entry, decision.at));
        let at = flip.map(|entry| entry.at).min().unwrap_or(decision.at);
        let mut before: Vec<Entry> = earlier
            .iter()
            .filter(|entry| !is_consequence(entry) && entry.at <= at)
            .filter(|entry| at.saturating_since(entry.last) <= REACH)
            .map(|entry| **entry)
            .collect();
        before.reverse();
        let since = |entry: &&&Entry| {
            is_flip_of(entry, decision.at) && (is_consequence(entry) || entry.at > at)
        };
        let mut after: Vec<Entry> = earlier.iter().filter(since).map(|entry| **entry).collect();
        after.reverse();
        after.extend(self.followed(later, at, vrid));
        Story {
            vrid,
            at,
            decision,
            before,
            after,
        }
    }

    /// What followed from the decision that `later` begins with. What leads to the next one belongs
    /// to that.
    fn followed(&self, later: &[Entry], at: Instant, vrid: Vrid) -> Vec<Entry> {
        let later: Vec<Entry> = later
            .iter()
            .skip(1)
            .filter(|entry| concerns(entry, vrid) && entry.at.saturating_since(at) <= REACH)
            .copied()
            .collect();
        let Some(next) = later.iter().position(|entry| is_transition_of(entry, vrid)) else {
            return later;
        };
        let (until, decision) = later.split_at(next);
        let decided = decision.first().map_or(at, |entry| entry.at);
        // What is done about the next decision stands shortly before it.
        until
            .iter()
            .filter(|entry| is_consequence(entry) && !is_flip_of(entry, decided))
            .copied()
            .collect()
    }
}

/// Whether the entry is so shortly before the decision that it is part of it.
fn is_flip_of(entry: &Entry, decided: Instant) -> bool {
    decided.saturating_since(entry.at) <= FLIP_BEFORE
}

/// The names in the recording; a later one replaces an earlier one.
fn recorded_names(entries: &[Entry]) -> BTreeMap<Vrid, String> {
    let mut names: BTreeMap<Vrid, Vec<u8>> = BTreeMap::new();
    for entry in entries {
        if let Event::InstanceNamed {
            vrid,
            second,
            bytes,
        } = entry.event
        {
            let name = names.entry(vrid).or_default();
            if !second {
                name.clear();
            }
            name.extend(bytes.as_flattened().iter().take_while(|byte| **byte != 0));
        }
    }
    names
        .into_iter()
        .map(|(vrid, name)| (vrid, String::from_utf8_lossy(&name).into_owned()))
        .collect()
}

fn is_transition_of(entry: &Entry, vrid: Vrid) -> bool {
    matches!(entry.event, Event::Transition { vrid: of, .. } if of == vrid)
}

/// Whether it concerns the instance: it or the whole node.
fn concerns(entry: &Entry, vrid: Vrid) -> bool {
    entry.vrid.is_none_or(|of| of == vrid) && !matches!(entry.event, Event::InstanceNamed { .. })
}

/// Whether it is what a decision leads to, never what leads to one.
const fn is_consequence(entry: &Entry) -> bool {
    matches!(
        entry.event,
        Event::Claimed { .. }
            | Event::Released { .. }
            | Event::Announced { .. }
            | Event::FirstPacket { .. }
            | Event::LeaseBegun { .. }
    )
}

#[cfg(test)]
mod tests;
