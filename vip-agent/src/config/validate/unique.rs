//! Names and numbers that may occur only once.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;

use crate::config::diagnostic::{Finding, Findings};
use crate::config::field::Field;
use crate::config::raw;

/// Checks names and identifiers of all instances, and names and addresses of the backends of each.
pub(super) fn check(instances: &[&raw::Instance], findings: &mut Findings) {
    distinct(
        "instance name",
        "commands name an instance by it: give each its own",
        instances.iter().map(|instance| &instance.name),
        findings,
    );
    distinct(
        "vrid",
        "adverts name an instance by it: give each its own, the same on all nodes",
        instances.iter().map(|instance| &instance.vrid),
        findings,
    );
    for instance in instances {
        let backends = || {
            instance
                .backend
                .get()
                .into_iter()
                .flatten()
                .filter_map(Field::get)
        };
        distinct(
            "backend name",
            "`status` names a backend by it: give each its own",
            backends().map(|backend| &backend.name),
            findings,
        );
        distinct(
            "backend address",
            "a second entry for one host adds nothing: remove one of the two",
            backends().map(|backend| &backend.address),
            findings,
        );
    }
}

fn distinct<'f, T: Display + Ord + 'f>(
    what: &str,
    help: &str,
    fields: impl Iterator<Item = &'f Field<T>>,
    findings: &mut Findings,
) {
    let mut seen: BTreeMap<&T, Range<usize>> = BTreeMap::new();
    for field in fields {
        let Some(value) = field.get() else { continue };
        if let Some(first) = seen.get(value) {
            findings.push(
                Finding::error(
                    "config::duplicate",
                    format!("{what} {value} is given twice"),
                )
                .at(field.span(), "again")
                .at(first.clone(), "first here")
                .help(help),
            );
        } else {
            seen.insert(value, field.span());
        }
    }
}
