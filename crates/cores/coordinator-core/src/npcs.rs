//! What is known of the NPCs of each zone, and what of it is to be told.
//!
//! * A state is an object of at most [`MAX_STATE`] bytes as JSON; `null` says that the NPC is gone.
//! * Only what differs from what was known is told. A new timestamp alone is no difference, because the
//!   AI service writes the time of the answer there.
//! * A zone has at most [`MAX_NPCS`] NPCs, and what is told of it fits into few signals: each is below
//!   half of what a signaling frame may hold.

use std::collections::BTreeMap;

use serde_json::Value;
use warp_protocol::signal::{MAX_SIGNAL, NpcView, ServerSignal};

/// NPCs of one zone.
pub const MAX_NPCS: usize = 64;

/// Longest state, bytes of JSON.
pub const MAX_STATE: usize = 8 * 1024;

/// Longest id, bytes.
pub const MAX_NPC_ID: usize = 128;

/// Longest timestamp, bytes.
const MAX_TIMESTAMP: usize = 64;

/// JSON of the states in one signal, bytes.
const MAX_TOLD: usize = MAX_SIGNAL / 2;

/// Why a state was not taken; nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NpcRefused {
    /// The id is not one.
    #[error("an `npc_id` is 1 to {MAX_NPC_ID} bytes without control characters")]
    BadId,
    /// The state is not one.
    #[error("a `state` is an object of at most {MAX_STATE} bytes, or null")]
    BadState,
    /// The zone has as many as it may.
    #[error("a zone has at most {MAX_NPCS} NPCs")]
    TooMany,
}

/// The NPCs of all zones.
#[derive(Debug, Default)]
pub struct NpcTable {
    zones: BTreeMap<String, BTreeMap<String, NpcView>>,
}

impl NpcTable {
    /// Takes what was said of NPCs of a zone. Gives those that are others than before, each once.
    ///
    /// # Errors
    /// One of them cannot be; then none is taken.
    pub fn put(&mut self, zone_id: &str, npcs: Vec<NpcView>) -> Result<Vec<NpcView>, NpcRefused> {
        npcs.iter().try_for_each(check)?;
        let known = self.zones.get(zone_id);
        let mut after = known.cloned().unwrap_or_default();
        let mut changed = BTreeMap::new();
        for mut npc in npcs {
            npc.timestamp = npc.timestamp.filter(|text| text.len() <= MAX_TIMESTAMP);
            let before = after.get(&npc.npc_id);
            let same = match before {
                Some(before) => before.state == npc.state,
                None => npc.state.is_null(),
            };
            if same {
                continue;
            }
            if npc.state.is_null() {
                after.remove(&npc.npc_id);
            } else {
                after.insert(npc.npc_id.clone(), npc.clone());
            }
            changed.insert(npc.npc_id.clone(), npc);
        }
        if after.len() > MAX_NPCS {
            return Err(NpcRefused::TooMany);
        }
        if after.is_empty() {
            self.zones.remove(zone_id);
        } else if !changed.is_empty() {
            self.zones.insert(zone_id.to_owned(), after);
        }
        Ok(changed.into_values().collect())
    }

    /// All NPCs of a zone.
    pub fn all(&self, zone_id: &str) -> Vec<NpcView> {
        let npcs = self.zones.get(zone_id).into_iter();
        npcs.flat_map(BTreeMap::values).cloned().collect()
    }
}

/// The signals that tell of NPCs; none of them is longer than a frame may be.
pub fn signals(zone_id: &str, npcs: Vec<NpcView>) -> Vec<ServerSignal> {
    let mut parts: Vec<Vec<NpcView>> = Vec::new();
    let mut room = 0;
    for npc in npcs {
        let size = size_of(&npc.state) + npc.npc_id.len() + MAX_TIMESTAMP;
        match parts.last_mut() {
            Some(part) if size <= room => part.push(npc),
            _ => {
                room = MAX_TOLD;
                parts.push(vec![npc]);
            }
        }
        room = room.saturating_sub(size);
    }
    let signal = |npcs| ServerSignal::NpcState {
        zone_id: zone_id.to_owned(),
        npcs,
    };
    parts.into_iter().map(signal).collect()
}

fn check(npc: &NpcView) -> Result<(), NpcRefused> {
    let id = &npc.npc_id;
    if id.is_empty() || id.len() > MAX_NPC_ID || id.chars().any(char::is_control) {
        return Err(NpcRefused::BadId);
    }
    let fits = npc.state.is_null() || npc.state.is_object() && size_of(&npc.state) <= MAX_STATE;
    fits.then_some(()).ok_or(NpcRefused::BadState)
}

fn size_of(value: &Value) -> usize {
    // A `Value` always has a JSON form.
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn npc(id: &str, state: Value) -> NpcView {
        NpcView {
            npc_id: id.to_owned(),
            state,
            timestamp: None,
        }
    }

    #[test]
    fn only_what_differs_is_told() {
        let mut table = NpcTable::default();
        let at = |x| npc("smith", json!({"x": x}));
        assert_eq!(table.put("z", vec![at(1)]).unwrap(), [at(1)]);
        let mut later = at(1);
        later.timestamp = Some("later".to_owned());
        assert!(table.put("z", vec![later]).unwrap().is_empty());
        assert_eq!(table.put("z", vec![at(2), at(3)]).unwrap(), [at(3)]);
        assert_eq!(table.all("z"), [at(3)]);
        assert!(table.all("other").is_empty());
        let gone = npc("smith", Value::Null);
        assert_eq!(
            table.put("z", vec![gone.clone()]).unwrap(),
            std::slice::from_ref(&gone)
        );
        assert!(table.put("z", vec![gone]).unwrap().is_empty());
        assert!(table.all("z").is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        let mut table = NpcTable::default();
        let fine = || npc("fine", json!({}));
        for (wrong, why) in [
            (npc("", json!({})), NpcRefused::BadId),
            (npc(&"x".repeat(129), json!({})), NpcRefused::BadId),
            (npc("a\nb", json!({})), NpcRefused::BadId),
            (npc("a", json!([1])), NpcRefused::BadState),
            (npc("a", json!("text")), NpcRefused::BadState),
            (
                npc("a", json!({"x": "y".repeat(MAX_STATE)})),
                NpcRefused::BadState,
            ),
        ] {
            assert_eq!(table.put("z", vec![fine(), wrong]), Err(why));
            assert!(table.all("z").is_empty());
        }
        let many = (0..=MAX_NPCS).map(|n| npc(&n.to_string(), json!({})));
        assert_eq!(table.put("z", many.collect()), Err(NpcRefused::TooMany));
        assert!(table.all("z").is_empty());
    }

    #[test]
    fn a_full_zone_is_told_in_frames_that_fit() {
        let full = json!({"text": "\u{1}".repeat(MAX_STATE / 6 - 10)});
        assert!(size_of(&full) <= MAX_STATE);
        let npcs: Vec<NpcView> = (0..MAX_NPCS)
            .map(|n| npc(&format!("{n}"), full.clone()))
            .collect();
        let signals = signals("z", npcs);
        assert!(signals.len() < 24, "they fit into one mailbox");
        let mut told = 0;
        for signal in &signals {
            assert!(serde_json::to_string(signal).unwrap().len() <= MAX_SIGNAL);
            if let ServerSignal::NpcState { npcs, .. } = signal {
                told += npcs.len();
            }
        }
        assert_eq!(told, MAX_NPCS);
    }
}
