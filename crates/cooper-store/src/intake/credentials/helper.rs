//! A program that knows credentials, asked as git asks its credential helpers.
//!
//! It is started with the word `get` as its last argument, reads `protocol=…`, `host=…` (with the port, where it is not
//! the scheme's own) and `path=…`, each on a line, then an empty line, and answers with lines `username=…` and
//! `password=…`, or with nothing where it knows none. Then it is asked once more without the path, as git asks unless
//! told otherwise: helpers that keep credentials by host answer only that.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use url::{Position, Url};

use super::Credentials;

/// No answer is longer.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// How often a program that has answered is looked after until it has ended.
const WAIT_STEP: Duration = Duration::from_millis(5);

/// A program that knows credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialHelper {
    /// The program, found as a shell would, and its arguments.
    pub command: Vec<String>,
    /// How long it may take.
    pub answer_ms: u64,
}

impl fmt::Display for CredentialHelper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.command.first().map_or("", String::as_str);
        write!(formatter, "the credential helper `{program}`")
    }
}

impl CredentialHelper {
    /// What it knows for this place. The error says what is wrong with it, without anything that it wrote.
    pub(super) fn ask(&self, root: &Url) -> Result<Option<Credentials>, String> {
        let place = format!(
            "protocol={}\nhost={}\n",
            root.scheme(),
            &root[Position::BeforeHost..Position::AfterPort]
        );
        let path = root.path().trim_start_matches('/');
        match self.ask_once(format!("{place}path={path}\n\n"))? {
            None if !path.is_empty() => self.ask_once(format!("{place}\n")),
            given => Ok(given),
        }
    }

    fn ask_once(&self, question: String) -> Result<Option<Credentials>, String> {
        let (program, arguments) = self.command.split_first().ok_or("it has no name")?;
        let mut child = Command::new(program)
            .args(arguments)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("it cannot be started: {error}"))?;
        let outcome = self.converse(&mut child, question);
        if outcome.is_err() {
            end(&mut child);
        }
        parse(&outcome?)
    }

    fn converse(&self, child: &mut Child, question: String) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + Duration::from_millis(self.answer_ms);
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("it has no pipes".to_owned());
        };
        let (sender, receiver) = mpsc::channel();
        // Ends when the program does, or is ended.
        std::thread::spawn(move || sender.send(exchange(stdin, stdout, &question)));
        let late = || format!("it took longer than {} ms", self.answer_ms);
        let left = || deadline.saturating_duration_since(Instant::now());
        let answer = receiver.recv_timeout(left()).map_err(|_| late())??;
        loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => return Ok(answer),
                Some(status) => return Err(format!("it failed: {status}")),
                None if left().is_zero() => return Err(late()),
                None => std::thread::sleep(WAIT_STEP),
            }
        }
    }
}

fn exchange(mut stdin: impl Write, stdout: impl Read, question: &str) -> Result<Vec<u8>, String> {
    // It may answer without reading.
    let _ = stdin.write_all(question.as_bytes());
    drop(stdin);
    let mut answer = Vec::new();
    let read = stdout.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer);
    read.map_err(|error| error.to_string())?;
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        return Err(format!("it answered more than {ANSWER_BYTES_MAX} bytes"));
    }
    Ok(answer)
}

/// End the program and what it started.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn parse(answer: &[u8]) -> Result<Option<Credentials>, String> {
    let text = std::str::from_utf8(answer).map_err(|_| "its answer is not UTF-8")?;
    let value = |wanted: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once('='));
        fields.find(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    match (value("username"), value("password")) {
        (user, Some(password)) => Ok(Some(Credentials::new(user.unwrap_or_default(), password))),
        (None, None) => Ok(None),
        (Some(_), None) => Err("its answer has a user name and no password".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(script: &str) -> Result<Option<Credentials>, String> {
        let helper = CredentialHelper {
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            answer_ms: 2_000,
        };
        helper.ask(&"https://host.test:8443/team/simple/".parse().unwrap())
    }

    #[test]
    fn it_is_asked_as_git_asks() {
        let echo =
            "test \"$0\" = get || exit 9; q=$(cat | tr '\\n' ';'); echo username=u; echo \"password=$q\"";
        let expected = "protocol=https;host=host.test:8443;path=team/simple/;";
        let given = ask(echo).unwrap();
        // The shell's `$( )` drops the empty line at the end, `tr` has made it a semicolon.
        let shown = [expected.to_owned(), format!("{expected};")];
        assert!(
            shown
                .iter()
                .any(|text| given == Some(Credentials::new("u", text))),
            "{given:?}"
        );
        assert_eq!(ask("true"), Ok(None));
        let by_host = "grep -q ^path= || { echo username=u; echo password=p; }";
        assert_eq!(ask(by_host), Ok(Some(Credentials::new("u", "p"))));
        assert_eq!(ask("echo password=p"), Ok(Some(Credentials::new("", "p"))));
        assert_eq!(
            ask("printf 'username=u\\r\\npassword=p\\r\\n'"),
            Ok(Some(Credentials::new("u", "p")))
        );
    }

    #[test]
    fn a_helper_that_misbehaves_is_an_error_that_does_not_repeat_it() {
        for (script, expected) in [
            ("echo password=sesame; exit 3", "failed"),
            ("echo username=sesame", "no password"),
            ("printf 'password=sesame\\377'", "UTF-8"),
            ("yes sesame", "more than"),
            ("echo password=sesame; sleep 60 & wait", "longer"),
            ("exec >&-; sleep 60", "longer"),
        ] {
            let error = ask(script).unwrap_err();
            assert!(
                error.contains(expected) && !error.contains("sesame"),
                "{script}: {error}"
            );
        }
        let none = CredentialHelper {
            command: vec!["/nonexistent/helper".to_owned()],
            answer_ms: 100,
        };
        let error = none.ask(&"https://host.test/".parse().unwrap()).unwrap_err();
        assert!(error.contains("started"), "{error}");
    }
}
