//! The socket of a runner: where it is made, and what is left alone there.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cooperage::before_interrupt;
use rustix::fs::{FlockOperation, OFlags};

/// Whoever makes the same socket is done within this time.
const LOCKED_WITHIN: Duration = Duration::from_secs(10);

/// A socket that is listened on, and gone with the runner: also when a signal ends that.
pub(super) struct Listening {
    socket: UnixListener,
    path: PathBuf,
    /// Which file it is.
    file: (u64, u64),
}

impl Listening {
    /// Start to; before any other thread.
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        let socket = listen(path)?;
        let made = std::fs::symlink_metadata(path)?;
        let listening = Self {
            socket,
            path: path.to_owned(),
            file: (made.dev(), made.ino()),
        };
        let path = path.to_owned();
        before_interrupt(move || drop(std::fs::remove_file(path)))?;
        Ok(listening)
    }

    pub(super) fn socket(&self) -> &UnixListener {
        &self.socket
    }

    /// Whether it is still where it was made.
    pub(super) fn is_there(&self) -> bool {
        let found = std::fs::symlink_metadata(&self.path);
        found.is_ok_and(|found| (found.dev(), found.ino()) == self.file)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if self.is_there() {
            // Somebody may be quicker.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Bind, for the caller's user alone. Of two who want the same path one does. A socket that nobody listens on any more, left
/// from a runner that was killed, is replaced, and nothing else.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let _lock = Lock::take(path)?;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::other(
                "there is something else than a socket, which is left as it is",
            ));
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(error) => return Err(error),
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        },
    }
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener
}

/// Held while a socket is made: an empty file beside it, that is gone afterwards.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(socket: &Path) -> io::Result<Self> {
        let mut name = OsString::from(socket);
        name.push(".lock");
        let path = PathBuf::from(name);
        let started = Instant::now();
        loop {
            let file = open_lock(&path)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Whoever had it before may have taken it away.
                Ok(()) if is_there(&file, &path)? => return Ok(Self { path, _file: file }),
                Ok(()) | Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if started.elapsed() > LOCKED_WITHIN {
                return Err(io::Error::other(format!("{} stays locked", path.display())));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The next one finds that it is gone and makes another.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.len() == 0 {
        return Ok(file);
    }
    Err(io::Error::other(format!(
        "{} is no lock of a runner, and is left as it is",
        path.display()
    )))
}

fn is_there(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    let found = std::fs::symlink_metadata(path);
    Ok(found.is_ok_and(|found| (found.dev(), found.ino()) == (own.dev(), own.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let put = |name: &str| std::os::unix::fs::symlink("precious", at(name)).unwrap();
        put("link");
        put("free.lock");
        std::fs::create_dir(at("folder")).unwrap();
        for name in ["link", "folder", "free"] {
            assert!(listen(&at(name)).is_err(), "{name}");
        }
        assert!(!at("precious").exists());
        drop(listen(&at("socket")).unwrap());
        let listener = listen(&at("socket")).unwrap();
        assert!(listen(&at("socket")).is_err(), "somebody listens");
        drop(listener);
        assert!(!at("socket.lock").exists());
    }
}
