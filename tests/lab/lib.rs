//! A cluster in a box: network namespaces, bridges and real processes on one machine.
//!
//! ```no_run
//! use lab::{Instance, Lab, Node, NodeConfig, Probe, Responder};
//! use std::time::Duration;
//!
//! # fn main() -> anyhow::Result<()> {
//! let lab = Lab::new()?;
//! let lan = lab.network("lan")?;
//! let client = lab.client("client", &[&lan])?;
//! let (a, b) = (lab.host("node-a", &[&lan])?, lab.host("node-b", &[&lan])?);
//! let vip = lan.v4(100);
//!
//! let config = |host, peer, priority| {
//!     NodeConfig::new(host)
//!         .peers(&[peer])
//!         .interval(Duration::from_millis(10))
//!         .instance(Instance::new("web", 1).priority(priority).vip(vip))
//! };
//! let mut active = Node::new(&a, config(&a, &b, 200))?;
//! let mut backup = Node::new(&b, config(&b, &a, 100))?;
//! let _echo_a = Responder::start(&a, "node-a", &[vip.into()])?;
//! let _echo_b = Responder::start(&b, "node-b", &[vip.into()])?;
//! active.start()?;
//! backup.start()?;
//! active.wait_for_state("web", "active", Duration::from_secs(5))?;
//!
//! let probe = Probe::start(&client, vip.into(), Duration::from_millis(1))?;
//! let before = lab::clock::now_ns();
//! active.crash()?;
//! backup.wait_for_state("web", "active", Duration::from_secs(5))?;
//! println!("{}", probe.report(before, lab::clock::now_ns()));
//! # Ok(())
//! # }
//! ```
//!
//! Everything is made inside namespaces with unique names; nothing of the machine itself is touched.
//! All of it goes away when the [`Lab`] is dropped, on a panic, on SIGINT and SIGTERM; what a killed
//! run has left behind is removed by the next one.
//!
//! Namespaces are entered per thread ([`NetNs::enter`]), so that the mount namespace, and with it
//! `/sys/fs/bpf`, stays the machine's own (`ip netns exec` would hide it).

pub mod backend;
pub mod bpf;
pub mod capture;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod frame;
pub mod host;
pub mod http;
pub mod keepalived;
mod lab;
pub mod netns;
pub mod network;
pub mod node;
pub mod pass_program;
pub mod probe;
pub mod process;
pub mod responder;
pub mod sweep;
pub mod wait;

pub use backend::Backend;
pub use capture::{Capture, Frame};
pub use client::Client;
pub use host::{Host, Interface};
pub use http::HttpServer;
pub use keepalived::Keepalived;
pub use lab::{Lab, scenario};
pub use netns::NetNs;
pub use network::Network;
pub use node::config::{BackendConfig, Instance, NodeConfig};
pub use node::{Node, agent_program};
pub use probe::{Probe, Report};
pub use process::{Process, run};
pub use responder::Responder;
pub use wait::wait_until;
