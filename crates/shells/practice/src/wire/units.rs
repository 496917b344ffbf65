//! Units as others see them: 09FF (standing), 09FE (just appeared), 09FD (walking).
//!
//! Offsets: ro-protocol section 4.3, checked against recordings in the tests below.

use warp_ro_packet::coords::{pack_move, pack_pos, unpack_move, unpack_pos};

use super::{Fields, Packet, id_of};
use crate::game::{Account, Map, Portal};

/// The posture field of 09FF.
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

    /// Common head up to the field where the three packets part.
    fn head(&self, id: u16) -> Packet {
        Packet::sized(id)
            .u8(self.kind)
            .u32(self.id)
            .u32(self.gid)
            .u16(self.speed)
            .zeros(8) // body state, health state, option
            .u16(self.class)
            .u16(self.hair)
            .zeros(10) // weapon, shield, head low
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

    /// From base level to name.
    fn tail(&self, packet: Packet) -> Vec<u8> {
        packet
            .u16(self.level)
            .u16(0) // font
            .u32(u32::MAX) // max hp unknown
            .u32(u32::MAX) // hp unknown
            .zeros(3) // boss, body
            .text(&self.name, 24)
            .finish()
    }

    /// 09FF: the unit stands (or sits) there already.
    pub(crate) fn standing(&self, x: u16, y: u16, direction: u8, posture: Posture) -> Vec<u8> {
        let packet = self
            .middle(self.head(0x09FF))
            .bytes(&pack_pos(x, y, direction))
            .u8(self.size)
            .u8(self.size)
            .u8(posture as u8);
        self.tail(packet)
    }

    /// 09FE: the unit has just arrived.
    pub(crate) fn arriving(&self, x: u16, y: u16, direction: u8) -> Vec<u8> {
        let packet = self
            .middle(self.head(0x09FE))
            .bytes(&pack_pos(x, y, direction))
            .u8(self.size)
            .u8(self.size);
        self.tail(packet)
    }

    /// 09FD: the unit walks.
    pub(crate) fn walking(&self, tick: u32, from: (u16, u16), to: (u16, u16)) -> Vec<u8> {
        let packet = self
            .middle(self.head(0x09FD).u32(tick))
            .bytes(&pack_move(from.0, from.1, to.0, to.1))
            .u8(self.size)
            .u8(self.size);
        self.tail(packet)
    }
}

/// The unit id in 09FF, 09FE or 09FD.
pub(crate) fn unit_id(frame: &[u8]) -> u32 {
    Fields(frame).u32(5)
}

/// Whether a 09FF, 09FE or 09FD is right in every byte that does not say where or when: it is
/// built anew from its position (and posture, and tick) and compared.
pub(crate) fn is_sound_unit(frame: &[u8], map: Map) -> bool {
    let fields = Fields(frame);
    let id = unit_id(frame);
    let portal = map.portal();
    let looks = match Account::by_aid(id) {
        Some(account) => Looks::player(account),
        None if id == portal.id => {
            let (x, y) = (portal.at.x, portal.at.y);
            return frame == Looks::portal(portal).standing(x, y, 0, Posture::Standing);
        }
        None => return false,
    };
    match id_of(frame) {
        Some(0x09FF) => {
            let (x, y, direction) = unpack_pos(fields.array(63));
            let posture = match fields.u8(68) {
                0 => Posture::Standing,
                2 => Posture::Sitting,
                _ => return false,
            };
            direction < 8 && frame == looks.standing(x, y, direction, posture)
        }
        Some(0x09FE) => {
            let (x, y, direction) = unpack_pos(fields.array(63));
            direction < 8 && frame == looks.arriving(x, y, direction)
        }
        Some(0x09FD) => {
            let tick = fields.u32(37);
            let (x0, y0, x1, y1) = unpack_move(fields.array(67));
            super::tick::is_sound(tick) && frame == looks.walking(tick, (x0, y0), (x1, y1))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let standing = "ff096c000082841e00f24902009600000000000000000000000200000000000000000000000000000002000000000000000000000000000000000000000000264bc00505000a000000ffffffffffffffff000000426f7454776f000000000000000000000000000000000000";
        assert_eq!(
            hex::encode(bot_two().standing(153, 188, 0, Posture::Standing)),
            standing
        );
        let arriving = "fe096b000082841e00f24902009600000000000000000000000200000000000000000000000000000002000000000000000000000000000000000000000000264bc005050a000000ffffffffffffffff000000426f7454776f000000000000000000000000000000000000";
        assert_eq!(hex::encode(bot_two().arriving(153, 188, 0)), arriving);
        let walking = "fd0972000082841e00f24902009600000000000000000000000200000000000000000000003a7d27000000000002000000000000000000000000000000000000000000264bc278ba8805050a000000ffffffffffffffff000000426f7454776f000000000000000000000000000000000000";
        assert_eq!(
            hex::encode(bot_two().walking(0x0027_7d3a, (153, 188), (158, 186))),
            walking
        );
        let portal = "ff096c00063a788e0600000000c80000000000000000002d000000000000000000000000000000000000000000000000000000000000000000000000000000298bc000000000000000ffffffffffffffff00000070726f62655f746f5f67656666656e000000000000000000";
        let npc = Portal {
            id: 110_000_186,
            name: "probe_to_geffen",
            ..*Map::Prontera.portal()
        };
        assert_eq!(
            hex::encode(Looks::portal(&npc).standing(166, 188, 0, Posture::Standing)),
            portal
        );
    }

    #[test]
    fn a_changed_byte_of_a_unit_is_noticed_unless_it_is_where_it_stands() {
        let map = Map::Prontera;
        let looks = Looks::player(Account::numbered(3).unwrap());
        let frames = [
            (looks.standing(100, 200, 3, Posture::Sitting), 63..66),
            (looks.arriving(100, 200, 3), 63..66),
            (
                looks.walking(super::super::tick::tick_at(9_999), (1, 2), (3, 4)),
                67..73,
            ),
            (
                Looks::portal(map.portal()).standing(166, 188, 0, Posture::Standing),
                0..0,
            ),
        ];
        for (frame, place) in frames {
            assert!(is_sound_unit(&frame, map));
            for at in (0..frame.len()).filter(|at| !place.contains(at)) {
                let mut bad = frame.clone();
                bad[at] ^= 0x40;
                assert!(
                    !is_sound_unit(&bad, map),
                    "byte {at} of {:02x?}",
                    id_of(&frame)
                );
            }
        }
    }
}
