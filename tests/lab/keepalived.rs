//! A host with keepalived: what VIP is measured against.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::host::Host;
use crate::process::{Process, tail};
use crate::wait::wait_until;

/// The program, from the Debian package of the same name.
pub const PROGRAM: &str = "keepalived";
/// Priority without a [`Bias`].
const PRIORITY: u8 = 100;
/// How long it may take to start and to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// Virtual router id of the instance.
const VRID: u8 = 51;

/// How a tracked file changes the priority, which keepalived notices at once (`track_file`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// Becomes or stays master.
    Preferred,
    /// Takes over from one who steps back.
    Neutral,
    /// Gives way.
    StepsBack,
}

/// A keepalived of its own in a host's namespace, as a VRRPv3 router with one IPv4 VIP on `eth0`.
/// Everything not named here is as it is by default. Ends when dropped.
#[derive(Debug)]
pub struct Keepalived {
    /// Where it lives.
    pub host: Host,
    /// The address.
    vip: Ipv4Addr,
    /// Time between adverts.
    interval: Duration,
    /// The parent, while it runs.
    parent: Option<Process>,
}

impl Keepalived {
    /// Gives a host a keepalived, not yet started.
    ///
    /// # Errors
    /// If its files cannot be written.
    pub fn new(host: &Host, vip: Ipv4Addr, interval: Duration) -> Result<Self> {
        let keepalived = Self {
            host: host.clone(),
            vip,
            interval,
            parent: None,
        };
        let path = keepalived.config();
        fs::write(&path, keepalived.text())
            .with_context(|| format!("writing {}", path.display()))?;
        keepalived.prefer(Bias::Neutral)?;
        Ok(keepalived)
    }

    /// Starts it and waits until its VRRP process runs.
    ///
    /// # Errors
    /// If it runs already, or does not start: with the end of its log.
    pub fn start(&mut self) -> Result<()> {
        let name = self.host.name().to_owned();
        ensure!(self.parent.is_none(), "keepalived of {name} runs already");
        for left in [self.pid_file(), self.vrrp_pid_file()] {
            // There is none after an orderly end.
            fs::remove_file(left).ok();
        }
        let mut command = Command::new(PROGRAM);
        command
            .args(["--dont-fork", "--log-console", "--no-syslog", "--vrrp"])
            .arg("--use-file")
            .arg(self.config())
            .arg("--pid")
            .arg(self.pid_file())
            .arg("--vrrp_pid")
            .arg(self.vrrp_pid_file());
        let log = self.log();
        let parent = self
            .host
            .namespace()
            .enter(|| Process::spawn(PROGRAM, &mut command, &log))
            .context("is it installed (cargo xtask setup)?")?;
        let parent = self.parent.insert(parent);
        let file = self.host.file("keepalived.vrrp.pid");
        wait_until(&format!("keepalived of {name} to start"), PATIENCE, || {
            if let Ok(None) = parent.exited() {
                read_pid(&file).map_err(|error| format!("{error:#}"))
            } else {
                Err("it has ended".to_owned())
            }
        })
        .with_context(|| format!("its log ends:\n{}", tail(&log, 20)))?;
        Ok(())
    }

    /// Changes its priority while it runs, or before it starts.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn prefer(&self, bias: Bias) -> Result<()> {
        let change = match bias {
            Bias::Preferred => 50,
            Bias::Neutral => 0,
            Bias::StepsBack => -50,
        };
        let path = self.bias_file();
        fs::write(&path, format!("{change}\n"))
            .with_context(|| format!("writing {}", path.display()))
    }

    /// Whether the host has the VIP.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn has_vip(&self) -> Result<bool> {
        let addresses = self.host.namespace().ip("-o -4 addr show dev eth0")?;
        Ok(addresses.contains(&format!(" {}/", self.vip)))
    }

    /// Takes the VIP off the host, as a reboot would: one that was killed leaves it behind.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn forget_vip(&self) -> Result<()> {
        if self.has_vip()? {
            let command = format!("addr del {}/32 dev eth0", self.vip);
            self.host.namespace().ip(&command)?;
        }
        Ok(())
    }

    /// Kills it (SIGKILL), both processes at once: none sees the other die.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.signal_both(Signal::STOP)?;
        self.signal_both(Signal::KILL)?;
        self.ended()
    }

    /// Stops its execution (SIGSTOP).
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal_both(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal_both(Signal::CONT)
    }

    /// Stops it in an orderly way (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// If it does not run or does not end within 10 s.
    pub fn stop(&mut self) -> Result<()> {
        self.parent()?.signal(Signal::TERM)?;
        self.ended()
    }

    /// Lets it read its configuration again (SIGHUP).
    ///
    /// # Errors
    /// If it does not run.
    pub fn reload(&self) -> Result<()> {
        self.parent()?.signal(Signal::HUP)
    }

    /// Its processes: the parent and the one that speaks VRRP.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pids(&self) -> Result<[u32; 2]> {
        let vrrp = read_pid(&self.vrrp_pid_file())?;
        Ok([self.parent()?.id(), vrrp.as_raw_pid().unsigned_abs()])
    }

    /// How often it has become master since it was first started.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub fn times_master(&self) -> Result<usize> {
        let log = fs::read_to_string(self.log()).context("reading the log of keepalived")?;
        Ok(log.matches("Entering MASTER STATE").count())
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log(), 20)
    }

    /// Waits for its end.
    fn ended(&mut self) -> Result<()> {
        let Some(mut parent) = self.parent.take() else {
            bail!("keepalived of {} does not run", self.host.name());
        };
        parent.wait(PATIENCE).map(drop)
    }

    /// Signals the parent first, which otherwise would start a new child.
    fn signal_both(&self, signal: Signal) -> Result<()> {
        let vrrp = read_pid(&self.vrrp_pid_file())?;
        self.parent()?.signal(signal)?;
        kill_process(vrrp, signal).context("signalling the VRRP process")
    }

    /// The running parent.
    fn parent(&self) -> Result<&Process> {
        self.parent
            .as_ref()
            .with_context(|| format!("keepalived of {} does not run", self.host.name()))
    }

    fn config(&self) -> PathBuf {
        self.host.file("keepalived.conf")
    }

    fn bias_file(&self) -> PathBuf {
        self.host.file("keepalived.bias")
    }

    fn log(&self) -> PathBuf {
        self.host.file("keepalived.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.host.file("keepalived.pid")
    }

    fn vrrp_pid_file(&self) -> PathBuf {
        self.host.file("keepalived.vrrp.pid")
    }

    /// The configuration file.
    fn text(&self) -> String {
        let seconds = self.interval.as_secs();
        let hundredths = self.interval.subsec_millis() / 10;
        let (name, bias) = (self.host.name(), self.bias_file());
        format!(
            "global_defs {{\n    router_id {name}\n    vrrp_version 3\n}}\n\n\
             track_file bias {{\n    file \"{bias}\"\n    weight 1\n}}\n\n\
             vrrp_instance web {{\n    state BACKUP\n    interface eth0\n    \
             virtual_router_id {VRID}\n    priority {PRIORITY}\n    \
             advert_int {seconds}.{hundredths:02}\n    \
             virtual_ipaddress {{\n        {vip}/32 dev eth0\n    }}\n    \
             track_file {{\n        bias weight 1\n    }}\n}}\n",
            bias = bias.display(),
            vip = self.vip,
        )
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // Killing the parent alone would leave its child to itself.
        if self.parent.is_some() {
            drop(self.kill());
        }
    }
}

/// The process id in a file.
fn read_pid(file: &std::path::Path) -> Result<Pid> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    text.trim()
        .parse()
        .ok()
        .and_then(Pid::from_raw)
        .with_context(|| format!("no process id in {}: {text:?}", file.display()))
}
