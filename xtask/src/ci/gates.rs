//! The repository's own rules, checked by reading it.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};

use super::sources;
use crate::workspace::{cargo, output, root};

/// Where the files with unsafe code are listed for reviewers.
const ARCHITECTURE: &str = "docs/architecture.md";
/// Begins that list; the next comment ends it.
const UNSAFE_LIST: &str = "<!-- unsafe-list";
/// Longest file, without its tests.
const MOST_LINES: usize = 500;
/// What the pure crate must not even depend on.
const IMPURE: [&str; 9] = [
    "aya",
    "getrandom",
    "libc",
    "mio",
    "nix",
    "rustix",
    "socket2",
    "std",
    "tokio",
];
/// The commands a visitor is shown.
const COMMANDS: [&str; 2] = ["cargo xtask demo", "cargo xtask test"];

/// The files with unsafe code are exactly those the architecture lists.
pub(crate) fn unsafe_list() -> Result<()> {
    let document = fs::read_to_string(root().join(ARCHITECTURE))
        .with_context(|| format!("{ARCHITECTURE} must list the files with unsafe code"))?;
    let listed = listed_files(&document).with_context(|| {
        format!(
            "{ARCHITECTURE} has no list of files between `{UNSAFE_LIST} -->` and a next comment"
        )
    })?;
    let found: BTreeSet<String> = sources::all()?
        .iter()
        .filter(|source| source.has_word("unsafe"))
        .map(|source| source.path.to_string_lossy().into_owned())
        .collect();
    let unlisted: Vec<_> = found.difference(&listed).collect();
    let clean: Vec<_> = listed.difference(&found).collect();
    ensure!(
        unlisted.is_empty() && clean.is_empty(),
        "{ARCHITECTURE}: unsafe code, but not listed: {unlisted:?}; listed, but without: {clean:?}"
    );
    Ok(())
}

/// The paths in backquotes between the list's marker and the next comment.
fn listed_files(document: &str) -> Option<BTreeSet<String>> {
    let list = document
        .split_once(UNSAFE_LIST)?
        .1
        .split_once("-->")?
        .1
        .split_once("<!--")?
        .0;
    let quoted = list.split('`').skip(1).step_by(2);
    Some(
        quoted
            .filter(|text| text.ends_with(".rs"))
            .map(str::to_owned)
            .collect(),
    )
}

/// Files can be read in one sitting.
pub(crate) fn file_size() -> Result<()> {
    let long: Vec<String> = sources::all()?
        .iter()
        .filter(|source| !source.is_test() && source.lines_of_code() > MOST_LINES)
        .map(|source| format!("{} ({})", source.path.display(), source.lines_of_code()))
        .collect();
    ensure!(
        long.is_empty(),
        "more than {MOST_LINES} lines: {}",
        long.join(", ")
    );
    Ok(())
}

/// A module's file bears its name.
pub(crate) fn no_mod_rs() -> Result<()> {
    let found: Vec<String> = sources::all()?
        .iter()
        .filter(|source| source.path.ends_with("mod.rs"))
        .map(|source| source.path.display().to_string())
        .collect();
    ensure!(
        found.is_empty(),
        "use foo.rs + foo/ instead of: {}",
        found.join(", ")
    );
    Ok(())
}

/// The kernel side of the map table is in one place.
pub(crate) fn maps_in_one_file() -> Result<()> {
    let found: Vec<String> = sources::all()?
        .iter()
        .filter(|source| source.path.starts_with("vip-ebpf"))
        .filter(|source| {
            source
                .text
                .lines()
                .any(|line| line.trim_start().starts_with("#[map"))
        })
        .map(|source| source.path.display().to_string())
        .collect();
    ensure!(
        found.len() == 1,
        "one file of vip-ebpf must declare all maps, found: {found:?}"
    );
    Ok(())
}

/// The decisions are made without clock, socket or allocator of an operating system.
pub(crate) fn pure_protocol() -> Result<()> {
    let path = "vip-proto/src/lib.rs";
    let text = fs::read_to_string(root().join(path)).with_context(|| format!("reading {path}"))?;
    for attribute in ["no_std", "forbid(unsafe_code)"] {
        ensure!(text.contains(attribute), "{path} has no {attribute}");
    }
    let tree = [
        "tree",
        "--package",
        "vip-proto",
        "--edges",
        "normal",
        "--prefix",
        "none",
    ];
    let tree = output(&mut cargo(&tree))?;
    let names: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    ensure!(
        names.contains("vip-proto"),
        "what cargo tree said is not understood: {tree}"
    );
    let impure: Vec<&&str> = IMPURE
        .iter()
        .filter(|name| names.contains(**name))
        .collect();
    ensure!(impure.is_empty(), "vip-proto depends on {impure:?}");
    Ok(())
}

/// The README tells in a block to copy how to see it work and how to test it.
pub(crate) fn readme_commands() -> Result<()> {
    let readme = fs::read_to_string(root().join("README.md")).context("reading README.md")?;
    let blocks: String = readme.split("```").skip(1).step_by(2).collect();
    for command in COMMANDS {
        ensure!(
            blocks.contains(command),
            "README.md has no command block with `{command}`"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_unsafe_files_is_read() {
        let document = "a `no.rs`\n<!-- unsafe-list -->\n| `a/b.rs` | why: `x` |\n- `c.rs`\n\
                        <!-- /unsafe-list -->\n`d.rs`";
        let expected = BTreeSet::from(["a/b.rs".to_owned(), "c.rs".to_owned()]);
        assert_eq!(listed_files(document), Some(expected));
        assert_eq!(
            listed_files("<!-- unsafe-list --> `a.rs`"),
            None,
            "an open end"
        );
        assert_eq!(listed_files("nothing"), None);
    }
}
