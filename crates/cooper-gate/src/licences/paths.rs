//! What the paths of a wheel's licence files tell.

/// Directories above the file, those of `.dist-info` apart.
pub(super) fn depth(path: &str) -> usize {
    let inner = path.split_once(".dist-info/").map_or(path, |(_, inner)| inner);
    let inner = inner.strip_prefix("licenses/").unwrap_or(inner);
    inner.matches('/').count()
}

/// Whether a file is named as licences are; notices, authors and readmes only add to them.
pub(super) fn is_licence_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let third_party = [
        "third",
        "notice",
        "authors",
        "thanks",
        "bundled",
        "vendor",
        "readme",
        "contributors",
    ];
    !third_party.iter().any(|part| name.contains(part))
}

/// `LICENSE-MIT`, `LICENSE.APACHE2`: files that stand beside each other so are offered for choice.
pub(super) fn names_its_licence(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_uppercase();
    let rest = name
        .strip_prefix("LICENSE")
        .or_else(|| name.strip_prefix("LICENCE"));
    let suffix = rest.and_then(|rest| rest.strip_prefix(['-', '.', '_']));
    suffix.is_some_and(|suffix| {
        ["MIT", "APACHE", "BSD"]
            .iter()
            .any(|licence| suffix.starts_with(licence))
    })
}
