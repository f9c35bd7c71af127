//! What every tree gets after its packages are configured: the run's user, and nothing that a clock, a random
//! number or a rerun would change.

use std::io;

use crate::tree_files::TreeFiles;

/// The user that runs scripts.
const PASSWD_LINE: &str = "cooper:x:1000:1000:Cooperage run:/work:/bin/sh\n";
const GROUP_LINE: &str = "cooper:x:1000:\n";
/// 20,000 days after 1970: a fixed day, since the day of the build must not be in the image.
const SHADOW_LINE: &str = "cooper:!:20000:0:99999:7:::\n";

/// Add, empty where no package has them, the files that are covered with the host's own when a run may use the
/// network.
pub(crate) fn add_names_places(tree: &TreeFiles) -> io::Result<()> {
    for path in ["/etc/resolv.conf", "/etc/hosts"] {
        if tree.read(path, 1 << 20)?.is_none() {
            tree.write(path, b"", 0o644)?;
        }
    }
    Ok(())
}

/// Add the user `cooper` (1000:1000) and its working directory.
pub(crate) fn add_run_user(tree: &TreeFiles) -> io::Result<()> {
    add_line(tree, "/etc/passwd", PASSWD_LINE, 0o644)?;
    add_line(tree, "/etc/group", GROUP_LINE, 0o644)?;
    if tree.read("/etc/shadow", 1 << 20)?.is_some() {
        add_line(tree, "/etc/shadow", SHADOW_LINE, 0o640)?;
    }
    tree.create_dir("/work", 0o755, Some((1000, 1000)))
}

fn add_line(tree: &TreeFiles, path: &str, line: &str, mode: u32) -> io::Result<()> {
    let mut text = tree.read_text(path)?;
    let name = line.split(':').next().unwrap_or_default();
    let named = |present: &str| present.split(':').next() == Some(name);
    if text.lines().any(named) {
        return Ok(());
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    tree.create_dir("/etc", 0o755, None)?;
    tree.write(path, text.as_bytes(), mode)
}

/// Directories whose contents are state of the build, not of the image.
const CLEARED: [&str; 6] = [
    "/tmp",
    "/run",
    "/var/tmp",
    "/var/cache/ldconfig",
    "/var/lib/apt/lists",
    "/dev",
];
/// Files that are state of the build: logs with times, locks, backups, caches.
const REMOVED: [&str; 16] = [
    "/var/log/alternatives.log",
    "/var/log/bootstrap.log",
    "/var/log/dpkg.log",
    "/var/log/fontconfig.log",
    "/var/cache/debconf/config.dat-old",
    "/var/cache/debconf/passwords.dat-old",
    "/var/cache/debconf/templates.dat-old",
    "/var/lib/dpkg/lock",
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/status-old",
    "/var/lib/dpkg/diversions-old",
    "/var/lib/dpkg/statoverride-old",
    "/var/lib/dpkg/triggers/Lock",
    "/etc/.pwd.lock",
    "/etc/ca-certificates.conf.dpkg-old",
    "/etc/ld.so.cache~",
];
/// Backups that the user tools leave.
const BACKUPS: [&str; 6] = [
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
];

/// Remove what is state of the build.
pub(crate) fn remove_build_state(tree: &TreeFiles) -> io::Result<()> {
    for path in CLEARED {
        tree.clear_dir(path)?;
    }
    for path in REMOVED.into_iter().chain(BACKUPS) {
        tree.remove(path)?;
    }
    fix_shadow_days(tree)
}

/// The third field of `/etc/shadow` is the day of the last change: scripts that add users write today's.
fn fix_shadow_days(tree: &TreeFiles) -> io::Result<()> {
    let text = tree.read_text("/etc/shadow")?;
    let fixed: String = text.lines().map(|line| fixed_day(line) + "\n").collect();
    if text.is_empty() || text == fixed {
        return Ok(());
    }
    tree.write("/etc/shadow", fixed.as_bytes(), 0o640)
}

fn fixed_day(line: &str) -> String {
    let mut fields: Vec<&str> = line.split(':').collect();
    if let Some(day) = fields.get_mut(2).filter(|day| !day.is_empty()) {
        *day = "20000";
    }
    fields.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_added_once() {
        let dir = tempfile::tempdir().unwrap();
        let tree = TreeFiles::open(dir.path()).unwrap();
        tree.create_dir("/etc", 0o755, None).unwrap();
        tree.write("/etc/passwd", b"root:x:0:0:::", 0o644).unwrap();
        tree.write("/etc/shadow", b"root:*:20780:0:99999:7:::\n", 0o640)
            .unwrap();
        add_run_user(&tree).unwrap();
        add_run_user(&tree).unwrap();
        assert_eq!(
            tree.read_text("/etc/passwd").unwrap(),
            format!("root:x:0:0:::\n{PASSWD_LINE}")
        );
        remove_build_state(&tree).unwrap();
        assert_eq!(
            tree.read_text("/etc/shadow").unwrap(),
            format!("root:*:20000:0:99999:7:::\n{SHADOW_LINE}")
        );
    }

    #[test]
    fn build_state_goes_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let tree = TreeFiles::open(dir.path()).unwrap();
        tree.create_dir("/var/log", 0o755, None).unwrap();
        tree.create_dir("/tmp/x/y", 0o755, None).unwrap();
        tree.write("/var/log/dpkg.log", b"today", 0o644).unwrap();
        tree.write("/var/log/kept", b"", 0o644).unwrap();
        remove_build_state(&tree).unwrap();
        assert_eq!(tree.list("/var/log").unwrap(), ["kept"]);
        assert_eq!(tree.list("/tmp").unwrap(), Vec::<String>::new());
    }
}
