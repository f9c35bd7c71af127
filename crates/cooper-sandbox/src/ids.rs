//! Which ids a run has: the user that it is on the host, and the maps of its user namespace.

use std::fmt::Write as _;
use std::ops;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::caller::{Caller, IMAGE_IDS};
use crate::spec::Profile;

/// The first of the host ids that runs use: a range that nobody else allocates (systemd's table of ids leaves
/// 1879048192 to 2147352575 unused).
const HOST_ID_FIRST: u32 = 0x7000_0000;
const HOST_IDS: u32 = 1 << 27;
const HOST_IDS_PER_PROCESS: u32 = 32;

/// Host ids that belong to one process alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

impl Range {
    /// Those of the calling process. In a user namespace there is one for all, that of its runs.
    pub(crate) fn own(caller: Caller) -> Self {
        if caller.is_namespaced() {
            return Self {
                first: IdSpace::of(caller).next(),
                count: 1,
            };
        }
        Self {
            first: HOST_ID_FIRST + (std::process::id() & 0x3f_ffff) * HOST_IDS_PER_PROCESS,
            count: HOST_IDS_PER_PROCESS,
        }
    }

    /// This many from the beginning, and the others.
    pub(crate) fn split(self, count: u32) -> (Self, Self) {
        let count = count.min(self.count);
        let others = Self {
            first: self.first + count,
            count: self.count - count,
        };
        (Self { count, ..self }, others)
    }

    /// All but the first.
    pub(crate) fn rest(self) -> Self {
        Self {
            first: self.first + 1,
            count: self.count - 1,
        }
    }
}

/// The ids that the caller can give away, in its own numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdSpace {
    /// Those below mean inside what they mean outside.
    shared_end: u32,
    /// Those of runs.
    own: ops::Range<u32>,
}

impl IdSpace {
    /// Those of a caller. In a user namespace the ids above those that images use are for runs. Where there are none,
    /// runs are the last user that there is; they then share what the kernel counts by user, and are kept apart by all
    /// the other walls. With one id alone a run is its caller.
    pub(crate) fn of(caller: Caller) -> Self {
        match caller {
            Caller::HostRoot | Caller::Ordinary => Self {
                shared_end: HOST_ID_FIRST,
                own: HOST_ID_FIRST..HOST_ID_FIRST + HOST_IDS,
            },
            Caller::NamespaceRoot { ids } => {
                let first = if ids > IMAGE_IDS {
                    IMAGE_IDS
                } else {
                    ids.saturating_sub(1)
                };
                Self {
                    shared_end: first,
                    own: first..ids.max(1),
                }
            }
        }
    }

    /// An id for a run: by the caller's pid (22 bits) and a count, so that on the host no two live runs have the same.
    pub(crate) fn next(&self) -> u32 {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed) % HOST_IDS_PER_PROCESS;
        let slot = (std::process::id() & 0x3f_ffff) * HOST_IDS_PER_PROCESS + count;
        self.own.start + slot % (self.own.end - self.own.start)
    }

    /// The first id that no user inside may have.
    pub(crate) fn users_end(&self) -> u32 {
        self.own.start.max(IMAGE_IDS)
    }

    /// The ranges of a run's user namespace, of users or of groups. `own` is an id of [`Self::next`].
    pub(crate) fn ranges(&self, profile: Profile, inside: u32, own: u32) -> Vec<Mapped> {
        let same = |first: u32, end: u32| Mapped {
            inside: first,
            outside: first,
            count: end.saturating_sub(first),
        };
        let ranges = match profile {
            Profile::Build => vec![same(0, IMAGE_IDS)],
            Profile::Run => vec![
                same(0, inside.min(self.shared_end)),
                Mapped {
                    inside,
                    outside: own,
                    count: 1,
                },
                same(inside + 1, self.shared_end),
            ],
        };
        ranges.into_iter().filter(|range| range.count > 0).collect()
    }
}

/// A line of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapped {
    inside: u32,
    outside: u32,
    count: u32,
}

/// The lines of `/proc/PID/uid_map`: inside, outside, length; cut where one of the caller's own ranges begins.
pub(crate) fn lines(ranges: &[Mapped], of_caller: &[(u32, u32)]) -> String {
    let mut lines = String::new();
    for range in ranges {
        let end = range.outside.saturating_add(range.count);
        let mut starts = vec![range.outside];
        let inner = of_caller.iter().map(|(first, _)| *first);
        starts.extend(inner.filter(|first| range.outside < *first && *first < end));
        let ends = starts.iter().skip(1).copied().chain([end]);
        for (start, end) in starts.iter().zip(ends) {
            let inside = range.inside + (start - range.outside);
            let _ = writeln!(lines, "{inside} {start} {}", end - start);
        }
    }
    lines
}

/// The same ranges, each to the numbers that it has inside.
pub(crate) fn again(lines: &str) -> String {
    let mut again = String::new();
    for line in lines.lines() {
        let mut words = line.split(' ');
        if let (Some(inside), Some(_), Some(count)) = (words.next(), words.next(), words.next()) {
            let _ = writeln!(again, "{inside} {inside} {count}");
        }
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: u32) -> IdSpace {
        IdSpace::of(Caller::NamespaceRoot { ids })
    }

    #[test]
    fn runs_have_ids_that_no_image_uses() {
        let host = IdSpace::of(Caller::HostRoot);
        assert_ne!(host.next(), host.next());
        assert!(host.next() >= HOST_ID_FIRST);
        assert_eq!(of(65_537).next(), 65_536);
        assert_eq!(of(65_536).next(), 65_535);
        assert!((65_536..200_000).contains(&of(200_000).next()));
        assert_eq!((of(2).next(), of(1).next(), of(0).next()), (1, 0, 0));
    }

    #[test]
    fn no_id_is_mapped_twice() {
        let map =
            |space: IdSpace, profile, inside, own| lines(&space.ranges(profile, inside, own), &[(0, 9)]);
        let run = |ids: u32, own| map(of(ids), Profile::Run, 1000, own);
        assert_eq!(
            map(
                IdSpace::of(Caller::HostRoot),
                Profile::Run,
                1000,
                HOST_ID_FIRST + 7
            ),
            "0 0 1000\n1000 1879048199 1\n1001 1001 1879047191\n"
        );
        assert_eq!(run(65_537, 65_536), "0 0 1000\n1000 65536 1\n1001 1001 64535\n");
        assert_eq!(run(65_536, 65_535), "0 0 1000\n1000 65535 1\n1001 1001 64534\n");
        assert_eq!(run(500, 499), "0 0 499\n1000 499 1\n");
        assert_eq!(run(1001, 1000), "0 0 1000\n1000 1000 1\n");
        assert_eq!(run(1, 0), "1000 0 1\n");
        assert_eq!(map(of(65_537), Profile::Build, 0, 65_536), "0 0 65536\n");
        assert_eq!(
            again(&run(65_537, 65_536)),
            "0 0 1000\n1000 1000 1\n1001 1001 64535\n"
        );
    }

    #[test]
    fn no_line_lies_across_two_ranges_of_the_caller() {
        let ranges = of(70_000).ranges(Profile::Run, 1000, 65_536);
        assert_eq!(
            lines(&ranges, &[(0, 1), (1, 29_999), (30_000, 40_000)]),
            "0 0 1\n1 1 999\n1000 65536 1\n1001 1001 28999\n30000 30000 35536\n"
        );
        let build = of(70_000).ranges(Profile::Build, 0, 65_536);
        assert_eq!(lines(&build, &[(0, 1), (1, 69_999)]), "0 0 1\n1 1 65535\n");
    }
}
