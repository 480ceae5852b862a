//! Puts the program on an interface, or takes over the one that is there.

use std::fs;
use std::io;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpLinkId};
use aya::programs::{ProgramError, Xdp, XdpMode as AyaMode, loaded_programs};
use rustix::io::Errno;
use tracing::{info, warn};
use vip_common::abi::PROGRAM;

use super::pins::Pins;
use crate::config::XdpMode;
use crate::error::RunError;
use crate::host::interface::{AttachedXdp, Interface, driver};

/// How the program came to be on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// It was attached anew.
    Fresh,
    /// A link that an earlier agent left was adopted; the program was replaced without a gap.
    Adopted,
}

/// Attaches `program` to `interface` and pins the link.
///
/// # Errors
/// [`RunError::XdpBusy`] or [`RunError::OtherAgent`] if something else is attached,
/// [`RunError::NoNativeXdp`] if the driver cannot and `mode` demands it; nothing is changed then.
pub fn attach(
    program: &mut Xdp,
    interface: &Interface,
    mode: XdpMode,
    pins: &Pins,
) -> Result<Attachment, RunError> {
    if adopt(program, interface, pins)? {
        return Ok(Attachment::Adopted);
    }
    let id = match mode {
        XdpMode::Native => attach_native(program, interface)
            .map_err(|error| refusal(interface, error))?
            .map_err(|source| no_native(interface, source))?,
        XdpMode::Generic => attach_generic(program, interface)?,
        XdpMode::Auto => {
            match attach_native(program, interface).map_err(|error| refusal(interface, error))? {
                Ok(id) => id,
                Err(reason) => {
                    warn!(
                        interface = interface.name,
                        driver = driver(interface),
                        %reason,
                        "the driver does not support native XDP: falling back to generic mode, \
                         which works but costs about 2.5 times as much per packet"
                    );
                    attach_generic(program, interface)?
                }
            }
        }
    };
    pin(program, id, interface, pins)?;
    Ok(Attachment::Fresh)
}

/// Takes over the pinned link of this interface, if there is one that still works.
fn adopt(program: &mut Xdp, interface: &Interface, pins: &Pins) -> Result<bool, RunError> {
    let path = pins.link(&interface.name, interface.index);
    let what = || format!("adopting the pinned link {}", path.display());
    let pinned = match PinnedLink::from_pin(&path) {
        Ok(pinned) => pinned,
        Err(LinkError::SyscallError(error)) if is(&error.io_error, Errno::NOENT) => {
            return Ok(false);
        }
        Err(error) => return Err(RunError::dataplane(what())(error)),
    };
    let link = XdpLink::try_from(FdLink::from(pinned)).map_err(RunError::dataplane(what()))?;
    match program.attach_to_link(link) {
        Ok(id) => {
            // Closes our handle; the pin keeps the link.
            drop(program.take_link(id).map_err(RunError::dataplane(what()))?);
            info!(
                interface = interface.name,
                "adopted the data plane an earlier agent left"
            );
            Ok(true)
        }
        Err(ProgramError::SyscallError(error)) if is(&error.io_error, Errno::NOLINK) => {
            fs::remove_file(&path).map_err(RunError::io(what()))?;
            Ok(false)
        }
        Err(error) => Err(RunError::dataplane(what())(error)),
    }
}

/// Attaches in the driver. The inner error: the driver cannot; the outer: anything else.
fn attach_native(
    program: &mut Xdp,
    interface: &Interface,
) -> Result<Result<XdpLinkId, io::Error>, ProgramError> {
    match program.attach_to_if_index(interface.index, AyaMode::Driver) {
        Ok(id) => Ok(Ok(id)),
        Err(ProgramError::SyscallError(error)) if driver_cannot(&error.io_error) => {
            Ok(Err(error.io_error))
        }
        Err(error) => Err(error),
    }
}

/// What kernels answer when a driver has no XDP, or not with this MTU or these settings.
fn driver_cannot(error: &io::Error) -> bool {
    [
        Errno::OPNOTSUPP,
        Errno::NOTSUP,
        Errno::RANGE,
        Errno::INVAL,
        Errno::NOSPC,
    ]
    .iter()
    .any(|errno| is(error, *errno))
}

fn attach_generic(program: &mut Xdp, interface: &Interface) -> Result<XdpLinkId, RunError> {
    program
        .attach_to_if_index(interface.index, AyaMode::Skb)
        .map_err(|error| refusal(interface, error))
}

fn pin(
    program: &mut Xdp,
    id: XdpLinkId,
    interface: &Interface,
    pins: &Pins,
) -> Result<(), RunError> {
    let what = || format!("pinning the XDP link of {}", interface.name);
    let link = program.take_link(id).map_err(RunError::dataplane(what()))?;
    let link = FdLink::try_from(link).map_err(RunError::dataplane(what()))?;
    link.pin(pins.link(&interface.name, interface.index))
        .map_err(RunError::dataplane(what()))?;
    Ok(())
}

/// Why the kernel refused to attach, as far as it can be told.
fn refusal(interface: &Interface, error: ProgramError) -> RunError {
    let busy = matches!(&error, ProgramError::SyscallError(error)
        if is(&error.io_error, Errno::BUSY) || is(&error.io_error, Errno::EXIST));
    match interface.xdp {
        Some(other) if busy => occupied(interface, other),
        _ => RunError::dataplane(format!("attaching the XDP program to {}", interface.name))(error),
    }
}

/// The interface's only place for an XDP program is taken by `other`.
pub fn occupied(interface: &Interface, other: AttachedXdp) -> RunError {
    let name = program_name(other.id);
    if name.as_deref() == Some(PROGRAM) {
        return RunError::OtherAgent {
            interface: interface.name.clone(),
            id: other.id,
        };
    }
    RunError::XdpBusy {
        interface: interface.name.clone(),
        name: name.unwrap_or_else(|| "unnamed".to_owned()),
        id: other.id,
        mode: if other.native { "native" } else { "generic" },
        off: if other.native { "xdpdrv" } else { "xdpgeneric" },
    }
}

fn no_native(interface: &Interface, source: io::Error) -> RunError {
    RunError::NoNativeXdp {
        interface: interface.name.clone(),
        driver: driver(interface),
        source,
    }
}

fn program_name(id: u32) -> Option<String> {
    loaded_programs()
        .flatten()
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(ToOwned::to_owned))
        .filter(|name| !name.is_empty())
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
