//! Key files: one line, `HEX` or `ID:HEX`, readable by their owner alone.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::{Zeroize, Zeroizing};

use super::Key;

/// Fewest bytes of a secret: the output size of SHA-256, below which HMAC is weaker than it could be
/// (RFC 2104 §3).
pub const MIN_SECRET: usize = 32;
/// Most bytes of a key file: far more than any key, far less than what a mistaken path may name.
const MAX_FILE: u64 = 4096;
/// Identifier of a key whose file names none.
pub const DEFAULT_ID: u8 = 1;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such file.
    #[error("the key file {0} does not exist")]
    Missing(String),
    /// It cannot be opened or read.
    #[error("the key file {0} cannot be read: {1}")]
    Unreadable(String, std::io::Error),
    /// A directory, device, socket …
    #[error("the key file {0} is not a regular file")]
    NotRegular(String),
    /// Others can read or write it.
    #[error("the key file {0} can be accessed by its group or by others (mode {1:04o})")]
    Exposed(String, u32),
    /// It belongs to somebody who may change it.
    #[error("the key file {0} belongs to user {1}, neither root nor the user running this")]
    Owner(String, u32),
    /// Its text is no key.
    #[error("the key file {0} does not hold a key: {1}")]
    Malformed(String, FormatError),
}

impl KeyError {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Missing(path) => {
                format!("make one with `vip-agent keygen {path}` and copy it to the other nodes")
            }
            Self::Unreadable(..) => {
                "the agent must run as the owner of the file, or as root".into()
            }
            Self::NotRegular(_) => "name the file that holds the key".into(),
            Self::Exposed(path, _) => format!(
                "`chmod 600 {path}`; whoever could read it can take over the VIPs, so consider a \
                 new key"
            ),
            Self::Owner(path, _) => format!("`chown root {path}`"),
            Self::Malformed(..) => format!(
                "one line of at least {} hexadecimal digits, optionally after an identifier and a \
                 colon (`2:0f1e…`); `vip-agent keygen` makes one",
                MIN_SECRET * 2
            ),
        }
    }
}

/// Why a text is not a key. Never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Only comments or nothing.
    #[error("it is empty")]
    Empty,
    /// More than one line that is no comment.
    #[error("it has more than one line that is not a comment")]
    ManyLines,
    /// What stands before the colon is no identifier.
    #[error("the identifier before the colon is not a number from 1 to 255")]
    Identifier,
    /// Something else than hexadecimal digits.
    #[error("the secret has characters that are not hexadecimal digits")]
    NotHex,
    /// Half a byte.
    #[error("the secret has an odd number of hexadecimal digits")]
    OddLength,
    /// Too easy to guess.
    #[error("the secret has {0} bytes; at least {MIN_SECRET} are needed")]
    Short(usize),
    /// No text.
    #[error("it is too long or not text")]
    NotText,
}

/// Reads a key file, and refuses one whose secret others may know.
///
/// # Errors
/// If the file is missing, exposed, somebody else's, or does not hold a key.
pub fn read(path: &Path) -> Result<Key, KeyError> {
    let shown = path.display().to_string();
    // Without O_NONBLOCK, opening a FIFO would wait for a writer. All checks are on the open file,
    // so that it cannot be exchanged in between.
    let mut file = std::fs::File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                KeyError::Missing(shown.clone())
            } else {
                KeyError::Unreadable(shown.clone(), error)
            }
        })?;
    let metadata = file
        .metadata()
        .map_err(|error| KeyError::Unreadable(shown.clone(), error))?;
    if !metadata.is_file() {
        return Err(KeyError::NotRegular(shown));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(KeyError::Exposed(shown, metadata.mode() & 0o7777));
    }
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != us {
        return Err(KeyError::Owner(shown, metadata.uid()));
    }
    if metadata.len() > MAX_FILE {
        return Err(KeyError::Malformed(shown, FormatError::NotText));
    }
    // Allocated once in full: growing would leave copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(8192));
    file.by_ref()
        .take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(|error| KeyError::Unreadable(shown.clone(), error))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_utf8| KeyError::Malformed(shown.clone(), FormatError::NotText))?;
    parse(text).map_err(|error| KeyError::Malformed(shown, error))
}

/// Reads the text of a key file.
///
/// # Errors
/// If it is not one line `HEX` or `ID:HEX` with at least [`MIN_SECRET`] bytes, apart from empty
/// lines and comments.
pub fn parse(text: &str) -> Result<Key, FormatError> {
    let mut lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or("").trim())
        .filter(|l| !l.is_empty());
    let line = lines.next().ok_or(FormatError::Empty)?;
    if lines.next().is_some() {
        return Err(FormatError::ManyLines);
    }
    let (id, digits) = match line.split_once(':') {
        None => (DEFAULT_ID, line),
        Some((id, digits)) => match id.trim().parse::<u8>() {
            Ok(id @ 1..) => (id, digits.trim()),
            Ok(0) | Err(_) => return Err(FormatError::Identifier),
        },
    };
    let mut secret = decode(digits)?;
    if secret.len() < MIN_SECRET {
        let length = secret.len();
        secret.zeroize();
        return Err(FormatError::Short(length));
    }
    Ok(Key { id, secret })
}

fn decode(digits: &str) -> Result<Vec<u8>, FormatError> {
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(FormatError::NotHex);
    }
    if !digits.len().is_multiple_of(2) {
        return Err(FormatError::OddLength);
    }
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    for at in (0..digits.len()).step_by(2) {
        let pair = digits.get(at..at + 2).ok_or(FormatError::OddLength)?;
        bytes.push(u8::from_str_radix(pair, 16).map_err(|_digit| FormatError::NotHex)?);
    }
    Ok(bytes)
}

/// Makes the text of a new key file.
///
/// # Errors
/// If the system has no randomness to give.
pub fn generate(id: u8) -> Result<Zeroizing<String>, getrandom::Error> {
    let mut secret = Zeroizing::new([0_u8; MIN_SECRET]);
    getrandom::fill(secret.as_mut_slice())?;
    let comment =
        "# Key of a vip-agent cluster: the same on all its nodes, secret to all others.\n";
    let mut text = Zeroizing::new(String::with_capacity(comment.len() + 2 * MIN_SECRET + 8));
    text.push_str(comment);
    text.push_str(&id.to_string());
    text.push(':');
    for byte in secret.iter() {
        for nibble in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn hex_alone_and_with_an_identifier() {
        let plain = parse(&format!("# comment\n\n{HEX} # more\n")).unwrap();
        assert_eq!(
            (plain.id, plain.secret.len(), plain.secret[31]),
            (1, 32, 31)
        );
        let named = parse(&format!("7: {}", HEX.to_uppercase())).unwrap();
        assert_eq!((named.id, &named.secret), (7, &plain.secret));
    }

    #[test]
    fn what_is_no_key() {
        let failure = |text: &str| parse(text).unwrap_err();
        assert_eq!(failure("# nothing\n"), FormatError::Empty);
        assert_eq!(failure(&format!("{HEX}\n{HEX}")), FormatError::ManyLines);
        assert_eq!(failure(&format!("0:{HEX}")), FormatError::Identifier);
        assert_eq!(failure(&format!("256:{HEX}")), FormatError::Identifier);
        assert_eq!(failure(&HEX.replace('a', "g")), FormatError::NotHex);
        assert_eq!(failure(&HEX[1..]), FormatError::OddLength);
        assert_eq!(failure(&HEX[2..]), FormatError::Short(31));
    }

    #[test]
    fn generated_keys_differ_and_can_be_read() {
        let (first, second) = (generate(1).unwrap(), generate(9).unwrap());
        let (first, second) = (parse(&first).unwrap(), parse(&second).unwrap());
        assert_eq!((first.id, second.id), (1, 9));
        assert_ne!(first.secret, second.secret);
        assert!(!format!("{first:?}").contains("secret: ["));
    }
}
