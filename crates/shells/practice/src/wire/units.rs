//! Units as others see them: standing, just appeared, walking (09FF, 09FE, 09FD since 2015).
//!
//! Offsets: ro-protocol section 4.3, checked against recordings in the tests below; older versions
//! lack some of the fields.

use warp_ro_packet::coords::{pack_move, pack_pos, unpack_move, unpack_pos};

use super::{Dialect, Fields, Packet, id_of};
use crate::game::{Account, Map, Portal};

/// The posture field of a unit that stands there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posture {
    Standing = 0,
    Sitting = 2,
}

/// A unit's looks: the fields that do not change while it is in sight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looks {
    pub(crate) kind: u8,
    pub(crate) id: u32,
    pub(crate) gid: u32,
    pub(crate) speed: u16,
    pub(crate) class: u16,
    pub(crate) hair: u16,
    pub(crate) hair_colour: u16,
    pub(crate) sex: u8,
    /// Cells the unit covers, in x and in y: 5 for players, 0 for portals.
    pub(crate) size: u8,
    pub(crate) level: u16,
    pub(crate) name: String,
}

impl Looks {
    pub(crate) fn player(account: Account) -> Self {
        Self {
            kind: 0,
            id: account.aid(),
            gid: account.gid(),
            speed: 150,
            class: 0,
            hair: account.hair(),
            hair_colour: 0,
            sex: account.sex(),
            size: 5,
            level: 10,
            name: account.character(),
        }
    }

    /// A portal: an npc of class 45.
    pub(crate) fn portal(portal: &Portal) -> Self {
        Self {
            kind: 6,
            id: portal.id,
            gid: 0,
            speed: 200,
            class: 45,
            hair: 0,
            hair_colour: 0,
            sex: 0,
            size: 0,
            level: 0,
            name: portal.name.to_owned(),
        }
    }

    /// From head top to sex.
    fn middle(&self, packet: Packet) -> Packet {
        packet
            .zeros(4) // head top, head mid
            .u16(self.hair_colour)
            .zeros(6) // clothes colour, head direction, robe
            .zeros(13) // guild, emblem, manner, virtue, pk
            .u8(self.sex)
    }
}

/// Where the fields lie that a reader of the three packets wants.
#[derive(Debug, Clone, Copy)]
struct Offsets {
    /// The tick of a walk.
    tick: usize,
    /// The position of a unit that stands or has arrived.
    place: usize,
    /// From where to where a unit walks.
    walk: usize,
    posture: usize,
}

/// From head top to sex: the same length in every version.
const MIDDLE: usize = 26;

impl Dialect {
    fn offsets(&self) -> Offsets {
        let units = self.facts.units;
        let more = [units.character, units.shield];
        let tick = 29 + 4 * more.into_iter().filter(|there| *there).count();
        Offsets {
            tick,
            place: tick + MIDDLE,
            walk: tick + 4 + MIDDLE,
            posture: tick + MIDDLE + 5,
        }
    }

    /// Common head up to the field where the three packets part.
    fn unit_head(&self, id: u16, looks: &Looks) -> Packet {
        let units = self.facts.units;
        let packet = Packet::sized(id).u8(looks.kind).u32(looks.id);
        let packet = if units.character {
            packet.u32(looks.gid)
        } else {
            packet
        };
        packet
            .u16(looks.speed)
            .zeros(8) // body state, health state, option
            .u16(looks.class)
            .u16(looks.hair)
            .zeros(if units.shield { 8 } else { 4 }) // weapon, shield
            .zeros(2) // head low
    }

    /// From base level to the end.
    fn unit_tail(&self, packet: Packet, looks: &Looks) -> Vec<u8> {
        let packet = packet
            .u16(looks.level)
            .u16(0) // font
            .u32(u32::MAX) // max hp unknown
            .u32(u32::MAX) // hp unknown
            .u8(0); // boss
        if self.facts.units.name {
            packet.u16(0).text(&looks.name, 24).finish() // body style, name
        } else {
            packet.finish()
        }
    }

    /// The unit stands (or sits) there already.
    pub(crate) fn standing(
        &self,
        looks: &Looks,
        (x, y): (u16, u16),
        direction: u8,
        posture: Posture,
    ) -> Vec<u8> {
        let packet = looks
            .middle(self.unit_head(self.facts.units.standing, looks))
            .bytes(&pack_pos(x, y, direction))
            .u8(looks.size)
            .u8(looks.size)
            .u8(posture as u8);
        self.unit_tail(packet, looks)
    }

    /// The unit has just arrived.
    pub(crate) fn arriving(&self, looks: &Looks, (x, y): (u16, u16), direction: u8) -> Vec<u8> {
        let packet = looks
            .middle(self.unit_head(self.facts.units.arriving, looks))
            .bytes(&pack_pos(x, y, direction))
            .u8(looks.size)
            .u8(looks.size);
        self.unit_tail(packet, looks)
    }

    /// The unit walks.
    pub(crate) fn walking(
        &self,
        looks: &Looks,
        tick: u32,
        from: (u16, u16),
        to: (u16, u16),
    ) -> Vec<u8> {
        let packet = looks
            .middle(self.unit_head(self.facts.units.walking, looks).u32(tick))
            .bytes(&pack_move(from.0, from.1, to.0, to.1))
            .u8(looks.size)
            .u8(looks.size);
        self.unit_tail(packet, looks)
    }

    /// Whether a packet shows a unit.
    pub(crate) fn is_unit(&self, frame: &[u8]) -> bool {
        let units = self.facts.units;
        id_of(frame).is_some_and(|id| [units.standing, units.arriving, units.walking].contains(&id))
    }

    /// Whether a packet shows a unit that stands there already.
    pub(crate) fn is_standing(&self, frame: &[u8]) -> bool {
        id_of(frame) == Some(self.facts.units.standing)
    }

    /// Where a unit stands that stands there already, or has arrived.
    pub(crate) fn unit_place(&self, frame: &[u8]) -> (u16, u16) {
        let (x, y, _) = unpack_pos(Fields(frame).array(self.offsets().place));
        (x, y)
    }

    /// Whether a packet that shows a unit is right in every byte that does not say where or when:
    /// it is built anew from its position (and posture, and tick) and compared.
    pub(crate) fn is_sound_unit(&self, frame: &[u8], map: Map) -> bool {
        let (fields, offsets, units) = (Fields(frame), self.offsets(), self.facts.units);
        let id = unit_id(frame);
        let portal = map.portal();
        let looks = match Account::by_aid(id) {
            Some(account) => Looks::player(account),
            None if id == portal.id => {
                let at = (portal.at.x, portal.at.y);
                return frame == self.standing(&Looks::portal(portal), at, 0, Posture::Standing);
            }
            None => return false,
        };
        let id = id_of(frame);
        if id == Some(units.walking) {
            let tick = fields.u32(offsets.tick);
            let (x0, y0, x1, y1) = unpack_move(fields.array(offsets.walk));
            return super::tick::is_sound(tick)
                && frame == self.walking(&looks, tick, (x0, y0), (x1, y1));
        }
        let (x, y, direction) = unpack_pos(fields.array(offsets.place));
        if direction >= 8 {
            false
        } else if id == Some(units.arriving) {
            frame == self.arriving(&looks, (x, y), direction)
        } else {
            let posture = match fields.u8(offsets.posture) {
                2 => Posture::Sitting,
                _ => Posture::Standing,
            };
            frame == self.standing(&looks, (x, y), direction, posture)
        }
    }
}

/// The unit id in a packet that shows a unit.
pub(crate) fn unit_id(frame: &[u8]) -> u32 {
    Fields(frame).u32(5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dialect::tests::{all, newest};

    fn bot_two() -> Looks {
        Looks {
            kind: 0,
            id: 2_000_002,
            gid: 150_002,
            speed: 150,
            class: 0,
            hair: 2,
            hair_colour: 2,
            sex: 0,
            size: 5,
            level: 10,
            name: "BotTwo".into(),
        }
    }

    /// From the recordings `s1-006` (standing, walking) and `s1-006` at 16763 ms (arriving).
    #[test]
    fn units_look_as_they_were_recorded() {
        let dialect = newest();
        let standing = "ff096c000082841e00f24902009600000000000000000000000200000000000000000000000000000002000000000000000000000000000000000000000000264bc00505000a000000ffffffffffffffff000000426f7454776f000000000000000000000000000000000000";
        assert_eq!(
            hex::encode(dialect.standing(&bot_two(), (153, 188), 0, Posture::Standing)),
            standing
        );
        let arriving = "fe096b000082841e00f24902009600000000000000000000000200000000000000000000000000000002000000000000000000000000000000000000000000264bc005050a000000ffffffffffffffff000000426f7454776f000000000000000000000000000000000000";
        assert_eq!(
            hex::encode(dialect.arriving(&bot_two(), (153, 188), 0)),
            arriving
        );
        let walking = "fd0972000082841e00f24902009600000000000000000000000200000000000000000000003a7d27000000000002000000000000000000000000000000000000000000264bc278ba8805050a000000ffffffffffffffff000000426f7454776f000000000000000000000000000000000000";
        assert_eq!(
            hex::encode(dialect.walking(&bot_two(), 0x0027_7d3a, (153, 188), (158, 186))),
            walking
        );
        let portal = "ff096c00063a788e0600000000c80000000000000000002d000000000000000000000000000000000000000000000000000000000000000000000000000000298bc000000000000000ffffffffffffffff00000070726f62655f746f5f67656666656e000000000000000000";
        let npc = Portal {
            id: 110_000_186,
            name: "probe_to_geffen",
            ..*Map::Prontera.portal()
        };
        assert_eq!(
            hex::encode(dialect.standing(&Looks::portal(&npc), (166, 188), 0, Posture::Standing)),
            portal
        );
    }

    #[test]
    fn a_changed_byte_of_a_unit_is_noticed_unless_it_is_where_it_stands() {
        let map = Map::Prontera;
        let looks = Looks::player(Account::numbered(3).unwrap());
        let tick = super::super::tick::tick_at(9_999);
        for dialect in all() {
            let Offsets { place, walk, .. } = dialect.offsets();
            let gate = Looks::portal(map.portal());
            let frames = [
                (
                    dialect.standing(&looks, (100, 200), 3, Posture::Sitting),
                    place..place + 3,
                ),
                (dialect.arriving(&looks, (100, 200), 3), place..place + 3),
                (
                    dialect.walking(&looks, tick, (1, 2), (3, 4)),
                    walk..walk + 6,
                ),
                (
                    dialect.standing(&gate, (166, 188), 0, Posture::Standing),
                    0..0,
                ),
            ];
            for (frame, place) in frames {
                assert!(dialect.is_unit(&frame) && dialect.is_sound_unit(&frame, map));
                for at in (0..frame.len()).filter(|at| !place.contains(at)) {
                    let mut bad = frame.clone();
                    bad[at] ^= 0x40;
                    assert!(
                        !dialect.is_sound_unit(&bad, map),
                        "byte {at} of {:02x?} in {}",
                        id_of(&frame),
                        dialect.facts.version
                    );
                }
            }
        }
    }
}
