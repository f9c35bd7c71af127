//! Waivers in the store: a ledger of those given and those taken back, to which lines are only added.

use cooper_core::python::DistributionVersion;
use cooper_core::{
    DebianName, DebianVersion, Effect, Finding, FindingCode, PackageVersion, PythonName, Timestamp,
};
use cooper_gate::Waiver;
use cooper_gate::vulnerabilities::VulnerabilityCode;
use cooper_gate::waiver::{TEXT_MAX, name_of};
use cooper_store::LedgerError;
use serde::{Deserialize, Serialize};

use crate::workshop::Workshop;

/// The ledger's name.
pub(crate) const LEDGER: &str = "waivers";

/// One line of the ledger.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Given(Waiver),
    Revoked { number: u64, by: String, at: Timestamp },
}

/// What a new waiver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWaiver {
    /// A finding's code, or an advisory.
    pub finding: String,
    /// The package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub by: String,
    /// From when on it holds no more.
    pub until: Timestamp,
}

/// A finding that holds and can be waived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waivable {
    /// By what name: an advisory's where it rests on one, else its code.
    pub finding: String,
    /// Its code.
    pub code: FindingCode,
    /// The package.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// Why it holds.
    pub why: String,
}

impl Waivable {
    fn of(finding: &Finding, package: &PackageVersion) -> Self {
        Self {
            finding: name_of(finding).to_owned(),
            code: finding.code.clone(),
            package: package.name.clone(),
            version: package.version.clone(),
            why: finding.message.clone(),
        }
    }

    fn is_waived_with(&self, other: &Self) -> bool {
        let key = |one: &Self| (one.finding.clone(), one.package.clone(), one.version.clone());
        key(self) == key(other)
    }
}

/// What waivers could lift of a verdict's findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// What holds, each finding of a package once.
    pub waivable: Vec<Waivable>,
    /// What refuses whatever anybody says.
    pub fixed: Vec<Finding>,
}

impl Held {
    /// What holds and is not waived yet, as far as `wanted` says.
    pub fn of(findings: &[Finding], wanted: impl Fn(&Finding) -> bool) -> Self {
        let mut held = Self::default();
        for finding in findings
            .iter()
            .filter(|finding| finding.refuses() && wanted(finding))
        {
            let known = cooper_gate::code::explain(finding.code.as_str());
            let waivable = finding.effect == Effect::Hold && known.is_some_and(|known| known.waivable);
            match &finding.package {
                Some(package) if waivable => {
                    let one = Waivable::of(finding, package);
                    if !held.waivable.iter().any(|known| known.is_waived_with(&one)) {
                        held.waivable.push(one);
                    }
                }
                _ => held.fixed.push(finding.clone()),
            }
        }
        held
    }
}

/// A waiver as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaiverState {
    /// What was given.
    #[serde(flatten)]
    pub waiver: Waiver,
    /// `in-force`, `ended` or `revoked`.
    pub state: &'static str,
}

/// Why a waiver was not given, or the waivers not read.
#[derive(Debug, thiserror::Error)]
pub enum WaiverError {
    /// The ledger.
    #[error("cannot read or write the waivers")]
    Ledger(#[from] LedgerError),
    /// A text is empty, too long, or has control characters.
    #[error("`{what}` must be one line of at most {TEXT_MAX} characters")]
    Text {
        /// Which.
        what: &'static str,
    },
    /// It would hold from never on.
    #[error("it would end at {until}, which has passed")]
    Ended {
        /// The end.
        until: Timestamp,
    },
    /// What is named is no code, and no advisory.
    #[error("`{finding}` is neither a finding's code nor an advisory's name")]
    UnknownFinding {
        /// As it was written.
        finding: String,
    },
    /// What is named is no package.
    #[error("`{package}` is no name of a package")]
    Package {
        /// As it was written.
        package: String,
    },
    /// What is named is no version.
    #[error("`{version}` is no version of a package: a waiver is for one version")]
    Version {
        /// As it was written.
        version: String,
    },
    /// A finding that no waiver lifts.
    #[error("no waiver lifts {code}")]
    NotWaivable {
        /// Its code.
        code: &'static str,
    },
    /// There is no waiver of that number in force.
    #[error("there is no waiver {number} in force")]
    NoSuch {
        /// The number.
        number: u64,
    },
}

impl WaiverError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Ledger(_) => {
                "check that the store is readable and writable: `cooper config` shows where it is"
            }
            Self::Text { .. } => "say it in one plain line",
            Self::Ended { .. } => "give a date to come: `--until 2030-01-31`",
            Self::UnknownFinding { .. } => {
                "take the code or the advisory from the finding: `AGE-YOUNG`, `CVE-2024-3651`"
            }
            Self::Package { .. } | Self::Version { .. } => {
                "take the package and its version from the finding: `--package idna --version 3.6`"
            }
            Self::NotWaivable { .. } => "take another package, or another version of it",
            Self::NoSuch { .. } => "`cooper waive --list` shows those that there are",
        };
        Some(hint.to_owned())
    }
}

impl Workshop {
    /// Give a waiver; its number.
    ///
    /// # Errors
    /// When it says nothing that could hold, or the store cannot be written.
    pub fn waive(&self, new: &NewWaiver) -> Result<Waiver, WaiverError> {
        let given_at = self.clock.now();
        self.give(checked(new, given_at)?, given_at)
    }

    /// Give several waivers: none where one of them says nothing that could hold.
    ///
    /// # Errors
    /// As [`Workshop::waive`].
    pub fn waive_all(&self, new: &[NewWaiver]) -> Result<Vec<Waiver>, WaiverError> {
        let given_at = self.clock.now();
        let checked: Vec<NewWaiver> = new
            .iter()
            .map(|new| checked(new, given_at))
            .collect::<Result<_, _>>()?;
        checked.into_iter().map(|new| self.give(new, given_at)).collect()
    }

    /// Whether waivers could be given; none is.
    ///
    /// # Errors
    /// As [`Workshop::waive`].
    pub fn check_waivers(&self, new: &[NewWaiver]) -> Result<(), WaiverError> {
        let now = self.clock.now();
        new.iter().try_for_each(|new| checked(new, now).map(drop))
    }

    fn give(&self, new: NewWaiver, given_at: Timestamp) -> Result<Waiver, WaiverError> {
        let mut given = None;
        self.store.add_to_ledger(LEDGER, |lines| {
            let numbers = lines.iter().filter_map(|line| match read(line)? {
                Line::Given(waiver) => Some(waiver.number),
                Line::Revoked { .. } => None,
            });
            let waiver = Waiver {
                number: numbers.max().unwrap_or(0) + 1,
                finding: new.finding,
                package: new.package,
                version: new.version,
                reason: new.reason,
                by: new.by,
                given_at,
                until: new.until,
            };
            let line = serde_json::to_vec(&Line::Given(waiver.clone())).unwrap_or_default();
            given = Some(waiver);
            line
        })?;
        given.ok_or(WaiverError::NoSuch { number: 0 })
    }

    /// Take a waiver back.
    ///
    /// # Errors
    /// When there is none of that number in force, or the store cannot be written.
    pub fn revoke(&self, number: u64, by: &str) -> Result<Waiver, WaiverError> {
        let by = line_of_text("by", by)?;
        let waivers = self.waivers()?;
        let waiver = waivers.into_iter().find(|waiver| waiver.number == number);
        let waiver = waiver.ok_or(WaiverError::NoSuch { number })?;
        let at = self.clock.now();
        let line = serde_json::to_vec(&Line::Revoked { number, by, at }).unwrap_or_default();
        self.store.add_to_ledger(LEDGER, |_| line)?;
        Ok(waiver)
    }

    /// Every waiver that was not taken back, those that have ended too.
    pub(crate) fn waivers(&self) -> Result<Vec<Waiver>, WaiverError> {
        let states = self.waiver_states()?;
        let stand = states.into_iter().filter(|state| state.state != "revoked");
        Ok(stand.map(|state| state.waiver).collect())
    }

    /// Those that had been given at a time, and not been taken back by then.
    pub(crate) fn waivers_at(&self, time: Timestamp) -> Result<Vec<Waiver>, WaiverError> {
        let mut waivers: Vec<Waiver> = Vec::new();
        for line in self.store.ledger(LEDGER)?.iter().filter_map(|line| read(line)) {
            match line {
                Line::Given(waiver) if waiver.given_at <= time => waivers.push(waiver),
                Line::Revoked { number, at, .. } if at <= time => {
                    waivers.retain(|waiver| waiver.number != number);
                }
                Line::Given(_) | Line::Revoked { .. } => {}
            }
        }
        Ok(waivers)
    }

    /// Every waiver that was ever given, with how it stands now.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn waiver_states(&self) -> Result<Vec<WaiverState>, WaiverError> {
        let now = self.clock.now();
        let mut states: Vec<WaiverState> = Vec::new();
        for line in self.store.ledger(LEDGER)?.iter().filter_map(|line| read(line)) {
            match line {
                Line::Given(waiver) => {
                    let state = if now < waiver.until { "in-force" } else { "ended" };
                    states.push(WaiverState { waiver, state });
                }
                Line::Revoked { number, .. } => {
                    let of_number = states.iter_mut().filter(|state| state.waiver.number == number);
                    of_number.for_each(|state| state.state = "revoked");
                }
            }
        }
        Ok(states)
    }
}

/// Whether a line says something.
pub(crate) fn is_line(line: &[u8]) -> bool {
    read(line).is_some()
}

/// A line that was torn by a power cut says nothing: whoever wrote it was not told that it is there.
fn read(line: &[u8]) -> Option<Line> {
    serde_json::from_slice(line).ok()
}

fn checked(new: &NewWaiver, now: Timestamp) -> Result<NewWaiver, WaiverError> {
    let finding = line_of_text("FINDING", &new.finding)?;
    let known = cooper_gate::code::explain(&finding);
    if let Some(known) = known.filter(|known| !known.waivable) {
        return Err(WaiverError::NotWaivable { code: known.code });
    }
    // An advisory's name is a word with a hyphen and a digit: CVE-2024-3651, PYSEC-2024-1, GHSA-xxxx-xxxx-xxxx.
    let of_advisory = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_advisory = finding.contains('-') && finding.bytes().all(of_advisory) && finding.len() <= 64;
    let has_digit = finding.bytes().any(|byte| byte.is_ascii_digit());
    let malicious = finding.to_ascii_uppercase().starts_with("MAL-");
    if malicious {
        return Err(WaiverError::NotWaivable {
            code: VulnerabilityCode::Malicious.as_str(),
        });
    }
    if known.is_none() && !(is_advisory && (has_digit || finding.to_ascii_uppercase().starts_with("GHSA-"))) {
        let finding = finding.chars().take(80).collect();
        return Err(WaiverError::UnknownFinding { finding });
    }
    if new.until <= now {
        return Err(WaiverError::Ended { until: new.until });
    }
    let package = line_of_text("--package", &new.package)?;
    let version = line_of_text("--version", &new.version)?;
    // As a Python name it is normalised only if it could not be one of Debian, where `python3.13` is not `python3-13`.
    let of_debian = package.parse::<DebianName>().is_ok();
    let of_python = package.parse::<PythonName>().map(|name| name.to_string());
    if !of_debian && of_python.is_err() {
        return Err(WaiverError::Package { package });
    }
    let is_version = version.parse::<DistributionVersion>().is_ok()
        || of_debian && version.parse::<DebianVersion>().is_ok();
    if !is_version {
        return Err(WaiverError::Version { version });
    }
    Ok(NewWaiver {
        finding: known.map_or(finding, |known| known.code.to_owned()),
        package: if of_debian {
            package
        } else {
            of_python.unwrap_or(package)
        },
        version,
        reason: line_of_text("--reason", &new.reason)?,
        by: line_of_text("--by", &new.by)?,
        until: new.until,
    })
}

fn line_of_text(what: &'static str, text: &str) -> Result<String, WaiverError> {
    let text = text.trim();
    let good = !text.is_empty() && text.chars().count() <= TEXT_MAX && !text.chars().any(char::is_control);
    good.then(|| text.to_owned()).ok_or(WaiverError::Text { what })
}
