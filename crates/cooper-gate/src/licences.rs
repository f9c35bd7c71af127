//! Licences: what a package says about its licence, read into an SPDX expression, and judged by rules.
//!
//! The flow: [`PythonLicenceEvidence`] or [`DebianLicenceEvidence`], collected by whoever holds the artefact, becomes a
//! [`LicenceAnswer`] ([`of_python`], [`of_debian`]), which [`judge`] holds against [`LicenceRules`]. Answers depend on the
//! evidence alone, so they can be kept by the artefact's digest; judgements depend on the rules too.
//!
//! A licence is an *expression*: of a choice one branch must be accepted, of a sum every one. Names are read whole, never
//! searched for inside of words, and what nobody states is a finding, not a pass.

mod answer;
mod debian;
mod expression;
mod names;
mod notices;
mod paths;
mod python;
mod reading;
mod rules;
mod tables;
mod texts;
mod words;

pub use answer::{LicenceAnswer, LicenceSource, LicenceStatement, Sureness};
pub use debian::{DebianLicenceEvidence, of_debian};
pub use expression::{EXPRESSION_BYTES_MAX, LicenceExpression, LicenceTerm, ParseExpressionError};
pub use python::{LICENCE_FILES_MAX, LicenceFile, PythonLicenceEvidence, of_python};
pub use rules::{LicenceCode, LicenceJudgement, LicenceRules, LicenceVerdict, judge};
pub use texts::prepare;
pub use words::TEXT_BYTES_MAX;
