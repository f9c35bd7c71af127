//! Shared libraries that an image lacks.

use std::io::{self, Write};

use cooper_core::MissingLibrary;

use super::table::{Align, Table, printable};

/// How many are told one by one.
const NOTES_MAX: usize = 12;

/// A sentence for each library that matters, and one for those of plug-ins.
pub(crate) fn notes(missing: &[MissingLibrary]) -> Vec<String> {
    let (plugins, needed): (Vec<_>, Vec<_>) = missing.iter().partition(|library| library.plugin);
    let mut notes: Vec<String> = needed
        .iter()
        .take(NOTES_MAX)
        .map(|library| note(library))
        .collect();
    if let Some(more) = needed.len().checked_sub(NOTES_MAX).filter(|more| *more > 0) {
        notes.push(format!(
            "{more} more shared libraries are not in the image: `cooper inspect` lists them"
        ));
    }
    if let Some(first) = plugins.first() {
        let shown = plugins.iter().take(NOTES_MAX).map(|library| short(library));
        let more = if plugins.len() > NOTES_MAX {
            " and others"
        } else {
            ""
        };
        notes.push(format!(
            "plug-ins of {} need {}{more}, not in the image: what uses them does not work, the rest does",
            printable(&first.needed_by.join(", ")),
            shown.collect::<Vec<_>>().join(", ")
        ));
    }
    notes
}

fn note(missing: &MissingLibrary) -> String {
    let who = printable(&missing.needed_by.join(", "));
    let needs = if missing.needed_by.len() == 1 {
        "needs"
    } else {
        "need"
    };
    let library = printable(&missing.library);
    if let Some(version) = &missing.version {
        let version = printable(version);
        return format!(
            "{who} {needs} {library} with {version}, and the image's is older: take an older version of that, or a newer base"
        );
    }
    match (&missing.package, missing.how) {
        (Some(package), Some(how)) => format!(
            "{who} {needs} {library}, which is not in the image: the Debian package {package} {}; add it with \
             `--packages {package}`, or create with `--fix-missing`",
            how.told()
        ),
        _ => format!(
            "{who} {needs} {library}, which is not in the image, and no Debian package is known to have it"
        ),
    }
}

fn short(missing: &MissingLibrary) -> String {
    let library = printable(&missing.library);
    match &missing.package {
        Some(package) => format!("{library} ({package})"),
        None => library,
    }
}

/// A table of them, for `cooper inspect`.
pub(crate) fn write_missing(out: &mut dyn Write, missing: &[MissingLibrary]) -> io::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([
        ("MISSING LIBRARY", Align::Left),
        ("NEEDED BY", Align::Left),
        ("DEBIAN PACKAGE", Align::Left),
    ]);
    for library in missing {
        let version = library
            .version
            .as_ref()
            .map_or_else(String::new, |version| format!(" ({version})"));
        let plugin = if library.plugin { ", plug-ins only" } else { "" };
        let package = library.package.as_ref().map_or("-", |package| package.as_str());
        table.row([
            format!("{}{version}", library.library),
            format!("{}{plugin}", library.needed_by.join(", ")),
            package.to_owned(),
        ]);
    }
    writeln!(out)?;
    table.write(out, "")
}

#[cfg(test)]
mod tests {
    use cooper_core::LibraryEvidence;

    use super::*;

    fn missing(library: &str, package: Option<&str>) -> MissingLibrary {
        MissingLibrary {
            library: library.to_owned(),
            version: None,
            needed_by: vec!["numpy".to_owned()],
            file: "/x.so".to_owned(),
            plugin: false,
            package: package.map(|name| name.parse().unwrap()),
            how: package.map(|_| LibraryEvidence::Contents),
        }
    }

    #[test]
    fn each_library_that_matters_has_a_sentence() {
        let mut old = missing("libstdc++.so.6", None);
        old.version = Some("GLIBCXX_3.4.99".to_owned());
        let mut plugin = missing("libodbc.so.2", Some("libodbc2"));
        plugin.plugin = true;
        let texts = notes(&[
            missing("libopenblas.so.0", Some("libopenblas0")),
            missing("libcuda.so.1", None),
            old,
            plugin,
        ]);
        assert_eq!(
            texts,
            [
                "numpy needs libopenblas.so.0, which is not in the image: the Debian package libopenblas0 has it; add \
                 it with `--packages libopenblas0`, or create with `--fix-missing`",
                "numpy needs libcuda.so.1, which is not in the image, and no Debian package is known to have it",
                "numpy needs libstdc++.so.6 with GLIBCXX_3.4.99, and the image's is older: take an older version of \
                 that, or a newer base",
                "plug-ins of numpy need libodbc.so.2 (libodbc2), not in the image: what uses them does not work, the \
                 rest does",
            ]
        );
        let many: Vec<MissingLibrary> = (0..20)
            .map(|number| missing(&format!("lib{number}.so.1"), None))
            .collect();
        assert_eq!(notes(&many).len(), NOTES_MAX + 1);
    }
}
