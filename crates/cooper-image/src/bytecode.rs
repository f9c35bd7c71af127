//! Compiling Python sources to bytecode, in parallel and with the same bytes every time.
//!
//! A read-only image must hold its bytecode, or every run compiles what it imports. Files are compiled in a
//! fixed number of chunks, each by one interpreter in one order, so that neither the number of processors nor
//! the load can change an object's reference count, which the marshalled form shows (`marshal.c`, `w_ref`).
//! `SOURCE_DATE_EPOCH` stays unset: with it, bytecode would check the source's hash at every import.

use std::fmt::Write as _;
use std::path::Path;

use crate::dpkg::NewPackage;

/// How many interpreters compile at once; part of the recipe, not of the host.
const CHUNKS: usize = 4;

/// Compiles the files named on standard input, one per line. A file that does not compile (templates, code for
/// another version) is left alone, as pip and Debian do.
const PROGRAM: &str = "\
import sys, py_compile
for path in sys.stdin.read().splitlines():
    try:
        py_compile.compile(path, doraise=True, quiet=2)
    except (py_compile.PyCompileError, OSError, ValueError, RecursionError):
        pass
";

/// A shell program that compiles `paths` (absolute, inside the image); empty where there is nothing to do.
pub(crate) fn compile_program(paths: &[String]) -> String {
    let plain = |path: &&String| is_source(path) && !path.contains(['\n', '\'', '\0']);
    let mut paths: Vec<&String> = paths.iter().filter(plain).collect();
    paths.sort();
    paths.dedup();
    if paths.is_empty() {
        return String::new();
    }
    let mut text = format!("cooper_compile='{PROGRAM}'\nunset SOURCE_DATE_EPOCH\n");
    for chunk in 0..CHUNKS {
        let own: Vec<&str> = paths
            .iter()
            .skip(chunk)
            .step_by(CHUNKS)
            .map(|path| path.as_str())
            .collect();
        let delimiter = "COOPER_END_OF_PATHS";
        let _ = write!(
            text,
            "PYTHONHASHSEED=0 /usr/bin/python3 -S -s -P -c \"$cooper_compile\" <<'{delimiter}' &\n{}\n{delimiter}\n",
            own.join("\n")
        );
    }
    text.push_str("wait\n");
    text
}

fn is_source(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "py")
}

/// The standard library's sources among the paths of the interpreter's library packages.
pub(crate) fn standard_library(packages: &[NewPackage]) -> Vec<String> {
    let library = |package: &&NewPackage| {
        package.name.starts_with("libpython3.")
            && (package.name.ends_with("-minimal") || package.name.ends_with("-stdlib"))
    };
    let paths = packages.iter().filter(library).flat_map(|package| &package.paths);
    paths
        .filter(|path| path.starts_with("/usr/lib/python3.") && is_source(path))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_compile_is_no_program() {
        assert_eq!(compile_program(&["/usr/share/x.txt".to_owned()]), "");
        let program = compile_program(&["/b.py".to_owned(), "/a.py".to_owned()]);
        assert_eq!(program.matches("/usr/bin/python3").count(), CHUNKS);
        assert!(program.find("\n/a.py\n") < program.find("\n/b.py\n"));
    }
}
