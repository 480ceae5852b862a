//! Durations as people write them: a number and a unit, `250us`, `10ms`, `1.5s`, `2min`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};

/// The units with their length in nanoseconds.
const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number alone.
    #[error("a duration needs a unit: ns, us, ms, s, min or h")]
    NoUnit,
    /// Something behind the number that is no unit.
    #[error("the unit of a duration is ns, us, ms, s, min or h")]
    UnknownUnit,
    /// No number in front of the unit.
    #[error("a duration is a number and a unit, like \"100ms\" or \"1.5s\"")]
    NoNumber,
    /// A part of a nanosecond, or more than 584 years.
    #[error("the duration cannot be represented in nanoseconds")]
    Unrepresentable,
}

/// Reads a duration: decimal digits, optionally a point and more digits, then a unit.
///
/// # Errors
/// If the number or the unit is missing or unknown, or it is no whole number of nanoseconds.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(DurationError::NoNumber),
        None => (number, ""),
    };
    if whole.is_empty() || fraction.contains('.') {
        return Err(DurationError::NoNumber);
    }
    let unit = match unit.trim_start() {
        "" => return Err(DurationError::NoUnit),
        // Both code points in use for the micro sign.
        "µs" | "μs" => "us",
        other => other,
    };
    let (_, nanoseconds) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(DurationError::UnknownUnit)?;
    let total = scaled(whole, fraction, *nanoseconds).ok_or(DurationError::Unrepresentable)?;
    Ok(Duration::from_nanos(total))
}

/// `whole.fraction` times `unit`, exactly; `None` if that is not a `u64`.
fn scaled(whole: &str, fraction: &str, unit: u64) -> Option<u64> {
    let fraction = fraction.trim_end_matches('0');
    let denominator = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits = format!("{whole}{fraction}").parse::<u128>().ok()?;
    let scaled = digits.checked_mul(u128::from(unit))?;
    if scaled.checked_rem(denominator)? != 0 {
        return None;
    }
    u64::try_from(scaled.checked_div(denominator)?).ok()
}

/// Shows a duration in the largest unit below it, with at most three decimals: `100ms`, `1.5s`.
#[derive(Debug, Clone, Copy)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        if nanoseconds == 0 {
            return f.write_str("0s");
        }
        let (name, length) = match nanoseconds {
            n if n >= 120_000_000_000 && n % 60_000_000_000 == 0 => ("min", 60_000_000_000),
            n if n >= 1_000_000_000 => ("s", 1_000_000_000),
            n if n >= 1_000_000 => ("ms", 1_000_000),
            n if n >= 1_000 => ("us", 1_000),
            _ => ("ns", 1),
        };
        let thousandths = (nanoseconds * 1000 + length / 2) / length;
        let (whole, rest) = (thousandths / 1000, thousandths % 1000);
        if rest == 0 {
            return write!(f, "{whole}{name}");
        }
        let decimals = format!("{rest:03}");
        write!(f, "{whole}.{}{name}", decimals.trim_end_matches('0'))
    }
}

/// A duration in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text(pub(super) Duration);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        parse(&text).map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "vip-duration",
            "pattern": r"^[0-9]+(\.[0-9]+)? *(ns|us|µs|μs|ms|s|min|h)$",
        })
    }
}

/// A duration in the file, or the word `never`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextOrNever(pub(super) Option<Duration>);

impl<'de> Deserialize<'de> for TextOrNever {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        if text == "never" {
            return Ok(Self(None));
        }
        parse(&text)
            .map(|duration| Self(Some(duration)))
            .map_err(D::Error::custom)
    }
}

impl JsonSchema for TextOrNever {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DurationOrNever".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "vip-duration-or-never",
            "pattern": r"^([0-9]+(\.[0-9]+)? *(ns|us|µs|μs|ms|s|min|h)|never)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_and_exact_decimals() {
        for (text, nanoseconds) in [
            ("7ns", 7),
            ("250us", 250_000),
            ("250µs", 250_000),
            ("10 ms", 10_000_000),
            ("1.5s", 1_500_000_000),
            ("40.950s", 40_950_000_000),
            ("2min", 120_000_000_000),
            ("1h", 3_600_000_000_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("100", DurationError::NoUnit),
            ("100 sec", DurationError::UnknownUnit),
            ("-1s", DurationError::NoNumber),
            ("s", DurationError::NoNumber),
            ("1.s", DurationError::NoNumber),
            ("1.2.3s", DurationError::NoNumber),
            ("", DurationError::NoNumber),
            ("0.5ns", DurationError::Unrepresentable),
            ("99999999999999999999h", DurationError::Unrepresentable),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn shown_as_people_write_it() {
        for text in [
            "7ns", "250us", "12.5ms", "100ms", "1.5s", "60s", "2min", "40.95s", "0s",
        ] {
            assert_eq!(Human(parse(text).unwrap()).to_string(), text);
        }
        assert_eq!(
            Human(Duration::from_nanos(60_937_500)).to_string(),
            "60.938ms"
        );
    }
}
