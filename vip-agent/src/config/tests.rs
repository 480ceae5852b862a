//! Every way a configuration can be wrong, with the message a person gets.

mod host;
mod keys;
mod links;
mod liveness;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::diagnostic::Source;
use super::load::load_text;
use super::{Config, LoadError, Loaded, Severity, Steering, Transport};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A sound file; cases replace parts of it.
const BASE: &str = r#"[cluster]
key_file = "cluster.key"
peers = ["10.0.0.2"]

[[instance]]
name = "web"
vrid = 51
interface = "eth0"
vips = ["10.0.0.100", "fd00::100"]
"#;

/// A directory with a good key.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    write_key(&directory.path().join("cluster.key"), KEY, 0o600);
    directory
}

fn write_key(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn load_in(directory: &Path, text: &str) -> Result<Loaded, LoadError> {
    load_text(
        Source {
            path: "vip-agent.toml".into(),
            text: text.into(),
        },
        directory,
    )
}

fn load(text: &str) -> Result<Loaded, LoadError> {
    load_in(directory().path(), text)
}

fn config(text: &str) -> Config {
    load(text).unwrap().config
}

/// The base with a part replaced, which must be there.
fn with(part: &str, replacement: &str) -> String {
    assert!(BASE.contains(part), "{part:?} is not in the base");
    BASE.replacen(part, replacement, 1)
}

/// The base with more text in its instance.
fn plus(more: &str) -> String {
    format!("{BASE}{more}\n")
}

/// Checks the whole report of a file that cannot be used.
#[track_caller]
fn refused(name: &str, text: &str) {
    let error = load(text).unwrap_err();
    assert!(
        error
            .findings()
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    );
    insta::assert_snapshot!(name, error.to_string());
}

/// Checks the report of a file that can be used with reservations.
#[track_caller]
fn warned(name: &str, text: &str) {
    let loaded = load(text).unwrap();
    let report: String = loaded
        .warnings
        .iter()
        .map(|finding| loaded.source.render(finding, false))
        .collect();
    insta::assert_snapshot!(name, report);
}

const SECOND: &str = r#"
[[instance]]
name = "db"
vrid = 52
interface = "eth0"
vips = ["10.0.0.101"]
"#;

#[test]
fn smallest_has_the_documented_defaults() {
    assert!(BASE.lines().count() < 15);
    let loaded = load(BASE).unwrap();
    assert_eq!(loaded.warnings, []);
    insta::assert_debug_snapshot!("defaults", {
        let mut config = loaded.config;
        config.node.name = "HOST".into();
        config
    });
}

#[test]
fn everything_can_be_set() {
    let directory = directory();
    write_key(
        &directory.path().join("next.key"),
        &format!("2:{KEY}"),
        0o400,
    );
    let text = r#"
[cluster]
key_files = ["next.key", "cluster.key"]
multicast = { group = "239.255.81.12", interface = "eth1" }
address = "10.0.0.1"
port = 9000
advert_interval = "12.5ms"
down_factor = 4
startup_delay = "2s"

[[instance]]
name = "web"
vrid = 255
interface = "eth0"
vips = ["10.0.0.100"]
priority = 254
preempt = false
preempt_delay = "1min"
announce = { repeat = 9, interval = "50ms", refresh = "never" }

[[instance.backend]]
address = "10.0.0.11"
name = "ecs1"
check = { tcp = 80, interval = "2s", timeout = "250ms", rise = 1, fall = 9 }

[[instance.backend]]
address = "fd00::11"

[node]
name = "a"
runtime_dir = "/run/x"
pin_dir = "/sys/fs/bpf/x"
xdp = "generic"
on_exit = "stay"
provision = false
xdp_log = "debug"
"#;
    insta::assert_debug_snapshot!(
        "everything",
        load_in(directory.path(), text).unwrap().config
    );
}

#[test]
fn all_independent_errors_are_reported_at_once() {
    let text = r#"[cluster]
key_file = "cluster.key"
peers = ["10.0.0.2", "fd00::2"]
advert_intervall = "10ms"
port = 0

[[instance]]
name = "web"
vrid = 51
interface = "eth0"
vips = ["10.0.0.100", "10.0.0.2", "10.0.0.300"]
priority = 255

[[instance]]
name = "web"
vrid = "51"
interface = "a-name-that-is-too-long"
vips = ["10.0.0.100"]
"#;
    let error = load(text).unwrap_err();
    let codes: Vec<&str> = error
        .findings()
        .iter()
        .map(|finding| finding.code)
        .collect();
    assert_eq!(
        codes,
        [
            "config::mixed_families",
            "config::unknown_key",
            "config::bad_value",
            "config::vip_is_host",
            "config::bad_value",
            "config::bad_value",
            "config::duplicate",
            "config::bad_value",
            "config::bad_value",
            "config::duplicate_vip",
        ]
    );
    insta::assert_snapshot!("all_at_once", error.to_string());
}

#[test]
fn syntax_and_structure() {
    refused("syntax", &with("vrid = 51", "vrid ="));
    refused("duplicate_toml_key", &plus("vrid = 52"));
    refused("empty_file", "");
    refused("unknown_table", &plus("[clutser]"));
    refused("unknown_key", &plus("prioritty = 5"));
    refused("unknown_key_far", &plus("colour = 5"));
    refused(
        "unknown_key_in_inline_table",
        &plus("announce = { repeats = 5 }"),
    );
    refused("missing_key", &with("vrid = 51\n", ""));
    refused("no_instances", BASE.split("\n[[").next().unwrap());
    refused("wrong_type_integer", &with("51", "\"51\""));
    refused("wrong_type_list", &with("[\"10.0.0.2\"]", "\"10.0.0.2\""));
    refused("wrong_type_bool", &plus("preempt = \"yes\""));
    refused("wrong_type_table", &with("[[instance]]", "[instance]"));
    refused("wrong_word", &plus("steering = \"l3\""));
    refused("wrong_word_near", &plus("[node]\nxdp = \"nativ\""));
}

#[test]
fn ranges() {
    refused("priority_zero", &plus("priority = 0"));
    refused("priority_255", &plus("priority = 255"));
    refused("vrid_zero", &with("51", "0"));
    refused("vrid_256", &with("51", "256"));
    refused(
        "number_too_big_for_any_type",
        &with("51", "99999999999999999999999"),
    );
    refused("port_range", &with("\n\n", "\nport = 65536\n\n"));
    refused("down_factor_range", &with("\n\n", "\ndown_factor = 1\n\n"));
    refused(
        "interval_range",
        &with("\n\n", "\nadvert_interval = \"999us\"\n\n"),
    );
    refused(
        "interval_range_above",
        &with("\n\n", "\nadvert_interval = \"41s\"\n\n"),
    );
    refused(
        "startup_delay_range",
        &with("\n\n", "\nstartup_delay = \"6min\"\n\n"),
    );
    refused("repeat_range", &plus("announce = { repeat = 101 }"));
    refused("refresh_range", &plus("announce = { refresh = \"1ms\" }"));
    refused(
        "duration_without_unit",
        &with("\n\n", "\nadvert_interval = 100\n\n"),
    );
    refused(
        "duration_without_unit_in_text",
        &with("\n\n", "\nadvert_interval = \"100\"\n\n"),
    );
    refused(
        "duration_unit",
        &with("\n\n", "\nadvert_interval = \"1 sec\"\n\n"),
    );
    refused("interface_too_long", &with("eth0", "sixteen-letters-"));
    refused("interface_lo", &with("eth0", "lo"));
    refused("interface_alias", &with("eth0", "eth0:1"));
    refused("interface_empty", &with("eth0", ""));
    refused("name_characters", &with("\"web\"", "\"web/1\""));
    refused("relative_path", &plus("[node]\nruntime_dir = \"run\""));
    let many: String = (1..=49)
        .map(|n| {
            format!(
                "[[instance]]\nname = \"i{n}\"\nvrid = {n}\ninterface = \"eth0\"\nvips = [\"10.1.0.{n}\"]\n"
            )
        })
        .collect();
    refused(
        "too_many_instances",
        &format!("{}\n{many}", BASE.split("\n[[").next().unwrap()),
    );
}

#[test]
fn vips() {
    for (name, vip) in [
        ("unspecified_v4", "0.0.0.0"),
        ("unspecified_v6", "::"),
        ("loopback_v4", "127.0.0.2"),
        ("loopback_v6", "::1"),
        ("multicast_v4", "224.0.0.18"),
        ("multicast_v6", "ff02::12"),
        ("link_local", "fe80::1"),
        ("broadcast", "255.255.255.255"),
        ("reserved", "240.0.0.1"),
        ("mapped", "::ffff:10.0.0.1"),
        ("prefix", "10.0.0.100/24"),
        ("zone", "fe80::1%eth0"),
        ("name", "vip.example"),
        ("is_peer", "10.0.0.2"),
    ] {
        refused(
            &format!("vip_{name}"),
            &with("\"10.0.0.100\"", &format!("{vip:?}")),
        );
    }
    refused("vip_empty", &with("[\"10.0.0.100\", \"fd00::100\"]", "[]"));
    refused("vip_duplicate", &with("fd00::100", "10.0.0.100"));
    refused(
        "vip_duplicate_spelled_otherwise",
        &with("10.0.0.100", "fd00:0::0100"),
    );
    refused(
        "vip_duplicate_across",
        &plus(&SECOND.replace("10.0.0.101", "10.0.0.100")),
    );
    refused(
        "vip_is_own",
        &with("\n\n", "\naddress = \"10.0.0.100\"\n\n"),
    );
    refused(
        "vip_is_backend",
        &plus("[[instance.backend]]\naddress = \"10.0.0.100\""),
    );
}

#[test]
fn names_and_numbers_given_twice() {
    refused("duplicate_name", &plus(&SECOND.replace("db", "web")));
    refused("duplicate_vrid", &plus(&SECOND.replace("52", "51")));
    let backends = |one: &str, other: &str| {
        plus(&format!(
            "[[instance.backend]]\n{one}\n[[instance.backend]]\n{other}"
        ))
    };
    refused(
        "duplicate_backend_name",
        &backends(
            "name = \"a\"\naddress = \"10.0.0.11\"",
            "name = \"a\"\naddress = \"10.0.0.12\"",
        ),
    );
    refused(
        "duplicate_backend_address",
        &backends(
            "name = \"a\"\naddress = \"10.0.0.11\"",
            "name = \"b\"\naddress = \"10.0.0.11\"",
        ),
    );
}

#[test]
fn cluster() {
    let multicast = |group: &str| {
        with(
            "peers = [\"10.0.0.2\"]",
            &format!("multicast = {{ group = {group:?}, interface = \"eth0\" }}"),
        )
    };
    let peers = |peers: &str| with("[\"10.0.0.2\"]", peers);
    refused("peers_missing", &with("peers = [\"10.0.0.2\"]\n", ""));
    refused(
        "peers_and_multicast",
        &with(
            "\n\n",
            "\nmulticast = { group = \"239.1.1.1\", interface = \"eth0\" }\n\n",
        ),
    );
    refused("peers_mixed", &peers("[\"10.0.0.2\", \"fd00::2\"]"));
    refused(
        "peers_mixed_with_address",
        &with("\n\n", "\naddress = \"fd00::1\"\n\n"),
    );
    refused("peers_own", &with("\n\n", "\naddress = \"10.0.0.2\"\n\n"));
    refused("peers_twice", &peers("[\"10.0.0.2\", \"10.0.0.2\"]"));
    refused("peers_link_local", &peers("[\"fe80::2\"]"));
    refused("peers_multicast", &peers("[\"224.0.0.18\"]"));
    refused("peers_unspecified", &peers("[\"0.0.0.0\"]"));
    refused(
        "address_broadcast",
        &with("\n\n", "\naddress = \"255.255.255.255\"\n\n"),
    );
    refused("group_not_multicast", &multicast("10.0.0.9"));
    refused(
        "group_family",
        &multicast("ff02::5112").replace("\n\n", "\naddress = \"10.0.0.1\"\n\n"),
    );
    refused("key_missing_key", &with("key_file = \"cluster.key\"\n", ""));
    refused(
        "key_both",
        &with("\n\n", "\nkey_files = [\"cluster.key\"]\n\n"),
    );
    refused(
        "key_twice",
        &with(
            "key_file = \"cluster.key\"",
            "key_files = [\"cluster.key\", \"cluster.key\"]",
        ),
    );
    assert!(matches!(
        config(&multicast("ff02::5112")).cluster.transport,
        Transport::Multicast { .. }
    ));
}

#[test]
fn steering_and_backends() {
    let backend = |more: &str| {
        plus(&format!(
            "[[instance.backend]]\naddress = \"10.0.0.11\"\n{more}"
        ))
    };
    refused(
        "local_with_backends",
        &backend("").replace("vrid", "steering = \"local\"\nvrid"),
    );
    refused("l2_without_backends", &plus("steering = \"l2\""));
    refused(
        "backend_without_address",
        &plus("[[instance.backend]]\nname = \"a\""),
    );
    refused(
        "backend_bad_address",
        &plus("[[instance.backend]]\naddress = \"ff02::1\""),
    );
    refused(
        "check_without_port",
        &backend("check = { interval = \"1s\" }"),
    );
    refused("check_port_zero", &backend("check = { tcp = 0 }"));
    refused(
        "check_timeout",
        &backend("check = { tcp = 80, interval = \"1s\", timeout = \"2s\" }"),
    );
    refused(
        "check_timeout_default",
        &backend("check = { tcp = 80, timeout = \"2s\" }"),
    );
    refused("check_rise", &backend("check = { tcp = 80, rise = 0 }"));
    let fast = config(&backend("check = { tcp = 80, interval = \"100ms\" }"));
    let Steering::L2 { backends } = &fast.instances[0].steering else {
        panic!("not l2")
    };
    assert_eq!(
        backends[0].check.unwrap().timeout,
        Duration::from_millis(100)
    );
}

#[test]
fn recommendations_are_warnings() {
    let vips: Vec<String> = (1..=9).map(|n| format!("10.1.0.{n}")).collect();
    warned(
        "many_vips",
        &with("[\"10.0.0.100\", \"fd00::100\"]", &format!("{vips:?}")),
    );
    let peers: Vec<String> = (1..=10).map(|n| format!("10.2.0.{n}")).collect();
    warned("many_nodes", &with("[\"10.0.0.2\"]", &format!("{peers:?}")));
    warned("no_peers", &with("[\"10.0.0.2\"]", "[]"));
    let eight: Vec<String> = (1..=8).map(|n| format!("10.1.0.{n}")).collect();
    let nine: Vec<String> = (1..=9).map(|n| format!("10.2.0.{n}")).collect();
    let text = with("[\"10.0.0.100\", \"fd00::100\"]", &format!("{eight:?}"))
        .replace("[\"10.0.0.2\"]", &format!("{nine:?}"));
    assert_eq!(load(&text).unwrap().warnings, []);
}

#[test]
fn an_unreadable_file_is_one_error() {
    let error = super::load(Path::new("/nonexistent/vip-agent.toml")).unwrap_err();
    insta::assert_snapshot!("unreadable", error.to_string());
    assert_eq!(error.exit_code(), crate::exit::ExitCode::Config);
}
