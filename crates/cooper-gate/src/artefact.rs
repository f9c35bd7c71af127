//! What only an artefact can tell, judged when it is here and before anything of it is installed: its licence, and what
//! it would run.

use cooper_core::{Effect, Finding, FindingCode};

use crate::known::Known;
use crate::licences::{self, LicenceAnswer, LicenceCode, LicenceJudgement, LicenceVerdict};
use crate::listed::Listed;
use crate::waiver;

/// The kinds of findings about what an artefact is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProvenanceCode {
    /// A wheel has a `.pth` file, or a module, by which code runs whenever Python starts.
    StartupCode,
    /// A wheel that says that it is pure Python has native code.
    NativeInPure,
}

impl ProvenanceCode {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::StartupCode, Self::NativeInPure];

    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StartupCode => "PROVENANCE-STARTUP-CODE",
            Self::NativeInPure => "PROVENANCE-NATIVE-IN-PURE",
        }
    }

    /// What it means, why it matters, what to do.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::StartupCode => {
                "The wheel brings a `.pth` file with a line that begins with `import`, or that puts on Python's path what is \
                 no folder of its own, or a module `usercustomize`: Python runs these at every start, whether or not \
                 anything of the package is used. Some tools need that; malicious releases have used it to take \
                 secrets. Read the file, and waive the finding for this version if it is harmless."
            }
            Self::NativeInPure => {
                "The wheel's tags say that it is pure Python for every platform, and a file is native code by its name or \
                 its first bytes: nobody can read it. Look what it is, and waive the finding for this version if it \
                 belongs there."
            }
        }
    }
}

impl From<ProvenanceCode> for FindingCode {
    fn from(code: ProvenanceCode) -> Self {
        Self::new(code.as_str())
    }
}

impl From<LicenceCode> for FindingCode {
    fn from(code: LicenceCode) -> Self {
        Self::new(code.as_str())
    }
}

/// What was seen in a wheel beside its licence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WheelTraits {
    /// Each file that makes Python do something at every start, with what that is, to follow its name in a sentence.
    pub startup_code: Vec<(String, String)>,
    /// The native files of a wheel whose tags say that it has none.
    pub native_in_pure: Vec<String>,
}

/// Whose guidelines a Debian package keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DebianSection {
    /// The main section of the base's own archive, which takes free licences alone.
    Main,
    /// Another source: nobody speaks for its licences.
    Elsewhere,
}

/// What is known of a Debian package's licence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebianLicence<'a> {
    /// What its copyright file says.
    pub answer: &'a LicenceAnswer,
    /// The package whose copyright file that is, where the package has none of its own but a link.
    pub shared: Option<&'a str>,
    /// Where its copyright file is a link to what is no package's copyright file: to what.
    pub astray: Option<&'a str>,
}

/// Judge a wheel that is here.
pub fn judge_wheel(
    listed: &Listed,
    licence: &LicenceAnswer,
    traits: &WheelTraits,
    known: &Known,
) -> Vec<Finding> {
    let rules = &known.in_force.rules;
    let package = &listed.package;
    let judgement = licences::judge(licence, &rules.licences.python());
    let effect = match (judgement.verdict, judgement.code) {
        (LicenceVerdict::Pass | LicenceVerdict::Note, _) => Effect::Note,
        (LicenceVerdict::Hold, Some(LicenceCode::Denied)) => rules.licences.python_denied,
        (LicenceVerdict::Hold, _) => rules.licences.python_doubtful,
    };
    let finding = of_licence(&judgement, effect, source_of(licence, None), listed);
    let mut findings: Vec<Finding> = finding.into_iter().collect();
    let of_trait = |code: ProvenanceCode, effect, message: String| {
        let hint = format!(
            "{}, once you have read it",
            waiver::command(code.as_str(), package)
        );
        listed.found(Finding::new(code.into(), effect, "", message, hint))
    };
    findings.extend(traits.startup_code.iter().map(|(file, does)| {
        let message = format!("{file} {does}");
        of_trait(
            ProvenanceCode::StartupCode,
            rules.provenance.startup_code,
            message,
        )
    }));
    if let Some(first) = traits.native_in_pure.first() {
        let more = traits.native_in_pure.len() - 1;
        let others = if more == 0 {
            String::new()
        } else {
            format!(" and {more} more")
        };
        let message = format!("the wheel is for any platform, and {first}{others} is native code");
        let finding = of_trait(
            ProvenanceCode::NativeInPure,
            rules.provenance.native_in_pure,
            message,
        );
        findings.push(finding);
    }
    findings
}

/// Judge a Debian package whose copyright file was read.
pub fn judge_debian(
    listed: &Listed,
    licence: &DebianLicence<'_>,
    section: DebianSection,
    known: &Known,
) -> Option<Finding> {
    let policy = &known.in_force.rules.licences;
    let mut judgement = licences::judge(licence.answer, &policy.debian());
    if let Some(target) = licence.astray {
        judgement.why = format!("its copyright file is a link to `{target}`, which no package has");
    }
    let effect = match judgement.code? {
        LicenceCode::Denied => policy.debian_denied,
        LicenceCode::Missing => policy.debian_missing,
        LicenceCode::CopyleftOs | LicenceCode::CopyleftFile | LicenceCode::Bundled => Effect::Note,
        LicenceCode::Unknown | LicenceCode::Unsure | LicenceCode::Contradiction => match section {
            DebianSection::Main => policy.debian_doubtful,
            DebianSection::Elsewhere => policy.debian_doubtful_elsewhere,
        },
    };
    of_licence(
        &judgement,
        effect,
        source_of(licence.answer, licence.shared),
        listed,
    )
}

/// From where an answer is, and how sure: `DEP-5 of gcc-14-base, exact`.
fn source_of(answer: &LicenceAnswer, shared: Option<&str>) -> Option<String> {
    let source = answer.source.as_ref()?;
    let of = shared.map_or(String::new(), |package| format!(" of {package}"));
    Some(format!("{source}{of}, {}", answer.sureness.as_str()))
}

/// The finding of a licence's judgement.
fn of_licence(
    judgement: &LicenceJudgement,
    effect: Effect,
    evidence: Option<String>,
    listed: &Listed,
) -> Option<Finding> {
    let code = judgement.code?;
    let package = &listed.package;
    let explain = format!(
        "`cooper check --explain-licence {}` shows what each source says",
        package.name
    );
    let hint = match effect {
        Effect::Note => explain,
        _ => format!("{explain}; {}", waiver::command(code.as_str(), package)),
    };
    let finding = Finding::new(code.into(), effect, "", judgement.why.clone(), hint);
    Some(Finding {
        evidence,
        ..listed.found(finding)
    })
}

#[cfg(test)]
mod tests {
    use cooper_core::{Ecosystem, PackageVersion};

    use super::*;
    use crate::licences::{DebianLicenceEvidence, LicenceFile, of_debian};

    fn judged(licence: Option<&str>, section: DebianSection) -> Option<(String, Effect)> {
        let copyright = licence.map(|licence| {
            let text = format!(
                "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: x\n\
                 License: {licence}\n"
            );
            LicenceFile {
                path: "usr/share/doc/x/copyright".to_owned(),
                size: text.len() as u64,
                bytes: text.into_bytes(),
            }
        });
        let answer = of_debian(&DebianLicenceEvidence { copyright });
        let licence = DebianLicence {
            answer: &answer,
            shared: None,
            astray: None,
        };
        let listed = Listed::alone(PackageVersion::new(Ecosystem::Debian, &"x", &"1"));
        let known = Known::nothing("2026-06-01T00:00:00Z".parse().unwrap());
        let finding = judge_debian(&listed, &licence, section, &known)?;
        Some((finding.code.to_string(), finding.effect))
    }

    #[test]
    fn an_archive_of_free_licences_is_trusted_with_what_is_doubtful() {
        use DebianSection::{Elsewhere, Main};
        for (licence, section, found) in [
            (Some("Expat"), Elsewhere, None),
            (Some("GPL-2+"), Main, Some(("LICENCE-COPYLEFT-OS", Effect::Note))),
            (
                Some("GPL-2+"),
                Elsewhere,
                Some(("LICENCE-COPYLEFT-OS", Effect::Note)),
            ),
            (Some("own"), Main, Some(("LICENCE-UNKNOWN", Effect::Note))),
            (Some("own"), Elsewhere, Some(("LICENCE-UNKNOWN", Effect::Hold))),
            (Some("CC-BY-NC-4.0"), Main, Some(("LICENCE-DENIED", Effect::Hold))),
            (None, Main, Some(("LICENCE-MISSING", Effect::Hold))),
            (None, Elsewhere, Some(("LICENCE-MISSING", Effect::Hold))),
        ] {
            let found = found.map(|(code, effect)| (code.to_owned(), effect));
            assert_eq!(judged(licence, section), found, "{licence:?} {section:?}");
        }
    }
}
