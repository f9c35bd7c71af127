//! The policy: which finding holds and which is only noted, by profile and by image.
//!
//! ```toml
//! profile = "testing"            # the profile where none is named
//!
//! [age]                          # holds for all profiles
//! days_min = 14
//!
//! [profiles.production.evidence] # on top, for one profile
//! days_max = 1
//!
//! [images."pay-*".vulnerabilities]   # on top, for images of this name; it may only tighten
//! hold_from = "medium"
//! ```
//!
//! The order is: the defaults, the profile's own defaults, the file's tables, the file's profile; then of every image
//! pattern that fits, what is tighter. `testing` and `production` are there without a file.

mod rules;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use cooper_core::text::shortened;
use cooper_core::{Digest, Effect, ImageName, ImagePattern};
use serde::Serialize;

pub use rules::{
    AgeRules, EvidenceRules, KEYS, KeyDoc, LicencePolicy, NameRules, PackageRules, ProvenanceRules, Rules,
    Unjudged, VulnerabilityRules,
};
use rules::{File, Said};

/// How large a policy file may be, in bytes. The parser of TOML goes deeper with each line of a table that is not closed: this
/// much is safe on a thread's stack of two megabytes.
pub const POLICY_BYTES_MAX: u64 = 128 << 10;
/// How many profiles and image patterns there may be.
const PARTS_MAX: usize = 1_000;

/// The profile where nothing names one.
const STANDARD_PROFILE: &str = "testing";
/// The profile for what goes into production.
const PRODUCTION: &str = "production";

/// A whole policy file.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    profile: String,
    said: Said,
    profiles: BTreeMap<String, Said>,
    images: BTreeMap<String, Said>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            profile: STANDARD_PROFILE.to_owned(),
            said: Said::default(),
            profiles: BTreeMap::new(),
            images: BTreeMap::new(),
        }
    }
}

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePolicyError {
    /// Not TOML, a table or a key that there is not, or a wrong value.
    #[error("line {line}: {reason}")]
    Syntax {
        /// From 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// `profile` names none.
    #[error("there is no profile `{name}`; there are {known}")]
    UnknownProfile {
        /// As it was written.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// An entry of a list, or a number, that could mean nothing.
    #[error("`{value}` in `{key}` is not {wanted}")]
    Value {
        /// Which key.
        key: &'static str,
        /// As it was written.
        value: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// An image's table is under no pattern of image names.
    #[error("`{pattern}` is no pattern of image names")]
    Pattern {
        /// As it was written.
        pattern: String,
    },
    /// An image's table loosens what holds without it.
    #[error(
        "[images.\"{pattern}\"] sets `{key}` looser than profile `{profile}` has it: an image may only tighten"
    )]
    Looser {
        /// The image's pattern.
        pattern: String,
        /// Which key.
        key: &'static str,
        /// Under which profile.
        profile: String,
    },
    /// More text than is read.
    #[error("it has more than {POLICY_BYTES_MAX} bytes")]
    TooLarge,
    /// More profiles or images than anybody has.
    #[error("more than {PARTS_MAX} profiles or images")]
    TooMany,
}

impl FromStr for Policy {
    type Err = ParsePolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() as u64 > POLICY_BYTES_MAX {
            return Err(ParsePolicyError::TooLarge);
        }
        let file: File = toml::from_str(text).map_err(|error| ParsePolicyError::Syntax {
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            reason: shown(&error.message().lines().collect::<Vec<_>>().join("; ")),
        })?;
        if file.profiles.len() > PARTS_MAX || file.images.len() > PARTS_MAX {
            return Err(ParsePolicyError::TooMany);
        }
        let said = values::read(file.said())?;
        if let Some(wrong) = file.images.keys().find(|text| !is_pattern(text)) {
            let pattern = wrong.chars().take(80).collect();
            return Err(ParsePolicyError::Pattern { pattern });
        }
        let policy = Self {
            profile: file.profile.unwrap_or_else(|| STANDARD_PROFILE.to_owned()),
            said,
            profiles: read_all(file.profiles)?,
            images: read_all(file.images)?,
        };
        policy.known_profile(&policy.profile)?;
        policy.check_images()?;
        Ok(policy)
    }
}

fn read_all(said: BTreeMap<String, Said>) -> Result<BTreeMap<String, Said>, ParsePolicyError> {
    let read = said
        .into_iter()
        .map(|(name, said)| Ok((name, values::read(said)?)));
    read.collect()
}

/// The line, from 1, that has this byte.
fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count() + 1
}

fn is_pattern(text: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-*".contains(&byte);
    !text.is_empty() && text.bytes().all(of_name)
}

/// A pattern with `*` is of all names that it fits; a name is of itself.
fn is_of(pattern: &str, image: &ImageName) -> bool {
    if pattern.contains('*') {
        ImagePattern::new(pattern).matches(image.as_str())
    } else {
        pattern == image.as_str()
    }
}

impl Policy {
    /// The profile that holds where none is named.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// Every profile that there is.
    pub fn profiles(&self) -> BTreeSet<&str> {
        let own = self.profiles.keys().map(String::as_str);
        own.chain([STANDARD_PROFILE, PRODUCTION]).collect()
    }

    fn known_profile(&self, name: &str) -> Result<(), ParsePolicyError> {
        let known = self.profiles();
        if known.contains(name) {
            return Ok(());
        }
        Err(ParsePolicyError::UnknownProfile {
            name: name.chars().take(80).collect(),
            known: shown(&known.into_iter().collect::<Vec<_>>().join(", ")),
        })
    }

    /// The rules for an image; without a profile's name those of the file's own.
    ///
    /// # Errors
    /// When there is no such profile.
    pub fn rules(
        &self,
        profile: Option<&str>,
        image: Option<&ImageName>,
    ) -> Result<InForce, ParsePolicyError> {
        let profile = profile.unwrap_or(&self.profile);
        self.known_profile(profile)?;
        let mut rules = self.of_profile(profile);
        let mut images = Vec::new();
        for (text, said) in &self.images {
            if image.is_some_and(|image| is_of(text, image)) {
                rules.tighten(said);
                images.push(text.clone());
            }
        }
        Ok(InForce {
            profile: profile.to_owned(),
            images,
            rules,
        })
    }

    fn of_profile(&self, profile: &str) -> Rules {
        let mut rules = Rules::default();
        if profile == PRODUCTION {
            rules.evidence.days_max = 2;
            rules.evidence.unjudged = Unjudged::Refuse;
            rules.names.transitive = Effect::Hold;
        }
        rules.apply(&self.said);
        if let Some(said) = self.profiles.get(profile) {
            rules.apply(said);
        }
        rules
    }

    /// Each image's table must tighten under every profile, whatever other tables fit the image too: tables are
    /// compared with what holds without any.
    fn check_images(&self) -> Result<(), ParsePolicyError> {
        for profile in self.profiles() {
            let plain = self.of_profile(profile);
            for (text, said) in &self.images {
                let mut rules = plain.clone();
                rules.apply(said);
                if let Some(key) = rules.looser_than(&plain) {
                    return Err(ParsePolicyError::Looser {
                        pattern: shown(text),
                        key,
                        profile: shown(profile),
                    });
                }
            }
        }
        Ok(())
    }
}

/// What of a text that the file chooses an error shows.
fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 300;
    shortened(text, CHARACTERS_MAX)
}

/// The rules that are in force for one image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InForce {
    /// Under which profile.
    pub profile: String,
    /// The image patterns that fit.
    pub images: Vec<String>,
    /// The rules.
    #[serde(flatten)]
    pub rules: Rules,
}

impl Default for InForce {
    fn default() -> Self {
        Self {
            profile: STANDARD_PROFILE.to_owned(),
            images: Vec::new(),
            rules: Rules::default(),
        }
    }
}

impl InForce {
    /// A digest over all of it: two verdicts with the same digests of policy and evidence are comparable.
    pub fn digest(&self) -> Digest {
        // Maps and sets are sorted, fields are in the order of their definition: one text for one set of rules.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::licences::{LicenceRules, LicenceVerdict, PythonLicenceEvidence, judge, of_python};

    fn fault(text: &str) -> String {
        text.parse::<Policy>().unwrap_err().to_string()
    }

    #[test]
    fn what_nobody_says_has_its_default() {
        let policy: Policy = "".parse().unwrap();
        assert_eq!(policy, Policy::default());
        let testing = policy.rules(None, None).unwrap();
        assert_eq!(testing, InForce::default());
        let production = policy.rules(Some("production"), None).unwrap();
        assert_eq!(production.rules.evidence.unjudged, Unjudged::Refuse);
        assert_ne!(testing.digest(), production.digest());
    }

    #[test]
    fn the_nearer_table_wins() {
        let policy: Policy =
            "profile = 'strict'\n[age]\ndays_min = 14\n[profiles.strict.age]\ndays_min = 20\n\
             [profiles.strict.packages]\ndeny = ['python:x']\n[images.'pay-*'.age]\ndays_min = 30\n"
                .parse()
                .unwrap();
        let days = |profile: Option<&str>, image: &str| {
            let rules = policy.rules(profile, Some(&image.parse().unwrap())).unwrap();
            (rules.rules.age.days_min, rules.images.len())
        };
        assert_eq!(days(Some("testing"), "a"), (14, 0));
        assert_eq!(days(None, "a"), (20, 0));
        assert_eq!(days(None, "pay-a"), (30, 1));
        assert!(policy.rules(Some("x"), None).is_err());
    }

    #[test]
    fn of_several_tables_that_fit_an_image_the_tighter_counts() {
        let policy: Policy = "[images.'a-*'.vulnerabilities]\nhold_from = 'low'\nepss_hold_from = 0.1\n\
            [images.'a-*'.packages]\ndeny = ['python:x']\n\
            [images.'a-b'.vulnerabilities]\nhold_from = 'medium'\nepss_hold_from = 0.2\n\
            [images.'a-b'.packages]\ndeny = ['python:y']\n"
            .parse()
            .unwrap();
        let image: ImageName = "a-b".parse().unwrap();
        let rules = policy.rules(None, Some(&image)).unwrap().rules;
        assert_eq!(rules.vulnerabilities.hold_from, cooper_core::Severity::Low);
        assert!((rules.vulnerabilities.epss_hold_from - 0.1).abs() < 1e-9);
        let denied: Vec<&String> = rules.packages.deny.iter().collect();
        assert_eq!(denied, ["python:x", "python:y"]);
    }

    #[test]
    fn an_image_may_only_tighten() {
        let table = [
            ("age]\ndays_min = 3", "age.days_min"),
            (
                "vulnerabilities]\nhold_from = 'critical'",
                "vulnerabilities.hold_from",
            ),
            (
                "vulnerabilities]\nepss_hold_from = 0",
                "vulnerabilities.epss_hold_from",
            ),
            ("vulnerabilities]\nunfixed = 'note'", "vulnerabilities.unfixed"),
            ("names]\nallow = ['x']", "names.allow"),
            ("age]\nunmaintained_years = 0", "age.unmaintained_years"),
            ("evidence]\ndays_max = 8", "evidence.days_max"),
        ];
        for (said, key) in table {
            let fault = fault(&format!("[images.a.{said}\n"));
            assert!(fault.contains(&format!("`{key}`")), "{said}: {fault}");
        }
        for said in [
            "age]\ndays_min = 8",
            "packages]\ndeny = ['python:x']",
            "names]\ntransitive = 'hold'",
        ] {
            let text = format!("[images.a.{said}\n");
            // Tighter for testing; production has a hold already, which is not looser.
            assert!(text.parse::<Policy>().is_ok(), "{said}");
        }
    }

    #[test]
    fn a_list_of_licences_takes_the_place_of_the_standard_one() {
        let policy: Policy = "[licences]\npython_deny = ['*']\npython_allow = ['MIT']\n\
             debian_deny = ['*', 'ISC']\ndebian_allow = ['GPL-2.0-only', 'ISC']\n"
            .parse()
            .unwrap();
        let licences = policy.rules(None, None).unwrap().rules.licences;
        let passes = |licence: &str, rules: &LicenceRules| {
            let answer = of_python(&PythonLicenceEvidence {
                expression: Some(licence.to_owned()),
                ..PythonLicenceEvidence::default()
            });
            judge(&answer, rules).verdict == LicenceVerdict::Pass
        };
        for (licence, python, debian) in [
            ("MIT", true, false),
            ("Apache-2.0", false, false),
            ("GPL-2.0-only", false, true),
            ("ISC", false, false),
        ] {
            assert_eq!(passes(licence, &licences.python()), python, "{licence}");
            assert_eq!(passes(licence, &licences.debian()), debian, "{licence}");
        }
    }

    #[test]
    fn faults_are_told_with_their_line() {
        assert!(fault("\n[age]\ndays = 1").starts_with("line 3: unknown field `days`"));
        assert!(fault("[agee]").starts_with("line 1: unknown field `agee`"));
        assert!(fault("[age]\ndays_min = -1").starts_with("line 2:"));
        assert!(fault("[names]\ndirect = 'never'").contains("unknown variant `never`"));
        assert!(fault("profile = 'x'").contains("production, testing"));
        assert!(fault("a").starts_with("line 1:"));
    }

    #[test]
    fn a_text_on_which_the_parser_would_go_too_deep_is_too_large() {
        // What the fuzzer found, at the largest size that is read and beyond.
        let block = "[evidence]\nunn= 0.2\n[evidence]\nunn= {0.2\n[evid{ence]\nunn= 0.l\n";
        let count = usize::try_from(POLICY_BYTES_MAX).unwrap() / block.len();
        assert!(fault(&block.repeat(count)).starts_with("line "));
        assert_eq!(fault(&block.repeat(count + 1)), "it has more than 131072 bytes");
    }

    #[test]
    fn every_key_is_documented() {
        for key in KEYS {
            assert!(key.meaning.ends_with('.') && key.key.contains('.'), "{key:?}");
        }
    }
}
