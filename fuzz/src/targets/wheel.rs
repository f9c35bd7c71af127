//! Wheels: the whole file installed, `RECORD`, and the texts of `.dist-info`.

use cooper_core::{Base, Digest};
use cooper_image::libraries::elf_in_words;
use cooper_image::rootfs::{Links, Rootfs};
use cooper_image::wheel::{self, CoreMetadata, metadata, record};
use testkit::ZipEntry;
use testkit::wheel::base64;

use super::debian::{assert_nothing_outside, limits};
use super::{as_it_is, chain, ending};
use crate::driver::Target;

/// A whole wheel, installed: nothing appears outside its root.
pub(super) const WHEEL: Target = Target {
    name: "wheel",
    examples: || {
        let hostile = [
            ZipEntry::symlink("out", "../.."),
            ZipEntry::file("out/x", "x").stored(),
            ZipEntry::sharing("twin", 0),
        ];
        let hostile = hostile.into_iter().fold(deflated(), testkit::Wheel::raw_entry);
        vec![stored(), deflated().build(), hostile.build()]
    },
    mend: mend_checksums,
    run: |bytes| {
        let opened = wheel::Wheel::from_bytes(bytes.to_vec(), &limits());
        opened.map_or_else(|error| chain(&error), |wheel| install_below_a_root(&wheel))
    },
};

/// The headers of a shared library.
pub(super) const ELF: Target = Target {
    name: "elf",
    examples: || {
        let library = testkit::ElfLibrary::new()
            .soname("liba.so.1")
            .needs("libc.so.6")
            .run_path("$ORIGIN");
        let versions = library
            .clone()
            .needs_version("libc.so.6", "GLIBC_2.34")
            .defines_version("A_1");
        vec![library.build(), versions.build()]
    },
    mend: as_it_is,
    run: elf_in_words,
};

/// `RECORD`.
pub(super) const RECORD: Target = Target {
    name: "wheel-record",
    examples: || {
        let digest = base64(Digest::of(b"x").as_bytes());
        let text = format!(
            "tool/__init__.py,sha256={digest},1\n\"a,\"\"b\",sha256={digest},\ntool-1.0.dist-info/RECORD,,\n"
        );
        vec![text.into_bytes()]
    },
    mend: as_it_is,
    run: |bytes| record::parse(bytes).map_or_else(|fault| fault.fault.to_string(), |_| "good".to_owned()),
};

/// METADATA as the inventory reads it, WHEEL, `entry_points.txt`, `.pth`.
pub(super) const TEXTS: Target = Target {
    name: "wheel-texts",
    examples: || {
        let texts = [
            deflated().metadata(),
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned(),
            "[console_scripts]\ntool = tool.cli:main [fast]\n[gui_scripts]\nx=y:z\n".to_owned(),
            "../here\nimport os; os.system('x')\n# c\n".to_owned(),
        ];
        texts.map(String::into_bytes).to_vec()
    },
    mend: as_it_is,
    run: |bytes| {
        let licence = CoreMetadata::parse(bytes).map(|metadata| metadata.stated_licence().is_some());
        let points = metadata::parse_entry_points(bytes);
        for point in points.iter().flatten() {
            assert!(!point.script().contains('\0'));
        }
        let wheel = ending(metadata::parse_wheel(bytes));
        format!(
            "{} / {wheel} / {} / {}",
            ending(licence),
            ending(points),
            metadata::pth_code(bytes).is_empty()
        )
    },
};

fn install_below_a_root(wheel: &wheel::Wheel) -> String {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b/root");
    std::fs::create_dir_all(&root).unwrap();
    let rootfs = Rootfs::open(&root, Links::Refused).unwrap();
    let outcome = wheel.install(&rootfs, Base::default().python());
    assert_nothing_outside(folder.path());
    ending(outcome.as_ref().map_err(|error| chain(error)))
}

fn deflated() -> testkit::Wheel {
    testkit::Wheel::new("tool", "1.0")
        .package("tool", "def main(): pass\n")
        .data("scripts", "tool-script", "#!python\nprint()\n", 0o755)
        .data("data", "share/tool", "x", 0o644)
        .entry_point("console_scripts", "tool = tool:main")
        .requires("other>=1")
        .field("Classifier", "License :: OSI Approved :: MIT License")
        .licence("MIT")
}

/// The same in the main, not compressed, so that changes reach the contents.
fn stored() -> Vec<u8> {
    let files = [
        ("tool/__init__.py", "def main(): pass\n".to_owned()),
        (
            "tool-1.0.data/scripts/tool-script",
            "#!python\nprint()\n".to_owned(),
        ),
        ("tool-1.0.dist-info/METADATA", deflated().metadata()),
        (
            "tool-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned(),
        ),
        (
            "tool-1.0.dist-info/entry_points.txt",
            "[console_scripts]\ntool = tool:main\n".to_owned(),
        ),
    ];
    let line = |(path, text): &(&str, String)| {
        format!(
            "{path},sha256={},{}\n",
            base64(Digest::of(text.as_bytes()).as_bytes()),
            text.len()
        )
    };
    let record = files.iter().map(line).collect::<Vec<_>>().concat() + "tool-1.0.dist-info/RECORD,,\n";
    let mut entries: Vec<ZipEntry> = files
        .iter()
        .map(|(path, text)| ZipEntry::file(path, text.as_str()).stored())
        .collect();
    entries.push(ZipEntry::file("tool-1.0.dist-info/RECORD", record).stored());
    testkit::zip::write_zip(&entries)
}

/// Contents that are not compressed get the right checksum, in their own header and in the directory.
fn mend_checksums(bytes: &mut [u8]) {
    let mut sums = Vec::new();
    for start in marks(bytes, b"PK\x03\x04") {
        let (method, size) = (number(bytes, start + 8, 2), number(bytes, start + 18, 4));
        let data = start + 30 + number(bytes, start + 26, 2) + number(bytes, start + 28, 2);
        let Some(content) = bytes.get(data..data.saturating_add(size)).filter(|_| method == 0) else {
            continue;
        };
        let sum = testkit::zip::crc32(content).to_le_bytes();
        sums.push((start, sum));
        write(bytes, start + 14, sum);
    }
    for start in marks(bytes, b"PK\x01\x02") {
        let local = number(bytes, start + 42, 4);
        if let Some((_, sum)) = sums.iter().find(|(place, _)| *place == local) {
            write(bytes, start + 16, *sum);
        }
    }
}

fn marks(bytes: &[u8], mark: &[u8]) -> Vec<usize> {
    (0..bytes.len())
        .filter(|at| bytes[*at..].starts_with(mark))
        .collect()
}

/// A little-endian number; 0 where there are no bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> usize {
    let field = bytes.get(at..at + width).unwrap_or_default();
    field
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

fn write(bytes: &mut [u8], at: usize, value: [u8; 4]) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value);
    }
}
