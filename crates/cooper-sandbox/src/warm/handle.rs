//! The caller's end of a keeper.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::wire::{Frame, FrameError, Order, TemplateSettings};

/// Start a keeper: `program` with `arguments` must call [`super::keep`] with its standard input. Frames go both ways
/// through the socket; when it is closed, the keeper ends, and everything that it keeps.
///
/// # Errors
/// When the program cannot be started, or does not listen.
pub fn start_keeper(
    program: &Path,
    arguments: &[OsString],
    settings: TemplateSettings,
) -> Result<(UnixStream, Child), FrameError> {
    let (mut ours, theirs) = UnixStream::pair().map_err(FrameError::Io)?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(FrameError::Io)?;
    let start = Frame {
        header: Order::Start(Box::new(settings)),
        parts: Vec::new(),
    };
    if let Err(error) = start.send(&mut ours) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    Ok((ours, child))
}
