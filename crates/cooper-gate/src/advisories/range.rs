//! Whether a version is affected: the evaluation algorithm of the OSV schema.
//!
//! <https://ossf.github.io/osv-schema/#evaluation>: a version is affected when it is listed, or when a range has it.
//! In a range, the events are gone through in the order of their versions; `introduced` at or before the version
//! switches on, `fixed` at or before it and `last_affected` before it switch off; a range with limits ends at them.

use std::cell::OnceCell;
use std::cmp::Ordering;

use super::ecosystem::{AnyVersion, Ecosystem};

/// What happens at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    Introduced,
    Fixed,
    LastAffected,
    Limit,
}

impl EventKind {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Introduced => 0,
            Self::Fixed => 1,
            Self::LastAffected => 2,
            Self::Limit => 3,
        }
    }

    pub(super) const fn of_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Introduced,
            1 => Self::Fixed,
            2 => Self::LastAffected,
            3 => Self::Limit,
            _ => return None,
        })
    }
}

/// Where an event is: before every version (`introduced: 0`), after every version (`limit: *`), or at one.
#[derive(Debug, Clone)]
pub(super) enum Point {
    Start,
    At(AnyVersion),
    End,
}

impl Point {
    fn parse(kind: EventKind, text: &str, ecosystem: Ecosystem) -> Option<Self> {
        match (kind, text) {
            (EventKind::Introduced, "0") => Some(Self::Start),
            (EventKind::Limit, "*") => Some(Self::End),
            _ => AnyVersion::parse(ecosystem, text).map(Self::At),
        }
    }

    /// This point seen from a version: `Less` where the point is before it.
    fn compare_to(&self, version: &AnyVersion) -> Ordering {
        match self {
            Self::Start => Ordering::Less,
            Self::At(point) => point.compare(version),
            Self::End => Ordering::Greater,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::At(_), Self::At(version)) => self.compare_to(version),
            (Self::Start, Self::Start) | (Self::End, Self::End) => Ordering::Equal,
            (Self::Start, _) | (_, Self::End) => Ordering::Less,
            (Self::End, _) | (_, Self::Start) => Ordering::Greater,
        }
    }
}

/// One event, with its text as it was written.
#[derive(Debug, Clone)]
pub(super) struct OwnedEvent {
    pub(super) kind: EventKind,
    pub(super) text: String,
    point: Point,
}

impl OwnedEvent {
    pub(super) fn parse(kind: EventKind, text: &str, ecosystem: Ecosystem) -> Option<Self> {
        let text = text.trim();
        Some(Self {
            kind,
            text: text.to_owned(),
            point: Point::parse(kind, text, ecosystem)?,
        })
    }

    /// The version that it is at.
    pub(super) fn version(&self) -> Option<&AnyVersion> {
        match &self.point {
            Point::At(version) => Some(version),
            Point::Start | Point::End => None,
        }
    }
}

/// A range whose events are in the order of their versions.
#[derive(Debug, Clone)]
pub(super) struct OwnedRange {
    pub(super) events: Vec<OwnedEvent>,
}

impl OwnedRange {
    /// Events at one version stay in the order of the record.
    pub(super) fn sorted(mut events: Vec<OwnedEvent>) -> Self {
        events.sort_by(|a, b| a.point.compare(&b.point));
        Self { events }
    }

    /// Every version.
    pub(super) fn of_all(ecosystem: Ecosystem) -> Option<Self> {
        let event = OwnedEvent::parse(EventKind::Introduced, "0", ecosystem)?;
        Some(Self { events: vec![event] })
    }

    fn has(&self, wanted: &Wanted) -> bool {
        let version = &wanted.version;
        if !self.is_before_limits(version) {
            return false;
        }
        // `last_affected: 2.1` means the build `2.1+cpu`, too.
        let public = wanted.public.as_ref().unwrap_or(version);
        let mut affected = false;
        for event in &self.events {
            let reached = event.point.compare_to(version) != Ordering::Greater;
            let passed = event.point.compare_to(public) == Ordering::Less;
            match event.kind {
                EventKind::Introduced if reached => affected = true,
                EventKind::Fixed if reached => affected = false,
                EventKind::LastAffected if passed => affected = false,
                _ => {}
            }
        }
        affected
    }

    fn is_before_limits(&self, version: &AnyVersion) -> bool {
        let is_limit = |event: &&OwnedEvent| event.kind == EventKind::Limit;
        let mut limits = self.events.iter().filter(is_limit).peekable();
        limits.peek().is_none() || limits.any(|event| event.point.compare_to(version) == Ordering::Greater)
    }
}

/// A version that is looked for, with what every comparison wants to know of it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) version: AnyVersion,
    public: Option<AnyVersion>,
    keys: OnceCell<(String, Option<String>)>,
}

impl Wanted {
    pub(super) fn new(version: AnyVersion) -> Self {
        Self {
            public: version.public(),
            version,
            keys: OnceCell::new(),
        }
    }

    /// The keys of the version and, where that is another, of the one without its local label.
    pub(super) fn keys(&self) -> &(String, Option<String>) {
        let public = || self.public.as_ref().map(AnyVersion::key);
        self.keys.get_or_init(|| (self.version.key(), public()))
    }
}

/// Whether any range has the version.
pub(super) fn is_in_ranges(wanted: &Wanted, ranges: &[OwnedRange]) -> bool {
    ranges.iter().any(|range| range.has(wanted))
}

/// Whether a version is listed: any spelling of it, and a Python build `2.1+cpu` where `2.1` is.
pub(super) fn is_listed(wanted: &Wanted, keys: &[&str]) -> bool {
    if keys.is_empty() {
        return false;
    }
    let version = &wanted.version;
    let (key, public_key) = wanted.keys();
    keys.iter().any(|listed| {
        let same = || {
            let AnyVersion::Debian(_) = version else {
                return false;
            };
            let listed = version.sibling(listed);
            listed.is_some_and(|listed| listed.compare(version) == Ordering::Equal)
        };
        listed == key || public_key.as_deref() == Some(listed) || same()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventKind::{Fixed, Introduced, LastAffected, Limit};

    fn range(ecosystem: Ecosystem, events: &[(EventKind, &str)]) -> OwnedRange {
        let parse = |(kind, text): &(EventKind, &str)| OwnedEvent::parse(*kind, text, ecosystem).unwrap();
        OwnedRange::sorted(events.iter().map(parse).collect())
    }

    fn wanted(ecosystem: Ecosystem, version: &str) -> Wanted {
        Wanted::new(AnyVersion::parse(ecosystem, version).unwrap())
    }

    fn has(ecosystem: Ecosystem, range: &OwnedRange, version: &str) -> bool {
        range.has(&wanted(ecosystem, version))
    }

    /// Events, what they affect, what not.
    type Case = (
        &'static [(EventKind, &'static str)],
        &'static [&'static str],
        &'static [&'static str],
    );

    #[test]
    fn ranges_are_evaluated_as_the_schema_says() {
        let cases: &[Case] = &[
            (
                &[(Introduced, "0"), (Fixed, "1.2")],
                &["0", "0.dev0", "1.1.9", "1.2rc1", "1.2.dev3"],
                &["1.2", "1.2.0", "1.3"],
            ),
            // Events in any order; two spans in one range.
            (
                &[
                    (Fixed, "2.1"),
                    (Introduced, "2.0"),
                    (Fixed, "1.5"),
                    (Introduced, "1.0"),
                ],
                &["1.0", "1.4", "2.0", "2.0.9"],
                &["0.9", "1.0rc1", "1.5", "1.9", "2.0a1", "2.1"],
            ),
            (
                &[(Introduced, "1.0"), (LastAffected, "1.4")],
                &["1.0", "1.4", "1.4.0"],
                &["0.9", "1.4.post1", "1.5"],
            ),
            (
                &[(Introduced, "0"), (LastAffected, "2.1")],
                &["2.1+cpu"],
                &["2.2+cpu"],
            ),
            (&[(Introduced, "0"), (Fixed, "2.1")], &["2.0+cpu"], &["2.1+cpu"]),
            (&[(Introduced, "0"), (Limit, "1.0")], &["0.9"], &["1.0", "2"]),
            (
                &[(Introduced, "0"), (Limit, "1.0"), (Limit, "*")],
                &["0.9", "2"],
                &[],
            ),
            (&[(Introduced, "0")], &["0", "99"], &[]),
            (
                &[(Introduced, "1!0"), (Fixed, "1!2")],
                &["1!1"],
                &["2025.1", "1!2"],
            ),
        ];
        for (events, affected, fine) in cases {
            let range = range(Ecosystem::PyPI, events);
            for version in *affected {
                assert!(has(Ecosystem::PyPI, &range, version), "{events:?} {version}");
            }
            for version in *fine {
                assert!(!has(Ecosystem::PyPI, &range, version), "{events:?} {version}");
            }
        }
    }

    #[test]
    fn debian_ranges_go_by_dpkg() {
        let debian = Ecosystem::Debian(12);
        let range = range(debian, &[(Introduced, "0"), (Fixed, "7.88.1-10+deb12u5")]);
        for version in ["7.88.1-10+deb12u4", "7.88.1-10", "7.88.1~rc1-1", "0~~"] {
            assert!(has(debian, &range, version), "{version}");
        }
        for version in ["7.88.1-10+deb12u5", "7.88.1-11", "1:1"] {
            assert!(!has(debian, &range, version), "{version}");
        }
    }

    #[test]
    fn listed_versions_are_found_in_any_spelling() {
        let listed = |version: &str, ecosystem, keys: &[&str]| is_listed(&wanted(ecosystem, version), keys);
        assert!(listed("1.0.0", Ecosystem::PyPI, &["0.9", "1"]));
        assert!(listed("2.1+cpu", Ecosystem::PyPI, &["2.1"]));
        assert!(!listed("2.1", Ecosystem::PyPI, &["2.1+cpu"]));
        assert!(listed("1.00-1", Ecosystem::Debian(12), &["1.0-1"]));
        assert!(!listed("1.0-2", Ecosystem::Debian(12), &["1.0-1"]));
    }
}
