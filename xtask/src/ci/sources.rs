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
        self.text.lines().any(|line| {
            let code = without_strings(line);
            let code = code.split("//").next().unwrap_or_default();
            code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .any(|w| w == word)
        })
    }
}

/// A line with the contents of its string literals left out.
fn without_strings(line: &str) -> String {
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
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
