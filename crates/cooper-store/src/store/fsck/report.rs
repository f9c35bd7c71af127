//! What fsck says.

use std::path::PathBuf;

use cooper_core::{BlobDigest, DiffId, Digest};

/// What fsck looked at and what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsckReport {
    /// How many blobs were hashed.
    pub blobs_checked: u64,
    /// How many bytes they have.
    pub bytes_checked: u64,
    /// How many trees were checked.
    pub trees_checked: u64,
    /// How many names were read.
    pub refs_checked: u64,
    /// What is wrong, sorted.
    pub faults: Vec<Fault>,
    /// What is worth knowing and not wrong, sorted.
    pub notes: Vec<Note>,
}

impl FsckReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Something that breaks a promise of the store. `needed_by` are names as `ORGANISATION/NAME:TAG`, and pins as `pin NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Fault {
    /// A blob's bytes are not those that its name promises.
    #[error("blob {digest} is corrupted: its bytes have the digest {actual}")]
    CorruptedBlob {
        /// Its name.
        digest: BlobDigest,
        /// What its bytes are.
        actual: Digest,
        /// The names that need it.
        needed_by: Vec<String>,
        /// Whether repair moved it out of the way.
        moved: bool,
    },
    /// A blob cannot be read.
    #[error("blob {digest} cannot be read: {reason}")]
    UnreadableBlob {
        /// Its name.
        digest: BlobDigest,
        /// What the system said.
        reason: String,
        /// The names that need it.
        needed_by: Vec<String>,
    },
    /// A name needs a blob that is not there.
    #[error("blob {digest} is missing")]
    MissingBlob {
        /// Its name.
        digest: BlobDigest,
        /// The names that need it.
        needed_by: Vec<String>,
    },
    /// A tree is not what its name promises.
    #[error("tree {diff_id} is damaged: {reason}")]
    DamagedTree {
        /// Its name.
        diff_id: DiffId,
        /// What is wrong with it.
        reason: String,
        /// The names that need it.
        needed_by: Vec<String>,
        /// Whether repair moved it out of the way.
        moved: bool,
    },
    /// A name's record cannot be read.
    #[error("the record of {image} cannot be read: {reason}")]
    UnreadableRef {
        /// The name as `ORGANISATION/NAME:TAG`.
        image: String,
        /// Its record.
        path: PathBuf,
        /// Why.
        reason: String,
        /// Whether repair removed the name. Its number is not given again.
        removed: bool,
    },
    /// The journal tells of a name of which nothing remains, so its number could be given again.
    #[error("{image} was made and is gone without a trace")]
    LostTag {
        /// The name as `ORGANISATION/NAME:TAG`.
        image: String,
    },
    /// A name is in use although it was removed: both files are there.
    #[error("{image} is both in use and removed")]
    TagInUseAndRemoved {
        /// The name as `ORGANISATION/NAME:TAG`.
        image: String,
    },
    /// A mark does not hold a time.
    #[error("the mark `{path}` cannot be read")]
    UnreadableMark {
        /// Its file.
        path: PathBuf,
        /// Whether repair moved it out of the way.
        moved: bool,
    },
    /// A pin cannot be read.
    #[error("the pin `{path}` cannot be read")]
    UnreadablePin {
        /// Its file.
        path: PathBuf,
        /// Whether repair moved it out of the way.
        moved: bool,
    },
    /// A ledger has lines that say nothing, or its last line is not ended: it was torn by a power cut, or somebody else wrote
    /// to it.
    #[error("the ledger `{path}` is damaged: {}", ledger_damage(.lines, *.torn))]
    DamagedLedger {
        /// Its file.
        path: PathBuf,
        /// The lines that say nothing, from 1.
        lines: Vec<usize>,
        /// The last line is not ended.
        torn: bool,
        /// Whether repair wrote it again without these lines, and kept a copy of what it was.
        mended: bool,
    },
    /// A ledger has grown beyond what is read.
    #[error("the ledger `{path}` is larger than is read")]
    LargeLedger {
        /// Its file.
        path: PathBuf,
    },
    /// A file that does not belong there.
    #[error("`{path}` does not belong into the store")]
    ForeignFile {
        /// The file.
        path: PathBuf,
    },
}

fn ledger_damage(lines: &[usize], torn: bool) -> String {
    const SHOWN_MAX: usize = 5;
    let shown: Vec<String> = lines.iter().take(SHOWN_MAX).map(usize::to_string).collect();
    let more = if lines.len() > SHOWN_MAX { " and more" } else { "" };
    let unreadable = match lines {
        [] => String::new(),
        [line] => format!("line {line} says nothing"),
        _ => format!("lines {}{more} say nothing", shown.join(", ")),
    };
    match (torn, unreadable.as_str()) {
        (false, _) => unreadable,
        (true, "") => "its last line is not ended".to_owned(),
        (true, _) => format!("{unreadable}, and its last line is not ended"),
    }
}

impl Fault {
    /// The blob that repair took out of the way.
    pub(super) fn moved_blob(&self) -> Option<BlobDigest> {
        match self {
            Self::CorruptedBlob {
                digest, moved: true, ..
            } => Some(*digest),
            _ => None,
        }
    }
}

/// Something that a killed process may leave and that the next one puts right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Note {
    /// A session directory whose process is gone; the next open sweeps it.
    #[error("`{path}` is left over from a process that is gone")]
    Leftover {
        /// The directory.
        path: PathBuf,
    },
    /// What an earlier repair took out of the way.
    #[error("`{path}` was damaged and is out of the way")]
    Quarantined {
        /// The file.
        path: PathBuf,
    },
    /// `index.json` does not say what the names say.
    #[error("`index.json` is behind the names")]
    StaleIndex {
        /// Whether repair rewrote it.
        rewritten: bool,
    },
    /// The view of the names does not say what the names say, where it should be believed.
    #[error("the view `names` is not what the names say")]
    StaleView {
        /// Whether repair rewrote it.
        rewritten: bool,
    },
    /// A name without a line in the journal.
    #[error("the journal does not tell of {image}")]
    Unjournalled {
        /// The name as `ORGANISATION/NAME:TAG`.
        image: String,
    },
    /// A line of the journal that cannot be read.
    #[error("line {line} of the journal cannot be read")]
    UnreadableJournalLine {
        /// Which line, from 1.
        line: usize,
    },
}
