//! From a file to a [`Config`].

use std::path::Path;

use serde::Deserialize;
use toml::de::DeTable;

use super::diagnostic::{Finding, Findings, LoadError, Source};
use super::{Config, raw, schema, structure, validate};

/// A configuration that can be used, and what is worth saying about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works but is probably not as intended.
    pub warnings: Vec<Finding>,
    /// The text, to show warnings in.
    pub source: Source,
}

/// Reads and checks a configuration file and the key files it names.
///
/// # Errors
/// With everything that is wrong, not only the first mistake.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| LoadError::unreadable(path, &error))?;
    let base = path.parent().unwrap_or_else(|| Path::new(""));
    load_text(
        Source {
            path: path.to_owned(),
            text,
        },
        base,
    )
}

/// Checks a text whose relative paths start at `base`.
pub(super) fn load_text(source: Source, base: &Path) -> Result<Loaded, LoadError> {
    let mut findings = Findings::default();
    let file = parse(&source.text, &mut findings);
    let config = file.and_then(|file| validate::validate(&file, base, &mut findings));
    match config {
        Some(config) if !findings.has_errors() => Ok(Loaded {
            config,
            warnings: findings.into_sorted(),
            source,
        }),
        _ => Err(LoadError::new(source, findings.into_sorted())),
    }
}

/// The file's values, without those that were found wrong.
fn parse(text: &str, findings: &mut Findings) -> Option<raw::File> {
    let (mut table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let finding = Finding::error("config::syntax", format!("not TOML: {}", error.message()));
        findings.push(match error.span() {
            Some(span) => finding.at(span, "here"),
            None => finding,
        });
    }
    // What follows a syntax error may have been misread: complaints about it could mislead.
    if findings.has_errors() {
        return None;
    }
    let span = table.span();
    structure::check_table("", &span, table.get_mut(), &schema::json_schema(), findings);
    match raw::File::deserialize(toml::Deserializer::from(table)) {
        Ok(file) => Some(file),
        Err(error) => {
            let finding = Finding::error("config::bad_value", error.message());
            findings.push(match error.span() {
                Some(span) => finding.at(span, "here"),
                None => finding,
            });
            None
        }
    }
}
