//! `vip-agent status` and `switchover` against a daemon that answers, refuses, goes and comes back.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};

fn status(pid: u32) -> Value {
    json!({
        "node": "a", "address": "10.0.0.1", "version": "0.1.0", "abi": 1, "pid": pid,
        "incarnation": "00", "uptime_ms": 5000, "advert_interval_us": 10000, "realtime": true,
        "resumed": false,
        "interfaces": [], "peers": [], "counters": {}, "protocol": {},
        "instances": [{
            "name": "web", "vrid": 51, "interface": "eth0", "state": "backup", "reason": "started",
            "since_ms": 5000, "priority": 100, "epoch": 0, "lease_left_us": null,
            "active": "10.0.0.2", "held": false, "steering": "local", "backends": [],
            "vips": [{ "address": "10.0.0.100", "packets": 0, "bytes": 0 }],
            "mac": "interface", "conflicts": 0, "takeover": null,
        }],
    })
}

/// A daemon made of canned answers; it ends, with its socket, when dropped.
struct Daemon {
    socket: std::path::PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn start(socket: &Path, pid: u32) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                answer(connection.unwrap(), pid);
            }
        });
        Self {
            socket: socket.to_owned(),
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(UnixStream::connect(&self.socket));
        drop(self.thread.take().map(JoinHandle::join));
        drop(std::fs::remove_file(&self.socket));
    }
}

fn answer(mut connection: UnixStream, pid: u32) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "cut off: {head}");
    }
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let (code, reply) = match head.split(' ').nth(1).unwrap() {
        "/v1/status" => (200, status(pid)),
        "/v1/instances/web/switchover" => {
            assert_eq!(
                serde_json::from_slice::<Value>(&body).unwrap(),
                json!({ "to": "10.0.0.2" })
            );
            (200, json!({ "active": "10.0.0.2", "took_ms": 3.25 }))
        }
        _ => (
            409,
            json!({ "error": "this node is not Active for the instance" }),
        ),
    };
    let reply = reply.to_string();
    write!(
        connection,
        "HTTP/1.1 {code} X\r\ncontent-length: {}\r\n\r\n{reply}",
        reply.len()
    )
    .unwrap();
}

fn agent(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vip-agent"));
    command.args(args).env("VIP_SOCKET", socket);
    command
}

fn run(socket: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = agent(socket, args).output().unwrap();
    (
        status.code(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

#[test]
fn status_for_people_and_for_programs() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let _daemon = Daemon::start(&socket, 7);
    let (code, text, _) = run(&socket, &["status"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("web  Backup for 5.0 s (started)"), "{text}");
    assert!(!text.contains('\x1b'), "no colours into a pipe");

    let (code, text, _) = run(&socket, &["status", "--json", "web"]);
    assert_eq!(code, Some(0));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), status(7));

    let (code, _, error) = run(&socket, &["status", "db"]);
    assert_eq!(code, Some(12));
    assert_eq!(
        error,
        "error: there is no instance \"db\"; there are: web\n"
    );
}

#[test]
fn switchover_done_and_refused() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let _daemon = Daemon::start(&socket, 7);
    let (code, text, _) = run(&socket, &["switchover", "web", "--to", "10.0.0.2"]);
    assert_eq!(
        (code, text.as_str()),
        (Some(0), "web: 10.0.0.2 is Active now, after 3.250 ms\n")
    );
    let (code, _, error) = run(&socket, &["switchover", "db"]);
    assert_eq!(code, Some(12));
    assert_eq!(error, "error: this node is not Active for the instance\n");
}

/// Ends the child whatever happens in the test.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn watch_tells_that_the_daemon_went_and_came_back() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let first = Daemon::start(&socket, 7);
    let mut command = agent(&socket, &["status", "--watch=0.02"]);
    let mut watcher = Watcher(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(watcher.0.stdout.take().unwrap()).lines();
    let mut wait_for = |what: &str| {
        let found = lines.by_ref().any(|line| line.unwrap().contains(what));
        assert!(found, "the output ended before {what:?}");
    };
    wait_for("pid 7");
    wait_for("pid 7");
    drop(first);
    wait_for("waiting for it");
    let _second = Daemon::start(&socket, 8);
    wait_for("the daemon was restarted");
    wait_for("pid 8");
}
