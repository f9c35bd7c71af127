//! Who makes the sandbox: root of the host, or root of a user namespace, where many things are not there.
//!
//! Read from the kernel, once for each namespace that the process is in, and not taken from [`crate::become_root`]: a
//! process that was started as root of somebody else's namespace (a rootless Podman's, `unshare -r`) is in the same
//! position.

use std::fs;
use std::sync::{Mutex, PoisonError};

use rustix::process::geteuid;

/// Who this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Root, in the host's own user namespace.
    HostRoot,
    /// Root of a user namespace.
    NamespaceRoot {
        /// How many user and group ids there are, from 0 on. With 1 there is root alone.
        ids: u32,
    },
    /// Anybody else: no sandbox can be made.
    Ordinary,
}

/// How many ids the files of an image may belong to: 0 to 65535.
pub const IMAGE_IDS: u32 = 1 << 16;

impl Caller {
    /// That of this process.
    pub fn of_process() -> Self {
        if !geteuid().is_root() {
            return Self::Ordinary;
        }
        match ranges().map(|ranges| ids_from_zero(&ranges)) {
            [u32::MAX, u32::MAX] => Self::HostRoot,
            [users, groups] => Self::NamespaceRoot {
                ids: users.min(groups).max(1),
            },
        }
    }

    /// Whether files can be given to every id that an image may have.
    pub fn owns_image_ids(self) -> bool {
        match self {
            Self::HostRoot => true,
            Self::NamespaceRoot { ids } => ids >= IMAGE_IDS,
            Self::Ordinary => false,
        }
    }

    /// Whether it is root of a user namespace.
    pub fn is_namespaced(self) -> bool {
        matches!(self, Self::NamespaceRoot { .. })
    }

    /// The extended attributes that overlayfs marks its directories with: those that only the host's root can set, and
    /// for a namespace's root those of users (`userxattr`).
    pub fn overlay_prefix(self) -> &'static str {
        match self {
            Self::HostRoot | Self::Ordinary => "trusted.overlay.",
            Self::NamespaceRoot { .. } => "user.overlay.",
        }
    }
}

/// Ranges of users and of groups.
pub(crate) type Ranges = [Vec<(u32, u32)>; 2];

/// The ranges of user and group ids that there are, sorted: the first and the number of each.
///
/// A map of a namespace below may have no line across two of them: the kernel looks each up as a whole.
pub(crate) fn ranges() -> Ranges {
    // Without a /proc, as in a plain chroot, all of them.
    let read = |path: &str| fs::read_to_string(path).map_or_else(|_| vec![(0, u32::MAX)], |map| parse(&map));
    let mut known = RANGES.lock().unwrap_or_else(PoisonError::into_inner);
    let read = || [read("/proc/self/uid_map"), read("/proc/self/gid_map")];
    known.get_or_insert_with(read).clone()
}

/// The process has entered another user namespace, or its maps were written.
pub(crate) fn forget_ranges() {
    *RANGES.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Those of the namespace that the process is in, once they were read.
static RANGES: Mutex<Option<Ranges>> = Mutex::new(None);

/// The ranges inside of a map (`user_namespaces(7)`: inside, outside, length).
fn parse(map: &str) -> Vec<(u32, u32)> {
    let number = |word: Option<&str>| word?.parse::<u32>().ok();
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((number(words.next())?, number(words.nth(1))?))
    };
    let mut ranges: Vec<(u32, u32)> = map.lines().filter_map(line).collect();
    ranges.sort_unstable();
    ranges
}

/// How many ids there are from 0 on without a gap.
fn ids_from_zero(ranges: &[(u32, u32)]) -> u32 {
    ranges.iter().fold(0, |end, (first, length)| {
        if *first == end {
            end.saturating_add(*length)
        } else {
            end
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_counted_up_to_the_first_gap() {
        let cases = [
            ("         0          0 4294967295\n", u32::MAX),
            ("0 1000 1\n", 1),
            ("0 1000 1\n1 100000 65536\n", 65_537),
            ("1 100000 65536\n0 1000 1\n", 65_537),
            ("0 1000 1\n2 100000 65536\n", 1),
            ("1000 1000 1\n", 0),
            ("", 0),
            ("nonsense\n0 1 x\n", 0),
        ];
        for (map, count) in cases {
            assert_eq!(ids_from_zero(&parse(map)), count, "{map:?}");
        }
    }
}
