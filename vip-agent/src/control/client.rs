//! Asks the daemon: HTTP/1.1 over its Unix socket, one connection per request.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::{
    ErrorReply, ReloadReply, ReloadRequest, Status, SwitchoverReply, SwitchoverRequest,
};
use crate::exit::ExitCode;

/// How long a status may take: the daemon answers from memory.
const STATUS_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a switchover may take: longer than the daemon waits for the successor, which is 165.8 s
/// with the slowest adverts.
pub(super) const SWITCHOVER_TIMEOUT: Duration = Duration::from_secs(180);
/// How long the check before a reload may take: two questions to the program on disk.
pub(super) const RELOAD_TIMEOUT: Duration = Duration::from_secs(40);
/// Largest answer accepted, in bytes: the status of 48 instances with 10,000 VIPs has some 1.5 MB.
const MAX_ANSWER: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens on the socket, or it does not exist.
    #[error(
        "no vip-agent daemon answers on {path}; is it running? `systemctl status vip-agent` tells, \
         and `--socket` names another socket",
        path = .0.display()
    )]
    NotRunning(PathBuf),
    /// The socket may not be opened.
    #[error("the socket {path} may not be used by this user: run the command as root", path = .0.display())]
    Denied(PathBuf),
    /// The connection broke or is not one.
    #[error("the connection to {path} failed", path = .0.display())]
    Connection(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The daemon takes connections but does not answer.
    #[error(
        "the daemon on {path} did not answer within {} s: it hangs or the machine is overloaded",
        .1.as_secs_f64(), path = .0.display()
    )]
    Timeout(PathBuf, Duration),
    /// What answers is no daemon of this version.
    #[error("the answer of the daemon was not understood: its version may differ from this one's")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The daemon says no.
    #[error("{0}")]
    Refused(String),
}

impl ClientError {
    /// The code the process ends with.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::NotRunning(_) | Self::Timeout(..) | Self::Connection(..) => ExitCode::Unreachable,
            Self::Denied(_) => ExitCode::Privilege,
            Self::Answer(_) => ExitCode::Failure,
            Self::Refused(_) => ExitCode::Refused,
        }
    }
}

/// A daemon by its socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    status_timeout: Duration,
}

impl Client {
    /// The daemon that listens on this socket. Does not connect yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            status_timeout: STATUS_TIMEOUT,
        }
    }

    /// What the daemon knows now.
    ///
    /// # Errors
    /// If the daemon cannot be reached or does not answer.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.request(Method::GET, "/v1/status", None::<&()>, self.status_timeout)
            .await
    }

    /// What its flight recorder holds.
    ///
    /// # Errors
    /// If the daemon cannot be reached or does not answer.
    pub async fn recording(&self) -> Result<crate::api::Recording, ClientError> {
        self.request(Method::GET, "/v1/why", None::<&()>, self.status_timeout)
            .await
    }

    /// Hands an instance over to another node, and waits until that node is Active.
    ///
    /// # Errors
    /// If the daemon cannot be reached, does not answer, or refuses.
    pub async fn switchover(
        &self,
        instance: &str,
        request: &SwitchoverRequest,
    ) -> Result<SwitchoverReply, ClientError> {
        let path = format!("/v1/instances/{}/switchover", percent_encoded(instance));
        self.request(Method::POST, &path, Some(request), SWITCHOVER_TIMEOUT)
            .await
    }

    /// Has the agent reload; answers when it was checked and begins.
    ///
    /// # Errors
    /// If the daemon cannot be reached, does not answer, or refuses.
    pub async fn reload(&self, request: &ReloadRequest) -> Result<ReloadReply, ClientError> {
        self.request(Method::POST, "/v1/reload", Some(request), RELOAD_TIMEOUT)
            .await
    }

    async fn request<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Q>,
        timeout: Duration,
    ) -> Result<A, ClientError> {
        let body = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| ClientError::Answer(error.into()))?;
        let (status, answer) = tokio::time::timeout(timeout, self.exchange(method, path, body))
            .await
            .map_err(|_elapsed| ClientError::Timeout(self.socket.clone(), timeout))??;
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|e| ClientError::Answer(e.into()));
        }
        Err(ClientError::Refused(
            serde_json::from_slice::<ErrorReply>(&answer).map_or_else(
                |_not_ours| format!("the daemon answered {status}"),
                |reply| reply.error,
            ),
        ))
    }

    /// One request and its answer on a connection of its own.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
            ClientError::Connection(self.socket.clone(), error)
        };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|e| self.connect_error(e))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(error.into()))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "vip-agent")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| broken(error.into()))?;
        let exchange = async {
            let answer = sender
                .send_request(request)
                .await
                .map_err(|e| broken(e.into()))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(broken)?.to_bytes()))
        };
        // The connection moves the bytes of the exchange, and is of no use after it. When it ends
        // first, the exchange learns of it by itself.
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            _ended = connection => exchange.await,
        }
    }

    fn connect_error(&self, error: io::Error) -> ClientError {
        let path = self.socket.clone();
        if error.kind() == io::ErrorKind::PermissionDenied {
            ClientError::Denied(path)
        } else if matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::NotADirectory
        ) {
            ClientError::NotRunning(path)
        } else {
            ClientError::Connection(path, error.into())
        }
    }
}

/// A path segment that stays one, whatever it contains (RFC 3986 §2.1).
fn percent_encoded(segment: &str) -> String {
    let mut text = String::new();
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
