//! Which images stand on which: a version that is the base of another one is not removed.

use std::collections::{BTreeMap, BTreeSet};

use crate::inspect::InspectError;
use crate::record::FullReference;
use crate::workshop::{LookupError, Workshop};

/// The versions that are a base, each with those that stand on it, sorted.
pub type Standing = BTreeMap<FullReference, Vec<FullReference>>;

/// Why versions are not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Others stand on it.
    #[error("`{image}` is the base of {}", shown(.by))]
    Base {
        /// The version that was to be removed.
        image: FullReference,
        /// Those that stand on it and stay.
        by: Vec<FullReference>,
    },
    /// The names cannot be read or written.
    #[error(transparent)]
    Inspect(#[from] InspectError),
}

/// How many are named.
const SHOWN_MAX: usize = 12;

fn shown(by: &[FullReference]) -> String {
    let mut names: Vec<String> = by.iter().take(SHOWN_MAX).map(|one| format!("`{one}`")).collect();
    if by.len() > SHOWN_MAX {
        names.push(format!("{} others", by.len() - SHOWN_MAX));
    }
    names.join(", ")
}

impl RemoveError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Base { by, .. } => Some(format!(
                "remove what stands on it first, or together with it: `cooper remove {} …`",
                by.first().map(ToString::to_string).unwrap_or_default()
            )),
            Self::Inspect(error) => error.hint(),
        }
    }
}

impl Workshop {
    /// Which versions are the base of which others. A record that cannot be read stands on nothing.
    ///
    /// # Errors
    /// When the names cannot be listed.
    pub fn standing(&self) -> Result<Standing, InspectError> {
        let (images, _) = self.listed(|_| true)?;
        let mut standing = Standing::new();
        for image in images {
            if let Some(base) = image.stands_on {
                standing.entry(base).or_default().push(image.reference);
            }
        }
        Ok(standing)
    }

    /// Remove versions, unless one of them is the base of another that stays; then none is removed.
    ///
    /// # Errors
    /// With those that stand on it; also when a name cannot be removed.
    pub fn remove_all(&self, images: &[FullReference]) -> Result<(), RemoveError> {
        if images.is_empty() {
            return Ok(());
        }
        let going: BTreeSet<&FullReference> = images.iter().collect();
        let standing = self.standing()?;
        for image in images {
            let by = standing.get(image).into_iter().flatten();
            let by: Vec<FullReference> = by.filter(|one| !going.contains(one)).cloned().collect();
            if !by.is_empty() {
                let image = image.clone();
                return Err(RemoveError::Base { image, by });
            }
        }
        self.remove(images)?;
        Ok(())
    }
}

impl From<LookupError> for RemoveError {
    fn from(error: LookupError) -> Self {
        Self::Inspect(error.into())
    }
}
