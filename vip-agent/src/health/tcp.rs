//! A check that opens a TCP connection and closes it again.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::TcpCheck;

/// Connects once.
///
/// # Errors
/// Why the backend is not healthy, as a phrase.
pub async fn check(address: IpAddr, check: TcpCheck) -> Result<(), String> {
    let target = SocketAddr::new(address, check.port);
    match timeout(check.timeout, TcpStream::connect(target)).await {
        Ok(Ok(stream)) => {
            // A reset instead of a farewell: no connection is left waiting on either side.
            drop(stream.set_zero_linger());
            Ok(())
        }
        Ok(Err(error)) => Err(format!("tcp {}: {error}", check.port)),
        Err(_) => Err(format!(
            "tcp {}: no answer within {}",
            check.port,
            phrase(check.timeout)
        )),
    }
}

fn phrase(duration: Duration) -> String {
    format!("{duration:?}")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::num::NonZeroU8;

    use super::*;

    const CHECK: TcpCheck = TcpCheck {
        port: 0,
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        rise: NonZeroU8::MIN,
        fall: NonZeroU8::MIN,
    };

    #[tokio::test]
    async fn a_listening_port_is_healthy() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        check(Ipv4Addr::LOCALHOST.into(), TcpCheck { port, ..CHECK })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_closed_port_is_not_and_says_which() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let reason = check(Ipv4Addr::LOCALHOST.into(), TcpCheck { port, ..CHECK })
            .await
            .unwrap_err();
        assert!(reason.contains(&port.to_string()), "{reason}");
    }
}
