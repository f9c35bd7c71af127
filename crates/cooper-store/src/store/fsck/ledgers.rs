//! The ledgers: every line well formed, the last one ended.

use std::path::Path;

use super::{Check, Fault, FsckError};
use crate::store::file::{Of as _, open_if_there, read_bounded};
use crate::store::ledger::{LEDGER_BYTES_MAX, ends_whole, lines_of};

impl Check<'_> {
    /// Read every ledger under the lock, so that no line is seen half written.
    pub(super) fn ledgers(&mut self) -> Result<(), FsckError> {
        let lock = self.store.lock_ledgers();
        let _none_is_written = lock.map_err(|source| FsckError::Lock { source })?;
        for (name, path) in self.plain_files(&self.store.ledgers_dir())? {
            self.ledger(&name, &path)?;
        }
        Ok(())
    }

    fn ledger(&mut self, name: &str, path: &Path) -> Result<(), FsckError> {
        let Some(mut file) = open_if_there(path)? else {
            return Ok(());
        };
        let Some(bytes) = read_bounded(&mut file, LEDGER_BYTES_MAX).of("read", path)? else {
            let path = path.to_owned();
            self.faults.push(Fault::LargeLedger { path });
            return Ok(());
        };
        let (mut kept, mut unreadable) = (Vec::with_capacity(bytes.len()), Vec::new());
        for (number, line) in lines_of(&bytes) {
            if self.is_line(name, line) {
                kept.extend_from_slice(line);
                kept.push(b'\n');
            } else {
                unreadable.push(number);
            }
        }
        let torn = !ends_whole(&bytes);
        if !torn && unreadable.is_empty() {
            return Ok(());
        }
        let mended = self.options.repair;
        if mended {
            self.store.mend_ledger(name, path, &bytes, &kept)?;
        }
        self.faults.push(Fault::DamagedLedger {
            path: path.to_owned(),
            lines: unreadable,
            torn,
            mended,
        });
        Ok(())
    }

    /// This crate knows that a line is JSON; the caller knows what it says.
    fn is_line(&self, name: &str, line: &[u8]) -> bool {
        match self.options.ledger_check {
            Some(check) => check(name, line),
            None => serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok(),
        }
    }
}
