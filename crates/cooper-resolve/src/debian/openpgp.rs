//! The OpenPGP cleartext signature framework (RFC 9580, section 7), as `InRelease` files use it.
//!
//! The frame is taken apart here, so that the text which is hashed is exactly the text which is read
//! afterwards; the mathematics is rPGP's. Stricter than the RFC: nothing before the frame, nothing but white
//! space after it, no headers but `Hash`, no line that begins with an unescaped dash.

use std::io::{BufReader, Cursor};
use std::sync::OnceLock;

use cooper_core::Timestamp;
use pgp::composed::{PublicOrSecret, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Packet, PacketParser, Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails as _, Tag};
use serde::{Deserialize, Serialize};

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";
const KEY_BLOCK: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
/// How many signatures one text may have.
const SIGNATURES_MAX: usize = 32;
/// How many certificates are read from one keyring.
const CERTIFICATES_MAX: usize = 256;

/// The certificates whose signatures count.
#[derive(Debug, Clone)]
pub struct Keyring(Vec<Certificate>);

/// A certificate, and what its own signatures say: checked when it is first asked for, once for all texts.
#[derive(Debug, Clone)]
struct Certificate {
    key: SignedPublicKey,
    primary: OnceLock<Result<OwnWord, &'static str>>,
    /// One for each subkey.
    subkeys: Vec<OnceLock<Result<Expiry, &'static str>>>,
}

/// What a certificate says of its primary key.
#[derive(Debug, Clone, Copy)]
struct OwnWord {
    expiry: Expiry,
    signs: bool,
}

impl Certificate {
    fn new(key: SignedPublicKey) -> Self {
        let subkeys = vec![OnceLock::new(); key.public_subkeys.len()];
        Self {
            key,
            primary: OnceLock::new(),
            subkeys,
        }
    }

    /// When the certificate ends, if the key may be used for signing.
    fn expiry(&self, used: SigningKey) -> Result<Expiry, &'static str> {
        let word = (*self.primary.get_or_init(|| certificate_word(&self.key)))?;
        if used == SigningKey::Primary && !word.signs {
            return Err("the key is not made for signing");
        }
        Ok(word.expiry)
    }

    /// When the key's place in the certificate ends.
    fn key_expiry(&self, used: SigningKey) -> Result<Expiry, &'static str> {
        let SigningKey::Sub(at) = used else {
            return Ok(None);
        };
        match (self.subkeys.get(at), self.key.public_subkeys.get(at)) {
            (Some(known), Some(sub)) => *known.get_or_init(|| subkey_expiry(&self.key, sub)),
            _ => Err("the key is not there"),
        }
    }

    fn fits(&self, used: SigningKey, signature: &Signature, text: &[u8]) -> bool {
        match used {
            SigningKey::Primary => signature.verify(&self.key.primary_key, text).is_ok(),
            SigningKey::Sub(at) => {
                let sub = self.key.public_subkeys.get(at);
                sub.is_some_and(|sub| signature.verify(&sub.key, text).is_ok())
            }
        }
    }
}

/// A good signature of a trusted key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoodSignature {
    /// The fingerprint of the certificate, in upper-case hexadecimal.
    pub certificate: String,
    /// When the signature, the key or its certificate expires, whichever is first.
    pub until: Option<Timestamp>,
}

/// A text with at least one good signature.
#[derive(Debug)]
pub struct SignedText {
    /// What was signed, with line feeds, without trailing white space on any line.
    pub text: String,
    /// Never empty; sorted by certificate, each once.
    pub signatures: Vec<GoodSignature>,
}

/// Why a text is not signed by a trusted key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a cleartext-signed message.
    #[error("it is not a signed text: {0}")]
    Frame(&'static str),
    /// The signature block cannot be read.
    #[error("its signature block cannot be read: {0}")]
    Block(String),
    /// No signature is good.
    #[error("no good signature by a trusted key: {}", .0.join("; "))]
    NoneGood(Vec<String>),
}

impl Keyring {
    /// Read keyrings, binary or armoured. What is no certificate, or of an unknown kind, is passed over.
    pub fn parse(files: &[Vec<u8>]) -> Self {
        let mut certificates = Vec::new();
        for block in files.iter().flat_map(|file| blocks(file)) {
            let Ok((keys, _)) = PublicOrSecret::from_reader_many(Cursor::new(block)) else {
                continue;
            };
            for key in keys.take(CERTIFICATES_MAX) {
                let Ok(PublicOrSecret::Public(certificate)) = key else {
                    continue;
                };
                certificates.push(Certificate::new(certificate));
            }
        }
        Self(certificates)
    }

    /// Whether there is no certificate in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An armoured file may have several blocks after each other; the parser reads one.
fn blocks(file: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = memchr::memmem::find_iter(file, KEY_BLOCK).collect();
    if starts.is_empty() || file.first().is_some_and(|byte| byte & 0x80 != 0) {
        return vec![file];
    }
    let ends = starts.iter().skip(1).copied().chain([file.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &file[*start..end])
        .collect()
}

/// Check a cleartext-signed message and give what was signed.
pub fn verify(bytes: &[u8], keyring: &Keyring, now: Timestamp) -> Result<SignedText, SignatureError> {
    let frame = Frame::split(bytes)?;
    let (mut good, mut reasons) = (Vec::new(), Vec::new());
    for signature in read_signatures(frame.block)? {
        match check_signature(&signature, &frame.hashed, keyring, now) {
            Ok(signature) => good.push(signature),
            Err(reason) => reasons.push(reason),
        }
    }
    if good.is_empty() {
        return Err(SignatureError::NoneGood(reasons));
    }
    good.sort_by(|a, b| {
        a.certificate
            .cmp(&b.certificate)
            .then_with(|| b.until.cmp(&a.until))
    });
    good.dedup_by(|a, b| a.certificate == b.certificate);
    Ok(SignedText {
        text: frame.hashed.replace("\r\n", "\n"),
        signatures: good,
    })
}

/// A cleartext-signed message in its parts.
struct Frame<'a> {
    /// The signed text as it is hashed: lines joined by CR LF, without trailing white space.
    hashed: String,
    /// The armoured signatures.
    block: &'a str,
}

impl<'a> Frame<'a> {
    fn split(bytes: &'a [u8]) -> Result<Self, SignatureError> {
        let wrong = SignatureError::Frame;
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let mut end = 0;
        let mut lines = text.split_inclusive('\n').map(|line| {
            let start = end;
            end += line.len();
            (line.trim_end_matches(['\n', '\r', ' ', '\t']), start)
        });
        if lines.next().map(|(line, _)| line) != Some(BEGIN) {
            return Err(wrong("it does not begin with a signed message"));
        }
        loop {
            match lines.next() {
                Some(("", _)) => break,
                Some((line, _)) if line.starts_with("Hash: ") => {}
                _ => return Err(wrong("it has other headers than `Hash`")),
            }
        }
        let mut hashed = String::with_capacity(text.len());
        let block_start = loop {
            let (line, start) = lines
                .next()
                .ok_or_else(|| wrong("it ends before its signature"))?;
            if line == SIGNATURE {
                break start;
            }
            hashed.push_str(unescape(line).map_err(wrong)?);
            hashed.push_str("\r\n");
        };
        // The line end before the signature is not part of the text.
        hashed.truncate(hashed.len().saturating_sub(2));
        let block = &text[block_start..];
        let block_end = block
            .find(END)
            .ok_or_else(|| wrong("its signature does not end"))?
            + END.len();
        if !block[block_end..].trim_ascii().is_empty() {
            return Err(wrong("there is something after its signature"));
        }
        Ok(Self {
            hashed,
            block: &block[..block_end],
        })
    }
}

/// Take the dash escape off a line whose trailing white space is gone.
fn unescape(line: &str) -> Result<&str, &'static str> {
    if line.contains('\r') {
        return Err("it has a carriage return inside a line");
    }
    match line.strip_prefix('-') {
        None => Ok(line),
        Some("") => Ok(""),
        Some(rest) => rest
            .strip_prefix(' ')
            .ok_or("a line begins with a dash that is not escaped"),
    }
}

fn read_signatures(block: &str) -> Result<Vec<Signature>, SignatureError> {
    let wrong = |reason: String| SignatureError::Block(reason);
    let mut armour = pgp::armor::Dearmor::new(block.as_bytes());
    armour.read_header().map_err(|error| wrong(error.to_string()))?;
    let mut signatures = Vec::new();
    for packet in PacketParser::new(BufReader::new(armour)) {
        match packet {
            Ok(Packet::Signature(signature)) => signatures.push(signature),
            Ok(_) => return Err(wrong("it has other packets than signatures".to_owned())),
            Err(error) => return Err(wrong(error.to_string())),
        }
        if signatures.len() > SIGNATURES_MAX {
            return Err(wrong(format!("it has more than {SIGNATURES_MAX} signatures")));
        }
    }
    Ok(signatures)
}

/// A key of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SigningKey {
    Primary,
    /// The subkey at this place.
    Sub(usize),
}

fn check_signature(
    signature: &Signature,
    text: &str,
    keyring: &Keyring,
    now: Timestamp,
) -> Result<GoodSignature, String> {
    let made_by = issuer(signature).ok_or("a signature that names no key")?;
    let about = |reason: &str| format!("signature by key {made_by}: {reason}");
    if signature.typ() != Some(SignatureType::Text) {
        return Err(about("it is not a signature on a text"));
    }
    if !is_strong(signature) {
        let hash = signature
            .hash_alg()
            .map_or("an unknown hash".to_owned(), |hash| hash.to_string());
        return Err(about(&format!("it is made with {hash}, which is too weak")));
    }
    let (certificate, key) = find_key(signature, keyring).ok_or_else(|| about("the key is not trusted"))?;
    if !certificate.fits(key, signature, text.as_bytes()) {
        return Err(about("it does not fit the text"));
    }
    let ends = [
        expiry(
            signature.created(),
            signature.signature_expiration_time(),
            "the signature",
        ),
        certificate.expiry(key).map_err(&about)?,
        certificate.key_expiry(key).map_err(&about)?,
    ];
    let first = ends.into_iter().flatten().min();
    if let Some((until, what)) = first.filter(|(until, _)| *until <= now) {
        return Err(about(&format!("{what} expired at {until}")));
    }
    let fingerprint = certificate.key.primary_key.fingerprint();
    let fingerprint = fingerprint.to_string().to_uppercase();
    Ok(GoodSignature {
        certificate: fingerprint,
        until: first.map(|(until, _)| until),
    })
}

/// The key that a signature says it is made by, for messages.
fn issuer(signature: &Signature) -> Option<String> {
    let fingerprint = signature.issuer_fingerprint().first().map(ToString::to_string);
    let id = || signature.issuer_key_id().first().map(ToString::to_string);
    fingerprint.or_else(id).map(|text| text.to_uppercase())
}

fn is_strong(signature: &Signature) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    matches!(
        signature.hash_alg(),
        Some(Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512)
    )
}

fn find_key<'a>(signature: &Signature, keyring: &'a Keyring) -> Option<(&'a Certificate, SigningKey)> {
    let (fingerprints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
    let made_by = |fingerprint, id| {
        if fingerprints.is_empty() {
            ids.contains(&&id)
        } else {
            fingerprints.contains(&&fingerprint)
        }
    };
    keyring.0.iter().find_map(|certificate| {
        let primary = &certificate.key.primary_key;
        if made_by(primary.fingerprint(), primary.legacy_key_id()) {
            return Some((certificate, SigningKey::Primary));
        }
        let mut sub = certificate.key.public_subkeys.iter();
        let at = sub.position(|sub| made_by(sub.key.fingerprint(), sub.key.legacy_key_id()))?;
        Some((certificate, SigningKey::Sub(at)))
    })
}

type Expiry = Option<(Timestamp, &'static str)>;

/// When something that was made at `created` and holds for `duration` ends; no duration or zero is never.
fn expiry(
    created: Option<pgp::types::Timestamp>,
    duration: Option<pgp::types::Duration>,
    what: &'static str,
) -> Expiry {
    let seconds = duration
        .map(pgp::types::Duration::as_secs)
        .filter(|seconds| *seconds > 0)?;
    let created = created.map_or(0, pgp::types::Timestamp::as_secs);
    Timestamp::from_second(i64::from(created) + i64::from(seconds))
        .ok()
        .map(|until| (until, what))
}

/// When the certificate ends and whether its primary key signs, by its newest self-signature.
fn certificate_word(certificate: &SignedPublicKey) -> Result<OwnWord, &'static str> {
    let (primary, details) = (&certificate.primary_key, &certificate.details);
    if details
        .revocation_signatures
        .iter()
        .any(|revocation| revocation.verify_key(primary).is_ok())
    {
        return Err("the key is revoked");
    }
    let direct = details
        .direct_signatures
        .iter()
        .filter(|signature| signature.verify_key(primary).is_ok());
    let mut newest: Option<&Signature> = None;
    let mut consider = |signature| {
        if newest.is_none_or(|newest: &Signature| newest.created() <= Signature::created(signature)) {
            newest = Some(signature);
        }
    };
    direct
        .filter(|signature| is_strong(signature))
        .for_each(&mut consider);
    for user in &details.users {
        let own = |signature: &&Signature| {
            is_from(signature, certificate)
                && signature
                    .verify_certification(primary, Tag::UserId, &user.id)
                    .is_ok()
        };
        let (revoking, certifying): (Vec<_>, Vec<_>) = user
            .signatures
            .iter()
            .filter(own)
            .partition(|signature| !signature.is_certification());
        if revoking.is_empty() {
            certifying
                .into_iter()
                .filter(|signature| is_strong(signature))
                .for_each(&mut consider);
        }
    }
    let newest = newest.ok_or("the key has no valid self-signature")?;
    Ok(OwnWord {
        expiry: expiry(
            Some(primary.created_at()),
            newest.key_expiration_time(),
            "the key",
        ),
        signs: !says_not_for_signing(newest),
    })
}

/// When a subkey ends, by its newest binding.
fn subkey_expiry(certificate: &SignedPublicKey, sub: &SignedPublicSubKey) -> Result<Expiry, &'static str> {
    let primary = &certificate.primary_key;
    let of_type = |typ| {
        let ours = sub
            .signatures
            .iter()
            .filter(move |signature| signature.typ() == Some(typ));
        ours.filter(|signature| signature.verify_subkey_binding(primary, &sub.key).is_ok())
    };
    if of_type(SignatureType::SubkeyRevocation).next().is_some() {
        return Err("the key is revoked");
    }
    let bound_back = |binding: &&Signature| {
        let back = binding.embedded_signature();
        back.is_some_and(|back| back.verify_primary_key_binding(&sub.key, primary).is_ok())
    };
    let bindings = of_type(SignatureType::SubkeyBinding).filter(|binding| is_strong(binding));
    let newest = bindings
        .max_by_key(|binding| binding.created())
        .ok_or("the key is not bound to its certificate")?;
    if !newest.key_flags().sign() {
        return Err("the key is not made for signing");
    }
    if !bound_back(&newest) {
        return Err("the key does not confirm that it belongs to its certificate");
    }
    Ok(expiry(
        Some(sub.key.created_at()),
        newest.key_expiration_time(),
        "the key",
    ))
}

fn is_from(signature: &Signature, certificate: &SignedPublicKey) -> bool {
    let (fingerprint, id) = (
        certificate.primary_key.fingerprint(),
        certificate.primary_key.legacy_key_id(),
    );
    signature.issuer_fingerprint().contains(&&fingerprint) || signature.issuer_key_id().contains(&&id)
}

/// It has key flags, and signing is not among them.
fn says_not_for_signing(signature: &Signature) -> bool {
    let packets = signature
        .config()
        .into_iter()
        .flat_map(pgp::packet::SignatureConfig::hashed_subpackets);
    let has_flags = packets
        .into_iter()
        .any(|packet| matches!(packet.data, SubpacketData::KeyFlags(_)));
    has_flags && !signature.key_flags().sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(body: &str) -> String {
        format!("{BEGIN}\nHash: SHA512\n\n{body}\n{SIGNATURE}\n\nAAAA\n{END}\n")
    }

    #[test]
    fn the_hashed_text_is_unescaped_and_has_no_trailing_space() {
        let text = framed("Origin: Debian \t\n- -----BEGIN\n\n- - x\nlast");
        let frame = Frame::split(text.as_bytes()).unwrap();
        assert_eq!(frame.hashed, "Origin: Debian\r\n-----BEGIN\r\n\r\n- x\r\nlast");
        assert!(frame.block.starts_with(SIGNATURE) && frame.block.ends_with(END));
        let crlf = text.replace('\n', "\r\n");
        assert_eq!(Frame::split(crlf.as_bytes()).unwrap().hashed, frame.hashed);
    }

    #[test]
    fn anything_outside_the_frame_is_refused() {
        let good = framed("Origin: Debian");
        let cases = [
            format!("Origin: Evil\n{good}"),
            format!("\n{good}"),
            format!("{good}Origin: Evil\n"),
            format!("{good}{good}"),
            good.replace("Hash: SHA512", "Comment: x"),
            good.replace("Hash: SHA512\n", "Hash: SHA512\nOrigin: Evil\n"),
            good.replace("Origin: Debian", "-----BEGIN PGP SIGNED MESSAGE-----"),
            good.replace("Origin: Debian", "-Origin: Debian"),
            good.replace("Origin: Debian", "a\rb"),
            good.replace(END, ""),
            good.replace(SIGNATURE, ""),
            String::new(),
            "Origin: Debian\n".to_owned(),
        ];
        for case in cases {
            let refused = Frame::split(case.as_bytes()).is_err();
            assert!(refused, "{case}");
        }
        assert!(Frame::split(&[0xff, 0xfe]).is_err());
    }
}
