//! What a wheel shows before anything of it is installed: its licences, code that would run at every start, native code.

use std::fs::File;

use cooper_core::PythonName;
use cooper_gate::artefact::WheelTraits;
use cooper_gate::licences::PythonLicenceEvidence;

use super::licences;
use super::metadata::{CoreMetadata, PthLine, pth_lines};
use super::zip::{Zip, ZipEntry, ZipError};
use super::{METADATA_BYTES_MAX, WheelError, only_dist_info, parse_path, tags};
use crate::deb::ar::PackageBytes;
use crate::rootfs::{TreePath, UnpackLimits, printable};

/// How much of a `.pth` file is read.
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
        startup_code: startup_code(&zip, &metadata.name)?,
        native_in_pure: if is_for_any_platform(filename) {
            native(&zip)?
        } else {
            Vec::new()
        },
    };
    Ok((evidence, traits))
}

/// Where an entry lies below the library, in which Python looks for modules; none where it goes elsewhere.
fn in_library(name: &str) -> Option<&str> {
    let Some((_, data)) = name.split_once(".data/") else {
        return Some(name);
    };
    if let Some(rest) = data.strip_prefix("purelib/").or(data.strip_prefix("platlib/")) {
        return Some(rest);
    }
    let (python, rest) = data.strip_prefix("data/lib/")?.split_once('/')?;
    let rest = rest
        .strip_prefix("dist-packages/")
        .or(rest.strip_prefix("site-packages/"));
    rest.filter(|_| python.starts_with("python"))
}

/// What Python would do at every start because of this wheel: each file with the first such thing.
fn startup_code(zip: &Zip, distribution: &str) -> Result<Vec<(String, String)>, ZipError> {
    let entries = zip.entries().iter().filter(|entry| !entry.directory);
    let library: Vec<(&ZipEntry, &str)> = entries
        .filter_map(|entry| Some((entry, in_library(&entry.name)?)))
        .collect();
    let places: Vec<&str> = library.iter().map(|(_, place)| *place).collect();
    let is_setuptools = distribution
        .parse::<PythonName>()
        .is_ok_and(|name| name.as_str() == "setuptools");
    let mut found = Vec::new();
    for (entry, place) in &library {
        let does = if is_pth(place) {
            of_pth(zip, entry, &places, is_setuptools)?
        } else {
            is_user_customisation(place)
                .then(|| "is imported at every start of Python where its folder is on the path".to_owned())
        };
        found.extend(does.map(|does| (printable(entry.name.as_bytes()), does)));
    }
    Ok(found)
}

/// The first thing that a `.pth` file does, unless all of it is known to do no harm.
fn of_pth(
    zip: &Zip,
    entry: &ZipEntry,
    library: &[&str],
    is_setuptools: bool,
) -> Result<Option<String>, ZipError> {
    if entry.size > PTH_BYTES_MAX {
        return Ok(Some(
            "is read at every start of Python, and too long to be judged".to_owned(),
        ));
    }
    let lines = pth_lines(&zip.read(entry, PTH_BYTES_MAX)?);
    Ok(lines.into_iter().find_map(|line| match line {
        PthLine::Code(code) if is_setuptools && is_known(&code) => None,
        PthLine::Code(code) => {
            let shown: String = code.chars().take(200).collect();
            Some(format!("runs at every start of Python: `{shown}`"))
        }
        PthLine::Place(place) => of_place(&place, library),
    }))
}

/// What is wrong with a place that is added to Python's path. A folder of the wheel's own library is judged with the wheel;
/// whatever else is there may be anybody's.
fn of_place(place: &str, library: &[&str]) -> Option<String> {
    let shown: String = printable(place.as_bytes()).chars().take(200).collect();
    let parts = place.split('/').filter(|part| !matches!(*part, "" | "."));
    let parts: Vec<&str> = parts.collect();
    let says = |what: &str| Some(format!("puts `{shown}` on Python's path at every start: {what}"));
    if place.starts_with('/') || parts.contains(&"..") {
        return says("it lies outside of the library");
    }
    let folder = parts.join("/");
    let below = format!("{folder}/");
    let is_own = folder.is_empty() || library.iter().any(|path| path.starts_with(&below));
    let customises = |path: &&&str| {
        let rest = path.strip_prefix(&below);
        rest.is_some_and(|rest| module_of(rest) == "sitecustomize")
    };
    match library.iter().find(customises) {
        Some(module) => says(&format!("{} runs then", printable(module.as_bytes()))),
        None if is_own => None,
        None => says("it is no folder of the wheel"),
    }
}

/// The module that a path below a folder of Python's path belongs to.
fn module_of(path: &str) -> &str {
    let top = path.split('/').next().unwrap_or(path);
    top.split('.').next().unwrap_or(top)
}

/// Whether a path is that of a module `usercustomize` in a folder of the library: `site` imports it from any folder of Python's
/// path, after those that `.pth` files add. (Right in the library it is refused, and so is `sitecustomize`, before which Debian
/// has its own elsewhere.)
fn is_user_customisation(place: &str) -> bool {
    let Some((folders, name)) = place.rsplit_once('/') else {
        return false;
    };
    let is_it = |part: &str| module_of(part) == "usercustomize";
    let (above, last) = folders.rsplit_once('/').unwrap_or(("", folders));
    is_it(name) || module_of(name) == "__init__" && is_it(last) && !above.is_empty()
}

/// The line of setuptools, which nearly every build environment has: it puts its own `distutils` in the place of the one
/// that Python no longer has.
const SETUPTOOLS: &str = "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == \
                          'local'; enabled and __import__('_distutils_hack').add_shim();";

/// Whether a line is one that is known to do no harm, to the letter.
fn is_known(line: &str) -> bool {
    line.trim() == SETUPTOOLS
}

/// Only those right in the library are read.
fn is_pth(place: &str) -> bool {
    !place.contains('/') && place.to_ascii_lowercase().ends_with(".pth")
}

fn is_for_any_platform(filename: &str) -> bool {
    tags::of_file_name(filename).is_some_and(|tags| tags.iter().all(tags::Tag::is_for_any_platform))
}

/// Native files, by their names or by what is in them: a loader asks for no suffix.
fn native(zip: &Zip) -> Result<Vec<String>, ZipError> {
    const ELF: &[u8] = b"\x7fELF";
    let mut found = Vec::new();
    for entry in zip.entries().iter().filter(|entry| !entry.directory) {
        let native = is_native(&entry.name)
            || entry.size > ELF.len() as u64 && zip.head(entry, ELF.len() as u64)? == ELF;
        if native {
            found.push(printable(entry.name.as_bytes()));
        }
        if found.len() >= NATIVE_MAX {
            break;
        }
    }
    Ok(found)
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

    #[test]
    fn the_library_has_several_ways_in() {
        for (name, place) in [
            ("a/b.py", Some("a/b.py")),
            ("x-1.data/purelib/a.pth", Some("a.pth")),
            ("x-1.data/platlib/a.pth", Some("a.pth")),
            ("x-1.data/data/lib/python3.13/dist-packages/a.pth", Some("a.pth")),
            ("x-1.data/data/lib/python3.13/a.pth", None),
            ("x-1.data/data/share/a.pth", None),
            ("x-1.data/scripts/a.pth", None),
        ] {
            assert_eq!(in_library(name), place, "{name}");
        }
    }

    #[test]
    fn places_on_the_path_are_the_wheels_own_folders() {
        let library = ["d/a.py", "e/sitecustomize.py", "f.zip", "x.py"];
        for good in ["d", "./d/", "."] {
            assert_eq!(of_place(good, &library), None, "{good}");
        }
        for (bad, why) in [
            ("e", "e/sitecustomize.py runs then"),
            ("f.zip", "no folder of the wheel"),
            ("of_another", "no folder of the wheel"),
            ("../x", "outside"),
            ("/tmp", "outside"),
        ] {
            let said = of_place(bad, &library).unwrap_or_default();
            assert!(said.contains(why), "{bad}: {said}");
        }
        for (path, is_it) in [
            ("a/usercustomize.py", true),
            ("a/usercustomize/__init__.cpython-313.pyc", true),
            ("usercustomize.py", false),
            ("usercustomize/__init__.py", false),
            ("a/usercustomize.abi3.so", true),
            ("usercustomize/x.py", false),
            ("a/__init__.py", false),
        ] {
            assert_eq!(is_user_customisation(path), is_it, "{path}");
        }
    }
}
