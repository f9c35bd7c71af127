//! The values of a policy's keys: read as what they name, so that a slip of the pen is an error and not a rule without effect.

use std::collections::BTreeSet;

use cooper_core::{DebianName, PythonName};

use super::ParsePolicyError;
use super::rules::Said;
use crate::licences::LicenceExpression;

/// Everything that is accepted without a policy, in a list of what is denied.
const EVERYTHING: &str = "*";

/// The same with every name and licence as the gates write it.
pub(super) fn read(mut said: Said) -> Result<Said, ParsePolicyError> {
    let python = "a name of a Python distribution";
    let package = "`python:NAME` or `debian:NAME`";
    let licence = "a licence of the SPDX list (`MIT`, `CC-BY-NC-*`) or a `LicenseRef-…`";
    each(&mut said.names.allow, "names.allow", python, python_name)?;
    each(&mut said.age.exempt, "age.exempt", python, python_name)?;
    each(&mut said.packages.deny, "packages.deny", package, package_name)?;
    let licences = &mut said.licences;
    each(
        &mut licences.python_allow,
        "licences.python_allow",
        licence,
        licence_id,
    )?;
    each(
        &mut licences.debian_allow,
        "licences.debian_allow",
        licence,
        licence_id,
    )?;
    let deny = "`*`, a licence of the SPDX list (`MIT`, `CC-BY-NC-*`) or a `LicenseRef-…`";
    each(&mut licences.python_deny, "licences.python_deny", deny, denied_id)?;
    each(&mut licences.debian_deny, "licences.debian_deny", deny, denied_id)?;
    match said.vulnerabilities.epss_hold_from {
        Some(from) if !(0.0..=1.0).contains(&from) => Err(ParsePolicyError::Value {
            key: "vulnerabilities.epss_hold_from",
            value: from.to_string(),
            wanted: "a probability, from 0 to 1",
        }),
        _ => Ok(said),
    }
}

/// Read every entry of a list that is said.
fn each(
    list: &mut Option<BTreeSet<String>>,
    key: &'static str,
    wanted: &'static str,
    read: fn(&str) -> Option<String>,
) -> Result<(), ParsePolicyError> {
    let Some(entries) = list else { return Ok(()) };
    let read = entries.iter().map(|entry| {
        read(entry.trim()).ok_or_else(|| ParsePolicyError::Value {
            key,
            value: entry.chars().take(80).collect(),
            wanted,
        })
    });
    *entries = read.collect::<Result<_, _>>()?;
    Ok(())
}

fn python_name(text: &str) -> Option<String> {
    Some(text.parse::<PythonName>().ok()?.to_string())
}

fn package_name(text: &str) -> Option<String> {
    match text.split_once(':')? {
        ("python", name) => Some(format!("python:{}", python_name(name)?)),
        ("debian", name) => Some(format!("debian:{}", name.parse::<DebianName>().ok()?)),
        _ => None,
    }
}

/// The identifier of one licence, as expressions are read: `mit` is `MIT`, `GPL-3.0` is `GPL-3.0-only`.
fn licence_id(text: &str) -> Option<String> {
    if let Some(prefix) = text.strip_suffix("-*") {
        let begins = |id: &&str| id.starts_with(prefix);
        let mut listed = spdx::identifiers::LICENSES.iter().map(|licence| licence.name);
        return (prefix.starts_with("LicenseRef-") || listed.any(|id| begins(&id))).then(|| text.to_owned());
    }
    let expression = LicenceExpression::parse(text).ok()?;
    match expression.terms().as_slice() {
        [only] if only.exception.is_none() => {
            let is_known = only.id.starts_with("LicenseRef-") || spdx::license_id(&only.id).is_some();
            is_known.then(|| only.id.clone())
        }
        _ => None,
    }
}

fn denied_id(text: &str) -> Option<String> {
    if text == EVERYTHING {
        return Some(text.to_owned());
    }
    licence_id(text)
}

#[cfg(test)]
mod tests {
    use crate::Policy;

    #[test]
    fn entries_are_read_as_what_they_name() {
        let policy: Policy = "[packages]\ndeny = ['python:Jinja_2', 'debian:python3.13']\n[names]\nallow = ['Foo.Bar']\n\
            [licences]\npython_deny = ['*', 'mit', 'CC-BY-NC-*']\npython_allow = ['GPL-3.0', 'LicenseRef-Acme']\n"
            .parse()
            .unwrap();
        let rules = policy.rules(None, None).unwrap().rules;
        let list =
            |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(list(&rules.packages.deny), "debian:python3.13 python:jinja-2");
        assert_eq!(list(&rules.names.allow), "foo-bar");
        assert_eq!(list(&rules.licences.python_deny), "* CC-BY-NC-* MIT");
        assert_eq!(list(&rules.licences.python_allow), "GPL-3.0-only LicenseRef-Acme");
    }

    #[test]
    fn what_could_have_no_effect_is_an_error() {
        for (text, told) in [
            (
                "[packages]\ndeny = ['jinja2']",
                "`jinja2` in `packages.deny` is not `python:NAME`",
            ),
            ("[packages]\ndeny = ['pypi:jinja2']", "packages.deny"),
            ("[packages]\ndeny = ['debian:Wget']", "packages.deny"),
            ("[names]\nallow = ['x y']", "names.allow"),
            ("[age]\nexempt = ['']", "age.exempt"),
            (
                "[licences]\npython_allow = ['MIT OR ISC']",
                "licences.python_allow",
            ),
            ("[licences]\npython_allow = ['*']", "licences.python_allow"),
            ("[licences]\npython_deny = ['mitt']", "licences.python_deny"),
            ("[licences]\ndebian_deny = ['NOSUCH-*']", "licences.debian_deny"),
            ("[vulnerabilities]\nepss_hold_from = 5", "epss_hold_from"),
            ("[vulnerabilities]\nepss_hold_from = -1", "epss_hold_from"),
            ("[vulnerabilities]\nepss_hold_from = nan", "epss_hold_from"),
            ("[profiles.production.packages]\ndeny = ['x']", "packages.deny"),
            ("[images.a.packages]\ndeny = ['x']", "packages.deny"),
        ] {
            let error = text.parse::<Policy>().unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
