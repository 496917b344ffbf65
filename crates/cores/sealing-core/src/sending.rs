//! This member's own keys.

use std::time::Instant;

use crate::key::SenderKey;

/// The key in use, and the one that takes its place.
#[derive(Default)]
pub(crate) struct Sending {
    pub(crate) current: Option<Box<SenderKey>>,
    /// Handed over, not used yet; until when it waits.
    pub(crate) next: Option<(Box<SenderKey>, Instant)>,
    /// The last epoch that was given to a key; 0: none.
    pub(crate) last_epoch: u32,
    /// When the newest key was made.
    pub(crate) made_at: Option<Instant>,
    /// Members have joined and wait until then for a key of their own time.
    pub(crate) gather_until: Option<Instant>,
}

impl Sending {
    /// The key that is handed over.
    pub(crate) fn newest(&self) -> Option<&SenderKey> {
        self.next
            .as_ref()
            .map(|(key, _)| key.as_ref())
            .or(self.current.as_deref())
    }

    /// Uses the next key from now on; the one before is wiped.
    pub(crate) fn switch(&mut self) {
        if let Some((key, _)) = self.next.take() {
            self.current = Some(key);
        }
    }

    /// The same, if it has waited long enough.
    pub(crate) fn switch_if_due(&mut self, now: Instant) {
        if matches!(&self.next, Some((_, at)) if now >= *at) {
            self.switch();
        }
    }
}
