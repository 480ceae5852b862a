//! keepalived: two routers in a lab of their own.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::keepalived::{Bias, Keepalived};
use lab::{Client, Lab, Responder, wait_until};

use super::Fault;
use super::measure::Pair;

/// The pair.
pub(super) struct Routers {
    client: Client,
    vip: Ipv4Addr,
    interval: Duration,
    pub(super) routers: [Keepalived; 2],
    _echo: [Responder; 2],
    /// Last, so that it goes last.
    lab: Lab,
}

/// A pair of routers whose first is master.
pub(super) fn start(interval: Duration) -> Result<Box<dyn Pair>> {
    Ok(Box::new(Routers::start(interval)?))
}

impl Routers {
    /// Starts both in a lab of their own.
    pub(super) fn start(interval: Duration) -> Result<Self> {
        let lab = Lab::new()?;
        let lan = lab.network("lan")?;
        let client = lab.client("client", &[&lan])?;
        let hosts = [
            lab.host("router-1", &[&lan])?,
            lab.host("router-2", &[&lan])?,
        ];
        let vip = lan.v4(100);
        let [one, two] = &hosts;
        let router = |host| Keepalived::new(host, vip, interval);
        let echo = |host, name| Responder::start(host, name, &[vip.into()]);
        let mut pair = Self {
            client,
            vip,
            interval,
            routers: [router(one)?, router(two)?],
            _echo: [echo(one, "router-1")?, echo(two, "router-2")?],
            lab,
        };
        pair.routers[0].prefer(Bias::Preferred)?;
        pair.routers[0].start()?;
        pair.wait_for_owner(0)?;
        pair.routers[1].start()?;
        pair.wait_until_heard();
        pair.wait_for_owner(0).with_context(|| pair.lab.logs())?;
        Ok(pair)
    }

    /// Until a backup has heard a master.
    fn wait_until_heard(&self) {
        std::thread::sleep(self.interval * 5 / 4 + Duration::from_millis(50));
    }

    /// Waits until this one alone has the VIP.
    fn wait_for_owner(&self, number: usize) -> Result<()> {
        let what = format!("only router {} to have the VIP", number + 1);
        wait_until(&what, self.patience(), || {
            let have = [0, 1].map(|each: usize| self.routers[each].has_vip().unwrap_or(false));
            if have == [number == 0, number == 1] {
                Ok(())
            } else {
                Err(format!("{have:?}"))
            }
        })
    }
}

impl Pair for Routers {
    fn client(&self) -> &Client {
        &self.client
    }

    fn vip(&self) -> IpAddr {
        self.vip.into()
    }

    fn names(&self) -> [String; 2] {
        self.routers
            .each_ref()
            .map(|router| router.host.name().to_owned())
    }

    fn cause(&mut self, fault: Fault, to: usize) -> Result<()> {
        let router = &mut self.routers[to];
        match fault {
            Fault::Crash => {
                router.host.isolate()?;
                router.kill()
            }
            Fault::Kill => router.kill(),
            Fault::Hang => router.freeze(),
            Fault::Stop => router.stop(),
            // Goes on serving until the other one has taken over: the gentlest way there is.
            Fault::Switchover => router.prefer(Bias::StepsBack),
            Fault::Restart => {
                router.kill()?;
                router.start()
            }
            Fault::Reload => router.reload(),
            Fault::Backend => bail!("it has no backends here"),
        }
    }

    fn patience(&self) -> Duration {
        8 * self.interval + Duration::from_secs(5)
    }

    fn settle(&self, fault: Fault) -> Duration {
        if fault.moves() {
            Duration::from_millis(50)
        } else {
            // Should the VIP have moved, or be about to, that has happened by then.
            4 * self.interval + Duration::from_millis(200)
        }
    }

    fn repair(&mut self, fault: Fault, to: usize) -> Result<()> {
        // Nobody knows who has it after a restart.
        let stayed = !fault.moves() && !self.routers[1 - to].has_vip()?;
        let (to, other) = if stayed { (1 - to, to) } else { (to, 1 - to) };
        self.routers[other].prefer(Bias::Preferred)?;
        self.routers[to].prefer(Bias::Neutral)?;
        let router = &mut self.routers[to];
        match fault {
            Fault::Crash => {
                router.forget_vip()?;
                router.host.heal()?;
                router.start()?;
            }
            Fault::Kill => {
                router.forget_vip()?;
                router.start()?;
            }
            Fault::Stop => router.start()?,
            Fault::Hang => router.thaw()?,
            Fault::Switchover | Fault::Restart | Fault::Reload | Fault::Backend => {}
        }
        self.wait_until_heard();
        self.wait_for_owner(other)?;
        // When two have been masters at once, nobody tells the client who is left.
        self.client.forget_neighbours()?;
        ensure!(
            self.routers[to].pids().is_ok(),
            "router {} has ended:\n{}",
            to + 1,
            self.routers[to].log_tail()
        );
        Ok(())
    }

    fn logs(&self) -> String {
        self.lab.logs()
    }
}
