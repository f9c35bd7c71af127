//! Which licences are accepted: rules, and the judgement of one answer.

use serde::{Deserialize, Serialize};

use super::answer::{LicenceAnswer, Sureness};
use super::expression::{LicenceExpression, LicenceTerm, Node};
use super::python::shares_a_licence;

/// Which licences a set of packages may have. Plain data: `policy.toml` fills it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LicenceRules {
    /// SPDX identifiers that pass. One that allows a version allows `+` and `-or-later` of an earlier one too, since the
    /// later version may be chosen.
    pub allowed: Vec<String>,
    /// SPDX identifiers that pass with a note ([`LicenceCode::CopyleftFile`], [`LicenceCode::CopyleftOs`]).
    pub noted: Vec<String>,
    /// SPDX identifiers that never pass, not even where [`Self::listed_passes`] is set. `PREFIX-*` stands for all that begin so.
    pub denied: Vec<String>,
    /// `LICENCE WITH EXCEPTION` that passes although the licence alone would not.
    pub exceptions: Vec<String>,
    /// Every other licence of the SPDX list passes: copyleft ones with a note.
    pub listed_passes: bool,
    /// What is unknown, missing, unsure or contradictory is noted instead of held.
    pub records_only: bool,
    /// The least sureness that is enough.
    pub sureness_least: Sureness,
}

/// Permissive, and compatible with MIT: libraries are imported into the caller's program, so their terms become its own.
const PYTHON_ALLOWED: [&str; 52] = [
    "0BSD",
    "AFL-2.0",
    "AFL-2.1",
    "AFL-3.0",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-2.0",
    "BlueOak-1.0.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-2-Clause-Patent",
    "BSD-2-Clause-Views",
    "BSD-3-Clause",
    "BSD-3-Clause-Clear",
    "BSD-2-Clause-Darwin",
    "BSD-2-Clause-pkgconf-disclaimer",
    "BSD-3-Clause-flex",
    "BSD-3-Clause-HP",
    "BSD-3-Clause-Open-MPI",
    "BSD-3-Clause-LBNL",
    "BSD-3-Clause-Modification",
    "BSD-4-Clause-UC",
    "BSD-Source-Code",
    "BSL-1.0",
    "bzip2-1.0.6",
    "CC-BY-4.0",
    "CC0-1.0",
    "CNRI-Python",
    "curl",
    "FTL",
    "HPND",
    "HPND-sell-variant",
    "ICU",
    "IJG",
    "ISC",
    "Libpng",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MIT-Modern-Variant",
    "NCSA",
    "OFL-1.1",
    "PostgreSQL",
    "PSF-2.0",
    "Python-2.0",
    "TCL",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "UPL-1.0",
    "X11",
    "Zlib",
];
/// The same, by other hands.
const PYTHON_ALLOWED_RARE: [&str; 13] = [
    "blessing",
    "CECILL-B",
    "FSFAP",
    "FSFUL",
    "FSFULLR",
    "JasPer-2.0",
    "libtiff",
    "LicenseRef-Public-Domain",
    "NTP",
    "Python-2.0.1",
    "W3C",
    "WTFPL",
    "ZPL-2.1",
];
/// Copyleft that ends at the file: a library that is used unchanged asks nothing of its user, and `certifi` is in nearly
/// every plan.
const PYTHON_NOTED: [&str; 1] = ["MPL-2.0"];
/// Terms that no use in a service or a firm may be presumed to meet.
const DENIED: [&str; 12] = [
    "BUSL-1.1",
    "CC-BY-NC-*",
    "CC-BY-ND-*",
    "Elastic-2.0",
    "JSON",
    "PolyForm-*",
    "Parity-*",
    "Prosperity-*",
    "SSPL-1.0",
    "LicenseRef-Commons-Clause",
    "LicenseRef-Non-Commercial",
    "Aladdin",
];

fn owned(lists: &[&[&str]]) -> Vec<String> {
    lists.concat().into_iter().map(str::to_owned).collect()
}

impl LicenceRules {
    /// For Python libraries: permissive ones; what is unknown or missing holds.
    pub fn python() -> Self {
        Self {
            allowed: owned(&[&PYTHON_ALLOWED, &PYTHON_ALLOWED_RARE]),
            noted: owned(&[&PYTHON_NOTED]),
            denied: owned(&[&DENIED]),
            exceptions: owned(&[&[
                "GPL-3.0-or-later WITH GCC-exception-3.1",
                "GPL-2.0-or-later WITH Bootloader-exception",
            ]]),
            listed_passes: false,
            records_only: false,
            sureness_least: Sureness::High,
        }
    }

    /// For packages of the operating system: programs that are run, in an archive whose guidelines ask for free licences.
    /// Every known licence that is not denied passes; copyleft ones, and what is not surely known, are recorded.
    pub fn os() -> Self {
        Self {
            allowed: owned(&[&["LicenseRef-Public-Domain"]]),
            noted: Vec::new(),
            denied: owned(&[&DENIED]),
            exceptions: Vec::new(),
            listed_passes: true,
            records_only: true,
            sureness_least: Sureness::High,
        }
    }
}

/// The rules for Python libraries, which are the stricter ones.
impl Default for LicenceRules {
    fn default() -> Self {
        Self::python()
    }
}

/// A finding of this gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LicenceCode {
    /// The licence is known and not accepted.
    #[serde(rename = "LICENCE-DENIED")]
    Denied,
    /// Something is said, and it is no licence that is known.
    #[serde(rename = "LICENCE-UNKNOWN")]
    Unknown,
    /// Nothing is said.
    #[serde(rename = "LICENCE-MISSING")]
    Missing,
    /// A licence was concluded, and not surely enough.
    #[serde(rename = "LICENCE-UNSURE")]
    Unsure,
    /// Two sources name different licences, of which one is not accepted.
    #[serde(rename = "LICENCE-CONTRADICTION")]
    Contradiction,
    /// Copyleft of single files.
    #[serde(rename = "LICENCE-COPYLEFT-FILE")]
    CopyleftFile,
    /// A library carries parts whose licences would not pass by themselves.
    #[serde(rename = "LICENCE-BUNDLED")]
    Bundled,
    /// Copyleft of a program of the operating system.
    #[serde(rename = "LICENCE-COPYLEFT-OS")]
    CopyleftOs,
}

impl LicenceCode {
    /// Every code.
    pub const ALL: [Self; 8] = [
        Self::Denied,
        Self::Unknown,
        Self::Missing,
        Self::Unsure,
        Self::Contradiction,
        Self::CopyleftFile,
        Self::Bundled,
        Self::CopyleftOs,
    ];

    /// The stable string.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "LICENCE-DENIED",
            Self::Unknown => "LICENCE-UNKNOWN",
            Self::Missing => "LICENCE-MISSING",
            Self::Unsure => "LICENCE-UNSURE",
            Self::Contradiction => "LICENCE-CONTRADICTION",
            Self::CopyleftFile => "LICENCE-COPYLEFT-FILE",
            Self::Bundled => "LICENCE-BUNDLED",
            Self::CopyleftOs => "LICENCE-COPYLEFT-OS",
        }
    }

    /// What it means and what helps.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::Denied => {
                "The package's licence is known, and the policy does not accept it. Of licences joined by OR one must be \
                 accepted, of those joined by AND every one. Choose another package, add the licence to the policy's list, \
                 or waive the finding for this version."
            }
            Self::Unknown => {
                "The package says something about its licence, and it is no licence that can be named: a vague word such as \
                 `BSD` or `proprietary` without a licence text, or a text that is no known licence's. Read the package's \
                 licence yourself and waive the finding for this version if it is acceptable."
            }
            Self::Missing => {
                "The package says nothing about its licence: no expression, no licence file, no classifier, no text. \
                 Without a licence nobody may use it. Ask its authors, choose another package, or waive the finding for this \
                 version."
            }
            Self::Unsure => {
                "A licence was concluded from a weak sign: a name that leaves the version open, or a licence text with \
                 changes. See what each source says, and waive the finding for this version if you agree with the \
                 conclusion."
            }
            Self::Contradiction => {
                "Two sources of the package name licences that do not go together, and the policy does not accept one of \
                 them. See what each source says; the authors can tell which is meant. Waive the finding for this version \
                 once you know."
            }
            Self::CopyleftFile => {
                "The licence asks that changed files be published under the same licence, and nothing of programs that use \
                 the library unchanged. It passes; this note records it."
            }
            Self::Bundled => {
                "The package's own licence is accepted. Its licence files also have the licences of parts that it carries, \
                 such as libraries inside of its binaries, and the policy does not accept all of those. The package's authors \
                 publish the whole under the licence that they state; this note records the rest."
            }
            Self::CopyleftOs => {
                "The package is a program of the operating system under a copyleft licence. Running it asks nothing of you; \
                 whoever passes the image on has to offer its source, which the archive keeps. It passes; this note records \
                 it."
            }
        }
    }
}

/// What a judgement means for the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LicenceVerdict {
    /// Nothing to say.
    Pass,
    /// Recorded.
    Note,
    /// Refused unless waived.
    Hold,
}

/// The judgement of one package's licence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenceJudgement {
    /// What it means for the plan.
    pub verdict: LicenceVerdict,
    /// Why, where it is not a pass.
    pub code: Option<LicenceCode>,
    /// The expression that was judged: the package's own licence, and those of what it carries where they decided.
    pub expression: Option<LicenceExpression>,
    /// One sentence without a full stop.
    pub why: String,
}

/// How one licence, or an expression, stands to the rules. In this order: the best of a choice, the worst of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Allowed,
    Noted,
    Unknown,
    Denied,
}

/// Judge an answer.
pub fn judge(answer: &LicenceAnswer, rules: &LicenceRules) -> LicenceJudgement {
    let Some(expression) = &answer.expression else {
        return without_expression(answer, rules);
    };
    let conclude = |verdict, code, why: String| LicenceJudgement {
        verdict,
        code,
        expression: Some(expression.clone()),
        why,
    };
    let source = answer
        .source
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let doubtful = if rules.records_only {
        LicenceVerdict::Note
    } else {
        LicenceVerdict::Hold
    };
    let own = standing(expression.node(), rules);
    match own {
        Standing::Denied => {
            let why = format!("`{expression}` ({source}) is not among the accepted licences");
            return conclude(LicenceVerdict::Hold, Some(LicenceCode::Denied), why);
        }
        Standing::Unknown => {
            let why = format!("`{expression}` ({source}) is no licence that the policy knows");
            return conclude(doubtful, Some(LicenceCode::Unknown), why);
        }
        Standing::Allowed | Standing::Noted => {}
    }
    if let Some(others) = answer.others.as_ref().filter(|others| is_denied(others, rules)) {
        let why = format!("it is `{expression}`, and what it carries is `{others}`, which is denied");
        return conclude(LicenceVerdict::Hold, Some(LicenceCode::Denied), why);
    }
    if let Some(contradiction) = refused_contradiction(answer, rules) {
        return conclude(doubtful, Some(LicenceCode::Contradiction), contradiction);
    }
    if answer.sureness < rules.sureness_least {
        let why = format!("`{expression}` was concluded from the {source}, which is not sure enough");
        return conclude(doubtful, Some(LicenceCode::Unsure), why);
    }
    if own == Standing::Noted {
        let code = if rules.records_only {
            LicenceCode::CopyleftOs
        } else {
            LicenceCode::CopyleftFile
        };
        return conclude(
            LicenceVerdict::Note,
            Some(code),
            format!("`{expression}` ({source})"),
        );
    }
    let others = answer.others.as_ref().filter(|_| !rules.records_only);
    if let Some(others) = others.filter(|others| standing(others.node(), rules) > Standing::Noted) {
        let why = format!("it is `{expression}` ({source}), and carries parts under `{others}`");
        return conclude(LicenceVerdict::Note, Some(LicenceCode::Bundled), why);
    }
    conclude(LicenceVerdict::Pass, None, format!("`{expression}` ({source})"))
}

/// Whether every way to take an expression has a licence of the list that never passes.
fn is_denied(expression: &LicenceExpression, rules: &LicenceRules) -> bool {
    let listed = LicenceRules {
        allowed: Vec::new(),
        noted: Vec::new(),
        listed_passes: true,
        ..rules.clone()
    };
    standing(expression.node(), &listed) == Standing::Denied
}

fn without_expression(answer: &LicenceAnswer, rules: &LicenceRules) -> LicenceJudgement {
    let said: Vec<String> = answer
        .statements
        .iter()
        .take(3)
        .map(|statement| format!("{}: `{}`", statement.source, statement.said))
        .collect();
    let (code, why) = if answer.is_missing() {
        (
            LicenceCode::Missing,
            "no source says anything about its licence".to_owned(),
        )
    } else {
        (
            LicenceCode::Unknown,
            format!("no licence can be named ({})", said.join("; ")),
        )
    };
    LicenceJudgement {
        verdict: if rules.records_only {
            LicenceVerdict::Note
        } else {
            LicenceVerdict::Hold
        },
        code: Some(code),
        expression: None,
        why,
    }
}

/// A contradiction whose other side would not have passed.
fn refused_contradiction(answer: &LicenceAnswer, rules: &LicenceRules) -> Option<String> {
    let first = answer.contradictions.first()?;
    let own = answer.expression.as_ref()?;
    let contradicts = |read: &&LicenceExpression| !shares_a_licence(own, read);
    let mut others = answer
        .statements
        .iter()
        .filter_map(|statement| statement.read_as.as_ref())
        .filter(contradicts);
    others
        .any(|read| standing(read.node(), rules) > Standing::Noted)
        .then(|| first.clone())
}

fn standing(node: &Node, rules: &LicenceRules) -> Standing {
    match node {
        Node::Licence(term) => standing_of(term, rules),
        Node::And(nodes) => nodes
            .iter()
            .map(|node| standing(node, rules))
            .max()
            .unwrap_or(Standing::Unknown),
        Node::Or(nodes) => nodes
            .iter()
            .map(|node| standing(node, rules))
            .min()
            .unwrap_or(Standing::Unknown),
    }
}

fn standing_of(term: &LicenceTerm, rules: &LicenceRules) -> Standing {
    let is_listed = |list: &[String]| list.iter().any(|entry| permits(entry, term));
    let is_excepted = || rules.exceptions.iter().any(|entry| *entry == term.to_string());
    if rules.denied.iter().any(|entry| matches(entry, &term.id)) {
        return Standing::Denied;
    }
    if is_listed(&rules.allowed) || is_excepted() {
        return Standing::Allowed;
    }
    if is_listed(&rules.noted) {
        return Standing::Noted;
    }
    match spdx::license_id(&term.id) {
        None => Standing::Unknown,
        Some(id) if rules.listed_passes && (id.is_copyleft() || id.is_gnu()) => Standing::Noted,
        Some(_) if rules.listed_passes => Standing::Allowed,
        Some(_) => Standing::Denied,
    }
}

/// Whether an entry of a list, `PREFIX-*` included, is this identifier.
fn matches(entry: &str, id: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(prefix) => id.starts_with(prefix),
        None => entry == id,
    }
}

/// Whether an entry that is accepted permits a term: the same licence, or a later version that the term lets one choose.
fn permits(entry: &str, term: &LicenceTerm) -> bool {
    if matches(entry, &term.id) {
        return true;
    }
    let Some(base) = term
        .id
        .strip_suffix("-or-later")
        .or(term.or_later.then_some(&term.id))
    else {
        return false;
    };
    let entry = entry.trim_end_matches("-only").trim_end_matches("-or-later");
    match (split_version(entry), split_version(base)) {
        (Some((name, version)), Some((base_name, base_version))) => {
            name == base_name && version >= base_version
        }
        _ => false,
    }
}

fn split_version(id: &str) -> Option<(&str, Vec<u32>)> {
    let (name, version) = id.rsplit_once('-')?;
    let numbers: Option<Vec<u32>> = version.split('.').map(|number| number.parse().ok()).collect();
    numbers.map(|numbers| (name, numbers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::licences::answer::{LicenceSource, LicenceStatement};

    fn answer(expression: &str) -> LicenceAnswer {
        LicenceAnswer {
            expression: Some(expression.parse().unwrap()),
            source: Some(LicenceSource::LicenseExpression),
            sureness: Sureness::Exact,
            ..LicenceAnswer::silent()
        }
    }

    fn judged(expression: &str, rules: &LicenceRules) -> (LicenceVerdict, Option<&'static str>) {
        let judgement = judge(&answer(expression), rules);
        (judgement.verdict, judgement.code.map(LicenceCode::as_str))
    }

    #[test]
    fn expressions_are_judged_by_their_operators() {
        use LicenceVerdict::{Hold, Note, Pass};
        let rules = LicenceRules::python();
        for (expression, verdict, code) in [
            ("MIT", Pass, None),
            ("GPL-3.0-or-later OR MIT", Pass, None),
            ("GPL-3.0-or-later AND MIT", Hold, Some("LICENCE-DENIED")),
            ("MIT AND (GPL-2.0-only OR ISC)", Pass, None),
            ("LGPL-3.0-only", Hold, Some("LICENCE-DENIED")),
            ("MPL-2.0", Note, Some("LICENCE-COPYLEFT-FILE")),
            ("MPL-2.0 AND MIT", Note, Some("LICENCE-COPYLEFT-FILE")),
            ("MPL-2.0 OR MIT", Pass, None),
            ("MPL-1.1+", Note, Some("LICENCE-COPYLEFT-FILE")),
            ("Apache-1.1+", Pass, None),
            ("Apache-2.0 WITH LLVM-exception", Pass, None),
            ("GPL-3.0-or-later WITH GCC-exception-3.1", Pass, None),
            (
                "GPL-3.0-or-later WITH Classpath-exception-2.0",
                Hold,
                Some("LICENCE-DENIED"),
            ),
            ("LicenseRef-Ours", Hold, Some("LICENCE-UNKNOWN")),
            ("LicenseRef-Ours OR MIT", Pass, None),
            ("CC-BY-4.0", Pass, None),
            ("CC-BY-NC-4.0", Hold, Some("LICENCE-DENIED")),
            ("JSON", Hold, Some("LICENCE-DENIED")),
        ] {
            assert_eq!(judged(expression, &rules), (verdict, code), "{expression}");
        }
    }

    #[test]
    fn packages_of_the_system_are_recorded() {
        use LicenceVerdict::{Hold, Note, Pass};
        let rules = LicenceRules::os();
        for (expression, verdict, code) in [
            ("MIT", Pass, None),
            ("GPL-3.0-or-later", Note, Some("LICENCE-COPYLEFT-OS")),
            ("HPND-sell-variant", Pass, None),
            ("LicenseRef-Ours", Note, Some("LICENCE-UNKNOWN")),
            ("SSPL-1.0", Hold, Some("LICENCE-DENIED")),
            ("CC-BY-NC-SA-4.0", Hold, Some("LICENCE-DENIED")),
        ] {
            assert_eq!(judged(expression, &rules), (verdict, code), "{expression}");
        }
        let missing = judge(&LicenceAnswer::silent(), &rules);
        assert_eq!(
            (missing.verdict, missing.code),
            (Note, Some(LicenceCode::Missing))
        );
        let unsure = LicenceAnswer {
            sureness: Sureness::Low,
            ..answer("MIT")
        };
        assert_eq!(judge(&unsure, &rules).code, Some(LicenceCode::Unsure));
    }

    #[test]
    fn what_is_missing_or_unsure_holds_for_libraries() {
        let rules = LicenceRules::default();
        let missing = judge(&LicenceAnswer::silent(), &rules);
        assert_eq!(
            (missing.verdict, missing.code),
            (LicenceVerdict::Hold, Some(LicenceCode::Missing))
        );
        let unsure = LicenceAnswer {
            sureness: Sureness::Low,
            ..answer("Apache-2.0")
        };
        let unsure = judge(&unsure, &rules);
        assert_eq!(
            (unsure.verdict, unsure.code),
            (LicenceVerdict::Hold, Some(LicenceCode::Unsure))
        );
    }

    #[test]
    fn a_later_version_may_be_chosen() {
        let rules = LicenceRules {
            allowed: vec!["GPL-3.0-only".to_owned()],
            ..LicenceRules::python()
        };
        assert_eq!(judged("GPL-2.0-or-later", &rules).0, LicenceVerdict::Pass);
        assert_eq!(judged("GPL-2.0-only", &rules).0, LicenceVerdict::Hold);
        assert_eq!(judged("LGPL-2.0-or-later", &rules).0, LicenceVerdict::Hold);
    }

    #[test]
    fn every_default_identifier_is_in_the_list() {
        for rules in [LicenceRules::python(), LicenceRules::os()] {
            let plain = |entry: &&String| !entry.ends_with('*') && !entry.starts_with("LicenseRef-");
            for id in rules
                .allowed
                .iter()
                .chain(&rules.noted)
                .chain(&rules.denied)
                .filter(plain)
            {
                let known = spdx::license_id(id).unwrap_or_else(|| panic!("{id}"));
                assert_eq!(known.name, id);
            }
            for exception in &rules.exceptions {
                assert_eq!(
                    exception.parse::<LicenceExpression>().unwrap().to_string(),
                    *exception
                );
            }
        }
    }

    #[test]
    fn what_a_verdict_rests_on_gives_the_same_verdict() {
        let statement = |said: &str| LicenceStatement {
            source: LicenceSource::Dep5,
            said: said.to_owned(),
            read_as: said.parse().ok(),
            note: None,
        };
        let stated = |answer: LicenceAnswer, said: &[&str]| LicenceAnswer {
            statements: said.iter().copied().map(statement).collect(),
            ..answer
        };
        let contradicted = LicenceAnswer {
            contradictions: vec!["the text is another".to_owned()],
            ..answer("MIT")
        };
        let rules = LicenceRules::os();
        for (whole, code, kept) in [
            (stated(answer("MIT"), &["MIT", "GPL-2.0-only"]), None, 0),
            (
                stated(contradicted, &["MIT", "CC-BY-NC-4.0"]),
                Some(LicenceCode::Contradiction),
                2,
            ),
            (
                stated(LicenceAnswer::silent(), &["my own"]),
                Some(LicenceCode::Unknown),
                1,
            ),
            (LicenceAnswer::silent(), Some(LicenceCode::Missing), 0),
        ] {
            let judgement = judge(&whole, &rules);
            assert_eq!(judgement.code, code);
            let brief = whole.for_verdict();
            assert_eq!((judge(&brief, &rules), brief.statements.len()), (judgement, kept));
        }
    }

    #[test]
    fn codes_are_stable_and_explained() {
        for code in LicenceCode::ALL {
            assert_eq!(
                serde_json::to_string(&code).unwrap(),
                format!("\"{}\"", code.as_str())
            );
            assert!(code.explain().len() > 60, "{}", code.as_str());
        }
    }
}
