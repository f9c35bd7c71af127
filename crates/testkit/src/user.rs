//! An ordinary user of this host, for tests that run as root: what the files below `/etc` say of it is seen in a mount
//! namespace of the started process alone.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// User 12345 with a group of the same number.
#[derive(Debug)]
pub struct OrdinaryUser {
    folder: PathBuf,
}

/// Its number.
pub const ORDINARY_UID: u32 = 12_345;
/// Its name.
pub const ORDINARY_NAME: &str = "ordinary";

/// The subordinate ids that an [`OrdinaryUser`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subordinate {
    /// Usual ones: 65536 from 700000 on.
    Usual,
    /// This many.
    Some(u32),
    /// None.
    None,
}

const MOUNT_AND_BECOME: &str = r#"
folder=$1
shift
for name in passwd subuid subgid; do
  mount --bind "$folder/$name" "/etc/$name" || exit 99
done
exec setpriv --reuid 12345 --regid 12345 --clear-groups -- "$@"
"#;

impl OrdinaryUser {
    /// A user whose files are kept in this folder, which is made.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn new(folder: &Path, ids: Subordinate) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let user = Self {
            folder: folder.to_owned(),
        };
        let home = folder.display();
        user.write("passwd", &format!("root:x:0:0:root:/root:/bin/sh\n{ORDINARY_NAME}:x:{ORDINARY_UID}:{ORDINARY_UID}::{home}:/bin/sh\n"))?;
        user.grant(ids)?;
        Ok(user)
    }

    /// Give it these subordinate ids in place of those that it had.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn grant(&self, ids: Subordinate) -> io::Result<()> {
        let line = match ids {
            Subordinate::Usual => format!("{ORDINARY_NAME}:700000:65536\n"),
            Subordinate::Some(count) => format!("{ORDINARY_NAME}:700000:{count}\n"),
            Subordinate::None => String::new(),
        };
        self.write("subuid", &line)?;
        self.write("subgid", &line)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        use std::io::Write as _;
        let path = self.folder.join(name);
        let mut file = std::fs::File::create(&path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.write_all(text.as_bytes())
    }

    /// Make everything below a folder the user's.
    ///
    /// # Errors
    /// When that is refused.
    pub fn give(&self, folder: &Path) -> io::Result<()> {
        let status = Command::new("chown")
            .args(["-R", "-h", "12345:12345", "--"])
            .arg(folder)
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("chown {}: {status}", folder.display())))
        }
    }

    /// A program that the user starts. It takes the place of the command: process id, streams and status are its own.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "/bin/sh", "-c"]);
        command
            .args([MOUNT_AND_BECOME, "sh"])
            .arg(&self.folder)
            .arg(program);
        command
    }
}
