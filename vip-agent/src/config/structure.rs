//! Holds a parsed file against the schema: unknown keys, missing keys, wrong types, bad values.
//!
//! What is wrong is reported and taken out of the tree, so that one mistake hides no other one and
//! the rest can be deserialized.

use std::net::IpAddr;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::diagnostic::{Finding, Findings};
use super::duration::{self, DurationError};

/// Checks the table `path` (empty: the whole file) and removes what is wrong with it.
pub(super) fn check_table(
    path: &str,
    span: &Range<usize>,
    table: &mut DeTable<'_>,
    schema: &Value,
    findings: &mut Findings,
) {
    for required in strings(&schema["required"]) {
        if !table.contains_key(required) {
            findings.push(missing_key(path, required, span.clone(), schema));
        }
    }
    for choice in schema["allOf"].as_array().into_iter().flatten() {
        check_choice(path, span, table, choice, findings);
    }
    for (key, mut value) in std::mem::take(table) {
        match schema["properties"].get(key.get_ref().as_ref()) {
            Some(schema) => {
                if check_value(&join(path, key.get_ref()), &mut value, schema, findings) {
                    table.insert(key, value);
                }
            }
            None => findings.push(unknown_key(path, &key, schema)),
        }
    }
}

/// Checks that exactly one of some keys is there.
fn check_choice(
    path: &str,
    span: &Range<usize>,
    table: &DeTable<'_>,
    choice: &Value,
    findings: &mut Findings,
) {
    let keys: Vec<&str> = choice["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|alternative| strings(&alternative["required"]))
        .collect();
    let names = || {
        keys.iter()
            .map(|key| format!("`{key}`"))
            .collect::<Vec<_>>()
    };
    let present: Vec<Range<usize>> = table
        .iter()
        .filter(|(key, _)| keys.contains(&key.get_ref().as_ref()))
        .map(|(key, _)| key.span())
        .collect();
    match present.as_slice() {
        [_] => {}
        [] => findings.push(
            Finding::error(
                "config::missing_key",
                format!("{} needs {}", place(path), names().join(" or ")),
            )
            .at(span.clone(), "not in this table")
            .help(format!("add one of {}", names().join(", "))),
        ),
        [first, others @ ..] => {
            let message = format!(
                "{} can have only one of {}",
                place(path),
                names().join(" and ")
            );
            let mut finding =
                Finding::error("config::conflicting_keys", message).at(first.clone(), "this");
            for other in others {
                finding = finding.at(other.clone(), "or this");
            }
            findings.push(finding.help("remove one of them"));
        }
    }
}

/// What is wrong with a value.
struct Problem {
    message: String,
    label: String,
    help: Option<String>,
}

/// Checks one value; `false`: it cannot be used.
fn check_value(
    path: &str,
    value: &mut Spanned<DeValue<'_>>,
    schema: &Value,
    findings: &mut Findings,
) -> bool {
    let span = value.span();
    let problem = match (schema["type"].as_str(), value.get_mut()) {
        (Some("object"), DeValue::Table(table)) => {
            check_table(path, &span, table, schema, findings);
            return true;
        }
        (Some("array"), DeValue::Array(array)) => check_array(path, array, schema, findings),
        (Some("boolean"), DeValue::Boolean(_)) => Ok(()),
        (Some("integer"), DeValue::Integer(number)) => check_integer(path, number, schema),
        (_, DeValue::String(text)) if is_text(schema) => check_text(path, text, schema),
        (_, found) => Err(wrong_type(path, found, schema)),
    };
    let Err(Problem {
        message,
        label,
        help,
    }) = problem
    else {
        return true;
    };
    let mut finding = Finding::error("config::bad_value", message).at(span, label);
    finding.help = help;
    findings.push(finding);
    false
}

/// Checks a list: its length, then each element, of which the wrong ones are removed.
fn check_array(
    path: &str,
    array: &mut DeArray<'_>,
    schema: &Value,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let length = array.len();
    let entries = std::mem::replace(array, DeArray::new());
    for (index, mut entry) in entries.into_iter().enumerate() {
        let items = &schema["items"];
        let path = match items["type"].as_str() {
            Some("object") => path.to_owned(),
            _ => format!("{path}[{index}]"),
        };
        if check_value(&path, &mut entry, items, findings) {
            array.push(entry);
        }
    }
    let minimum = schema["minItems"].as_u64().unwrap_or(0);
    let maximum = schema["maxItems"].as_u64().unwrap_or(u64::MAX);
    if u64::try_from(length).is_ok_and(|length| length < minimum) {
        return Err(Problem {
            message: format!("{} is empty", place_of_key(path)),
            label: "nothing in here".into(),
            help: Some(format!(
                "at least {minimum} is needed: {}",
                description(schema)
            )),
        });
    }
    if u64::try_from(length).is_ok_and(|length| length > maximum) {
        return Err(Problem {
            message: format!(
                "{} has {length} entries; at most {maximum} are possible",
                place_of_key(path)
            ),
            label: "too many".into(),
            help: Some(match path {
                "instance" => "all instances of a node share one advert, which must fit in one \
                               datagram: put VIPs that move together into one instance"
                    .to_owned(),
                _ => "remove those that are no longer needed".to_owned(),
            }),
        });
    }
    Ok(())
}

fn check_integer(path: &str, number: &DeInteger<'_>, schema: &Value) -> Result<(), Problem> {
    let minimum = schema["minimum"].as_i64().unwrap_or(i64::MIN);
    let maximum = schema["maximum"].as_i64().unwrap_or(i64::MAX);
    let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
    if value.is_some_and(|value| (minimum..=maximum).contains(&value)) {
        return Ok(());
    }
    Err(Problem {
        message: format!("{} is out of range: {number}", place_of_key(path)),
        label: format!("allowed: {minimum} to {maximum}"),
        help: Some(description(schema)),
    })
}

/// Checks a string: an address, a duration, one of some words, or any text of the right length.
fn check_text(path: &str, text: &str, schema: &Value) -> Result<(), Problem> {
    let words = words(schema);
    match schema["format"].as_str() {
        Some("ip") => check_address(path, text),
        Some("vip-duration") => check_duration(path, text, schema),
        Some("vip-duration-or-never") if text == "never" => Ok(()),
        Some("vip-duration-or-never") => check_duration(path, text, schema),
        _ if !words.is_empty() && !words.contains(&text) => Err(Problem {
            message: format!("{} cannot be {text:?}", place_of_key(path)),
            label: format!("allowed: {}", quoted(&words)),
            help: nearest(text, words.into_iter()).map(|word| format!("did you mean {word:?}?")),
        }),
        _ => check_length(path, text, schema),
    }
}

fn check_length(path: &str, text: &str, schema: &Value) -> Result<(), Problem> {
    let interface = path.ends_with("interface");
    let maximum = schema["maxLength"]
        .as_u64()
        .and_then(|m| usize::try_from(m).ok());
    if text.is_empty() {
        return Err(Problem {
            message: format!("{} is empty", place_of_key(path)),
            label: "nothing in here".into(),
            help: Some(description(schema)),
        });
    }
    // The kernel counts bytes, people count characters: only interface names are the kernel's.
    let length = if interface {
        text.len()
    } else {
        text.chars().count()
    };
    match maximum {
        Some(maximum) if length > maximum => Err(Problem {
            message: format!("{} is too long: {length} characters", place_of_key(path)),
            label: format!("at most {maximum}"),
            help: interface.then(|| {
                "Linux has no interface names longer than 15 bytes; `ip link` shows the names"
                    .into()
            }),
        }),
        _ => Ok(()),
    }
}

fn check_address(path: &str, text: &str) -> Result<(), Problem> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let help = if text
        .split_once('/')
        .is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok())
    {
        "write the address without the prefix length"
    } else if text.contains('%') {
        "an address with a zone (%interface) cannot be used here"
    } else {
        "an address looks like 10.0.0.100 or fd00::100; names are not looked up, because name \
         service may be what fails over"
    };
    Err(Problem {
        message: format!("{} is not an IP address: {text:?}", place_of_key(path)),
        label: "not an address".into(),
        help: Some(help.into()),
    })
}

fn check_duration(path: &str, text: &str, schema: &Value) -> Result<(), Problem> {
    let bound = |name: &str| {
        schema[name]
            .as_str()
            .and_then(|text| duration::parse(text).ok())
    };
    let parsed = duration::parse(text).map_err(|error| bad_duration(path, text, error))?;
    let (minimum, maximum) = (bound("x-minimum"), bound("x-maximum"));
    if minimum.is_some_and(|m| parsed < m) || maximum.is_some_and(|m| parsed > m) {
        let text_of = |name: &str| schema[name].as_str().unwrap_or_default().to_owned();
        return Err(Problem {
            message: format!("{} is out of range: {text}", place_of_key(path)),
            label: format!(
                "allowed: {} to {}",
                text_of("x-minimum"),
                text_of("x-maximum")
            ),
            help: Some(description(schema)),
        });
    }
    Ok(())
}

fn bad_duration(path: &str, text: &str, error: DurationError) -> Problem {
    let help = match error {
        DurationError::NoUnit => format!("for example \"{text}ms\" or \"{text}s\""),
        DurationError::UnknownUnit | DurationError::NoNumber | DurationError::Unrepresentable => {
            "for example \"250us\", \"10ms\", \"1.5s\" or \"2min\"".into()
        }
    };
    Problem {
        message: format!("{} is not a duration: {error}", place_of_key(path)),
        label: "not a duration".into(),
        help: Some(help),
    }
}

fn wrong_type(path: &str, found: &DeValue<'_>, schema: &Value) -> Problem {
    let duration = schema["format"]
        .as_str()
        .is_some_and(|format| format.starts_with("vip-dur"));
    if let (true, DeValue::Integer(number)) = (duration, found) {
        return bad_duration(path, number.as_str(), DurationError::NoUnit);
    }
    let expected = match schema["type"].as_str() {
        Some("object") => "a table",
        Some("array") if schema["items"]["type"] == "object" => "an array of tables ([[…]])",
        Some("array") => "a list ([\"…\", \"…\"])",
        Some("boolean") => "true or false",
        Some("integer") => "a whole number",
        _ if duration => "a duration in quotes, like \"100ms\"",
        _ => "text in quotes",
    };
    Problem {
        message: format!("{} must be {expected}", place_of_key(path)),
        label: format!("this is {}", kind(found)),
        help: Some(description(schema)),
    }
}

/// What a value is, in words.
const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn missing_key(path: &str, key: &str, span: Range<usize>, schema: &Value) -> Finding {
    let property = &schema["properties"][key];
    let what = match (
        property["type"].as_str(),
        property["items"]["type"].as_str(),
    ) {
        (Some("object"), _) => format!("table [{}]", join(path, key)),
        (_, Some("object")) => format!("table [[{}]]", join(path, key)),
        _ => format!("key `{key}`"),
    };
    let finding = Finding::error(
        "config::missing_key",
        format!("{} lacks the {what}", place(path)),
    )
    .help(format!("it says: {}", description(property)));
    if path.is_empty() {
        finding
    } else {
        finding.at(span, format!("no `{key}` here"))
    }
}

fn unknown_key(path: &str, key: &Spanned<std::borrow::Cow<'_, str>>, schema: &Value) -> Finding {
    let valid: Vec<&str> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, _)| k.as_str())
        .collect();
    let name = key.get_ref().as_ref();
    let help = nearest(name, valid.iter().copied()).map_or_else(
        || format!("keys that can be here: {}", valid.join(", ")),
        |nearest| format!("did you mean `{nearest}`?"),
    );
    Finding::error(
        "config::unknown_key",
        format!("{} has no key `{name}`", place(path)),
    )
    .at(key.span(), "unknown key")
    .help(help)
}

/// The candidate that was probably meant.
fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    // One slip per three letters, and a prefix typed in full, are typing errors; more is a guess.
    let tolerance = (word.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= tolerance || (word.len() >= 4 && candidate.starts_with(word))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Whether values of this schema are strings.
fn is_text(schema: &Value) -> bool {
    schema["type"] == "string" || !words(schema).is_empty()
}

/// The words a value can be; empty: any.
fn words(schema: &Value) -> Vec<&str> {
    let constants = schema["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["const"]);
    let values = schema["enum"].as_array().into_iter().flatten();
    constants.chain(values).filter_map(Value::as_str).collect()
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("{word:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn description(schema: &Value) -> String {
    let text = schema["description"]
        .as_str()
        .unwrap_or("see the documentation");
    text.replace('\n', " ")
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A table, as a reader of the file knows it.
fn place(path: &str) -> String {
    match path {
        "" => "the file".into(),
        "instance" | "instance.backend" => format!("[[{path}]]"),
        _ => format!("[{path}]"),
    }
}

/// A key, as a reader of the file knows it.
fn place_of_key(path: &str) -> String {
    format!("`{path}`")
}
