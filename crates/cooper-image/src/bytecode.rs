//! Compiling Python sources to bytecode, in parallel and with the same bytes every time.
//!
//! A read-only image must hold its bytecode, or every run compiles what it imports. What the interpreter holds in
//! memory shows in the bytes: the marshalled form says which objects had more than one reference (`marshal.c`,
//! `w_ref`), and names are shared with the modules that are loaded. So one interpreter that has compiled nothing forks
//! a child for each group of files, and a child loads only modules that are frozen into it or, by the cache prefix,
//! compiled from source. A group has files of one wheel only, in one order and of a fixed number: a wheel's bytecode
//! is the same whatever else is compiled, however many children run at once.
//!
//! `SOURCE_DATE_EPOCH` stays unset: with it, bytecode would check the source's hash at every import.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use cooper_core::PythonVersion;

use crate::dpkg::NewPackage;
use crate::maintainer_scripts::mark;

/// How many files one child compiles: part of the recipe. A fork takes as long as half a file, and the last child
/// should not keep the others waiting.
const GROUP_FILES: usize = 24;

/// Sources that are compiled together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    /// Absolute paths inside the image; what is no source among them is passed over.
    pub(crate) paths: &'a [String],
    /// The time of their bytecode, in seconds since 1970; none where the layer's is good enough.
    pub(crate) mtime: Option<i64>,
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

/// A shell program that compiles these sources, each file once; empty where there is nothing to do.
pub(crate) fn compile_program(all: &[Sources<'_>]) -> String {
    let mut groups = String::new();
    let mut seen = BTreeSet::new();
    for sources in all {
        let plain = |path: &&String| is_source(path) && !path.contains(['\n', '\0']);
        let mut paths: Vec<&String> = sources.paths.iter().filter(plain).collect();
        paths.retain(|path| seen.insert(path.as_str()));
        paths.sort();
        let time = sources.mtime.map_or(String::new(), |mtime| mtime.to_string());
        for group in paths.chunks(GROUP_FILES) {
            let _ = writeln!(groups, "={time}");
            for path in group {
                let _ = writeln!(groups, "{path}");
            }
        }
    }
    if groups.is_empty() {
        return String::new();
    }
    format!(
        "umask 022\nunset SOURCE_DATE_EPOCH\ncooper_compiled=yes\n\
         PYTHONHASHSEED=0 /usr/bin/python3 {OPTIONS} /run/cooper/{COMPILER_NAME} <<'{END}' || cooper_compiled=no\n\
         {groups}{END}\n\
         if [ \"$cooper_compiled\" = no ]; then\n{}exit 101\nfi\n",
        mark("the bytecode compiler")
    )
}

/// Where Python looks for the bytecode of a source file (PEP 3147); none where the path is not that of one.
pub(crate) fn bytecode_of(source: &str, python: PythonVersion) -> Option<String> {
    let (folder, name) = source.rsplit_once('/')?;
    let module = name.strip_suffix(".py")?;
    let PythonVersion { major, minor } = python;
    Some(format!(
        "{folder}/__pycache__/{module}.cpython-{major}{minor}.pyc"
    ))
}

/// Whether the file at this path is compiled.
pub(crate) fn is_source(path: &str) -> bool {
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
    use std::collections::BTreeMap;
    use std::fs;
    use std::process::Command;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn program(wheels: &[&[String]]) -> String {
        let sources = wheels.iter().map(|paths| Sources {
            paths,
            mtime: Some(7),
        });
        compile_program(&sources.collect::<Vec<_>>())
    }

    #[test]
    fn nothing_to_compile_is_no_program() {
        assert_eq!(program(&[&["/usr/share/x.txt".to_owned()]]), "");
        let ordered = program(&[&["/b.py".to_owned(), "/a.py".to_owned()]]);
        assert_eq!(ordered.matches("/usr/bin/python3").count(), 1);
        assert!(ordered.contains("\n=7\n/a.py\n/b.py\nCOOPER_END"), "{ordered}");
    }

    #[test]
    fn a_group_has_files_of_one_wheel_and_a_file_is_in_one_group() {
        let many: Vec<String> = (0..=GROUP_FILES).map(|number| format!("/{number}.py")).collect();
        let other = ["/x.py".to_owned(), "/0.py".to_owned()];
        let both = program(&[&many, &other]);
        assert_eq!(both.matches("\n=7\n").count(), 3);
        assert!(both.contains("\n=7\n/x.py\nCOOPER_END"), "{both}");
    }

    /// Run the program that `program` makes over sources below a new directory; the bytecode by its name.
    fn bytecode(
        site: &Path,
        sources: &[(String, String)],
        program: impl Fn(&[String]) -> String,
    ) -> Option<BTreeMap<String, Vec<u8>>> {
        if !Path::new("/usr/bin/python3").exists() {
            eprintln!("SKIPPED: this test needs /usr/bin/python3");
            return None;
        }
        let at = |name: &str| site.join(name);
        for (name, text) in sources {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), text).unwrap();
            let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let file = fs::File::options().write(true).open(at(name)).unwrap();
            file.set_modified(time).unwrap();
        }
        // A busy host would let the test wait: there is no cgroup around it.
        let compiler = COMPILER.replace("posix.SCHED_IDLE", "posix.SCHED_OTHER");
        fs::write(at(COMPILER_NAME), compiler).unwrap();
        let paths = sources.iter().map(|(name, _)| at(name).display().to_string());
        let program = program(&paths.collect::<Vec<_>>());
        let program = program.replace("/run/cooper", &site.display().to_string());
        let done = Command::new("/bin/sh")
            .args(["-c", &program])
            .env_clear()
            .output();
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let mut found = BTreeMap::new();
        let mut folders = vec![site.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "pyc") {
                    let name = path.file_name().unwrap().to_str().unwrap();
                    let name = name.split_once(".cpython-").unwrap().0.to_owned();
                    found.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        Some(found)
    }

    /// The names of what is compiled of these sources.
    fn compiled(sources: &[(&str, &str)]) -> Option<Vec<String>> {
        let site = tempfile::tempdir().unwrap();
        let sources: Vec<_> = sources
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        let found = bytecode(site.path(), &sources, |paths| program(&[paths]))?;
        Some(found.into_keys().collect())
    }

    /// A made wheel: modules that share names with each other, with the interpreter and with other wheels.
    fn modules(wheel: &str, count: usize) -> Vec<(String, String)> {
        let module = |number: usize| {
            let text = format!(
                "import sys\nclass Thing{number}:\n    name = 'some_name'\n    def call(self, {wheel}, other):\n        \
                 return {{'key_{number}': self.name, 'some_name': ({number}, 'path', b'x')}}, other.shared_{wheel}\n"
            );
            (format!("{wheel}/{wheel}_{number}.py"), text)
        };
        (0..count).map(module).collect()
    }

    #[test]
    fn the_bytecode_of_a_wheel_does_not_depend_on_others() {
        let one = modules("one", GROUP_FILES * 2 + 3);
        let others = [modules("shared_one", 9), modules("some_name", 40)].concat();
        let of_one = |found: BTreeMap<String, Vec<u8>>| {
            let own = found.into_iter().filter(|(name, _)| name.starts_with("one_"));
            own.collect::<BTreeMap<_, _>>()
        };
        let in_turn = |sources: &[(String, String)], reverse: bool, prefix: &str| {
            // The path is part of the bytecode: the same one every time.
            let folder = tempfile::tempdir().unwrap();
            let site = Path::new("/tmp").join(format!("cooper-bytecode-{}", std::process::id()));
            fs::create_dir(&site).unwrap();
            let found = bytecode(&site, sources, |paths| {
                let of = |wheel: &str| {
                    let own = paths.iter().filter(|path| path.contains(&format!("/{wheel}/")));
                    own.cloned().collect::<Vec<_>>()
                };
                let mut wheels = ["one", "shared_one", "some_name"].map(of);
                if reverse {
                    wheels.reverse();
                }
                let text = program(&wheels.each_ref().map(Vec::as_slice));
                text.replace(" /usr/bin/python3 ", &format!(" {prefix} /usr/bin/python3 "))
            });
            fs::rename(&site, folder.path().join("done")).unwrap();
            found.map(of_one)
        };
        let Some(alone) = in_turn(&one, false, "") else {
            return;
        };
        assert_eq!(alone.len(), one.len());
        let all = [one.clone(), others].concat();
        assert_eq!(in_turn(&all, false, "").as_ref(), Some(&alone));
        assert_eq!(in_turn(&all, true, "").as_ref(), Some(&alone));
        assert_eq!(in_turn(&all, true, "taskset -c 0").as_ref(), Some(&alone));
    }

    #[test]
    fn bytecode_gets_the_time_of_its_group() {
        let site = tempfile::tempdir().unwrap();
        let sources = [("a.py".to_owned(), "x = 1\n".to_owned())];
        if bytecode(site.path(), &sources, |paths| program(&[paths])).is_none() {
            return;
        }
        let made = fs::read_dir(site.path().join("__pycache__")).unwrap();
        let times = made.map(|entry| entry.unwrap().metadata().unwrap().modified().unwrap());
        assert_eq!(times.collect::<Vec<_>>(), [UNIX_EPOCH + Duration::from_secs(7)]);
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
