//! What a hostile program leaves behind, and what is taken of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cooper_sandbox::{
    Attached, CollectError, CollectLimits, Collected, FileFound, Owner, Refusal, collect, read_file, tmpfs_fd,
};
use rustix::fs::{CWD, Mode, OFlags};

use crate::bed::{Bed, MIB, Run};

const LIMITS: CollectLimits = CollectLimits {
    bytes_max: MIB,
    files_max: 1000,
    depth_max: 32,
    entries_max: 2000,
};

/// What was kept, by path, and what was refused, by path and reason.
struct Taken {
    files: BTreeMap<PathBuf, Vec<u8>>,
    refused: BTreeMap<String, Refusal>,
    collected: Collected,
}

fn take(directory: &impl std::os::fd::AsFd, limits: &CollectLimits) -> Taken {
    let mut files = BTreeMap::new();
    let collected = collect(directory.as_fd(), limits, &mut |found: FileFound<'_>| {
        let mut bytes = Vec::new();
        found.content.read_to_end(&mut bytes)?;
        let length = bytes.len() as u64;
        files.insert(found.path.to_owned(), bytes);
        Ok(length)
    })
    .unwrap();
    let refused = &collected.refused;
    Taken {
        files,
        refused: refused
            .iter()
            .map(|refused| (refused.shown_path.clone(), refused.reason))
            .collect(),
        collected,
    }
}

/// What is taken after a run of this script, which writes to `/output`.
fn left_by(script: &str) -> Taken {
    left_by_run(&Bed::new().shell(script))
}

fn left_by_run(run: &Run) -> Taken {
    let output = tmpfs_fd(4 * MIB, 5000, 0, 0o755).unwrap();
    let mounts = [Attached {
        target: Path::new("/output"),
        mount: output.as_fd(),
        owner: Owner::RunUser,
    }];
    run.outcome_with(&mounts);
    take(&output, &LIMITS)
}

fn names(taken: &Taken) -> Vec<&str> {
    taken.files.keys().map(|path| path.to_str().unwrap()).collect()
}

#[test]
fn links_to_anything_are_refused_by_name() {
    let bed = Bed::new();
    let secret = bed.aside("host").join("secret");
    fs::copy("/etc/passwd", &secret).unwrap();
    let script = format!(
        "cd /output; echo good > good; ln -s {} host; ln -s /etc/shadow shadow; ln -s /dev/zero zero; ln -s /dev up; \
         ln -s ../../../../etc/passwd climb; ln -s good inner; ln -s /proc/self/root root; mkdir d; ln -s / d/slash; \
         echo one > hard; ln hard hard2; ln /bin/busybox outside 2>/dev/null; ln -s loop loop",
        secret.display()
    );
    let taken = left_by_run(&bed.shell(&script));
    assert_eq!(names(&taken), ["good"]);
    let links = [
        "climb", "d/slash", "host", "inner", "loop", "root", "shadow", "up", "zero",
    ];
    for name in links {
        assert_eq!(taken.refused[name], Refusal::SymbolicLink, "{name}");
    }
    assert_eq!(taken.refused["hard"], Refusal::HardLink);
    assert_eq!(taken.refused["hard2"], Refusal::HardLink);
    assert_eq!(taken.refused.len(), links.len() + 2, "{:?}", taken.refused);
}

#[test]
fn pipes_sockets_and_devices_are_refused_and_nobody_waits() {
    let started = Instant::now();
    let script = "cd /output; mkfifo pipe; nc -l -U sock 2>/dev/null & \
        mknod null c 1 3 2>/dev/null; mknod disk b 8 0 2>/dev/null; echo x > file; exit 0";
    let taken = left_by(script);
    assert_eq!(names(&taken), ["file"]);
    assert_eq!(taken.refused["pipe"], Refusal::Fifo);
    // A run cannot make devices; what root made in a directory is refused all the same.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("null");
    let device = rustix::fs::makedev(1, 3);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(CWD, &path, kind, Mode::from_raw_mode(0o666), device).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(directory.path().join("sock")).unwrap();
    let taken = take(&File::open(directory.path()).unwrap(), &LIMITS);
    assert!(taken.files.is_empty());
    assert_eq!(taken.refused["null"], Refusal::Device);
    assert_eq!(taken.refused["sock"], Refusal::Socket);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_sparse_terabyte_is_refused_before_it_is_read() {
    let started = Instant::now();
    let taken =
        left_by("cd /output; truncate -s 1099511627776 a-huge; echo small > small; truncate -s 500K holes");
    assert_eq!(names(&taken), ["holes", "small"]);
    assert_eq!(taken.files[Path::new("holes")], vec![0; 500 << 10]);
    assert_eq!(taken.refused["a-huge"], Refusal::TooLarge);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn all_files_together_are_bounded() {
    let taken = left_by("cd /output; for i in a b c; do head -c 400000 /dev/zero > $i; done; echo x > d");
    assert_eq!(names(&taken), ["a", "b", "d"]);
    assert_eq!(taken.refused["c"], Refusal::TooLarge);
}

#[test]
fn a_great_number_of_tiny_files_ends_the_walk() {
    // As many as the place in memory takes, and more than are taken.
    let script = "cd /output; i=0; while echo > f$i; do i=$((i+1)); done 2>/dev/null; echo $i";
    let taken = left_by(script);
    assert_eq!(taken.files.len(), LIMITS.files_max as usize);
    assert_eq!(taken.refused.len(), 1, "{:?}", taken.refused);
    assert!(taken.refused.values().all(|reason| *reason == Refusal::TooMany));
    // Names alone are bounded too, and refusals are counted where they are not listed.
    let taken = left_by("cd /output; i=0; while ln -s x l$i; do i=$((i+1)); done 2>/dev/null");
    assert!(taken.files.is_empty());
    let told = taken.refused.len() as u64 + taken.collected.refused_beside;
    assert_eq!(told, u64::from(LIMITS.entries_max) + 1);
    assert_eq!(taken.refused.len(), 100);
}

#[test]
fn odd_names_are_shown_escaped_and_not_taken() {
    let script = "cd /output; for name in \"$(printf 'a\\nb')\" \"$(printf 'red\\033[31m')\" \"$(printf 'bad\\377')\" \
        \"$(printf 'c1\\302\\233x')\"; do echo x > \"$name\"; done; \
        echo x > ...; echo x > '..a'; echo x > '-rf'; echo x > ' '; echo x > \"$(printf 'gr\\303\\266\\303\\237e')\"";
    let taken = left_by(script);
    assert_eq!(names(&taken), [" ", "-rf", "...", "..a", "größe"]);
    let refused: Vec<&str> = taken.refused.keys().map(String::as_str).collect();
    assert_eq!(refused, [r"a\nb", r"bad\xff", r"c1\u{9b}x", r"red\u{1b}[31m"]);
    assert!(taken.refused.values().all(|reason| *reason == Refusal::Name));
}

#[test]
fn a_thousand_directories_deep_is_not_followed() {
    let script = "cd /output; mkdir -p 1/2/3; echo x > 1/2/3/deep; \
        i=0; while [ $i -lt 1000 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done; echo x > bottom";
    let taken = left_by(script);
    assert_eq!(names(&taken), ["1/2/3/deep"]);
    assert_eq!(taken.refused.len(), 1);
    assert!(taken.refused.values().all(|reason| *reason == Refusal::TooDeep));
}

#[test]
fn files_without_any_permission_are_taken_and_directories_too() {
    let taken = left_by("cd /output; mkdir d; echo x > d/f; chmod 0 d/f d; echo y > g; chmod 4755 g");
    assert_eq!(names(&taken), ["d/f", "g"]);
}

#[test]
fn another_file_system_below_is_not_entered() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("proc")).unwrap();
    File::create(directory.path().join("file")).unwrap();
    rustix::mount::mount_bind("/proc", directory.path().join("proc")).unwrap();
    let taken = take(&File::open(directory.path()).unwrap(), &LIMITS);
    let flags = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(directory.path().join("proc"), flags).unwrap();
    assert_eq!(names(&taken), ["file"]);
    assert_eq!(taken.refused["proc"], Refusal::Mount);
}

#[test]
fn a_file_that_becomes_a_link_meanwhile_leads_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    io::Write::write_all(&mut File::create(&secret).unwrap(), b"of the host").unwrap();
    let output = directory.path().join("output");
    fs::create_dir(&output).unwrap();
    for name in ["file", "directory-was", "held"] {
        io::Write::write_all(&mut File::create(output.join(name)).unwrap(), b"of the run").unwrap();
    }
    let done = AtomicBool::new(false);
    let c = |path: PathBuf| CString::new(path.as_os_str().as_bytes()).unwrap();
    std::thread::scope(|scope| {
        // Swaps a file and a link, and a directory and a link, without a pause.
        scope.spawn(|| {
            let (file, link) = (c(output.join("file")), c(directory.path().join("link")));
            std::os::unix::fs::symlink(&secret, directory.path().join("link")).unwrap();
            let (inner, outer) = (c(output.join("d")), c(directory.path().join("up")));
            fs::create_dir(output.join("d")).unwrap();
            std::os::unix::fs::symlink(directory.path(), directory.path().join("up")).unwrap();
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !done.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &file, CWD, &link, exchange).unwrap();
                rustix::fs::renameat_with(CWD, &inner, CWD, &outer, exchange).unwrap();
            }
        });
        let folder = File::open(&output).unwrap();
        for _ in 0..3000 {
            let taken = take(&folder, &LIMITS);
            for (path, bytes) in &taken.files {
                assert_eq!(bytes, b"of the run", "{}", path.display());
            }
            let read = read_file(folder.as_fd(), OsStr::new("file"), MIB);
            assert!(!matches!(read, Ok(Some(bytes)) if bytes != b"of the run"));
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_file_that_grows_meanwhile_is_taken_to_the_length_that_it_had() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    io::Write::write_all(&mut File::create(&path).unwrap(), b"12345").unwrap();
    let seen = RefCell::new(Vec::new());
    let folder = File::open(directory.path()).unwrap();
    let collected = collect(folder.as_fd(), &LIMITS, &mut |found| {
        let mut file = File::options().append(true).open(&path)?;
        io::Write::write_all(&mut file, &[b'x'; 1000])?;
        found.content.read_to_end(&mut seen.borrow_mut())?;
        Ok(5)
    });
    assert_eq!(collected.unwrap().files[0].bytes, 5);
    assert_eq!(*seen.borrow(), b"12345");
}

#[test]
fn a_place_that_cannot_keep_a_file_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    File::create(directory.path().join("file")).unwrap();
    let folder = File::open(directory.path()).unwrap();
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let failed = collect(folder.as_fd(), &LIMITS, &mut |_| Err(full()));
    assert!(matches!(failed, Err(CollectError::Keep { path, .. }) if path == Path::new("file")));
}

#[test]
fn a_result_is_a_file_like_any_other() {
    let bed = Bed::new();
    let result = |script: &str| {
        let memory = tmpfs_fd(2 * MIB, 16, 0, 0o755).unwrap();
        let mounts = [Attached {
            target: Path::new("/run/result"),
            mount: memory.as_fd(),
            owner: Owner::RunUser,
        }];
        bed.shell(&format!("cd /run/result; {script}"))
            .outcome_with(&mounts);
        read_file(memory.as_fd(), OsStr::new("r"), MIB)
    };
    assert_eq!(result("echo 1 > r"), Ok(Some(b"1\n".to_vec())));
    assert_eq!(result("true"), Ok(None));
    assert_eq!(result("ln -s /etc/shadow r"), Err(Refusal::SymbolicLink));
    assert_eq!(result("echo 1 > r; ln r s"), Err(Refusal::HardLink));
    assert_eq!(result("mkfifo r"), Err(Refusal::Fifo));
    assert_eq!(result("mkdir r"), Err(Refusal::Folder));
    assert_eq!(result("truncate -s 1099511627776 r"), Err(Refusal::TooLarge));
    assert_eq!(result("head -c 1048577 /dev/zero > r"), Err(Refusal::TooLarge));
    assert_eq!(
        result("head -c 1048576 /dev/zero > r").unwrap().unwrap().len(),
        1 << 20
    );
}

/// Opening relative to the descriptor of a mount whose namespace is gone goes on working.
#[test]
fn the_descriptor_outlives_the_container() {
    let output: OwnedFd = tmpfs_fd(MIB, 16, 0, 0o755).unwrap();
    let mounts = [Attached {
        target: Path::new("/output"),
        mount: output.as_fd(),
        owner: Owner::RunUser,
    }];
    Bed::new().shell("echo x > /output/a").outcome_with(&mounts);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let opened = rustix::fs::openat(&output, ".", flags, Mode::empty()).unwrap();
    assert_eq!(names(&take(&opened, &LIMITS)), ["a"]);
}
