//! A real server for steering mode `l2` (direct routing).

use std::net::IpAddr;

use anyhow::Result;

use crate::host::Host;
use crate::http::HttpServer;
use crate::responder::Responder;

/// A host that has the VIPs on `lo`, never answers ARP or ND for them, and serves HTTP (port 80, on
/// all its addresses) and UDP echo (port 7, on the VIPs) under its own name.
#[derive(Debug)]
pub struct Backend {
    /// Where it lives.
    pub host: Host,
    /// The VIPs it serves.
    vips: Vec<IpAddr>,
    /// While it serves.
    services: Option<(HttpServer, Responder)>,
}

impl Backend {
    /// Turns a host into a backend and starts its servers.
    pub(crate) fn create(host: Host, vips: &[IpAddr]) -> Result<Self> {
        for (setting, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
            host.namespace()
                .sysctl(&format!("ipv4/conf/all/{setting}"), value)?;
        }
        for vip in vips {
            host.add_address(*vip, "lo")?;
        }
        let mut backend = Self {
            host,
            vips: vips.to_vec(),
            services: None,
        };
        backend.start()?;
        Ok(backend)
    }

    /// Starts its servers, if they do not run.
    ///
    /// # Errors
    /// If a port is taken.
    pub fn start(&mut self) -> Result<()> {
        if self.services.is_none() {
            let name = self.host.name();
            let http = HttpServer::start(&self.host, name, 80)?;
            self.services = Some((http, Responder::start(&self.host, name, &self.vips)?));
        }
        Ok(())
    }

    /// Ends its servers: the host lives on and refuses connections.
    pub fn stop(&mut self) {
        self.services = None;
    }
}
