//! A host with a real `vip-agent`, and what can happen to it.

pub mod config;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::host::Host;
use crate::node::config::NodeConfig;
use crate::process::{Process, output_within};
use crate::wait::wait_until;

/// How long an agent may take to start and to stop.
const PATIENCE: Duration = Duration::from_secs(15);

/// A host with an agent.
#[derive(Debug)]
pub struct Node {
    /// Where it lives.
    pub host: Host,
    /// The agent's configuration; changes count from the next start on.
    pub config: NodeConfig,
    /// The program it runs; `None`: the one under test.
    pub program: Option<PathBuf>,
    /// The agent, while it runs.
    agent: Option<Process>,
}

impl Node {
    /// Gives a host an agent, not yet started.
    ///
    /// # Errors
    /// If its files cannot be written.
    pub fn new(host: &Host, config: NodeConfig) -> Result<Self> {
        config.write()?;
        Ok(Self {
            host: host.clone(),
            config,
            program: None,
            agent: None,
        })
    }

    /// Starts the agent and waits until it answers on its control socket.
    ///
    /// # Errors
    /// If it runs already, ends, or does not answer within 15 s: with the end of its log.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        let name = self.host.name().to_owned();
        let status = wait_until(&format!("the agent of {name} to answer"), PATIENCE, || {
            let agent = self.agent.as_mut().ok_or("not running")?;
            match agent.exited() {
                Ok(None) => {}
                ended => return Ok(Err(format!("the agent of {name} ended: {ended:?}"))),
            }
            self.status().map(Ok).map_err(|error| format!("{error:#}"))
        });
        match status {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(ended)) => bail!("{ended}; its log ends:\n{}", self.log_tail()),
            Err(error) => Err(error.context(format!("its log ends:\n{}", self.log_tail()))),
        }
    }

    /// Starts the agent without waiting for anything.
    ///
    /// # Errors
    /// If it runs already or cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        ensure!(
            self.agent.is_none(),
            "the agent of {} runs already",
            self.host.name()
        );
        self.config.write()?;
        let mut command = match &self.program {
            Some(program) => Command::new(program),
            None => Command::new(agent_program()?),
        };
        command
            .arg("run")
            .arg("--config")
            .arg(self.config.path())
            .env("NO_COLOR", "1");
        let log = self.host.file("agent.log");
        let agent = self
            .host
            .namespace()
            .enter(|| Process::spawn("vip-agent", &mut command, &log))?;
        self.agent = Some(agent);
        Ok(())
    }

    /// Stops the agent in an orderly way (SIGTERM) and returns how it ended.
    ///
    /// # Errors
    /// If it does not run or does not end within 15 s.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.agent()?.signal(Signal::TERM)?;
        let status = self.agent()?.wait(PATIENCE)?;
        self.agent = None;
        Ok(status)
    }

    /// Asks the agent to stop (SIGTERM), without waiting for it.
    ///
    /// # Errors
    /// If it does not run.
    pub fn terminate(&mut self) -> Result<()> {
        self.agent()?.signal(Signal::TERM)
    }

    /// Asks the agent to reload (SIGHUP), without waiting for it.
    ///
    /// # Errors
    /// If it does not run.
    pub fn hang_up(&mut self) -> Result<()> {
        self.agent()?.signal(Signal::HUP)
    }

    /// Waits for the agent to end by itself.
    ///
    /// # Errors
    /// If it does not run or does not end within `limit`.
    pub fn wait_for_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let status = self.agent()?.wait(limit)?;
        self.agent = None;
        Ok(status)
    }

    /// Kills the agent (SIGKILL); the host and its data plane stay.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.agent()?.signal(Signal::KILL)?;
        self.agent()?.wait(PATIENCE)?;
        self.agent = None;
        Ok(())
    }

    /// The machine dies: all cables are dead at once and the agent with them.
    ///
    /// # Errors
    /// If the agent does not run.
    pub fn crash(&mut self) -> Result<()> {
        // Cables first: what the agent still does until it is killed reaches nobody.
        self.host.unplug()?;
        self.kill()
    }

    /// Stops the agent's execution (SIGSTOP): it hangs; the kernel part goes on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&mut self) -> Result<()> {
        self.agent()?.signal(Signal::STOP)
    }

    /// Lets a frozen agent go on (SIGCONT).
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&mut self) -> Result<()> {
        self.agent()?.signal(Signal::CONT)
    }

    /// Runs `vip-agent ARGUMENTS` on this host to its end, within 30 s.
    ///
    /// # Errors
    /// If it cannot be run; not if it fails.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(agent_program()?);
        command.args(arguments);
        self.host
            .namespace()
            .enter(|| output_within(&mut command, Duration::from_secs(30)))
    }

    /// What `vip-agent status --json` says.
    ///
    /// # Errors
    /// If the agent does not answer.
    pub fn status(&self) -> Result<Value> {
        self.json(&["status", "--json"])
    }

    /// Hands an instance over to the best other node; returns what the agent says.
    ///
    /// # Errors
    /// If the agent refuses.
    pub fn switchover(&self, instance: &str) -> Result<String> {
        self.output(&["switchover", instance])
    }

    /// Lets the agent read its configuration again and replace itself by the program on disk; returns
    /// what it says.
    ///
    /// # Errors
    /// If the agent refuses.
    pub fn reload(&self) -> Result<String> {
        self.output(&["reload"])
    }

    /// State of an instance: `initialize`, `backup` or `active`.
    ///
    /// # Errors
    /// If the agent does not answer or has no such instance.
    pub fn state(&self, instance: &str) -> Result<String> {
        let status = self.status()?;
        let found = status["instances"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|candidate| candidate["name"] == instance)
            .with_context(|| format!("no instance {instance} in {status}"))?;
        Ok(found["state"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until an instance is in a state.
    ///
    /// # Errors
    /// After `timeout`: with the state it is in and the end of the agent's log.
    pub fn wait_for_state(&self, instance: &str, state: &str, timeout: Duration) -> Result<()> {
        let what = format!("{instance} to be {state} on {}", self.host.name());
        wait_until(&what, timeout, || match self.state(instance) {
            Ok(now) if now == state => Ok(()),
            Ok(now) => Err(now),
            Err(error) => Err(format!("{error:#}")),
        })
        .with_context(|| format!("the agent's log ends:\n{}", self.log_tail()))
    }

    /// MAC address of its first interface.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.host.mac()
    }

    /// Address of its first interface in the family of `vip`.
    #[must_use]
    pub fn address(&self, vip: IpAddr) -> IpAddr {
        if vip.is_ipv4() {
            self.host.v4().into()
        } else {
            self.host.v6().into()
        }
    }

    /// The end of the agent's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        crate::process::tail(&self.host.file("agent.log"), 40)
    }

    /// The running agent's process id.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pid(&mut self) -> Result<u32> {
        self.agent().map(|agent| agent.id())
    }

    /// The running agent.
    fn agent(&mut self) -> Result<&mut Process> {
        self.agent
            .as_mut()
            .with_context(|| format!("the agent of {} does not run", self.host.name()))
    }

    /// Runs a command against the agent's control socket; it must succeed.
    fn output(&self, arguments: &[&str]) -> Result<String> {
        let socket = self.config.socket();
        let socket = socket.to_str().context("a path in UTF-8")?;
        let output = self.command(&[arguments, &["--socket", socket]].concat())?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "vip-agent {arguments:?}: {}: {stderr}",
            output.status
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// As [`Self::output`], read as JSON.
    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.output(arguments)?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }
}

/// The program under test: `$VIP_AGENT`, else `vip-agent` in the target directory this program is in.
///
/// # Errors
/// If there is none.
pub fn agent_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("VIP_AGENT") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "VIP_AGENT={}: no such file", path.display());
        return Ok(path);
    }
    let this = std::env::current_exe().context("asking for this program's path")?;
    this.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("vip-agent"))
        .find(|candidate| candidate.is_file())
        .with_context(|| {
            format!(
                "no vip-agent beside {}: `cargo build -p vip-agent`, or set VIP_AGENT",
                this.display()
            )
        })
}
