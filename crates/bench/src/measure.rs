//! One program, run and timed from before it is started until it has ended.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

use crate::error::BenchError;

/// The longest that any program may take.
const LIMIT: Duration = Duration::from_mins(10);
/// How much of what a program says is read.
const OUTPUT_BYTES_MAX: u64 = 16 << 20;

/// A program that ended well.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Wall time from before the start to the end.
    pub(crate) elapsed: Duration,
    /// What it wrote to standard output.
    pub(crate) stdout: String,
}

/// Run a program to its end. It fails when the program does.
///
/// Output goes to files, so that nothing has to be read while the clock runs.
pub(crate) fn timed(command: &mut Command) -> Result<Finished, BenchError> {
    let line = command_line(command);
    let temporary = || tempfile::tempfile().map_err(|source| system("making a temporary file", source));
    let (mut stdout, mut stderr) = (temporary()?, temporary()?);
    let handle = |file: &File| file.try_clone().map_err(|source| system("dup", source));
    command.stdin(Stdio::null());
    command.stdout(handle(&stdout)?).stderr(handle(&stderr)?);

    let begun = Instant::now();
    let mut child = command.spawn().map_err(|source| BenchError::Start {
        command: line.clone(),
        source,
    })?;
    let ended = has_ended_within(&child, LIMIT)?;
    let elapsed = begun.elapsed();

    if !ended {
        // It may have ended by itself in this moment: then there is nothing to kill.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|source| system("wait", source))?;
    if !ended {
        let limit_s = LIMIT.as_secs();
        return Err(BenchError::TooLong {
            command: line,
            limit_s,
        });
    }
    let (stdout, stderr) = (text_of(&mut stdout)?, text_of(&mut stderr)?);
    if !status.success() {
        return Err(failed(line, status, &stdout, &stderr));
    }
    Ok(Finished { elapsed, stdout })
}

/// Run a program of the preparation and return what it wrote to standard output.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Result<String, BenchError> {
    Ok(timed(Command::new(program).args(arguments))?.stdout)
}

/// Whether the child ends in time; it is not yet reaped.
pub(crate) fn has_ended_within(child: &Child, limit: Duration) -> Result<bool, BenchError> {
    let end = Instant::now() + limit;
    let errno = |call: &'static str| move |error: rustix::io::Errno| system(call, error.into());
    let descriptor = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())
        .map_err(errno("pidfd_open"))?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut watched = [PollFd::new(&descriptor, PollFlags::IN)];
        match rustix::event::poll(&mut watched, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(errno("poll")(error)),
        }
    }
}

/// A program and its arguments, for messages.
pub(crate) fn command_line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut line = program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

fn text_of(file: &mut File) -> Result<String, BenchError> {
    let mut bytes = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|source| system("reading what a program wrote", source))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn failed(command: String, status: ExitStatus, stdout: &str, stderr: &str) -> BenchError {
    let said = [stderr, stdout].into_iter().find(|text| !text.trim().is_empty());
    BenchError::Failed {
        command,
        status: status.to_string(),
        said: last_lines(said.unwrap_or("it said nothing"), 4),
    }
}

/// The end of a text on one line.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(count)..].join(" / ")
}

fn system(call: &'static str, source: std::io::Error) -> BenchError {
    BenchError::System { call, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_timed_from_start_to_end() {
        let finished = timed(Command::new("sh").args(["-c", "echo good; sleep 0.2"])).unwrap();
        assert_eq!(finished.stdout, "good\n");
        assert!(
            finished.elapsed >= Duration::from_millis(200),
            "{:?}",
            finished.elapsed
        );
        assert!(
            finished.elapsed < Duration::from_secs(5),
            "{:?}",
            finished.elapsed
        );
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let error = timed(Command::new("sh").args(["-c", "echo bad >&2; exit 3"])).unwrap_err();
        let text = error.chain();
        assert!(text.contains("exit status: 3") && text.contains("bad"), "{text}");
        assert!(matches!(
            timed(&mut Command::new("/no/such/program")),
            Err(BenchError::Start { .. })
        ));
    }

    #[test]
    fn a_child_that_does_not_end_is_noticed() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(!has_ended_within(&child, Duration::from_millis(50)).unwrap());
        child.kill().unwrap();
        assert!(has_ended_within(&child, Duration::from_secs(10)).unwrap());
        child.wait().unwrap();
    }

    #[test]
    fn the_end_of_a_text_is_shown() {
        assert_eq!(last_lines("a\n\n b \nc\n", 2), "b / c");
        assert_eq!(last_lines("", 2), "");
    }
}
