//! From the ELF files of wheels to what they ask for that is not among them.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use cooper_core::PythonVersion;

use super::elf::ElfFile;
use super::{LayerLibraries, Need, RULES};
use crate::prepared::WheelFacts;

/// How many different needs of a layer are remembered.
const NEEDS_MAX: usize = 4_096;
/// The loader of the image's programs.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
/// Directories whose files are loaded when somebody wants what they do, and not before.
const PLUGIN_FOLDERS: [&str; 3] = ["plugins", "plugin", "qml"];

/// What the wheels of a layer ask for and have, for the given interpreter.
pub(crate) fn of_wheels(wheels: &[WheelFacts], python: PythonVersion) -> LayerLibraries {
    let files = Files::new(wheels, python);
    let loaded = files.loaded();
    let mut needs: BTreeMap<(&str, &str), Need> = BTreeMap::new();
    for (number, file) in files.list.iter().enumerate() {
        let absent = file.elf.needed.iter();
        for library in absent.filter(|library| !files.by_name.contains_key(library.as_str())) {
            let room = needs.len() < NEEDS_MAX;
            let need = match needs.entry((library, file.distribution)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) if room => new.insert(first_need(library, file)),
                Entry::Vacant(_) => continue,
            };
            add(need, file, !loaded[number]);
        }
    }
    let every = wheels.iter().flat_map(|wheel| &wheel.elf_files);
    let provides = every.flat_map(|(path, elf)| [Some(file_name(path).to_owned()), elf.soname.clone()]);
    LayerLibraries {
        rules: RULES,
        provides: provides.flatten().collect(),
        needs: needs.into_values().collect(),
    }
}

/// A file that the image's loader can load.
struct LoadableFile<'a> {
    distribution: &'a str,
    path: &'a str,
    elf: &'a ElfFile,
}

/// The files of a layer that the image's loader can load.
struct Files<'a> {
    list: Vec<LoadableFile<'a>>,
    by_name: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Files<'a> {
    fn new(wheels: &'a [WheelFacts], python: PythonVersion) -> Self {
        let mut files = Self {
            list: Vec::new(),
            by_name: BTreeMap::new(),
        };
        for wheel in wheels {
            let own = wheel.elf_files.iter();
            for (path, elf) in own.filter(|(path, elf)| is_loaded(path, elf, python)) {
                let names = BTreeSet::from([file_name(path), elf.soname.as_deref().unwrap_or_default()]);
                for name in names {
                    files.by_name.entry(name).or_default().push(files.list.len());
                }
                files.list.push(LoadableFile {
                    distribution: &wheel.name,
                    path,
                    elf,
                });
            }
        }
        files
    }

    /// Which files belong to what works or does not work as a whole: modules, programs, and what these ask for. Of a
    /// distribution that has none of those, everything does: its libraries are loaded by Python code. The others are
    /// plug-ins.
    fn loaded(&self) -> Vec<bool> {
        let mut loaded: Vec<bool> = self.list.iter().map(LoadableFile::is_root).collect();
        let mut waiting: Vec<usize> = (0..self.list.len()).filter(|number| loaded[*number]).collect();
        self.follow(&mut loaded, &mut waiting);
        let reached: BTreeSet<&str> = self
            .list
            .iter()
            .zip(&loaded)
            .filter(|(_, loaded)| **loaded)
            .map(|(file, _)| file.distribution)
            .collect();
        let apart = |file: &LoadableFile<'_>| !reached.contains(file.distribution) && !file.is_plugin();
        waiting.extend((0..self.list.len()).filter(|number| apart(&self.list[*number])));
        for number in &waiting {
            loaded[*number] = true;
        }
        self.follow(&mut loaded, &mut waiting);
        loaded
    }

    fn follow(&self, loaded: &mut [bool], waiting: &mut Vec<usize>) {
        while let Some(number) = waiting.pop() {
            let needed = self.list[number].elf.needed.iter();
            for next in needed
                .filter_map(|name| self.by_name.get(name.as_str()))
                .flatten()
            {
                if !std::mem::replace(&mut loaded[*next], true) {
                    waiting.push(*next);
                }
            }
        }
    }
}

impl LoadableFile<'_> {
    fn is_plugin(&self) -> bool {
        self.path.split('/').any(|part| PLUGIN_FOLDERS.contains(&part))
    }

    /// A module of Python, or a program.
    fn is_root(&self) -> bool {
        let name = file_name(self.path);
        let named = name.contains(".cpython-") || name.ends_with(".abi3.so");
        let module = named || (name.strip_suffix(".so").is_some() && !name.starts_with("lib"));
        (module || self.elf.interpreter.is_some()) && !self.is_plugin()
    }
}

fn first_need(library: &str, file: &LoadableFile<'_>) -> Need {
    Need {
        library: library.to_owned(),
        distribution: file.distribution.to_owned(),
        file: file.path.to_owned(),
        plugin: true,
        search: BTreeSet::new(),
        versions: BTreeSet::new(),
    }
}

fn add(need: &mut Need, file: &LoadableFile<'_>, plugin: bool) {
    if need.plugin && !plugin {
        file.path.clone_into(&mut need.file);
        need.plugin = false;
    }
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let search = file.elf.search.iter();
    need.search
        .extend(search.filter_map(|entry| directory(entry, folder)));
    let versions = file.elf.versions_needed.iter();
    let own = versions.filter(|(library, _)| *library == need.library);
    need.versions.extend(own.map(|(_, version)| version.clone()));
}

/// Whether the image's own loader and interpreter would ever load a file.
fn is_loaded(path: &str, elf: &ElfFile, python: PythonVersion) -> bool {
    let own_loader = elf.interpreter.as_deref().is_none_or(|loader| loader == LOADER);
    let other_library = |needed: &String| needed.starts_with("libc.musl-") || needed == "libc.so";
    let tag = format!("cpython-{}-", python.to_string().replace('.', ""));
    let name = file_name(path);
    let parts = || name.split('.').skip(1);
    let own_interpreter = !parts().any(|part| part.starts_with("pypy"))
        && parts()
            .filter(|part| part.starts_with("cpython-"))
            .all(|part| part.starts_with(&tag));
    own_loader && own_interpreter && !elf.needed.iter().any(other_library)
}

/// A directory of a search list, as an absolute path without `.` and `..`; none for those that nobody can know.
fn directory(entry: &str, folder: &str) -> Option<String> {
    let entry = entry.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", folder);
    let entry = entry
        .replace("${LIB}", "lib/x86_64-linux-gnu")
        .replace("$LIB", "lib/x86_64-linux-gnu");
    if !entry.starts_with('/') || entry.contains('$') {
        return None;
    }
    let mut parts = Vec::new();
    for part in entry.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_lists_are_read_as_the_loader_reads_them() {
        let below = |entry: &str| directory(entry, "/usr/local/lib/x/a");
        assert_eq!(
            below("$ORIGIN/../a.libs").as_deref(),
            Some("/usr/local/lib/x/a.libs")
        );
        assert_eq!(below("${ORIGIN}/./b").as_deref(), Some("/usr/local/lib/x/a/b"));
        assert_eq!(below("/opt//lib/").as_deref(), Some("/opt/lib"));
        assert_eq!(below("$ORIGIN/../../../../../../..").as_deref(), Some("/"));
        for unknown in ["relative", "$PLATFORM/x", ""] {
            assert_eq!(below(unknown), None);
        }
    }

    fn wheel(name: &str, files: &[(&str, &[&str])]) -> WheelFacts {
        let file = |(path, needed): &(&str, &[&str])| {
            let needed = needed.iter().map(|name| (*name).to_owned()).collect();
            (
                format!("/site/{path}"),
                ElfFile {
                    needed,
                    ..ElfFile::default()
                },
            )
        };
        WheelFacts {
            newest_mtime: 0,
            name: name.to_owned(),
            licence: None,
            elf_files: files.iter().map(file).collect(),
        }
    }

    #[test]
    fn what_modules_need_matters_and_what_only_plugins_need_is_told_apart() {
        let wheels = [
            wheel(
                "Qt",
                &[
                    ("qt/lib/libCore.so.5", &["libGL.so.1"]),
                    ("qt/qml/libq.so", &["libpq.so.5"]),
                    ("qt/libloose.so", &["libcups.so.2"]),
                ],
            ),
            wheel("PyQt", &[("pyqt/core.abi3.so", &["libCore.so.5", "libc.so.6"])]),
            wheel("sound", &[("data/libsnd.so", &["libogg.so.0"])]),
        ];
        let layer = of_wheels(&wheels, cooper_core::Base::Trixie.python());
        let told: Vec<String> = layer
            .needs
            .iter()
            .map(|need| format!("{} {} {}", need.library, need.distribution, need.plugin))
            .collect();
        assert_eq!(
            told,
            [
                "libGL.so.1 Qt false",
                "libc.so.6 PyQt false",
                "libcups.so.2 Qt true",
                "libogg.so.0 sound false",
                "libpq.so.5 Qt true",
            ]
        );
        assert!(layer.provides.contains("libCore.so.5"));
    }

    #[test]
    fn files_of_other_interpreters_and_loaders_are_not_loaded() {
        let python: PythonVersion = cooper_core::Base::Trixie.python();
        let asks = |needed: &[&str], interpreter: Option<&str>| ElfFile {
            needed: needed.iter().map(|name| (*name).to_owned()).collect(),
            interpreter: interpreter.map(str::to_owned),
            ..ElfFile::default()
        };
        let plain = asks(&["libc.so.6"], None);
        for (path, loaded) in [
            ("/x/a.cpython-313-x86_64-linux-gnu.so", true),
            ("/x/a.cpython-39-x86_64-linux-gnu.so", false),
            ("/x/a.pypy39-pp73-x86_64-linux-gnu.so", false),
            ("/x/a.abi3.so", true),
            ("/x/liba.so.1", true),
        ] {
            assert_eq!(is_loaded(path, &plain, python), loaded, "{path}");
        }
        assert!(!is_loaded(
            "/x/a.so",
            &asks(&["libc.musl-x86_64.so.1"], None),
            python
        ));
        assert!(!is_loaded(
            "/x/a",
            &asks(&[], Some("/lib/ld-musl-x86_64.so.1")),
            python
        ));
        assert!(is_loaded("/x/a", &asks(&[], Some(LOADER)), python));
    }
}
