//! Makes a thread run when its timer fires, not when the scheduler gets round to it.

use std::io;

/// Priority of the election thread among real-time threads: above ordinary ones, below the kernel's
/// own (interrupt threads run at 50 and must be able to deliver the adverts it waits for).
const ELECTION_PRIORITY: i32 = 40;

/// Priority of the announcer: it must not delay the election.
const ANNOUNCER_PRIORITY: i32 = 30;

/// Which thread asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Heartbeat, election, lease, flip.
    Election,
    /// Gratuitous ARP and unsolicited NA.
    Announcer,
}

/// Puts the calling thread into `SCHED_FIFO`.
///
/// # Errors
/// What the kernel answers, `EPERM` without `CAP_SYS_NICE`; then the thread's timer slack is set
/// to the minimum instead, which is the best an ordinary thread can have.
#[expect(
    unsafe_code,
    reason = "no safe wrapper for sched_setscheduler and prctl timer slack"
)]
pub fn promote(role: Role) -> io::Result<()> {
    let sched_priority = match role {
        Role::Election => ELECTION_PRIORITY,
        Role::Announcer => ANNOUNCER_PRIORITY,
    };
    let parameters = libc::sched_param { sched_priority };
    // SAFETY: `parameters` is a valid sched_param that outlives the call; pid 0 is this thread.
    let result = unsafe {
        libc::sched_setscheduler(
            0,
            libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK,
            &raw const parameters,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // SAFETY: PR_SET_TIMERSLACK takes one integer argument and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
    Err(error)
}

/// Keeps the process's memory from being paged out, so that no page fault delays the election.
/// Pages are locked when they are first used, not in advance.
///
/// # Errors
/// What the kernel answers, `EPERM` or `ENOMEM` without `CAP_IPC_LOCK`.
pub fn lock_memory() -> io::Result<()> {
    use rustix::mm::{MlockAllFlags, mlockall};
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
        .map_err(io::Error::from)
}
