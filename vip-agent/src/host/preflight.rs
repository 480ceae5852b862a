//! What must hold before anything is changed: privileges, kernel, BPF file system.

use std::path::Path;

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{is_helper_supported, is_map_supported, is_program_supported};
use rustix::fs::statfs;
use rustix::thread::{CapabilitySet, capabilities};

use crate::error::RunError;

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// What loading and attaching needs. `CAP_SYS_ADMIN` stands in for `CAP_BPF`, as in the kernel.
const NEEDED: [(CapabilitySet, &str); 3] = [
    (
        CapabilitySet::BPF,
        "CAP_BPF (load the XDP program and its maps)",
    ),
    (
        CapabilitySet::NET_ADMIN,
        "CAP_NET_ADMIN (attach it, put VIPs on lo)",
    ),
    (CapabilitySet::NET_RAW, "CAP_NET_RAW (send gratuitous ARP)"),
];

/// Checks the capabilities of this process.
///
/// # Errors
/// [`RunError::Privilege`] with what is missing.
pub fn privileges() -> Result<(), RunError> {
    let sets = capabilities(None)
        .map_err(|error| RunError::io("reading this process's capabilities")(error.into()))?;
    match missing_privileges(sets.effective) {
        missing if missing.is_empty() => Ok(()),
        missing => Err(RunError::Privilege(missing)),
    }
}

fn missing_privileges(effective: CapabilitySet) -> Vec<&'static str> {
    NEEDED
        .into_iter()
        .filter(|(capability, _)| {
            let stand_in =
                *capability == CapabilitySet::BPF && effective.contains(CapabilitySet::SYS_ADMIN);
            !effective.contains(*capability) && !stand_in
        })
        .map(|(_, name)| name)
        .collect()
}

/// A feature of the kernel, as a question that can be asked.
type Probe = (&'static str, fn() -> bool);

/// What the data plane uses, each asked of the running kernel instead of guessed from its version.
const FEATURES: [Probe; 5] = [
    ("XDP programs", || {
        is_program_supported(ProgramType::Xdp).unwrap_or(false)
    }),
    ("BPF array maps", || {
        is_map_supported(MapType::Array).unwrap_or(false)
    }),
    ("BPF ring buffers (5.8)", || {
        is_map_supported(MapType::RingBuf).unwrap_or(false)
    }),
    ("bpf_xdp_adjust_tail (4.18)", || {
        xdp_helper(aya_helper::XDP_ADJUST_TAIL)
    }),
    ("bpf_ktime_get_coarse_ns (5.11)", || {
        xdp_helper(aya_helper::KTIME_GET_COARSE_NS)
    }),
];

/// Numbers of BPF helpers (linux/bpf.h) the data plane calls.
mod aya_helper {
    use aya_obj::generated::bpf_func_id;

    pub(super) const XDP_ADJUST_TAIL: bpf_func_id = bpf_func_id::BPF_FUNC_xdp_adjust_tail;
    pub(super) const KTIME_GET_COARSE_NS: bpf_func_id = bpf_func_id::BPF_FUNC_ktime_get_coarse_ns;
}

fn xdp_helper(helper: aya_obj::generated::bpf_func_id) -> bool {
    is_helper_supported(ProgramType::Xdp, helper).unwrap_or(false)
}

/// Checks that the kernel has what the data plane uses.
///
/// # Errors
/// [`RunError::Kernel`] with what is missing.
pub fn kernel() -> Result<(), RunError> {
    missing_features(&FEATURES, &release())
}

fn missing_features(features: &[Probe], release: &str) -> Result<(), RunError> {
    let missing: Vec<String> = features
        .iter()
        .filter(|(_, supported)| !supported())
        .map(|(name, _)| (*name).to_owned())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(RunError::Kernel {
        release: release.to_owned(),
        missing,
    })
}

fn release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Checks that `pin_dir`, or the nearest directory above it that exists, is on a BPF file system.
///
/// # Errors
/// [`RunError::NoBpffs`] if it is not, [`RunError::Io`] if that cannot be told.
pub fn bpffs(pin_dir: &Path) -> Result<(), RunError> {
    let existing = pin_dir
        .ancestors()
        .find(|path| path.exists())
        .ok_or_else(|| RunError::NoBpffs(pin_dir.to_owned()))?;
    let facts = statfs(existing).map_err(|error| {
        RunError::io(format!("looking at {}", existing.display()))(error.into())
    })?;
    if u64::try_from(facts.f_type).ok() == Some(BPF_FS_MAGIC) {
        Ok(())
    } else {
        Err(RunError::NoBpffs(pin_dir.to_owned()))
    }
}

/// Where the kernel tells how a process's clocks differ from its own (time_namespaces(7)).
const OFFSETS: &str = "/proc/self/timens_offsets";

/// Checks that this process and the data plane read the same monotonic clock: in a time namespace a
/// lease that is written here would end at another time there, or hardly ever.
///
/// # Errors
/// [`RunError::HostConfig`] if they do not.
pub fn clock() -> Result<(), RunError> {
    // A kernel without the file has no time namespaces.
    let offsets = std::fs::read_to_string(OFFSETS).unwrap_or_default();
    match monotonic_offset(&offsets) {
        None => Ok(()),
        Some(offset) => Err(RunError::HostConfig(format!(
            "this process is in a time namespace whose monotonic clock is {offset} from the \
             kernel's: leases would end at the wrong time. Run the agent in the host's time \
             namespace"
        ))),
    }
}

/// By how much the monotonic clock differs, for people; `None`: not at all.
fn monotonic_offset(offsets: &str) -> Option<String> {
    let mut words = offsets
        .lines()
        .map(str::split_ascii_whitespace)
        .find_map(|mut words| (words.next() == Some("monotonic")).then_some(words))?;
    let (seconds, nanoseconds) = (words.next()?, words.next()?);
    (seconds != "0" || nanoseconds != "0").then(|| format!("{seconds} s {nanoseconds} ns"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_differs_from_the_kernels_is_told() {
        let host = "monotonic           0         0\nboottime            0         0\n";
        let other = "monotonic       -1000        50\nboottime            0         0\n";
        let boot = "monotonic           0         0\nboottime          100         0\n";
        assert_eq!(monotonic_offset(host), None);
        assert_eq!(monotonic_offset(other).as_deref(), Some("-1000 s 50 ns"));
        assert_eq!(monotonic_offset(boot), None, "nothing is told by this one");
        assert_eq!(monotonic_offset(""), None);
    }

    #[test]
    fn every_capability_that_is_missing_is_named() {
        let missing = missing_privileges(CapabilitySet::NET_RAW);
        assert_eq!(missing.len(), 2);
        assert!(missing.iter().any(|name| name.starts_with("CAP_BPF")));
        assert!(missing.iter().any(|name| name.starts_with("CAP_NET_ADMIN")));
    }

    #[test]
    fn cap_sys_admin_includes_cap_bpf() {
        let root = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
        assert_eq!(missing_privileges(root), Vec::<&str>::new());
    }

    #[test]
    fn an_old_kernel_is_told_what_it_lacks() {
        let features: [Probe; 2] = [
            ("something old", || true),
            ("something new (9.9)", || false),
        ];
        let error = missing_features(&features, "4.9.0").unwrap_err();
        assert_eq!(error.exit_code(), crate::exit::ExitCode::Kernel);
        let text = error.to_string();
        assert!(
            text.contains("4.9.0") && text.contains("something new (9.9)"),
            "{text}"
        );
        assert!(!text.contains("something old"), "{text}");
    }

    #[test]
    fn an_ordinary_directory_is_not_a_bpf_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let error = bpffs(&directory.path().join("not/yet/there")).unwrap_err();
        assert_eq!(error.exit_code(), crate::exit::ExitCode::NoBpffs);
    }
}
