//! Which package has a shared library: by the name that Policy gives such packages, or by the archive's own list of
//! contents, which is large and fetched only when names do not tell.

use std::collections::{BTreeMap, BTreeSet};

use cooper_core::{Base, DebianName, LibraryEvidence};

use super::archive::{self, Reuse};
use super::contents;
use super::error::DebianError;
use super::snapshot;
use super::universe::Universe;
use crate::context::Context;

/// How many libraries are looked for at once.
const LIBRARIES_MAX: usize = 1_000;

/// The packages of a base's suites that have these libraries (`libGL.so.1`), where one is known, and how.
///
/// # Errors
/// When the suites cannot be read. That the list of contents cannot be had is none: names tell most.
pub fn packages_with(
    context: &Context,
    base: Base,
    libraries: &BTreeSet<String>,
) -> Result<BTreeMap<String, (DebianName, LibraryEvidence)>, DebianError> {
    let snapshots = snapshot::snapshots(context, base)?;
    let universe = Universe::new(archive::open(context, &snapshots, Reuse::Kept)?);
    let mut found = BTreeMap::new();
    for library in libraries.iter().take(LIBRARIES_MAX) {
        if let Some(package) = named_after(&universe, library)? {
            found.insert(library.clone(), (package, LibraryEvidence::Name));
        }
    }
    let unknown = libraries.iter().any(|library| !found.contains_key(library));
    let Some(listed) = contents::open(context, &snapshots, unknown) else {
        return Ok(found);
    };
    for library in libraries {
        let named = found.get(library).map(|(name, _)| name.clone());
        if let Some(package) = listed_with(&universe, &listed.packages(library), named.as_ref())? {
            found.insert(library.clone(), (package, LibraryEvidence::Contents));
        }
    }
    Ok(found)
}

/// The package that Policy (8.1) would have for a library, if there is one.
fn named_after(universe: &Universe, library: &str) -> Result<Option<DebianName>, DebianError> {
    for name in policy_names(library) {
        if let Some(found) = universe.candidates(&name)?.first() {
            return Ok(Some(found.stanza.name.clone()));
        }
    }
    Ok(None)
}

/// Of the packages that have it: the one with the right name, else the first that is not for developers.
fn listed_with(
    universe: &Universe,
    packages: &[DebianName],
    named: Option<&DebianName>,
) -> Result<Option<DebianName>, DebianError> {
    if let Some(named) = named.filter(|named| packages.contains(named)) {
        return Ok(Some(named.clone()));
    }
    for package in packages {
        let name = package.as_str();
        let for_developers = name.ends_with("-dev") || name.ends_with("-dbg") || name.ends_with("-cross");
        if !for_developers && !universe.candidates(name)?.is_empty() {
            return Ok(Some(package.clone()));
        }
    }
    Ok(None)
}

/// The names that a package of this library may have, the likeliest first.
fn policy_names(library: &str) -> Vec<String> {
    let plain = library.to_ascii_lowercase().replace('_', "-");
    let name = match plain.split_once(".so") {
        // `libfoo-1.2.so`: the version is in the name.
        Some((name, "")) if name.ends_with(|last: char| last.is_ascii_digit()) => name.to_owned(),
        Some((name, version)) => match version.strip_prefix('.') {
            Some(version) if name.ends_with(|last: char| last.is_ascii_digit()) => {
                format!("{name}-{version}")
            }
            Some(version) => format!("{name}{version}"),
            None => return Vec::new(),
        },
        None => return Vec::new(),
    };
    let mut names = vec![name];
    // `libglib-2.0.so.0` is in `libglib2.0-0`: many write the first hyphen not.
    if let Some((stem, version)) = names[0].split_once('-')
        && version.contains('-')
        && version.starts_with(|first: char| first.is_ascii_digit())
    {
        names.push(format!("{stem}{version}"));
    }
    // The move to 64 bits of time renamed many.
    names
        .into_iter()
        .flat_map(|name| [format!("{name}t64"), name])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_after_their_libraries() {
        for (library, name) in [
            ("libxml2.so.16", "libxml2-16"),
            ("libGL.so.1", "libgl1"),
            ("libstdc++.so.6", "libstdc++6"),
            ("libX11.so.6", "libx11-6"),
            ("libgsl.so.28", "libgsl28"),
            ("libfoo_bar.so.1.2", "libfoo-bar1.2"),
            ("libbfd-2.44.so", "libbfd-2.44"),
        ] {
            assert_eq!(
                policy_names(library),
                [format!("{name}t64"), name.to_owned()],
                "{library}"
            );
        }
        assert_eq!(
            policy_names("libglib-2.0.so.0")[2..],
            ["libglib2.0-0t64", "libglib2.0-0"]
        );
        for none in ["libfoo.so", "libfoo", "", "libfoo.sox"] {
            assert_eq!(policy_names(none), Vec::<String>::new(), "{none}");
        }
    }
}
