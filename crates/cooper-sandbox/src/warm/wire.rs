//! What a caller and a keeper say to each other: frames of a JSON header and byte strings.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::collect::{Refusal, Refused};
use crate::error::SandboxError;
use crate::network::{Network, NetworkReport};
use crate::outcome::CpuCounter;
use crate::prepare::check_limits;
use crate::spec::{Limits, Profile};

/// What a keeper is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TemplateSettings {
    /// The directories of the root, the top one first.
    pub layers: Vec<PathBuf>,
    /// The interpreter, absolute inside the root.
    pub python: String,
    /// The template's environment; a child's is its request's.
    pub env: Vec<(String, String)>,
    /// The working directory, absolute inside the root.
    pub cwd: PathBuf,
    /// User and group, in the container's numbers.
    pub user: (u32, u32),
    /// The host name that all see.
    pub hostname: String,
    /// Whom the children can reach; never [`Network::Host`].
    pub network: Network,
    /// The children may write everywhere in their root, in memory; what they write is gone with each.
    pub writable: bool,
    /// Bounds for each child, and for the template.
    pub limits: WarmLimits,
    /// Modules that are imported beforehand.
    pub preload: Vec<String>,
    /// A script that is executed in the template once, so that what it uses is there already.
    pub rehearsal: Option<String>,
    /// How many children wait for a request.
    pub pool: usize,
    /// How many run at once.
    pub running_max: usize,
    /// Whether a limit that this host cannot enforce stops everything.
    pub required: bool,
}

/// [`Limits`] of each child, and how much it may give back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WarmLimits {
    /// [`Limits::memory_bytes`]
    pub memory_bytes: u64,
    /// [`Limits::pids`]
    pub pids: u32,
    /// [`Limits::open_files`]
    pub open_files: u64,
    /// [`Limits::cpu_millis`]
    pub cpu_millis: u32,
    /// [`Limits::tmp_bytes`]
    pub tmp_bytes: u64,
    /// [`Limits::scratch_bytes`]
    pub scratch_bytes: u64,
    /// Bytes kept of standard output, and again of standard error.
    pub stream_bytes_max: u64,
    /// Bytes of the result.
    pub result_bytes_max: u64,
    /// Bytes of all outputs together.
    pub output_bytes_max: u64,
    /// How many outputs, directories counted.
    pub output_files_max: u64,
}

impl WarmLimits {
    /// Whether anything can run within them on this host.
    ///
    /// # Errors
    /// When one is too small, or larger than this host allows.
    pub fn check(&self) -> Result<(), SandboxError> {
        check_limits(&self.limits(), Profile::Run)
    }

    /// As a sandbox has them; time is each request's own.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes,
            pids: self.pids,
            open_files: self.open_files,
            cpu_millis: self.cpu_millis,
            wall: None,
            tmp_bytes: self.tmp_bytes,
            scratch_bytes: self.scratch_bytes,
        }
    }
}

/// From the caller to the keeper.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The first: what to keep.
    Start(Box<TemplateSettings>),
    /// Run this; the frame's bytes are the script, standard input, then the files.
    Run(WarmJob),
    /// Do not begin the run of this number, or end it.
    Cancel {
        /// The caller's number for it.
        id: u64,
    },
    /// End when everything that was asked for is done.
    Retire,
}

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WarmJob {
    /// The caller's number for it.
    pub id: u64,
    /// The last component of the script's path.
    pub script_name: String,
    /// The script's arguments.
    pub args: Vec<String>,
    /// The complete environment.
    pub env: Vec<(String, String)>,
    /// Files that it gets.
    pub files: Vec<WarmFile>,
    /// From the moment in which it gets a child to its end.
    pub wall: Duration,
}

/// A file that a run gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WarmFile {
    /// Its name in its directory.
    pub name: String,
    /// Readable by the run's user alone, in `/run/secrets`; else in `/input`.
    pub secret: bool,
}

/// From the keeper to the caller.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The template has done its imports; what holds each limit.
    Ready {
        /// Limit and what holds it.
        enforced: Vec<(String, String)>,
    },
    /// What the template and the children that wait have of the host's memory now.
    Memory {
        /// Without what is on the disk too.
        bytes: u64,
    },
    /// A run is over; the frame's bytes are standard output, standard error, the result, then the outputs.
    Done(Box<WarmReply>),
    /// The run of this number was cancelled before it began.
    Cancelled {
        /// The caller's number for it.
        id: u64,
    },
    /// There is no template any more; whatever was asked for and has no answer was not run to its end.
    Lost {
        /// Why.
        reason: String,
        /// What to do about it, where there is something.
        hint: Option<String>,
        /// The end of what the template wrote.
        log: String,
    },
}

/// What became of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WarmReply {
    /// The caller's number for it.
    pub id: u64,
    /// How it ended.
    pub end: WarmEnd,
    /// From its request to its end.
    pub wall: Duration,
    /// Processor time of its processes.
    pub cpu: Duration,
    /// What counted it.
    pub cpu_by: CpuCounter,
    /// The most memory used at any time, where a cgroup counted it.
    pub memory_peak_bytes: Option<u64>,
    /// Standard output was longer than the bound.
    pub stdout_truncated: bool,
    /// Standard error was.
    pub stderr_truncated: bool,
    /// Whether there is a result.
    pub has_result: bool,
    /// Why there is none, though something was given.
    pub result_fault: Option<Refusal>,
    /// The outputs' paths below `/output`.
    pub outputs: Vec<String>,
    /// What was left in `/output` and not taken, the first of it.
    pub outputs_refused: Vec<Refused>,
    /// How much was not taken beside that.
    pub outputs_refused_beside: u64,
    /// What became of its connections, where the children's network is an allow-list.
    pub network: Option<NetworkReport>,
}

/// How a warm run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmEnd {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Signaled(i32),
    /// Killed when its time was over.
    TimeLimit,
    /// Killed when it had used its memory.
    MemoryLimit,
    /// It could not be run.
    Failed,
}

/// A header with byte strings.
#[derive(Debug, Clone)]
pub struct Frame<T> {
    /// What it is about.
    pub header: T,
    /// Byte strings in the order that the header tells.
    pub parts: Vec<Vec<u8>>,
}

/// Why a frame could not be sent or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side is gone, or the system refused.
    #[error("cannot exchange a frame")]
    Io(#[source] io::Error),
    /// It is larger than both sides agreed on, or not what was agreed on.
    #[error("a frame is malformed: {0}")]
    Malformed(&'static str),
}

/// Of a frame whose end is not there yet.
pub(super) const ENDS_EARLY: &str = "it ends early";
const MAGIC: u32 = 0x434f_4f50;
const PARTS_MAX: u32 = 1 << 16;
/// So much is copied, to be sent together.
const AT_ONCE_BYTES_MAX: usize = 32 << 10;
const HEADER_BYTES_MAX: u32 = 64 << 20;
const PART_BYTES_MAX: u64 = 2 << 30;

impl<T: Serialize> Frame<T> {
    /// Send it.
    pub fn send(&self, to: &mut impl Write) -> Result<(), FrameError> {
        let header = serde_json::to_vec(&self.header);
        let header = header.map_err(|_| FrameError::Malformed("the header cannot be written"))?;
        let mut start = Vec::with_capacity(header.len() + 12 + 8 * self.parts.len());
        let too_many = |_| FrameError::Malformed("it is too large");
        start.extend(MAGIC.to_ne_bytes());
        start.extend(u32::try_from(header.len()).map_err(too_many)?.to_ne_bytes());
        start.extend(u32::try_from(self.parts.len()).map_err(too_many)?.to_ne_bytes());
        start.extend(
            self.parts
                .iter()
                .flat_map(|part| (part.len() as u64).to_ne_bytes()),
        );
        start.extend(header);
        let bytes: usize = self.parts.iter().map(Vec::len).sum();
        if bytes <= AT_ONCE_BYTES_MAX {
            // The other side wakes up once.
            for part in &self.parts {
                start.extend_from_slice(part);
            }
            to.write_all(&start).map_err(FrameError::Io)?;
            return to.flush().map_err(FrameError::Io);
        }
        to.write_all(&start).map_err(FrameError::Io)?;
        for part in &self.parts {
            to.write_all(part).map_err(FrameError::Io)?;
        }
        to.flush().map_err(FrameError::Io)
    }
}

impl<T: DeserializeOwned> Frame<T> {
    /// Read the next one; `None` where the other side has ended.
    pub fn receive(from: &mut impl Read) -> Result<Option<Self>, FrameError> {
        let Some(magic) = read_word(from)? else {
            return Ok(None);
        };
        if magic != MAGIC {
            return Err(FrameError::Malformed("it does not begin as frames do"));
        }
        let mut word = || read_word(from)?.ok_or(FrameError::Malformed(ENDS_EARLY));
        let (header_bytes, parts) = (word()?, word()?);
        if header_bytes > HEADER_BYTES_MAX || parts > PARTS_MAX {
            return Err(FrameError::Malformed("it is too large"));
        }
        let mut lengths = Vec::with_capacity(parts as usize);
        for _ in 0..parts {
            let mut bytes = [0; 8];
            from.read_exact(&mut bytes)
                .map_err(|_| FrameError::Malformed(ENDS_EARLY))?;
            lengths.push(u64::from_ne_bytes(bytes));
        }
        let header = read_bytes(from, header_bytes.into())?;
        let header = serde_json::from_slice(&header);
        let header = header.map_err(|_| FrameError::Malformed("its header is not understood"))?;
        let parts = lengths.into_iter().map(|length| read_bytes(from, length));
        Ok(Some(Self {
            header,
            parts: parts.collect::<Result<_, _>>()?,
        }))
    }
}

fn read_word(from: &mut impl Read) -> Result<Option<u32>, FrameError> {
    let mut bytes = [0; 4];
    match from.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(u32::from_ne_bytes(bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(FrameError::Io(error)),
    }
}

fn read_bytes(from: &mut impl Read, length: u64) -> Result<Vec<u8>, FrameError> {
    if length > PART_BYTES_MAX {
        return Err(FrameError::Malformed("a part is too large"));
    }
    let mut bytes = Vec::new();
    let read = from
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(FrameError::Io)?;
    if read as u64 == length {
        Ok(bytes)
    } else {
        Err(FrameError::Malformed(ENDS_EARLY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_bad_ones_are_refused() {
        let frame = Frame {
            header: vec!["a".to_owned()],
            parts: vec![b"one".to_vec(), Vec::new(), vec![0; 70_000]],
        };
        let mut bytes = Vec::new();
        frame.send(&mut bytes).unwrap();
        let received = Frame::<Vec<String>>::receive(&mut bytes.as_slice())
            .unwrap()
            .unwrap();
        assert_eq!((received.header, received.parts), (frame.header, frame.parts));
        assert!(Frame::<Vec<String>>::receive(&mut &b""[..]).unwrap().is_none());
        assert!(Frame::<Vec<String>>::receive(&mut &bytes[..bytes.len() - 1]).is_err());
        let mut huge = bytes.clone();
        huge[12..20].copy_from_slice(&u64::MAX.to_ne_bytes());
        assert!(Frame::<Vec<String>>::receive(&mut huge.as_slice()).is_err());
        bytes[0] ^= 1;
        assert!(Frame::<Vec<String>>::receive(&mut bytes.as_slice()).is_err());
    }
}
