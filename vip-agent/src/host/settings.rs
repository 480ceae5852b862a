//! The kernel's manners on a host with VIPs, for as long as it has them.
//!
//! They are set for all interfaces, also those to come: the kernel must not answer for a VIP on `lo`
//! whichever way the question comes. What they were before is kept in a file of the runtime
//! directory, so that an agent that starts after a crash can still put them back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

/// A setting of the kernel.
struct Setting {
    key: &'static str,
    /// The kernel takes the greater one of this and an interface's own; greater ones are stricter.
    least: u32,
    reason: &'static str,
}

const SETTINGS: [Setting; 2] = [
    // A node that has just lost a VIP still has connections from it; an ARP request for their
    // clients with the VIP as sender would overwrite the new Active node in every neighbour's cache.
    Setting {
        key: "arp_announce",
        least: 2,
        reason: "no ARP request carries a VIP as its sender",
    },
    // XDP answers for the VIPs; where it is not attached nobody should.
    Setting {
        key: "arp_ignore",
        least: 1,
        reason: "the kernel answers ARP only for addresses of the asking interface",
    },
];

/// Where the kernel has its settings for all interfaces.
const ALL: &str = "/proc/sys/net/ipv4/conf/all";

/// Changed kernel settings. They stay when this is dropped: VIPs may stay, too.
#[derive(Debug)]
pub struct Settings {
    kernel: PathBuf,
    file: PathBuf,
    /// What to put back.
    before: BTreeMap<&'static str, u32>,
    /// What the kernel did not let us change: said once.
    refused: BTreeSet<&'static str>,
}

impl Settings {
    /// Teaches the kernel. What cannot be changed is said in the log.
    #[must_use]
    pub fn apply(runtime_dir: &Path) -> Self {
        Self::apply_in(Path::new(ALL), runtime_dir)
    }

    fn apply_in(kernel: &Path, runtime_dir: &Path) -> Self {
        let file = runtime_dir.join("kernel-settings");
        let mut settings = Self {
            kernel: kernel.to_owned(),
            before: remembered(&file),
            refused: BTreeSet::new(),
            file,
        };
        settings.enforce();
        settings
    }

    /// Sets again what somebody has set back (another agent that stops, `sysctl --system`).
    pub fn enforce(&mut self) {
        // Before anything is changed: a crash right afterwards must not forget it.
        self.note_before();
        for &Setting { key, least, reason } in &SETTINGS {
            let change = || -> io::Result<Option<u32>> {
                let now = self.read(key)?;
                if now >= least {
                    return Ok(None);
                }
                fs::write(self.kernel.join(key), least.to_string())?;
                Ok(Some(now))
            };
            match change() {
                Ok(None) => {}
                Ok(Some(from)) => info!(
                    setting = %self.kernel.join(key).display(),
                    from,
                    to = least,
                    reason,
                    "kernel setting changed"
                ),
                Err(error) if self.refused.insert(key) => warn!(
                    setting = %self.kernel.join(key).display(), wanted = least, %error,
                    "kernel setting could not be changed; set it by hand so that {reason}"
                ),
                Err(_) => {}
            }
        }
    }

    /// Notes what is about to be changed for the first time.
    fn note_before(&mut self) {
        let mut noted = false;
        for &Setting { key, least, .. } in &SETTINGS {
            // What an earlier agent found is what was there before.
            if !self.before.contains_key(key)
                && let Ok(now) = self.read(key)
                && now < least
            {
                self.before.insert(key, now);
                noted = true;
            }
        }
        if noted && let Err(error) = self.remember() {
            warn!(
                file = %self.file.display(), %error,
                "kernel settings cannot be put back after a crash"
            );
        }
    }

    /// Puts back what was changed, unless somebody else has changed it since. No VIP is on `lo` any
    /// more by then.
    pub fn restore(self) {
        for &Setting { key, least, .. } in &SETTINGS {
            let Some(before) = self.before.get(key) else {
                continue;
            };
            let change = || -> io::Result<()> {
                if self.read(key)? == least {
                    fs::write(self.kernel.join(key), before.to_string())?;
                }
                Ok(())
            };
            if let Err(error) = change() {
                warn!(setting = key, before, %error, "kernel setting not put back");
            }
        }
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(file = %self.file.display(), %error, "removing what the settings were");
            }
            Ok(()) | Err(_) => {}
        }
    }

    fn read(&self, key: &str) -> io::Result<u32> {
        fs::read_to_string(self.kernel.join(key))?
            .trim()
            .parse()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn remember(&self) -> io::Result<()> {
        let text: String = self
            .before
            .iter()
            .map(|(key, before)| format!("{key} {before}\n"))
            .collect();
        fs::write(&self.file, text)
    }
}

/// What an earlier agent found; lines that are no such thing are left out.
fn remembered(file: &Path) -> BTreeMap<&'static str, u32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (key, before) = line.split_once(' ')?;
            let setting = SETTINGS.iter().find(|setting| setting.key == key)?;
            Some((setting.key, before.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with these settings, and a runtime directory.
    struct Place {
        kernel: tempfile::TempDir,
        runtime: tempfile::TempDir,
    }

    impl Place {
        fn new(announce: u32, ignore: u32) -> Self {
            let place = Self {
                kernel: tempfile::tempdir().unwrap(),
                runtime: tempfile::tempdir().unwrap(),
            };
            place.set(announce, ignore);
            place
        }

        fn set(&self, announce: u32, ignore: u32) {
            for (key, value) in [("arp_announce", announce), ("arp_ignore", ignore)] {
                fs::write(self.kernel.path().join(key), format!("{value}\n")).unwrap();
            }
        }

        fn apply(&self) -> Settings {
            Settings::apply_in(self.kernel.path(), self.runtime.path())
        }

        fn now(&self) -> [String; 2] {
            ["arp_announce", "arp_ignore"].map(|key| {
                let text = fs::read_to_string(self.kernel.path().join(key)).unwrap();
                text.trim().to_owned()
            })
        }

        fn files(&self) -> usize {
            fs::read_dir(self.runtime.path()).unwrap().count()
        }
    }

    #[test]
    fn they_are_put_back() {
        let place = Place::new(1, 0);
        let settings = place.apply();
        assert_eq!(place.now(), ["2", "1"]);
        settings.restore();
        assert_eq!(place.now(), ["1", "0"]);
        assert_eq!(place.files(), 0);
    }

    #[test]
    fn they_are_put_back_after_a_crash_too() {
        let place = Place::new(1, 0);
        drop(place.apply());
        assert_eq!(place.now(), ["2", "1"], "VIPs are still there");
        drop(place.apply());
        place.apply().restore();
        assert_eq!(place.now(), ["1", "0"]);
    }

    #[test]
    fn stricter_ones_are_left_alone() {
        let place = Place::new(2, 8);
        let settings = place.apply();
        assert_eq!(place.now(), ["2", "8"]);
        assert_eq!(place.files(), 0);
        settings.restore();
        assert_eq!(place.now(), ["2", "8"]);
    }

    #[test]
    fn what_somebody_lowered_later_is_put_back_too() {
        let place = Place::new(2, 1);
        let mut settings = place.apply();
        place.set(0, 0);
        settings.enforce();
        assert_eq!(place.now(), ["2", "1"]);
        drop(settings);
        place.apply().restore();
        assert_eq!(place.now(), ["0", "0"], "also after a crash");
        assert_eq!(place.files(), 0);
    }

    #[test]
    fn what_somebody_set_back_is_set_again() {
        let place = Place::new(0, 0);
        let mut settings = place.apply();
        place.set(0, 0);
        settings.enforce();
        assert_eq!(place.now(), ["2", "1"]);
        place.set(2, 2);
        settings.restore();
        assert_eq!(place.now(), ["0", "2"], "what another has chosen stays");
    }
}
