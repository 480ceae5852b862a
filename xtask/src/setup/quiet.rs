//! Packages are wanted for their programs: no service of theirs is to run on this machine.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace::say;

/// What Debian's maintainer scripts ask before they start a service (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Says no (exit code 101), and whose it is, should we be killed before we remove it.
const REFUSAL: &str =
    "#!/bin/sh\n# Made by `cargo xtask setup` while it installs packages.\nexit 101\n";

/// While it lives, packages that are installed start no services, unless the machine has rules of its
/// own about that.
pub(super) struct NoServices {
    /// Ours, to be removed.
    file: Option<PathBuf>,
}

impl NoServices {
    /// Forbids services to start.
    pub(super) fn for_now() -> Result<Self> {
        Self::by(Path::new(POLICY))
    }

    fn by(file: &Path) -> Result<Self> {
        let ours = match File::create_new(file) {
            Ok(mut policy) => {
                policy
                    .write_all(REFUSAL.as_bytes())
                    .and_then(|()| policy.set_permissions(Permissions::from_mode(0o755)))
                    .with_context(|| format!("writing {}", file.display()))?;
                true
            }
            // The machine's own rules hold; but one that was left behind by us is to go.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::read_to_string(file).is_ok_and(|text| text == REFUSAL)
            }
            Err(error) => {
                return Err(error).with_context(|| format!("creating {}", file.display()));
            }
        };
        Ok(Self {
            file: ours.then(|| file.to_owned()),
        })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(file) = &self.file
            && let Err(error) = fs::remove_file(file)
            && error.kind() != ErrorKind::NotFound
        {
            say(format!("remove {} by hand: {error}", file.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of this test alone.
    fn place(name: &str) -> PathBuf {
        let file = std::env::temp_dir().join(format!("vip-xtask-{}-{name}", std::process::id()));
        fs::remove_file(&file).ok();
        file
    }

    #[test]
    fn services_are_refused_until_it_is_over() {
        let file = place("refused");
        let quiet = NoServices::by(&file).unwrap();
        let mut asked = std::process::Command::new("sh");
        let status = asked.arg(&file).status().unwrap();
        assert_eq!(status.code(), Some(101));
        drop(quiet);
        assert!(!file.exists());
    }

    #[test]
    fn the_machines_own_rules_stay() {
        let file = place("own");
        fs::write(&file, "#!/bin/sh\nexit 0\n").unwrap();
        drop(NoServices::by(&file).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "#!/bin/sh\nexit 0\n");
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn what_a_killed_setup_left_behind_goes() {
        let file = place("left");
        fs::write(&file, REFUSAL).unwrap();
        drop(NoServices::by(&file).unwrap());
        assert!(!file.exists());
    }
}
