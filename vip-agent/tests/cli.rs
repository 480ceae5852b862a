//! The command line, by running the program. Needs no privileges.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn run(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vip-agent"))
        .args(args)
        .current_dir(directory)
        .env_remove("VIP_SOCKET")
        .env_remove("VIP_LOG")
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A directory with the packaged example and a key.
fn example() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let example = root().join("packaging/vip-agent.toml");
    std::fs::copy(example, directory.path().join("vip-agent.toml")).unwrap();
    let keygen = run(directory.path(), &["keygen", "cluster.key"]);
    assert!(keygen.status.success(), "{}", stderr(&keygen));
    directory
}

fn edit(directory: &Path, from: &str, to: &str) {
    let path = directory.join("vip-agent.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    std::fs::write(&path, text.replace(from, to)).unwrap();
}

#[test]
fn the_packaged_example_is_small_and_good() {
    let directory = example();
    let output = run(directory.path(), &["check", "vip-agent.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("vip-agent.toml: ok"), "{text}");
    assert!(
        text.contains("instance web (vrid 51): 2 VIPs on eth0, priority 100, local"),
        "{text}"
    );
    assert!(
        text.contains(
            "lease 175ms: the agent may be 75ms late; it ends 13.281ms before a peer takes over"
        ),
        "{text}"
    );
    let time = |what: &str| -> String {
        let line = text.lines().find(|line| line.contains(what)).unwrap();
        let words: Vec<&str> = line.split(what).flat_map(str::split_whitespace).collect();
        words[0].to_owned()
    };
    assert_eq!(time("its host or link dies"), "4ms");
    assert_eq!(time("its agent dies or hangs"), "177ms");
    assert_eq!(time("switchover, preemption, stop"), "0s");
    assert!(
        !text.contains("backend dies") && !text.contains("best Backup die"),
        "there is none: {text}"
    );
    let file = std::fs::read_to_string(directory.path().join("vip-agent.toml")).unwrap();
    assert!(file.lines().count() < 15);
}

#[test]
fn check_tells_by_its_code_whether_the_file_can_be_used() {
    let directory = example();
    edit(directory.path(), "eth0", "no-such-if0");
    let check = |args: &[&str]| {
        let mut all = vec!["check", "vip-agent.toml"];
        all.extend(args);
        run(directory.path(), &all)
    };
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stdout(&output).contains("ok (1 warning)"),
        "{}",
        stdout(&output)
    );
    assert_eq!(check(&["--strict"]).status.code(), Some(3));
    let output = check(&["--host"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).contains("there is no interface \"no-such-if0\""));

    edit(directory.path(), "vrid", "vird");
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(3));
    let report = stderr(&output);
    assert!(
        report.contains("[[instance]] has no key `vird`"),
        "{report}"
    );
    assert!(report.contains("did you mean `vrid`?"), "{report}");
    assert!(report.contains("[vip-agent.toml:8:1]"), "{report}");
    assert!(!report.contains('\x1b'));
}

#[test]
fn check_for_programs() {
    let directory = example();
    let output = run(directory.path(), &["check", "--json", "vip-agent.toml"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["instances"][0]["lease_us"], 175_000);
    assert_eq!(report["instances"][0]["worst_case_us"]["host_death"], 4_000);

    edit(directory.path(), "vrid = 51", "vrid = 0");
    let output = run(directory.path(), &["check", "--json", "vip-agent.toml"]);
    assert_eq!(output.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["line"], &finding["column"]),
        (&8.into(), &8.into())
    );
    assert_eq!(finding["code"], "config::bad_value");
}

#[test]
fn keys_are_private_different_and_never_overwritten() {
    let directory = example();
    let path = directory.path().join("cluster.key");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let before = std::fs::read_to_string(&path).unwrap();

    let again = run(directory.path(), &["keygen", "cluster.key"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("error: cluster.key exists and is not overwritten"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);

    let other = stdout(&run(directory.path(), &["keygen", "--id", "2"]));
    assert!(other.contains("\n2:"), "{other}");
    assert_ne!(other.replace("\n2:", "\n1:"), before);
    assert_eq!(
        run(directory.path(), &["keygen", "--id", "0"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn commands_without_a_daemon_say_so() {
    let directory = example();
    for args in [
        &["status", "--socket", "none.sock"][..],
        &["status", "--watch", "--socket", "none.sock"],
        &["switchover", "web", "--socket", "none.sock"],
    ] {
        let output = run(directory.path(), args);
        assert_eq!(output.status.code(), Some(11), "{args:?}");
        let text = stderr(&output);
        assert!(
            text.starts_with("error: no vip-agent daemon answers on none.sock"),
            "{text}"
        );
    }
}

#[test]
fn run_refuses_what_check_refuses() {
    let directory = example();
    edit(directory.path(), "eth0", "no-such-if0");
    let output = run(directory.path(), &["run", "--config", "vip-agent.toml"]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    edit(directory.path(), "vrid", "vird");
    let output = run(directory.path(), &["run", "--config", "vip-agent.toml"]);
    assert_eq!(output.status.code(), Some(3));
    let output = run(directory.path(), &["run", "--config", "none.toml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("none.toml cannot be read"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn every_command_has_help_with_an_example() {
    let directory = tempfile::tempdir().unwrap();
    let commands = [
        "run",
        "status",
        "switchover",
        "check",
        "schema",
        "keygen",
        "completions",
    ];
    for command in commands {
        let output = run(directory.path(), &[command, "--help"]);
        assert_eq!(output.status.code(), Some(0));
        let help = stdout(&output);
        assert!(
            help.contains(&format!("Examples:\n  vip-agent {command}")),
            "{help}"
        );
    }
    let help = stdout(&run(directory.path(), &["--help"]));
    for command in commands {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command}: {help}"
        );
    }
    assert_eq!(
        run(directory.path(), &["frobnicate"]).status.code(),
        Some(2)
    );
    let script = stdout(&run(directory.path(), &["completions", "bash"]));
    assert!(script.contains("switchover"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let agent = env!("CARGO_BIN_EXE_vip-agent");
    let script = format!("set -o pipefail; '{agent}' schema | head -c 1");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(stdout(&output), "{");
}

/// All tables of the schema by path, with their keys.
fn tables(path: &str, schema: &Value, found: &mut Vec<(String, BTreeSet<String>)>) {
    let schema = if schema["type"] == "array" {
        &schema["items"]
    } else {
        schema
    };
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    found.push((path.to_owned(), properties.keys().cloned().collect()));
    for (key, property) in properties {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        tables(&path, property, found);
    }
}

fn schema_tables() -> Vec<(String, BTreeSet<String>)> {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), &["schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = Vec::new();
    tables("", &schema, &mut found);
    found
}

/// The check's own list of valid keys, as it tells it when a key is far from all of them.
#[test]
fn the_schema_has_exactly_the_keys_the_parser_accepts() {
    let sections = [
        ("", "zzzzzzzzzzzz = 1\n"),
        ("cluster", "[cluster]\nzzzzzzzzzzzz = 1\n"),
        (
            "cluster.multicast",
            "[cluster]\nmulticast = { zzzzzzzzzzzz = 1 }\n",
        ),
        ("instance", "[[instance]]\nzzzzzzzzzzzz = 1\n"),
        (
            "instance.announce",
            "[[instance]]\nannounce = { zzzzzzzzzzzz = 1 }\n",
        ),
        (
            "instance.backend",
            "[[instance]]\n[[instance.backend]]\nzzzzzzzzzzzz = 1\n",
        ),
        (
            "instance.backend.check",
            "[[instance]]\n[[instance.backend]]\ncheck.zzzzzzzzzzzz = 1\n",
        ),
        ("liveness", "[liveness]\nzzzzzzzzzzzz = 1\n"),
        ("liveness.link", "[[liveness.link]]\nzzzzzzzzzzzz = 1\n"),
        ("node", "[node]\nzzzzzzzzzzzz = 1\n"),
    ];
    let tables = schema_tables();
    assert_eq!(tables.len(), sections.len());
    for (path, keys) in tables {
        let directory = tempfile::tempdir().unwrap();
        let (_, text) = sections
            .iter()
            .find(|(section, _)| *section == path)
            .unwrap();
        std::fs::write(directory.path().join("f.toml"), text).unwrap();
        let output = run(directory.path(), &["check", "--json", "f.toml"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let unknown = findings
            .iter()
            .find(|f| f["code"] == "config::unknown_key")
            .unwrap();
        let (_, listed) = unknown["help"].as_str().unwrap().split_once(": ").unwrap();
        let listed: BTreeSet<String> = listed.split(", ").map(str::to_owned).collect();
        assert_eq!(listed, keys, "[{path}]");
    }
}

#[test]
fn every_key_is_documented_with_its_default() {
    let text = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    for (path, keys) in schema_tables() {
        let name = path.rsplit('.').next().unwrap();
        // A section per table; the two keys of `multicast` are described in its row.
        let section = match name {
            "" | "multicast" => text.as_str(),
            _ => {
                let is_start = |line: &&str| match name {
                    "announce" => *line == "### `announce`",
                    "check" => line.starts_with("`check` opens"),
                    _ => line.starts_with('#') && line.contains(&format!("[{path}]")),
                };
                let start = text.lines().find(is_start);
                let start = start.unwrap_or_else(|| panic!("no section for {path}"));
                let section = text.split_once(start).unwrap().1;
                section.split("\n#").next().unwrap()
            }
        };
        for key in keys {
            let row = format!("| `{key}` |");
            let described = match name {
                "" => section.contains(&format!("[{key}]")),
                "multicast" => section.contains(&format!("`{key}`")),
                _ => section.contains(&row),
            };
            assert!(described, "{path}.{key} is not documented");
        }
    }
}

/// Serde's own view of the keys: a file with all of them, with the schema's defaults, is accepted,
/// and means the same as one without.
#[test]
fn the_defaults_of_the_schema_are_those_of_the_parser() {
    let directory = example();
    let schema: Value = serde_json::from_slice(&run(directory.path(), &["schema"]).stdout).unwrap();
    let mut text = String::from("[cluster]\nkey_file = \"cluster.key\"\npeers = [\"10.0.0.2\"]\n");
    let defaults = |table: &Value| -> String {
        let properties = table["properties"].as_object().unwrap().iter();
        properties
            .filter(|(_, property)| !property["default"].is_null())
            .map(|(key, property)| format!("{key} = {}\n", property["default"]))
            .collect()
    };
    let instance = &schema["properties"]["instance"]["items"];
    text.push_str(&defaults(&schema["properties"]["cluster"]));
    text.push_str("[node]\nname = \"x\"\n");
    text.push_str(&defaults(&schema["properties"]["node"]));
    text.push_str(
        "[[instance]]\nname = \"web\"\nvrid = 51\ninterface = \"eth0\"\nvips = [\"10.0.0.100\"]\n",
    );
    text.push_str(&defaults(instance));
    text.push_str("[instance.announce]\n");
    text.push_str(&defaults(&instance["properties"]["announce"]));
    text.push_str(
        "[[instance.backend]]\naddress = \"10.0.0.11\"\n[instance.backend.check]\ntcp = 80\n",
    );
    let check = &instance["properties"]["backend"]["items"]["properties"]["check"];
    text.push_str(&defaults(check));
    let with = directory.path().join("with.toml");
    std::fs::write(&with, &text).unwrap();
    let without = directory.path().join("without.toml");
    std::fs::write(
        &without,
        "[cluster]\nkey_file = \"cluster.key\"\npeers = [\"10.0.0.2\"]\n[node]\nname = \"x\"\n\
         [[instance]]\nname = \"web\"\nvrid = 51\ninterface = \"eth0\"\nvips = [\"10.0.0.100\"]\n\
         [[instance.backend]]\naddress = \"10.0.0.11\"\ncheck = { tcp = 80 }\n",
    )
    .unwrap();
    let load = |path: &Path| format!("{:#?}", vip_agent::config::load(path).unwrap().config);
    assert!(
        text.lines().count() > 25,
        "the schema has lost its defaults"
    );
    assert_eq!(load(&with), load(&without));
}
