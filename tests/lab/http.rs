//! A small real web server that says its name.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::frame::is_timeout;
use crate::host::Host;

/// HTTP/1.1 on all addresses of a host, IPv4 and IPv6: each request is answered by the server's name.
/// Ends when dropped.
#[derive(Debug)]
pub struct HttpServer {
    /// Tells the thread to end.
    stop: Arc<AtomicBool>,
    /// Accepts connections.
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Serves as `name` (e.g. "ECS 1") on a TCP port.
    ///
    /// # Errors
    /// If the port is taken.
    pub fn start(host: &Host, name: &str, port: u16) -> Result<Self> {
        let listener = host
            .namespace()
            .enter(|| open(port))
            .with_context(|| format!("HTTP server on port {port} of {}", host.name()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (name, told) = (name.to_owned(), stop.clone());
        let thread = std::thread::spawn(move || accept(&listener, &name, &told));
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed already.
            drop(thread.join());
        }
    }
}

/// A listening socket for both families.
fn open(port: u16) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(1024)?;
    // Also limits accept(2), so that the thread sees its end.
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    Ok(socket.into())
}

/// Serves each connection on a thread of its own until told to stop.
fn accept(listener: &TcpListener, name: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let name = name.to_owned();
                std::thread::spawn(move || {
                    // A client that goes away in the middle (a health check) is no failure.
                    drop(answer(stream, &name));
                });
            }
            Err(error) if is_timeout(error.kind()) => {}
            Err(error) => eprintln!("HTTP server {name}: {error}"),
        }
    }
}

/// Reads one request's head and answers it.
fn answer(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 || head.len() > 16_384 {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..length]);
    }
    let length = name.len() + 1;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{name}\n"
    )
}
