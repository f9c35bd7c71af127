//! Which vulnerabilities affect a package: all snapshots together, one hit for each vulnerability.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use cooper_core::{PythonName, Severity as Rating, Timestamp};

use super::ecosystem::{AnyVersion, Ecosystem, Subject};
use super::epss::EpssTable;
use super::exploited::ExploitedList;
use super::hit::Hit;
use super::osv::Urgency;
use super::range::{EventKind, Wanted, is_in_ranges, is_listed};
use super::severity::{Severity, SeveritySource};
use super::snapshot::{AdvisorySnapshot, Entry, ReadSnapshotError, RecordData, RecordRow};
use super::vex::VexStatements;

/// Everything that is known of vulnerabilities, for queries. Empty parts say nothing.
#[derive(Debug, Clone, Default)]
pub struct Advisories {
    /// OSV records. Of records with one id in several snapshots the newest counts.
    pub snapshots: Vec<AdvisorySnapshot>,
    /// Known to be exploited.
    pub exploited: ExploitedList,
    /// Probabilities of exploitation.
    pub epss: Option<EpssTable>,
    /// Statements that lift findings.
    pub vex: VexStatements,
}

/// What one record of a snapshot says of a package.
struct Said<'a> {
    /// The snapshot's place among all.
    number: usize,
    snapshot: &'a AdvisorySnapshot,
    record: u32,
    entry: Entry<'a>,
}

/// A record that affects the subject.
struct Match<'a> {
    id: String,
    modified: i64,
    data: RecordData,
    urgency: Option<Urgency>,
    entries: Vec<&'a Entry<'a>>,
}

impl Match<'_> {
    fn affects(&self, wanted: &Wanted) -> bool {
        self.entries.iter().any(|entry| entry.affects(wanted))
    }

    fn ids(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.id).chain(&self.data.aliases)
    }
}

impl Entry<'_> {
    fn affects(&self, wanted: &Wanted) -> bool {
        is_in_ranges(wanted, &self.ranges) || is_listed(wanted, &self.versions)
    }
}

impl Advisories {
    /// Whether there are any records at all.
    pub fn is_empty(&self) -> bool {
        self.snapshots
            .iter()
            .all(|snapshot| snapshot.counts().records == 0)
    }

    /// The vulnerabilities that affect a package at its version, the worst first: one hit for each, under whatever ids
    /// it has records.
    ///
    /// # Errors
    /// When a snapshot is damaged: then nothing is known.
    pub fn affecting(&self, subject: &Subject<'_>) -> Result<Vec<Hit>, ReadSnapshotError> {
        self.hits(&self.said(subject.ecosystem(), subject.name())?, subject)
    }

    /// The same, and the smallest version that repairs it, as by [`Advisories::smallest_repair`].
    ///
    /// # Errors
    /// When a snapshot is damaged: then nothing is known.
    pub fn affecting_and_repair(
        &self,
        subject: &Subject<'_>,
    ) -> Result<(Vec<Hit>, Option<String>), ReadSnapshotError> {
        let said = self.said(subject.ecosystem(), subject.name())?;
        let hits = self.hits(&said, subject)?;
        let repair = self.repair(&said, subject, &hits)?;
        Ok((hits, repair))
    }

    /// The smallest version above the subject's at which nothing that is fixed by these hits affects it any more, and
    /// nothing else does either; `None` where no known fix is that good.
    ///
    /// # Errors
    /// When a snapshot is damaged.
    pub fn smallest_repair(
        &self,
        subject: &Subject<'_>,
        hits: &[Hit],
    ) -> Result<Option<String>, ReadSnapshotError> {
        self.repair(&self.said(subject.ecosystem(), subject.name())?, subject, hits)
    }

    fn hits(&self, said: &[Said<'_>], subject: &Subject<'_>) -> Result<Vec<Hit>, ReadSnapshotError> {
        let wanted = Wanted::new(subject.version());
        let groups = covered(grouped(self.matches(said, &wanted)?));
        let mut hits: Vec<Hit> = groups
            .iter()
            .map(|group| self.hit(group, subject, &wanted.version))
            .collect();
        hits.sort_by(|a, b| {
            let rank = |hit: &Hit| (hit.malicious, hit.severity.rating, hit.severity.score_tenths);
            rank(b).cmp(&rank(a)).then_with(|| a.id.cmp(&b.id))
        });
        Ok(hits)
    }

    fn repair(
        &self,
        said: &[Said<'_>],
        subject: &Subject<'_>,
        hits: &[Hit],
    ) -> Result<Option<String>, ReadSnapshotError> {
        let version = subject.version();
        let texts: BTreeSet<&String> = hits.iter().flat_map(|hit| &hit.fixed_in).collect();
        let parsed = texts
            .into_iter()
            .filter_map(|text| Some((version.sibling(text)?, text)));
        let mut candidates: Vec<(AnyVersion, &String)> = parsed.collect();
        candidates.sort_by(|(a, _), (b, _)| a.compare(b));
        for (candidate, text) in candidates {
            let candidate = Wanted::new(candidate);
            let affected = said
                .iter()
                .filter(|said| said.entry.affects(&candidate))
                .map(|said| Ok(self.in_force(said)?.is_some()))
                .find(|in_force| !matches!(in_force, Ok(false)))
                .transpose()?;
            if affected.is_none() {
                return Ok(Some(text.clone()));
            }
        }
        Ok(None)
    }

    /// Everything that the records say of a package, withdrawn and superseded ones too.
    fn said(&self, ecosystem: Ecosystem, name: &str) -> Result<Vec<Said<'_>>, ReadSnapshotError> {
        let mut said = Vec::new();
        for (number, snapshot) in self.snapshots.iter().enumerate() {
            let entries = snapshot.entries_of(ecosystem, name)?.into_iter();
            said.extend(entries.map(|(record, entry)| Said {
                number,
                snapshot,
                record,
                entry,
            }));
        }
        Ok(said)
    }

    /// The record, unless it is withdrawn or another snapshot has a newer state of it.
    fn in_force<'a>(&self, said: &Said<'a>) -> Result<Option<RecordRow<'a>>, ReadSnapshotError> {
        let row = said.snapshot.record(said.record)?;
        let counts = !row.withdrawn && !self.is_superseded(row.id, row.modified, said.number)?;
        Ok(counts.then_some(row))
    }

    /// The record by which a package is malicious in some version, and whether it is so in every one. The name may be one
    /// that no package has.
    ///
    /// # Errors
    /// When a snapshot is damaged.
    pub fn malicious_name(&self, name: &PythonName) -> Result<Option<(String, bool)>, ReadSnapshotError> {
        let mut found: Option<(String, bool)> = None;
        for said in self.said(Ecosystem::PyPI, name.as_str())? {
            let row = self.in_force(&said)?;
            let Some(id) = row.map(|row| row.id).filter(|id| id.starts_with("MAL-")) else {
                continue;
            };
            let events = || said.entry.ranges.iter().flat_map(|range| &range.events);
            let wholly =
                events().next().is_some() && events().all(|event| event.kind == EventKind::Introduced);
            if found.as_ref().is_none_or(|(_, known)| !known && wholly) {
                found = Some((id.to_owned(), wholly));
            }
        }
        Ok(found)
    }

    fn matches<'a>(
        &self,
        said: &'a [Said<'a>],
        wanted: &Wanted,
    ) -> Result<Vec<Match<'a>>, ReadSnapshotError> {
        let mut matches: Vec<Match<'a>> = Vec::new();
        for one in said.iter().filter(|said| said.entry.affects(wanted)) {
            let Some(row) = self.in_force(one)? else {
                continue;
            };
            let entry = &one.entry;
            if let Some(known) = matches.iter_mut().find(|known| known.id == row.id) {
                known.urgency = known.urgency.or(entry.urgency);
                known.entries.push(entry);
                continue;
            }
            matches.push(Match {
                id: row.id.to_owned(),
                modified: row.modified,
                data: row.read()?,
                urgency: entry.urgency,
                entries: vec![entry],
            });
        }
        Ok(matches)
    }

    /// Whether another snapshot has a newer state of this record; of equal ones the first snapshot's counts.
    fn is_superseded(&self, id: &str, modified: i64, number: usize) -> Result<bool, ReadSnapshotError> {
        for (other, snapshot) in self.snapshots.iter().enumerate() {
            if other == number {
                continue;
            }
            let newer = |theirs: i64| theirs > modified || (theirs == modified && other < number);
            if snapshot.find_record(id)?.is_some_and(|row| newer(row.modified)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn hit(&self, group: &[Match<'_>], subject: &Subject<'_>, version: &AnyVersion) -> Hit {
        let ids: BTreeSet<&String> = group.iter().flat_map(Match::ids).collect();
        let id = ids
            .iter()
            .min_by_key(|id| (rank(id), **id))
            .map(|id| (*id).clone());
        let id = id.unwrap_or_default();
        let aliases = ids.into_iter().filter(|other| **other != id).cloned().collect();
        let urgency = group.iter().find_map(|found| found.urgency);
        let mut hit = Hit {
            summary: text_of(group),
            severity: severity_of(group, urgency),
            fixed_in: fixes(group, version),
            references: references_of(group),
            malicious: group.iter().any(|found| found.id.starts_with("MAL-")),
            exploited: None,
            epss: None,
            urgency,
            vex: None,
            records: group.iter().map(|found| found.id.clone()).collect(),
            published: group
                .iter()
                .filter_map(|found| found.data.published)
                .min()
                .and_then(time),
            modified: group.iter().map(|found| found.modified).max().and_then(time),
            id,
            aliases,
        };
        let covers = group
            .iter()
            .flat_map(|found| &found.data.covers)
            .map(String::as_str);
        let cves: Vec<&str> = hit
            .ids()
            .chain(covers)
            .filter(|id| id.starts_with("CVE-"))
            .collect();
        let exploited = cves.iter().find_map(|cve| self.exploited.find(cve)).cloned();
        let epss = self.epss.as_ref();
        let epss = epss.and_then(|table| cves.iter().filter_map(|cve| table.find(cve)).max());
        let vex = self.vex.last(subject, &hit.ids().collect::<Vec<_>>()).cloned();
        (hit.exploited, hit.epss, hit.vex) = (exploited, epss, vex);
        hit
    }
}

fn time(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(second).ok()
}

/// By which of its ids a vulnerability is called; the smallest.
fn rank(id: &str) -> u8 {
    let order = ["MAL-", "PYSEC-", "GHSA-", "DSA-", "DLA-", "DEBIAN-", "CVE-"];
    let place = order.iter().position(|prefix| id.starts_with(prefix));
    place
        .and_then(|place| u8::try_from(place).ok())
        .unwrap_or(u8::MAX)
}

/// Records that share an id, directly or through others, are one vulnerability.
fn grouped(matches: Vec<Match<'_>>) -> Vec<Vec<Match<'_>>> {
    let mut groups: Vec<Option<Vec<Match<'_>>>> = Vec::new();
    let mut group_of: BTreeMap<String, usize> = BTreeMap::new();
    for found in matches {
        let joined: BTreeSet<usize> = found.ids().filter_map(|id| group_of.get(id).copied()).collect();
        let mut members = vec![found];
        for at in joined {
            members.extend(groups.get_mut(at).and_then(Option::take).unwrap_or_default());
        }
        let ids = members.iter().flat_map(Match::ids);
        group_of.extend(ids.map(|id| (id.clone(), groups.len())));
        groups.push(Some(members));
    }
    groups
        .into_iter()
        .flatten()
        .map(|mut members| {
            members.sort_by(|a, b| (rank(&a.id), &a.id).cmp(&(rank(&b.id), &b.id)));
            members
        })
        .collect()
}

/// Announcements about several vulnerabilities say nothing new where each of those is a hit of its own.
fn covered(groups: Vec<Vec<Match<'_>>>) -> Vec<Vec<Match<'_>>> {
    let is_announcement = |group: &[Match<'_>]| group.iter().all(|found| !found.data.covers.is_empty());
    let single = groups.iter().filter(|group| !is_announcement(group));
    let known: BTreeSet<String> = single.flatten().flat_map(Match::ids).cloned().collect();
    let is_new = |group: &Vec<Match<'_>>| {
        let mut covers = group.iter().flat_map(|found| &found.data.covers);
        !is_announcement(group) || covers.any(|cve| !known.contains(cve))
    };
    groups.into_iter().filter(is_new).collect()
}

fn text_of(group: &[Match<'_>]) -> String {
    let texts = group.iter().map(|found| &found.data.summary);
    let texts = texts.filter(|text| !text.is_empty());
    // The shortest is a title, the longest details.
    texts.min_by_key(|text| text.len()).cloned().unwrap_or_default()
}

fn references_of(group: &[Match<'_>]) -> Vec<String> {
    let mut references: Vec<String> = Vec::new();
    for reference in group.iter().flat_map(|found| &found.data.references) {
        if !references.contains(reference) && references.len() < 3 {
            references.push(reference.clone());
        }
    }
    references
}

/// What Debian calls unimportant has no severity; its other words count where nobody has a vector.
fn severity_of(group: &[Match<'_>], urgency: Option<Urgency>) -> Severity {
    let of_urgency = |urgency: Urgency, rating| Severity {
        score_tenths: None,
        rating,
        source: SeveritySource::Urgency,
        text: urgency.as_str().to_owned(),
    };
    if urgency == Some(Urgency::Unimportant) {
        return of_urgency(Urgency::Unimportant, Rating::None);
    }
    let severities = group.iter().map(|found| found.data.severity.clone());
    let worst = severities
        .reduce(Severity::worse)
        .unwrap_or_else(Severity::missing);
    let rated = urgency.and_then(|urgency| {
        let rating = match urgency {
            Urgency::Low => Rating::Low,
            Urgency::Medium => Rating::Medium,
            Urgency::High => Rating::High,
            Urgency::Unimportant | Urgency::EndOfLife => return None,
        };
        Some(of_urgency(urgency, rating))
    });
    match rated {
        Some(rated) if worst.source == SeveritySource::Missing => rated,
        _ => worst,
    }
}

/// Versions above this one at which a fix came, and which no record of the group calls affected.
fn fixes(group: &[Match<'_>], version: &AnyVersion) -> Vec<String> {
    let events = group.iter().flat_map(|found| &found.entries);
    let events = events
        .flat_map(|entry| &entry.ranges)
        .flat_map(|range| &range.events);
    let fixed = events.filter(|event| event.kind == EventKind::Fixed);
    let mut candidates: Vec<(AnyVersion, String)> = fixed
        .filter_map(|event| Some((event.version()?, &event.text)))
        .filter(|(candidate, _)| candidate.compare(version) == Ordering::Greater)
        .map(|(candidate, text)| (candidate.clone(), text.clone()))
        .collect();
    candidates.sort_by(|(a, a_text), (b, b_text)| a.compare(b).then_with(|| a_text.cmp(b_text)));
    candidates.dedup_by(|(a, _), (b, _)| a.compare(b) == Ordering::Equal);
    let is_fixed = |candidate: AnyVersion| {
        let candidate = Wanted::new(candidate);
        !group.iter().any(|found| found.affects(&candidate))
    };
    let fixed = candidates
        .into_iter()
        .filter_map(|(candidate, text)| is_fixed(candidate).then_some(text));
    fixed.collect()
}
