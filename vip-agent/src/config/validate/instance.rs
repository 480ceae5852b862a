//! One `[[instance]]` table.

use std::num::NonZeroU8;
use std::time::Duration;

use vip_proto::{Priority, Vrid};

use crate::config::diagnostic::{Finding, Findings};
use crate::config::duration::{Human, Text, TextOrNever};
use crate::config::field::Field;
use crate::config::{
    Announce, Audience, Backend, Instance, MacMode, OnConflict, Steering, TcpCheck, raw,
};

/// Checks what is not about other instances. `None`: something it needs is missing, and reported.
pub(super) fn validate(raw: &raw::Instance, findings: &mut Findings) -> Option<Instance> {
    if let Some(name) = raw.name.get() {
        check_name(name, raw, findings);
    }
    check_interface(raw, findings);
    let steering = steering(raw, findings);
    Some(Instance {
        name: raw.name.get()?.clone(),
        vrid: Vrid::new(*raw.vrid.get()?)?,
        interface: raw.interface.get()?.clone(),
        priority: Priority::new(raw.priority.or(Priority::DEFAULT.get()))?,
        preempt: raw.preempt.or(true),
        preempt_delay: raw.preempt_delay.or(Text(Duration::ZERO)).0,
        vips: raw.vips.elements().map(|(vip, _)| *vip).collect(),
        mac: match raw.mac.or(raw::MacMode::Interface) {
            raw::MacMode::Interface => MacMode::Interface,
            raw::MacMode::Virtual => MacMode::Virtual,
        },
        on_conflict: match raw.on_conflict.or(raw::OnConflict::Reassert) {
            raw::OnConflict::Reassert => OnConflict::Reassert,
            raw::OnConflict::Yield => OnConflict::Yield,
        },
        steering: steering?,
        announce: announce(raw.announce.get()),
        unicast: audience(raw.announce.get(), findings)?,
    })
}

fn check_name(name: &str, raw: &raw::Instance, findings: &mut Findings) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(odd) = name.chars().find(|c| !allowed(*c)) {
        findings.push(
            Finding::error(
                "config::bad_name",
                format!("instance name {name:?} contains {odd:?}"),
            )
            .at(raw.name.span(), "not a plain name")
            .help("use letters, digits, `-`, `_` and `.`: the name is an argument of commands"),
        );
    }
}

fn check_interface(raw: &raw::Instance, findings: &mut Findings) {
    let Some(name) = raw.interface.get() else {
        return;
    };
    if name == "lo" {
        findings.push(
            Finding::error(
                "config::bad_interface",
                "VIPs cannot live on the interface lo",
            )
            .at(raw.interface.span(), "the loopback interface")
            .help(
                "name the interface the clients' requests arrive at; the agent puts the VIPs \
                     on lo by itself",
            ),
        );
    } else if name.contains(['/', ':']) || name.contains(char::is_whitespace) {
        findings.push(
            Finding::error(
                "config::bad_interface",
                format!("{name:?} is no interface name"),
            )
            .at(raw.interface.span(), "no interface can have this name")
            .help("`ip link` shows the names; aliases (eth0:1) are not interfaces"),
        );
    }
}

fn steering(raw: &raw::Instance, findings: &mut Findings) -> Option<Steering> {
    let backends = raw.backend.get();
    match (raw.steering.get(), backends) {
        (Some(raw::Steering::Local), Some(_)) => {
            findings.push(
                Finding::error(
                    "config::backends_unused",
                    "an instance with steering \"local\" cannot have backends",
                )
                .at(raw.steering.span(), "packets stay on this host")
                .at(raw.backend.span(), "so these get none")
                .help("say `steering = \"l2\"`, or remove the backends"),
            );
            None
        }
        (Some(raw::Steering::L2), None) => {
            findings.push(
                Finding::error(
                    "config::no_backends",
                    "an instance with steering \"l2\" needs a backend",
                )
                .at(raw.steering.span(), "to which host?")
                .help(
                    "add an [[instance.backend]] table with an `address`, or say `steering = \
                     \"local\"`",
                ),
            );
            None
        }
        (Some(raw::Steering::Local) | None, None) => Some(Steering::Local),
        (Some(raw::Steering::L2) | None, Some(list)) => {
            let backends = list
                .iter()
                .filter_map(Field::get)
                .filter_map(|raw| backend(raw, findings));
            Some(Steering::L2 {
                backends: backends.collect(),
            })
        }
    }
}

fn backend(raw: &raw::Backend, findings: &mut Findings) -> Option<Backend> {
    let check = raw.check.get().and_then(|raw| check(raw, findings));
    let address = *raw.address.get()?;
    if let Some((why, help)) = super::addresses::not_a_node(address) {
        findings.push(
            Finding::error(
                "config::bad_address",
                format!("{address} cannot be a backend: {why}"),
            )
            .at(raw.address.span(), why)
            .help(help),
        );
    }
    let name = raw
        .name
        .get()
        .cloned()
        .unwrap_or_else(|| address.to_string());
    Some(Backend {
        name,
        address,
        check,
    })
}

fn check(raw: &raw::Check, findings: &mut Findings) -> Option<TcpCheck> {
    let interval = raw.interval.or(Text(Duration::from_secs(1))).0;
    // A check that is repeated faster than the default timeout gets a shorter one.
    let timeout = raw
        .timeout
        .get()
        .map_or_else(|| interval.min(Duration::from_millis(500)), |t| t.0);
    if timeout > interval {
        let finding = Finding::error(
            "config::timeout_too_long",
            format!(
                "a check's timeout ({}) is longer than its interval ({})",
                Human(timeout),
                Human(interval)
            ),
        )
        .at(raw.timeout.span(), "ends after the next check starts");
        let finding = match raw.interval.get() {
            Some(_) => finding.at(raw.interval.span(), "the next check starts"),
            None => finding,
        };
        findings.push(finding.help("shorten `timeout` or lengthen `interval` (default 1s)"));
    }
    Some(TcpCheck {
        port: *raw.tcp.get()?,
        interval,
        timeout,
        rise: at_least_one(raw.rise.or(2)),
        fall: at_least_one(raw.fall.or(3)),
    })
}

/// The structure check has refused 0 by now.
fn at_least_one(count: u8) -> NonZeroU8 {
    NonZeroU8::new(count).unwrap_or(NonZeroU8::MIN)
}

fn announce(raw: Option<&raw::Announce>) -> Announce {
    let default = raw::Announce::default();
    let raw = raw.unwrap_or(&default);
    Announce {
        repeat: raw.repeat.or(5),
        interval: raw.interval.or(Text(Duration::from_millis(200))).0,
        refresh: raw.refresh.or(TextOrNever(Some(Duration::from_secs(60)))).0,
    }
}

/// Who is told by unicast. `None`: a word is not known, and reported.
fn audience(raw: Option<&raw::Announce>, findings: &mut Findings) -> Option<Vec<Audience>> {
    let mut audience = Vec::new();
    let mut sound = true;
    for (word, span) in raw.into_iter().flat_map(|raw| raw.unicast.elements()) {
        match (word.as_str(), word.parse()) {
            ("gateways", _) => audience.push(Audience::Gateways),
            ("neighbours", _) => audience.push(Audience::Neighbours),
            (_, Ok(address)) => audience.push(Audience::Station(address)),
            (_, Err(_)) => {
                sound = false;
                findings.push(
                    Finding::error(
                        "config::bad_audience",
                        format!("{word:?} is nobody who could be told by unicast"),
                    )
                    .at(span, "not known")
                    .help("write \"gateways\", \"neighbours\", or the address of a station"),
                );
            }
        }
    }
    sound.then_some(audience)
}
