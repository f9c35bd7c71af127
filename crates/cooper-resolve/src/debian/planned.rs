//! Solutions as they are kept in the cache.

use cooper_core::base::Suite;
use cooper_core::plan::{PlannedDebian, PoolPath, SourcePackage};
use cooper_core::{DebianName, DebianVersion, Digest};
use serde::{Deserialize, Serialize};

use super::solve::Addition;

/// A [`PlannedDebian`] as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptPackage {
    name: DebianName,
    version: DebianVersion,
    architecture: String,
    size: u64,
    sha256: Option<Digest>,
    suite: Suite,
    path: PoolPath,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<SourcePackage>,
}

/// An [`Addition`] as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptAddition {
    packages: Vec<KeptPackage>,
    notes: Vec<String>,
}

impl KeptAddition {
    pub(super) fn of(addition: &Addition) -> Self {
        Self {
            packages: kept(&addition.packages),
            notes: addition.notes.clone(),
        }
    }

    pub(super) fn restore(self) -> Addition {
        Addition {
            packages: restore(self.packages),
            notes: self.notes,
        }
    }
}

pub(super) fn kept(packages: &[PlannedDebian]) -> Vec<KeptPackage> {
    let keep = |planned: &PlannedDebian| {
        let PlannedDebian {
            name,
            version,
            architecture,
            size,
            sha256,
            suite,
            path,
            source,
        } = planned.clone();
        KeptPackage {
            name,
            version,
            architecture,
            size,
            sha256,
            suite,
            path,
            source,
        }
    };
    packages.iter().map(keep).collect()
}

pub(super) fn restore(packages: Vec<KeptPackage>) -> Vec<PlannedDebian> {
    let restore = |kept| {
        let KeptPackage {
            name,
            version,
            architecture,
            size,
            sha256,
            suite,
            path,
            source,
        } = kept;
        PlannedDebian {
            name,
            version,
            architecture,
            size,
            sha256,
            suite,
            path,
            source,
        }
    };
    packages.into_iter().map(restore).collect()
}
