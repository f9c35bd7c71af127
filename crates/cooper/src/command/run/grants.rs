//! The flags of `cooper run` that grant something, and what becomes of what a run leaves.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use cooperage::runner::protocol::{Content, RunnerReply};
use cooperage::{Collected, FullReference, OutputFolder, Ran, RunGrants, RunOrder, RunReport};
use serde_json::{Map, Value, json};

use super::usage;
use super::warm::WarmFiles;
use crate::failure::{Code, Failure};
use crate::settings::key::{self, Key};
use crate::settings::{ByteCount, Settings};
use crate::shell::Shell;

/// What a script gets beside its image, and what it may leave.
#[derive(Debug, Args)]
pub(super) struct GrantArgs {
    /// Let it read the bytes of FILE in /run/secrets/NAME, it alone; they are in no argument, variable, log or report
    #[arg(long, value_name = "NAME=FILE")]
    secret: Vec<OsString>,
    /// Let it read FILE as /input/NAME; without NAME under the file's own name
    #[arg(long, value_name = "FILE[:NAME]")]
    input: Vec<OsString>,
    /// Bring the regular files that it leaves in /output to this folder, which is empty or not there yet
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Space in /output
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, requires = "output")]
    output_size: Option<String>,
    /// Let it write everywhere, in memory: gone with the run
    #[arg(long, conflicts_with = "read_only")]
    writable: bool,
    /// Let it write in its working directory, /tmp and /output alone, as is the default
    #[arg(long)]
    read_only: bool,
    #[arg(
        long,
        value_name = "FILE",
        help = "Write the JSON value that it leaves in the file $COOPER_RESULT to this file"
    )]
    result: Option<PathBuf>,
    /// Write to this file, as JSON, how it ended, what it used and left, and what held each limit
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Give it the terminal itself: what it writes is shown as it is, escape sequences and all
    #[arg(long)]
    raw: bool,
}

impl GrantArgs {
    /// Set what is a setting too.
    pub(super) fn set(&self, settings: &mut Settings) -> Result<(), Failure> {
        let flags: [(&'static Key, &'static str, Option<&str>); 3] = [
            (
                &key::RUN_OUTPUT_SIZE,
                "--output-size",
                self.output_size.as_deref(),
            ),
            (&key::RUN_WRITABLE, "--writable", self.writable.then_some("true")),
            (
                &key::RUN_WRITABLE,
                "--read-only",
                self.read_only.then_some("false"),
            ),
        ];
        for (key, flag, text) in flags {
            if let Some(text) = text {
                settings.flag(key, flag, text.to_owned())?;
            }
        }
        Ok(())
    }

    /// Whether the terminal itself is wanted.
    pub(super) fn raw(&self) -> bool {
        self.raw
    }

    /// Open and read what is granted.
    pub(super) fn grants(&self, settings: &Settings) -> Result<RunGrants, Failure> {
        let mut grants = RunGrants::default();
        for text in &self.secret {
            let (name, path) = secret(text)?;
            grants.add_secret(name, path)?;
        }
        for text in &self.input {
            let (path, name) = input(text);
            grants.add_input(path, name)?;
        }
        grants.output_bytes = settings.value::<ByteCount>(&key::RUN_OUTPUT_SIZE)?.0;
        grants.writable = settings.value::<bool>(&key::RUN_WRITABLE)?;
        grants.result = self.result.is_some() || self.report.is_some();
        for file in [&self.result, &self.report].into_iter().flatten() {
            forget(file)?;
        }
        grants.output = self.output.as_deref().map(OutputFolder::open).transpose()?;
        Ok(grants)
    }

    /// Write what it has left, and tell what was not taken.
    pub(super) fn tell(&self, order: &RunOrder, ran: &Ran, shell: &Shell) -> Result<(), Failure> {
        if let Some(collected) = &ran.outputs {
            tell_refused(collected, shell);
        }
        match (&ran.result, &self.result) {
            (Some(Ok(value)), Some(file)) => write_file(file, format!("{}\n", value.get()).as_bytes())?,
            (Some(Err(error)), Some(file)) => {
                shell.say("warning", &format!("{error}; {} is not written", file.display()));
            }
            _ => {}
        }
        if let Some(file) = &self.report {
            write_json(file, &RunReport::new(order, ran))?;
        }
        Ok(())
    }

    /// The inputs and the secrets, read, by name.
    pub(super) fn warm(&self) -> Result<WarmFiles, Failure> {
        let (mut files, mut secrets) = (Map::new(), Map::new());
        let add = |to: &mut Map<String, Value>, name: &OsStr, path: &Path| {
            let name = name.to_str().filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| usage("the files of a warm run have names in UTF-8"))?;
            match to.insert(name.to_owned(), content(path)?) {
                Some(_) => Err(usage(&format!("there are two files with the name `{name}`"))),
                None => Ok(()),
            }
        };
        for text in &self.secret {
            let (name, path) = secret(text)?;
            add(&mut secrets, name, path)?;
        }
        for text in &self.input {
            let (path, name) = input(text);
            add(
                &mut files,
                name.or_else(|| path.file_name()).unwrap_or_default(),
                path,
            )?;
        }
        Ok(WarmFiles { files, secrets })
    }

    /// The same of a warm run.
    pub(super) fn tell_warm(
        &self,
        image: &FullReference,
        reply: &RunnerReply,
        collected: Option<&Collected>,
        shell: &Shell,
    ) -> Result<(), Failure> {
        if let Some(collected) = collected {
            tell_refused(collected, shell);
        }
        match (&reply.result, &self.result) {
            (Some(value), Some(file)) => write_file(file, format!("{value}\n").as_bytes())?,
            (None, Some(file)) => {
                let why = reply.result_error.as_deref();
                let why = why.unwrap_or("the script has left no result in $COOPER_RESULT");
                shell.say("warning", &format!("{why}; {} is not written", file.display()));
            }
            _ => {}
        }
        if let Some(file) = &self.report {
            write_json(file, &RunReport::of_warm(image, reply, collected))?;
        }
        Ok(())
    }

    /// Tell in the report that nothing was run.
    pub(super) fn report_failure(&self, failure: &Failure) {
        if let Some(file) = &self.report {
            let mut document = failure.json();
            if let Some(members) = document.as_object_mut() {
                members.insert("status".to_owned(), json!("error"));
            }
            // The failure itself is told; this one too would only hide it.
            let _ = write_json(file, &document);
        }
    }
}

/// As many are told on standard error; the report has more.
const REFUSED_TOLD_MAX: usize = 10;

fn tell_refused(collected: &Collected, shell: &Shell) {
    let refused = &collected.refused;
    for one in refused.iter().take(REFUSED_TOLD_MAX) {
        let text = format!("`/output/{}` is not taken: {}", one.shown_path, one.reason);
        shell.say("warning", &text);
    }
    let beside = refused.len().saturating_sub(REFUSED_TOLD_MAX) as u64 + collected.refused_beside;
    if beside > 0 {
        shell.say("warning", &format!("{beside} more in /output are not taken"));
    }
}

/// How large an input of a warm run may be: it is sent.
const WARM_INPUT_BYTES_MAX: u64 = 64 << 20;

fn content(path: &Path) -> Result<Value, Failure> {
    let failed =
        |reason: String| Failure::new(Code::Script, format!("cannot read {}: {reason}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| {
        failed(error.to_string()).hint("name a file that is there and that you can read".to_owned())
    })?;
    let mut bytes = Vec::new();
    let read = file.take(WARM_INPUT_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > WARM_INPUT_BYTES_MAX {
        let failure = failed("it is larger than 64 MiB".to_owned());
        return Err(failure.hint("`cooper run` without `--warm` gets files of any size".to_owned()));
    }
    serde_json::to_value(Content(bytes)).map_err(|error| failed(error.to_string()))
}

fn secret(text: &OsStr) -> Result<(&OsStr, &Path), Failure> {
    let bytes = text.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b'=');
    let end = end.ok_or_else(|| {
        // What was written may be the secret itself: it is not shown.
        usage("`--secret` takes a name and the file that holds the secret: `--secret NAME=FILE`")
    })?;
    let (name, file) = bytes.split_at(end);
    let file = file.get(1..).unwrap_or_default();
    Ok((OsStr::from_bytes(name), Path::new(OsStr::from_bytes(file))))
}

/// The last `:` parts file and name, where what follows it can be a name.
fn input(text: &OsStr) -> (&Path, Option<&OsStr>) {
    let bytes = text.as_bytes();
    match bytes.iter().rposition(|byte| *byte == b':') {
        Some(at) if !bytes[at + 1..].contains(&b'/') => {
            let name = OsStr::from_bytes(&bytes[at + 1..]);
            (Path::new(OsStr::from_bytes(&bytes[..at])), Some(name))
        }
        _ => (Path::new(text), None),
    }
}

/// A file of an earlier run must not be taken for this one's; where none can be made, that is told before the run.
fn forget(file: &Path) -> Result<(), Failure> {
    use rustix::fs::{Access, AtFlags, CWD};
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    rustix::fs::accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|errno| not_written(file, &errno.into()))?;
    if !std::fs::metadata(file).is_ok_and(|found| found.is_file()) {
        return Ok(());
    }
    std::fs::remove_file(file).map_err(|error| not_written(file, &error))
}

fn write_json(file: &Path, document: &impl serde::Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_vec_pretty(document).map_err(|error| not_written(file, &error.into()))?;
    text.push(b'\n');
    write_file(file, &text)
}

/// Whole or not at all; what is no regular file (`/dev/stderr`, `/dev/fd/3`) is written to as it is.
fn write_file(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        if std::fs::metadata(file).is_ok_and(|found| !found.is_file()) {
            return std::fs::File::options().write(true).open(file)?.write_all(bytes);
        }
        let mut name = OsString::from(".");
        name.push(file.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let partial = file.with_file_name(name);
        let mut opened = std::fs::File::options()
            .write(true)
            .create_new(true)
            .open(&partial)?;
        let written = opened
            .write_all(bytes)
            .and_then(|()| std::fs::rename(&partial, file));
        if written.is_err() {
            let _ = std::fs::remove_file(&partial);
        }
        written
    };
    write().map_err(|error| not_written(file, &error))
}

fn not_written(file: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(Code::Output, format!("cannot write {}: {error}", file.display()));
    failure.hint("name a file in a folder that is there and that you may write to".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_a_name_and_a_file_and_are_not_shown() {
        assert_eq!(
            secret(OsStr::new("A=b=c")).unwrap(),
            (OsStr::new("A"), Path::new("b=c"))
        );
        let wrong = secret(OsStr::new("hunter2")).unwrap_err();
        assert!(!format!("{wrong:?}").contains("hunter2"));
    }

    #[test]
    fn the_last_colon_parts_file_and_name() {
        for (text, path, name) in [
            ("data.csv", "data.csv", None),
            ("dir/data.csv:in.csv", "dir/data.csv", Some("in.csv")),
            ("a:b:c", "a:b", Some("c")),
            ("./a:b/c.csv", "./a:b/c.csv", None),
            ("a:", "a", Some("")),
        ] {
            let name = name.map(OsStr::new);
            assert_eq!(input(OsStr::new(text)), (Path::new(path), name), "{text}");
        }
    }
}
