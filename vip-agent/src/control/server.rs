//! The daemon's end of the control API.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::time::{Instant as TokioInstant, sleep};
use vip_proto::election::{Command, Refusal, State as ElectionState};
use vip_proto::{Instant, NodeAddress, Vrid};

use super::listener::Bounded;
use crate::api::{
    ErrorReply, ReloadReply, ReloadRequest, Status, SwitchoverReply, SwitchoverRequest,
};
use crate::daemon::reload::{EXAMINATION_BOUND, Order};
use crate::daemon::shared::Shared;
use crate::inputs::request::{Request, Snapshot};

/// How long a successor may take to be heard as Active, besides its down interval.
const HANDOVER_BOUND: Duration = Duration::from_secs(2);

/// How long a connection may last besides the longest switchover or examination: for its request and its
/// answer.
const CONNECTION_MARGIN: Duration = Duration::from_secs(10);

/// Time between two looks for the successor.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Largest request body taken, in bytes: an address has at most 45 characters.
const MAX_BODY: usize = 4096;

/// Binds the socket; a stale one is replaced (the caller holds the lock that says it is stale).
///
/// # Errors
/// What the file system answers.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    // Owner and group may command the node; nobody else.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Serves until the task is dropped.
///
/// # Errors
/// What the listener answers.
pub async fn serve(listener: UnixListener, shared: Arc<Shared>) -> io::Result<()> {
    let lifetime = connection_lifetime(shared.config.cluster.advert_interval);
    let listener = Bounded::new(listener, lifetime);
    axum::serve(listener, router().with_state(shared)).await
}

/// How long a switchover may take until it is given up.
fn switchover_bound(advert_interval: Duration) -> Duration {
    HANDOVER_BOUND + advert_interval * 4
}

/// How long a connection may last.
fn connection_lifetime(advert_interval: Duration) -> Duration {
    switchover_bound(advert_interval).max(EXAMINATION_BOUND) + CONNECTION_MARGIN
}

fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/why", get(why))
        .route("/v1/instances/{name}/switchover", post(switchover))
        .route("/v1/reload", post(reload))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

async fn no_such_path(uri: Uri) -> Failure {
    let error = format!(
        "there is no {}; there are GET /v1/status, GET /v1/why, POST \
         /v1/instances/{{name}}/switchover and POST /v1/reload",
        uri.path()
    );
    Failure(StatusCode::NOT_FOUND, error)
}

async fn no_such_method(method: Method, uri: Uri) -> Failure {
    let error = format!(
        "{method} is not what {} takes; there are GET /v1/status, GET /v1/why, POST \
         /v1/instances/{{name}}/switchover and POST /v1/reload",
        uri.path()
    );
    Failure(StatusCode::METHOD_NOT_ALLOWED, error)
}

/// What a switchover is asked with.
fn switchover_request(body: Result<Bytes, BytesRejection>) -> Result<SwitchoverRequest, Failure> {
    let body = body.map_err(|rejection| Failure(rejection.status(), rejection.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| {
        let error = format!(
            "the body is not understood: {error}; {{}} hands over to the best node, \
             {{\"to\": \"ADDRESS\"}} to this one"
        );
        Failure(StatusCode::BAD_REQUEST, error)
    })
}

/// An answer other than success.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(ErrorReply { error: self.1 })).into_response()
    }
}

fn unavailable(error: impl ToString) -> Failure {
    Failure(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

/// Does not ask the election: what it has recorded is shared memory.
async fn why(State(shared): State<Arc<Shared>>) -> Result<Json<crate::api::Recording>, Failure> {
    shared.recording().map(Json).map_err(unavailable)
}

async fn status(State(shared): State<Arc<Shared>>) -> Result<Json<Status>, Failure> {
    let snapshot = shared.requests.snapshot().await.map_err(unavailable)?;
    shared.status(&snapshot).map(Json).map_err(unavailable)
}

async fn reload(
    State(shared): State<Arc<Shared>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ReloadReply>, Failure> {
    let body = body.map_err(|rejection| Failure(rejection.status(), rejection.body_text()))?;
    let ReloadRequest { force } = serde_json::from_slice(&body).map_err(|error| {
        let error = format!("the body is not understood: {error}; {{}} or {{\"force\": true}}");
        Failure(StatusCode::BAD_REQUEST, error)
    })?;
    let (reply, answer) = oneshot::channel();
    let order = Order {
        force,
        reply: Some(reply),
    };
    shared.reloads.send(order).await.map_err(unavailable)?;
    match answer.await.map_err(unavailable)? {
        Ok(reply) => Ok(Json(reply)),
        Err(reason) => Err(Failure(StatusCode::CONFLICT, reason)),
    }
}

async fn switchover(
    State(shared): State<Arc<Shared>>,
    UrlPath(name): UrlPath<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SwitchoverReply>, Failure> {
    let request = switchover_request(body)?;
    let Some(instance) = shared
        .config
        .instances
        .iter()
        .find(|instance| instance.name == name)
    else {
        let names: Vec<&str> = shared
            .config
            .instances
            .iter()
            .map(|instance| instance.name.as_str())
            .collect();
        let error = format!(
            "there is no instance {name:?}; there are: {}",
            names.join(", ")
        );
        return Err(Failure(StatusCode::NOT_FOUND, error));
    };
    let released = command(&shared, instance.vrid, request.to).await?;
    let bound = switchover_bound(shared.config.cluster.advert_interval);
    let deadline = TokioInstant::now() + bound;
    while TokioInstant::now() < deadline {
        let snapshot = shared.requests.snapshot().await.map_err(unavailable)?;
        if let Some((active, heard)) = successor(&snapshot, instance.vrid, released) {
            return Ok(Json(SwitchoverReply {
                active,
                took_ms: milliseconds(released, heard),
            }));
        }
        if is_kept(&snapshot, instance.vrid) {
            break;
        }
        sleep(LOOK_EVERY).await;
    }
    let snapshot = shared.requests.snapshot().await.map_err(unavailable)?;
    let error = not_taken(&snapshot, instance.vrid, &name, bound);
    Err(Failure(StatusCode::GATEWAY_TIMEOUT, error))
}

/// Whether the instance is still served here, and nobody is asked to take it any more.
fn is_kept(snapshot: &Snapshot, vrid: Vrid) -> bool {
    let mut instances = snapshot.node.instances.iter();
    instances.any(|one| one.vrid == vrid && one.state == ElectionState::Active && !one.handing_over)
}

/// What has become of an instance that no other node was heard to take.
fn not_taken(snapshot: &Snapshot, vrid: Vrid, name: &str, within: Duration) -> String {
    if is_kept(snapshot, vrid) {
        return format!(
            "no other node was heard to take {name} over: it stays active here; see status on the \
             peers"
        );
    }
    format!(
        "{name} was released, but no node was heard to be Active within {within:?}; see status on \
         the peers"
    )
}

/// Gives the command to the election; answers when the hand-over has begun.
async fn command(shared: &Shared, vrid: Vrid, to: Option<IpAddr>) -> Result<Instant, Failure> {
    let (reply, answer) = oneshot::channel();
    let command = Command::Switchover {
        to: to.map(NodeAddress),
    };
    shared
        .requests
        .send(Request::Command {
            vrid,
            command,
            reply,
        })
        .map_err(unavailable)?;
    answer
        .await
        .map_err(unavailable)?
        .map_err(|refusal| refused(refusal, to))
}

fn refused(refusal: Refusal, to: Option<IpAddr>) -> Failure {
    let text = match refusal {
        Refusal::NotActive {
            active: Some(active),
        } => {
            format!("{refusal}; {active} is: run the command there")
        }
        Refusal::NotActive { active: None } => {
            format!("{refusal}, and no other node is known to be")
        }
        Refusal::PeerNotReady => {
            let to = to.map(|to| format!(" ({to})")).unwrap_or_default();
            format!("{refusal}{to}; see the peers in status")
        }
        Refusal::NoPeer | Refusal::NoSuchInstance | Refusal::HandingOver { .. } => {
            refusal.to_string()
        }
    };
    Failure(StatusCode::CONFLICT, text)
}

/// The other node that says it is Active, and when it was last heard.
fn successor(snapshot: &Snapshot, vrid: Vrid, released: Instant) -> Option<(IpAddr, Instant)> {
    snapshot.node.peers.iter().find_map(|peer| {
        let heard = peer.last_heard.filter(|heard| *heard > released)?;
        peer.instances
            .iter()
            .any(|instance| instance.vrid == vrid && instance.state == ElectionState::Active)
            .then_some((peer.address.0, heard))
    })
}

#[expect(
    clippy::float_arithmetic,
    reason = "for display: milliseconds with fraction"
)]
fn milliseconds(from: Instant, to: Instant) -> f64 {
    to.saturating_since(from).as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::client::{RELOAD_TIMEOUT, SWITCHOVER_TIMEOUT};

    fn refused(body: &[u8]) -> (StatusCode, String) {
        let Failure(status, text) =
            switchover_request(Ok(Bytes::copy_from_slice(body))).unwrap_err();
        (status, text)
    }

    #[test]
    fn nobody_hangs_up_before_a_switchover_or_a_reload_has_failed() {
        for interval in [Duration::from_millis(1), Duration::from_millis(40_950)] {
            let bound = switchover_bound(interval);
            assert!(connection_lifetime(interval) > bound);
            assert!(SWITCHOVER_TIMEOUT > connection_lifetime(interval));
            assert!(connection_lifetime(interval) > EXAMINATION_BOUND);
            assert!(RELOAD_TIMEOUT > EXAMINATION_BOUND + CONNECTION_MARGIN);
        }
    }

    #[test]
    fn only_a_body_that_is_understood_is_obeyed() {
        let request = |body: &'static [u8]| switchover_request(Ok(Bytes::from_static(body)));
        assert_eq!(request(b"{}").ok().map(|request| request.to), Some(None));
        let to = request(br#"{"to": "fd00::1"}"#)
            .ok()
            .and_then(|request| request.to);
        assert_eq!(to, Some("fd00::1".parse().unwrap()));
        for bad in [
            &br#"{"To": "10.0.0.1"}"#[..],
            br#"{"to": "10.0.0.1", "force": true}"#,
            br#"{"to": "node-2"}"#,
            b"to=10.0.0.1",
            b"",
        ] {
            let (status, text) = refused(bad);
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(text.contains("ADDRESS"), "{text}");
        }
        assert!(refused(br#"{"To": "10.0.0.1"}"#).1.contains("`To`"));
    }
}
