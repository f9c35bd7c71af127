//! Faster equivalents of what costs most in a base's maintainer scripts, with the same bytes as a result.
//!
//! A script is changed only where it holds a call that we know, to the letter; with any other text it runs as
//! it was shipped. The shipped script is what stays in the image. That the results are the same is a live test.

use crate::bytecode;
use crate::dpkg::NewPackage;

/// Where the build sandbox finds [`CA_CERTIFICATES`].
const CA_CERTIFICATES_NAME: &str = "ca-certificates.pl";
const CA_CERTIFICATES: &str = include_str!("fast_paths/ca-certificates.pl");

/// The file that a changed script calls, below `/run/cooper` in the build sandbox: name and contents.
pub(crate) const INJECTED: (&str, &str) = (CA_CERTIFICATES_NAME, CA_CERTIFICATES);

/// The scripts to run in place of the shipped ones, where a faster equivalent is known: member and text.
pub(crate) fn faster_scripts(package: &NewPackage) -> Vec<(&'static str, Vec<u8>)> {
    let of = |script| Some((script, faster_script(package, script)?));
    ["config", "postinst"].into_iter().filter_map(of).collect()
}

fn faster_script(package: &NewPackage, script: &str) -> Option<Vec<u8>> {
    let shipped = std::str::from_utf8(package.members.get(script)?).ok()?;
    let replacements = replacements(&package.name, script);
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
pub(crate) fn compile_program(packages: &[NewPackage]) -> String {
    let interpreter = |package: &&NewPackage| interpreter_version(&package.name).is_some();
    let taken_out = packages
        .iter()
        .filter(interpreter)
        .any(|package| !faster_scripts(package).is_empty());
    if taken_out {
        bytecode::compile_program(&bytecode::standard_library(packages))
    } else {
        String::new()
    }
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
        let scripts = faster_scripts(package).into_iter();
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
        assert!(
            compile_program(&[package("python3.13", script), library]).contains("/usr/lib/python3.13/abc.py")
        );
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
        assert_eq!(compile_program(&[package("python3", "exit 0\n")]), "");
    }
}
