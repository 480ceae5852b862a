//! The do-nothing XDP program for the far ends of veth pairs, and how a program is taken off.
//!
//! `XDP_TX` out of a veth interface stalls after 256 frames unless the peer has an XDP program too.
//! Two instructions, loaded with bare bpf(2) calls: no object file, no compiler.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::bpf::{self, PROG_LOAD, TYPE_XDP};

/// `r0 = XDP_PASS; exit` in the kernel's 8-byte instruction format.
const PROGRAM: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];
/// `BPF_OBJ_PIN` of bpf(2).
const OBJ_PIN: libc::c_int = 6;
/// `BPF_OBJ_GET` of bpf(2).
const OBJ_GET: libc::c_int = 7;
/// `BPF_LINK_DETACH` of bpf(2).
const LINK_DETACH: libc::c_int = 34;

/// First fields of `union bpf_attr` for `BPF_PROG_LOAD`; the rest counts as zero.
#[repr(C)]
struct LoadAttributes {
    /// Kind of program.
    prog_type: u32,
    /// Number of instructions.
    insn_cnt: u32,
    /// Address of the instructions.
    insns: u64,
    /// Address of the licence string.
    license: u64,
    /// No verifier log: level, size, address.
    log_level: u32,
    /// See `log_level`.
    log_size: u32,
    /// See `log_level`.
    log_buf: u64,
}

/// Fields of `union bpf_attr` for `BPF_OBJ_PIN` and `BPF_OBJ_GET`.
#[repr(C)]
struct PinAttributes {
    /// Address of the path.
    pathname: u64,
    /// What to pin; 0 to open.
    bpf_fd: u32,
    /// No flags.
    file_flags: u32,
}

/// Loads the program and pins it at `path` on a BPF file system, unless it is there already.
///
/// # Errors
/// If the privilege or the file system is missing.
pub fn pin(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| {
            format!(
                "{}: is bpffs mounted (cargo xtask setup)?",
                parent.display()
            )
        })?;
    }
    let license = c"Dual MIT/GPL";
    let mut load = LoadAttributes {
        prog_type: TYPE_XDP,
        insn_cnt: 2,
        insns: PROGRAM.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
    };
    // SAFETY: the kernel's attributes for this command; code and licence outlive the call; it answers a
    // descriptor.
    let program =
        unsafe { bpf::open(PROG_LOAD, &mut load) }.context("loading the XDP_PASS program")?;
    let name = CString::new(path.as_os_str().as_bytes()).context("a path without NUL")?;
    let mut pin = PinAttributes {
        pathname: name.as_ptr() as u64,
        bpf_fd: u32::try_from(program.as_raw_fd()).context("a descriptor")?,
        file_flags: 0,
    };
    // SAFETY: the kernel's attributes for this command; the path outlives the call.
    unsafe { bpf::call(OBJ_PIN, &mut pin) }
        .with_context(|| format!("pinning {}", path.display()))?;
    Ok(())
}

/// Takes a pinned link's program off its interface; the link and its pin stay, without effect.
///
/// # Errors
/// If there is no link pinned at `path`.
pub fn detach(path: &Path) -> Result<()> {
    let name = CString::new(path.as_os_str().as_bytes()).context("a path without NUL")?;
    let mut get = PinAttributes {
        pathname: name.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    // SAFETY: the kernel's attributes for this command; the path outlives the call; it answers a
    // descriptor.
    let link = unsafe { bpf::open(OBJ_GET, &mut get) }
        .with_context(|| format!("opening {}", path.display()))?;
    let mut descriptor = u32::try_from(link.as_raw_fd()).context("a descriptor")?;
    // SAFETY: the kernel's attributes for this command, without addresses.
    unsafe { bpf::call(LINK_DETACH, &mut descriptor) }
        .with_context(|| format!("detaching {}", path.display()))?;
    Ok(())
}
