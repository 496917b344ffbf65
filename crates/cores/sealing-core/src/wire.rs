//! What the bytes mean; the tables stand in the crate's documentation.

use crate::refusal::Refusal;
use crate::roster::{MemberId, Zone};

/// The only version.
pub(crate) const VERSION: u8 = 1;
/// The only suite: X25519, HKDF-SHA256, AES-256-GCM, Ed25519.
pub(crate) const SUITE: u8 = 1;

/// Bytes of an authentication tag of AES-GCM.
pub(crate) const TAG: usize = 16;
/// Bytes of a sealed sender key.
pub(crate) const SEALED_KEY: usize = 32 + TAG;
/// Bytes of an Ed25519 signature.
pub(crate) const SIGNATURE: usize = 64;

const HEAD: usize = 3;
const ZONE_TAG: usize = 8;
/// Version to sender.
const COMMON: usize = HEAD + ZONE_TAG + 4 + 4 + 4;
/// Head of a frame, all of it associated data.
pub(crate) const FRAME_HEAD: usize = COMMON + 8;
/// Head of a message.
pub(crate) const MESSAGE_HEAD: usize = COMMON + 4;

/// Bytes that sealing adds to a payload.
pub const FRAME_OVERHEAD: usize = FRAME_HEAD + TAG;
/// Longest frame, bytes: what a carrier takes as one datagram without the label of a path.
pub const MAX_FRAME: usize = 1200;
/// Longest payload, bytes.
pub const MAX_PAYLOAD: usize = MAX_FRAME - FRAME_OVERHEAD;
/// Bytes of a handover.
pub const HANDOVER_LEN: usize = MESSAGE_HEAD + 32 + SEALED_KEY + SIGNATURE;
/// Bytes of a confirmation.
pub const CONFIRM_LEN: usize = MESSAGE_HEAD + SIGNATURE;

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Frame = 1,
    Handover = 2,
    Confirm = 3,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Frame, Self::Handover, Self::Confirm]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The head that everything has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Common {
    pub(crate) zone: [u8; ZONE_TAG],
    pub(crate) zone_epoch: u32,
    pub(crate) key_epoch: u32,
    pub(crate) sender: MemberId,
}

impl Common {
    fn write(&self, kind: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, kind as u8, SUITE]);
        out.extend_from_slice(&self.zone);
        out.extend_from_slice(&self.zone_epoch.to_be_bytes());
        out.extend_from_slice(&self.key_epoch.to_be_bytes());
        out.extend_from_slice(&self.sender.0.to_be_bytes());
    }

    /// Writes the head of a frame.
    pub(crate) fn write_frame(&self, counter: u64, out: &mut Vec<u8>) {
        self.write(Kind::Frame, out);
        out.extend_from_slice(&counter.to_be_bytes());
    }

    /// Writes the head of a message.
    pub(crate) fn write_message(&self, kind: Kind, recipient: MemberId, out: &mut Vec<u8>) {
        self.write(kind, out);
        out.extend_from_slice(&recipient.0.to_be_bytes());
    }
}

fn array<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..from + N)?.try_into().ok()
}

/// Reads kind and head; of other versions and suites nothing is read.
fn read(bytes: &[u8]) -> Result<(Kind, Common), Refusal> {
    let [version, kind, suite] = array(bytes, 0).ok_or(Refusal::Malformed)?;
    if version != VERSION || suite != SUITE {
        return Err(Refusal::Downgraded);
    }
    let kind = Kind::from_byte(kind).ok_or(Refusal::Malformed)?;
    let common = || {
        Some(Common {
            zone: array(bytes, HEAD)?,
            zone_epoch: u32::from_be_bytes(array(bytes, HEAD + ZONE_TAG)?),
            key_epoch: u32::from_be_bytes(array(bytes, HEAD + ZONE_TAG + 4)?),
            sender: MemberId(u32::from_be_bytes(array(bytes, HEAD + ZONE_TAG + 8)?)),
        })
    };
    Ok((kind, common().ok_or(Refusal::Malformed)?))
}

/// A frame, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) common: Common,
    pub(crate) counter: u64,
    /// All of the head.
    pub(crate) head: &'a [u8],
    pub(crate) sealed: &'a [u8],
    pub(crate) tag: [u8; TAG],
}

impl<'a> Frame<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_FRAME {
            return Err(Refusal::Oversize);
        }
        let (kind, common) = read(bytes)?;
        if kind != Kind::Frame {
            return Err(Refusal::Malformed);
        }
        let apart = || {
            let (head, rest) = bytes.split_at_checked(FRAME_HEAD)?;
            let (sealed, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
            Some(Self {
                common,
                counter: u64::from_be_bytes(array(bytes, COMMON)?),
                head,
                sealed,
                tag: tag.try_into().ok()?,
            })
        };
        apart().ok_or(Refusal::Malformed)
    }
}

/// A handover or a confirmation, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: Kind,
    pub(crate) common: Common,
    pub(crate) recipient: MemberId,
    /// All of the head.
    pub(crate) head: &'a [u8],
    /// A handover's encapsulated key and sealed sender key; empty in a confirmation.
    pub(crate) body: &'a [u8],
    /// What is signed: head and body.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if bytes.len() > HANDOVER_LEN {
            return Err(Refusal::Oversize);
        }
        let (kind, common) = read(bytes)?;
        let length = match kind {
            Kind::Frame => return Err(Refusal::Malformed),
            Kind::Handover => HANDOVER_LEN,
            Kind::Confirm => CONFIRM_LEN,
        };
        if bytes.len() != length {
            return Err(Refusal::Malformed);
        }
        let apart = || {
            let (signed, signature) = bytes.split_at_checked(length - SIGNATURE)?;
            let (head, body) = signed.split_at_checked(MESSAGE_HEAD)?;
            Some(Self {
                kind,
                common,
                recipient: MemberId(u32::from_be_bytes(array(bytes, COMMON)?)),
                head,
                body,
                signed,
                signature,
            })
        };
        apart().ok_or(Refusal::Malformed)
    }
}

impl Zone {
    /// What stands in a head for this zone.
    pub(crate) fn tag(&self) -> [u8; ZONE_TAG] {
        let mut tag = [0; ZONE_TAG];
        tag.copy_from_slice(&self.digest()[..ZONE_TAG]);
        tag
    }
}
