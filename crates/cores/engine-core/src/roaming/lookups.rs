//! What the coordinator said about maps, and what it is being asked.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long the coordinator's answer for a map counts.
pub const LOOKUP_KEPT: Duration = Duration::from_secs(60);
/// Maps whose answers are kept.
pub const MAX_LOOKUPS: usize = 256;
/// Maps that are asked for at once.
pub const MAX_ASKED: usize = 64;

/// A map's zone, if it has one.
pub(super) type Answer = Option<String>;

/// What is known of a map.
#[derive(Debug, Default)]
struct Lookup {
    /// When the answer came.
    answer: Option<(Duration, Answer)>,
    asking: bool,
}

/// What is to be done about a map.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing: this is known.
    Known(Answer),
    /// It has to be asked for.
    Ask,
    /// It was asked for already.
    Asked,
    /// As many are asked for as may be.
    Busy,
}

/// At most [`MAX_LOOKUPS`] maps, [`MAX_ASKED`] of them being asked for.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    maps: BTreeMap<String, Lookup>,
}

impl Lookups {
    /// Looks, and marks the map as asked for when it has to be.
    pub(super) fn look(&mut self, now: Duration, map: &str) -> Look {
        if let Some(lookup) = self.maps.get(map) {
            match &lookup.answer {
                Some((at, zone)) if now.saturating_sub(*at) < LOOKUP_KEPT => {
                    return Look::Known(zone.clone());
                }
                _ if lookup.asking => return Look::Asked,
                _ => {}
            }
        }
        let asked = self.maps.values().filter(|lookup| lookup.asking).count();
        if asked >= MAX_ASKED {
            return Look::Busy;
        }
        if !self.maps.contains_key(map) {
            self.make_room();
        }
        self.maps.entry(map.to_owned()).or_default().asking = true;
        Look::Ask
    }

    /// Forgets the oldest answer when there are [`MAX_LOOKUPS`].
    fn make_room(&mut self) {
        if self.maps.len() < MAX_LOOKUPS {
            return;
        }
        let settled = self.maps.iter().filter(|(_, lookup)| !lookup.asking);
        let age = |lookup: &Lookup| lookup.answer.as_ref().map(|(at, _)| *at);
        let oldest = settled.min_by_key(|(_, lookup)| age(lookup));
        if let Some(map) = oldest.map(|(map, _)| map.clone()) {
            self.maps.remove(&map);
        }
    }

    /// The answer came.
    pub(super) fn answered(&mut self, now: Duration, map: &str, zone: Answer) {
        if let Some(lookup) = self.maps.get_mut(map) {
            *lookup = Lookup {
                answer: Some((now, zone)),
                asking: false,
            };
        }
    }

    /// None came; gives the last one, however old.
    pub(super) fn failed(&mut self, map: &str) -> Option<Answer> {
        let lookup = self.maps.get_mut(map)?;
        lookup.asking = false;
        let (_, zone) = lookup.answer.as_ref()?;
        Some(zone.clone())
    }

    /// Whether there was ever an answer that is still kept.
    #[cfg(test)]
    pub(super) fn knows(&self, map: &str) -> bool {
        (self.maps.get(map)).is_some_and(|lookup| lookup.answer.is_some())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.maps.len()
    }
}
