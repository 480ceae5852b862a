//! The client against a real server on a socket.

use std::path::Path;

use axum::extract::Path as Segment;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::UnixListener;

use super::*;
use crate::api::Status;

fn status() -> Status {
    Status {
        node: "a".into(),
        address: "10.0.0.1".parse().unwrap(),
        version: "0.1.0".into(),
        abi: 1,
        pid: 42,
        incarnation: "00".into(),
        uptime_ms: 1,
        advert_interval_us: 10_000,
        realtime: true,
        resumed: false,
        interfaces: Vec::new(),
        instances: Vec::new(),
        peers: Vec::new(),
        counters: Default::default(),
        protocol: Default::default(),
    }
}

async fn switchover(
    Segment(name): Segment<String>,
    Json(request): Json<SwitchoverRequest>,
) -> Result<Json<SwitchoverReply>, (StatusCode, Json<ErrorReply>)> {
    match (name.as_str(), request.to) {
        ("web", Some(active)) => Ok(Json(SwitchoverReply {
            active,
            took_ms: 1.5,
        })),
        (name, _) => {
            let error = format!("no instance {name:?}");
            Err((StatusCode::NOT_FOUND, Json(ErrorReply { error })))
        }
    }
}

/// Serves on the socket until the runtime of the test ends.
fn serve(socket: &Path) {
    let router = Router::new()
        .route("/v1/status", get(async || Json(status())))
        .route("/v1/instances/{name}/switchover", post(switchover));
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
}

#[tokio::test]
async fn asks_and_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    serve(&socket);
    let client = Client::new(&socket);
    assert_eq!(client.status().await.unwrap().pid, 42);

    let to = SwitchoverRequest {
        to: Some("10.0.0.2".parse().unwrap()),
    };
    let reply = client.switchover("web", &to).await.unwrap();
    assert_eq!(
        reply.active,
        "10.0.0.2".parse::<std::net::IpAddr>().unwrap()
    );

    let error = client.switchover("a/b c", &to).await.unwrap_err();
    assert_eq!(error.to_string(), "no instance \"a/b c\"");
    assert_eq!(error.exit_code(), ExitCode::Refused);
}

#[tokio::test]
async fn nobody_there() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let client = Client::new(&socket);
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning(_)));
    assert!(
        error
            .to_string()
            .starts_with("no vip-agent daemon answers on /"),
        "{error}"
    );
    assert_eq!(error.exit_code(), ExitCode::Unreachable);

    // A socket that a daemon left behind.
    drop(UnixListener::bind(&socket).unwrap());
    assert!(matches!(
        client.status().await.unwrap_err(),
        ClientError::NotRunning(_)
    ));
}

#[tokio::test]
async fn a_daemon_that_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let client = Client {
        status_timeout: Duration::from_millis(50),
        ..Client::new(&socket)
    };
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout(..)), "{error}");
    assert!(error.to_string().contains("within 0.05 s"), "{error}");
    assert_eq!(error.exit_code(), ExitCode::Unreachable);
}

#[tokio::test]
async fn something_that_is_no_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let error = Client::new(&socket).status().await.unwrap_err();
    assert!(matches!(error, ClientError::Connection(..)), "{error}");
}
