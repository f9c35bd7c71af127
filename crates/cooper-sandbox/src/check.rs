//! The answers of a doctor: what was looked at, how it is, and what helps.

use std::fmt;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// A stable name.
    pub code: &'static str,
    /// How it is.
    pub state: State,
    /// What was found, in one sentence.
    pub told: String,
    /// A command or an edit that helps, where there is one.
    pub remedy: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// Something optional that is not there.
    Absent,
    /// It works, and holds less than it could.
    Weak,
    /// Something needs it that does not work without.
    Bad,
}

impl State {
    /// The state's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Absent => "absent",
            Self::Weak => "weak",
            Self::Bad => "bad",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Check {
    /// An answer without a remedy.
    pub fn new(code: &'static str, state: State, told: impl Into<String>) -> Self {
        Self {
            code,
            state,
            told: told.into(),
            remedy: None,
        }
    }

    /// Good if it holds, else bad.
    pub fn holds(code: &'static str, holds: bool, told: impl Into<String>) -> Self {
        Self::new(code, if holds { State::Good } else { State::Bad }, told)
    }

    /// With what helps, unless it is good.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        if self.state != State::Good {
            self.remedy = Some(remedy.into());
        }
        self
    }
}
