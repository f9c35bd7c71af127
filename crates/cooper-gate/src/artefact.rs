//! What only an artefact can tell, judged when it is here and before anything of it is installed: its licence, and what
//! it would run.

use cooper_core::{Effect, Finding, FindingCode, PackageVersion};

use crate::known::Known;
use crate::licences::{self, LicenceAnswer, LicenceCode, LicenceJudgement, LicenceVerdict};
use crate::waiver;

/// The kinds of findings about what an artefact is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProvenanceCode {
    /// A wheel has a `.pth` file that runs code whenever Python starts.
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
                "The wheel brings a `.pth` file with a line that begins with `import`: Python runs it at every start, \
                 whether or not anything of the package is used. Some tools need that; malicious releases have used it \
                 to take secrets. Read the line, and waive the finding for this version if it is harmless."
            }
            Self::NativeInPure => {
                "The wheel's tags say that it is pure Python for every platform, and it has native code that nobody can \
                 read. Look what it is, and waive the finding for this version if it belongs there."
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
    /// Each `.pth` file with the first line that it would run.
    pub startup_code: Vec<(String, String)>,
    /// The native files of a wheel whose tags say that it has none.
    pub native_in_pure: Vec<String>,
}

/// Judge a wheel that is here.
pub fn judge_wheel(
    package: &PackageVersion,
    licence: &LicenceAnswer,
    traits: &WheelTraits,
    known: &Known,
) -> Vec<Finding> {
    let rules = &known.in_force.rules;
    let judgement = licences::judge(licence, &rules.licences.python());
    let mut finding = of_licence(&judgement, package);
    if let Some(finding) = finding.as_mut().filter(|finding| finding.effect == Effect::Hold) {
        finding.effect = match judgement.code {
            Some(LicenceCode::Denied) => rules.licences.python_denied,
            _ => rules.licences.python_doubtful,
        };
    }
    let mut findings: Vec<Finding> = finding.into_iter().collect();
    let of_trait = |code: ProvenanceCode, effect, message: String| {
        let hint = format!(
            "{}, once you have read it",
            waiver::command(code.as_str(), package)
        );
        Finding::new(code.into(), effect, "", message, hint).about(package.clone())
    };
    findings.extend(traits.startup_code.iter().map(|(file, line)| {
        let message = format!("{file} runs at every start of Python: `{line}`");
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

/// The finding of a licence's judgement.
fn of_licence(judgement: &LicenceJudgement, package: &PackageVersion) -> Option<Finding> {
    let code = judgement.code?;
    let effect = match judgement.verdict {
        LicenceVerdict::Pass | LicenceVerdict::Note => Effect::Note,
        LicenceVerdict::Hold => Effect::Hold,
    };
    let explain = format!(
        "`cooper check --explain-licence {}` shows what each source says",
        package.name
    );
    let hint = match effect {
        Effect::Note => explain,
        _ => format!("{explain}; {}", waiver::command(code.as_str(), package)),
    };
    let finding = Finding::new(code.into(), effect, "", judgement.why.clone(), hint);
    Some(finding.about(package.clone()))
}
