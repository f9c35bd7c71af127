//! The words that the container's processes send to the supervisor through the status pipe.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::error::Step;

/// One word: 12 bytes, so that a write to a pipe is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// A step failed; nothing was run.
    Failed(Step, Errno),
    /// The program ended: the code and status of `siginfo_t` (`CLD_EXITED` with a status, else with a signal).
    Ended {
        /// `si_code`
        code: i32,
        /// `si_status`
        status: i32,
    },
    /// A process was started that stays: its pid, as the sender sees it.
    Started {
        /// In the sender's pid namespace.
        pid: i32,
    },
    /// What the sender makes is made.
    Ready,
}

const LENGTH: usize = 12;
const FAILED: i32 = 1;
const ENDED: i32 = 2;
const STARTED: i32 = 3;
const READY: i32 = 4;

impl Word {
    /// Send it; when nobody listens any more there is nobody to tell. Safe after fork.
    pub(crate) fn send(self, pipe: BorrowedFd<'_>) {
        let (tag, first, second) = match self {
            Self::Failed(step, errno) => (FAILED, step as i32, errno.raw_os_error()),
            Self::Ended { code, status } => (ENDED, code, status),
            Self::Started { pid } => (STARTED, pid, 0),
            Self::Ready => (READY, 0, 0),
        };
        let mut bytes = [0_u8; LENGTH];
        bytes[..4].copy_from_slice(&tag.to_ne_bytes());
        bytes[4..8].copy_from_slice(&first.to_ne_bytes());
        bytes[8..].copy_from_slice(&second.to_ne_bytes());
        let _ = rustix::io::write(pipe, &bytes);
    }

    /// The words in what was read.
    pub(crate) fn parse_all(bytes: &[u8]) -> Vec<Self> {
        bytes.chunks_exact(LENGTH).filter_map(Self::parse).collect()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(i32::from_ne_bytes);
        match number(0)? {
            FAILED => {
                let step = Step::ALL.get(usize::try_from(number(4)?).ok()?)?;
                Some(Self::Failed(*step, Errno::from_raw_os_error(number(8)?)))
            }
            ENDED => Some(Self::Ended {
                code: number(4)?,
                status: number(8)?,
            }),
            STARTED => Some(Self::Started { pid: number(4)? }),
            READY => Some(Self::Ready),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn words_round_trip_through_a_pipe() {
        let words = [
            Word::Failed(Step::MountTmp, Errno::NOMEM),
            Word::Ended { code: 1, status: 42 },
            Word::Started { pid: 7 },
            Word::Ready,
        ];
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        for word in words {
            word.send(writer.as_fd());
        }
        let mut bytes = [0; 64];
        let length = rustix::io::read(&reader, &mut bytes).unwrap();
        assert_eq!(Word::parse_all(&bytes[..length]), words);
        assert_eq!(Word::parse_all(&[9; 24]), []);
    }
}
