//! What a place in the tree means, and which places no wheel may take.

use crate::rootfs::TreePath;

/// The source of a file of bytecode that Python looks for in `__pycache__` (PEP 3147):
/// `a/__pycache__/b.cpython-313.opt-1.pyc` is that of `a/b.py`.
pub(super) fn bytecode_source(path: &TreePath) -> Option<String> {
    let (folder, name) = path.split()?;
    let parent = match folder.rsplit_once('/') {
        Some((parent, "__pycache__")) => format!("{parent}/"),
        None if folder == "__pycache__" => String::new(),
        _ => return None,
    };
    let stem = name.strip_suffix(".pyc")?;
    let unoptimised = stem
        .rsplit_once('.')
        .filter(|(_, last)| last.starts_with("opt-"))
        .map_or(stem, |(before, _)| before);
    let (module, _) = unoptimised.rsplit_once('.')?;
    Some(format!("{parent}{module}.py"))
}
