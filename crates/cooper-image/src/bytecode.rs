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

/// How many interpreters compile so many files at once; part of the recipe, not of the host. Starting one takes as
/// long as compiling ten files, and two processors are what a host has at least.
fn chunks(files: usize) -> usize {
    match files {
        0..50 => 1,
        50..1000 => 2,
        _ => 4,
    }
}

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
    let chunks = chunks(paths.len());
    for chunk in 0..chunks {
        let own: Vec<&str> = paths
            .iter()
            .skip(chunk)
            .step_by(chunks)
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
#[allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the files of a test need not be atomic; what is skipped is said"
)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn nothing_to_compile_is_no_program() {
        assert_eq!(compile_program(&["/usr/share/x.txt".to_owned()]), "");
        let program = compile_program(&["/b.py".to_owned(), "/a.py".to_owned()]);
        assert_eq!(program.matches("/usr/bin/python3").count(), 1);
        assert!(program.find("\n/a.py\n") < program.find("\n/b.py\n"));
        let many: Vec<String> = (0..10_000).map(|number| format!("/{number}.py")).collect();
        for (files, chunks) in [(49, 1), (50, 2), (10_000, 4)] {
            let program = compile_program(&many[..files]);
            assert_eq!(program.matches("/usr/bin/python3").count(), chunks);
        }
    }

    /// Run the program over sources below a new directory; the bytecode that is there afterwards.
    fn compiled(sources: &[(&str, &str)]) -> Option<Vec<String>> {
        if !Path::new("/usr/bin/python3").exists() {
            eprintln!("SKIPPED: this test needs /usr/bin/python3");
            return None;
        }
        let site = tempfile::tempdir().unwrap();
        let at = |name: &str| site.path().join(name);
        for (name, text) in sources {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), text).unwrap();
        }
        fs::write(at(COMPILER_NAME), COMPILER).unwrap();
        let paths = sources.iter().map(|(name, _)| at(name).display().to_string());
        let program = compile_program(&paths.collect::<Vec<_>>());
        let program = program.replace("/run/cooper", &site.path().display().to_string());
        let done = Command::new("/bin/sh")
            .args(["-c", &program])
            .env_clear()
            .output();
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let Ok(names) = fs::read_dir(at("__pycache__")) else {
            return Some(Vec::new());
        };
        let name = |path: String| path.split_once(".cpython-").map(|(name, _)| name.to_owned());
        let names = names.filter_map(|entry| name(entry.unwrap().file_name().into_string().unwrap()));
        let mut names: Vec<String> = names.collect();
        names.sort();
        Some(names)
    }

    #[test]
    fn only_a_line_feed_ends_a_path() {
        let ends = [
            '\u{b}', '\u{c}', '\r', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}',
        ];
        for end in ends {
            let name = format!("é{end}é");
            if let Some(names) = compiled(&[(&format!("{name}.py"), "x = 1\n")]) {
                assert_eq!(names, std::slice::from_ref(&name), "{name:?}");
            }
        }
    }

    #[test]
    fn what_does_not_compile_is_left_alone() {
        let deep = format!("{}1\n", "-".repeat(100_000));
        let long = format!("{}.py", "l".repeat(250));
        let sources = [
            ("good.py", "x = 1\n"),
            ("template.py", "{{ name }} = = 1\n"),
            ("deep.py", deep.as_str()),
            (long.as_str(), "x = 1\n"),
            ("sub/taken.py", "x = 1\n"),
            ("sub/__pycache__", "not a directory"),
        ];
        if let Some(names) = compiled(&sources) {
            assert_eq!(names, ["good"]);
        }
    }
}
