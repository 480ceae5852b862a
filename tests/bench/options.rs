//! What the command line says.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

/// `[NAME] [--runs N] [--quick | --full] [--json FILE] [--chart FILE] [--markdown FILE]`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Only suites with this in their names.
    pub(crate) name: Option<String>,
    /// How often each failure is measured.
    runs: Option<u32>,
    /// As little as shows that it works.
    pub(crate) quick: bool,
    /// As much as anybody may want to know.
    pub(crate) full: bool,
    /// Where the results go as JSON.
    pub(crate) json: Option<PathBuf>,
    /// Where the chart goes.
    pub(crate) chart: Option<PathBuf>,
    /// The document whose tables are replaced.
    pub(crate) markdown: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments.
    pub(crate) fn read(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.with_context(|| format!("{argument}: what?"))
            };
            match argument.as_str() {
                "--runs" => {
                    let number = value()?;
                    let runs = number.parse().with_context(|| format!("--runs {number}"))?;
                    options.runs = Some(runs);
                }
                "--quick" => options.quick = true,
                "--full" => options.full = true,
                "--json" => options.json = Some(value()?.into()),
                "--chart" => options.chart = Some(value()?.into()),
                "--markdown" => options.markdown = Some(value()?.into()),
                option if option.starts_with('-') => bail!("no option {option}"),
                name => options.name = Some(name.to_owned()),
            }
        }
        ensure!(options.runs != Some(0), "--runs must be at least 1");
        Ok(options)
    }

    /// How often each failure is measured, where a suite would do it `default` times.
    pub(crate) fn runs(&self, default: u32) -> u32 {
        self.runs.unwrap_or(if self.quick { 1 } else { default })
    }
}
