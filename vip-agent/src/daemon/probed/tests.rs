use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn config() -> Config {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("cluster.key");
    std::fs::write(&key, "00".repeat(32)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = directory.path().join("vip-agent.toml");
    let text = r#"[cluster]
key_file = "cluster.key"
peers = ["10.0.0.2"]

[[instance]]
name = "web"
vrid = 51
interface = "eth0"
vips = ["10.0.0.100"]

[[liveness.link]]
peer = "10.0.0.2"
local = "10.9.0.1"
remote = "10.9.0.2"
"#;
    std::fs::write(&path, text).unwrap();
    crate::config::load(&path).unwrap().config
}

fn interface(name: &str, index: u32, address: IpAddr) -> Interface {
    Interface {
        name: name.into(),
        index,
        mac: [2, 0, 0, 0, 0, 1],
        up: true,
        addresses: vec![address],
        xdp: None,
        kind: None,
        controller: None,
        lower: None,
    }
}

#[test]
fn an_interface_that_comes_late_is_found_then() {
    let (config, own): (_, IpAddr) = (config(), [10, 0, 0, 1].into());
    let link: IpAddr = [10, 9, 0, 1].into();
    let eth0 = interface("eth0", 2, own);
    let early = Places::of(&config, NodeAddress(own), std::slice::from_ref(&eth0));
    assert_eq!((early.found, early.missing), (vec![], vec![link]));
    let sync = interface("sync", 7, link);
    let late = Places::of(&config, NodeAddress(own), &[eth0, sync.clone()]);
    assert_eq!((late.found, late.missing), (vec![sync], vec![]));
}
