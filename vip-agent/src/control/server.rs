//! The daemon's end of the control API.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::UnixListener;
use tokio::time::{Instant as TokioInstant, sleep};
use vip_proto::election::{Command, Refusal, State as ElectionState};
use vip_proto::{Instant, NodeAddress, Vrid};

use crate::api::{ErrorReply, Status, SwitchoverReply, SwitchoverRequest};
use crate::daemon::shared::Shared;
use crate::inputs::request::{Request, Snapshot};

/// How long a successor may take to be heard as Active, besides its down interval.
const HANDOVER_BOUND: Duration = Duration::from_secs(2);

/// Time between two looks for the successor.
const LOOK_EVERY: Duration = Duration::from_millis(1);

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
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/instances/{name}/switchover", post(switchover))
        .with_state(shared);
    axum::serve(listener, router).await
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

async fn status(State(shared): State<Arc<Shared>>) -> Result<Json<Status>, Failure> {
    let snapshot = shared.requests.snapshot().await.map_err(unavailable)?;
    shared.status(&snapshot).map(Json).map_err(unavailable)
}

async fn switchover(
    State(shared): State<Arc<Shared>>,
    UrlPath(name): UrlPath<String>,
    Json(request): Json<SwitchoverRequest>,
) -> Result<Json<SwitchoverReply>, Failure> {
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
    let bound = HANDOVER_BOUND + shared.config.cluster.advert_interval * 4;
    let deadline = TokioInstant::now() + bound;
    while TokioInstant::now() < deadline {
        let snapshot = shared.requests.snapshot().await.map_err(unavailable)?;
        if let Some((active, heard)) = successor(&snapshot, instance.vrid, released) {
            return Ok(Json(SwitchoverReply {
                active,
                took_ms: milliseconds(released, heard),
            }));
        }
        sleep(LOOK_EVERY).await;
    }
    let error = format!(
        "{name} was released, but no node was heard to be Active within {bound:?}; see status on \
         the peers"
    );
    Err(Failure(StatusCode::GATEWAY_TIMEOUT, error))
}

/// Gives the command to the election; answers when the instance was released.
async fn command(shared: &Shared, vrid: Vrid, to: Option<IpAddr>) -> Result<Instant, Failure> {
    let (reply, answer) = tokio::sync::oneshot::channel();
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
        Refusal::NoPeer | Refusal::NoSuchInstance => refusal.to_string(),
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
