//! Every code that a gate may give, with its explanation: for `cooper check --why CODE`.

use crate::age::AgeCode;
use crate::artefact::ProvenanceCode;
use crate::integrity::IntegrityCode;
use crate::licences::LicenceCode;
use crate::names::NameCode;
use crate::vulnerabilities::VulnerabilityCode;
use crate::{denied, unmaintained};

/// A code and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explained {
    /// The stable code.
    pub code: &'static str,
    /// What it means, why it matters, what to do.
    pub explanation: &'static str,
    /// Whether a waiver may lift it.
    pub waivable: bool,
}

/// Every code.
pub fn all() -> Vec<Explained> {
    let explained = |code, explanation, waivable| Explained {
        code,
        explanation,
        waivable,
    };
    let integrity =
        IntegrityCode::ALL.map(|code| explained(code.as_str(), code.explain(), code.is_waivable()));
    let age = AgeCode::ALL.map(|code| explained(code.as_str(), code.explain(), true));
    let names = NameCode::ALL.map(|code| explained(code.as_str(), code.explain(), code != NameCode::Invalid));
    let licences = LicenceCode::ALL.map(|code| explained(code.as_str(), code.explain(), true));
    let provenance = ProvenanceCode::ALL.map(|code| explained(code.as_str(), code.explain(), true));
    let single = [
        explained("PACKAGE-DENIED", denied::EXPLAIN_DENIED, false),
        explained(
            "PROVENANCE-UNMAINTAINED",
            unmaintained::EXPLAIN_UNMAINTAINED,
            true,
        ),
    ];
    let vulnerabilities =
        VulnerabilityCode::ALL.map(|code| explained(code.as_str(), code.explain(), code.is_waivable()));
    integrity
        .into_iter()
        .chain(vulnerabilities)
        .chain(age)
        .chain(names)
        .chain(licences)
        .chain(provenance)
        .chain(single)
        .collect()
}

/// What a code means, in upper or lower case.
pub fn explain(code: &str) -> Option<Explained> {
    all()
        .into_iter()
        .find(|known| known.code.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_explained() {
        let all = all();
        let distinct: BTreeSet<&str> = all.iter().map(|one| one.code).collect();
        assert_eq!(distinct.len(), all.len());
        for one in &all {
            let plain = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
            assert!(one.code.bytes().all(plain), "{}", one.code);
            assert!(
                one.explanation.len() > 60 && one.explanation.ends_with('.'),
                "{}",
                one.code
            );
        }
        assert_eq!(explain("age-young").map(|one| one.code), Some("AGE-YOUNG"));
        assert_eq!(explain("X"), None);
    }
}
