//! What a lane keeps of another member.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::key::ReceiverKey;
use crate::refusal::Refusal;
use crate::roster::Member;
use crate::wire::HANDOVER_LEN;

/// Keys of one sender that are kept at once: the newest, and those that it replaced less than the
/// overlap ago. A fifth takes the place of the oldest.
pub const MAX_KEYS: usize = 4;

/// Time until a handover that was not confirmed is sent again; it doubles with every try.
const RESEND_FIRST: Duration = Duration::from_millis(250);
/// The longest it comes to.
const RESEND_LAST: Duration = Duration::from_secs(8);

/// A handover on its way.
pub(crate) struct Pending {
    /// Made when it is first sent.
    pub(crate) message: Option<Vec<u8>>,
    /// When it is to be sent (again).
    pub(crate) next: Instant,
    wait: Duration,
}

impl Pending {
    fn new(now: Instant) -> Self {
        Self {
            message: None,
            next: now,
            wait: RESEND_FIRST,
        }
    }

    pub(crate) fn sent(&mut self, now: Instant) {
        self.next = now + self.wait;
        self.wait = (self.wait * 2).min(RESEND_LAST);
    }
}

/// A key of the other member.
struct Held {
    /// Boxed, so that moving it leaves no copy behind.
    key: Box<ReceiverKey>,
    /// Set when a newer one has come.
    drop_at: Option<Instant>,
}

/// Another member.
pub(crate) struct Peer {
    pub(crate) member: Member,
    /// Oldest first, at most [`MAX_KEYS`].
    keys: VecDeque<Held>,
    /// Epoch of the newest key that was ever taken, and the digest of the handover it came in.
    newest: Option<(u32, [u8; 32])>,
    /// It has not confirmed the newest key of this member.
    pub(crate) pending: Option<Pending>,
    /// It is to be told that its newest key has come.
    pub(crate) owed: Option<u32>,
}

/// Bytes of one member at most, with everything that belongs to it.
pub const PEER_BUDGET: usize = size_of::<Peer>()
    + MAX_KEYS * (size_of::<Held>() + size_of::<ReceiverKey>())
    + HANDOVER_LEN
    + 4;

impl Peer {
    pub(crate) fn new(member: Member) -> Self {
        Self {
            member,
            // All that it will ever need.
            keys: VecDeque::with_capacity(MAX_KEYS),
            newest: None,
            pending: None,
            owed: None,
        }
    }

    /// A new key of this member has to go there; an older one on its way is forgotten.
    pub(crate) fn owe_key(&mut self, now: Instant) {
        self.pending = Some(Pending::new(now));
    }

    /// The key for a frame.
    pub(crate) fn key(&mut self, epoch: u32, now: Instant) -> Result<&mut ReceiverKey, Refusal> {
        let newest = self.newest.map_or(0, |(newest, _)| newest);
        self.keys
            .iter_mut()
            .find(|held| held.key.epoch == epoch && held.drop_at.is_none_or(|at| now < at))
            .map(|held| held.key.as_mut())
            .ok_or(if epoch > newest {
                Refusal::UnknownEpoch
            } else {
                Refusal::Expired
            })
    }

    /// What a handover of this epoch is: `Ok(true)` a new key, `Ok(false)` the newest once more.
    pub(crate) fn judge(&self, epoch: u32, digest: &[u8; 32]) -> Result<bool, Refusal> {
        match &self.newest {
            Some((newest, known)) if *newest == epoch => {
                if known == digest {
                    Ok(false)
                } else {
                    Err(Refusal::Replayed)
                }
            }
            Some((newest, _)) if *newest > epoch => Err(Refusal::Expired),
            // Epochs begin with 1.
            _ if epoch == 0 => Err(Refusal::Expired),
            _ => Ok(true),
        }
    }

    /// Takes a new key; the one before it goes at `drop_at`.
    pub(crate) fn take(&mut self, key: Box<ReceiverKey>, digest: [u8; 32], drop_at: Instant) {
        if let Some(last) = self.keys.back_mut() {
            last.drop_at = Some(drop_at);
        }
        if self.keys.len() == MAX_KEYS {
            self.keys.pop_front();
        }
        self.newest = Some((key.epoch, digest));
        self.keys.push_back(Held { key, drop_at: None });
    }

    /// Drops keys whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.keys
            .retain(|held| held.drop_at.is_none_or(|at| now < at));
    }

    /// Forgets all keys of the member, but not which was its newest.
    pub(crate) fn drop_keys(&mut self) {
        self.keys.clear();
        self.owed = None;
    }

    /// The earliest end of a key, or the next sending.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        let keys = self.keys.iter().filter_map(|held| held.drop_at);
        keys.chain(self.pending.as_ref().map(|pending| pending.next))
    }

    /// Keys that are held.
    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Bytes, with everything that belongs to it.
    pub(crate) fn bytes(&self) -> usize {
        let message = self.pending.as_ref().and_then(|p| p.message.as_ref());
        size_of::<Self>()
            + self.keys.capacity() * size_of::<Held>()
            + self.keys.len() * size_of::<ReceiverKey>()
            + message.map_or(0, Vec::capacity)
    }
}
