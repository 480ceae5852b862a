//! Links of liveness probes that cannot be used, and why.

use super::{config, load, plus, with};

/// The base with two peers and this link.
fn with_link(peer: &str, local: &str, remote: &str) -> String {
    let base = with("[\"10.0.0.2\"]", "[\"10.0.0.2\", \"10.0.0.3\"]");
    let link = format!(
        "[[liveness.link]]\npeer = \"{peer}\"\nlocal = \"{local}\"\nremote = \"{remote}\"\n"
    );
    format!("{base}\n{link}")
}

#[test]
fn links() {
    let sound = config(&with_link("10.0.0.2", "10.9.0.1", "10.9.0.2"));
    assert_eq!(sound.liveness.unwrap().links.len(), 1);
    for (peer, local, remote, message) in [
        ("10.0.0.4", "10.9.0.1", "10.9.0.2", "10.0.0.4 is no peer"),
        ("10.0.0.2", "10.9.0.1", "fd00::2", "are not on one link"),
        (
            "10.0.0.2",
            "10.9.0.1",
            "10.0.0.2",
            "10.0.0.2 is probed anyway",
        ),
        (
            "10.0.0.2",
            "10.9.0.1",
            "10.0.0.3",
            "10.0.0.3 is another peer",
        ),
        ("10.0.0.2", "fe80::1", "fe80::2", "it is link-local"),
    ] {
        let error = load(&with_link(peer, local, remote))
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{error}");
    }
    let one = "[[liveness.link]]\npeer = \"10.0.0.2\"\nlocal = \"10.9.0.1\"\nremote = \"10.9.0.2\"";
    let error = load(&plus(&format!("{one}\n{one}")))
        .unwrap_err()
        .to_string();
    assert!(error.contains("two links lead to 10.9.0.2"), "{error}");
}
