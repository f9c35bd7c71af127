//! Which installed package has a file, as dpkg's own lists say.

use rustix::fs::{Dir, Mode, OFlags};

use crate::rootfs::{Rootfs, TreePath};

const INFO: &str = "var/lib/dpkg/info";
const LIST_BYTES_MAX: u64 = 64 << 20;

/// The package whose list names `path`. Slow: asked only when a file is in the way. What cannot be read
/// names nobody.
pub(super) fn owner_of(rootfs: &Rootfs, path: &TreePath) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let in_root = rustix::fs::ResolveFlags::IN_ROOT;
    let info = rustix::fs::openat2(rootfs.root(), INFO, flags, Mode::empty(), in_root).ok()?;
    let spellings = spellings(path);
    let mut names: Vec<String> = Dir::read_from(&info)
        .ok()?
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()
                .ok()?
                .strip_suffix(".list")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    names.into_iter().find_map(|name| {
        let list = TreePath::parse(format!("{INFO}/{name}.list").as_bytes(), 2_048).ok()?;
        let bytes = rootfs.read(&list, LIST_BYTES_MAX).ok()??;
        let listed = bytes
            .split(|byte| *byte == b'\n')
            .any(|line| spellings.iter().any(|one| one.as_bytes() == line));
        listed.then(|| name.split(':').next().unwrap_or(&name).to_owned())
    })
}

/// With merged `/usr`, a list may name a file with or without `/usr`.
fn spellings(path: &TreePath) -> Vec<String> {
    let absolute = path.absolute();
    let other = match absolute.strip_prefix("/usr/") {
        Some(rest) => format!("/{rest}"),
        None => format!("/usr{absolute}"),
    };
    vec![absolute, other]
}
