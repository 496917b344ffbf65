//! Who is banned now: what every request and every socket is looked up in, without a database.
//!
//! Rules:
//! * a ban is of an account, on whatever device, or of a device, whoever uses it;
//! * it ends at its end, by itself, or when it is lifted, which takes it out of the list;
//! * of several bans of one account or device the one that ends last counts.

use std::collections::HashMap;

/// Whom a ban keeps out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Banned {
    /// An account, by its row id.
    Account(i64),
    /// A device, by its public key (SubjectPublicKeyInfo, DER).
    Device(Vec<u8>),
}

/// A ban that was not lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Its number.
    pub id: i64,
    /// Whom it keeps out.
    pub whom: Banned,
    /// Why; shown to the player.
    pub reason: String,
    /// When it ends, unix seconds; none: when it is lifted.
    pub ends: Option<i64>,
}

impl Ban {
    /// Whether it is in force at `now`, unix seconds.
    pub fn holds(&self, now: i64) -> bool {
        self.ends.is_none_or(|ends| ends > now)
    }

    fn lasts_longer(&self, other: &Self) -> bool {
        match (self.ends, other.ends) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(mine), Some(others)) => mine > others,
        }
    }
}

/// All bans that were not lifted.
#[derive(Debug, Clone, Default)]
pub struct BanList {
    longest: HashMap<Banned, Ban>,
}

impl BanList {
    /// The list of these.
    pub fn new(bans: impl IntoIterator<Item = Ban>) -> Self {
        let mut longest: HashMap<Banned, Ban> = HashMap::new();
        for ban in bans {
            match longest.get(&ban.whom) {
                Some(known) if !ban.lasts_longer(known) => {}
                _ => {
                    longest.insert(ban.whom.clone(), ban);
                }
            }
        }
        Self { longest }
    }

    /// The ban of an account or device that is in force at `now`.
    pub fn of(&self, whom: &Banned, now: i64) -> Option<&Ban> {
        self.longest.get(whom).filter(|ban| ban.holds(now))
    }

    /// Who is kept out at `now`.
    pub fn in_force(&self, now: i64) -> impl Iterator<Item = &Ban> {
        self.longest.values().filter(move |ban| ban.holds(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(id: i64, whom: Banned, ends: Option<i64>) -> Ban {
        Ban {
            id,
            whom,
            reason: "botting".into(),
            ends,
        }
    }

    #[test]
    fn a_ban_holds_until_its_end_and_for_nobody_else() {
        let alice = Banned::Account(1);
        let list = BanList::new([ban(1, alice.clone(), Some(100))]);
        assert!(list.of(&alice, 99).is_some());
        assert!(list.of(&alice, 100).is_none());
        assert!(list.of(&Banned::Account(2), 50).is_none());
        // A device's bytes are never an account.
        assert!(list.of(&Banned::Device(vec![1]), 50).is_none());
        assert_eq!(list.in_force(99).count(), 1);
        assert_eq!(list.in_force(100).count(), 0);
    }

    #[test]
    fn of_several_bans_the_one_that_ends_last_counts_in_whatever_order() {
        let device = Banned::Device(vec![7; 44]);
        let mut bans = [
            ban(1, device.clone(), Some(100)),
            ban(2, device.clone(), None),
            ban(3, device.clone(), Some(500)),
        ];
        for _ in 0..3 {
            bans.rotate_left(1);
            let list = BanList::new(bans.clone());
            assert_eq!(list.of(&device, 1000).map(|ban| ban.id), Some(2));
        }
        let list = BanList::new(bans.into_iter().filter(|ban| ban.ends.is_some()));
        assert_eq!(list.of(&device, 400).map(|ban| ban.id), Some(3));
    }
}
