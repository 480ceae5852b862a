//! The echo service that says who answers.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use rustix::process::setpriority_process;
use socket2::{Domain, Protocol, Socket, Type};

use crate::frame::is_timeout;
use crate::host::Host;

/// UDP port of the echo service.
pub const PORT: u16 = 7;
/// Niceness of the threads that measure: ahead of builds and tests on a busy machine.
pub(crate) const NICE: i32 = -15;

/// UDP echo on port 7 of some addresses: returns each datagram with its name behind it. Ends when
/// dropped.
#[derive(Debug)]
pub struct Responder {
    /// Tells the threads to end.
    stop: Arc<AtomicBool>,
    /// One for each address.
    threads: Vec<JoinHandle<()>>,
}

impl Responder {
    /// Answers as `name` on each of `addresses`, which the host need not have yet.
    ///
    /// # Errors
    /// If a port is taken.
    pub fn start(host: &Host, name: &str, addresses: &[IpAddr]) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut responder = Self {
            stop: stop.clone(),
            threads: Vec::new(),
        };
        for address in addresses {
            let socket = host
                .namespace()
                .enter(|| open(SocketAddr::new(*address, PORT)))
                .with_context(|| format!("echo service on {address}"))?;
            let (name, stop) = (name.to_owned(), stop.clone());
            responder
                .threads
                .push(std::thread::spawn(move || serve(&socket, &name, &stop)));
        }
        Ok(responder)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in it has been printed already.
            drop(thread.join());
        }
    }
}

/// Lets datagrams wait while this program is not scheduled: half a second of 10,000 a second. With the
/// usual room for some 270, a busy machine looks like a lossy network.
///
/// # Errors
/// Without `CAP_NET_ADMIN`, more than the system's limit is refused.
pub(crate) fn with_room(socket: &impl AsFd) -> Result<()> {
    let bytes = 4 << 20;
    setsockopt(socket, sockopt::RcvBufForce, &bytes).context("making room for datagrams")
}

/// A socket bound to an address that may not exist yet (`IP_FREEBIND`), so that answers leave with it
/// as their source.
fn open(address: SocketAddr) -> Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    }
    with_room(&socket)?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    Ok(socket)
}

/// Answers until told to stop.
fn serve(socket: &UdpSocket, name: &str, stop: &AtomicBool) {
    // Without the privilege it is only less exact.
    setpriority_process(None, NICE).ok();
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer[..1024]) {
            Ok((length, client)) => {
                let end = length + name.len();
                buffer[length..end].copy_from_slice(name.as_bytes());
                // Unreachable just now (cable pulled, VIP gone): the client counts the loss.
                drop(socket.send_to(&buffer[..end], client));
            }
            Err(error) if is_timeout(error.kind()) => {}
            // An ICMP error for an earlier answer: the socket works on.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
