//! The lab itself: what exists is made through it and goes away with it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::backend::Backend;
use crate::client::Client;
use crate::host::Host;
use crate::network::Network;
use crate::process::tail;
use crate::sweep;

/// Numbers the labs of this process.
static LABS: AtomicU32 = AtomicU32::new(1);
/// Held by a running [`scenario`]: they measure time, and two at once would disturb each other.
static TURN: Mutex<()> = Mutex::new(());

/// A cluster in a box. Dropping it removes all that was made in it.
#[derive(Debug)]
pub struct Lab {
    /// What all names start with.
    prefix: String,
    /// Logs, configurations, sockets.
    run_dir: PathBuf,
    /// Number of the next network: the N of 10.N.0.0/24.
    networks: AtomicU32,
}

impl Lab {
    /// An empty lab, after removing what killed runs have left behind.
    ///
    /// # Errors
    /// Without root, or without a BPF file system at `/sys/fs/bpf`.
    pub fn new() -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "the lab needs root: run it with sudo"
        );
        let bpffs = rustix::fs::statfs(sweep::BPFFS).context("asking for the BPF file system")?;
        let magic = u64::try_from(bpffs.f_type).unwrap_or(0);
        ensure!(
            magic == 0xcafe_4a11,
            "no BPF file system at {}: cargo xtask setup",
            sweep::BPFFS
        );
        sweep::remove_stale().context("removing the remains of a killed run")?;

        let prefix = sweep::prefix(LABS.fetch_add(1, Ordering::Relaxed))?;
        sweep::register(&prefix);
        let run_dir = sweep::run_dir(&prefix);
        let lab = Self {
            prefix,
            run_dir,
            networks: AtomicU32::new(1),
        };
        for directory in [lab.run_dir(), &lab.pin_dir()] {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("creating {}", directory.display()))?;
        }
        Ok(lab)
    }

    /// What the names of all its namespaces and directories start with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Directory of its logs, configurations and sockets.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// Directory of its BPF pins.
    #[must_use]
    pub fn pin_dir(&self) -> PathBuf {
        sweep::pin_dir(&self.prefix)
    }

    /// A new network: a bridge in a namespace of its own, with 10.N.0.0/24 and fd00:N::/64.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn network(&self, name: &str) -> Result<Network> {
        let number = u8::try_from(self.networks.fetch_add(1, Ordering::Relaxed))
            .context("at most 255 networks")?;
        Network::create(self, name, number)
    }

    /// A new host with one interface (`eth0`, `eth1` …) on each of these networks.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn host(&self, name: &str, networks: &[&Network]) -> Result<Host> {
        Host::create(self, name, networks)
    }

    /// A new host that uses the VIPs.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn client(&self, name: &str, networks: &[&Network]) -> Result<Client> {
        Ok(Client::new(self.host(name, networks)?))
    }

    /// A new real server for steering mode `l2`: the VIPs on `lo`, never answered for by ARP.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn backend(
        &self,
        name: &str,
        networks: &[&Network],
        vips: &[std::net::IpAddr],
    ) -> Result<Backend> {
        Backend::create(self.host(name, networks)?, vips)
    }

    /// The ends of all logs, for a person who wants to know what went wrong.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.run_dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        files.sort();
        let show = |file: &PathBuf| format!("--- {}\n{}\n", file.display(), tail(file, 60));
        files.iter().map(show).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = sweep::remove(&self.prefix) {
            eprintln!("lab {}: {error:#}", self.prefix);
        }
    }
}

/// Runs one test in a lab of its own, one at a time in this process. When it fails, by an error or a
/// panic, the logs of the lab are shown.
///
/// # Panics
/// If the test fails or the lab cannot be set up: a test that cannot run has failed.
#[expect(clippy::panic, reason = "a test's way to fail")]
pub fn scenario(test: impl FnOnce(&Lab) -> Result<()>) {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = match Lab::new() {
        Ok(lab) => lab,
        Err(error) => panic!("no lab: {error:#}"),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| test(&lab)));
    if !matches!(outcome, Ok(Ok(()))) {
        eprintln!("{}", lab.logs());
    }
    drop(lab);
    drop(turn);
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error:#}"),
        Err(panic) => resume_unwind(panic),
    }
}
