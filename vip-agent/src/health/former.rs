//! Goes on with the backends that an earlier agent has steered to, though the configuration may have
//! others in their places.
//!
//! The data plane knows backends by their number in the configuration, and a number means another
//! backend as soon as one before it is added or removed. So each agent leaves a list of the addresses
//! behind, by number.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use vip_common::abi::{BackendEntry, NO_BACKEND, STEER_L2, STEER_LOCAL, ServiceSlot};

use crate::config::{Config, Steering};
use crate::dataplane::Slots;
use crate::dataplane::tables::first_backend;

/// The list, in the runtime directory: one address per line.
#[derive(Debug)]
struct List(PathBuf);

impl List {
    fn of(runtime_dir: &Path) -> Self {
        Self(runtime_dir.join("backends"))
    }

    /// Nothing, if it cannot be read or understood.
    fn read(&self) -> Vec<IpAddr> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let addresses = text.lines().map(str::parse).collect::<Result<_, _>>();
        addresses.unwrap_or_default()
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn write(&self, addresses: &[IpAddr]) -> io::Result<()> {
        let text: String = addresses.iter().map(|one| format!("{one}\n")).collect();
        let new = self.0.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &self.0)
    }
}

/// A backend that packets are steered to, and where it is to be.
#[derive(Debug, Clone, Copy)]
struct Move {
    service: u32,
    entry: BackendEntry,
    from: u32,
    to: u32,
}

/// Writes every instance's steering, and answers which of its backends each steers to, by place. None,
/// unless this agent goes on (`resumed`) with a data plane that steers to one which is still
/// configured: it keeps its packets.
///
/// # Errors
/// If a slot or the list cannot be read or written.
pub(super) fn take_over(
    config: &Config,
    slots: &Slots,
    resumed: bool,
) -> io::Result<Vec<Option<usize>>> {
    let list = List::of(&config.node.runtime_dir);
    let former = if resumed { list.read() } else { Vec::new() };
    let now = addresses(config);
    if former != now {
        // Until it is true again: who comes after a crash in between keeps nothing.
        list.remove()?;
    }
    let mut kept = Vec::new();
    let mut moves = Vec::new();
    for (service, instance) in (0..).zip(&config.instances) {
        let (mode, backends) = match &instance.steering {
            Steering::Local => (STEER_LOCAL, [].as_slice()),
            Steering::L2 { backends } => (STEER_L2, backends.as_slice()),
        };
        let before = slots.services.get(service)?;
        let steers = mode == STEER_L2 && before.mode == STEER_L2 && before.backend != NO_BACKEND;
        let address = usize::try_from(before.backend).ok();
        let address = address
            .and_then(|number| former.get(number))
            .filter(|_| steers);
        let place = address.and_then(|one| backends.iter().position(|own| own.address == *one));
        if let Some(place) = place {
            let first = first_backend(config, kept.len());
            moves.push(Move {
                service,
                entry: slots.backends.get(before.backend)?,
                from: before.backend,
                to: first.saturating_add(u32::try_from(place).unwrap_or(u32::MAX)),
            });
        } else {
            let backend = NO_BACKEND;
            slots.services.set(service, ServiceSlot { mode, backend })?;
        }
        kept.push(place);
    }
    carry_out(moves, slots)?;
    list.write(&now)?;
    Ok(kept)
}

/// The backends' addresses, by number.
fn addresses(config: &Config) -> Vec<IpAddr> {
    let backends = config.instances.iter().flat_map(|one| match &one.steering {
        Steering::Local => [].as_slice(),
        Steering::L2 { backends } => backends.as_slice(),
    });
    backends.map(|backend| backend.address).collect()
}

/// Moves backends, each to a number that no packets are steered to: so none is lost. Where numbers are
/// exchanged, one instance has no backend for a moment.
fn carry_out(mut moves: Vec<Move>, slots: &Slots) -> io::Result<()> {
    let mut used: BTreeSet<u32> = moves.iter().map(|one| one.from).collect();
    moves.retain(|one| one.from != one.to);
    while !moves.is_empty() {
        let free = moves.iter().position(|one| !used.contains(&one.to));
        if let Some(next) = free {
            let Move {
                service,
                entry,
                from,
                to,
            } = moves.swap_remove(next);
            slots.backends.set(to, entry)?;
            let (mode, backend) = (STEER_L2, to);
            slots.services.set(service, ServiceSlot { mode, backend })?;
            used.remove(&from);
            used.insert(to);
        } else if let Some(one) = moves.iter().find(|one| used.contains(&one.from)) {
            let (mode, backend) = (STEER_L2, NO_BACKEND);
            slots
                .services
                .set(one.service, ServiceSlot { mode, backend })?;
            used.remove(&one.from);
        } else {
            return Err(io::Error::other(
                "two instances steer to one backend's number",
            ));
        }
    }
    Ok(())
}
