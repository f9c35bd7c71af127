//! Records of the OSV schema (1.x), parsed from JSON and reduced to what a judgement needs.
//!
//! <https://ossf.github.io/osv-schema/>. Unknown fields are passed over, as the schema demands of its readers. What
//! cannot be understood is an error for that record alone: it is skipped, and named.

use cooper_core::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::ecosystem::{AnyVersion, Ecosystem};
use super::range::{EventKind, OwnedEvent, OwnedRange, Wanted, is_in_ranges};
use super::severity::{Severity, SeveritySource};
use cooper_core::{DebianName, PythonName};

/// How large a record may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLimits {
    /// Bytes of its JSON.
    pub record_bytes_max: usize,
    /// Versions that it lists.
    pub versions_max: usize,
    /// Packages that it names, with repetitions.
    pub affected_max: usize,
    /// Ranges and events, together.
    pub events_max: usize,
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            record_bytes_max: 16 << 20,
            versions_max: 250_000,
            affected_max: 20_000,
            events_max: 100_000,
        }
    }
}

/// Why a record is skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too large.
    #[error("it has more than {max} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// Not JSON, or not in the shape of a record.
    #[error("it is no OSV record: {reason}")]
    Shape {
        /// What the parser says.
        reason: String,
    },
    /// Of a schema that is not known.
    #[error("it follows version {version} of the schema; 1.x is read")]
    Schema {
        /// Which.
        version: String,
    },
    /// It is about packages that images do not have.
    #[error("it names no package of PyPI or of a Debian release")]
    OtherEcosystem,
    /// It says of no version that it is affected.
    #[error("of {package} it gives neither versions nor ranges that can be read")]
    NoVersions {
        /// The package.
        package: String,
    },
}

/// What Debian's security tracker says of a vulnerability in a source package.
///
/// <https://security-team.debian.org/security_tracker.html>, "Severity levels".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// No security impact for Debian's users: the code is not built, or only misuse triggers it.
    Unimportant,
    /// The release is no longer supported: affected, and no fix will come.
    EndOfLife,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
}

impl Urgency {
    /// As the tracker writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unimportant => "unimportant",
            Self::EndOfLife => "end-of-life",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// `None` for what says nothing: `not yet assigned`. The tracker's `low**` was not set by hand.
    fn of_text(text: &str) -> Option<Self> {
        Some(match text.trim().trim_end_matches('*') {
            "unimportant" => Self::Unimportant,
            "end-of-life" => Self::EndOfLife,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            _ => return None,
        })
    }

    pub(super) const fn of_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Unimportant,
            2 => Self::EndOfLife,
            3 => Self::Low,
            4 => Self::Medium,
            5 => Self::High,
            _ => return None,
        })
    }

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Unimportant => 1,
            Self::EndOfLife => 2,
            Self::Low => 3,
            Self::Medium => 4,
            Self::High => 5,
        }
    }
}

/// A record, checked.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) modified: Timestamp,
    pub(super) published: Option<Timestamp>,
    pub(super) withdrawn: bool,
    /// Other ids of the same vulnerability.
    pub(super) aliases: Vec<String>,
    /// Vulnerabilities that it is about without being one of them: those of a Debian security advisory.
    pub(super) covers: Vec<String>,
    pub(super) summary: String,
    pub(super) severity: Severity,
    pub(super) references: Vec<String>,
    pub(super) affected: Vec<Affected>,
    /// What of it could not be read, where the rest is of use.
    pub(super) problems: Vec<String>,
}

/// What a record says of one package.
#[derive(Debug, Clone)]
pub(super) struct Affected {
    pub(super) ecosystem: Ecosystem,
    pub(super) name: String,
    pub(super) urgency: Option<Urgency>,
    pub(super) ranges: Vec<OwnedRange>,
    /// Sorted keys of listed versions that are in none of the ranges.
    pub(super) versions: Vec<String>,
}

#[derive(Deserialize)]
struct Wire {
    schema_version: Option<String>,
    id: String,
    modified: Timestamp,
    published: Option<Timestamp>,
    withdrawn: Option<Timestamp>,
    aliases: Option<Vec<String>>,
    upstream: Option<Vec<String>>,
    related: Option<Vec<String>>,
    summary: Option<String>,
    details: Option<String>,
    severity: Option<Vec<WireSeverity>>,
    affected: Option<Vec<WireAffected>>,
    references: Option<Vec<WireReference>>,
    database_specific: Option<Value>,
}

#[derive(Deserialize)]
struct WireSeverity {
    score: String,
}

#[derive(Deserialize)]
struct WireReference {
    #[serde(rename = "type")]
    kind: String,
    url: String,
}

#[derive(Deserialize)]
struct WireAffected {
    package: Option<WirePackage>,
    ranges: Option<Vec<WireRange>>,
    versions: Option<Vec<String>>,
    severity: Option<Vec<WireSeverity>>,
    ecosystem_specific: Option<Value>,
    database_specific: Option<Value>,
}

#[derive(Deserialize)]
struct WirePackage {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct WireRange {
    #[serde(rename = "type")]
    kind: String,
    events: Vec<WireEvent>,
}

#[derive(Deserialize)]
struct WireEvent {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
    limit: Option<String>,
}

impl Record {
    /// Parse one record.
    pub(super) fn parse(json: &[u8], limits: &RecordLimits) -> Result<Self, RecordError> {
        bound(json.len(), limits.record_bytes_max, "bytes")?;
        let wire: Wire = serde_json::from_slice(json).map_err(|error| RecordError::Shape {
            reason: clean(&error.to_string(), 200),
        })?;
        if let Some(version) = &wire.schema_version
            && version.split('.').next() != Some("1")
        {
            let version = clean(version, 40);
            return Err(RecordError::Schema { version });
        }
        if !is_id(&wire.id) {
            let reason = "its id is not a short plain word".to_owned();
            return Err(RecordError::Shape { reason });
        }
        Self::of_wire(wire, limits)
    }

    fn of_wire(wire: Wire, limits: &RecordLimits) -> Result<Self, RecordError> {
        let affected = wire.affected.unwrap_or_default();
        check_counts(&affected, limits)?;
        let severity = severity_of(
            wire.severity.as_deref(),
            &affected,
            wire.database_specific.as_ref(),
        );
        let mut problems = Vec::new();
        let withdrawn = wire.withdrawn.is_some();
        let affected = if withdrawn {
            Vec::new()
        } else {
            read_affected(affected, wire.id.starts_with("MAL-"), &mut problems)?
        };
        let (aliases, covers) = other_ids(&wire.id, wire.aliases, wire.upstream, wire.related);
        let summary = wire.summary.filter(|summary| !summary.trim().is_empty());
        Ok(Self {
            id: wire.id,
            modified: wire.modified,
            published: wire.published,
            withdrawn,
            aliases,
            covers,
            summary: clean(&summary.or(wire.details).unwrap_or_default(), SUMMARY_CHARS_MAX),
            severity,
            references: best_references(wire.references.unwrap_or_default()),
            affected,
            problems,
        })
    }
}

const SUMMARY_CHARS_MAX: usize = 300;
const ALIASES_MAX: usize = 200;
const REFERENCES_MAX: usize = 3;
const URL_BYTES_MAX: usize = 500;

fn bound(count: usize, max: usize, what: &'static str) -> Result<(), RecordError> {
    if count > max {
        return Err(RecordError::TooLarge { what, max });
    }
    Ok(())
}

fn check_counts(affected: &[WireAffected], limits: &RecordLimits) -> Result<(), RecordError> {
    let ranges = || affected.iter().filter_map(|one| one.ranges.as_ref()).flatten();
    let versions = affected.iter().filter_map(|one| one.versions.as_ref());
    let events: usize = ranges().map(|range| range.events.len() + 1).sum();
    bound(affected.len(), limits.affected_max, "packages")?;
    bound(events, limits.events_max, "events")?;
    bound(versions.map(Vec::len).sum(), limits.versions_max, "versions")
}

/// Every package of our ecosystems; an error where there is none, or none with versions. What is malicious and names no
/// versions is so in all of them.
fn read_affected(
    wire: Vec<WireAffected>,
    malicious: bool,
    problems: &mut Vec<String>,
) -> Result<Vec<Affected>, RecordError> {
    let mut read = Vec::new();
    let mut without_versions = None;
    let mut known = false;
    for one in wire {
        let Some((ecosystem, name)) = one
            .package
            .as_ref()
            .and_then(|package| package_of(package, problems))
        else {
            continue;
        };
        known = true;
        let mut affected = affected_of(one, ecosystem, name, problems);
        let is_open = affected.ranges.is_empty() && affected.versions.is_empty();
        if malicious && is_open {
            affected.ranges.extend(OwnedRange::of_all(ecosystem));
        }
        if affected.ranges.is_empty() && affected.versions.is_empty() {
            let text = format!("{} {}", affected.ecosystem, affected.name);
            problems.push(format!("neither versions nor ranges of {text} can be read"));
            without_versions = Some(text);
        } else {
            read.push(affected);
        }
    }
    match (read.is_empty(), known, without_versions) {
        (true, false, _) => Err(RecordError::OtherEcosystem),
        (true, true, Some(package)) => Err(RecordError::NoVersions { package }),
        _ => Ok(read),
    }
}

fn package_of(package: &WirePackage, problems: &mut Vec<String>) -> Option<(Ecosystem, String)> {
    let ecosystem: Ecosystem = package.ecosystem.parse().ok()?;
    let name = match ecosystem {
        Ecosystem::PyPI => package
            .name
            .parse::<PythonName>()
            .ok()
            .map(|name| name.to_string()),
        Ecosystem::Debian(_) => package
            .name
            .parse::<DebianName>()
            .ok()
            .map(|name| name.to_string()),
    };
    if name.is_none() {
        problems.push(format!(
            "`{}` is no name in {ecosystem}",
            clean(&package.name, 80)
        ));
    }
    Some((ecosystem, name?))
}

fn affected_of(
    wire: WireAffected,
    ecosystem: Ecosystem,
    name: String,
    problems: &mut Vec<String>,
) -> Affected {
    let urgency = wire
        .ecosystem_specific
        .as_ref()
        .and_then(|value| value.get("urgency"));
    let urgency = urgency.and_then(Value::as_str).and_then(Urgency::of_text);
    let ranges: Vec<OwnedRange> = wire
        .ranges
        .unwrap_or_default()
        .into_iter()
        // Commits are no versions.
        .filter(|range| range.kind != "GIT")
        .filter_map(|range| match range_of(range, ecosystem) {
            Ok(range) => Some(range),
            Err(text) => {
                problems.push(format!("a range of {ecosystem} {name} cannot be read: {text}"));
                None
            }
        })
        .collect();
    let versions = listed(&wire.versions.unwrap_or_default(), ecosystem, &ranges);
    Affected {
        ecosystem,
        name,
        urgency: urgency.filter(|_| ecosystem != Ecosystem::PyPI),
        ranges,
        versions,
    }
}

/// A range with its events in the order of their versions; the error names what is no version.
fn range_of(wire: WireRange, ecosystem: Ecosystem) -> Result<OwnedRange, String> {
    if !matches!(wire.kind.as_str(), "ECOSYSTEM" | "SEMVER") {
        return Err(format!("it is of the kind `{}`", clean(&wire.kind, 40)));
    }
    let mut events = Vec::new();
    for event in wire.events {
        let parts = [
            (EventKind::Introduced, event.introduced),
            (EventKind::Fixed, event.fixed),
            (EventKind::LastAffected, event.last_affected),
            (EventKind::Limit, event.limit),
        ];
        let parts = parts.into_iter().filter_map(|(kind, text)| Some((kind, text?)));
        for (kind, text) in parts {
            let event = OwnedEvent::parse(kind, &text, ecosystem);
            events.push(event.ok_or_else(|| format!("`{}` is no version", clean(&text, 80)))?);
        }
    }
    if !events.iter().any(|event| event.kind == EventKind::Introduced) {
        return Err("it says of no version that the vulnerability came with it".to_owned());
    }
    Ok(OwnedRange::sorted(events))
}

/// The keys of the listed versions that no range has anyway. What is no version of the ecosystem cannot be
/// installed, and is left out.
fn listed(versions: &[String], ecosystem: Ecosystem, ranges: &[OwnedRange]) -> Vec<String> {
    let parsed = versions
        .iter()
        .filter_map(|text| AnyVersion::parse(ecosystem, text));
    let mut keys: Vec<String> = parsed
        .map(Wanted::new)
        .filter(|version| !is_in_ranges(version, ranges))
        .map(|version| version.keys().0.clone())
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

/// The worst of all vectors; else the worst word; else missing.
fn severity_of(
    own: Option<&[WireSeverity]>,
    affected: &[WireAffected],
    specific: Option<&Value>,
) -> Severity {
    let of_packages = affected
        .iter()
        .filter_map(|one| one.severity.as_deref())
        .flatten();
    let vectors = own.unwrap_or_default().iter().chain(of_packages);
    let vectors = vectors.filter_map(|one| Severity::of_vector(&one.score));
    if let Some(worst) = vectors.reduce(Severity::worse) {
        return worst;
    }
    let specifics = affected.iter().filter_map(|one| one.database_specific.as_ref());
    let words = specific.into_iter().chain(specifics);
    let words = words.filter_map(|value| value.get("severity").and_then(Value::as_str));
    let words = words.filter_map(|word| Severity::of_word(word, SeveritySource::Word));
    words.reduce(Severity::worse).unwrap_or_else(Severity::missing)
}

/// Other ids of the same vulnerability, and ids of those that the record is about.
///
/// `DEBIAN-CVE-2024-1` is Debian's record of the one CVE in `upstream`. Security advisories (DSA, DLA) are about
/// several, which older exports have as aliases.
fn other_ids(
    id: &str,
    aliases: Option<Vec<String>>,
    upstream: Option<Vec<String>>,
    related: Option<Vec<String>>,
) -> (Vec<String>, Vec<String>) {
    let ids = |lists: Vec<Option<Vec<String>>>| {
        let all = lists.into_iter().flatten().flatten();
        let mut ids: Vec<String> = all.filter(|other| other != id && is_id(other)).collect();
        ids.sort();
        ids.dedup();
        ids.truncate(ALIASES_MAX);
        ids
    };
    if is_grouping(id) {
        let cves = ids(vec![aliases, upstream, related]);
        return (
            Vec::new(),
            cves.into_iter().filter(|id| id.starts_with("CVE-")).collect(),
        );
    }
    let upstream = upstream.filter(|_| id.starts_with("DEBIAN-CVE-"));
    (ids(vec![aliases, upstream]), Vec::new())
}

/// Whether a record is an announcement about several vulnerabilities.
fn is_grouping(id: &str) -> bool {
    ["DSA-", "DLA-", "DTSA-"]
        .iter()
        .any(|prefix| id.starts_with(prefix))
}

fn is_id(text: &str) -> bool {
    (3..=100).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// The addresses that say most, the advisory first.
fn best_references(references: Vec<WireReference>) -> Vec<String> {
    let rank = |kind: &str| match kind {
        "ADVISORY" => 0,
        "FIX" => 1,
        "REPORT" | "ARTICLE" => 2,
        _ => 3,
    };
    let is_plain = |url: &str| {
        (url.starts_with("https://") || url.starts_with("http://"))
            && url.len() <= URL_BYTES_MAX
            && url.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let mut best: Vec<WireReference> = references
        .into_iter()
        .filter(|reference| is_plain(&reference.url))
        .collect();
    best.sort_by(|a, b| (rank(&a.kind), &a.url).cmp(&(rank(&b.kind), &b.url)));
    best.dedup_by(|a, b| a.url == b.url);
    best.truncate(REFERENCES_MAX);
    best.into_iter().map(|reference| reference.url).collect()
}

/// One line of plain text: white space joined, control and direction characters left out, cut to `chars_max`.
pub(super) fn clean(text: &str, chars_max: usize) -> String {
    let hidden = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut line = String::new();
    for word in text.split_whitespace().take(chars_max) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(chars_max).filter(hidden));
        if line.len() > chars_max * 4 {
            break;
        }
    }
    if line.chars().count() > chars_max {
        line = line.chars().take(chars_max.saturating_sub(1)).collect();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Record, RecordError> {
        Record::parse(json.as_bytes(), &RecordLimits::default())
    }

    #[test]
    fn a_record_is_reduced_to_what_counts() {
        let record = parse(
            r#"{"id":"GHSA-aaaa-bbbb-cccc","modified":"2024-01-02T00:00:00Z","aliases":["CVE-2024-1","GHSA-aaaa-bbbb-cccc"],
            "summary":"Bad\u001b[31m \n thing\u202e","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"},
            {"type":"CVSS_V4","score":"nonsense"}],"database_specific":{"severity":"CRITICAL"},"future_field":[1],
            "references":[{"type":"WEB","url":"https://b.test/"},{"type":"ADVISORY","url":"https://a.test/"},{"type":"WEB","url":"javascript:x"}],
            "affected":[{"package":{"ecosystem":"npm","name":"x"}},{"package":{"ecosystem":"PyPI","name":"My_Pkg"},
            "ranges":[{"type":"GIT","repo":"r","events":[{"introduced":"0"}]},{"type":"ECOSYSTEM","events":[{"fixed":"1.2"},{"introduced":"0"}]}],
            "versions":["1.0","v1.1","2.0.0","2.0","not a version"]}]}"#,
        )
        .unwrap();
        assert_eq!(record.aliases, ["CVE-2024-1"]);
        assert_eq!(record.summary, "Bad[31m thing");
        assert_eq!(record.severity.score_tenths, Some(75));
        assert_eq!(record.references, ["https://a.test/", "https://b.test/"]);
        let [affected] = record.affected.as_slice() else {
            panic!("{:?}", record.affected)
        };
        assert_eq!(affected.name, "my-pkg");
        // Only what the range does not have.
        assert_eq!(affected.versions, ["2"]);
    }

    #[test]
    fn what_is_no_record_is_an_error_that_says_why() {
        let told = |json: &str| parse(json).unwrap_err().to_string();
        assert!(told("{").starts_with("it is no OSV record: EOF"));
        assert!(told(r#"{"modified":"2024-01-01T00:00:00Z"}"#).contains("missing field `id`"));
        let head = r#""id":"X-1","modified":"2024-01-01T00:00:00Z""#;
        assert_eq!(
            told(&format!("{{{head},\"schema_version\":\"2.0.0\"}}")),
            "it follows version 2.0.0 of the schema; 1.x is read"
        );
        assert_eq!(
            told(&format!(
                r#"{{{head},"affected":[{{"package":{{"ecosystem":"npm","name":"x"}}}}]}}"#
            )),
            "it names no package of PyPI or of a Debian release"
        );
        let git = r#""ranges":[{"type":"GIT","events":[{"introduced":"0"}]}]"#;
        assert_eq!(
            told(&format!(
                r#"{{{head},"affected":[{{"package":{{"ecosystem":"PyPI","name":"x"}},{git}}}]}}"#
            )),
            "of PyPI x it gives neither versions nor ranges that can be read"
        );
        assert!(told(r#"{"id":"a b","modified":"2024-01-01T00:00:00Z"}"#).contains("plain word"));
        let deep = "[".repeat(100_000);
        assert!(told(&deep).starts_with("it is no OSV record"));
    }

    #[test]
    fn sizes_are_bounded_and_large_records_are_read() {
        let versions = |count: usize| {
            let list: Vec<String> = (0..count).map(|number| format!("\"{number}.1\"")).collect();
            format!(
                r#"{{"id":"X-1","modified":"2024-01-01T00:00:00Z","affected":[{{"package":{{"ecosystem":"PyPI","name":"x"}},"versions":[{}]}}]}}"#,
                list.join(",")
            )
        };
        assert_eq!(
            parse(&versions(100_000)).unwrap().affected[0].versions.len(),
            100_000
        );
        assert_eq!(
            parse(&versions(250_001)).unwrap_err().to_string(),
            "it has more than 250000 versions"
        );
        let limits = RecordLimits {
            record_bytes_max: 10,
            ..RecordLimits::default()
        };
        let error = Record::parse(b"{\"id\":\"X-1\"}", &limits).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 10 bytes");
    }

    #[test]
    fn debian_advisories_cover_and_debian_records_are_the_cve() {
        let of = |id: &str, field: &str| {
            parse(&format!(
                r#"{{"id":"{id}","modified":"2024-01-01T00:00:00Z","{field}":["CVE-2024-1","CVE-2024-2"],"affected":[{{"package":{{"ecosystem":"Debian:13","name":"curl"}},
                "ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}}]}}],"ecosystem_specific":{{"urgency":"end-of-life"}}}}]}}"#
            ))
            .unwrap()
        };
        let advisory = of("DSA-1-1", "aliases");
        assert_eq!((advisory.aliases.len(), advisory.covers.len()), (0, 2));
        let record = of("DEBIAN-CVE-2024-1", "upstream");
        assert_eq!((record.aliases.len(), record.covers.len()), (2, 0));
        assert_eq!(record.affected[0].urgency, Some(Urgency::EndOfLife));
        // Elsewhere, upstream is what a record derives from.
        assert_eq!(of("X-2", "upstream").aliases, [""; 0]);
    }
}
