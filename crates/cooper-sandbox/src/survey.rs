//! What this host can enforce, as far as looking tells; [`crate::self_test()`] tries it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::caller::Caller;
use crate::cgroup::{Hierarchies, Place, Version, may_make};
use crate::check::{Check, State};
use crate::runtime::{Runtime, RuntimeProgram};
use crate::syscall;
use crate::user_namespace::{Forbidden, forbidden_by, lacking_ids, remedy};

/// The oldest kernel that has every call that a sandbox is made with (`mount_setattr(2)`).
const KERNEL_MIN: (u32, u32) = (5, 12);
const NAMESPACES: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];
/// Runtimes that an administrator may have for stronger walls.
const RUNTIMES: [Runtime; 2] = [Runtime::Crun, Runtime::Runsc];
const VERSION_CHARACTERS_MAX: usize = 60;

/// Look at this host, as the calling user. Nothing is changed.
pub fn survey() -> Vec<Check> {
    let caller = Caller::of_process();
    let mut checks = vec![kernel(), user(caller), namespaces(), user_namespaces(caller)];
    checks.extend((caller == Caller::Ordinary).then(subordinate_ids));
    checks.extend([overlay(), seccomp(), landlock()]);
    checks.extend(cgroups(&Hierarchies::of_host(), caller));
    checks.push(kvm());
    checks.extend(RUNTIMES.map(|it| runtime(it, caller)));
    checks
}

fn kernel() -> Check {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let (major, minor) = KERNEL_MIN;
    let is_new = version_of(&release).is_some_and(|version| version >= KERNEL_MIN);
    Check::holds("kernel", is_new, format!("Linux {release}"))
        .remedy(format!("boot Linux {major}.{minor} or newer"))
}

/// `6.18.44-x` is (6, 18).
fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn user(caller: Caller) -> Check {
    let told = match caller {
        Caller::HostRoot => "root of this host".to_owned(),
        Caller::NamespaceRoot { ids } => format!("root of a user namespace with {ids} ids"),
        Caller::Ordinary => format!("user {}", rustix::process::getuid().as_raw()),
    };
    Check::new("user", State::Good, told)
}

fn namespaces() -> Check {
    let missing: Vec<&str> = NAMESPACES
        .into_iter()
        .filter(|name| !Path::new("/proc/self/ns").join(name).exists())
        .collect();
    if missing.is_empty() {
        return Check::new("namespaces", State::Good, NAMESPACES.join(", "));
    }
    let told = format!("this kernel has no namespaces of {}", missing.join(", "));
    Check::new("namespaces", State::Bad, told).remedy("boot a kernel that has them, as Debian's do")
}

/// Every run has one; those of ordinary users may be forbidden apart.
fn user_namespaces(caller: Caller) -> Check {
    let forbidden = forbidden_by();
    // Root's are forbidden only where there are none at all.
    let hinders = |it: &Forbidden| caller == Caller::Ordinary || it.sysctl == "user.max_user_namespaces";
    let Some(it) = forbidden.filter(hinders) else {
        return Check::new("user-namespaces", State::Good, "allowed");
    };
    let told = format!("forbidden: {} is {}", it.sysctl, it.is);
    let check = Check::new("user-namespaces", State::Bad, told);
    check.remedy(format!("sudo sysctl -w {}={}", it.sysctl, it.should_be))
}

fn subordinate_ids() -> Check {
    let lacking = lacking_ids();
    let told: Vec<String> = lacking.iter().map(ToString::to_string).collect();
    if told.is_empty() {
        return Check::new("subordinate-ids", State::Good, "enough for the files of images");
    }
    let check = Check::new("subordinate-ids", State::Bad, told.join("; "));
    match remedy(&lacking) {
        Some(commands) => check.remedy(commands),
        None => check,
    }
}

fn overlay() -> Check {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let is_there = known
        .lines()
        .any(|line| line.split_whitespace().last() == Some("overlay"));
    if is_there {
        return Check::new("overlay", State::Good, "this kernel has it");
    }
    // It is loaded when root first mounts one.
    Check::new("overlay", State::Weak, "it is not loaded").remedy("sudo modprobe overlay")
}

fn seccomp() -> Check {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let has = |wanted: &str| actions.split_whitespace().any(|action| action == wanted);
    let told = if has("errno") {
        "filters can be loaded"
    } else {
        "this kernel has no filters"
    };
    Check::holds("seccomp", has("errno") && has("kill_process"), told)
        .remedy("boot a kernel that has seccomp filters, as Debian's do")
}

/// Nothing here needs it: a script may.
fn landlock() -> Check {
    match syscall::landlock_version() {
        Ok(version) => Check::new(
            "landlock",
            State::Good,
            format!("version {version}, for scripts that use it"),
        ),
        Err(_) => Check::new("landlock", State::Absent, "not there; nothing here needs it"),
    }
}

fn cgroups(hierarchies: &Hierarchies, caller: Caller) -> Vec<Check> {
    let controllers = [
        ("cgroup-memory", "memory", &hierarchies.memory),
        ("cgroup-pids", "processes", &hierarchies.pids),
        ("cgroup-cpu", "processor time", &hierarchies.cpu),
    ];
    controllers
        .into_iter()
        .map(|(code, what, place)| controller(code, what, place.as_ref(), caller))
        .collect()
}

fn controller(code: &'static str, what: &str, place: Option<&Place>, caller: Caller) -> Check {
    // Root's runs must have the first two.
    let lacking = if caller == Caller::HostRoot && code != "cgroup-cpu" {
        State::Bad
    } else {
        State::Weak
    };
    let Some(place) = place else {
        let told = format!("no controller of {what} is mounted");
        return Check::new(code, lacking, told).remedy("sudo mount -t cgroup2 none /sys/fs/cgroup");
    };
    let version = match place.version {
        Version::One => "version 1",
        Version::Two => "version 2",
    };
    let directory = place.directory.display();
    if may_make(place) {
        return Check::new(code, State::Good, format!("{version}, at {directory}"));
    }
    let told = format!("{version}, and this user may make no groups at {directory}");
    Check::new(code, lacking, told).remedy(match place.version {
        Version::Two => "start cooper by `systemd-run --user --scope -p Delegate=yes`, or as root",
        Version::One => "run cooper as root: version 1 is not delegated to users",
    })
}

fn kvm() -> Check {
    let opened = fs::File::options().read(true).write(true).open("/dev/kvm");
    match opened {
        Ok(_) => Check::new("kvm", State::Good, "there, for runtimes that use it"),
        Err(error) => Check::new("kvm", State::Absent, format!("/dev/kvm: {error}")),
    }
}

/// A gVisor of this day or later has the platform `systrap`.
const SYSTRAP_SINCE: u32 = 20_230_601;

/// The day of a `runsc version release-20221219.0`.
fn release_day(told: &str) -> Option<u32> {
    let (_, release) = told.split_once("release-")?;
    release.get(..8)?.parse().ok()
}

fn runtime(runtime: Runtime, caller: Caller) -> Check {
    let name = runtime.as_str();
    let Some(program) = RuntimeProgram::installed(runtime) else {
        let told = format!("not installed; only `cooper run --runtime {name}` needs it");
        return Check::new(name, State::Absent, told).remedy(runtime.remedy());
    };
    let path = program.path();
    let told = version_line(path).unwrap_or_else(|| "it does not say its version".to_owned());
    let told = format!("{}: {told}", path.display());
    if caller != Caller::HostRoot {
        let told = format!("{told}; only root can use it here");
        return Check::new(name, State::Absent, told).remedy("run cooper as root");
    }
    if runtime == Runtime::Runsc && release_day(&told).is_some_and(|day| day < SYSTRAP_SINCE) {
        let told = format!("{told}, which is too old: it lacks the platform `systrap`");
        return Check::new(name, State::Absent, told)
            .remedy("install gVisor of June 2023 or newer, which Debian has since trixie");
    }
    Check::new(name, State::Good, told)
}

/// What a program says first of its version.
fn version_line(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version").env_clear().stdin(Stdio::null());
    let said = command.stderr(Stdio::null()).output().ok()?.stdout;
    let line = said.split(|byte| *byte == b'\n').next()?;
    let line = OsStr::from_bytes(line).to_string_lossy();
    let plain = line
        .chars()
        .filter(|c| !c.is_control())
        .take(VERSION_CHARACTERS_MAX);
    Some(plain.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        for (release, version) in [
            ("6.18.44-fc-v669", Some((6, 18))),
            ("5.12", Some((5, 12))),
            ("5.4.0-1", Some((5, 4))),
            ("nonsense", None),
        ] {
            assert_eq!(version_of(release), version, "{release}");
        }
        assert!(version_of("5.4.0").unwrap() < KERNEL_MIN && version_of("10.0").unwrap() > KERNEL_MIN);
    }

    #[test]
    fn releases_of_gvisor_are_compared_by_day() {
        let day = |told| release_day(told).is_some_and(|day| day < SYSTRAP_SINCE);
        assert!(day("/usr/bin/runsc: runsc version release-20221219.0"));
        assert!(!day("/usr/bin/runsc: runsc version release-20240212.0-2"));
        assert!(!day("/usr/bin/runsc: runsc version VERSION_MISSING"));
    }

    #[test]
    fn a_missing_controller_is_bad_for_root_and_weak_for_others() {
        let none = Hierarchies::default();
        let states = |caller| {
            cgroups(&none, caller)
                .iter()
                .map(|check| check.state)
                .collect::<Vec<_>>()
        };
        assert_eq!(states(Caller::HostRoot), [State::Bad, State::Bad, State::Weak]);
        assert_eq!(states(Caller::Ordinary), [State::Weak; 3]);
    }

    #[test]
    fn every_answer_has_a_name_of_its_own() {
        let checks = survey();
        let mut codes: Vec<&str> = checks.iter().map(|check| check.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), checks.len());
    }
}
