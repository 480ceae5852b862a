//! The Rust files of the repository, as the gates see them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace::root;

/// A Rust file.
pub(crate) struct Source {
    /// Path from the repository's root.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) text: String,
}

/// All Rust files of the repository, in order.
pub(crate) fn all() -> Result<Vec<Source>> {
    let mut found = Vec::new();
    collect(&root(), &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Adds the Rust files of a folder and those below it.
fn collect(folder: &Path, found: &mut Vec<Source>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry.context("reading a folder")?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let path = path
                .strip_prefix(root())
                .map_or_else(|_| path.clone(), Path::to_owned);
            found.push(Source { path, text });
        }
    }
    Ok(())
}

impl Source {
    /// Whether it holds only tests: a folder or file named `tests`, or one of the test programs.
    pub(crate) fn is_test(&self) -> bool {
        let text = self.path.to_string_lossy();
        let program = text.starts_with("tests/") && !text.starts_with("tests/lab/");
        program || text.ends_with("/tests.rs") || text.contains("/tests/")
    }

    /// Number of lines before its own test module.
    pub(crate) fn lines_of_code(&self) -> usize {
        self.text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count()
    }

    /// Whether the code, not a comment or a string, has this word.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        code_only(&self.text)
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .any(|found| found == word)
    }
}

/// Rust text with its comments and the contents of its literals left out.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| literal(rest)).unwrap_or(0);
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// Length of the comment at the beginning of `text`, if there is one.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let inner = text.strip_prefix("/*")?;
    Some(inner.find("*/").map_or(text.len(), |end| end + 4))
}

/// Length of the string or character literal at the beginning of `text`, if there is one.
fn literal(text: &str) -> Option<usize> {
    if let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let inner = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = inner.find(&end).map_or(inner.len(), |at| at + end.len());
        return Some(2 + hashes + length);
    }
    let quote = text
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''))?;
    let mut escaped = false;
    let closing = |(_, letter): &(usize, char)| {
        let closes = *letter == quote && !escaped;
        escaped = *letter == '\\' && !escaped;
        closes
    };
    let end = text
        .char_indices()
        .skip(1)
        .find(closing)
        .map_or(text.len(), |(at, _)| at + 1);
    // A lifetime also begins with an apostrophe; a character has one letter or a backslash.
    let inner = text.get(1..end.saturating_sub(1)).unwrap_or_default();
    let character = inner.chars().count() == 1 || inner.starts_with('\\');
    (quote == '"' || character).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn words_count_only_in_code() {
        assert!(source("a.rs", "let x = unsafe { y };").has_word("unsafe"));
        assert!(source("a.rs", "#[unsafe(no_mangle)]").has_word("unsafe"));
        for text in [
            "// unsafe { }",
            "#![forbid(unsafe_code)]",
            "let s = \"unsafe\"; // a",
            "x",
        ] {
            assert!(!source("a.rs", text).has_word("unsafe"), "{text}");
        }
    }

    #[test]
    fn tests_do_not_count_as_code() {
        assert_eq!(
            source("a.rs", "a\nb\n#[cfg(test)]\nmod tests {}\n").lines_of_code(),
            2
        );
        assert!(source("vip-proto/src/election/tests/table.rs", "").is_test());
        assert!(source("vip-proto/src/election/tests.rs", "").is_test());
        assert!(source("tests/e2e/main.rs", "").is_test());
        assert!(!source("tests/lab/probe.rs", "").is_test());
        assert!(!source("vip-agent/src/config.rs", "").is_test());
    }
}
