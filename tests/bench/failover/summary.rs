//! One line for each failure of each system, with how many times VIP's time it took.

use crate::rows::{Row, Rows, Table, VIP, table};

/// Packets without an answer.
pub(super) const LOST: &str = "lost of 10000/s";
/// Stations that say that they have the VIP, when it is over.
pub(super) const OWNERS: &str = "answer ARP afterwards";

/// Failovers; then what it costs and what starved processors do.
pub(crate) fn tables(rows: &Rows) -> Vec<Table> {
    vec![
        failovers(rows),
        table(rows, |row| row.suite == "cost" || row.suite == "starvation"),
    ]
}

fn failovers(rows: &Rows) -> Table {
    let head = [
        "failure",
        "system",
        "n",
        "gap, median ms",
        "p99",
        "max",
        "lost",
        "most",
        "twice",
        "owners",
        "× VIP",
    ];
    let mut table = Table::new(2, &head);
    for gap in by_case(rows) {
        let text = |metric: &str, percent| {
            beside(rows, gap, metric).map_or_else(|| "–".to_owned(), |row| row.text(percent))
        };
        table.line(vec![
            gap.case.clone(),
            gap.system.clone(),
            gap.count().to_string(),
            gap.text(50),
            gap.text(99),
            gap.text(100),
            text(LOST, 50),
            text(LOST, 100),
            text("answered twice", 100),
            text(OWNERS, 100),
            ratio(rows, gap),
        ]);
    }
    table
}

/// The gaps, with all systems of a case next to each other.
pub(super) fn by_case(rows: &Rows) -> Vec<&Row> {
    let gaps: Vec<&Row> = rows
        .iter()
        .filter(|row| (row.suite, row.metric) == ("failover", "gap"))
        .collect();
    let mut cases: Vec<&str> = Vec::new();
    for gap in &gaps {
        if !cases.contains(&gap.case.as_str()) {
            cases.push(&gap.case);
        }
    }
    let of_case = |case| gaps.iter().filter(move |gap| gap.case == case).copied();
    cases.into_iter().flat_map(of_case).collect()
}

/// What else was measured in the same runs.
pub(super) fn beside<'rows>(rows: &'rows Rows, gap: &Row, metric: &str) -> Option<&'rows Row> {
    rows.iter().find(|row| {
        (row.suite, row.metric) == ("failover", metric)
            && (&row.case, &row.system) == (&gap.case, &gap.system)
    })
}

/// How many times as long as VIP's, as configured by default, in the same run. A dash where VIP loses
/// nothing: there is nothing to compare with.
fn ratio(rows: &Rows, gap: &Row) -> String {
    let of_vip = |metric: &str| {
        rows.iter().find(|row| {
            (row.suite, row.metric) == ("failover", metric)
                && (&row.case, row.system.as_str()) == (&gap.case, VIP)
        })
    };
    let lossless = of_vip(LOST).is_none_or(|lost| lost.percentile(50) == 0);
    match of_vip("gap").map(|vip| vip.percentile(50)) {
        Some(vip) if vip > 0 && gap.system != VIP && !lossless => {
            let tenths = gap.percentile(50) * 10 / vip;
            format!("{}.{}", tenths / 10, tenths % 10)
        }
        _ => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gap in milliseconds and packets lost.
    fn add(rows: &mut Rows, case: &str, system: &str, gap: u64, lost: u64) {
        let row = |metric, samples| Row::new("failover", case, metric, samples).of(system);
        rows.add(row("gap", vec![gap * 1_000_000]).unit("ms", 1_000_000));
        rows.add(row(LOST, vec![lost]));
    }

    #[test]
    fn others_are_compared_with_vip_in_the_same_case() {
        let mut rows = Rows::default();
        add(&mut rows, "crash", VIP, 4, 40);
        add(&mut rows, "switchover", VIP, 1, 0);
        add(&mut rows, "crash", "keepalived 10ms", 36, 360);
        add(&mut rows, "switchover", "keepalived 10ms", 9, 90);
        let plain = tables(&rows)[0].plain();
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!(lines.len(), 5, "{plain}");
        assert!(
            lines[1].starts_with("crash") && lines[2].starts_with("crash"),
            "{plain}"
        );
        assert!(lines[2].ends_with("  9.0"), "{plain}");
        // Compared with nothing lost, everything is infinitely worse.
        assert!(lines[4].ends_with("  –"), "{plain}");
    }
}
