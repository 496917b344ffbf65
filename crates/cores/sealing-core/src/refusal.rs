//! Why something of another member is not taken.

use serde::{Deserialize, Serialize};

/// Why a frame, a message or a member is refused. Codes are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Too short for its kind, or of no kind that exists.
    Malformed,
    /// Longer than its kind may be.
    Oversize,
    /// A version or suite that is not the one of this release: there is nothing weaker to go back to.
    Downgraded,
    /// Of another zone.
    CrossZone,
    /// Of a zone epoch that is over.
    StaleZoneEpoch,
    /// This member's own, sent back to it.
    Reflected,
    /// A message for another member.
    Misdirected,
    /// The sender is not a member, or no longer.
    UnknownSender,
    /// A key that was not handed over (yet), or a zone epoch that was not heard of (yet).
    UnknownEpoch,
    /// A key that is older than this side still has, or ever had.
    Expired,
    /// Its counter is below the replay window.
    TooOld,
    /// Seen before.
    Replayed,
    /// Not what the sender sealed or signed.
    Tampered,
    /// A member of a roster whose session key its device did not sign. It is not taken for a member.
    Unvouched,
}

impl Refusal {
    /// Every refusal, in the order of [`Refusals`].
    pub const ALL: [Self; 14] = [
        Self::Malformed,
        Self::Oversize,
        Self::Downgraded,
        Self::CrossZone,
        Self::StaleZoneEpoch,
        Self::Reflected,
        Self::Misdirected,
        Self::UnknownSender,
        Self::UnknownEpoch,
        Self::Expired,
        Self::TooOld,
        Self::Replayed,
        Self::Tampered,
        Self::Unvouched,
    ];

    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Oversize => "oversize",
            Self::Downgraded => "downgraded",
            Self::CrossZone => "cross-zone",
            Self::StaleZoneEpoch => "stale-zone-epoch",
            Self::Reflected => "reflected",
            Self::Misdirected => "misdirected",
            Self::UnknownSender => "unknown-sender",
            Self::UnknownEpoch => "unknown-epoch",
            Self::Expired => "expired",
            Self::TooOld => "too-old",
            Self::Replayed => "replayed",
            Self::Tampered => "tampered",
            Self::Unvouched => "unvouched",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for Refusal {}

/// How often each refusal has happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusals([u64; Refusal::ALL.len()]);

impl Refusals {
    pub(crate) fn count(&mut self, refusal: Refusal) {
        self.0[refusal as usize] += 1;
    }

    /// How often this one.
    pub fn of(&self, refusal: Refusal) -> u64 {
        self.0[refusal as usize]
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_own_place_and_code() {
        let mut refusals = Refusals::default();
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, place);
            refusals.count(refusal);
            assert_eq!(refusals.of(refusal), 1);
            let twins = Refusal::ALL.iter().filter(|r| r.code() == refusal.code());
            assert_eq!(twins.count(), 1, "{refusal}");
        }
        assert_eq!(refusals.total(), Refusal::ALL.len() as u64);
    }
}
