//! The benchmarks run: once, as little as there is of them. What they measure here means nothing.

use std::process::Command;
use std::time::Duration;

use lab::Process;

/// Far more than it takes.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn the_failover_benchmark_measures_every_failure_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let document = "# Numbers\n\n<!-- bench: failover -->\nold\n<!-- end -->\n\nThe end.\n";
    std::fs::write(file("doc.md"), document).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vip-bench"));
    command.args(["failover", "--quick", "--runs", "1"]);
    for (option, name) in [
        ("--json", "rows.json"),
        ("--chart", "chart.svg"),
        ("--markdown", "doc.md"),
    ] {
        command.arg(option).arg(file(name));
    }
    let mut bench = Process::spawn("vip-bench", &mut command, &file("said")).unwrap();
    let lab = format!("vip-lab-{}-", bench.id());
    let status = bench.wait(LIMIT).unwrap();
    let said = std::fs::read_to_string(file("said")).unwrap();
    assert!(status.success(), "{said}");

    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    let rows: serde_json::Value = serde_json::from_str(&read("rows.json")).unwrap();
    assert!(rows["machine"].is_string(), "{rows}");
    let measured = |case: &str, system: &str| {
        let rows = rows["rows"].as_array().unwrap();
        rows.iter()
            .find(|row| row["case"] == case && row["system"] == system && row["metric"] == "gap")
            .unwrap_or_else(|| panic!("no gap of {system}, {case}: {said}"))
            .clone()
    };
    for case in [
        "crash",
        "kill -9",
        "SIGSTOP",
        "SIGTERM",
        "switchover",
        "restart",
        "reload",
        "backend dies",
    ] {
        let row = measured(case, "vip");
        assert_eq!(
            (&row["n"], &row["unit"]),
            (&1.into(), &"ms".into()),
            "{row}"
        );
    }
    let crash = measured("crash", "keepalived 10ms")["median"]
        .as_f64()
        .unwrap();
    // Three adverts and the skew, less the time since the last advert; and no end of it was missed.
    assert!((15.0..3_000.0).contains(&crash), "{crash} ms");

    let (document, chart) = (read("doc.md"), read("chart.svg"));
    assert!(document.contains("| crash | vip | 1 |"), "{document}");
    assert!(
        document.ends_with("<!-- end -->\n\nThe end.\n"),
        "{document}"
    );
    assert!(
        chart.starts_with("<svg ") && chart.ends_with("</svg>\n"),
        "{chart}"
    );
    assert!(chart.matches("<rect").count() >= 12, "{chart}");

    for place in ["/run/netns", "/sys/fs/bpf"] {
        let left = std::fs::read_dir(place).unwrap().flatten();
        let left: Vec<_> = left
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with(&lab))
            .collect();
        assert!(left.is_empty(), "left in {place}: {left:?}");
    }
}
