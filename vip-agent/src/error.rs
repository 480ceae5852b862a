//! Why the daemon could not start or had to stop: one variant per thing a person can act on.

use std::io;
use std::path::PathBuf;

use crate::exit::ExitCode;

/// An error of `vip-agent run`. Its text says what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The process lacks capabilities.
    #[error(
        "missing privilege: {}. Run vip-agent as root, or give it these capabilities \
         (systemd: AmbientCapabilities=)",
        .0.join(", ")
    )]
    Privilege(Vec<&'static str>),
    /// The kernel lacks features.
    #[error(
        "this kernel ({release}) lacks what the data plane needs: {}. Linux 5.11 or later with \
         CONFIG_BPF_SYSCALL has it",
        .missing.join(", ")
    )]
    Kernel {
        /// Release of the running kernel.
        release: String,
        /// What is missing.
        missing: Vec<String>,
    },
    /// The pin directory is not on a BPF file system.
    #[error(
        "{} is not on a BPF file system, so the data plane could not survive this process. \
         Mount one: mount -t bpf bpf /sys/fs/bpf (and check [node] pin_dir)",
        .0.display()
    )]
    NoBpffs(PathBuf),
    /// A configured interface does not exist.
    #[error("there is no interface {name:?}, named by {wanted_by}. Interfaces here: {present}")]
    NoInterface {
        /// Name of the interface.
        name: String,
        /// What names it.
        wanted_by: String,
        /// What there is, for comparison.
        present: String,
    },
    /// A configuration that this host, whatever it may still get, cannot run.
    #[error("{0}")]
    HostConfig(String),
    /// Another agent holds the lock.
    #[error(
        "another vip-agent{} runs with the runtime directory {}. Stop it first, or give this one \
         its own [node] runtime_dir and pin_dir",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
        .runtime_dir.display()
    )]
    AlreadyRunning {
        /// Its process, if the lock file tells.
        pid: Option<u32>,
        /// The directory both want.
        runtime_dir: PathBuf,
    },
    /// Another agent has its data plane in the same directory.
    #[error(
        "another vip-agent has its data plane in {} ([node] pin_dir). Stop it first, or give this \
         one its own pin_dir",
        .0.display()
    )]
    PinsTaken(PathBuf),
    /// The data plane of another agent, under another directory, is attached to the interface.
    #[error(
        "the data plane of another vip-agent is attached to {interface} (XDP program {id}). Two \
         agents cannot share an interface: stop the other one, or if none runs any more remove \
         its pinned link (its [node] pin_dir)"
    )]
    OtherAgent {
        /// The interface.
        interface: String,
        /// Kernel's number of the program.
        id: u32,
    },
    /// A foreign XDP program is attached to the interface.
    #[error(
        "another XDP program is attached to {interface}: {name} (id {id}, {mode} mode). The kernel \
         allows one per interface; nothing was changed. Remove it (ip link set dev {interface} \
         {off} off) if it is not needed"
    )]
    XdpBusy {
        /// The interface.
        interface: String,
        /// Name of the program.
        name: String,
        /// Kernel's number of the program.
        id: u32,
        /// How it is attached.
        mode: &'static str,
        /// The `ip link` keyword that removes it.
        off: &'static str,
    },
    /// An XDP program is attached to the interface, and the kernel does not tell us which.
    #[error(
        "an XDP program is attached to {interface} already (id {id}, {mode} mode). Which one it is \
         cannot be seen without CAP_SYS_ADMIN; it may be another vip-agent's, which would then have \
         another [node] pin_dir. Nothing was changed. Look at it first: bpftool prog show id {id}"
    )]
    XdpUnknown {
        /// The interface.
        interface: String,
        /// Kernel's number of the program.
        id: u32,
        /// How it is attached.
        mode: &'static str,
    },
    /// The driver cannot run XDP and the configuration forbids the generic hook.
    #[error(
        "the driver of {interface} ({driver}) does not support native XDP: {source}. Use [node] \
         xdp = \"auto\" to fall back to the slower generic mode"
    )]
    NoNativeXdp {
        /// The interface.
        interface: String,
        /// Its driver.
        driver: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The data plane could not be loaded, attached or written.
    #[error("{what}: {source}")]
    Dataplane {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The process could not become the program on disk.
    #[error(
        "the program {} could not be run in place of this one: {source}. The data plane is left as it \
         is; start the agent again before its lease ends",
        .program.display()
    )]
    NotReplaced {
        /// The program's file.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// An operation of the operating system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A netlink request failed.
    #[error("{what}: {source}")]
    Netlink {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: rtnetlink::Error,
    },
}

impl RunError {
    /// A failed operation of the operating system, with what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// A failed netlink request, with what was being done.
    pub(crate) fn netlink(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let what = what.into();
        move |source| Self::Netlink { what, source }
    }

    /// A failure of the data plane, with what was being done.
    pub(crate) fn dataplane<E>(what: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let what = what.into();
        move |source| Self::Dataplane {
            what,
            source: source.into(),
        }
    }

    /// The exit code that goes with the error.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::Privilege(_) => ExitCode::Privilege,
            Self::Kernel { .. } => ExitCode::Kernel,
            Self::NoBpffs(_) => ExitCode::NoBpffs,
            Self::NoInterface { .. } => ExitCode::NoInterface,
            Self::HostConfig(_) => ExitCode::Config,
            Self::AlreadyRunning { .. } | Self::PinsTaken(_) | Self::OtherAgent { .. } => {
                ExitCode::AlreadyRunning
            }
            Self::XdpBusy { .. } | Self::XdpUnknown { .. } => ExitCode::XdpBusy,
            Self::NoNativeXdp { .. } => ExitCode::NoNativeXdp,
            Self::NotReplaced { .. } => ExitCode::NotReplaced,
            Self::Dataplane { .. } | Self::Io { .. } | Self::Netlink { .. } => ExitCode::Failure,
        }
    }
}
