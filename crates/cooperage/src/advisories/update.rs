//! Bringing the evidence up to date.

use std::path::PathBuf;

use cooper_core::progress::Stage;
use cooper_core::{BlobDigest, Digest, Progress, Timestamp};
use cooper_gate::advisories::Skipped;
use cooper_store::{Pin, ReadBlobError, Scratch, Validators};
use url::Url;

use super::compile::{MadePart, SINGLE_RECORDS, of_content, of_records};
use super::error::{SourceFault, UpdateAdvisoriesError};
use super::gather::{Candidate, Fetched, files};
use super::manifest::{
    EvidenceKind, FORMAT, KnownPart, Manifest, ManifestPart, NAME, PARTS_MAX, PartDetails, PinDetails,
};
use super::recognise::{Content, TEXT_BYTES_MAX, digest, recognise};
use crate::workshop::Workshop;

/// Where evidence is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvidenceFrom {
    /// The configured addresses.
    Addresses,
    /// These files, and the files in these folders.
    Paths(Vec<PathBuf>),
}

/// What came of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceOutcome {
    /// New content.
    New {
        /// How many records there were before; `None` where there was nothing.
        records_before: Option<u64>,
    },
    /// As it was the last time: nothing was compiled.
    Unchanged,
}

/// A source that gave evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatedSource {
    /// An address, or a file's name.
    pub source: String,
    /// Which part it is.
    pub key: String,
    /// What it is.
    pub kind: EvidenceKind,
    /// Records, entries, scores, names or statements.
    pub records: u64,
    /// What came of it.
    pub outcome: SourceOutcome,
    /// What was left out, the first of it.
    pub skipped: Vec<Skipped>,
    /// How much was left out.
    pub skipped_count: u64,
}

/// A source that gave none: what there was of it stays.
#[derive(Debug)]
pub struct FailedSource {
    /// An address, or a file's name.
    pub source: String,
    /// Why.
    pub fault: SourceFault,
}

/// What an update did.
#[derive(Debug)]
pub struct AdvisoriesUpdate {
    /// The evidence's digest now; `None` where there is none at all.
    pub evidence: Option<BlobDigest>,
    /// And before.
    pub before: Option<BlobDigest>,
    /// The sources that gave evidence, in their order.
    pub updated: Vec<UpdatedSource>,
    /// Those that failed.
    pub failed: Vec<FailedSource>,
    /// Files in folders that are nothing that is known.
    pub unrecognised: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// An update under way.
struct Update<'a> {
    workshop: &'a Workshop,
    /// Accept what is fewer or older.
    replace: bool,
    known: Vec<KnownPart>,
    /// What takes the place of parts with the same key.
    new: Vec<KnownPart>,
    done: AdvisoriesUpdate,
    now: Timestamp,
}

impl Workshop {
    /// Bring the evidence up to date. `replace` accepts a source that has lost records or is older than before.
    ///
    /// # Errors
    /// When nothing can be read or kept at all. What fails of one source is in the result, and what there was of it stays.
    pub fn update_advisories(
        &self,
        from: &EvidenceFrom,
        replace: bool,
        progress: &Progress,
    ) -> Result<AdvisoriesUpdate, UpdateAdvisoriesError> {
        let _one_at_a_time = self.store.lock(NAME).map_err(UpdateAdvisoriesError::Lock)?;
        let mut notes = Vec::new();
        let current = self.current_evidence().unwrap_or_else(|error| {
            tracing::warn!(%error, "the evidence that there was cannot be used");
            notes.push(format!(
                "the evidence that there was cannot be used ({error}): it is made anew"
            ));
            None
        });
        let (before, mut known) = current.map_or((None, Vec::new()), |(digest, known)| (Some(digest), known));
        known.retain(|known| {
            let whole = self.store.open_checked_blob(&known.part.blob);
            if let Err(error) = &whole {
                notes.push(format!("{} was lost ({error}): it is made anew", known.part.key));
            }
            whole.is_ok()
        });
        let mut update = Update {
            workshop: self,
            replace,
            known,
            new: Vec::new(),
            done: AdvisoriesUpdate {
                evidence: before,
                before,
                updated: Vec::new(),
                failed: Vec::new(),
                unrecognised: Vec::new(),
                notes,
            },
            now: self.now(),
        };
        match from {
            EvidenceFrom::Addresses => update.addresses(progress)?,
            EvidenceFrom::Paths(paths) => update.paths(&files(paths)?, progress)?,
        }
        update.finish()
    }
}

impl Update<'_> {
    fn addresses(&mut self, progress: &Progress) -> Result<(), UpdateAdvisoriesError> {
        let workshop = self.workshop;
        let urls = &workshop.config.evidence;
        if urls.is_empty() {
            return Err(UpdateAdvisoriesError::NoSource);
        }
        let scratch = workshop.store.scratch().map_err(UpdateAdvisoriesError::Stage)?;
        progress.started(Stage::Download, urls.len() as u64, 0);
        for url in urls {
            progress.detail(Stage::Download, url.host_str().unwrap_or_default());
            if let Err(fault) = self.address(url, &scratch, progress)? {
                self.fail(shown(url), fault);
            }
            progress.advanced(Stage::Download, 1, 0);
        }
        progress.finished(Stage::Download);
        Ok(())
    }

    fn address(
        &mut self,
        url: &Url,
        scratch: &Scratch,
        progress: &Progress,
    ) -> Result<Result<(), SourceFault>, UpdateAdvisoriesError> {
        let origin = shown(url);
        let known = self
            .known
            .iter()
            .find(|known| known.details.origin == origin)
            .cloned();
        let validators = known.as_ref().map(|known| known.details.validators.clone());
        let workshop = self.workshop;
        let fetched = workshop.fetch_evidence(url, validators.unwrap_or_default(), scratch, progress);
        match (fetched, known) {
            (Err(fault), _) => Ok(Err(fault)),
            (Ok(Fetched::Unchanged), Some(known)) => {
                self.unchanged(known, None);
                Ok(Ok(()))
            }
            (Ok(Fetched::Unchanged), None) => Ok(Err(SourceFault::Unrecognised)),
            (Ok(Fetched::File { path, validators }), _) => {
                let file = Candidate { path, named: true };
                self.file(&file, origin, validators)
            }
        }
    }

    /// Loose records become one part together, everything else one each.
    fn paths(&mut self, files: &[Candidate], progress: &Progress) -> Result<(), UpdateAdvisoriesError> {
        let mut records = Vec::new();
        let mut record_bytes = 0;
        progress.started(Stage::Check, files.len() as u64, 0);
        for file in files {
            progress.advanced(Stage::Check, 1, 0);
            let origin = file_name(file);
            if let Ok(Content::Record(json)) = recognise(&file.path) {
                record_bytes += json.len() as u64;
                if record_bytes <= TEXT_BYTES_MAX {
                    records.push((origin, json));
                }
                continue;
            }
            match self.file(file, origin.clone(), Validators::default())? {
                Ok(()) => {}
                Err(SourceFault::Unrecognised) if !file.named => self.done.unrecognised.push(origin),
                Err(fault) => self.fail(origin, fault),
            }
        }
        progress.finished(Stage::Check);
        if records.is_empty() {
            return Ok(());
        }
        let origin = match records.as_slice() {
            [(name, _)] => name.clone(),
            _ => format!("{} files with a record each", records.len()),
        };
        let kept = if record_bytes > TEXT_BYTES_MAX {
            Err(SourceFault::TooLarge {
                what: "bytes",
                max: TEXT_BYTES_MAX,
            })
        } else {
            self.records(&records, origin.clone())?
        };
        if let Err(fault) = kept {
            self.fail(origin, fault);
        }
        Ok(())
    }

    fn records(
        &mut self,
        records: &[(String, Vec<u8>)],
        origin: String,
    ) -> Result<Result<(), SourceFault>, UpdateAdvisoriesError> {
        let digests: Vec<String> = records.iter().map(|(_, json)| Digest::of(json).hex()).collect();
        let source = Digest::of(digests.concat().as_bytes());
        if let Some(known) = self
            .known
            .iter()
            .find(|known| known.details.source == source)
            .cloned()
        {
            self.unchanged(known, Some((origin, Validators::default())));
            return Ok(Ok(()));
        }
        match of_records(records) {
            Ok(made) => self.keep(made, origin, source, Validators::default()),
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// One file: as it was, or compiled.
    fn file(
        &mut self,
        file: &Candidate,
        origin: String,
        validators: Validators,
    ) -> Result<Result<(), SourceFault>, UpdateAdvisoriesError> {
        let source = match digest(&file.path) {
            Ok(source) => source,
            Err(fault) => return Ok(Err(fault)),
        };
        let same = |known: &&KnownPart| known.details.source == source;
        if let Some(known) = self.known.iter().find(same).cloned() {
            self.unchanged(known, Some((origin, validators)));
            return Ok(Ok(()));
        }
        match recognise(&file.path).and_then(of_content) {
            Ok(made) => self.keep(made, origin, source, validators),
            Err(fault) => Ok(Err(fault)),
        }
    }

    fn fail(&mut self, source: String, fault: SourceFault) {
        self.done.failed.push(FailedSource { source, fault });
    }

    fn unchanged(&mut self, mut known: KnownPart, from: Option<(String, Validators)>) {
        known.details.checked_at = self.now;
        if let Some((origin, validators)) = from {
            (known.details.origin, known.details.validators) = (origin, validators);
        }
        self.tell(&known, SourceOutcome::Unchanged);
        self.new.push(known);
    }

    fn keep(
        &mut self,
        made: MadePart,
        origin: String,
        source: Digest,
        validators: Validators,
    ) -> Result<Result<(), SourceFault>, UpdateAdvisoriesError> {
        let before: Vec<&KnownPart> = self
            .known
            .iter()
            .filter(|known| known.part.key == made.key)
            .collect();
        let records_before = before.iter().map(|known| known.part.records).max();
        let dated_before = before.iter().filter_map(|known| known.part.as_of).max();
        if let Some(fault) = self.suspicious(&made, records_before, dated_before) {
            return Ok(Err(fault));
        }
        let blob = self.put(&made.bytes);
        let known = KnownPart {
            part: ManifestPart {
                key: made.key,
                kind: made.kind,
                blob: blob?,
                bytes: made.bytes.len() as u64,
                records: made.records,
                withdrawn: made.withdrawn,
                malicious: made.malicious,
                packages: made.packages,
                as_of: made.as_of,
            },
            details: PartDetails {
                origin,
                source,
                validators,
                fetched_at: self.now,
                checked_at: self.now,
                skipped: made.skipped,
                skipped_count: made.skipped_count,
            },
        };
        self.tell(&known, SourceOutcome::New { records_before });
        self.new.push(known);
        Ok(Ok(()))
    }

    /// What no honest source does.
    fn suspicious(
        &self,
        made: &MadePart,
        records: Option<u64>,
        dated: Option<Timestamp>,
    ) -> Option<SourceFault> {
        if self.replace || made.kind == EvidenceKind::Vex || made.key == SINGLE_RECORDS {
            return None;
        }
        if let Some(before) = records.filter(|before| made.records < before / 2) {
            let now = made.records;
            return Some(SourceFault::Fewer { before, now });
        }
        let older = |before: &Timestamp| made.as_of.is_some_and(|now| now < *before);
        let before = dated.filter(older)?;
        made.as_of.map(|now| SourceFault::Older { before, now })
    }

    fn tell(&mut self, known: &KnownPart, outcome: SourceOutcome) {
        self.done.updated.push(UpdatedSource {
            source: known.details.origin.clone(),
            key: known.part.key.clone(),
            kind: known.part.kind,
            records: known.part.records,
            outcome,
            skipped: known.details.skipped.clone(),
            skipped_count: known.details.skipped_count,
        });
    }

    /// Put the new parts in the place of the old ones, all at once.
    fn finish(mut self) -> Result<AdvisoriesUpdate, UpdateAdvisoriesError> {
        if self.new.is_empty() {
            return Ok(self.done);
        }
        let is_replaced = |known: &KnownPart| self.new.iter().any(|new| new.part.key == known.part.key);
        let mut parts: Vec<KnownPart> = self
            .known
            .iter()
            .filter(|known| !is_replaced(known))
            .cloned()
            .collect();
        parts.append(&mut self.new);
        parts.sort_by(|a, b| (&a.part.key, a.part.blob).cmp(&(&b.part.key, b.part.blob)));
        parts.dedup_by(|a, b| (&a.part.key, a.part.blob) == (&b.part.key, b.part.blob));
        if parts.len() > PARTS_MAX {
            return Err(UpdateAdvisoriesError::TooManyParts { max: PARTS_MAX });
        }
        for known in &parts {
            let dated = known.dated();
            if dated.as_second() > self.now.as_second() + 24 * 60 * 60 {
                let now = self.now;
                self.done.notes.push(format!(
                    "{} is of {dated}, and this host's clock says {now}: one of the two is wrong",
                    known.part.key
                ));
            }
        }
        let (parts, details): (Vec<_>, Vec<_>) =
            parts.into_iter().map(|known| (known.part, known.details)).unzip();
        self.done.evidence = Some(self.pin(parts, details)?);
        Ok(self.done)
    }

    /// Keep these bytes; what is damaged under their name goes out of the way.
    fn put(&self, bytes: &[u8]) -> Result<BlobDigest, UpdateAdvisoriesError> {
        let store = &self.workshop.store;
        let digest = BlobDigest::of(bytes);
        if let Err(ReadBlobError::Corrupted { .. }) = store.open_checked_blob(&digest) {
            store
                .set_aside_blob(&digest)
                .map_err(UpdateAdvisoriesError::Keep)?;
        }
        store.put_blob(bytes).map_err(UpdateAdvisoriesError::Keep)
    }

    fn pin(
        &self,
        parts: Vec<ManifestPart>,
        details: Vec<PartDetails>,
    ) -> Result<BlobDigest, UpdateAdvisoriesError> {
        let store = &self.workshop.store;
        let blobs: Vec<BlobDigest> = parts.iter().map(|part| part.blob).collect();
        let manifest = Manifest {
            cooper_evidence: FORMAT,
            parts,
        };
        let text = serde_json::to_vec(&manifest).map_err(UpdateAdvisoriesError::Manifest)?;
        let evidence = self.put(&text)?;
        let details = PinDetails {
            evidence,
            parts: details,
        };
        let pin = Pin {
            blobs: std::iter::once(evidence).chain(blobs).collect(),
            details: serde_json::to_value(details).map_err(UpdateAdvisoriesError::Manifest)?,
        };
        store.set_pin(NAME, &pin).map_err(UpdateAdvisoriesError::Pin)?;
        Ok(evidence)
    }
}

fn file_name(file: &Candidate) -> String {
    let name = file.path.file_name().unwrap_or(file.path.as_os_str());
    name.to_string_lossy().chars().take(200).collect()
}

/// An address without a password.
fn shown(url: &Url) -> String {
    crate::public_address(url).to_string()
}
