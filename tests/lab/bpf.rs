//! Bare bpf(2) calls, for programs of a few instructions that need no object file.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// `BPF_PROG_LOAD`.
pub const PROG_LOAD: libc::c_int = 5;
/// `BPF_PROG_TYPE_XDP`.
pub const TYPE_XDP: u32 = 6;

/// One bpf(2) call; answers what the kernel does.
///
/// # Errors
/// What the kernel answers.
///
/// # Safety
/// `attributes` is a prefix of `union bpf_attr` as the command takes it; the addresses in it are valid
/// for as long as the call lasts.
pub unsafe fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: `attributes` points to `size_of::<T>()` bytes that may be read and written; for the rest
    // the caller vouches.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

/// As [`call`], for commands that answer with a new descriptor.
///
/// # Errors
/// What the kernel answers.
///
/// # Safety
/// As for [`call`]; and the command does answer so.
pub unsafe fn open<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches.
    let descriptor = unsafe { call(command, attributes) }?;
    // SAFETY: the kernel has just made this descriptor, and nobody else holds it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
