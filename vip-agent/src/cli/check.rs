//! `vip-agent check`: finds mistakes in a configuration before they matter.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Failure, config_failure, print};
use crate::config::diagnostic::Source;
use crate::config::duration::Human;
use crate::config::timing::Timing;
use crate::config::{self, Config, Finding, Loaded, Severity, Steering, Transport, host};
use crate::exit::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 the file can be used (there may be warnings), 3 it cannot.

Examples:
  vip-agent check /etc/vip-agent/vip-agent.toml
  vip-agent check --host --strict vip-agent.toml   before a start on this host
  vip-agent check --json vip-agent.toml            for programs")]
pub(super) struct Args {
    /// Configuration file
    file: PathBuf,
    /// The file is for this host: missing interfaces and addresses are errors
    #[arg(long)]
    host: bool,
    /// Warnings are errors
    #[arg(long)]
    strict: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut loaded = match config::load(&args.file) {
        Ok(loaded) => loaded,
        Err(error) if args.json => {
            let report = report(args, error.source_text(), error.findings(), None);
            print(&format!("{report:#}\n"))?;
            return Err(Failure::Said(error.exit_code()));
        }
        Err(error) => return Err(config_failure(&error)),
    };
    loaded.warnings.extend(host_findings(args, &loaded.config)?);
    let worst = if args.strict {
        Severity::Warning
    } else {
        Severity::Error
    };
    let failed = loaded
        .warnings
        .iter()
        .any(|finding| finding.severity >= worst);
    if args.json {
        let config = (!failed).then_some(&loaded.config);
        let report = report(args, &loaded.source, &loaded.warnings, config);
        print(&format!("{report:#}\n"))?;
    } else {
        let findings: String = loaded
            .warnings
            .iter()
            .map(|finding| loaded.source.render(finding, true))
            .collect();
        print(&findings)?;
        print(&verdict(&args.file, &loaded, failed))?;
    }
    if failed {
        Err(Failure::Said(ExitCode::Config))
    } else {
        Ok(())
    }
}

/// What does not fit this host. Unless the file is said to be for this host, what is missing here is
/// not an error: it may be for another one.
fn host_findings(args: &Args, config: &Config) -> Result<Vec<Finding>, Failure> {
    let mut findings = config::host_findings(config, &host::interface_facts()?);
    if !args.host {
        for finding in &mut findings {
            finding.severity = Severity::Warning;
        }
    }
    Ok(findings)
}

/// The last words of the report: whether the file can be used, and what it means.
fn verdict(file: &Path, loaded: &Loaded, failed: bool) -> String {
    let file = file.display();
    if failed {
        return format!("{file}: not usable\n");
    }
    let warnings = match loaded.warnings.len() {
        0 => String::new(),
        1 => " (1 warning)".into(),
        count => format!(" ({count} warnings)"),
    };
    format!("{file}: ok{warnings}\n{}", summary(&loaded.config))
}

fn summary(config: &Config) -> String {
    let cluster = &config.cluster;
    let others = match &cluster.transport {
        Transport::Unicast { peers } if peers.len() == 1 => "1 peer".into(),
        Transport::Unicast { peers } => format!("{} peers", peers.len()),
        Transport::Multicast { group, interface } => format!("group {group} on {interface}"),
    };
    let mut text = String::new();
    let mut line = |line: String| match writeln!(text, "  {line}") {
        // Writing to a string does not fail.
        Ok(()) | Err(_) => {}
    };
    line(format!(
        "adverts every {} to {others}, UDP port {}",
        Human(cluster.advert_interval),
        cluster.port
    ));
    for instance in &config.instances {
        let steering = match &instance.steering {
            Steering::Local => "local".into(),
            Steering::L2 { backends } => format!("l2 to {}", plural(backends.len(), "backend")),
        };
        line(format!(
            "instance {} (vrid {}): {} on {}, priority {}, {steering}",
            instance.name,
            instance.vrid,
            plural(instance.vips.len(), "VIP"),
            instance.interface,
            instance.priority,
        ));
        for words in times(config, &Timing::of(config, instance)) {
            line(format!("  {words}"));
        }
    }
    text
}

/// How long a failover takes at most, by what has failed, and what the lease leaves.
fn times(config: &Config, timing: &Timing) -> Vec<String> {
    let (by_probes, by_lease) = match &config.liveness {
        Some(liveness) => (
            format!(
                "{} probes {} apart without an answer",
                liveness.misses,
                Human(liveness.interval)
            ),
            format!("its lease of {} ends, a probe is told", Human(timing.lease)),
        ),
        None => ("no adverts".into(), "no adverts".into()),
    };
    let rows = [
        ("its host or link dies", Some(timing.host_death), by_probes),
        (
            "its agent dies or hangs",
            Some(timing.agent_death),
            by_lease,
        ),
        (
            "its host and the best Backup die",
            timing.two_hosts_death,
            "the Backup's adverts are missed".into(),
        ),
        (
            "a backend dies",
            timing.backend_death,
            "its checks fail".into(),
        ),
        (
            "switchover, preemption, stop",
            Some(std::time::Duration::ZERO),
            "made before broken".to_owned(),
        ),
    ];
    let mut lines = vec!["outage at most, if of the Active node".to_owned()];
    lines.extend(rows.into_iter().filter_map(|(what, time, why)| {
        let time = Human(time?).to_string();
        Some(format!("  {what:<33} {time:>10}  {why}"))
    }));
    lines.push(format!(
        "lease {}: the agent may be {} late; it ends {} before a peer takes over by adverts",
        Human(timing.lease),
        Human(timing.forgiven),
        Human(timing.guard),
    ));
    lines
}

fn plural(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// The report for programs.
fn report(args: &Args, source: &Source, findings: &[Finding], config: Option<&Config>) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let position = finding
                .labels
                .first()
                .map(|label| source.position(label.span.start));
            json!({
                "severity": finding.severity,
                "code": finding.code,
                "message": finding.message,
                "help": finding.help,
                "line": position.map(|(line, _)| line),
                "column": position.map(|(_, column)| column),
            })
        })
        .collect();
    let instances: Option<Vec<Value>> = config.map(|config| {
        let instances = config.instances.iter().map(|instance| {
            let timing = Timing::of(config, instance);
            json!({
                "name": instance.name,
                "vrid": instance.vrid.get(),
                "vips": instance.vips,
                "lease_us": timing.lease.as_micros(),
                "takeover_us": timing.takeover.as_micros(),
                "lease_forgiven_us": timing.forgiven.as_micros(),
                "lease_guard_us": timing.guard.as_micros(),
                "worst_case_us": {
                    "planned": 0,
                    "host_death": timing.host_death.as_micros(),
                    "agent_death": timing.agent_death.as_micros(),
                    "two_hosts_death": timing.two_hosts_death.map(|time| time.as_micros()),
                    "backend_death": timing.backend_death.map(|time| time.as_micros()),
                },
            })
        });
        instances.collect()
    });
    json!({
        "file": args.file,
        "ok": config.is_some(),
        "findings": findings,
        "instances": instances,
    })
}
