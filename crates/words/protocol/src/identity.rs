//! Who is who: public keys, certificates, and the words that are signed.
//!
//! * The coordinator has an Ed25519 key, the *identity key*. Launchers pin it.
//! * Each install has a *device key*, each endpoint a key of its own. The coordinator certifies them.
//! * A certificate says which account and role a key has, for an hour or so. It proves nothing by
//!   itself: whoever shows it proves the key in the TLS handshake of the session link, or by a
//!   signature.
//!
//! Nothing is signed here and no signature is checked; this is what both sides agree to sign. Every
//! message begins with a context of its own, so that no signature counts for another purpose.
//!
//! # Layout of a certificate, version 1
//! Numbers are big endian. There is one encoding of each certificate; whatever differs is refused.
//!
//! ```text
//! byte 0       version, 1
//! byte 1       role: 1 player, 2 host, 3 game master, 4 operator, 5 endpoint
//! byte 2       rights: bit 0 may host zones; all others 0
//! byte 3..11   account, 0 for an endpoint
//! byte 11..27  serial, random
//! byte 27..59  the certified key, Ed25519 (RFC 8032, 32 bytes)
//! byte 59..67  issued, unix seconds
//! byte 67..75  expires, unix seconds
//! byte 75..83  issuer: the first 8 bytes of the coordinator's key
//! byte 83      length of the name, 1 to 32
//! byte 84..    the name: ASCII letters, digits, `_`, `-` and `.`
//! last 64      the coordinator's signature over the context and everything before it
//! ```

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ProblemCode;
use crate::rest::{AccountRole, MAX_NAME};

/// SubjectPublicKeyInfo of an Ed25519 key in DER: this, then the 32 bytes of the key (RFC 8410,
/// sections 3 and 4).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// Bytes of an Ed25519 signature.
pub const SIGNATURE: usize = 64;
/// Bytes of a certificate before its name.
const FIXED: usize = 84;
/// Longest certificate, bytes.
pub const MAX_CERTIFICATE: usize = FIXED + MAX_NAME + SIGNATURE;
/// Longest that a certificate may be valid, seconds: a week. What is meant to be short-lived is
/// refused when it is not.
pub const MAX_VALIDITY: u64 = 7 * 24 * 3600;
/// The only version.
const VERSION: u8 = 1;

/// An Ed25519 public key. As text it is its SubjectPublicKeyInfo in DER, 88 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9a-fA-F]{88}$"))]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// From the 32 bytes of RFC 8032.
    pub fn from_raw(raw: [u8; 32]) -> Self {
        Self(raw)
    }

    /// From a SubjectPublicKeyInfo in DER; `None` for anything but an Ed25519 key.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        let raw = der.strip_prefix(&ED25519_SPKI)?;
        raw.try_into().ok().map(Self)
    }

    /// From its text; `None` for anything but 88 hex digits of an Ed25519 key.
    pub fn from_hex(text: &str) -> Option<Self> {
        // Bounded before anything is decoded.
        if text.len() != 2 * (ED25519_SPKI.len() + 32) {
            return None;
        }
        Self::from_spki(&hex::decode(text).ok()?)
    }

    /// The 32 bytes of RFC 8032.
    pub fn raw(&self) -> &[u8; 32] {
        &self.0
    }

    /// SubjectPublicKeyInfo in DER, 44 bytes.
    pub fn spki(&self) -> Vec<u8> {
        [&ED25519_SPKI[..], &self.0].concat()
    }

    /// What names it as an issuer.
    pub fn id(&self) -> KeyId {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        KeyId([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.spki()))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text)
            .ok_or_else(|| de::Error::custom("an Ed25519 key in DER, 88 hex digits, is wanted"))
    }
}

/// The first 8 bytes of a key: enough to say which one is meant, never enough to trust it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 8]);

/// Names one certificate. As text, 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serial(pub [u8; 16]);

impl Serial {
    /// From its text; `None` for anything but 32 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What the holder of a certified key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CertificateRole {
    /// A device of a player.
    Player = 1,
    /// A device of an account that may serve zones.
    Host = 2,
    /// A device of a game master.
    Gm = 3,
    /// A device of an operator.
    Admin = 4,
    /// An endpoint: ends session links and dials game servers.
    Endpoint = 5,
}

impl CertificateRole {
    const ALL: [Self; 5] = [
        Self::Player,
        Self::Host,
        Self::Gm,
        Self::Admin,
        Self::Endpoint,
    ];
}

impl From<AccountRole> for CertificateRole {
    fn from(role: AccountRole) -> Self {
        match role {
            AccountRole::Player => Self::Player,
            AccountRole::Host => Self::Host,
            AccountRole::Gm => Self::Gm,
            AccountRole::Admin => Self::Admin,
        }
    }
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Names it.
    pub serial: Serial,
    /// Row id of the account at the coordinator; 0 for an endpoint.
    pub account: u64,
    /// The account's name, or the endpoint's: 1 to 32 ASCII letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// The certified key.
    pub key: PublicKey,
    /// What its holder is.
    pub role: CertificateRole,
    /// Its holder may serve zones.
    pub may_host: bool,
    /// Unix seconds.
    pub issued: u64,
    /// Unix seconds; from then on it counts no more.
    pub expires: u64,
    /// Whose signature it bears.
    pub issuer: KeyId,
}

/// Not a certificate of any version that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate of version 1")]
pub struct BadCertificate;

/// A certificate as it came: read, and nothing of it proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven<'a> {
    /// What it says.
    pub says: Certificate,
    /// The bytes that are signed, without the context.
    pub body: &'a [u8],
    /// The signature over them.
    pub signature: [u8; SIGNATURE],
}

impl Certificate {
    /// The bytes that are signed, without the context.
    ///
    /// # Errors
    /// A name or a validity that no certificate may have.
    pub fn body(&self) -> Result<Vec<u8>, BadCertificate> {
        self.check()?;
        let length = u8::try_from(self.name.len()).map_err(|_| BadCertificate)?;
        let mut body = Vec::with_capacity(FIXED + self.name.len());
        body.extend([VERSION, self.role as u8, u8::from(self.may_host)]);
        body.extend(self.account.to_be_bytes());
        body.extend(self.serial.0);
        body.extend(self.key.0);
        body.extend(self.issued.to_be_bytes());
        body.extend(self.expires.to_be_bytes());
        body.extend(self.issuer.0);
        body.push(length);
        body.extend(self.name.as_bytes());
        Ok(body)
    }

    /// Reads a certificate. Its signature is for the caller to check.
    ///
    /// # Errors
    /// It is not the one encoding of a certificate.
    pub fn read(bytes: &[u8]) -> Result<Unproven<'_>, BadCertificate> {
        if bytes.len() > MAX_CERTIFICATE {
            return Err(BadCertificate);
        }
        let (body, signature) = bytes
            .len()
            .checked_sub(SIGNATURE)
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or(BadCertificate)?;
        let mut rest = body;
        let [version, role, rights] = take(&mut rest)?;
        let role = CertificateRole::ALL
            .into_iter()
            .find(|known| *known as u8 == role);
        let may_host = match rights {
            0 => false,
            1 => true,
            _ => return Err(BadCertificate),
        };
        let says = Self {
            role: role.ok_or(BadCertificate)?,
            may_host,
            account: u64::from_be_bytes(take(&mut rest)?),
            serial: Serial(take(&mut rest)?),
            key: PublicKey(take(&mut rest)?),
            issued: u64::from_be_bytes(take(&mut rest)?),
            expires: u64::from_be_bytes(take(&mut rest)?),
            issuer: KeyId(take(&mut rest)?),
            name: {
                let [length] = take(&mut rest)?;
                if rest.len() != usize::from(length) {
                    return Err(BadCertificate);
                }
                std::str::from_utf8(rest)
                    .map_err(|_| BadCertificate)?
                    .to_owned()
            },
        };
        if version != VERSION {
            return Err(BadCertificate);
        }
        says.check()?;
        Ok(Unproven {
            says,
            body,
            signature: signature.try_into().map_err(|_| BadCertificate)?,
        })
    }

    fn check(&self) -> Result<(), BadCertificate> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let name = (1..=MAX_NAME).contains(&self.name.len()) && self.name.bytes().all(allowed);
        let validity = self.expires.checked_sub(self.issued);
        let validity = validity.is_some_and(|seconds| (1..=MAX_VALIDITY).contains(&seconds));
        // An endpoint is nobody's device, and a device is somebody's.
        let holder = (self.role == CertificateRole::Endpoint) == (self.account == 0);
        if name && validity && holder {
            Ok(())
        } else {
            Err(BadCertificate)
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BadCertificate> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(BadCertificate)?;
    *rest = left;
    Ok(*taken)
}

/// What the coordinator signs of a certificate: `body` is [`Certificate::body`].
pub fn certificate_message(body: &[u8]) -> Vec<u8> {
    [b"warp certificate 1\0", body].concat()
}

/// What the coordinator signs to prove its key to a launcher that made up `nonce`, and to tell it
/// the time (unix seconds).
pub fn identity_message(key: &PublicKey, nonce: &[u8; 16], time: u64) -> Vec<u8> {
    [
        &b"warp coordinator 1\0"[..],
        &key.0,
        nonce,
        &time.to_be_bytes(),
    ]
    .concat()
}

/// What a device signs to be certified: that it asks `coordinator` for `account`, at that time
/// (unix seconds).
pub fn device_message(
    coordinator: &PublicKey,
    account: &str,
    key: &PublicKey,
    time: u64,
) -> Vec<u8> {
    [
        &b"warp device 1\0"[..],
        &coordinator.0,
        &key.0,
        &time.to_be_bytes(),
        account.as_bytes(),
    ]
    .concat()
}

/// Which of the two descriptions of a WebRTC set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DescriptionKind {
    /// The launcher's.
    Offer,
    /// The endpoint's.
    Answer,
}

/// What is signed of a WebRTC description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptionWords<'a> {
    /// Offer or answer.
    pub kind: DescriptionKind,
    /// The session that it is for.
    pub session_id: &'a str,
    /// Number of the offer in its session; each is greater than the one before. An answer has its
    /// offer's.
    pub nonce: u64,
    /// SHA-256 of the description's text: with it ufrag, password and DTLS fingerprint.
    pub sdp: [u8; 32],
    /// SHA-256 of the message of the offer that an answer belongs to; zeros in an offer.
    pub offer: [u8; 32],
}

impl DescriptionWords<'_> {
    /// The bytes that are signed.
    pub fn message(&self) -> Vec<u8> {
        let kind = match self.kind {
            DescriptionKind::Offer => 1,
            DescriptionKind::Answer => 2,
        };
        [
            &b"warp description 1\0"[..],
            &[kind],
            &self.nonce.to_be_bytes(),
            &self.sdp,
            &self.offer,
            // Last, so that its length needs no telling.
            self.session_id.as_bytes(),
        ]
        .concat()
    }
}

/// Why something that claims to be somebody was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RefusedReason {
    /// No certificate, where one is required.
    CertificateMissing,
    /// Not a certificate.
    CertificateMalformed,
    /// Not signed by the coordinator's key.
    CertificateForged,
    /// Valid once.
    CertificateExpired,
    /// Its device was revoked.
    CertificateRevoked,
    /// A good certificate of somebody else: other key, account or role.
    CertificateMisused,
    /// No signature on a WebRTC description, where one is required.
    DescriptionUnsigned,
    /// The signature does not fit the description, the session or the key.
    DescriptionForged,
    /// A description that was used before, or an answer to another offer.
    DescriptionReplayed,
    /// The coordinator did not prove the key that it shows.
    CoordinatorUnproven,
    /// The coordinator's key is not the one that was pinned.
    CoordinatorKeyChanged,
    /// The other end of a session link did not prove its key, or speaks another protocol.
    LinkUnproven,
}

impl RefusedReason {
    /// Every reason, in the order of [`Refusals`].
    pub const ALL: [Self; 12] = [
        Self::CertificateMissing,
        Self::CertificateMalformed,
        Self::CertificateForged,
        Self::CertificateExpired,
        Self::CertificateRevoked,
        Self::CertificateMisused,
        Self::DescriptionUnsigned,
        Self::DescriptionForged,
        Self::DescriptionReplayed,
        Self::CoordinatorUnproven,
        Self::CoordinatorKeyChanged,
        Self::LinkUnproven,
    ];

    /// Stable name, as in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::CertificateMissing => "certificate-missing",
            Self::CertificateMalformed => "certificate-malformed",
            Self::CertificateForged => "certificate-forged",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateRevoked => "certificate-revoked",
            Self::CertificateMisused => "certificate-misused",
            Self::DescriptionUnsigned => "description-unsigned",
            Self::DescriptionForged => "description-forged",
            Self::DescriptionReplayed => "description-replayed",
            Self::CoordinatorUnproven => "coordinator-unproven",
            Self::CoordinatorKeyChanged => "coordinator-key-changed",
            Self::LinkUnproven => "link-unproven",
        }
    }

    /// The problem that a person is told of.
    pub fn problem(self) -> ProblemCode {
        match self {
            Self::CertificateMissing => ProblemCode::CertificateMissing,
            Self::CertificateMalformed | Self::CertificateForged | Self::CertificateMisused => {
                ProblemCode::CertificateInvalid
            }
            Self::CertificateExpired => ProblemCode::CertificateExpired,
            Self::CertificateRevoked => ProblemCode::DeviceRevoked,
            Self::DescriptionUnsigned | Self::DescriptionForged | Self::DescriptionReplayed => {
                ProblemCode::SignalingUntrusted
            }
            Self::CoordinatorUnproven => ProblemCode::CoordinatorUnproven,
            Self::CoordinatorKeyChanged => ProblemCode::CoordinatorKeyChanged,
            Self::LinkUnproven => ProblemCode::EndpointUntrusted,
        }
    }
}

impl fmt::Display for RefusedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each [`RefusedReason`] occurred.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; RefusedReason::ALL.len()]);

impl Refusals {
    /// Counts one, and gives how many there are of that reason now.
    pub fn count(&self, reason: RefusedReason) -> u64 {
        // A reason's place is its place in the list; the cast is that of a unit variant.
        let counter = self.0.get(reason as usize);
        counter.map_or(0, |counter| counter.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Reasons that occurred, with how often.
    pub fn view(&self) -> Vec<(RefusedReason, u64)> {
        let counted = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let all = RefusedReason::ALL.into_iter().zip(counted);
        all.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
#[path = "identity/tests.rs"]
mod tests;
