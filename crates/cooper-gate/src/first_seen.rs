//! When this store first saw a file whose index does not tell how old it is: our own ledger, as evidence for the age gate.
//!
//! The ledger's owner reads and writes it; here it is only lines. A line that cannot be read says nothing, so that its
//! file counts as one that was never seen: whatever is lost makes a release younger, never older. For the same reason
//! times never go back from line to line ([`FirstSeen::time_of_next`]): a file that is first seen while the clock is
//! set back is not old when the clock is right again.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use cooper_core::plan::{PlannedPython, Snapshot};
use cooper_core::python::DistributionVersion;
use cooper_core::source::PlannedSource;
use cooper_core::{Digest, Plan, PythonName, Timestamp};
use serde::{Deserialize, Serialize};

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The distribution.
    pub name: PythonName,
    /// The release.
    pub version: DistributionVersion,
    /// The file.
    pub sha256: Digest,
    /// When it was first chosen here.
    pub at: Timestamp,
}

impl Sighting {
    /// Read a line; nothing where it is none.
    pub fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// The ledger's lines; they are read when an age is first asked for, once for all clones.
#[derive(Debug, Clone, Default)]
pub struct FirstSeen(Arc<Ledger>);

#[derive(Debug, Default)]
struct Ledger {
    lines: Vec<Vec<u8>>,
    read: OnceLock<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    files: BTreeMap<String, BTreeMap<Digest, Timestamp>>,
    latest: Option<Timestamp>,
}

impl FirstSeen {
    /// A ledger of these lines, oldest first.
    pub fn of_lines(lines: Vec<Vec<u8>>) -> Self {
        Self(Arc::new(Ledger {
            lines,
            read: OnceLock::new(),
        }))
    }

    fn seen(&self) -> &Seen {
        self.0.read.get_or_init(|| {
            let mut seen = Seen::default();
            for sighting in self.0.lines.iter().filter_map(|line| Sighting::parse(line)) {
                seen.latest = seen.latest.max(Some(sighting.at));
                let files = seen.files.entry(sighting.name.to_string()).or_default();
                files.entry(sighting.sha256).or_insert(sighting.at);
            }
            seen
        })
    }

    /// When a file of a distribution was first seen.
    pub fn of(&self, name: &str, sha256: &Digest) -> Option<Timestamp> {
        self.seen().files.get(name)?.get(sha256).copied()
    }

    /// When each file of a distribution was first seen.
    pub(crate) fn of_project(&self, name: &str) -> impl Iterator<Item = Timestamp> {
        let files = self.seen().files.get(name);
        files.into_iter().flat_map(BTreeMap::values).copied()
    }

    /// The time to be written for what is first seen now: never before what is written already, and never before
    /// `not_before`.
    pub fn time_of_next(&self, now: Timestamp, not_before: Option<Timestamp>) -> Timestamp {
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let latest = self.seen().latest.max(not_before);
        latest.map_or(now, |latest| latest.max(now))
    }

    /// What a plan, and the sources that have to be built for it, have that must be written down: files without a time of
    /// their index that were not seen before. Their time is `now`, but not before anything in the ledger, nor before the
    /// signed indexes of the plan were made.
    pub fn new_in(&self, plan: &Plan, sources: &[PlannedSource], now: Timestamp) -> Vec<Sighting> {
        let signed = plan.snapshots.iter().filter_map(|snapshot| match snapshot {
            Snapshot::Debian { date, signed_by, .. } => (!signed_by.is_empty()).then_some(*date),
            Snapshot::Python { .. } => None,
        });
        let signed = signed.max();
        let planned = plan.distributions().map(|one| {
            let file = file_of(one);
            (&one.name, &one.version, one.uploaded, file)
        });
        let sources = sources
            .iter()
            .map(|one| (&one.name, &one.version, one.uploaded, one.sha256));
        let ageless = planned
            .chain(sources)
            .filter(|(.., uploaded, _)| uploaded.is_none());
        let new = ageless.filter_map(|(name, version, _, file)| {
            let sha256 = file?;
            let is_new = self.of(name.as_str(), &sha256).is_none();
            is_new.then(|| Sighting {
                name: name.clone(),
                version: version.clone(),
                sha256,
                at: self.time_of_next(now, signed),
            })
        });
        new.collect()
    }
}

/// The file of the index that a planned distribution is, or was built of.
pub(crate) fn file_of(planned: &PlannedPython) -> Option<Digest> {
    match &planned.built {
        Some(built) => Some(*built.source.sha256.digest()),
        None => planned.sha256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, at: &str) -> Vec<u8> {
        let sha256 = Digest::of(name.as_bytes());
        let line = Sighting {
            name: name.parse().unwrap(),
            version: "1.0".parse().unwrap(),
            sha256,
            at: at.parse().unwrap(),
        };
        serde_json::to_vec(&line).unwrap()
    }

    #[test]
    fn the_first_line_of_a_file_counts_and_torn_ones_say_nothing() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        let torn = line("b", early)[..40].to_vec();
        let seen = FirstSeen::of_lines(vec![line("a", early), torn, b"{}".to_vec(), line("a", late)]);
        let of = |name: &str| seen.of(name, &Digest::of(name.as_bytes()));
        assert_eq!((of("a"), of("b")), (Some(early.parse().unwrap()), None));
        assert_eq!(seen.of("a", &Digest::of(b"another file")), None);
    }

    #[test]
    fn time_never_goes_back() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let seen = FirstSeen::of_lines(vec![line("a", "2026-02-01T00:00:00Z")]);
        let next = |now: &str| seen.time_of_next(time(now), None).to_string();
        assert_eq!(next("2026-03-01T00:00:00Z"), "2026-03-01T00:00:00Z");
        assert_eq!(next("1970-01-01T00:00:00Z"), "2026-02-01T00:00:00Z");
        let none = FirstSeen::default();
        let signed = Some(time("2026-01-05T00:00:00Z"));
        let next = none.time_of_next(time("1970-01-01T00:00:00Z"), signed);
        assert_eq!(next.to_string(), "2026-01-05T00:00:00Z");
    }
}
