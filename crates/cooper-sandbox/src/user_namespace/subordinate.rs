//! The ids that an ordinary user may give away: `subuid(5)` and `subgid(5)`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use crate::caller::IMAGE_IDS;

/// Why an ordinary user has too few ids for the files of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lacking {
    /// The program that maps ids is not there.
    #[error("`{0}` is not installed")]
    Program(&'static str),
    /// The user has no name, by which those programs know users.
    #[error("/etc/passwd has no user {uid}")]
    Name {
        /// The number.
        uid: u32,
    },
    /// A file gives the user no ids, or too few.
    #[error("{file} gives user `{user}` {}", granted(*count))]
    Ids {
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
        /// The user.
        user: String,
        /// How many there are.
        count: u32,
        /// A range that nobody has.
        free: u32,
    },
    /// The program refused.
    #[error("`{program}` failed: {text}")]
    Refused {
        /// `newuidmap` or `newgidmap`.
        program: &'static str,
        /// What it said.
        text: String,
    },
}

/// How many ids a user needs beside its own.
const NEEDED: u32 = IMAGE_IDS - 1;
/// Where login.defs has the first of them.
const FIRST: u32 = 100_000;
const FILE_BYTES_MAX: u64 = 16 << 20;
/// The kernel takes 340 lines; nobody has that many.
const RANGES_MAX: usize = 64;

fn granted(count: u32) -> String {
    match count {
        0 => "no ids".to_owned(),
        count => format!("{count} ids, and the files of images belong to {IMAGE_IDS}"),
    }
}

/// The commands that bring what is lacking, one after the other.
pub fn remedy(lacking: &[Lacking]) -> Option<String> {
    let mut commands = Vec::new();
    if lacking.iter().any(|lack| matches!(lack, Lacking::Program(_))) {
        commands.push("sudo apt install uidmap".to_owned());
    }
    let mut flags = String::new();
    let mut whose = None;
    for lack in lacking {
        if let Lacking::Ids { file, user, free, .. } = lack {
            let flag = if *file == SUBUID {
                "--add-subuids"
            } else {
                "--add-subgids"
            };
            let last = free.saturating_add(IMAGE_IDS - 1);
            let _ = write!(flags, " {flag} {free}-{last}");
            whose = Some(user);
        }
    }
    if let Some(user) = whose {
        commands.push(format!("sudo usermod{flags} {user}"));
    }
    (!commands.is_empty()).then(|| commands.join(" && "))
}

/// A range of ids of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// What one of the two files gives the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) ranges: Vec<Range>,
    /// It is less than images need.
    pub(super) lacking: Option<Lacking>,
}

pub(super) const SUBUID: &str = "/etc/subuid";
pub(super) const SUBGID: &str = "/etc/subgid";

/// The name of a user, as `/etc/passwd` has it.
///
/// # Errors
/// When it has none.
pub(super) fn user_name(uid: u32) -> Result<String, Lacking> {
    name_in(&read("/etc/passwd").unwrap_or_default(), uid).ok_or(Lacking::Name { uid })
}

/// What the files give the user.
pub(super) fn granted_ids(user: &str, uid: u32) -> [Granted; 2] {
    let texts = [SUBUID, SUBGID].map(|file| read(file).unwrap_or_default());
    granted_by(&texts, user, uid)
}

fn granted_by(texts: &[String; 2], user: &str, uid: u32) -> [Granted; 2] {
    let ends = texts
        .iter()
        .flat_map(|text| lines(text))
        .map(|(_, range)| range.first.saturating_add(range.count));
    let free = ends.max().unwrap_or(FIRST).max(FIRST);
    let one = |file: &'static str, text: &String| {
        let own = lines(text).filter(|(name, _)| *name == user || name.parse() == Ok(uid));
        let ranges: Vec<Range> = own.map(|(_, range)| range).take(RANGES_MAX).collect();
        let count = ranges
            .iter()
            .fold(0, |sum: u32, range| sum.saturating_add(range.count));
        let lacking = (count < NEEDED).then(|| Lacking::Ids {
            file,
            user: user.to_owned(),
            count,
            free,
        });
        Granted { ranges, lacking }
    };
    let [users, groups] = texts;
    [one(SUBUID, users), one(SUBGID, groups)]
}

/// `name:first:count`, a name or a number; what is neither is passed over, as the programs do.
fn lines(text: &str) -> impl Iterator<Item = (&str, Range)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields
            .next()
            .filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (count > 0).then_some((name, Range { first, count }))
    })
}

fn name_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

fn read(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(Path::new(path))?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(users: &str, groups: &str) -> [Granted; 2] {
        granted_by(&[users.to_owned(), groups.to_owned()], "ann", 1000)
    }

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let [users, groups] = granted(
            "bob:1:5\nann:100000:65536\n",
            "# ann:1:1\n1000:200000:30000\nann:300000:40000\n",
        );
        let range = |first, count| Range { first, count };
        assert_eq!(
            (users.ranges, users.lacking),
            (vec![range(100_000, 65_536)], None)
        );
        assert_eq!(groups.ranges, [range(200_000, 30_000), range(300_000, 40_000)]);
        assert_eq!(groups.lacking, None);
    }

    #[test]
    fn what_is_lacking_is_told_with_a_command_that_helps() {
        let [users, groups] = granted("bob:165536:65536\nann:100000:1000\nann:x:y\nann\n", "");
        let (users, groups) = (users.lacking.unwrap(), groups.lacking.unwrap());
        assert_eq!(
            users.to_string(),
            "/etc/subuid gives user `ann` 1000 ids, and the files of images belong to 65536"
        );
        assert_eq!(groups.to_string(), "/etc/subgid gives user `ann` no ids");
        assert_eq!(
            remedy(&[Lacking::Program("newuidmap"), users, groups.clone()]).unwrap(),
            "sudo apt install uidmap && sudo usermod --add-subuids 231072-296607 --add-subgids 231072-296607 ann"
        );
        assert_eq!(
            remedy(&[groups]).unwrap(),
            "sudo usermod --add-subgids 231072-296607 ann"
        );
        let [users, _] = granted("", "");
        assert_eq!(
            remedy(&[users.lacking.unwrap()]).unwrap(),
            "sudo usermod --add-subuids 100000-165535 ann"
        );
        assert_eq!(remedy(&[Lacking::Name { uid: 7 }]), None);
    }

    #[test]
    fn names_come_from_the_third_field() {
        let passwd = "root:x:0:0::/:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbad\n";
        assert_eq!(name_in(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(name_in(passwd, 1), None);
    }
}
