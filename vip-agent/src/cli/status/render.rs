//! A status as text for people. A function of the status alone: colours are always in it, and taken
//! out where the output is no terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::api::{BackendStatus, InstanceStatus, PeerStatus, Status, TakeoverStatus, VipStatus};
use crate::config::duration::Human;

/// Most VIPs listed one by one; of more than this, the first few.
const VIPS_ALL: usize = 12;
const VIPS_SHOWN: usize = 10;

const HEADING: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// The status as text that ends with a newline.
pub(super) fn render(status: &Status) -> String {
    let mut text = header(status);
    for instance in &status.instances {
        text.push('\n');
        text.push_str(&instance_block(instance, status));
    }
    text.push('\n');
    text.push_str(&peers(status));
    text.push_str(&counters("data plane", &status.counters));
    text.push_str(&counters("adverts", &status.protocol));
    text
}

fn header(status: &Status) -> String {
    let interval = Duration::from_micros(status.advert_interval_us);
    let realtime = if status.realtime {
        "real-time"
    } else {
        "not real-time"
    };
    let resumed = if status.resumed { " (resumed)" } else { "" };
    let mut text = format!(
        "{HEADING}{}{HEADING:#} ({})  vip-agent {}, pid {}, up {}{resumed}  adverts every {}, {realtime}\n",
        status.node,
        status.address,
        status.version,
        status.pid,
        age(status.uptime_ms),
        Human(interval),
    );
    for interface in &status.interfaces {
        let style = if interface.link == "up" { GOOD } else { BAD };
        text.push_str(&format!(
            "{} ({})  {} XDP, link {style}{}{style:#}\n",
            interface.name, interface.mac, interface.xdp, interface.link
        ));
    }
    text
}

fn instance_block(instance: &InstanceStatus, status: &Status) -> String {
    let (word, style) = match instance.state.as_str() {
        "active" => ("Active", GOOD),
        "backup" => ("Backup", Style::new()),
        "initialize" => ("Initialize", DOUBTFUL),
        other => (other, BAD),
    };
    let mut text = format!(
        "{HEADING}{}{HEADING:#}  {style}{word}{style:#} for {} ({})\n",
        instance.name,
        age(instance.since_ms),
        instance.reason.replace('_', " "),
    );
    let active = match instance.active {
        Some(address) if address == status.address => "this node".into(),
        Some(address) => address.to_string(),
        None => format!("{BAD}nobody known{BAD:#}"),
    };
    let mut facts = vec![
        match instance.mac.as_str() {
            "virtual" => format!(
                "vrid {} on {} with a virtual MAC",
                instance.vrid, instance.interface
            ),
            _ => format!("vrid {} on {}", instance.vrid, instance.interface),
        },
        format!("priority {}", instance.priority),
        format!("epoch {}", instance.epoch),
        format!("Active: {active}"),
    ];
    if let Some(left) = instance.lease_left_us {
        let style = if left == 0 { BAD } else { Style::new() };
        let left = Human(Duration::from_micros(left));
        facts.push(format!("{style}lease {left} left{style:#}"));
    }
    if instance.held {
        facts.push(format!("{DOUBTFUL}held back by a switchover{DOUBTFUL:#}"));
    }
    text.push_str(&format!("  {}\n", facts.join(", ")));
    if let Some(takeover) = &instance.takeover {
        text.push_str(&format!("  {}\n", arrivals(takeover)));
    }
    if instance.conflicts > 0 {
        text.push_str(&format!(
            "  {BAD}claimed by other stations {} times: the log names them{BAD:#}\n",
            grouped(instance.conflicts)
        ));
    }
    text.push_str(&vips(&instance.vips, &instance.steering));
    if !instance.backends.is_empty() {
        text.push_str(&backends(&instance.backends));
    }
    text
}

/// How the neighbours have followed the last claim.
fn arrivals(takeover: &TakeoverStatus) -> String {
    let first = takeover.first_packet_us.map_or_else(
        || "no packet yet".to_owned(),
        |first| format!("first packet after {}", Human(Duration::from_micros(first))),
    );
    let mut text = format!("last claim: {first}");
    if takeover.vips_in_use > 0 {
        text.push_str(&format!(
            ", {} of {} VIPs in use reached",
            takeover.reached, takeover.vips_in_use
        ));
    }
    text
}

fn vips(vips: &[VipStatus], steering: &str) -> String {
    let mut table = table(&["VIP", "packets", "bytes"]);
    let shown = if vips.len() > VIPS_ALL {
        VIPS_SHOWN
    } else {
        vips.len()
    };
    for vip in vips.iter().take(shown) {
        table.add_row([
            Cell::new(vip.address),
            number(grouped(vip.packets)),
            number(grouped(vip.bytes)),
        ]);
    }
    let mut text = indented(&table);
    let hidden = vips.get(shown..).unwrap_or_default();
    if !hidden.is_empty() {
        let packets = hidden
            .iter()
            .map(|vip| vip.packets)
            .fold(0, u64::saturating_add);
        text.push_str(&format!(
            "  … and {} more VIPs with {} packets (--json lists them)\n",
            hidden.len(),
            grouped(packets)
        ));
    }
    if steering != "local" {
        text.push_str(&format!("  steering: {steering}\n"));
    }
    text
}

fn backends(backends: &[BackendStatus]) -> String {
    let mut table = table(&[
        "backend",
        "address",
        "health",
        "MAC",
        "packets",
        "last check",
    ]);
    for backend in backends {
        let health = match (backend.active, backend.healthy) {
            (true, true) => "active",
            (true, false) => "active, UNHEALTHY",
            (false, true) => "healthy",
            (false, false) => "UNHEALTHY",
        };
        table.add_row([
            Cell::new(&backend.name),
            Cell::new(backend.address),
            Cell::new(health),
            Cell::new(backend.mac.as_deref().unwrap_or("unresolved")),
            number(grouped(backend.packets)),
            Cell::new(&backend.last_check),
        ]);
    }
    let mut text = String::new();
    // Colour is put on whole words of the finished table, where it cannot change column widths.
    for line in indented(&table).lines() {
        let line = line.replace("UNHEALTHY", &format!("{BAD}UNHEALTHY{BAD:#}"));
        text.push_str(&line);
        text.push('\n');
    }
    if !backends.iter().any(|backend| backend.active) {
        text.push_str(&format!(
            "  {BAD}no active backend: packets are dropped{BAD:#}\n"
        ));
    }
    text
}

fn peers(status: &Status) -> String {
    if status.peers.is_empty() {
        return format!("{DOUBTFUL}no peers: nothing takes over from this node{DOUBTFUL:#}\n");
    }
    let mut table = table(&[
        "peer",
        "state",
        "last heard",
        "adverts",
        "probes",
        "instances",
    ]);
    for peer in &status.peers {
        table.add_row([
            Cell::new(peer.address),
            Cell::new(if peer.alive { "alive" } else { "DOWN" }),
            Cell::new(last_heard(peer)),
            number(grouped(peer.adverts)),
            Cell::new(probes(peer)),
            Cell::new(peer_instances(peer, status)),
        ]);
    }
    let table = table.trim_fmt();
    format!("{}\n", table.replace("DOWN", &format!("{BAD}DOWN{BAD:#}")))
}

fn last_heard(peer: &PeerStatus) -> String {
    match peer.last_heard_ms {
        None => "never".into(),
        // Exactness counts as long as the peer is heard; later its age does.
        Some(heard) if heard < 10_000.0 => format!("{heard:.1} ms ago"),
        Some(heard) => format!("{heard:.0}")
            .parse()
            .map_or_else(|_| "long ago".into(), |heard| format!("{} ago", age(heard))),
    }
}

/// How its data plane answers liveness probes, if any are sent.
fn probes(peer: &PeerStatus) -> String {
    match &peer.probe {
        None => "-".into(),
        Some(probe) if probe.unanswered > 1 => format!("{} unanswered", probe.unanswered),
        Some(probe) if !probe.answered => "not answered".into(),
        Some(probe) => probe
            .round_trip_us
            .map_or_else(|| "answered".into(), |rtt| format!("{rtt} us")),
    }
}

/// What a peer says of the instances that are shown, by their names where they are known.
fn peer_instances(peer: &PeerStatus, status: &Status) -> String {
    let mut words = Vec::new();
    for said in &peer.instances {
        let Some(instance) = status.instances.iter().find(|own| own.vrid == said.vrid) else {
            continue;
        };
        words.push(match said.priority {
            0 => format!("{}: leaving", instance.name),
            priority => format!("{}: {} ({priority})", instance.name, said.state),
        });
    }
    words.join(", ")
}

/// The counters that have counted something.
fn counters(title: &str, counters: &BTreeMap<String, u64>) -> String {
    let mut table = table(&[title, "count"]);
    for (name, count) in counters.iter().filter(|(_, count)| **count > 0) {
        table.add_row([Cell::new(name), number(grouped(*count))]);
    }
    if table.is_empty() {
        String::new()
    } else {
        format!("\n{}\n", table.trim_fmt())
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .force_no_tty()
        .set_header(header.to_vec());
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table
}

fn number(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn indented(table: &Table) -> String {
    table
        .trim_fmt()
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect()
}

/// A whole number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// An age in the two units that tell most: `850 ms`, `12.3 s`, `3 min 12 s`, `2 h 5 min`, `4 d 1 h`.
fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}
