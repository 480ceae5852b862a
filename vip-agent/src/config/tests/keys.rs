//! Key files that are refused, and why.

use std::path::Path;

use super::{BASE, KEY, directory, load_in, write_key};

/// Message and help of the only error, with the directory's name taken out.
fn key_error(directory: &Path) -> String {
    let error = load_in(directory, BASE).unwrap_err();
    let [finding] = error.findings() else {
        panic!("not one finding: {error}")
    };
    finding
        .to_string()
        .replace(directory.to_str().unwrap(), "DIR")
}

#[test]
fn key_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cluster.key");
    let mut report = vec![key_error(directory.path())];
    for (text, mode) in [
        (KEY.to_owned(), 0o640),
        (KEY.to_owned(), 0o604),
        (KEY[2..].to_owned(), 0o600),
        (KEY[1..].to_owned(), 0o600),
        (format!("300:{KEY}"), 0o600),
        (format!("{KEY}\n{KEY}\n"), 0o600),
        ("# nothing\n".to_owned(), 0o600),
        ("correct horse battery staple".to_owned(), 0o600),
        ("\0".repeat(5000), 0o600),
    ] {
        write_key(&path, &text, mode);
        report.push(key_error(directory.path()));
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    report.push(key_error(directory.path()));
    insta::assert_snapshot!("key_files", report.join("\n"));
}

#[test]
fn a_key_file_of_another_user_is_refused() {
    let directory = directory();
    let path = directory.path().join("cluster.key");
    // Only root can give files away; elsewhere there is nothing to provoke the error with.
    if std::os::unix::fs::chown(&path, Some(12345), None).is_ok()
        && rustix::process::geteuid().is_root()
    {
        insta::assert_snapshot!("key_owner", key_error(directory.path()));
    }
}

#[test]
fn a_named_pipe_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cluster.key");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(key_error(directory.path()).contains("not a regular file"));
}
