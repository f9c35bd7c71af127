//! Why nothing was run, for whoever asked.

/// Why nothing was run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotRun {
    /// Why.
    pub reason: String,
    /// What to do about it, where there is something.
    pub hint: Option<String>,
}

impl NotRun {
    /// With what to do about it.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl<T: Into<String>> From<T> for NotRun {
    fn from(reason: T) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
        }
    }
}
