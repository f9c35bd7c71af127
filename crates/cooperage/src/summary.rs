//! What lists show of an image: a short line of its record, which the store keeps in its view of the names.

use cooper_core::{BlobDigest, Digest, ImageReference, ManifestDigest, Timestamp};
use cooper_store::{ListedEntry, RefRecord};

use crate::record::{FullReference, ImageRecord};
use crate::workshop::{LookupError, Workshop, kept_image};

/// Counts up when the line has other words.
const FORMAT: &str = "2";

/// An image as lists know it, without its record being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) reference: FullReference,
    pub(crate) manifest: ManifestDigest,
    pub(crate) created_at: Timestamp,
    pub(crate) size_bytes: u64,
    pub(crate) python_packages: u64,
    pub(crate) debian_packages: u64,
    pub(crate) inventory: BlobDigest,
    /// The version that it stands on.
    pub(crate) stands_on: Option<FullReference>,
    /// As the request says it.
    pub(crate) base: String,
}

/// The line for a record; empty for one that is not ours, which is then read when it is wanted.
pub(crate) fn line(record: &RefRecord) -> String {
    let details = serde_json::from_value::<ImageRecord>(record.details.clone());
    details.map_or_else(|_| String::new(), |details| line_of(&details))
}

fn line_of(record: &ImageRecord) -> String {
    let ImageRecord {
        size_bytes,
        python_packages,
        debian_packages,
        ..
    } = record;
    let (inventory, base) = (record.inventory.hex(), record.request.base());
    let stands_on = record.base.as_ref().map_or("-".to_owned(), ToString::to_string);
    format!("{FORMAT} {size_bytes} {python_packages} {debian_packages} {inventory} {stands_on} {base}")
}

/// What an entry says, or the name again where it says nothing that we know.
fn parse(reference: FullReference, entry: Option<&ListedEntry>) -> Result<Listed, FullReference> {
    let Some((entry, line)) = entry.and_then(|entry| Some((entry, Line::parse(&entry.summary)?))) else {
        return Err(reference);
    };
    Ok(Listed {
        reference,
        manifest: entry.manifest,
        created_at: entry.created_at,
        size_bytes: line.size_bytes,
        python_packages: line.python_packages,
        debian_packages: line.debian_packages,
        inventory: line.inventory,
        stands_on: line.stands_on,
        base: line.base.to_owned(),
    })
}

/// The words of a line.
struct Line<'a> {
    size_bytes: u64,
    python_packages: u64,
    debian_packages: u64,
    inventory: BlobDigest,
    stands_on: Option<FullReference>,
    base: &'a str,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.splitn(7, ' ');
        if words.next()? != FORMAT {
            return None;
        }
        let mut number = || words.next()?.parse::<u64>().ok();
        let (size_bytes, python_packages, debian_packages) = (number()?, number()?, number()?);
        Some(Self {
            size_bytes,
            python_packages,
            debian_packages,
            inventory: BlobDigest::new(Digest::from_hex(words.next()?).ok()?),
            stands_on: match words.next()? {
                "-" => None,
                text => Some(text.parse::<ImageReference>().ok().and_then(FullReference::of)?),
            },
            base: words.next()?,
        })
    }
}

impl Workshop {
    /// Every version tag of every organisation that `wanted` lets through, by name and ascending version, and why some
    /// could not be read: one damaged record must not hide the others.
    pub(crate) fn listed(
        &self,
        wanted: impl Fn(&FullReference) -> bool,
    ) -> Result<(Vec<Listed>, Vec<LookupError>), LookupError> {
        let names = self.store.list().map_err(|source| LookupError::Store {
            name: "refs".to_owned(),
            source,
        })?;
        let (mut listed, mut unreadable) = (Vec::with_capacity(names.len()), Vec::new());
        for named in names {
            let reference = FullReference {
                organisation: named.organisation,
                name: named.name,
                tag: named.tag,
            };
            if !wanted(&reference) {
                continue;
            }
            match parse(reference, named.entry.as_ref()) {
                Ok(image) => listed.push(image),
                Err(reference) => match self.listed_by_record(&reference) {
                    Ok(image) => listed.extend(image),
                    Err(error) => unreadable.push(error),
                },
            }
        }
        Ok((listed, unreadable))
    }

    /// From the record itself; nothing if it was removed since it was listed.
    fn listed_by_record(&self, reference: &FullReference) -> Result<Option<Listed>, LookupError> {
        let FullReference {
            organisation,
            name,
            tag,
        } = reference;
        let record = self.store.version(organisation, name, tag);
        let record = record.map_err(|source| LookupError::Store {
            name: reference.to_string(),
            source,
        })?;
        let Some(record) = record else {
            return Ok(None);
        };
        let kept = kept_image(organisation, name, tag.clone(), record)?;
        Ok(Some(Listed {
            reference: kept.reference,
            manifest: kept.manifest,
            created_at: kept.created_at,
            size_bytes: kept.record.size_bytes,
            python_packages: kept.record.python_packages,
            debian_packages: kept.record.debian_packages,
            inventory: kept.record.inventory,
            stands_on: kept.record.base.clone().and_then(FullReference::of),
            base: kept.record.request.base().to_string(),
        }))
    }
}
