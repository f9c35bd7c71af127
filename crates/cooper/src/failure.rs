//! What went wrong, ready to be told: one type for every command, rendered once at the edge.

use std::collections::BTreeSet;
use std::error::Error;

use cooper_core::Finding;
use cooperage::chat::ChatError;
use cooperage::{
    CreateError, DiligenceError, EvidenceError, GrantError, InspectError, LoadError, LookupError, OpenError,
    RemoveError, RequirementsFileError, RunError, SaveError, UpdateAdvisoriesError, WaiverError,
};
use serde_json::{Value, json};

use crate::settings::SettingsError;

/// The process's exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    pub(crate) const GOOD: Self = Self(0);
    pub(crate) const FAILURE: Self = Self(1);
    pub(crate) const USAGE: Self = Self(2);
    pub(crate) const REFUSED: Self = Self(3);
    /// A gate could not judge.
    pub(crate) const UNKNOWN: Self = Self(4);
    /// `cooper run` could not run anything: never a status of the script.
    pub(crate) const RUN_FAILED: Self = Self(125);
}

/// The stable name of a kind of failure that begins in this crate; others bring theirs from `cooperage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Usage,
    Configuration,
    UnsupportedHost,
    UserNamespaces,
    SubordinateIds,
    InvalidLock,
    Script,
    Output,
    Of(&'static str),
}

impl Code {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Configuration => "configuration",
            Self::UnsupportedHost => "unsupported-host",
            Self::UserNamespaces => "no-user-namespaces",
            Self::SubordinateIds => "no-subordinate-ids",
            Self::InvalidLock => "invalid-lock",
            Self::Script => "script",
            Self::Output => "output",
            Self::Of(code) => code,
        }
    }
}

/// A failure with all that the user is told of it.
#[derive(Debug)]
pub(crate) struct Failure(Box<Told>);

#[derive(Debug)]
struct Told {
    code: Code,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    findings: Vec<Finding>,
    exit: Exit,
    /// Nobody is listening any more: nothing is told.
    silent: bool,
}

impl Failure {
    /// A failure that begins here.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        let exit = match code {
            Code::Usage | Code::Configuration => Exit::USAGE,
            _ => Exit::FAILURE,
        };
        Self(Box::new(Told {
            code,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            findings: Vec::new(),
            exit,
            silent: false,
        }))
    }

    /// A failure that an error tells.
    pub(crate) fn of(code: Code, error: &(dyn Error + 'static)) -> Self {
        let mut failure = Self::new(code, error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Transparent errors repeat their source.
            if failure.0.causes.last().unwrap_or(&failure.0.message) != &text {
                failure.0.causes.push(text);
            }
            source = cause.source();
        }
        failure
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.0.hint = hint.into();
        self
    }

    /// Add a cause.
    #[must_use]
    pub(crate) fn because(mut self, cause: String) -> Self {
        self.0.causes.push(cause);
        self
    }

    /// Say first what was tried; what was the message is its cause.
    #[must_use]
    pub(crate) fn told(mut self, message: String) -> Self {
        let cause = std::mem::replace(&mut self.0.message, message);
        self.0.causes.insert(0, cause);
        self
    }

    #[must_use]
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.0.exit = exit;
        self
    }

    pub(crate) fn exit_status(&self) -> Exit {
        self.0.exit
    }

    /// What happened, in one sentence.
    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// What happened and why, in one sentence.
    pub(crate) fn sentence(&self) -> String {
        let all = std::iter::once(&self.0.message).chain(&self.0.causes);
        all.cloned().collect::<Vec<_>>().join(": ")
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.0.silent
    }

    /// Say the codes of the findings where the message does not: they are what can be looked up.
    fn name_codes(&mut self) {
        let Told {
            message, findings, ..
        } = &mut *self.0;
        let codes: BTreeSet<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
        let unsaid: Vec<&str> = codes.into_iter().filter(|code| !message.contains(code)).collect();
        if !unsaid.is_empty() {
            *message = format!("{}: {message}", unsaid.join(", "));
        }
    }

    /// Standard output could not be written. When its reader has gone, that is nobody's failure.
    pub(crate) fn output(error: &std::io::Error) -> Self {
        let mut failure = Self::of(Code::Output, error);
        failure.0.message = format!("cannot write to standard output: {}", failure.0.message);
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            failure.0.silent = true;
            failure.0.exit = Exit::GOOD;
        }
        failure
    }

    /// The document for `--json`.
    pub(crate) fn json(&self) -> Value {
        let message =
            std::iter::once(self.0.message.as_str()).chain(self.0.causes.iter().map(String::as_str));
        let message = message.collect::<Vec<_>>().join(": ");
        let mut error = json!({ "code": self.0.code.as_str(), "message": message, "hint": self.0.hint });
        if let (Some(error), false) = (error.as_object_mut(), self.0.findings.is_empty()) {
            error.insert("findings".to_owned(), json!(self.0.findings));
        }
        json!({ "error": error })
    }

    /// The lines for people: `error: …`, `caused by: …`, `hint: …`. Of a run it is one line, among those that the
    /// script may have written.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let Told {
            message,
            causes,
            hint,
            ..
        } = &*self.0;
        if self.0.exit == Exit::RUN_FAILED {
            let mut line = std::iter::once(message)
                .chain(causes)
                .cloned()
                .collect::<Vec<_>>()
                .join(": ");
            if let Some(hint) = hint {
                line = format!("{line} (hint: {hint})");
            }
            return vec![("error", line.lines().map(str::trim).collect::<Vec<_>>().join(" "))];
        }
        let mut lines = vec![("error", message.clone())];
        lines.extend(causes.iter().map(|cause| ("caused by", cause.clone())));
        lines.extend(hint.iter().map(|hint| ("hint", hint.clone())));
        lines
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::of(Code::Configuration, &error).hint(error.hint())
    }
}

impl From<ChatError> for Failure {
    fn from(error: ChatError) -> Self {
        Self::of(Code::Of(error.code()), &error)
            .hint(error.hint())
            .exit(Exit::USAGE)
    }
}

impl From<RequirementsFileError> for Failure {
    fn from(error: RequirementsFileError) -> Self {
        Self::of(Code::Of(error.code()), &error)
            .hint(error.hint())
            .exit(Exit::USAGE)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let code = Code::Of(error.code());
        Self::of(code, &error).hint(error.hint())
    }
}

impl From<LookupError> for Failure {
    fn from(error: LookupError) -> Self {
        Self::of(Code::Of(error.code()), &error).hint(error.hint())
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        Self::of(Code::Of(error.code()), &error).hint(error.hint())
    }
}

impl From<EvidenceError> for Failure {
    fn from(error: EvidenceError) -> Self {
        Self::of(Code::Of(error.code()), &error).hint(error.hint())
    }
}

impl From<UpdateAdvisoriesError> for Failure {
    fn from(error: UpdateAdvisoriesError) -> Self {
        Self::of(Code::Of(error.code()), &error).hint(error.hint())
    }
}

impl From<RemoveError> for Failure {
    fn from(error: RemoveError) -> Self {
        Self::of(Code::Of(error.code()), &error).hint(error.hint())
    }
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        let mut failure = Self::of(Code::Of(error.code()), &error).hint(error.hint());
        failure.0.findings = error.findings();
        if error.is_refusal() {
            failure.0.exit = Exit::REFUSED;
            failure.name_codes();
        }
        if error.is_unjudged() {
            failure.0.exit = Exit::UNKNOWN;
        }
        failure
    }
}

impl From<DiligenceError> for Failure {
    fn from(error: DiligenceError) -> Self {
        Self::of(Code::Of(error.code()), &error).hint(error.hint())
    }
}

impl From<WaiverError> for Failure {
    fn from(error: WaiverError) -> Self {
        let failure = Self::of(Code::Of(error.code()), &error).hint(error.hint());
        match error {
            WaiverError::Ledger(_) => failure,
            _ => failure.exit(Exit::USAGE),
        }
    }
}

impl From<SaveError> for Failure {
    fn from(error: SaveError) -> Self {
        Self::of(Code::Of(error.code()), &error).hint(error.hint())
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::of(Code::Of(error.code()), &error).hint(error.hint())
    }
}

impl From<GrantError> for Failure {
    fn from(error: GrantError) -> Self {
        Self::of(Code::Of(error.code()), &error).hint(error.hint())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::of(Code::Of(error.code()), &error)
            .hint(error.hint())
            .exit(Exit::RUN_FAILED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Middle(#[from] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;

    #[test]
    fn every_cause_is_told_once() {
        let failure = Failure::of(Code::Of("x"), &Outer(Middle(Inner))).hint("do that".to_owned());
        assert_eq!(
            failure.lines(),
            [("error", "outer"), ("caused by", "inner"), ("hint", "do that")]
                .map(|(label, text)| (label, text.to_owned()))
        );
        assert_eq!(failure.json()["error"]["message"], "outer: inner");
        assert_eq!(failure.json()["error"]["hint"], "do that");
        assert_eq!(
            failure.exit(Exit::RUN_FAILED).lines(),
            [("error", "outer: inner (hint: do that)".to_owned())]
        );
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = Failure::output(&std::io::ErrorKind::BrokenPipe.into());
        assert!(gone.is_silent() && gone.exit_status() == Exit::GOOD);
        let full = Failure::output(&std::io::ErrorKind::StorageFull.into());
        assert!(!full.is_silent() && full.exit_status() == Exit::FAILURE);
    }
}
