//! A stream that is read by a thread of its own, ahead of who uses it.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, sync_channel};

const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait to be used.
const AHEAD: usize = 4;

/// The reading end.
pub(super) struct Ahead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    used: usize,
}

/// Read `stream` in another thread while `work` uses it.
pub(super) fn ahead<T>(mut stream: impl Read + Send, work: impl FnOnce(Ahead) -> T) -> T {
    let (full, pieces) = sync_channel(AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            loop {
                let mut piece = Vec::with_capacity(PIECE_BYTES);
                let read = stream.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece);
                let is_last = !matches!(read, Ok(1..));
                // Nobody listens any more when the work has ended before the stream.
                if full.send(read.map(|_| piece)).is_err() || is_last {
                    return;
                }
            }
        });
        work(Ahead {
            pieces,
            piece: Vec::new(),
            used: 0,
        })
    })
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.piece.len() {
            // The thread has ended after an empty piece, or an error: nothing more comes.
            self.piece = self.pieces.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
            self.used = 0;
        }
        Ok(&self.piece[self.used..])
    }

    fn consume(&mut self, length: usize) {
        self.used = self.piece.len().min(self.used + length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_comes_whole_and_may_be_left() {
        let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut found = Vec::new();
        ahead(bytes.as_slice(), |mut stream| stream.read_to_end(&mut found)).unwrap();
        assert!(found == bytes);
        let first = ahead(bytes.as_slice(), |mut stream| {
            let mut first = [0; 8];
            stream.read_exact(&mut first).map(|()| first)
        });
        assert_eq!(first.unwrap(), [0, 0, 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn an_error_comes_after_what_was_read() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::InvalidData.into())
            }
        }
        let read = ahead(b"abc".chain(Broken), |mut stream| {
            stream.read_to_end(&mut Vec::new())
        });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
