//! Packets of the game, as the inspector shows them.

use std::time::Duration;

use warp_bridge::{Bridge, Direction, Inspected};
use warp_engine_core::machine::Outcome;
use warp_engine_core::view::{PacketField, PacketView};

/// How often they are told while they are shown.
pub(crate) const EVERY: Duration = Duration::from_millis(250);
/// Most that are told at once; the rest waits in the bridge.
const AT_ONCE: usize = 400;
/// Longest text of a field, characters.
const MAX_FIELD: usize = 400;

/// What passed since the last look; `None`: nothing did.
pub(crate) fn take(bridge: &Bridge) -> Option<Outcome> {
    let (packets, dropped) = bridge.take_inspected(AT_ONCE);
    if packets.is_empty() && dropped == 0 {
        return None;
    }
    let packets = packets.into_iter().map(view).collect();
    Some(Outcome::Packets { packets, dropped })
}

fn view(one: Inspected) -> PacketView {
    let fields = one.packet.fields.iter().map(|field| PacketField {
        name: field.name.to_owned(),
        value: field.value.to_string().chars().take(MAX_FIELD).collect(),
    });
    PacketView {
        n: one.number,
        at_ms: one.at.as_secs_f64() * 1000.0,
        stream: one.n,
        server: one.role,
        client: one.client,
        up: one.direction == Direction::ClientToServer,
        id: format!("{:04X}", one.packet.id),
        name: one.packet.name.map(str::to_owned),
        class: one.packet.class.as_str().to_owned(),
        path: one.path,
        bytes: u32::try_from(one.packet.length).unwrap_or(u32::MAX),
        fields: fields.collect(),
    }
}
