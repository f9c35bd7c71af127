//! A builder of `.deb` files (deb(5)), well-formed unless told otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::ar::{ArMember, write_ar};
use crate::compress::Compression;
use crate::tar::{TarEntry, TarKind, write_tar};

/// The modification time of everything made here: 2025-01-01T00:00:00Z.
pub const MTIME: u64 = 1_735_689_600;

/// A Debian binary package.
#[derive(Debug, Clone)]
pub struct DebPackage {
    name: String,
    version: String,
    fields: Vec<(String, String)>,
    control_text: Option<String>,
    control_files: Vec<TarEntry>,
    entries: Vec<TarEntry>,
    raw: Vec<TarEntry>,
    licence: Option<String>,
    compression: Compression,
    mtime: u64,
    members_removed: Vec<String>,
    members_added: Vec<ArMember>,
}

impl DebPackage {
    /// A package for amd64 that has only its copyright file (licence Expat).
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            fields: vec![
                ("Architecture".to_owned(), "amd64".to_owned()),
                (
                    "Maintainer".to_owned(),
                    "Made Archive <archive@testkit.invalid>".to_owned(),
                ),
                ("Section".to_owned(), "misc".to_owned()),
                ("Priority".to_owned(), "optional".to_owned()),
                ("Description".to_owned(), format!("{name}, made for tests")),
            ],
            control_text: None,
            control_files: Vec::new(),
            entries: Vec::new(),
            raw: Vec::new(),
            licence: Some("Expat".to_owned()),
            compression: Compression::Xz,
            mtime: MTIME,
            members_removed: Vec::new(),
            members_added: Vec::new(),
        }
    }

    /// The package's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The package's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Set a control field, replacing the one that is there.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Append to a relation field, after a comma.
    fn relation(mut self, name: &str, value: &str) -> Self {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => {
                old.push_str(", ");
                old.push_str(value);
            }
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// The value of a control field.
    pub fn field_value(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Set `Architecture`.
    #[must_use]
    pub fn architecture(self, architecture: &str) -> Self {
        self.field("Architecture", architecture)
    }

    /// Say `Essential: yes`.
    #[must_use]
    pub fn essential(self) -> Self {
        self.field("Essential", "yes").field("Priority", "required")
    }

    /// Say `Multi-Arch: foreign` or another.
    #[must_use]
    pub fn multi_arch(self, value: &str) -> Self {
        self.field("Multi-Arch", value)
    }

    /// Say `Source`, with a version in parentheses where it differs.
    #[must_use]
    pub fn source(self, source: &str) -> Self {
        self.field("Source", source)
    }

    /// Append to `Depends`.
    #[must_use]
    pub fn depends(self, relation: &str) -> Self {
        self.relation("Depends", relation)
    }

    /// Append to `Pre-Depends`.
    #[must_use]
    pub fn pre_depends(self, relation: &str) -> Self {
        self.relation("Pre-Depends", relation)
    }

    /// Append to `Recommends`.
    #[must_use]
    pub fn recommends(self, relation: &str) -> Self {
        self.relation("Recommends", relation)
    }

    /// Append to `Provides`.
    #[must_use]
    pub fn provides(self, relation: &str) -> Self {
        self.relation("Provides", relation)
    }

    /// Append to `Conflicts`.
    #[must_use]
    pub fn conflicts(self, relation: &str) -> Self {
        self.relation("Conflicts", relation)
    }

    /// Append to `Breaks`.
    #[must_use]
    pub fn breaks(self, relation: &str) -> Self {
        self.relation("Breaks", relation)
    }

    /// Append to `Replaces`.
    #[must_use]
    pub fn replaces(self, relation: &str) -> Self {
        self.relation("Replaces", relation)
    }

    /// The licence in the copyright file (DEP-5).
    #[must_use]
    pub fn licence(mut self, short_name: &str) -> Self {
        self.licence = Some(short_name.to_owned());
        self
    }

    /// No copyright file.
    #[must_use]
    pub fn without_copyright(mut self) -> Self {
        self.licence = None;
        self
    }

    /// A regular file of root's, below the root, such as `usr/bin/tool`; parent directories come by themselves.
    #[must_use]
    pub fn file(self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.entry(TarEntry::file(path, content).mode(mode))
    }

    /// A directory of root's.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(TarEntry::directory(path).mode(mode))
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(TarEntry::symlink(path, target))
    }

    /// A hard link to a file of this package.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(TarEntry::hard_link(path, &format!("./{target}")))
    }

    /// An entry whose path is below the root, without a leading `/` or `./`.
    #[must_use]
    pub fn entry(mut self, entry: TarEntry) -> Self {
        assert!(
            !entry.path.starts_with(['/', '.']),
            "{}: hostile paths go through raw_entry",
            entry.path
        );
        self.entries.push(entry);
        self
    }

    /// A configuration file: a regular file that is also listed in `conffiles`.
    #[must_use]
    pub fn conffile(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        let line = format!("/{path}\n");
        self.append_control("conffiles", &line).file(path, content, 0o644)
    }

    /// An entry written as it is, after all others: traversal, absolute, device, duplicate, lying size.
    #[must_use]
    pub fn raw_entry(mut self, entry: TarEntry) -> Self {
        self.raw.push(entry);
        self
    }

    /// A maintainer script: `preinst`, `postinst`, `prerm` or `postrm`.
    #[must_use]
    pub fn script(self, kind: &str, text: &str) -> Self {
        self.control_file(TarEntry::file(&format!("./{kind}"), text).mode(0o755))
    }

    /// A line of the `triggers` file, such as `interest-noawait /usr/lib/x` or `activate-noawait ldconfig`.
    #[must_use]
    pub fn trigger(self, line: &str) -> Self {
        self.append_control("triggers", &format!("{line}\n"))
    }

    /// A file of the control archive, its path written as it is.
    #[must_use]
    pub fn control_file(mut self, entry: TarEntry) -> Self {
        self.control_files.push(entry);
        self
    }

    fn append_control(mut self, name: &str, line: &str) -> Self {
        let path = format!("./{name}");
        match self.control_files.iter_mut().find(|entry| entry.path == path) {
            Some(entry) => entry.content.extend_from_slice(line.as_bytes()),
            None => self.control_files.push(TarEntry::file(&path, line)),
        }
        self
    }

    /// The whole text of the `control` file inside the package, which may contradict the index.
    #[must_use]
    pub fn control_text(mut self, text: &str) -> Self {
        self.control_text = Some(text.to_owned());
        self
    }

    /// How both archives inside are compressed; xz unless said.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The modification time of every entry that has none of its own.
    #[must_use]
    pub fn mtime(mut self, seconds: u64) -> Self {
        self.mtime = seconds;
        self
    }

    /// Leave out the `ar` members whose names begin with `prefix`.
    #[must_use]
    pub fn without_member(mut self, prefix: &str) -> Self {
        self.members_removed.push(prefix.to_owned());
        self
    }

    /// Append an `ar` member.
    #[must_use]
    pub fn member(mut self, member: ArMember) -> Self {
        self.members_added.push(member);
        self
    }

    /// The control paragraph without the fields that only an index has.
    pub fn paragraph(&self) -> String {
        let mut text = format!("Package: {}\nVersion: {}\n", self.name, self.version);
        let size: usize = self.entries.iter().map(|entry| entry.content.len()).sum();
        let _ = writeln!(text, "Installed-Size: {}", size.div_ceil(1024) + 1);
        for (name, value) in &self.fields {
            let _ = writeln!(text, "{name}: {value}");
        }
        text
    }

    /// `NAME_VERSION_ARCHITECTURE.deb`, the version without its epoch.
    pub fn file_name(&self) -> String {
        let version = self
            .version
            .split_once(':')
            .map_or(self.version.as_str(), |(_, rest)| rest);
        format!(
            "{}_{version}_{}.deb",
            self.name,
            self.field_value("Architecture").unwrap_or("amd64")
        )
    }

    /// Where archives keep it: `main/w/wget/wget_1.25.0-2_amd64.deb`.
    pub fn pool_path(&self) -> String {
        let source = self
            .field_value("Source")
            .and_then(|text| text.split(' ').next())
            .unwrap_or(&self.name);
        let prefix = if source.starts_with("lib") && source.len() > 3 {
            &source[..4]
        } else {
            &source[..1]
        };
        format!("main/{prefix}/{source}/{}", self.file_name())
    }

    /// The bytes of the `.deb`.
    pub fn build(&self) -> Vec<u8> {
        let suffix = self.compression.suffix();
        let mut members = vec![
            ArMember::new("debian-binary", "2.0\n"),
            ArMember::new(
                &format!("control.tar{suffix}"),
                self.compression.apply(&self.control_tar()),
            ),
            ArMember::new(
                &format!("data.tar{suffix}"),
                self.compression.apply(&self.data_tar()),
            ),
        ];
        members.retain(|member| {
            !self
                .members_removed
                .iter()
                .any(|prefix| member.name().starts_with(prefix))
        });
        members.extend(self.members_added.iter().cloned());
        write_ar(&members, self.mtime)
    }

    fn control_tar(&self) -> Vec<u8> {
        let text = self.control_text.clone().unwrap_or_else(|| self.paragraph());
        let mut entries = vec![TarEntry::directory("./"), TarEntry::file("./control", text)];
        entries.extend(self.control_files.iter().cloned());
        write_tar(&entries, self.mtime)
    }

    fn data_tar(&self) -> Vec<u8> {
        let mut all = self.entries.clone();
        if let Some(licence) = &self.licence {
            let path = format!("usr/share/doc/{}/copyright", self.name);
            all.push(TarEntry::file(&path, copyright(licence)));
        }
        let mut entries = with_parents(all);
        entries.extend(self.raw.iter().cloned());
        write_tar(&entries, self.mtime)
    }
}

/// The entries as `./path`, each after its parent directories, the root first, each directory once.
fn with_parents(entries: Vec<TarEntry>) -> Vec<TarEntry> {
    let bare = |entry: &TarEntry| entry.path.trim_end_matches('/').to_owned();
    let is_directory = |entry: &&TarEntry| entry.kind == TarKind::Directory;
    let said: BTreeMap<String, TarEntry> = entries
        .iter()
        .filter(is_directory)
        .map(|entry| (bare(entry), entry.clone()))
        .collect();
    let mut seen = BTreeSet::new();
    let mut out = vec![TarEntry::directory("./")];
    for mut entry in entries {
        for (at, _) in entry.path.match_indices('/') {
            let parent = &entry.path[..at];
            if seen.insert(parent.to_owned()) {
                let mut directory = said
                    .get(parent)
                    .cloned()
                    .unwrap_or_else(|| TarEntry::directory(parent));
                directory.path = format!("./{parent}/");
                out.push(directory);
            }
        }
        let fresh = seen.insert(bare(&entry));
        if entry.kind == TarKind::Directory {
            if fresh {
                entry.path = format!("./{}/", bare(&entry));
                out.push(entry);
            }
            continue;
        }
        entry.path = format!("./{}", entry.path);
        out.push(entry);
    }
    out
}

fn copyright(licence: &str) -> String {
    format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n\
         Files: *\nCopyright: 2025 the testkit\nLicense: {licence}\n"
    )
}
