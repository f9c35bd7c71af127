//! A builder of shared libraries (ELF, 64 bits, little-endian) that have nothing but what the loader reads.

/// A shared library for x86-64 without code.
#[derive(Debug, Clone, Default)]
pub struct ElfLibrary {
    soname: Option<String>,
    needed: Vec<String>,
    run_path: Option<String>,
    versions_needed: Vec<(String, Vec<String>)>,
    versions_defined: Vec<String>,
    machine: Option<u16>,
}

const X86_64: u16 = 62;
/// Where the file is in memory; not where it is in the file.
const ADDRESS: u64 = 0x40_0000;
const HEADER_BYTES: u64 = 64;
const SEGMENT_BYTES: u64 = 56;

impl ElfLibrary {
    /// A library without a name that asks for nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its `DT_SONAME`.
    #[must_use]
    pub fn soname(mut self, name: &str) -> Self {
        self.soname = Some(name.to_owned());
        self
    }

    /// One more `DT_NEEDED`.
    #[must_use]
    pub fn needs(mut self, library: &str) -> Self {
        self.needed.push(library.to_owned());
        self
    }

    /// Its `DT_RUNPATH`.
    #[must_use]
    pub fn run_path(mut self, path: &str) -> Self {
        self.run_path = Some(path.to_owned());
        self
    }

    /// A version of symbols that it asks of a library.
    #[must_use]
    pub fn needs_version(mut self, library: &str, version: &str) -> Self {
        self.versions_needed
            .push((library.to_owned(), vec![version.to_owned()]));
        self
    }

    /// A version of symbols that it has.
    #[must_use]
    pub fn defines_version(mut self, version: &str) -> Self {
        self.versions_defined.push(version.to_owned());
        self
    }

    /// Another machine: 183 is `AArch64`.
    #[must_use]
    pub fn machine(mut self, machine: u16) -> Self {
        self.machine = Some(machine);
        self
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let mut strings = Strings(vec![0]);
        let mut entries: Vec<(u64, u64)> = Vec::new();
        entries.extend(self.needed.iter().map(|name| (1, strings.add(name))));
        entries.extend(self.soname.iter().map(|name| (14, strings.add(name))));
        entries.extend(self.run_path.iter().map(|path| (29, strings.add(path))));
        let needed = self.version_needs(&mut strings);
        let defined = self.version_definitions(&mut strings);
        let strings_at = HEADER_BYTES + 2 * SEGMENT_BYTES;
        let needed_at = strings_at + strings.0.len() as u64;
        let defined_at = needed_at + needed.len() as u64;
        let dynamic_at = defined_at + defined.len() as u64;
        entries.push((5, ADDRESS + strings_at));
        entries.push((10, strings.0.len() as u64));
        if !self.versions_needed.is_empty() {
            entries.push((0x6fff_fffe, ADDRESS + needed_at));
            entries.push((0x6fff_ffff, self.versions_needed.len() as u64));
        }
        if !self.versions_defined.is_empty() {
            entries.push((0x6fff_fffc, ADDRESS + defined_at));
            entries.push((0x6fff_fffd, self.versions_defined.len() as u64));
        }
        entries.push((0, 0));
        let dynamic: Vec<u8> = entries
            .iter()
            .flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat())
            .collect();
        let mut bytes = self.header();
        let size = dynamic_at + dynamic.len() as u64;
        bytes.extend(segment(1, 0, size));
        bytes.extend(segment(2, dynamic_at, dynamic.len() as u64));
        bytes.extend([strings.0, needed, defined, dynamic].concat());
        bytes
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(16, 0);
        let short = |value: u16| value.to_le_bytes().to_vec();
        // ET_DYN
        bytes.extend([short(3), short(self.machine.unwrap_or(X86_64))].concat());
        bytes.extend(1_u32.to_le_bytes());
        for value in [0, HEADER_BYTES, 0] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(0_u32.to_le_bytes());
        for value in [64, 56, 2, 64, 0, 0] {
            bytes.extend(short(value));
        }
        bytes
    }

    fn version_needs(&self, strings: &mut Strings) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, (library, versions)) in self.versions_needed.iter().enumerate() {
            let last = number + 1 == self.versions_needed.len();
            let length = 16 + 16 * u32::try_from(versions.len()).expect("few");
            bytes.extend(
                [1_u16, u16::try_from(versions.len()).expect("few")]
                    .map(u16::to_le_bytes)
                    .concat(),
            );
            let next = if last { 0 } else { length };
            let words = [strings.short(library), 16, next];
            bytes.extend(words.map(u32::to_le_bytes).concat());
            for (number, version) in versions.iter().enumerate() {
                let next = if number + 1 == versions.len() { 0 } else { 16 };
                bytes.extend(0_u32.to_le_bytes());
                bytes.extend([0_u16, 2].map(u16::to_le_bytes).concat());
                bytes.extend([strings.short(version), next].map(u32::to_le_bytes).concat());
            }
        }
        bytes
    }

    fn version_definitions(&self, strings: &mut Strings) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, version) in self.versions_defined.iter().enumerate() {
            let last = number + 1 == self.versions_defined.len();
            bytes.extend([1_u16, 0, 2, 1].map(u16::to_le_bytes).concat());
            let next = if last { 0 } else { 28 };
            bytes.extend([0, 20, next].map(u32::to_le_bytes).concat());
            bytes.extend([strings.short(version), 0].map(u32::to_le_bytes).concat());
        }
        bytes
    }
}

struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, text: &str) -> u64 {
        let at = self.0.len() as u64;
        self.0.extend(text.as_bytes());
        self.0.push(0);
        at
    }

    fn short(&mut self, text: &str) -> u32 {
        u32::try_from(self.add(text)).expect("a short table")
    }
}

fn segment(kind: u32, offset: u64, size: u64) -> Vec<u8> {
    let mut bytes = [kind, 4].map(u32::to_le_bytes).concat();
    for value in [offset, ADDRESS + offset, ADDRESS + offset, size, size, 8] {
        bytes.extend(value.to_le_bytes());
    }
    bytes
}
