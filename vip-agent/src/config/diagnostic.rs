//! What is to be said about a configuration, and how it is shown: with the line it is about.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};

use crate::exit::ExitCode;

/// Width at which reports are wrapped: a terminal of the usual size, and the same in every log.
const WIDTH: usize = 100;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works, but probably not as intended.
    Warning,
    /// It cannot be used.
    Error,
}

/// A place in the file and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Byte range in the file.
    pub span: Range<usize>,
    /// A few words written below it.
    pub text: String,
}

/// One thing to be said about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Stable name of the kind of finding, for programs.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where; the first is the principal place. Empty if it is not about a place in the file.
    pub labels: Vec<Label>,
}

impl Finding {
    /// An error of this kind.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            help: None,
            labels: Vec::new(),
        }
    }

    /// A warning of this kind.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Finding {
    /// The message and what to do, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// Takes one more.
    pub(super) fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Whether something makes the configuration unusable.
    pub(super) fn has_errors(&self) -> bool {
        self.0
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    }

    /// All of them in the order of the file.
    pub(super) fn into_sorted(mut self) -> Vec<Finding> {
        self.0
            .sort_by_key(|finding| finding.labels.first().map(|label| label.span.start));
        self.0
    }
}

/// The text of a configuration file, to show findings in.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it was read from.
    pub path: PathBuf,
    /// What it says; empty if it could not be read.
    pub text: String,
}

impl Source {
    /// Line and column (both from 1, columns in characters) of a byte offset.
    #[must_use]
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before
            .get(line_start..)
            .map_or(0, |line| line.chars().count());
        (before.matches('\n').count() + 1, column + 1)
    }

    /// The finding as a report for people, with the lines it is about.
    #[must_use]
    pub fn render(&self, finding: &Finding, colour: bool) -> String {
        let theme = if colour {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(WIDTH)
            .with_links(false);
        let report = Report {
            finding,
            source: NamedSource::new(self.path.display().to_string(), self.text.clone()),
        };
        let mut text = String::new();
        match handler.render_report(&mut text, &report) {
            Ok(()) => text,
            // Not reached with the spans the parser gives; the message is what counts.
            Err(fmt::Error) => format!("{}: {finding}\n", self.path.display()),
        }
    }
}

/// Shows one finding by way of miette.
#[derive(Debug)]
struct Report<'f> {
    finding: &'f Finding,
    source: NamedSource<String>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finding.message)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.finding.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.finding.severity {
            Severity::Warning => miette::Severity::Warning,
            Severity::Error => miette::Severity::Error,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.finding
            .help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        (!self.finding.labels.is_empty()).then_some(&self.source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let mut first = true;
        Some(Box::new(self.finding.labels.iter().map(move |label| {
            let text = (!label.text.is_empty()).then(|| label.text.clone());
            if std::mem::take(&mut first) {
                LabeledSpan::new_primary_with_span(text, label.span.clone())
            } else {
                LabeledSpan::new_with_span(text, label.span.clone())
            }
        })))
    }
}

/// Why a configuration cannot be used: everything that is wrong with it.
pub struct LoadError {
    source: Source,
    findings: Vec<Finding>,
}

impl LoadError {
    /// At least one of the findings is an error.
    pub(super) const fn new(source: Source, findings: Vec<Finding>) -> Self {
        Self { source, findings }
    }

    /// The file could not be read.
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let message = format!(
            "the configuration file {} cannot be read: {error}",
            path.display()
        );
        let source = Source {
            path: path.to_owned(),
            text: String::new(),
        };
        Self::new(source, vec![Finding::error("config::unreadable", message)])
    }

    /// All findings, warnings included, in the order of the file.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The text the findings are about.
    #[must_use]
    pub const fn source_text(&self) -> &Source {
        &self.source
    }

    /// The code the process ends with.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        ExitCode::Config
    }

    /// The full report, with the lines it is about and a count at the end.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let mut text: String = self
            .findings
            .iter()
            .map(|finding| self.source.render(finding, colour))
            .collect();
        let errors = self
            .findings
            .iter()
            .filter(|f| f.severity == Severity::Error)
            .count();
        let plural = if errors == 1 { "" } else { "s" };
        text.push_str(&format!(
            "{}: {errors} error{plural}\n",
            self.source.path.display()
        ));
        text
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl fmt::Debug for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for LoadError {}
