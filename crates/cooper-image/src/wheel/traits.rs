//! What a wheel shows before anything of it is installed: its licences, code that would run at every start, native code.

use std::fs::File;

use cooper_gate::artefact::WheelTraits;
use cooper_gate::licences::PythonLicenceEvidence;

use super::licences;
use super::metadata::{CoreMetadata, pth_code};
use super::zip::{Zip, ZipEntry, ZipError};
use super::{METADATA_BYTES_MAX, WheelError, only_dist_info, parse_path, tags};
use crate::deb::ar::PackageBytes;
use crate::rootfs::{TreePath, UnpackLimits, printable};

/// How much of a `.pth` file is read: what is longer is shown as its beginning.
const PTH_BYTES_MAX: u64 = 1 << 20;
/// How many native files are named.
const NATIVE_MAX: usize = 20;

/// Read what the gates judge of a wheel in a file. Nothing else is checked: installing it does that.
///
/// # Errors
/// When it is not a zip with one `.dist-info` that has a METADATA, or one of the files that are read cannot be.
pub fn inspect(file: File, filename: &str) -> Result<(PythonLicenceEvidence, WheelTraits), WheelError> {
    let limits = UnpackLimits::default();
    let size = file.metadata().map_err(ZipError::Read)?.len();
    let zip = Zip::open(PackageBytes::File { file, size }, &limits)?;
    let paths = zip.entries().iter().map(|entry| parse_path(entry, &limits));
    let paths: Vec<TreePath> = paths.collect::<Result<_, _>>()?;
    let dist_info = only_dist_info(&paths)?;
    let path = format!("{dist_info}/METADATA");
    let entry = zip.entries().iter().find(|entry| entry.name == path);
    let entry = entry.ok_or(WheelError::Missing { path })?;
    let metadata = CoreMetadata::parse(&zip.read(entry, METADATA_BYTES_MAX)?)?;
    let evidence = licences::evidence(&zip, &dist_info, &metadata)?;
    let traits = WheelTraits {
        startup_code: startup_code(&zip)?,
        native_in_pure: if is_for_any_platform(filename) {
            native(&zip)
        } else {
            Vec::new()
        },
    };
    Ok((evidence, traits))
}

/// The first line of each `.pth` file that Python would run, but for those that are known. Only those right in `site-packages` are read by it.
fn startup_code(zip: &Zip) -> Result<Vec<(String, String)>, ZipError> {
    let files = zip.entries().iter().filter(|entry| is_pth(entry));
    let mut found = Vec::new();
    for entry in files {
        let line = if entry.size > PTH_BYTES_MAX {
            Some("too long to be read".to_owned())
        } else {
            let code = pth_code(&zip.read(entry, PTH_BYTES_MAX)?);
            code.into_iter().find(|line| !is_known(line))
        };
        found.extend(line.map(|line| (printable(entry.name.as_bytes()), line.chars().take(200).collect())));
    }
    Ok(found)
}

/// The line of setuptools, which nearly every build environment has: it puts its own `distutils` in the place of the one
/// that Python no longer has.
const SETUPTOOLS: &str = "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == \
                          'local'; enabled and __import__('_distutils_hack').add_shim();";

/// Whether a line is one that is known to do no harm, to the letter.
fn is_known(line: &str) -> bool {
    line.trim() == SETUPTOOLS
}

fn is_pth(entry: &ZipEntry) -> bool {
    let name = entry.name.as_str();
    let in_data = name.split_once(".data/").map(|(_, rest)| rest);
    let in_data = in_data.and_then(|rest| rest.strip_prefix("purelib/").or(rest.strip_prefix("platlib/")));
    let place = in_data.unwrap_or(name);
    !entry.directory && !place.contains('/') && place.to_ascii_lowercase().ends_with(".pth")
}

fn is_for_any_platform(filename: &str) -> bool {
    tags::of_file_name(filename).is_some_and(|tags| tags.iter().all(tags::Tag::is_for_any_platform))
}

fn native(zip: &Zip) -> Vec<String> {
    let files = zip
        .entries()
        .iter()
        .filter(|entry| !entry.directory && is_native(&entry.name));
    files
        .take(NATIVE_MAX)
        .map(|entry| printable(entry.name.as_bytes()))
        .collect()
}

/// `x.so`, `libx.so.1`, `x.pyd`, `x.dll`, `x.dylib`
fn is_native(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let ends = [".so", ".pyd", ".dll", ".dylib"];
    ends.iter().any(|end| name.ends_with(end)) || name.contains(".so.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_files_are_told_by_their_names() {
        for (path, native) in [
            ("a/_x.cpython-313-x86_64-linux-gnu.so", true),
            ("a.libs/libz.so.1.2", true),
            ("a/X.PYD", true),
            ("a/so.py", false),
            ("a.so/readme.txt", false),
        ] {
            assert_eq!(is_native(path), native, "{path}");
        }
        assert!(is_known(
            "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local'; enabled and __import__('_distutils_hack').add_shim(); "
        ));
        assert!(!is_known("import os; var = 'SETUPTOOLS_USE_DISTUTILS'; import x"));
        assert!(is_for_any_platform("a-1-py3-none-any.whl"));
        assert!(!is_for_any_platform("a-1-cp313-cp313-manylinux_2_28_x86_64.whl"));
    }
}
