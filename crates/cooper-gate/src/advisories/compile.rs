//! From OSV records to a snapshot.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bytes::Writer;
use super::osv::{Record, RecordError, RecordLimits, clean};
use super::snapshot::{
    ENTRY_BYTES, Header, PACKAGE_BYTES, RECORD_BYTES, RecordData, WITHDRAWN, write_entry, write_record,
};

/// How large a snapshot may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Of each record.
    pub record: RecordLimits,
    /// How many records.
    pub records_max: usize,
    /// Bytes of the snapshot.
    pub snapshot_bytes_max: usize,
    /// How many skipped records are named; all are counted.
    pub named_max: usize,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            record: RecordLimits::default(),
            records_max: 2_000_000,
            snapshot_bytes_max: 1 << 30,
            named_max: 50,
        }
    }
}

/// Why no snapshot was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// More records than one snapshot may have.
    #[error("there are more than {max} records")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// More bytes than one snapshot may have.
    #[error("a snapshot of these records would have more than {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
}

/// A record that was left out, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Skipped {
    /// The record's id or the file's name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What came of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It is in the snapshot.
    Record,
    /// It is about other ecosystems.
    OtherEcosystem,
    /// It is left out.
    Skipped(RecordError),
}

/// What was compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The snapshot: [`super::AdvisorySnapshot::open`] reads it.
    pub bytes: Vec<u8>,
    /// Records and parts of records that were left out, the first of them.
    pub skipped: Vec<Skipped>,
    /// How many there were of those.
    pub skipped_count: u64,
    /// Records that are about other ecosystems alone.
    pub other_ecosystems: u64,
}

/// Compiles records one after the other; the same records give the same bytes in whatever order they come.
#[derive(Debug)]
pub struct Compiler {
    limits: CompileLimits,
    /// Of records with one id, the newest.
    records: BTreeMap<String, Prepared>,
    skipped: Vec<Skipped>,
    skipped_count: u64,
    other_ecosystems: u64,
}

/// A record in the form that it has in the snapshot; of two with one id, the greater one is kept.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Prepared {
    modified: i64,
    withdrawn: bool,
    data: Vec<u8>,
    /// (ecosystem's code, name, entry)
    entries: Vec<(u16, String, Vec<u8>)>,
}

impl Compiler {
    /// Begin.
    pub fn new(limits: CompileLimits) -> Self {
        Self {
            limits,
            records: BTreeMap::new(),
            skipped: Vec::new(),
            skipped_count: 0,
            other_ecosystems: 0,
        }
    }

    /// Take one record; `name` is what it is called where it comes from.
    ///
    /// # Errors
    /// When there are too many. A record that cannot be understood is no error.
    pub fn add(&mut self, name: &str, json: &[u8]) -> Result<Added, CompileError> {
        let record = match Record::parse(json, &self.limits.record) {
            Ok(record) => record,
            Err(RecordError::OtherEcosystem) => {
                self.other_ecosystems += 1;
                return Ok(Added::OtherEcosystem);
            }
            Err(error) => {
                self.skip(name, &error.to_string());
                return Ok(Added::Skipped(error));
            }
        };
        if self.records.len() >= self.limits.records_max {
            let max = self.limits.records_max;
            return Err(CompileError::TooMany { max });
        }
        for problem in &record.problems {
            self.skip(&record.id, problem);
        }
        let (id, prepared) = prepare(record);
        match self.records.get(&id) {
            Some(other) if *other >= prepared => {}
            _ => drop(self.records.insert(id, prepared)),
        }
        Ok(Added::Record)
    }

    fn skip(&mut self, name: &str, reason: &str) {
        self.skipped_count += 1;
        if self.skipped.len() < self.limits.named_max {
            self.skipped.push(Skipped {
                name: clean(name, 200),
                reason: clean(reason, 300),
            });
        }
    }

    /// Make the snapshot.
    ///
    /// # Errors
    /// When it would be too large.
    pub fn finish(self) -> Result<Compiled, CompileError> {
        let max = self.limits.snapshot_bytes_max;
        let bytes = Builder::build(self.records)
            .and_then(Builder::write)
            .filter(|bytes| bytes.len() <= max)
            .ok_or(CompileError::TooLarge { max })?;
        Ok(Compiled {
            bytes,
            skipped: self.skipped,
            skipped_count: self.skipped_count,
            other_ecosystems: self.other_ecosystems,
        })
    }
}

fn prepare(record: Record) -> (String, Prepared) {
    let data = write_record(&RecordData {
        published: record.published.map(cooper_core::Timestamp::as_second),
        aliases: record.aliases,
        covers: record.covers,
        summary: record.summary,
        severity: record.severity,
        references: record.references,
    });
    let entries = record.affected.iter().map(|affected| {
        let entry = write_entry(affected.urgency, &affected.ranges, &affected.versions);
        (affected.ecosystem.code(), affected.name.clone(), entry)
    });
    let prepared = Prepared {
        modified: record.modified.as_second(),
        withdrawn: record.withdrawn,
        data,
        entries: entries.collect(),
    };
    (record.id, prepared)
}

/// Of each package, by ecosystem and name, the records and what they say of it.
type Packages = BTreeMap<(u16, String), Vec<(u32, Vec<u8>)>>;

/// The parts of a snapshot while they grow. Every step is `None` where a number does not fit its field.
#[derive(Default)]
struct Builder {
    packages: Writer,
    entries: Writer,
    records: Writer,
    names: Writer,
    data: Writer,
    withdrawn: u32,
    malicious: u32,
    newest: i64,
}

impl Builder {
    fn build(records: BTreeMap<String, Prepared>) -> Option<Self> {
        let mut builder = Self {
            newest: i64::MIN,
            ..Self::default()
        };
        let mut packages: Packages = BTreeMap::new();
        for (index, (id, prepared)) in records.into_iter().enumerate() {
            let index = u32::try_from(index).ok()?;
            builder.record(&id, &prepared)?;
            for (code, name, entry) in prepared.entries {
                packages.entry((code, name)).or_default().push((index, entry));
            }
        }
        for ((code, name), entries) in &packages {
            builder.package(*code, name, entries)?;
        }
        Some(builder)
    }

    fn record(&mut self, id: &str, prepared: &Prepared) -> Option<()> {
        self.withdrawn += u32::from(prepared.withdrawn);
        self.malicious += u32::from(id.starts_with("MAL-"));
        self.newest = self.newest.max(prepared.modified);
        let (id_offset, id_length) = self.name(id)?;
        let (offset, length) = self.data(&prepared.data)?;
        self.records.u32(id_offset);
        self.records.u16(id_length);
        self.records.u16(if prepared.withdrawn { WITHDRAWN } else { 0 });
        self.records.i64(prepared.modified);
        self.records.u32(offset);
        self.records.u32(length);
        self.records.u32(crc32fast::hash(&prepared.data));
        self.records.u32(0);
        Some(())
    }

    fn package(&mut self, code: u16, name: &str, entries: &[(u32, Vec<u8>)]) -> Option<()> {
        let (offset, length) = self.name(name)?;
        self.packages.u16(code);
        self.packages.u16(length);
        self.packages.u32(offset);
        self.packages
            .u32(u32::try_from(self.entries.0.len() / ENTRY_BYTES).ok()?);
        self.packages.u32(u32::try_from(entries.len()).ok()?);
        for (record, entry) in entries {
            let (offset, length) = self.data(entry)?;
            self.entries.u32(*record);
            self.entries.u32(offset);
            self.entries.u32(length);
            self.entries.u32(crc32fast::hash(entry));
        }
        Some(())
    }

    fn name(&mut self, name: &str) -> Option<(u32, u16)> {
        let place = (
            u32::try_from(self.names.0.len()).ok()?,
            u16::try_from(name.len()).ok()?,
        );
        self.names.0.extend(name.as_bytes());
        Some(place)
    }

    fn data(&mut self, data: &[u8]) -> Option<(u32, u32)> {
        let place = (
            u32::try_from(self.data.0.len()).ok()?,
            u32::try_from(data.len()).ok()?,
        );
        self.data.0.extend(data);
        Some(place)
    }

    fn write(self) -> Option<Vec<u8>> {
        let rows = |table: &Writer, size: usize| u32::try_from(table.0.len() / size).ok();
        let tables = [&self.packages, &self.entries, &self.records, &self.names];
        let mut crc = crc32fast::Hasher::new();
        for table in tables {
            crc.update(&table.0);
        }
        let header = Header {
            packages: rows(&self.packages, PACKAGE_BYTES)?,
            entries: rows(&self.entries, ENTRY_BYTES)?,
            records: rows(&self.records, RECORD_BYTES)?,
            names: rows(&self.names, 1)?,
            data: rows(&self.data, 1)?,
            withdrawn: self.withdrawn,
            malicious: self.malicious,
            newest: self.newest,
            tables_crc: crc.finalize(),
        };
        let mut bytes = header.write();
        for table in tables.into_iter().chain([&self.data]) {
            bytes.extend(&table.0);
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ecosystem::Ecosystem;
    use super::super::snapshot::{AdvisorySnapshot, ReadSnapshotError};
    use super::*;

    fn record(id: &str, modified: &str, rest: &str) -> String {
        format!(r#"{{"id":"{id}","modified":"{modified}T00:00:00Z"{rest}}}"#)
    }

    fn python(name: &str, fixed: &str) -> String {
        format!(
            r#","affected":[{{"package":{{"ecosystem":"PyPI","name":"{name}"}},"ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}},{{"fixed":"{fixed}"}}]}}]}}]"#
        )
    }

    fn compile(records: &[String]) -> Compiled {
        let mut compiler = Compiler::new(CompileLimits::default());
        for record in records {
            compiler.add("a.json", record.as_bytes()).unwrap();
        }
        compiler.finish().unwrap()
    }

    #[test]
    fn the_same_records_give_the_same_bytes_in_any_order() {
        let records = [
            record("PYSEC-1", "2024-01-01", &python("jinja2", "3.1.5")),
            record("PYSEC-2", "2024-01-02", &python("a", "1")),
            record("PYSEC-1", "2024-01-03", &python("jinja2", "3.1.6")),
            record("MAL-1", "2024-01-02", &python("b", "1")),
        ];
        let first = compile(&records);
        let mut turned = records.to_vec();
        turned.reverse();
        assert_eq!(first.bytes, compile(&turned).bytes);
        let counts = AdvisorySnapshot::open(first.bytes).unwrap().counts();
        assert_eq!((counts.records, counts.malicious, counts.packages), (3, 1, 3));
        assert_eq!(
            counts.newest_modified,
            Some("2024-01-03T00:00:00Z".parse().unwrap())
        );
    }

    #[test]
    fn what_is_left_out_is_named_and_counted() {
        let other = r#","affected":[{"package":{"ecosystem":"npm","name":"x"}}]"#;
        let compiled = compile(&[
            record("X-1", "2024-01-01", other),
            "no json".to_owned(),
            record("X-2", "2024-01-01", &python("a", "soon")),
        ]);
        assert_eq!((compiled.skipped_count, compiled.other_ecosystems), (2, 1));
        assert!(
            compiled.skipped[0].reason.starts_with("it is no OSV record"),
            "{:?}",
            compiled.skipped
        );
        assert!(
            compiled.skipped[1].reason.contains("neither versions nor ranges"),
            "{:?}",
            compiled.skipped
        );
    }

    #[test]
    fn too_many_and_too_large_are_errors() {
        let limits = CompileLimits {
            records_max: 1,
            snapshot_bytes_max: 100,
            ..CompileLimits::default()
        };
        let mut compiler = Compiler::new(limits);
        let one = record("X-1", "2024-01-01", &python("a", "1"));
        let two = record("X-2", "2024-01-01", &python("a", "1"));
        assert_eq!(compiler.add("1", one.as_bytes()), Ok(Added::Record));
        assert_eq!(
            compiler.add("2", two.as_bytes()),
            Err(CompileError::TooMany { max: 1 })
        );
        assert_eq!(compiler.finish(), Err(CompileError::TooLarge { max: 100 }));
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let bytes = compile(&[
            record("PYSEC-1", "2024-01-01", &python("jinja2", "3.1.5")),
            record("PYSEC-2", "2024-01-02", &python("a", "1")),
        ])
        .bytes;
        let query = |bytes: Vec<u8>| -> Result<usize, ReadSnapshotError> {
            let snapshot = AdvisorySnapshot::open(bytes)?;
            let mut found = 0;
            for name in ["a", "jinja2"] {
                for (record, _) in snapshot.entries_of(Ecosystem::PyPI, name)? {
                    snapshot.record(record)?.read()?;
                    found += 1;
                }
            }
            Ok(found)
        };
        assert_eq!(query(bytes.clone()), Ok(2));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x20;
            assert!(query(damaged).is_err(), "byte {at}");
            assert!(query(bytes[..at].to_vec()).is_err(), "cut at {at}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(query(longer).is_err());
    }
}
