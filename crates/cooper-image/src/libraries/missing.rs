//! What no layer has, where the loader would look.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use cooper_core::MissingLibrary;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::elf::{self, ElfBytes};
use super::{LayerLibraries, Need};

/// Where the loader looks when nobody says where (`ld.so(8)`, with Debian's multiarch directories).
const DEFAULT_FOLDERS: [&str; 6] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];
const CONFIGURATION: &str = "/etc/ld.so.conf";
const CONFIGURATION_FOLDER: &str = "/etc/ld.so.conf.d";
const CONFIGURATION_BYTES_MAX: u64 = 64 << 10;
const CONFIGURATION_FILES_MAX: usize = 256;

/// The libraries that layers ask for and the image, all layers laid over each other, does not have.
///
/// # Errors
/// When the image's directories cannot be read.
pub(crate) fn missing(layers: &[LayerLibraries], root: OwnedFd) -> io::Result<Vec<MissingLibrary>> {
    let image = ImageFolders::open(root)?;
    let provided = |library: &str| layers.iter().any(|layer| layer.provides.contains(library));
    let mut found: BTreeMap<(String, Option<String>), MissingLibrary> = BTreeMap::new();
    let mut known = BTreeMap::new();
    for need in layers.iter().flat_map(|layer| &layer.needs) {
        if provided(&need.library) {
            continue;
        }
        match image.find(need)? {
            None => note(&mut found, need, None),
            Some(file) => {
                let defined = known.entry(need.library.clone());
                let defined = defined.or_insert_with(|| defined_versions(&file));
                // A library without versions has symbols that fit any.
                let newer = need.versions.iter().filter(|version| !defined.contains(*version));
                for version in newer.filter(|_| !defined.is_empty()) {
                    note(&mut found, need, Some(version.clone()));
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

fn note(
    found: &mut BTreeMap<(String, Option<String>), MissingLibrary>,
    need: &Need,
    version: Option<String>,
) {
    let library = found.entry((need.library.clone(), version.clone()));
    let library = library.or_insert_with(|| MissingLibrary {
        library: need.library.clone(),
        version,
        needed_by: Vec::new(),
        file: need.file.clone(),
        plugin: true,
        package: None,
        how: None,
    });
    if library.plugin && !need.plugin {
        library.file.clone_from(&need.file);
        library.plugin = false;
    }
    if let Err(place) = library.needed_by.binary_search(&need.distribution) {
        library.needed_by.insert(place, need.distribution.clone());
    }
}

fn defined_versions(file: &File) -> BTreeSet<String> {
    elf::read(ElfBytes::File(file))
        .unwrap_or_default()
        .versions_defined
}

/// The image's directories of libraries.
struct ImageFolders {
    root: OwnedFd,
    configured: Vec<String>,
}

impl ImageFolders {
    fn open(root: OwnedFd) -> io::Result<Self> {
        let mut image = Self {
            root,
            configured: Vec::new(),
        };
        let mut texts = vec![image.text(CONFIGURATION)?];
        let mut names = image.names(CONFIGURATION_FOLDER)?;
        names.retain(|name| name.strip_suffix(".conf").is_some());
        names.truncate(CONFIGURATION_FILES_MAX);
        for name in names {
            texts.push(image.text(&format!("{CONFIGURATION_FOLDER}/{name}"))?);
        }
        let lines = texts.iter().flat_map(|text| text.lines());
        let folders = lines.map(|line| line.split('#').next().unwrap_or_default().trim());
        image.configured = folders
            .filter(|line| line.starts_with('/'))
            .map(str::to_owned)
            .collect();
        Ok(image)
    }

    /// The file that the loader would take.
    fn find(&self, need: &Need) -> io::Result<Option<File>> {
        if need.library.contains('/') {
            return self.file(&need.library);
        }
        let folders = need.search.iter().chain(&self.configured).map(String::as_str);
        for folder in folders.chain(DEFAULT_FOLDERS) {
            if let Some(file) = self.file(&format!("{folder}/{}", need.library))? {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    fn text(&self, path: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        if let Some(file) = self.file(path)? {
            file.take(CONFIGURATION_BYTES_MAX).read_to_end(&mut bytes)?;
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let Some(folder) = self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY)? else {
            return Ok(Vec::new());
        };
        let entries = rustix::fs::Dir::read_from(&folder)?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<io::Result<Vec<String>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    /// A regular file.
    fn file(&self, path: &str) -> io::Result<Option<File>> {
        let opened = self.open_below(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let Some(file) = opened.map(File::from) else {
            return Ok(None);
        };
        Ok(file.metadata()?.is_file().then_some(file))
    }

    /// Open as a process in the image would; nothing where it would find nothing.
    fn open_below(&self, path: &str, flags: OFlags) -> io::Result<Option<OwnedFd>> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(opened) => Ok(Some(opened)),
            Err(
                Errno::NOENT
                | Errno::NOTDIR
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::INVAL
                | Errno::NXIO
                | Errno::ACCESS,
            ) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use testkit::ElfLibrary;

    use super::*;

    fn put(root: &Path, path: &str, bytes: &[u8]) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path).unwrap().write_all(bytes).unwrap();
    }

    fn need(library: &str, distribution: &str) -> Need {
        Need {
            library: library.to_owned(),
            distribution: distribution.to_owned(),
            file: format!("/usr/local/{distribution}.so"),
            plugin: false,
            search: BTreeSet::new(),
            versions: BTreeSet::new(),
        }
    }

    fn told(root: &Path, layers: &[LayerLibraries]) -> Vec<String> {
        let root = File::open(root).unwrap().into();
        let missing = missing(layers, root).unwrap();
        missing
            .iter()
            .map(|it| format!("{} {:?} {}", it.library, it.version, it.needed_by.join(",")))
            .collect()
    }

    fn layer(needs: Vec<Need>) -> LayerLibraries {
        LayerLibraries {
            needs,
            ..LayerLibraries::default()
        }
    }

    #[test]
    fn libraries_are_looked_for_as_the_loader_does() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(root, "usr/lib/x86_64-linux-gnu/liba.so.1", b"");
        std::os::unix::fs::symlink("usr/lib", root.join("lib")).unwrap();
        // A link out of the image leads to the image's own file.
        std::os::unix::fs::symlink(
            "/etc/alternatives/libl",
            root.join("usr/lib/x86_64-linux-gnu/libl.so.3"),
        )
        .unwrap();
        std::os::unix::fs::symlink("/nowhere", root.join("usr/lib/x86_64-linux-gnu/libbroken.so.1")).unwrap();
        put(root, "etc/alternatives/libl", b"");
        put(
            root,
            "etc/ld.so.conf.d/x.conf",
            b"# a list\n/opt/lib # of folders\n",
        );
        put(root, "opt/lib/libo.so.1", b"");
        put(root, "usr/local/x/libx.so.1", b"");
        put(root, "usr/lib/python/libelsewhere.so.1", b"");
        let mut searched = need("libx.so.1", "x");
        searched.search.insert("/usr/local/x".to_owned());
        let names = [
            "liba.so.1",
            "libl.so.3",
            "libo.so.1",
            "libbroken.so.1",
            "libelsewhere.so.1",
            "libx.so.1",
        ];
        let mut needs: Vec<Need> = names.iter().map(|name| need(name, "n")).collect();
        needs.push(searched);
        let missing = told(root, &[layer(needs)]);
        assert_eq!(
            missing,
            [
                "libbroken.so.1 None n",
                "libelsewhere.so.1 None n",
                "libx.so.1 None n"
            ]
        );
    }

    #[test]
    fn what_another_layer_has_is_there_and_wishes_are_merged() {
        let folder = tempfile::tempdir().unwrap();
        let below = LayerLibraries {
            provides: BTreeSet::from(["libp.so.1".to_owned()]),
            ..LayerLibraries::default()
        };
        let above = layer(vec![
            need("libp.so.1", "a"),
            need("libq.so.1", "b"),
            need("libq.so.1", "a"),
        ]);
        assert_eq!(told(folder.path(), &[below, above]), ["libq.so.1 None a,b"]);
    }

    #[test]
    fn a_library_that_is_too_old_is_told_with_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let library = ElfLibrary::new().defines_version("A_1").build();
        put(folder.path(), "usr/lib/x86_64-linux-gnu/liba.so.1", &library);
        put(
            folder.path(),
            "usr/lib/x86_64-linux-gnu/libplain.so.1",
            &ElfLibrary::new().build(),
        );
        let wanting = |library: &str| Need {
            versions: BTreeSet::from(["A_1".to_owned(), "A_2".to_owned()]),
            ..need(library, "n")
        };
        let missing = told(
            folder.path(),
            &[layer(vec![wanting("liba.so.1"), wanting("libplain.so.1")])],
        );
        assert_eq!(missing, ["liba.so.1 Some(\"A_2\") n"]);
    }
}
