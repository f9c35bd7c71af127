//! Faster equivalents of what costs most in a base's maintainer scripts, with the same bytes as a result.
//!
//! A script is changed only where it holds a call that we know, to the letter; with any other text it runs as
//! it was shipped. The shipped script is what stays in the image. Programs that scripts call are covered while a
//! step runs ([`FastPrograms`]). That the results are the same is a live test: it builds with
//! [`Scripts::AsShipped`] too.

mod programs;

use crate::bytecode::{self, Sources};
use crate::dpkg::NewPackage;
pub(crate) use programs::FastPrograms;

/// How maintainer scripts are run. The layers are the same, byte for byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scripts {
    /// With faster equivalents of known calls and programs.
    #[default]
    Faster,
    /// As their packages ship them, but for the compilation of Python's standard library: what the shipped scripts
    /// make of it is not reproducible.
    AsShipped,
}

/// Where the build sandbox finds [`CA_CERTIFICATES`].
const CA_CERTIFICATES_NAME: &str = "ca-certificates.pl";
const CA_CERTIFICATES: &str = include_str!("fast_paths/ca-certificates.pl");

/// The file that a changed script calls, below `/run/cooper` in the build sandbox: name and contents.
pub(crate) const INJECTED: (&str, &str) = (CA_CERTIFICATES_NAME, CA_CERTIFICATES);

/// The scripts to run in place of the shipped ones, where a faster equivalent is known: member and text.
pub(crate) fn faster_scripts(package: &NewPackage, scripts: Scripts) -> Vec<(&'static str, Vec<u8>)> {
    let of = |script| Some((script, faster_script(package, script, scripts)?));
    ["config", "postinst"].into_iter().filter_map(of).collect()
}

fn faster_script(package: &NewPackage, script: &str, scripts: Scripts) -> Option<Vec<u8>> {
    let shipped = std::str::from_utf8(package.members.get(script)?).ok()?;
    let replacements = match scripts {
        Scripts::AsShipped if !compiles_python(&package.name) => Vec::new(),
        _ => replacements(&package.name, script),
    };
    let known = !replacements.is_empty()
        && replacements
            .iter()
            .all(|(call, _)| shipped.contains(call.as_str()));
    known.then(|| {
        replacements
            .iter()
            .fold(shipped.to_owned(), |text, (call, by)| text.replace(call, by))
            .into_bytes()
    })
}

/// The bytecode compilation that [`faster_scripts`] took out of the scripts, to be done in parallel.
pub(crate) fn compile_program(packages: &[NewPackage], scripts: Scripts) -> String {
    let taken_out = |package: &&NewPackage| {
        compiles_python(&package.name) && !faster_scripts(package, scripts).is_empty()
    };
    let mut sources = Vec::new();
    for package in packages.iter().filter(taken_out) {
        if interpreter_version(&package.name).is_some() {
            sources.extend(bytecode::standard_library(packages));
        } else {
            let own = package
                .paths
                .iter()
                .filter(|path| path.starts_with(PRIVATE_MODULES));
            sources.extend(own.cloned());
        }
    }
    bytecode::compile_program(&[Sources {
        paths: &sources,
        mtime: None,
    }])
}

/// Where the packages `python3` and `python3-minimal` have modules of their own.
const PRIVATE_MODULES: &str = "/usr/share/python3/";

/// Packages whose `postinst` compiles what is part of the interpreter.
fn compiles_python(package: &str) -> bool {
    ["python3", "python3-minimal"].contains(&package) || interpreter_version(package).is_some()
}

/// Calls in a script of a package, and what is run in their place.
fn replacements(package: &str, script: &str) -> Vec<(String, String)> {
    match (package, script) {
        ("ca-certificates", "config") => ["CERTS_DISABLED", "CERTS_TRUST"].map(is_line_without_grep).into(),
        // The trigger would run the hooks of other packages; a base has none.
        ("ca-certificates", "postinst") => vec![
            (
                "update-ca-certificates --hooksdir \"\"\n\tfi".to_owned(),
                format!("perl /run/cooper/{CA_CERTIFICATES_NAME}\n\tfi"),
            ),
            (
                "dpkg-trigger --no-await update-ca-certificates".to_owned(),
                ":".to_owned(),
            ),
        ],
        ("python3" | "python3-minimal", "postinst") => {
            vec![(
                format!("\tpy3compile -p {package} {PRIVATE_MODULES}\n"),
                "\t:\n".to_owned(),
            )]
        }
        (_, "postinst") => interpreter_version(package)
            .map(|version| {
                let call =
                    format!("/usr/bin/python{version} -E -S /usr/lib/python{version}/py_compile.py $files");
                (call, ":".to_owned())
            })
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether `$crt` is a line of a variable, asked three hundred times: by the shell itself, without three processes.
fn is_line_without_grep(variable: &str) -> (String, String) {
    (
        format!("(echo \"${variable}\" | grep -F -q -x \"$crt\") > /dev/null 2>&1"),
        format!("case \"\n${variable}\n\" in (*\"\n$crt\n\"*) true ;; (*) false ;; esac"),
    )
}

/// `3.13` of `python3.13` and `python3.13-minimal`.
fn interpreter_version(package: &str) -> Option<&str> {
    let version = package.strip_prefix("python")?;
    let version = version.strip_suffix("-minimal").unwrap_or(version);
    let (major, minor) = version.split_once('.')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (number(major) && number(minor)).then_some(version)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn faster_postinst(package: &NewPackage) -> Option<Vec<u8>> {
        let scripts = faster_scripts(package, Scripts::Faster).into_iter();
        scripts.map(|(_, text)| text).next()
    }

    fn package(name: &str, postinst: &str) -> NewPackage {
        NewPackage {
            name: name.to_owned(),
            architecture: "amd64".to_owned(),
            control: String::new(),
            members: BTreeMap::from([("postinst".to_owned(), postinst.as_bytes().to_vec())]),
            paths: vec!["/usr/lib/python3.13/abc.py".to_owned()],
            conffiles: Vec::new(),
        }
    }

    #[test]
    fn a_known_call_is_replaced() {
        let script = "files=x\n\t/usr/bin/python3.13 -E -S /usr/lib/python3.13/py_compile.py $files\nother\n";
        assert_eq!(
            faster_postinst(&package("python3.13", script)).unwrap(),
            b"files=x\n\t:\nother\n"
        );
        assert_eq!(
            faster_postinst(&package("python3.13-minimal", script)).unwrap(),
            b"files=x\n\t:\nother\n"
        );
        let library = package("libpython3.13-stdlib", "");
        let packages = [package("python3.13", script), library];
        for scripts in [Scripts::Faster, Scripts::AsShipped] {
            assert!(compile_program(&packages, scripts).contains("/usr/lib/python3.13/abc.py"));
        }
    }

    #[test]
    fn pythons_own_modules_are_compiled_with_the_library() {
        let mut python = package(
            "python3",
            "if x; then\n\tpy3compile -p python3 /usr/share/python3/\nfi\n",
        );
        python.paths = vec!["/usr/share/python3/debpython/files.py".to_owned()];
        assert_eq!(faster_postinst(&python).unwrap(), b"if x; then\n\t:\nfi\n");
        let program = compile_program(&[python], Scripts::Faster);
        assert!(
            program.contains("/usr/share/python3/debpython/files.py"),
            "{program}"
        );
    }

    #[test]
    fn as_shipped_nothing_else_is_changed() {
        let certificates = package(
            "ca-certificates",
            "update-ca-certificates --hooksdir \"\"\n\tfi\ndpkg-trigger --no-await update-ca-certificates\n",
        );
        assert!(faster_postinst(&certificates).is_some());
        assert!(faster_scripts(&certificates, Scripts::AsShipped).is_empty());
    }

    #[test]
    fn any_other_text_runs_as_it_is() {
        assert_eq!(
            faster_postinst(&package("python3.13", "python3.13 -m compileall\n")),
            None
        );
        assert_eq!(
            faster_postinst(&package("ca-certificates", "update-ca-certificates\n")),
            None
        );
        assert_eq!(faster_postinst(&package("wget", "exit 0\n")), None);
        assert_eq!(
            compile_program(&[package("python3", "exit 0\n")], Scripts::Faster),
            ""
        );
    }
}
