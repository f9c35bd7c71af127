//! The text of a `Release` file and its signature.

use std::fmt::Write as _;

use cooper_core::Digest;
use cooper_core::base::{Base, Suite, SuiteKind};
use jiff::Timestamp;

use super::{Flaw, MadeSuite, Signing};
use crate::key::{SignatureOptions, SigningKey};

/// One index file that a `Release` lists.
pub(super) struct Listed {
    path: String,
    size: usize,
    sha256: String,
}

impl Listed {
    pub(super) fn of(path: &str, bytes: &[u8]) -> Self {
        Self {
            path: path.to_owned(),
            size: bytes.len(),
            sha256: Digest::of(bytes).hex(),
        }
    }
}

/// `Sat, 06 Sep 2025 08:00:00 UTC`
fn date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

pub(super) fn text(suite: Suite, made: &MadeSuite, listed: &[Listed]) -> String {
    let (name, version) = match suite.base {
        Base::Bookworm => ("oldstable", "12.12"),
        Base::Trixie => ("stable", "13.1"),
    };
    let (label, suffix) = match suite.kind {
        SuiteKind::Release => ("Debian", ""),
        SuiteKind::Updates => ("Debian", "-updates"),
        SuiteKind::Security => ("Debian-Security", "-security"),
        SuiteKind::Source(_) => ("Source", "-source"),
    };
    let mut text = format!("Origin: Debian\nLabel: {label}\nSuite: {name}{suffix}\n");
    let _ = write!(
        text,
        "Version: {version}\nCodename: {suite}\nDate: {}\n",
        date(made.date)
    );
    if let Some(time) = made.valid_until {
        let _ = writeln!(text, "Valid-Until: {}", date(time));
    }
    if !made.flaws.contains(&Flaw::WithoutByHash) {
        text.push_str("Acquire-By-Hash: yes\n");
    }
    text.push_str("No-Support-for-Architecture-all: Packages\nArchitectures: all amd64\nComponents: main\n");
    text.push_str("Description: made for tests\n");
    let without_sha256 = made.flaws.contains(&Flaw::ReleaseWithoutSha256);
    text.push_str(if without_sha256 { "MD5Sum:\n" } else { "SHA256:\n" });
    for file in listed {
        let digest = if without_sha256 {
            &file.sha256[..32]
        } else {
            &file.sha256
        };
        let _ = writeln!(text, " {digest} {:>8} {}", file.size, file.path);
    }
    text
}

/// The `InRelease` file; none where the suite has none.
pub(super) fn signed(text: &str, made: &MadeSuite) -> Option<String> {
    let options = SignatureOptions {
        made_at: made.date,
        expires_after: None,
        weak: false,
    };
    match &made.signing {
        Signing::By(key) => Some(key.sign_cleartext(text, &options)),
        Signing::Expiring(key, seconds) => Some(key.sign_cleartext(
            text,
            &SignatureOptions {
                expires_after: Some(*seconds),
                ..options
            },
        )),
        Signing::Weak => Some(SigningKey::rsa().sign_cleartext(
            text,
            &SignatureOptions {
                weak: true,
                ..options
            },
        )),
        Signing::Nobody => Some(text.to_owned()),
        Signing::Absent => None,
    }
}
