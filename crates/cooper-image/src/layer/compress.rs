//! gzip in independent members, made by several threads and written in order.
//!
//! One thread produces pieces, some compress them, the calling thread writes. The queues between them are
//! short, so memory is bounded by a few pieces for each thread.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

use cooper_core::lock::Compression;
use libdeflater::{CompressionLvl, Compressor};

mod igzip;

use super::PackError;
use super::walk::Emit;

/// What compresses a member.
#[derive(Clone, Copy)]
enum Engine {
    Libdeflate(CompressionLvl),
    Igzip,
}

/// A compressor's checked settings.
pub(super) struct Settings {
    engine: Engine,
    member_bytes: usize,
    threads: usize,
}

const MEMBER_BYTES_MIN: u32 = 4 << 10;
const MEMBER_BYTES_MAX: u32 = 8 << 20;
const THREADS_MAX: usize = 16;
/// Bytes that all pieces in flight may have together, before and after compression.
const FLIGHT_BYTES_MAX: usize = 64 << 20;

impl Settings {
    pub(super) fn new(compression: Compression, threads: usize) -> Result<Self, PackError> {
        let (engine, level, member_bytes) = match compression {
            Compression::Gzip { level, member_bytes } => {
                let parsed = CompressionLvl::new(i32::from(level)).ok();
                let parsed = parsed.filter(|_| level > 0);
                (parsed.map(Engine::Libdeflate), level, member_bytes)
            }
            Compression::Igzip { member_bytes } => (Some(Engine::Igzip), igzip::LEVEL, member_bytes),
        };
        let impossible = || PackError::Compression { level, member_bytes };
        let in_bounds = (MEMBER_BYTES_MIN..=MEMBER_BYTES_MAX).contains(&member_bytes);
        let engine = engine.filter(|_| in_bounds).ok_or_else(impossible)?;
        if matches!(engine, Engine::Igzip) && !igzip::gives_known_bytes() {
            return Err(PackError::Processor);
        }
        let member_bytes = usize::try_from(member_bytes).map_err(|_| impossible())?;
        // A thread has at most two pieces waiting, one at work and one being written, each twice.
        let threads_in_bounds = FLIGHT_BYTES_MAX / (8 * member_bytes);
        let threads = threads.min(THREADS_MAX).min(threads_in_bounds).max(1);
        Ok(Self {
            engine,
            member_bytes,
            threads,
        })
    }

    pub(super) fn member_bytes(&self) -> usize {
        self.member_bytes
    }
}

/// Compresses one member after the other, in the calling thread.
pub(crate) struct MemberWriter {
    /// None where ISA-L compresses, which keeps no state.
    libdeflate: Option<Compressor>,
    member_bytes: usize,
}

impl MemberWriter {
    pub(crate) fn new(compression: Compression) -> Result<Self, PackError> {
        Ok(Self::of(&Settings::new(compression, 1)?))
    }

    fn of(settings: &Settings) -> Self {
        let libdeflate = match settings.engine {
            Engine::Libdeflate(level) => Some(Compressor::new(level)),
            Engine::Igzip => None,
        };
        Self {
            libdeflate,
            member_bytes: settings.member_bytes,
        }
    }

    /// The most bytes that a member is made of.
    pub(crate) fn member_bytes(&self) -> usize {
        self.member_bytes
    }

    /// Compress into a room that grows as needed and is not made smaller; the length of the member.
    pub(crate) fn compress(&mut self, piece: &[u8], room: &mut Vec<u8>) -> Result<usize, PackError> {
        let length = match &mut self.libdeflate {
            Some(compressor) => {
                let bound = compressor.gzip_compress_bound(piece.len());
                room.resize(bound.max(room.len()), 0);
                compressor.gzip_compress(piece, room).ok()
            }
            None => igzip::compress(piece, room),
        };
        length.ok_or(PackError::Stopped)
    }
}

/// A piece to compress. Its buffers are used again: memory that is touched for the first time is dear.
struct Job {
    piece: Vec<u8>,
    /// Where the member goes; as long as the longest was.
    room: Vec<u8>,
    answer: SyncSender<Result<Member, PackError>>,
}

/// A compressed piece.
struct Member {
    room: Vec<u8>,
    length: usize,
}

type Answer = Receiver<Result<Member, PackError>>;

/// Buffers that are free again.
struct Spare {
    pieces: Receiver<Vec<u8>>,
    rooms: Receiver<Vec<u8>>,
}

/// Compress what `produce` emits into `out`. `produce` runs on a thread of its own.
pub(super) fn compress<T: Send>(
    settings: &Settings,
    produce: impl FnOnce(&mut Emit<'_>) -> Result<T, PackError> + Send,
    out: &mut dyn Write,
) -> Result<T, PackError> {
    let (jobs, waiting_jobs) = sync_channel::<Job>(settings.threads);
    let (answers, waiting_answers) = sync_channel::<Answer>(settings.threads * 2);
    let (used, pieces) = channel::<Vec<u8>>();
    let (written, rooms) = channel::<Vec<u8>>();
    let spare = Spare { pieces, rooms };
    let waiting_jobs = Mutex::new(waiting_jobs);
    std::thread::scope(|scope| {
        let waiting_jobs = &waiting_jobs;
        for _ in 0..settings.threads {
            let used = used.clone();
            scope.spawn(move || work(settings, waiting_jobs, &used));
        }
        let source = scope.spawn(move || {
            let mut emit = |piece| send(piece, &jobs, &answers, &spare);
            produce(&mut emit)
        });
        let written = write_answers(waiting_answers, &written, out);
        let produced = source
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (produced, written) {
            (Err(PackError::Stopped) | Ok(_), Err(error)) | (Err(error), _) => Err(error),
            (Ok(value), Ok(())) => Ok(value),
        }
    })
}

fn send(
    piece: Vec<u8>,
    jobs: &SyncSender<Job>,
    answers: &SyncSender<Answer>,
    spare: &Spare,
) -> Result<Vec<u8>, PackError> {
    let (answer, waiting) = sync_channel(1);
    answers.send(waiting).map_err(|_| PackError::Stopped)?;
    let room = spare.rooms.try_recv().unwrap_or_default();
    let job = Job { piece, room, answer };
    jobs.send(job).map_err(|_| PackError::Stopped)?;
    Ok(spare.pieces.try_recv().unwrap_or_default())
}

fn work(settings: &Settings, jobs: &Mutex<Receiver<Job>>, used: &Sender<Vec<u8>>) {
    let mut members = MemberWriter::of(settings);
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job {
            piece,
            mut room,
            answer,
        }) = next
        else {
            return;
        };
        let compressed = members.compress(&piece, &mut room);
        let compressed = compressed.map(|length| Member { room, length });
        // Nobody listens any more when writing failed.
        let _ = answer.send(compressed);
        let _ = used.send(piece);
    }
}

/// Write the members in the order of their pieces; what is left is dropped at the first failure.
fn write_answers(
    answers: Receiver<Answer>,
    written: &Sender<Vec<u8>>,
    out: &mut dyn Write,
) -> Result<(), PackError> {
    for answer in answers {
        let Member { room, length } = answer.recv().map_err(|_| PackError::Stopped)??;
        out.write_all(&room[..length]).map_err(PackError::Write)?;
        let _ = written.send(room);
    }
    Ok(())
}
