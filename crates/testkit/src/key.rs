//! OpenPGP keys that sign made archives. Made from fixed seeds, so that the same archive has the same bytes in
//! every process; their secrets protect nothing.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, Deserializable as _, SignedKeyDetails, SignedSecretKey,
    SignedSecretSubKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::crypto::{ed25519, eddsa_legacy};
use pgp::packet::{
    KeyFlags, PubKeyInner, PublicKey, PublicSubkey, SecretKey, SecretSubkey, SignatureConfig, SignatureType,
    Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize as _;
use pgp::types::{
    KeyDetails, KeyVersion, PacketHeaderVersion, Password, PlainSecretParams, PublicParams, SecretParams,
    SigningKey as PgpSigningKey, Tag,
};

/// When every made key begins to be valid: 2020-01-01T00:00:00Z.
const CREATED: u32 = 1_577_836_800;

/// A key pair: an Ed25519 primary key that certifies, and an Ed25519 subkey that signs, as Debian's keys are.
#[derive(Clone)]
pub struct SigningKey(Arc<SignedSecretKey>);

/// How to sign.
#[derive(Debug, Clone)]
pub struct SignatureOptions {
    /// When the signature is made.
    pub made_at: Timestamp,
    /// The signature says that it is good for so many seconds.
    pub expires_after: Option<u32>,
    /// Sign a SHA-1 digest, which nobody may accept; only [`SigningKey::rsa`] can.
    pub weak: bool,
}

impl SigningKey {
    /// The key that signs made archives unless another is named; made once per process.
    pub fn archive() -> Self {
        static KEY: OnceLock<SigningKey> = OnceLock::new();
        KEY.get_or_init(|| Self::from_seed(1, None)).clone()
    }

    /// A key that nobody trusts.
    pub fn stranger() -> Self {
        static KEY: OnceLock<SigningKey> = OnceLock::new();
        KEY.get_or_init(|| Self::from_seed(2, None)).clone()
    }

    /// An RSA key of 2048 bits with a signing subkey, made once with `GnuPG`; the only one that can sign SHA-1.
    pub fn rsa() -> Self {
        let key = SignedSecretKey::from_bytes(&include_bytes!("key/made-rsa.gpg")[..]);
        Self(Arc::new(key.expect("a key in the file")))
    }

    /// A key made from a seed; with `expires_after`, the key and its subkey expire so many seconds after
    /// 2020-01-01T00:00:00Z.
    pub fn from_seed(seed: u8, expires_after: Option<u32>) -> Self {
        Self(Arc::new(
            make_key(seed, expires_after).expect("a fixed key can be made"),
        ))
    }

    /// The certificate (the public part), binary.
    pub fn certificate(&self) -> Vec<u8> {
        self.0.to_public_key().to_bytes().unwrap()
    }

    /// The certificate, armoured.
    pub fn certificate_armoured(&self) -> String {
        self.0
            .to_public_key()
            .to_armored_string(ArmorOptions::default())
            .unwrap()
    }

    /// The primary key's fingerprint, 40 upper-case hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.0.primary_key.fingerprint())
    }

    /// The signing subkey's fingerprint.
    pub fn subkey_fingerprint(&self) -> String {
        format!("{:X}", self.0.secret_subkeys[0].key.fingerprint())
    }

    /// `text` in the cleartext signature framework, signed by the subkey.
    pub fn sign_cleartext(&self, text: &str, options: &SignatureOptions) -> String {
        let made_at = u32::try_from(options.made_at.as_second()).expect("a date between 1970 and 2106");
        let key = &self.0.secret_subkeys[0].key;
        let mut data = vec![
            SubpacketData::SignatureCreationTime(pgp::types::Timestamp::from_secs(made_at)),
            SubpacketData::IssuerFingerprint(key.fingerprint()),
        ];
        data.extend(
            options
                .expires_after
                .map(|seconds| SubpacketData::SignatureExpirationTime(duration(seconds))),
        );
        let mut config = config(key, SignatureType::Text, data).unwrap();
        if options.weak {
            config.hash_alg = HashAlgorithm::Sha1;
        }
        let message = CleartextSignedMessage::new(text, config, key, &Password::empty()).unwrap();
        message.to_armored_string(ArmorOptions::default()).unwrap()
    }
}

fn duration(seconds: u32) -> pgp::types::Duration {
    pgp::types::Duration::try_from(std::time::Duration::from_secs(u64::from(seconds))).unwrap()
}

fn config(
    key: &impl PgpSigningKey,
    kind: SignatureType,
    data: Vec<SubpacketData>,
) -> pgp::errors::Result<SignatureConfig> {
    let mut config = SignatureConfig::v4(kind, key.algorithm(), HashAlgorithm::Sha256);
    config.hashed_subpackets = data
        .into_iter()
        .map(Subpacket::regular)
        .collect::<Result<_, _>>()?;
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(
        key.legacy_key_id(),
    ))?];
    Ok(config)
}

fn key_material(seed: [u8; 32]) -> pgp::errors::Result<(PubKeyInner, SecretParams)> {
    let secret = ed25519::SecretKey::try_from_bytes(seed, ed25519::Mode::EdDSALegacy)?;
    let public = PublicParams::EdDSALegacy((&secret).into());
    let secret = SecretParams::Plain(PlainSecretParams::EdDSALegacy(eddsa_legacy::SecretKey::Ed25519(
        secret,
    )));
    let created = pgp::types::Timestamp::from_secs(CREATED);
    let public = PubKeyInner::new(
        KeyVersion::V4,
        PublicKeyAlgorithm::EdDSALegacy,
        created,
        None,
        public,
    )?;
    Ok((public, secret))
}

fn make_key(seed: u8, expires_after: Option<u32>) -> pgp::errors::Result<SignedSecretKey> {
    let (public, secret) = key_material([seed; 32])?;
    let primary = SecretKey::new(PublicKey::from_inner(public)?, secret)?;
    let (public, secret) = key_material([seed ^ 0x80; 32])?;
    let subkey = SecretSubkey::new(PublicSubkey::from_inner(public)?, secret)?;
    let details = certify(&primary, seed, expires_after)?;
    let bound = bind(&primary, subkey, expires_after)?;
    Ok(SignedSecretKey::new(primary, details, vec![], vec![bound]))
}

fn self_signature(
    key: &impl PgpSigningKey,
    flags: Option<KeyFlags>,
    expires_after: Option<u32>,
) -> Vec<SubpacketData> {
    let mut data = vec![
        SubpacketData::SignatureCreationTime(pgp::types::Timestamp::from_secs(CREATED)),
        SubpacketData::IssuerFingerprint(key.fingerprint()),
    ];
    data.extend(flags.map(SubpacketData::KeyFlags));
    data.extend(expires_after.map(|seconds| SubpacketData::KeyExpirationTime(duration(seconds))));
    data
}

fn certify(
    primary: &SecretKey,
    seed: u8,
    expires_after: Option<u32>,
) -> pgp::errors::Result<SignedKeyDetails> {
    let user = UserId::from_str(
        PacketHeaderVersion::default(),
        format!("Made Archive {seed} <archive@testkit.invalid>"),
    )?;
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    let data = self_signature(primary, Some(flags), expires_after);
    let signature = config(primary, SignatureType::CertPositive, data)?.sign_certification(
        primary,
        primary.public_key(),
        &Password::empty(),
        Tag::UserId,
        &user,
    )?;
    Ok(SignedKeyDetails::new(
        vec![],
        vec![],
        vec![user.into_signed(signature)],
        vec![],
    ))
}

fn bind(
    primary: &SecretKey,
    subkey: SecretSubkey,
    expires_after: Option<u32>,
) -> pgp::errors::Result<SignedSecretSubKey> {
    let back = config(
        &subkey,
        SignatureType::KeyBinding,
        self_signature(&subkey, None, None),
    )?
    .sign_primary_key_binding(
        &subkey,
        subkey.public_key(),
        &Password::empty(),
        primary.public_key(),
    )?;
    let mut flags = KeyFlags::default();
    flags.set_sign(true);
    let mut data = self_signature(primary, Some(flags), expires_after);
    data.push(SubpacketData::EmbeddedSignature(Box::new(back)));
    let binding = config(primary, SignatureType::SubkeyBinding, data)?.sign_subkey_binding(
        primary,
        primary.public_key(),
        &Password::empty(),
        subkey.public_key(),
    )?;
    Ok(SignedSecretSubKey::new(subkey, vec![binding]))
}
