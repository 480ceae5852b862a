//! Exit codes: one for each kind of thing a person or a supervisor must react to differently.

/// How `vip-agent` ended. Documented in `docs/operations.md`; numbers never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// All went well.
    Success = 0,
    /// Something unforeseen.
    Failure = 1,
    /// The command line could not be understood (clap's own code).
    Usage = 2,
    /// The configuration is wrong, by itself or for this host: it does not get better by waiting.
    Config = 3,
    /// A privilege is missing.
    Privilege = 4,
    /// A configured interface or address does not exist on this host, or not yet: start again later.
    NoInterface = 5,
    /// The kernel lacks something the data plane needs.
    Kernel = 6,
    /// Another XDP program is attached to the interface.
    XdpBusy = 7,
    /// Another `vip-agent` runs with this runtime or pin directory, or on this interface.
    AlreadyRunning = 8,
    /// There is no BPF file system where the data plane is to be pinned.
    NoBpffs = 9,
    /// Native XDP was demanded and the driver cannot.
    NoNativeXdp = 10,
    /// No daemon answers on the control socket.
    Unreachable = 11,
    /// The daemon refused the command.
    Refused = 12,
    /// A reload was begun, but the program on disk could not be run any more.
    NotReplaced = 13,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
