//! `tar` in the GNU format that dpkg-deb writes, with entries that may say anything.

/// What a tar entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TarKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to the target.
    Symlink(String),
    /// A hard link to an earlier entry's path.
    HardLink(String),
    /// A character device.
    CharacterDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// Any other type flag.
    Other(u8),
}

/// One tar entry; the path is written as it is given.
#[derive(Debug, Clone)]
pub struct TarEntry {
    pub(crate) path: String,
    pub(crate) kind: TarKind,
    mode: u32,
    uid: u32,
    gid: u32,
    user: String,
    group: String,
    pub(crate) mtime: Option<u64>,
    pub(crate) content: Vec<u8>,
    claimed_size: Option<u64>,
}

impl TarEntry {
    /// An entry of any kind, root's, mode 0644.
    pub fn new(path: &str, kind: TarKind) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: "root".to_owned(),
            group: "root".to_owned(),
            mtime: None,
            content: Vec::new(),
            claimed_size: None,
        }
    }

    /// A regular file, 0644.
    pub fn file(path: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            content: content.into(),
            ..Self::new(path, TarKind::File)
        }
    }

    /// A directory, 0755.
    pub fn directory(path: &str) -> Self {
        Self::new(path, TarKind::Directory).mode(0o755)
    }

    /// A symbolic link, 0777.
    pub fn symlink(path: &str, target: &str) -> Self {
        Self::new(path, TarKind::Symlink(target.to_owned())).mode(0o777)
    }

    /// A hard link to the path of another entry.
    pub fn hard_link(path: &str, target: &str) -> Self {
        Self::new(path, TarKind::HardLink(target.to_owned()))
    }

    /// Set the permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Set the owner by number and by name.
    #[must_use]
    pub fn owner(mut self, (uid, user): (u32, &str), (gid, group): (u32, &str)) -> Self {
        (self.uid, self.gid) = (uid, gid);
        (self.user, self.group) = (user.to_owned(), group.to_owned());
        self
    }

    /// Set the modification time in seconds since 1970; without it, the archive's.
    #[must_use]
    pub fn mtime(mut self, seconds: u64) -> Self {
        self.mtime = Some(seconds);
        self
    }

    /// State another size in the header than the content has.
    #[must_use]
    pub fn claimed_size(mut self, size: u64) -> Self {
        self.claimed_size = Some(size);
        self
    }

    fn type_flag(&self) -> u8 {
        match self.kind {
            TarKind::File => b'0',
            TarKind::HardLink(_) => b'1',
            TarKind::Symlink(_) => b'2',
            TarKind::CharacterDevice(..) => b'3',
            TarKind::BlockDevice(..) => b'4',
            TarKind::Directory => b'5',
            TarKind::Fifo => b'6',
            TarKind::Other(flag) => flag,
        }
    }

    fn link_target(&self) -> &str {
        match &self.kind {
            TarKind::Symlink(target) | TarKind::HardLink(target) => target,
            _ => "",
        }
    }

    fn header(&self, mtime: u64) -> [u8; 512] {
        let mut header = [0; 512];
        let size = self.claimed_size.unwrap_or(self.content.len() as u64);
        put(&mut header, 0, 100, self.path.as_bytes());
        put(&mut header, 100, 8, format!("{:07o}", self.mode).as_bytes());
        put(&mut header, 108, 8, format!("{:07o}", self.uid).as_bytes());
        put(&mut header, 116, 8, format!("{:07o}", self.gid).as_bytes());
        put_size(&mut header, size);
        put(
            &mut header,
            136,
            12,
            format!("{:011o}", self.mtime.unwrap_or(mtime)).as_bytes(),
        );
        header[156] = self.type_flag();
        put(&mut header, 157, 100, self.link_target().as_bytes());
        put(&mut header, 257, 8, b"ustar  \0");
        put(&mut header, 265, 32, self.user.as_bytes());
        put(&mut header, 297, 32, self.group.as_bytes());
        if let TarKind::CharacterDevice(major, minor) | TarKind::BlockDevice(major, minor) = self.kind {
            put(&mut header, 329, 8, format!("{major:07o}").as_bytes());
            put(&mut header, 337, 8, format!("{minor:07o}").as_bytes());
        }
        put(&mut header, 148, 8, b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut header, 148, 8, format!("{sum:06o}\0 ").as_bytes());
        header
    }
}

fn put(header: &mut [u8; 512], start: usize, width: usize, text: &[u8]) {
    let length = text.len().min(width);
    header[start..start + length].copy_from_slice(&text[..length]);
}

/// Octal where it fits, else GNU's base-256.
fn put_size(header: &mut [u8; 512], size: u64) {
    if size < 1 << 33 {
        put(header, 124, 12, format!("{size:011o}").as_bytes());
    } else {
        header[124] = 0x80;
        header[128..136].copy_from_slice(&size.to_be_bytes());
    }
}

/// The tar of `entries`, in order; `mtime` counts where an entry has none of its own.
pub fn write_tar(entries: &[TarEntry], mtime: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        for (flag, text) in [(b'K', entry.link_target()), (b'L', entry.path.as_str())] {
            if text.len() > 100 {
                let mut long = TarEntry::new("././@LongLink", TarKind::Other(flag)).mtime(0);
                long.content = [text.as_bytes(), b"\0"].concat();
                append(&mut out, &long, 0);
            }
        }
        append(&mut out, entry, mtime);
    }
    out.resize((out.len() + 1024).next_multiple_of(10240), 0);
    out
}

fn append(out: &mut Vec<u8>, entry: &TarEntry, mtime: u64) {
    out.extend_from_slice(&entry.header(mtime));
    out.extend_from_slice(&entry.content);
    out.resize(out.len().next_multiple_of(512), 0);
}
