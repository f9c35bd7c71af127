//! A test's own host: home, project folder, store, and where it likes a made world to fetch from.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use cooper_core::Base;
use serde_json::Value;
use testkit::{DebPackage, DebianArchive, PythonIndex, Server, SigningKey, Wheel};

/// One test's folder and environment.
pub(crate) struct Host {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// What came of one call of the binary.
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The document on standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// It must have ended well.
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.status, 0, "{self}");
        self
    }

    /// It must have ended with this status.
    pub(crate) fn with(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "exit {}", self.status)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                writeln!(formatter, "--- {name}\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

impl Host {
    /// A host without a network and without configuration.
    pub(crate) fn new() -> Self {
        Self::of(tempfile::tempdir().unwrap())
    }

    /// The same in memory, where there is room: some file systems take minutes to remove what was synced.
    pub(crate) fn in_memory(bytes: u64) -> Self {
        let memory = Path::new("/dev/shm");
        let room = rustix::fs::statvfs(memory).map_or(0, |state| state.f_bavail * state.f_frsize);
        if room < bytes {
            return Self::new();
        }
        Self::of(tempfile::tempdir_in(memory).unwrap())
    }

    fn of(folder: tempfile::TempDir) -> Self {
        std::fs::create_dir_all(folder.path().join("home")).unwrap();
        std::fs::create_dir_all(folder.path().join("project")).unwrap();
        let mut host = Self {
            folder,
            environment: Vec::new(),
        };
        host.set("HOME", &host.path("home").display().to_string());
        host.set("COOPER_STORE", &host.path("store").display().to_string());
        host
    }

    /// A path below the host's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Set a variable for every call.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A variable that is set for every call.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let mut variables = self.environment.iter();
        variables
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Take a variable away.
    pub(crate) fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Write a file below the host's folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        path
    }

    /// The binary with these arguments, in the project folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
        command
            .args(args)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.path("project")).stdin(Stdio::null());
        command
    }

    /// Call the binary.
    pub(crate) fn cooper(&self, args: &[&str]) -> Done {
        done(&self.command(args).output().unwrap())
    }

    /// Call the binary from a shell that this prepares: `umask 077; exec "$@"`.
    pub(crate) fn cooper_from_shell(&self, script: &str, args: &[&str]) -> Done {
        let inner = self.command(args);
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", script, "sh"])
            .arg(inner.get_program())
            .args(args);
        shell
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        shell.current_dir(self.path("project")).stdin(Stdio::null());
        done(&shell.output().unwrap())
    }

    /// Call the binary with this on its standard input.
    pub(crate) fn cooper_with_input(&self, args: &[&str], input: &str) -> Done {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // It may end before it has read everything.
            scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
            done(&child.wait_with_output().unwrap())
        })
    }

    /// The binary at a terminal of its own, which writes to standard output what is shown and takes keys from
    /// standard input. `TERM` is `xterm-256color`.
    pub(crate) fn at_terminal(&self, args: &[&str]) -> Command {
        let inner = self.command(args);
        let words = std::iter::once(inner.get_program()).chain(inner.get_args());
        // Without `exec`, some shells stay between.
        let line: Vec<String> = words.map(|word| shell_word(word.to_str().unwrap())).collect();
        let mut terminal = Command::new("script");
        terminal
            .args([
                "--quiet",
                "--flush",
                "--return",
                "--command",
                &format!("exec {}", line.join(" ")),
                "/dev/null",
            ])
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh");
        terminal
            .current_dir(self.path("project"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        terminal
    }

    /// Start the binary without waiting for it.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Each call with what came of it, as one text for a snapshot.
    pub(crate) fn transcript(&self, calls: &[&[&str]]) -> String {
        let mut text = String::new();
        for args in calls {
            let shown: Vec<String> = args.iter().map(|arg| shell_word(arg)).collect();
            write!(text, "$ cooper {}\n{}\n", shown.join(" "), self.cooper(args)).unwrap();
        }
        text
    }

    /// Compare a text with its snapshot, paths, addresses, digests, times and sizes filtered.
    pub(crate) fn assert_snapshot(&self, name: &str, text: &str) {
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let folder = self.folder.path().canonicalize().unwrap();
        settings.add_filter(&regex_of(&folder), "[FOLDER]");
        settings.add_filter(&regex_of(self.folder.path()), "[FOLDER]");
        settings.add_filter(r"http://127\.0\.0\.1:\d+/", "[SERVER]/");
        settings.add_filter(r"sha256:[0-9a-f]{64}", "[DIGEST]");
        settings.add_filter(r"sha256:[0-9a-f]{12}", "[SHORT]");
        settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]");
        settings.add_filter(r"(time +)(\d+ ms|[\d.]+ s|\d+ min \d+ s)\b", "$1[ELAPSED]");
        settings.add_filter(r"\d+(\.\d+)? ([KMG]i)?B\b", "[SIZE]");
        // The table of settings is as wide as the folder's path is long.
        settings.add_filter(r"(?m)  +(yes|no|tighten|PROJECT)$", "  $1");
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

pub(crate) fn done(output: &Output) -> Done {
    use std::os::unix::process::ExitStatusExt as _;
    let status = output.status;
    Done {
        status: status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn regex_of(path: &Path) -> String {
    path.display().to_string().replace('.', r"\.")
}

fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{word}'")
    }
}

/// A host and a made world that it fetches from.
pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) server: Server,
}

impl World {
    /// The usual world: see [`archive`] and [`index`].
    pub(crate) fn new() -> Self {
        Self::of(&archive(), &index())
    }

    /// A world of this archive and this index.
    pub(crate) fn of(archive: &DebianArchive, index: &PythonIndex) -> Self {
        let server = Server::start(archive.routes().merge(index.routes()));
        let mut host = Host::new();
        point(&mut host, &server);
        Self { host, server }
    }

    /// Another host with an empty store in the same world.
    pub(crate) fn another_host(&self) -> Host {
        let mut host = Host::new();
        point(&mut host, &self.server);
        host
    }

    pub(crate) fn cooper(&self, args: &[&str]) -> Done {
        self.host.cooper(args)
    }

    /// Make the usual image.
    pub(crate) fn create_example(&self) -> Value {
        let args = [
            "create",
            "example_name",
            "--dependencies",
            "mechanize",
            "--packages",
            "wget",
            "--json",
        ];
        self.cooper(&args).good().json()
    }
}

fn point(host: &mut Host, server: &Server) {
    let keys = host.path("archive-keys.gpg");
    std::fs::File::create(&keys)
        .unwrap()
        .write_all(&SigningKey::archive().certificate())
        .unwrap();
    host.set("COOPER_DEBIAN_MIRROR", &server.url("debian"));
    host.set("COOPER_DEBIAN_SECURITY_MIRROR", &server.url("debian-security"));
    host.set("COOPER_DEBIAN_KEYRING", &keys.display().to_string());
    host.set("COOPER_PYTHON_INDEX", &server.url("simple/"));
    host.set("COOPER_NETWORK_TIMEOUT", "2s");
}

/// A small archive: a base, wget with one library, jq, and a library whose name people get wrong.
pub(crate) fn archive() -> DebianArchive {
    let package = |name: &str, version: &str| DebPackage::new(name, version);
    let wget = package("wget", "1.25.0-2").depends("libpsl5").file(
        "usr/bin/wget",
        "#!/bin/sh\necho GNU Wget $1\n",
        0o755,
    );
    DebianArchive::with_minimal_base(Base::Trixie)
        .package(wget.licence("GPL-3+"))
        .package(package("libpsl5", "0.21.2-1").file("usr/lib/libpsl.so.5", "made", 0o644))
        .package(package("jq", "1.7.1-6").file("usr/bin/jq", "#!/bin/sh\necho jq\n", 0o755))
        .package(package("libxslt1.1", "1.1.35-1").file("usr/lib/libxslt.so.1.1", "made", 0o644))
}

/// A small index: mechanize, which needs html5lib; requests in three versions.
pub(crate) fn index() -> PythonIndex {
    let wheel = |name: &str, version: &str| Wheel::new(name, version).package(name, "");
    PythonIndex::new()
        .wheel(
            wheel("mechanize", "0.4.10")
                .requires("html5lib>=1")
                .licence("BSD-3-Clause"),
        )
        .wheel(wheel("html5lib", "1.1").licence("MIT"))
        .wheel(wheel("requests", "2.31.0"))
        .wheel(wheel("requests", "2.32.3").licence("Apache-2.0"))
        .wheel(wheel("requests", "2.32.4").yanked("broken"))
        .wheel(wheel("old", "1.0").requires("requests<2.32"))
}
