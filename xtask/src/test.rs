//! `cargo xtask test`: all tests, and one line that sums them up.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::workspace::{cargo, result, say, spelled};
use crate::{build, setup};

/// Run all tests: units and properties, then those that need root and namespaces.
#[derive(clap::Args)]
pub(crate) struct Test {
    /// Only tests with this in their names.
    filter: Option<String>,
}

/// What the test programs have counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Tests that passed.
    passed: u64,
    /// Tests that failed, and programs that did not get as far as counting.
    failed: u64,
}

impl Test {
    /// Runs them and prints the summary as the last line.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        setup::everything()?;
        let summary = all(self.filter.as_deref())?;
        result(summary);
        Ok(summary.exit_code())
    }
}

/// Runs all tests, everything built before.
pub(crate) fn all(filter: Option<&str>) -> Result<Summary> {
    let mut unprivileged = cargo(&["test", "--no-fail-fast"]);
    unprivileged.args(filter);
    let mut summary = count(&mut unprivileged)?;

    say("building the agent for the end-to-end tests");
    let agent = build::agent(false)?;
    let mut privileged = cargo(&["test", "--no-fail-fast", "--package", "vip-tests"]);
    privileged
        .args(filter)
        .env("VIP_AGENT", agent)
        .env("VIP_REQUIRE_ROOT", "1");
    // They measure time on a small machine: one after the other.
    privileged.args(["--", "--test-threads=1"]);
    summary.add(count(&mut privileged)?);
    Ok(summary)
}

/// Runs `cargo test`, shows its output as it comes and sums up the results of its programs.
fn count(command: &mut Command) -> Result<Summary> {
    say(spelled(command));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", spelled(command)))?;
    let mut summary = Summary::default();
    if let Some(stdout) = child.stdout.take() {
        let mut screen = std::io::stdout().lock();
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("reading the tests' output")?;
            screen
                .write_all(&line)
                .and_then(|()| screen.write_all(b"\n"))
                .context("printing")?;
            if let Some(result) = Summary::parse(&String::from_utf8_lossy(&line)) {
                summary.add(result);
            }
        }
    }
    let status = child.wait().context("waiting for the tests")?;
    if !status.success() && summary.failed == 0 {
        say(format!(
            "`{}` failed without a failed test: see above",
            spelled(command)
        ));
        summary.failed = 1;
    }
    Ok(summary)
}

impl Summary {
    /// Reads `test result: ok. 6 passed; 0 failed; …`; `None`: another line.
    fn parse(line: &str) -> Option<Self> {
        let counts = line
            .trim()
            .strip_prefix("test result: ")?
            .split_once(". ")?
            .1;
        let count = |word: &str| {
            let part = counts
                .split(';')
                .find_map(|part| part.trim().strip_suffix(word))?;
            part.trim().parse::<u64>().ok()
        };
        Some(Self {
            passed: count(" passed")?,
            failed: count(" failed")?,
        })
    }

    /// Adds another program's results.
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Success if some tests ran and none failed.
    pub(crate) fn exit_code(self) -> ExitCode {
        if self.failed == 0 && self.passed > 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_programs_are_read_and_added() {
        let line =
            "test result: FAILED. 10 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out";
        let mut sum = Summary::parse(line).unwrap();
        assert_eq!(
            sum,
            Summary {
                passed: 10,
                failed: 2
            }
        );
        sum.add(Summary::parse("test result: ok. 6 passed; 0 failed; 0 ignored").unwrap());
        assert_eq!(sum.to_string(), "16 passed, 2 failed");
        assert_eq!(Summary::parse("test foo ... ok"), None);
        assert_eq!(Summary::parse("test result: ok"), None);
    }

    #[test]
    fn no_tests_at_all_are_a_failure() {
        let code = |passed, failed| format!("{:?}", Summary { passed, failed }.exit_code());
        assert_eq!(code(1, 0), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code(0, 0), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(code(5, 1), format!("{:?}", ExitCode::FAILURE));
    }
}
