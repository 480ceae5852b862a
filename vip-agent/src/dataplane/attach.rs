//! Puts the program on an interface, or takes over the one that is there.

use std::fs;
use std::io;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpLinkId};
use aya::programs::{ProgramError, Xdp, XdpMode as AyaMode, loaded_programs};
use rustix::io::Errno;
use tracing::warn;
use vip_common::abi::PROGRAM;

use super::pins::Pins;
use crate::config::{Config, MacMode, Steering, XdpMode};
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

/// An attached program. The pin keeps it attached when the agent ends; this handle keeps it attached
/// while the agent runs, even if somebody deletes the pin.
#[derive(Debug)]
pub struct Attached {
    /// How it came to be.
    pub attachment: Attachment,
    /// The link.
    pub link: FdLink,
}

/// Attaches `program` to `interface` and pins the link. Where it is attached already nothing changes.
///
/// # Errors
/// [`RunError::XdpBusy`] or [`RunError::OtherAgent`] if something else is attached,
/// [`RunError::NoNativeXdp`] if the driver cannot and `mode` demands it; nothing is changed then.
pub fn attach(
    program: &mut Xdp,
    interface: &Interface,
    mode: XdpMode,
    pins: &Pins,
) -> Result<Attached, RunError> {
    if let Some(link) = adopt(program, interface, pins)? {
        return Ok(Attached {
            attachment: Attachment::Adopted,
            link,
        });
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
    warn_of_veth(interface, mode);
    Ok(Attached {
        attachment: Attachment::Fresh,
        link: pin(program, id, interface, pins)?,
    })
}

/// Says what veth needs: it loses the answers of a native program if its other end runs none.
fn warn_of_veth(interface: &Interface, mode: XdpMode) {
    if mode != XdpMode::Generic && driver(interface) == "veth" {
        warn!(
            interface = interface.name,
            "veth loses the answers of native XDP unless its other end runs an XDP program too (one \
             that passes everything is enough): else set [node] xdp = \"generic\""
        );
    }
}

/// How the program is to be attached to an interface: as configured; but `auto` means the generic hook
/// on a veth by which this host itself takes packets to a virtual MAC address. There the kernel
/// decides before a native program runs whether a frame is for this host, and not again afterwards.
#[must_use]
pub fn mode(config: &Config, interface: &Interface) -> XdpMode {
    let is_veth = interface.kind.as_deref() == Some("veth");
    let takes_virtual = config.instances.iter().any(|instance| {
        instance.interface == interface.name
            && instance.mac == MacMode::Virtual
            && matches!(instance.steering, Steering::Local)
    });
    let configured = config.node.xdp;
    if configured == XdpMode::Auto && is_veth && takes_virtual {
        return XdpMode::Generic;
    }
    configured
}

/// Whether `mode` forbids the way a program is attached now.
#[must_use]
pub fn excludes(mode: XdpMode, attached: AttachedXdp) -> bool {
    match mode {
        XdpMode::Auto => false,
        XdpMode::Native => !attached.native,
        XdpMode::Generic => attached.native,
    }
}

/// Takes over the pinned link of this interface, if there is one that still works.
fn adopt(
    program: &mut Xdp,
    interface: &Interface,
    pins: &Pins,
) -> Result<Option<FdLink>, RunError> {
    let path = pins.link(&interface.name, interface.index);
    let what = || format!("adopting the pinned link {}", path.display());
    let pinned = match PinnedLink::from_pin(&path) {
        Ok(pinned) => pinned,
        Err(LinkError::SyscallError(error)) if is(&error.io_error, Errno::NOENT) => {
            return Ok(None);
        }
        Err(error) => return Err(RunError::dataplane(what())(error)),
    };
    let link = XdpLink::try_from(FdLink::from(pinned)).map_err(RunError::dataplane(what()))?;
    match program.attach_to_link(link) {
        Ok(id) => {
            let link = program.take_link(id).map_err(RunError::dataplane(what()))?;
            FdLink::try_from(link)
                .map(Some)
                .map_err(RunError::dataplane(what()))
        }
        Err(ProgramError::SyscallError(error)) if is(&error.io_error, Errno::NOLINK) => {
            fs::remove_file(&path).map_err(RunError::io(what()))?;
            Ok(None)
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
) -> Result<FdLink, RunError> {
    let what = || format!("pinning the XDP link of {}", interface.name);
    let link = program.take_link(id).map_err(RunError::dataplane(what()))?;
    let link = FdLink::try_from(link).map_err(RunError::dataplane(what()))?;
    link.pin(pins.link(&interface.name, interface.index))
        .map(FdLink::from)
        .map_err(RunError::dataplane(what()))
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
    describe_occupant(interface, other, program_name(other.id))
}

fn describe_occupant(interface: &Interface, other: AttachedXdp, name: ProgramName) -> RunError {
    let mode = if other.native { "native" } else { "generic" };
    let name = match name {
        ProgramName::Known(name) if name == PROGRAM => {
            return RunError::OtherAgent {
                interface: interface.name.clone(),
                id: other.id,
            };
        }
        ProgramName::Known(name) => name,
        ProgramName::None => "unnamed".to_owned(),
        ProgramName::Hidden => {
            return RunError::XdpUnknown {
                interface: interface.name.clone(),
                id: other.id,
                mode,
            };
        }
    };
    RunError::XdpBusy {
        interface: interface.name.clone(),
        name,
        id: other.id,
        mode,
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

/// What can be learnt of a program's name.
enum ProgramName {
    /// This is it.
    Known(String),
    /// It has none, or is gone by now.
    None,
    /// The kernel does not let us look at programs by their number (`CAP_SYS_ADMIN`).
    Hidden,
}

fn program_name(id: u32) -> ProgramName {
    for program in loaded_programs() {
        let Ok(program) = program else {
            return ProgramName::Hidden;
        };
        if program.id() == id {
            return match program.name_as_str() {
                Some(name) if !name.is_empty() => ProgramName::Known(name.to_owned()),
                Some(_) | None => ProgramName::None,
            };
        }
    }
    ProgramName::None
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitCode;

    const NATIVE: AttachedXdp = AttachedXdp {
        id: 7,
        native: true,
    };
    const GENERIC: AttachedXdp = AttachedXdp {
        id: 7,
        native: false,
    };

    #[test]
    fn only_a_demanded_mode_excludes_the_other() {
        assert!(excludes(XdpMode::Native, GENERIC) && excludes(XdpMode::Generic, NATIVE));
        assert!(!excludes(XdpMode::Native, NATIVE) && !excludes(XdpMode::Generic, GENERIC));
        assert!(!excludes(XdpMode::Auto, NATIVE) && !excludes(XdpMode::Auto, GENERIC));
    }

    #[test]
    fn nobody_is_told_to_remove_a_program_that_may_be_another_agents() {
        let interface = Interface {
            name: "eth0".to_owned(),
            index: 2,
            mac: [2; 6],
            up: true,
            addresses: Vec::new(),
            xdp: Some(NATIVE),
            kind: None,
            controller: None,
            lower: None,
        };
        let describe = |name| describe_occupant(&interface, NATIVE, name);
        let hidden = describe(ProgramName::Hidden);
        assert_eq!(hidden.exit_code(), ExitCode::XdpBusy);
        let text = hidden.to_string();
        assert!(
            text.contains("may be another vip-agent") && !text.contains("xdpdrv off"),
            "{text}"
        );
        let own = describe(ProgramName::Known(PROGRAM.to_owned()));
        assert_eq!(own.exit_code(), ExitCode::AlreadyRunning);
        let foreign = describe(ProgramName::Known("filter".to_owned())).to_string();
        assert!(
            foreign.contains("filter") && foreign.contains("xdpdrv off"),
            "{foreign}"
        );
    }
}
