//! What is measured, and how often.

use std::time::Duration;

use lab::cluster::Plan;

use super::Fault::{self, Backend, Crash, Hang, Kill, Reload, Restart, Stop, Switchover};
use super::Series;
use super::{rival, vip};
use crate::options::Options;
use crate::rows::VIP;

/// See [`few`].
const FEW: u32 = 5;

/// Adverts each 100 ms and probes each millisecond, three of which may stay unanswered: the defaults.
pub(super) fn default_plan() -> Plan {
    Plan {
        interval: Duration::from_millis(100),
        backends: false,
        ..Plan::default()
    }
}

/// Everything, in order.
pub(super) fn all(options: &Options) -> Vec<Series> {
    let runs = options.runs(20);
    let ours = [Crash, Kill, Hang, Stop, Switchover, Restart, Reload];
    let mut all = vec![
        vip_series(VIP, default_plan(), each(&ours, runs)),
        Series::new(VIP, each(&[Backend], runs), || {
            vip::behind(&Plan {
                backends: true,
                ..default_plan()
            })
        }),
    ];
    all.extend(other_settings(options));
    all.extend(many(options));
    all.extend(rivals(options));
    all
}

/// VIP at other settings than the default: what depends on them.
fn other_settings(options: &Options) -> Vec<Series> {
    let fast = Plan {
        liveness: &["interval = \"250us\""],
        ..default_plan()
    };
    let short = Plan {
        interval: Duration::from_millis(10),
        ..default_plan()
    };
    let runs = options.runs(20);
    if options.quick {
        return vec![vip_series("vip fast", fast, each(&[Crash], runs))];
    }
    let faults = [each(&[Crash], runs), each(&[Kill, Hang], few(options))].concat();
    vec![
        vip_series("vip fast", fast, faults.clone()),
        vip_series("vip 10ms", short, faults),
    ]
}

/// keepalived.
fn rivals(options: &Options) -> Vec<Series> {
    let runs = options.runs(20);
    let faults = [
        each(&[Crash], runs),
        each(
            &[Kill, Hang, Stop, Switchover, Restart, Reload],
            half(options),
        ),
    ]
    .concat();
    let mut all = vec![rival_series(
        "keepalived 10ms",
        Duration::from_millis(10),
        faults.clone(),
    )];
    if !options.quick {
        let slow = faults
            .into_iter()
            // That one does not depend on the interval.
            .filter(|(fault, _)| *fault != Reload)
            .map(|(fault, runs)| (fault, runs.min(few(options))));
        all.push(rival_series(
            "keepalived 1s",
            Duration::from_secs(1),
            slow.collect(),
        ));
    }
    all
}

/// Crashes with many VIPs.
fn many(options: &Options) -> Vec<Series> {
    let sizes: &[(u16, bool)] = if options.quick {
        &[(1_000, true)]
    } else {
        &[(1, true), (100, false), (10_000, false), (10_000, true)]
    };
    let series = |(vips, virtual_mac): &(u16, bool)| {
        let plan = Plan {
            vips: *vips,
            virtual_mac: *virtual_mac,
            ..default_plan()
        };
        let system = if *virtual_mac { "vip virtual-mac" } else { VIP };
        let crashes = each(&[Crash], few(options));
        let series = vip_series(system, plan, crashes);
        match vips {
            1 => series,
            _ => series.called(&format!("{vips} VIPs")),
        }
    };
    sizes.iter().map(series).collect()
}

/// Enough where a figure is not what it is all about.
fn half(options: &Options) -> u32 {
    let runs = options.runs(20);
    if options.full { runs } else { runs.div_ceil(2) }
}

/// Enough where a run takes seconds, or says little that others do not.
fn few(options: &Options) -> u32 {
    let runs = options.runs(20);
    if options.full { runs } else { runs.min(FEW) }
}

fn each(faults: &[Fault], runs: u32) -> Vec<(Fault, u32)> {
    faults.iter().map(|fault| (*fault, runs)).collect()
}

fn vip_series(system: &'static str, plan: Plan, faults: Vec<(Fault, u32)>) -> Series {
    Series::new(system, faults, move || vip::local(&plan))
}

fn rival_series(system: &'static str, interval: Duration, faults: Vec<(Fault, u32)>) -> Series {
    Series::new(system, faults, move || rival::start(interval))
}
