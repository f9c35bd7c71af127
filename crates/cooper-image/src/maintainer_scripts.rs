//! One shell program that runs the maintainer scripts of many packages in order, inside the build sandbox.
//!
//! Debian Policy 6 tells how scripts are called, `dpkg(1)` and `deb-postinst(5)` which variables they see.
//! Running them from one shell saves a sandbox for each; a line on standard output marks each call, so that
//! a failure names its package and script.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::dpkg::NewPackage;

/// Begins the line that marks a call.
const MARK: &str = "\u{1}cooper ";

/// The program's text under construction.
#[derive(Debug, Clone)]
pub(crate) struct ScriptRun {
    calls: String,
    count: u64,
}

/// What every script sees, and how it is called.
const PREAMBLE: &str = "set -u\n\
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
    export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true DEBCONF_NOWARNINGS=yes\n\
    export PYTHONDONTWRITEBYTECODE=1\n\
    export LC_ALL=C.UTF-8 HOME=/root DPKG_ROOT= DPKG_ADMINDIR=/var/lib/dpkg DPKG_RUNNING_VERSION=1.22.0\n\
    export DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_MAINTSCRIPT_DEBUG=0 PERL_HASH_SEED=0\n\
    umask 022\n";
const CALL: &str = "call() {\n\
    DPKG_MAINTSCRIPT_PACKAGE=$1 DPKG_MAINTSCRIPT_ARCH=$2 DPKG_MAINTSCRIPT_NAME=$3\n\
    export DPKG_MAINTSCRIPT_PACKAGE DPKG_MAINTSCRIPT_ARCH DPKG_MAINTSCRIPT_NAME\n\
    script=/var/lib/dpkg/info/$4.$3; shift 4\n\
    \"$script\" \"$@\" </dev/null || exit 100\n\
    }\n";

impl ScriptRun {
    /// An empty program.
    pub(crate) fn new() -> Self {
        Self {
            calls: String::new(),
            count: 0,
        }
    }

    /// Whether there is nothing to run.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The program, as a child of what `entrance` starts where that is not empty, and with another one running
    /// beside it where that is not empty: it ends when both have ended.
    pub(crate) fn program(&self, entrance: &str, beside: &str) -> String {
        let calls = &self.calls;
        let before = format!("{PREAMBLE}{entrance}{CALL}");
        if beside.is_empty() {
            return before + calls;
        }
        format!("{before}(\n{beside}) &\ncooper_beside=$!\n{calls}\nwait \"$cooper_beside\"\n")
    }

    /// `preinst install` of a package, where it has one.
    pub(crate) fn preinst(&mut self, package: &NewPackage) {
        self.call(package, "preinst", "install");
    }

    /// `postinst configure ''` of a package, where it has one.
    pub(crate) fn postinst(&mut self, package: &NewPackage) {
        self.call(package, "postinst", "configure ''");
    }

    fn call(&mut self, package: &NewPackage, script: &str, arguments: &str) {
        if package.has_script(script) {
            let (name, architecture, stem) = (&package.name, &package.architecture, package.info_name());
            self.line(
                &format!("{name} {script}"),
                &format!("call {name} {architecture} {script} {stem} {arguments}"),
            );
        }
    }

    /// `postinst triggered 'NAMES'` of packages by their `info` names.
    pub(crate) fn triggered(&mut self, pending: &BTreeMap<String, BTreeSet<String>>) {
        for (stem, triggers) in pending {
            let quotable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'\'');
            if !quotable(stem) || !triggers.iter().all(|trigger| quotable(trigger)) {
                continue;
            }
            let name = stem.split(':').next().unwrap_or(stem);
            let names = triggers.iter().cloned().collect::<Vec<_>>().join(" ");
            let line = format!(
                "[ ! -x '/var/lib/dpkg/info/{stem}.postinst' ] || call '{name}' amd64 postinst '{stem}' triggered '{names}'"
            );
            self.line(&format!("{name} postinst triggered"), &line);
        }
    }

    fn line(&mut self, what: &str, command: &str) {
        self.count += 1;
        // Writing to a String cannot fail.
        let _ = writeln!(self.calls, "{}{command}", mark(what));
    }
}

/// A line of a shell program that tells [`last_call`] what runs next.
pub(crate) fn mark(what: &str) -> String {
    format!("printf '\\001cooper %s\\n' '{what}'\n")
}

/// Which call the output ends in, and the last lines that it wrote: for the error of a failed run.
pub(crate) fn last_call(output: &str) -> (String, String) {
    let (call, tail) = match output.rfind(MARK) {
        Some(at) => output[at + MARK.len()..]
            .split_once('\n')
            .unwrap_or((&output[at + MARK.len()..], "")),
        None => ("the first script", output),
    };
    let lines: Vec<&str> = tail.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(12)..].join("\n");
    (call.to_owned(), last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> NewPackage {
        NewPackage {
            name: "wget".to_owned(),
            architecture: "amd64".to_owned(),
            control: "Package: wget".to_owned(),
            members: BTreeMap::from([("postinst".to_owned(), b"#!/bin/sh\n".to_vec())]),
            paths: Vec::new(),
            conffiles: Vec::new(),
        }
    }

    #[test]
    fn only_scripts_that_are_there_are_called() {
        let mut run = ScriptRun::new();
        run.preinst(&package());
        assert!(run.is_empty());
        run.postinst(&package());
        let program = run.program("", "");
        assert!(
            program.contains("call wget amd64 postinst wget configure ''"),
            "{program}"
        );
    }

    #[test]
    fn a_trigger_name_cannot_leave_its_quotes() {
        let mut run = ScriptRun::new();
        let hostile = BTreeSet::from(["x'; rm -rf /; '".to_owned()]);
        run.triggered(&BTreeMap::from([("libc-bin".to_owned(), hostile)]));
        assert!(run.is_empty());
    }

    #[test]
    fn the_last_call_is_found_in_the_output() {
        let output = "\u{1}cooper a postinst\nfine\n\u{1}cooper b postinst\nbad thing\n";
        assert_eq!(
            last_call(output),
            ("b postinst".to_owned(), "bad thing".to_owned())
        );
    }
}
