//! What a place in the tree means, and which places no wheel may take.

use cooper_core::PythonName;

use super::WheelError;
use crate::rootfs::TreePath;

/// Where the programs of a base are; a wheel's come before them in `PATH`.
pub(super) const BASE_PROGRAMS: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];

/// Refuse what belongs to another distribution, or to the interpreter: `below` is a path below `dist-packages`.
///
/// Names are compared without case, as `importlib.metadata` does.
pub(super) fn check_library(
    below: &str,
    target: &TreePath,
    name: &str,
    dist_info: &str,
) -> Result<(), WheelError> {
    let top = below.split('/').next().unwrap_or_default();
    let lower = top.to_ascii_lowercase();
    let path = || target.absolute();
    if lower.ends_with(".dist-info") && top != dist_info {
        return Err(WheelError::ForeignDistInfo { path: path() });
    }
    if let Some(stem) = lower.strip_suffix(".egg-info")
        && !is_of(stem, name)
    {
        return Err(WheelError::ForeignDistInfo { path: path() });
    }
    // `site` imports these two at every start of the interpreter.
    if matches!(top.split('.').next(), Some("sitecustomize" | "usercustomize")) {
        return Err(WheelError::StartupModule { path: path() });
    }
    Ok(())
}

/// Whether `NAME`, `NAME-VERSION` or `NAME-VERSION-pyX.Y` is of the distribution `name`.
fn is_of(stem: &str, name: &str) -> bool {
    let parse = |text: &str| text.parse::<PythonName>().ok();
    let stated = stem.split('-').next().and_then(parse);
    stated.is_some() && stated == parse(name)
}

/// The name of a program in a directory of `PATH` that wheels can write to.
pub(super) fn program_name(path: &TreePath) -> Option<&str> {
    let (folder, name) = path.split()?;
    matches!(folder, "usr/local/bin" | "usr/local/sbin").then_some(name)
}

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
