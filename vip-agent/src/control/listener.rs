//! Connections to the control socket: so many at once, and none for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Connections served at once; others wait until one of them ends. Each has at most one question to
/// the election under way.
pub(super) const CONNECTIONS: usize = 32;

/// A listener that takes [`CONNECTIONS`] at most.
#[derive(Debug)]
pub(super) struct Bounded {
    listener: UnixListener,
    permits: Arc<Semaphore>,
    lifetime: Duration,
}

impl Bounded {
    /// `lifetime`: how long a connection may last, so that clients that hang do not keep others out
    /// for ever; longer than the longest answer takes.
    pub(super) fn new(listener: UnixListener, lifetime: Duration) -> Self {
        Self {
            listener,
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            lifetime,
        }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed; without a permit there would be no limit, but service.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            end: Box::pin(sleep(self.lifetime)),
            _permit: permit,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that ends by itself.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    end: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn ended(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ended(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.ended(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    /// Asks, and answers whether an answer came within 200 ms.
    async fn is_answered(stream: &mut UnixStream) -> bool {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 12];
        let read = timeout(Duration::from_millis(200), stream.read_exact(&mut answer));
        matches!(read.await, Ok(Ok(_))) && answer.starts_with(b"HTTP/1.1 200")
    }

    #[tokio::test]
    async fn clients_that_hang_keep_others_out_only_until_their_time_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = Bounded::new(UnixListener::bind(&path).unwrap(), Duration::from_secs(1));
        let router = Router::new().route("/", get(async || "hello"));
        let server = tokio::spawn(async { axum::serve(listener, router).await });
        let mut hanging = Vec::new();
        for _ in 0..CONNECTIONS {
            hanging.push(UnixStream::connect(&path).await.unwrap());
        }
        let mut late = UnixStream::connect(&path).await.unwrap();
        assert!(!is_answered(&mut late).await, "all places are taken");
        assert!(is_answered(&mut hanging[0]).await);
        let mut answer = [0; 4];
        timeout(Duration::from_secs(5), late.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&answer, b"HTTP");
        server.abort();
    }
}
