//! The endpoint's side of a host: whose each slot is, and what of it passes.
//!
//! What a host brings begins with the epoch of a lease and a slot ([`warp_protocol::hosting`]). A
//! datagram passes where its slot has a route of the same epoch, and nowhere else: what a host still
//! forwards under an epoch that is over reaches nobody.

use std::collections::HashMap;

use warp_protocol::hosting::{Forwarded, MAX_MEMBERS};

/// Routes of one host at most; as many members as a host may offer to carry, twice, because an old
/// route may stay a moment beside the new one.
pub const MAX_ROUTES: usize = 2 * MAX_MEMBERS as usize;

/// The host has [`MAX_ROUTES`] routes; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host has as many members as it may have")]
pub struct Full;

/// Why a datagram passes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrouted {
    /// It is no forwarded datagram.
    Malformed,
    /// Its slot is nobody's.
    Nobody,
    /// Its epoch is another than its route's.
    Stale,
}

#[derive(Debug)]
struct Route<T> {
    epoch: u32,
    to: T,
}

/// The routes of one host, by slot; `T` is where a route leads.
#[derive(Debug)]
pub struct Routes<T> {
    by_slot: HashMap<u32, Route<T>>,
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self {
            by_slot: HashMap::new(),
        }
    }
}

impl<T> Routes<T> {
    /// Whether another slot may be routed; one that is may always be routed anew.
    ///
    /// # Errors
    /// [`Full`].
    pub fn admit(&self, slot: u32) -> Result<(), Full> {
        if self.by_slot.len() >= MAX_ROUTES && !self.by_slot.contains_key(&slot) {
            return Err(Full);
        }
        Ok(())
    }

    /// Routes a slot, in place of the route that it had.
    ///
    /// # Errors
    /// [`Full`]; nothing has changed then.
    pub fn put(&mut self, slot: u32, epoch: u32, to: T) -> Result<&mut T, Full> {
        self.admit(slot)?;
        let entry = self.by_slot.entry(slot);
        Ok(&mut entry.insert_entry(Route { epoch, to }).into_mut().to)
    }

    /// Takes a route away.
    pub fn remove(&mut self, slot: u32) -> Option<T> {
        self.by_slot.remove(&slot).map(|route| route.to)
    }

    /// Where a slot leads, and in which epoch.
    pub fn get(&self, slot: u32) -> Option<(u32, &T)> {
        self.by_slot
            .get(&slot)
            .map(|route| (route.epoch, &route.to))
    }

    /// Where a datagram goes that the host brought, and its part behind the head.
    ///
    /// # Errors
    /// [`Unrouted`]: it goes nowhere.
    pub fn find<'a>(&self, framed: &'a [u8]) -> Result<(&T, &'a [u8]), Unrouted> {
        let (head, inner) = Forwarded::split(framed).ok_or(Unrouted::Malformed)?;
        let route = self.by_slot.get(&head.slot).ok_or(Unrouted::Nobody)?;
        if route.epoch != head.epoch {
            return Err(Unrouted::Stale);
        }
        Ok((&route.to, inner))
    }

    /// Where a slot leads, to be changed.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.by_slot.get_mut(&slot).map(|route| &mut route.to)
    }

    /// Keeps those that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.by_slot.retain(|_, route| keep(&route.to));
    }

    /// All, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.by_slot.values_mut().map(|route| &mut route.to)
    }

    /// Takes all away.
    pub fn clear(&mut self) {
        self.by_slot.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn framed(epoch: u32, slot: u32) -> Vec<u8> {
        let mut bytes = Forwarded { epoch, slot }.to_bytes().to_vec();
        bytes.extend_from_slice(b"sealed");
        bytes
    }

    #[test]
    fn only_the_epoch_of_its_route_passes() {
        let mut routes = Routes::default();
        routes.put(7, 3, "anna").unwrap();
        assert_eq!(routes.find(&framed(3, 7)), Ok((&"anna", &b"sealed"[..])));
        assert_eq!(routes.find(&framed(2, 7)), Err(Unrouted::Stale));
        assert_eq!(routes.find(&framed(4, 7)), Err(Unrouted::Stale));
        assert_eq!(routes.find(&framed(3, 8)), Err(Unrouted::Nobody));
        assert_eq!(routes.find(b"short"), Err(Unrouted::Malformed));
        routes.put(7, 4, "bert").unwrap();
        assert_eq!(routes.find(&framed(3, 7)), Err(Unrouted::Stale));
        assert_eq!(routes.find(&framed(4, 7)), Ok((&"bert", &b"sealed"[..])));
        assert_eq!(routes.remove(7), Some("bert"));
        assert_eq!(routes.find(&framed(4, 7)), Err(Unrouted::Nobody));
    }

    #[test]
    fn a_full_table_takes_a_new_route_of_an_old_slot_alone() {
        let mut routes = Routes::default();
        for slot in 0..MAX_ROUTES as u32 {
            routes.put(slot, 1, slot).unwrap();
        }
        assert_eq!(routes.put(MAX_ROUTES as u32, 1, 0), Err(Full));
        assert_eq!(routes.put(0, 2, 9), Ok(&mut 9));
        assert_eq!(routes.get(0), Some((2, &9)));
        routes.retain(|to| *to % 2 == 1);
        assert_eq!(routes.iter_mut().count(), MAX_ROUTES / 2 + 1);
    }
}
