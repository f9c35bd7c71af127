//! The packages of a made base: the names and relations of Debian's, tiny contents, no maintainer scripts.
//!
//! Where the host has Debian's static `busybox`, `dash` carries it as the shell and the usual tools, so that
//! maintainer scripts and runs work; elsewhere its shell is an empty file and nothing in the base can run.
//! `python3` is never an interpreter: it is [`PYTHON_STUB`], a shell script.

use std::sync::OnceLock;

use cooper_core::base::Base;

use crate::compress::Compression;
use crate::deb::DebPackage;

/// Where Debian's `busybox-static` puts its program.
const BUSYBOX: &str = "/bin/busybox";

/// The tools that are links to busybox in the made base.
const APPLETS: &[&str] = &[
    "[",
    "arch",
    "ash",
    "awk",
    "base64",
    "basename",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "cmp",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "diff",
    "dirname",
    "du",
    "echo",
    "egrep",
    "env",
    "expr",
    "false",
    "find",
    "free",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hostname",
    "id",
    "kill",
    "killall",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "more",
    "mount",
    "mv",
    "nc",
    "nproc",
    "od",
    "paste",
    "pgrep",
    "pidof",
    "ping",
    "pkill",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "setsid",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "stty",
    "sync",
    "tail",
    "tar",
    "tee",
    "test",
    "timeout",
    "touch",
    "tr",
    "true",
    "truncate",
    "tty",
    "umount",
    "uname",
    "uniq",
    "unlink",
    "unshare",
    "uptime",
    "wc",
    "which",
    "whoami",
    "xargs",
    "yes",
];

/// What the made base has as Python: not an interpreter. It answers `--version`, finds modules for
/// `-c 'import a, b'`, accepts `-c pass`, `-m compileall` and whatever calls `py_compile`, and runs any file, or
/// standard input, as a shell script.
pub const PYTHON_STUB: &str = r#"#!/bin/sh
# A stub for tests: it interprets no Python.
libraries=/usr/local/lib/pythonVERSION/dist-packages
while :; do
  case "$1" in
    -c | -m | -V | --version | -) break ;;
    -W | -X) shift 2 ;;
    -*) shift ;;
    *) break ;;
  esac
done
case "$1" in
  -V | --version) echo "Python VERSION.0" ;;
  -c)
    case "$2" in
      pass) exit 0 ;;
      import\ *)
        for name in $(echo "${2#import }" | tr ',' ' '); do
          path="$libraries/$(echo "$name" | tr . /)"
          if [ "$name" != sys ] && [ ! -e "$path" ] && [ ! -e "$path.py" ]; then
            echo "ModuleNotFoundError: No module named '$name'" >&2
            exit 1
          fi
        done ;;
      *) echo "the stub of Python understands only: pass, import NAMES" >&2; exit 1 ;;
    esac ;;
  -m | /run/cooper/compile.py) exit 0 ;;
  -) shift; exec sh -s -- "$@" ;;
  '') exec sh -s ;;
  *) exec sh "$@" ;;
esac
"#;

/// The program of Debian's `busybox-static` package, where the host has it.
pub fn busybox() -> Option<&'static [u8]> {
    static PROGRAM: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    PROGRAM.get_or_init(|| std::fs::read(BUSYBOX).ok()).as_deref()
}

/// Every package of a made base.
pub fn minimal_base(base: Base) -> Vec<DebPackage> {
    let mut packages = vec![base_files(base), base_passwd(), dash()];
    packages.extend(
        ESSENTIAL
            .iter()
            .map(|name| made(name).essential().pre_depends("libc6 (>= 2.34)")),
    );
    packages.extend(libraries(base));
    packages.extend(python(base));
    packages.extend(data());
    packages
}

/// A package of a made base: version 1.0-1 unless it is told another, gzip for speed.
fn made(name: &str) -> DebPackage {
    DebPackage::new(name, "1.0-1").compression(Compression::Gzip)
}

/// Essential packages of Debian that have nothing here that anyone needs.
const ESSENTIAL: &[&str] = &[
    "bash",
    "bsdutils",
    "coreutils",
    "debianutils",
    "diffutils",
    "dpkg",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "init-system-helpers",
    "libc-bin",
    "ncurses-base",
    "ncurses-bin",
    "perl-base",
    "sed",
    "sysvinit-utils",
    "tar",
    "util-linux",
];

fn base_files(base: Base) -> DebPackage {
    let (codename, number) = match base {
        Base::Bookworm => ("bookworm", "12"),
        Base::Trixie => ("trixie", "13"),
    };
    let os_release = format!(
        "PRETTY_NAME=\"Debian GNU/Linux {number} ({codename})\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"{number}\"\n\
         VERSION=\"{number} ({codename})\"\nVERSION_CODENAME={codename}\nID=debian\n"
    );
    let package = DebPackage::new("base-files", &format!("{number}.0"))
        .compression(Compression::Gzip)
        .essential();
    let package = package
        .pre_depends("libc6 (>= 2.34)")
        .file("usr/lib/os-release", os_release, 0o644);
    // As in Debian: trixie's base-files carries the merged-/usr links, bookworm's carries directories, which
    // whoever sets up the system has replaced by links beforehand.
    let package = ["bin", "lib", "sbin", "lib64"]
        .iter()
        .fold(package, |package, name| match base {
            Base::Bookworm => package.directory(name, 0o755),
            Base::Trixie => package
                .directory(&format!("usr/{name}"), 0o755)
                .symlink(name, &format!("usr/{name}")),
        });
    let folders = [
        "dev",
        "home",
        "proc",
        "run",
        "sys",
        "usr/local/lib",
        "usr/local/bin",
        "var/cache",
        "var/log",
    ];
    let package = folders
        .iter()
        .fold(package, |package, path| package.directory(path, 0o755));
    package
        .directory("root", 0o700)
        .directory("tmp", 0o1777)
        .directory("var/tmp", 0o1777)
        .symlink("etc/os-release", "../usr/lib/os-release")
        .conffile("etc/debian_version", format!("{number}.0\n"))
        .conffile("etc/host.conf", "multi on\n")
}

fn base_passwd() -> DebPackage {
    let passwd = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
                  nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    let group = "root:x:0:\ndaemon:x:1:\nmail:x:8:\nstaff:x:50:\nnogroup:x:65534:\n";
    made("base-passwd")
        .essential()
        .pre_depends("libc6 (>= 2.34)")
        .file("usr/share/base-passwd/passwd.master", passwd, 0o644)
        .file("usr/share/base-passwd/group.master", group, 0o644)
        .file("etc/passwd", passwd, 0o644)
        .file("etc/group", group, 0o644)
}

/// The shell: busybox under many names where the host has it.
fn dash() -> DebPackage {
    let package = made("dash").essential().pre_depends("libc6 (>= 2.34)");
    let Some(busybox) = busybox() else {
        return package.file("usr/bin/sh", "", 0o755);
    };
    let package = package.file("usr/bin/busybox", busybox, 0o755);
    let names = ["sh", "dash", "bash"].iter().chain(APPLETS);
    names.fold(package, |package, name| {
        package.symlink(&format!("usr/bin/{name}"), "busybox")
    })
}

fn libraries(base: Base) -> Vec<DebPackage> {
    let (major, minor) = base.glibc();
    let libc = DebPackage::new("libc6", &format!("{major}.{minor}-1")).compression(Compression::Gzip);
    let libc =
        libc.source("glibc")
            .multi_arch("same")
            .file("usr/lib/x86_64-linux-gnu/libc.so.6", "made\n", 0o755);
    vec![
        libc,
        made("libssl3")
            .source("openssl")
            .depends("libc6 (>= 2.34)")
            .multi_arch("same"),
    ]
}

fn python(base: Base) -> Vec<DebPackage> {
    let python = base.python();
    let version = format!("{python}.0-1");
    let package = |name: &str| DebPackage::new(name, &version).compression(Compression::Gzip);
    let stub = PYTHON_STUB.replace("VERSION", &python.to_string());
    let same = format!("(= {version})");
    vec![
        package(&format!("libpython{python}-minimal")).source(&format!("python{python}")),
        package(&format!("python{python}-minimal"))
            .source(&format!("python{python}"))
            .pre_depends("libc6 (>= 2.34)")
            .depends(&format!("libpython{python}-minimal {same}"))
            .file(&format!("usr/bin/python{python}"), stub, 0o755),
        package(&format!("python{python}"))
            .depends(&format!("python{python}-minimal {same}"))
            .file(&format!("usr/lib/python{python}/os.py"), "# made\n", 0o644),
        package("python3-minimal")
            .source("python3-defaults")
            .pre_depends(&format!("python{python}-minimal (>= {python})"))
            .symlink("usr/bin/python3", &format!("python{python}")),
        package("libpython3-stdlib").source("python3-defaults"),
        package("python3")
            .source("python3-defaults")
            .pre_depends(&format!("python3-minimal {same}"))
            .depends(&format!("python{python} (>= {python}), libpython3-stdlib {same}"))
            .directory("usr/lib/python3/dist-packages", 0o755),
        made("python-is-python3")
            .source("what-is-python")
            .architecture("all")
            .depends("python3")
            .symlink("usr/bin/python", "python3"),
    ]
}

fn data() -> Vec<DebPackage> {
    vec![
        made("ca-certificates")
            .architecture("all")
            .depends("openssl")
            .file("usr/share/ca-certificates/mozilla/Made.crt", "made\n", 0o644)
            .file("etc/ca-certificates.conf", "mozilla/Made.crt\n", 0o644)
            .file("etc/ssl/certs/ca-certificates.crt", "made\n", 0o644),
        made("openssl")
            .depends("libssl3")
            .file("usr/bin/openssl", "#!/bin/sh\nexit 0\n", 0o755),
        made("tzdata")
            .architecture("all")
            .file("usr/share/zoneinfo/Etc/UTC", "TZif2made", 0o644)
            .file("usr/share/zoneinfo/Europe/Berlin", "TZif2made", 0o644),
        made("libstdc++6").file("usr/lib/x86_64-linux-gnu/libstdc++.so.6", "made", 0o644),
        made("usr-is-merged").architecture("all"),
    ]
}
