//! What is found out about the licence of one package, and from where.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::expression::LicenceExpression;

/// Where a statement about a licence stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "name")]
pub enum LicenceSource {
    /// The core metadata field `License-Expression` (PEP 639).
    LicenseExpression,
    /// A licence file of the distribution, by its path.
    LicenceFile(String),
    /// A trove classifier.
    Classifier,
    /// The core metadata field `License`.
    LicenseField,
    /// A machine-readable Debian copyright file (DEP-5).
    Dep5,
    /// The text of a Debian copyright file.
    CopyrightText,
}

impl fmt::Display for LicenceSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LicenseExpression => formatter.write_str("License-Expression"),
            Self::LicenceFile(path) => write!(formatter, "licence file {path}"),
            Self::Classifier => formatter.write_str("classifier"),
            Self::LicenseField => formatter.write_str("License field"),
            Self::Dep5 => formatter.write_str("DEP-5"),
            Self::CopyrightText => formatter.write_str("text"),
        }
    }
}

/// How sure an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sureness {
    /// It was concluded: a name that nearly always means this, a text with unusual changes, one source against another.
    Low,
    /// A name in our table, or a text that is that of the licence but for names.
    High,
    /// The package says it in SPDX, or in the machine-readable form of its archive.
    Exact,
}

impl Sureness {
    /// `exact`, `high` or `low`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::High => "high",
            Self::Low => "low",
        }
    }
}

/// What one source says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenceStatement {
    /// The source.
    pub source: LicenceSource,
    /// Its words, cut to one line.
    pub said: String,
    /// The licence that it names.
    pub read_as: Option<LicenceExpression>,
    /// How it was read: how much of a text is there, that a name is vague, that a file was cut.
    pub note: Option<String>,
}

/// The licence of a package, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenceAnswer {
    /// The licence of the package's own work; none where no source tells.
    pub expression: Option<LicenceExpression>,
    /// The source that decided.
    pub source: Option<LicenceSource>,
    /// How sure it is; [`Sureness::Low`] without an expression.
    pub sureness: Sureness,
    /// The licences of what else the package carries: bundled libraries, files with other licences.
    pub others: Option<LicenceExpression>,
    /// What every source says, the deciding one among them.
    pub statements: Vec<LicenceStatement>,
    /// Where sources name licences that do not go together, a sentence each.
    pub contradictions: Vec<String>,
}

impl LicenceAnswer {
    /// No source says anything at all.
    pub(crate) fn silent() -> Self {
        Self {
            expression: None,
            source: None,
            sureness: Sureness::Low,
            others: None,
            statements: Vec::new(),
            contradictions: Vec::new(),
        }
    }

    /// Whether no source says anything: not even something that is not understood.
    pub fn is_missing(&self) -> bool {
        self.expression.is_none() && self.statements.is_empty()
    }

    /// What a verdict rests on alone: where a licence is known and nothing contradicts it, the single statements only explain
    /// it.
    #[must_use]
    pub fn for_verdict(mut self) -> Self {
        if self.expression.is_some() && self.contradictions.is_empty() {
            self.statements = Vec::new();
        }
        self
    }
}
