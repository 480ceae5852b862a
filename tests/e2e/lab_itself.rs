//! The lab does what the other tests rely on.

use std::fs;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::capture::count_from;
use lab::frame::FrameSocket;
use lab::{Capture, HttpServer, Lab, Probe, Responder, clock, scenario, sweep, wait_until};

/// The probe's rate in all tests.
const TICK: Duration = Duration::from_millis(1);

#[test]
fn hosts_reach_each_other_over_both_families() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let (a, b) = (lab.client("a", &[&lan])?, lab.client("b", &[&lan])?);
        assert_eq!(a.ping(b.v4().into(), 5)?, 5);
        assert_eq!(a.ping(b.v6().into(), 5)?, 5);
        assert_eq!(a.arping(b.v4(), 2)?, vec![b.mac(); 2]);
        assert_eq!(a.neighbour(b.v4().into())?, Some(b.mac()));
        // Without a program at the far end of the cable, XDP_TX would stall.
        let port = &b.eth0().port;
        let link = port.switch().ip(&format!("link show {}", port.name()))?;
        assert!(link.contains("prog/xdp id"), "{link}");
        a.forget_neighbours()?;
        assert_eq!(a.neighbour(b.v4().into())?, None);
        assert_eq!(a.ping(lan.v4(99).into(), 1)?, 0, "nobody has that address");
        Ok(())
    });
}

#[test]
fn networks_are_apart() {
    scenario(|lab| {
        let (front, back) = (lab.network("front")?, lab.network("back")?);
        let node = lab.host("node", &[&front, &back])?;
        let client = lab.client("client", &[&front])?;
        let server = lab.client("server", &[&back])?;
        assert_eq!(client.ping(node.interfaces()[0].v4.into(), 2)?, 2);
        assert_eq!(server.ping(node.interfaces()[1].v6.into(), 2)?, 2);
        assert_eq!(client.ping(server.v4().into(), 1)?, 0);
        Ok(())
    });
}

#[test]
fn servers_answer_with_their_names() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let client = lab.client("client", &[&lan])?;
        let vips: [IpAddr; 2] = [lan.v4(100).into(), lan.v6(100).into()];
        let mut backend = lab.backend("ECS-1", &[&lan], &vips)?;
        for own in [backend.host.v4().into(), backend.host.v6().into()] {
            assert_eq!(client.curl(own)?, "ECS-1");
        }
        // A backend has the VIP, and serves it to whoever knows the way, but answers nobody's ARP.
        assert_eq!(client.arping(lan.v4(100), 1)?, Vec::<[u8; 6]>::new());
        assert_eq!(
            client.ping(vips[1], 1)?,
            0,
            "nor anybody's neighbour solicitation"
        );
        let mac = backend
            .host
            .mac()
            .map(|byte| format!("{byte:02x}"))
            .join(":");
        for vip in vips {
            client
                .namespace()
                .ip(&format!("neigh replace {vip} lladdr {mac} dev eth0"))?;
            assert_eq!(client.curl(vip)?, "ECS-1");
            let probe = Probe::start(&client, vip, TICK)?;
            probe.wait_for_answer(Duration::from_secs(2))?;
        }
        backend.stop();
        let refused = client.curl(vips[0]).expect_err("the server has ended");
        assert!(format!("{refused:#}").contains("curl: (7)"), "{refused:#}");
        backend.start()?;
        assert_eq!(client.curl(vips[0])?, "ECS-1");
        Ok(())
    });
}

#[test]
fn the_probe_measures_how_long_a_cable_was_unplugged() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let client = lab.client("client", &[&lan])?;
        let server = lab.host("server", &[&lan])?;
        for address in [IpAddr::from(server.v4()), IpAddr::from(server.v6())] {
            let _echo = Responder::start(&server, "server", &[address])?;
            let probe = Probe::start(&client, address, TICK)?;
            probe.wait_for_answer(Duration::from_secs(2))?;

            let quiet = clock::now_ns();
            std::thread::sleep(Duration::from_millis(300));
            let cut = clock::now_ns();
            let calm = probe.report(quiet, cut);
            assert_eq!((calm.lost, calm.duplicates), (0, 0), "{calm}");
            assert!(
                (200..=301).contains(&calm.sent),
                "one each millisecond: {calm}"
            );
            assert!(
                calm.gap_ns <= 2_000_000 + 2 * calm.stall_ns.max(10_000_000),
                "{calm}"
            );

            let cut = clock::now_ns();
            server.isolate()?;
            std::thread::sleep(Duration::from_millis(200));
            let healed = clock::now_ns();
            server.heal()?;
            probe.wait_for_answer(Duration::from_secs(5))?;
            std::thread::sleep(Duration::from_millis(50));
            let end = clock::now_ns();
            let report = probe.report(cut, end);
            assert!(report.gap_ns >= 200_000_000, "{report}");
            assert!(report.gap_end_ns >= healed, "{report}");
            assert!(report.gap_ns <= end - cut + 20_000_000, "{report}");
            assert!(
                (100..=report.gap_ns / 1_000_000 + 2).contains(&report.lost),
                "{report}"
            );
            assert_eq!(report.before.as_deref(), Some("server"));
            assert_eq!(report.after.as_deref(), Some("server"));
        }
        Ok(())
    });
}

#[test]
fn a_takeover_shows_in_the_probe_with_both_names() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let client = lab.client("client", &[&lan])?;
        let (a, b) = (lab.host("a", &[&lan])?, lab.host("b", &[&lan])?);
        let vip: IpAddr = lan.v4(100).into();
        let _echo_a = Responder::start(&a, "a", &[vip])?;
        let _echo_b = Responder::start(&b, "b", &[vip])?;
        a.add_address(vip, "lo")?;
        let probe = Probe::start(&client, vip, TICK)?;
        probe.wait_for_answer(Duration::from_secs(2))?;
        let start = clock::now_ns();
        probe.wait_for_answer(Duration::from_secs(2))?;
        a.unplug()?;
        a.wait_for_carrier(false)?;
        // The address moves the old way: to another host's kernel, which announces it.
        b.add_address(vip, "lo")?;
        b.run("arping", &["-U", "-c", "1", "-I", "eth0", &vip.to_string()])?;
        probe.wait_for_answer(Duration::from_secs(5))?;
        let report = probe.report(start, clock::now_ns());
        // Not the longest gap: on a busy machine that may be another one.
        let names: Vec<&str> = report.changes.iter().map(|(_, name)| &**name).collect();
        assert_eq!(names, ["a", "b"], "{report}");
        assert!(report.gap_ns >= 1_000_000, "{report}");
        assert_eq!(report.last.as_deref(), Some("b"));
        a.plug()
    });
}

#[test]
fn a_split_network_carries_frames_on_each_side_only() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let (a, b, c) = (
            lab.client("a", &[&lan])?,
            lab.client("b", &[&lan])?,
            lab.client("c", &[&lan])?,
        );
        lan.split(&[&b, &c])?;
        assert_eq!(a.ping(b.v4().into(), 1)?, 0);
        assert_eq!(b.ping(c.v4().into(), 2)?, 2);
        lan.join(&[&b, &c])?;
        assert_eq!(a.ping(b.v4().into(), 2)?, 2);
        Ok(())
    });
}

#[test]
fn a_capture_counts_frames_by_sender_and_time() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let (a, b) = (lab.client("a", &[&lan])?, lab.client("b", &[&lan])?);
        let at_b = Capture::at(&b, "icmp")?;
        let at_port = Capture::at_port_of(&a, "icmp")?;
        let start = clock::now_ns();
        assert_eq!(a.ping(b.v4().into(), 7)?, 7);
        let end = clock::now_ns();
        for frames in [at_b.stop()?, at_port.stop()?] {
            assert_eq!(frames.len(), 14);
            assert_eq!(count_from(&frames, a.mac(), start, end), 7);
            assert_eq!(count_from(&frames, b.mac(), start, end), 7);
            assert_eq!(count_from(&frames, a.mac(), 0, start), 0);
            assert!(frames.iter().all(|frame| frame.ether_type() == 0x0800));
        }
        Ok(())
    });
}

#[test]
fn raw_frames_with_vlan_tags_reach_the_other_side_unchanged() {
    scenario(|lab| {
        let lan = lab.network("lan")?;
        let (a, b) = (lab.client("a", &[&lan])?, lab.client("b", &[&lan])?);
        let mut frame = [b.mac(), a.mac()].concat();
        // Tag 7, then an experimental EtherType.
        frame.extend([0x81, 0x00, 0x00, 0x07, 0x88, 0xb5]);
        frame.resize(60, 0x5a);
        let capture = Capture::at(&b, "")?;
        let (socket, other) = (
            FrameSocket::open(a.namespace(), "eth0")?,
            FrameSocket::open(b.namespace(), "eth0")?,
        );
        socket.send(&frame)?;
        let received = other.receive(Duration::from_secs(2), |seen| seen[6..12] == a.mac())?;
        assert!(received.is_some_and(|seen| seen.ends_with(&[0x5a; 42])));
        assert!(
            other
                .receive(Duration::from_millis(50), |_| false)?
                .is_none()
        );
        let frames = capture.stop()?;
        assert!(frames.iter().any(|seen| seen.bytes == frame), "{frames:?}");
        Ok(())
    });
}

#[test]
fn dropping_a_lab_leaves_nothing_behind() {
    let prefix = {
        let lab = Lab::new().unwrap();
        let lan = lab.network("lan").unwrap();
        let host = lab.host("host", &[&lan]).unwrap();
        let _http = HttpServer::start(&host, "host", 80).unwrap();
        // A stray process that nobody holds on to.
        host.run("sh", &["-c", "sleep 1000 >/dev/null 2>&1 &"])
            .unwrap();
        let remains = sweep::remains(lab.prefix());
        assert_eq!(
            remains.len(),
            5,
            "2 namespaces, 2 directories, 1 process: {remains:?}"
        );
        lab.prefix().to_owned()
    };
    assert_eq!(sweep::remains(&prefix), Vec::<String>::new());
}

#[test]
fn a_panic_leaves_nothing_behind() {
    let mut prefix = String::new();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        scenario(|lab| {
            lab.prefix().clone_into(&mut prefix);
            lab.network("lan")?;
            panic!("on purpose")
        });
    }));
    assert!(outcome.is_err());
    assert!(prefix.starts_with("vip-lab-"));
    assert_eq!(sweep::remains(&prefix), Vec::<String>::new());
}

/// Not a test: what the next two start as a process of its own, to be ended by a signal.
#[test]
#[ignore = "helper of the tests below"]
fn helper_that_waits_in_a_lab() {
    let lab = Lab::new().unwrap();
    let lan = lab.network("lan").unwrap();
    let _host = lab.host("host", &[&lan]).unwrap();
    fs::write(std::env::var("LAB_READY").unwrap(), lab.prefix()).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

/// Starts the helper, sends it a signal, and returns its lab's prefix and its exit code.
fn end_helper_by(signal: rustix::process::Signal) -> Result<(String, Option<i32>)> {
    let number = signal.as_raw();
    let ready = std::env::temp_dir().join(format!("vip-helper-{}-{number}", std::process::id()));
    let mut helper = Command::new(std::env::current_exe()?)
        .args([
            "--exact",
            "lab_itself::helper_that_waits_in_a_lab",
            "--ignored",
        ])
        .env("LAB_READY", &ready)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let prefix = wait_until("the helper's lab", Duration::from_secs(20), || {
        let text = fs::read_to_string(&ready).unwrap_or_default();
        if text.is_empty() {
            Err("no file yet".to_owned())
        } else {
            Ok(text)
        }
    });
    fs::remove_file(&ready)?;
    let prefix = prefix?;
    ensure!(!sweep::remains(&prefix).is_empty(), "the helper has a lab");
    rustix::process::kill_process(rustix::process::Pid::from_child(&helper), signal)?;
    let status = wait_until("the helper's end", Duration::from_secs(20), || {
        helper
            .try_wait()
            .map_err(|error| error.to_string())?
            .ok_or_else(|| "running".to_owned())
    })
    .context("it does not end")?;
    Ok((prefix, status.code()))
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let (prefix, code) = end_helper_by(rustix::process::Signal::INT).unwrap();
    assert_eq!(code, Some(130));
    assert_eq!(sweep::remains(&prefix), Vec::<String>::new());
}

#[test]
fn the_next_lab_removes_what_a_killed_run_left() {
    let (prefix, code) = end_helper_by(rustix::process::Signal::KILL).unwrap();
    assert_eq!(code, None);
    assert_ne!(sweep::remains(&prefix), Vec::<String>::new());
    drop(Lab::new().unwrap());
    assert_eq!(sweep::remains(&prefix), Vec::<String>::new());
}
