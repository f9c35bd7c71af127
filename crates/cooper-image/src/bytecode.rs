//! Compiling Python sources to bytecode, in parallel and with the same bytes every time.
//!
//! A read-only image must hold its bytecode, or every run compiles what it imports. What the interpreter holds in
//! memory shows in the bytes: the marshalled form says which objects had more than one reference (`marshal.c`,
//! `w_ref`), and names are shared with the modules that are loaded. So each of a fixed number of interpreters
//! compiles its own files in one order, and loads only modules that are frozen into it or, by the cache prefix,
//! compiled from source: never bytecode that another one is just writing.
//!
//! `SOURCE_DATE_EPOCH` stays unset: with it, bytecode would check the source's hash at every import.

use std::fmt::Write as _;
use std::path::Path;

use crate::dpkg::NewPackage;
use crate::maintainer_scripts::mark;

/// How many interpreters compile at once; part of the recipe, not of the host.
const CHUNKS: usize = 4;

/// Where the build sandbox finds [`COMPILER`].
const COMPILER_NAME: &str = "compile.py";
const COMPILER: &str = include_str!("bytecode/compile.py");

/// The file that [`compile_program`] runs, below `/run/cooper` in the build sandbox: name and contents.
pub(crate) const INJECTED: (&str, &str) = (COMPILER_NAME, COMPILER);

/// Ends a list of paths.
const END: &str = "COOPER_END_OF_PATHS";

/// Nothing is there, so that no module is loaded from bytecode.
const OPTIONS: &str = "-S -s -P -B -W ignore -X pycache_prefix=/proc/cooper";

/// A shell program that compiles `paths` (absolute, inside the image); empty where there is nothing to do.
pub(crate) fn compile_program(paths: &[String]) -> String {
    let plain = |path: &&String| is_source(path) && !path.contains(['\n', '\0']);
    let mut paths: Vec<&String> = paths.iter().filter(plain).collect();
    paths.sort();
    paths.dedup();
    if paths.is_empty() {
        return String::new();
    }
    let mut text = "cooper_compilers=\numask 022\nunset SOURCE_DATE_EPOCH\n".to_owned();
    for chunk in 0..CHUNKS {
        let own: Vec<&str> = paths
            .iter()
            .skip(chunk)
            .step_by(CHUNKS)
            .map(|path| path.as_str())
            .collect();
        let _ = write!(
            text,
            "PYTHONHASHSEED=0 /usr/bin/python3 {OPTIONS} /run/cooper/{COMPILER_NAME} <<'{END}' &\n{}\n{END}\n\
             cooper_compilers=\"$cooper_compilers $!\"\n",
            own.join("\n")
        );
    }
    text.push_str("for compiler in $cooper_compilers; do\nwait \"$compiler\" && continue\n");
    let _ = write!(text, "{}exit 101\ndone\n", mark("the bytecode compiler"));
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
