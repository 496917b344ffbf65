//! Who is in a zone, as the coordinator says.

use ring::digest::{Context, SHA256};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::handover::DeviceKey;
use crate::wire::SIGNATURE;

/// A member of a zone, as the coordinator numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u32);

/// A zone of one coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone([u8; 32]);

impl Zone {
    /// `coordinator` tells coordinators apart (its public key), `zone_id` their zones.
    pub fn new(coordinator: &[u8], zone_id: &str) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(b"warp sealing zone 1");
        // Lengths in front, so that no two pairs read the same.
        for part in [coordinator, zone_id.as_bytes()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Self(digest)
    }

    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.0
    }
}

/// One member as the roster has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: MemberId,
    /// Revision of the roster with which it joined; another one is another membership.
    pub joined: u64,
    /// Ed25519 public key of its device, from its certificate.
    pub device: [u8; 32],
    /// X25519 public key of its lane, see [`Lane::member`](crate::Lane::member).
    pub session: [u8; 32],
    /// Ed25519 signature of the device, which says that the session key is this membership's. So
    /// whoever carries a roster cannot put in a key of its own.
    pub voucher: [u8; SIGNATURE],
}

impl Member {
    /// A member as its device signs it.
    pub fn vouched(
        zone: &Zone,
        id: MemberId,
        joined: u64,
        session: [u8; 32],
        device: &DeviceKey,
    ) -> Self {
        Self {
            id,
            joined,
            device: device.public(),
            session,
            voucher: device.sign(&vouched_text(zone, id, joined, &session)),
        }
    }

    /// Whether its device signed it, for this zone.
    pub(crate) fn is_vouched(&self, zone: &Zone) -> bool {
        let text = vouched_text(zone, self.id, self.joined, &self.session);
        UnparsedPublicKey::new(&ED25519, &self.device)
            .verify(&text, &self.voucher)
            .is_ok()
    }
}

fn vouched_text(zone: &Zone, id: MemberId, joined: u64, session: &[u8; 32]) -> Vec<u8> {
    [
        &b"warp sealing session key 1"[..],
        zone.digest(),
        &id.0.to_be_bytes(),
        &joined.to_be_bytes(),
        session,
    ]
    .concat()
}

/// All members of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// Rises when the zone gets another host.
    pub zone_epoch: u32,
    /// Rises with every roster of the zone.
    pub revision: u64,
    /// Everybody, this member too.
    pub members: Vec<Member>,
}

/// A roster that cannot be followed; the lane stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Not newer than the one that is followed.
    #[error("the roster is older than the one in force")]
    Stale,
    /// More members than a lane holds.
    #[error("the roster has more members than a lane holds")]
    TooMany,
    /// A member stands in it twice.
    #[error("the roster names a member twice")]
    Twice,
}
