//! The demo's timeline and summary, for people and as JSON.

use std::time::Instant;

use anyhow::Result;
use lab::cluster::{Cluster, Plan, Seen};
use lab::probe::milliseconds;
use serde_json::json;

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A person: lines as things happen, a table at the end.
    Text,
    /// A program: one object at the end.
    Json,
}

/// One step and what came of it.
#[derive(Debug)]
pub(crate) struct Step {
    /// Its name.
    pub(crate) name: &'static str,
    /// Who should answer at its end.
    pub(crate) expected: String,
    /// Who answers HTTP over IPv4 at its end.
    pub(crate) answered_by: String,
    /// Who answers HTTP over IPv6 at its end.
    pub(crate) answered_by_v6: String,
    /// What the client saw.
    pub(crate) seen: Seen,
}

impl Step {
    fn ok(&self) -> bool {
        self.answered_by == self.expected && self.answered_by_v6 == self.expected
    }
}

/// What has been told so far.
#[derive(Debug)]
pub(crate) struct Story {
    style: Style,
    begun: Instant,
    steps: Vec<Step>,
}

impl Story {
    pub(crate) fn new(style: Style) -> Self {
        Self {
            style,
            begun: Instant::now(),
            steps: Vec::new(),
        }
    }

    pub(crate) fn title(&self, plan: &Plan) {
        self.say(&format!(
            "client, 2 nodes and 2 backends in namespaces; adverts every {} ms",
            plan.interval.as_millis()
        ));
    }

    /// Shows that everything works before anything goes wrong.
    pub(crate) fn cluster_is_up(&self, cluster: &Cluster) -> Result<()> {
        for (instance, vips) in [("web", cluster.web), ("lb", cluster.lb)] {
            for vip in vips {
                let by = cluster.wait_for_http(vip)?;
                self.say(&format!("{instance}: http://{vip}/ is answered by {by}"));
            }
        }
        Ok(())
    }

    pub(crate) fn begin(&self, name: &str, what: &str) {
        self.say("");
        self.say(&format!("{name}: {what}"));
    }

    pub(crate) fn say(&self, line: &str) {
        if self.style == Style::Text {
            let seconds = self.begun.elapsed().as_millis();
            println!("{:>3}.{:03} s  {line}", seconds / 1000, seconds % 1000);
        }
    }

    pub(crate) fn step(&mut self, step: Step) {
        for (family, report) in [("IPv4", &step.seen.v4), ("IPv6", &step.seen.v6)] {
            self.say(&format!(
                "  {family}: gap {} ms, {} of {} packets lost, {} → {}",
                milliseconds(report.gap_ns),
                report.lost,
                report.sent,
                report.changes.first().map_or("nobody", |(_, name)| name),
                report.last.as_deref().unwrap_or("nobody"),
            ));
        }
        let verdict = if step.ok() {
            "as expected"
        } else {
            "NOT as expected"
        };
        self.say(&format!(
            "  now answered by {} (IPv4), {} (IPv6): {verdict}",
            step.answered_by, step.answered_by_v6
        ));
        self.steps.push(step);
    }

    /// Prints the summary; answers whether every step ended as it should.
    pub(crate) fn end(&self) -> bool {
        let ok = self.steps.iter().all(Step::ok);
        match self.style {
            Style::Text => self.print_table(ok),
            Style::Json => self.print_json(ok),
        }
        ok
    }

    fn print_table(&self, ok: bool) {
        println!();
        println!(
            "{:<12} {:>11} {:>11} {:>6} {:>6}   answered by",
            "step", "gap IPv4", "gap IPv6", "lost", "of"
        );
        for step in &self.steps {
            println!(
                "{:<12} {:>8} ms {:>8} ms {:>6} {:>6}   {}{}",
                step.name,
                milliseconds(step.seen.v4.gap_ns),
                milliseconds(step.seen.v6.gap_ns),
                step.seen.v4.lost,
                step.seen.v4.sent,
                step.answered_by,
                if step.ok() {
                    String::new()
                } else {
                    format!(" (expected {})", step.expected)
                },
            );
        }
        println!();
        println!(
            "{}",
            if ok {
                "every step ended as it should"
            } else {
                "FAILED"
            }
        );
    }

    #[expect(
        clippy::float_arithmetic,
        clippy::cast_precision_loss,
        reason = "for display"
    )]
    fn print_json(&self, ok: bool) {
        let ms = |ns: u64| ns as f64 / 1e6;
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|step| {
                json!({
                    "name": step.name,
                    "gap_ms": ms(step.seen.v4.gap_ns),
                    "lost": step.seen.v4.lost,
                    "gap_ms_ipv6": ms(step.seen.v6.gap_ns),
                    "lost_ipv6": step.seen.v6.lost,
                    "answered_by": step.answered_by,
                    "expected": step.expected,
                    "ok": step.ok(),
                })
            })
            .collect();
        println!("{}", json!({ "steps": steps, "ok": ok }));
    }
}
