//! A network namespace with a name.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;

use crate::process::run;

/// Where `ip netns` keeps the names.
pub const NAMES: &str = "/run/netns";

/// A named network namespace. It is removed with its lab, not when this is dropped: processes and
/// interfaces in it may outlive any one handle.
#[derive(Debug, Clone)]
pub struct NetNs {
    /// Name below [`NAMES`].
    name: String,
}

impl NetNs {
    /// Creates the namespace and brings up its loopback interface.
    ///
    /// # Errors
    /// If the name is taken or the privilege is missing.
    pub fn create(name: &str) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", name]))?;
        let namespace = Self {
            name: name.to_owned(),
        };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as shown by `ip netns`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread inside the namespace and waits for it. Threads and processes started by
    /// it are inside too; the mount namespace stays the caller's.
    ///
    /// # Errors
    /// If the namespace cannot be entered, or with the error of `work`.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = PathBuf::from(NAMES).join(&self.name);
        let worker = || {
            let link = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))
                .with_context(|| format!("entering network namespace {}", self.name))?;
            work()
        };
        std::thread::scope(|scope| match scope.spawn(worker).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Runs a program inside the namespace and returns its standard output.
    ///
    /// # Errors
    /// As [`run`].
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.enter(|| run(Command::new(program).args(arguments)))
            .with_context(|| format!("in namespace {}", self.name))
    }

    /// Runs `ip` with arguments separated by blanks inside the namespace.
    ///
    /// # Errors
    /// As [`run`].
    pub fn ip(&self, arguments: &str) -> Result<String> {
        self.run("ip", &arguments.split_whitespace().collect::<Vec<_>>())
    }

    /// Writes a setting below `/proc/sys/net/`, e.g. `ipv4/conf/all/arp_ignore`.
    ///
    /// # Errors
    /// If there is no such setting.
    pub fn sysctl(&self, setting: &str, value: &str) -> Result<()> {
        // The kernel resolves /proc/sys/net by the namespace of the thread that opens it.
        self.enter(|| {
            std::fs::write(format!("/proc/sys/net/{setting}"), value)
                .with_context(|| format!("setting {setting} to {value}"))
        })
    }
}
