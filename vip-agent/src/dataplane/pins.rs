//! Where the data plane lives when no agent does: its files on the BPF file system.
//!
//! `PIN_DIR/v<ABI>/` holds the maps by name, `program`, and one `link-<interface>-<index>` per
//! interface. The version in the path keeps agents with different map layouts apart; the interface
//! index tells a link whose interface was deleted and made anew.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use aya::maps::{HashMap, Map, MapData, MapInfo, MapType};
use vip_common::abi::{
    ABI_VERSION, Capacity, MAPS, MapKind, MapSpec, VIPS_V4, VIPS_V6, VipEntry, VipKeyV4, VipKeyV6,
};

use super::sizes::Sizes;

/// The pins of one agent.
#[derive(Debug, Clone)]
pub struct Pins {
    root: PathBuf,
    directory: PathBuf,
}

impl Pins {
    /// The pins below `root`, for this agent's ABI version.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            directory: root.join(format!("v{ABI_VERSION}")),
        }
    }

    /// Path of a map.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Path of the program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.directory.join("program")
    }

    /// Path of the link to an interface.
    #[must_use]
    pub fn link(&self, interface: &str, index: u32) -> PathBuf {
        // bpffs reserves names with a dot; interface names may have one (VLANs).
        self.directory
            .join(format!("link-{}-{index}", interface.replace('.', "_")))
    }

    /// Makes the directory.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)
    }

    /// Whether nothing is pinned for this version.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(entries(&self.directory)?.is_empty())
    }

    /// The versions of other agents whose data plane is still pinned here. Whatever else lies in the
    /// directory belongs to others and is left alone.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn other_versions(&self) -> io::Result<Vec<PathBuf>> {
        let mut others = entries(&self.root)?;
        others.retain(|path| *path != self.directory && is_version(path));
        Ok(others)
    }

    /// Pinned links, by path.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn links(&self) -> io::Result<Vec<PathBuf>> {
        let mut links = entries(&self.directory)?;
        links.retain(|path| is_link(path));
        Ok(links)
    }

    /// Why the pinned maps cannot serve this agent; `None`: they can, or there are none.
    ///
    /// aya reuses a pinned map without looking at it, so this is where the ABI is checked.
    #[must_use]
    pub fn incompatibility(&self, sizes: Sizes) -> Option<String> {
        let present = MAPS
            .iter()
            .filter(|spec| self.map(spec.name).exists())
            .count();
        if present == 0 {
            return None;
        }
        MAPS.iter().find_map(|spec| {
            let path = self.map(spec.name);
            match MapInfo::from_pin(&path) {
                Ok(info) => mismatch(spec, &info, sizes.entries(spec)),
                Err(error) => Some(format!("{} cannot be opened: {error}", spec.name)),
            }
        })
    }

    /// The VIPs an earlier agent had, of this version or another: they may still be on `lo`.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn vips(&self) -> io::Result<Vec<IpAddr>> {
        let mut vips = Vec::new();
        for directory in self
            .other_versions()?
            .into_iter()
            .chain([self.directory.clone()])
        {
            // A version that keeps its VIPs elsewhere, or keys them otherwise, has none for us.
            vips.extend(
                keys::<VipKeyV4>(&directory.join(VIPS_V4))
                    .into_iter()
                    .map(IpAddr::from),
            );
            vips.extend(
                keys::<VipKeyV6>(&directory.join(VIPS_V6))
                    .into_iter()
                    .map(IpAddr::from),
            );
        }
        Ok(vips)
    }

    /// Removes everything that is pinned for this version; a program whose link is removed is
    /// detached. The root stays: the agent's lock is on it.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn remove(&self) -> io::Result<()> {
        remove_tree(&self.directory)
    }
}

/// Whether a directory is named as an agent names one: `v` and its ABI version.
fn is_version(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix('v'))
        .is_some_and(|version| {
            !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
        })
}

fn keys<K: aya::Pod>(path: &Path) -> Vec<K> {
    let Ok(data) = MapData::from_pin(path) else {
        return Vec::new();
    };
    let Ok(map) = HashMap::<_, K, VipEntry>::try_from(Map::HashMap(data)) else {
        return Vec::new();
    };
    map.keys().flatten().collect()
}

/// Removes a directory of pins: links first, so that nothing is left attached half-way.
///
/// # Errors
/// What the file system answers; a directory that does not exist is no error.
pub fn remove_tree(directory: &Path) -> io::Result<()> {
    let mut paths = entries(directory)?;
    paths.sort_by_key(|path| !is_link(path));
    for path in paths {
        fs::remove_file(path)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What is in a directory; nothing, if it does not exist.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether this is the pin of a link.
fn is_link(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("link-"))
}

fn mismatch(spec: &MapSpec, info: &MapInfo, entries: u32) -> Option<String> {
    let kind = match spec.kind {
        MapKind::Hash => MapType::Hash,
        MapKind::MmapArray => MapType::Array,
        MapKind::PerCpuArray => MapType::PerCpuArray,
        MapKind::RingBuf => MapType::RingBuf,
    };
    let name = spec.name;
    let differs = |what: &str, pinned: u64, wanted: u64| {
        (pinned != wanted).then(|| format!("{name} has {what} {pinned}, this agent needs {wanted}"))
    };
    if info.map_type().ok() != Some(kind) {
        return Some(format!("{name} is not a map of type {kind:?}"));
    }
    differs("key size", info.key_size().into(), spec.key_size as u64)
        .or_else(|| {
            differs(
                "value size",
                info.value_size().into(),
                spec.value_size as u64,
            )
        })
        .or_else(|| {
            let pinned = info.max_entries();
            // More room than the configuration needs is no reason to lose what is in the map.
            let roomy = !matches!(spec.capacity, Capacity::Fixed(_)) && pinned >= entries;
            let (pinned, wanted) = (pinned.into(), entries.into());
            (!roomy)
                .then(|| differs("entries", pinned, wanted))
                .flatten()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_named_like_versions_are_taken_for_an_agents() {
        let root = tempfile::tempdir().unwrap();
        let own = format!("v{ABI_VERSION}");
        for name in [&own, "v99", "v", "v1x", "vip", "other", "99"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        assert_eq!(
            Pins::new(root.path()).other_versions().unwrap(),
            [root.path().join("v99")]
        );
    }
}
