//! What a map server sends, beside the units in sight.

use std::net::SocketAddrV4;

use warp_ro_packet::coords::{pack_move, pack_pos};

use super::{HP, SP};
use crate::game::{Account, Place, Portal};
use crate::wire::dialect::Bag;
use crate::wire::{Dialect, Fields, Packet};

/// 007F: the server's tick.
pub(crate) const SERVER_TIME: u16 = 0x007F;
/// 008E: own chat and system lines.
pub(crate) const OWN_LINE: u16 = 0x008E;

/// 006A: the answer to a malformed first packet.
pub(crate) fn malformed_enter(code: u8) -> Vec<u8> {
    Packet::new(0x006A).u8(code).zeros(20).done()
}

/// 0283: the AID, sent before the credentials are looked at.
pub(crate) fn map_aid(aid: u32) -> Vec<u8> {
    Packet::new(0x0283).u32(aid).done()
}

/// 008E: own chat and system lines.
pub(crate) fn own_line(text: &str) -> Vec<u8> {
    Packet::sized(OWN_LINE)
        .bytes(text.as_bytes())
        .u8(0)
        .finish()
}

/// The text of such a line, if it ends with its only zero.
pub(crate) fn line_text(frame: &[u8]) -> Option<&str> {
    let (0, text) = Fields(frame).rest(4).split_last()? else {
        return None;
    };
    let text = std::str::from_utf8(text).ok()?;
    (!text.contains('\0')).then_some(text)
}

/// 0091 ZC_NPCACK_MAPMOVE.
pub(crate) fn load_map(to: Place) -> Vec<u8> {
    Packet::new(0x0091)
        .text(to.map.name(), 16)
        .u16(to.x)
        .u16(to.y)
        .done()
}

/// 00B0: one number of the status window.
fn status(kind: u16, value: u32) -> Vec<u8> {
    Packet::new(0x00B0).u16(kind).u32(value).done()
}

/// 0141: one of the six basic attributes.
fn attribute(kind: u32) -> Vec<u8> {
    Packet::new(0x0141).u32(kind).u32(9).u32(1).done()
}

/// 0201: an empty friend list, right behind the acceptance.
pub(crate) fn friends() -> Vec<u8> {
    Packet::sized(0x0201).finish()
}

/// 007F: the server's tick.
pub(crate) fn server_time(tick: u32) -> Vec<u8> {
    Packet::new(SERVER_TIME).u32(tick).done()
}

/// 0087 ZC_NOTIFY_PLAYERMOVE.
pub(crate) fn own_walk(tick: u32, from: (u16, u16), to: (u16, u16)) -> Vec<u8> {
    Packet::new(0x0087)
        .u32(tick)
        .bytes(&pack_move(from.0, from.1, to.0, to.1))
        .done()
}

/// 008D ZC_NOTIFY_CHAT.
pub(crate) fn others_line(aid: u32, text: &[u8]) -> Vec<u8> {
    Packet::sized(0x008D).u32(aid).bytes(text).u8(0).finish()
}

/// 00C0: somebody's emotion.
pub(crate) fn unit_emote(aid: u32, kind: u8) -> Vec<u8> {
    Packet::new(0x00C0).u32(aid).u8(kind).done()
}

/// 009C: somebody turns; the one who turns does not get it.
pub(crate) fn unit_looks(aid: u32, head: u16, direction: u8) -> Vec<u8> {
    Packet::new(0x009C).u32(aid).u16(head).u8(direction).done()
}

/// The status number of sitting in 0983 and 0196.
const SITTING: u16 = 0x026E;

/// 0983: the sitting status begins (9999 ms of 9999 left, which means without end).
pub(crate) fn sits_status(aid: u32) -> Vec<u8> {
    Packet::new(0x0983)
        .u16(SITTING)
        .u32(aid)
        .u8(1)
        .u32(9_999)
        .u32(9_999)
        .zeros(12)
        .done()
}

/// 0196: the sitting status ends.
pub(crate) fn stands_status(aid: u32) -> Vec<u8> {
    Packet::new(0x0196).u16(SITTING).u32(aid).u8(0).done()
}

/// 0080 ZC_NOTIFY_VANISH.
pub(crate) fn vanish(aid: u32, why: Vanish) -> Vec<u8> {
    Packet::new(0x0080).u32(aid).u8(why as u8).done()
}

/// The last byte of 0080.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vanish {
    /// Went to another map server (as recorded at a portal).
    OutOfSight = 0,
    LoggedOff = 2,
    /// Went to another map of the same server.
    Teleported = 3,
}

/// 00B3: back to the character selection.
pub(crate) fn char_select_granted() -> Vec<u8> {
    Packet::new(0x00B3).u8(1).done()
}

/// 018B: quitting is granted.
pub(crate) fn quit_granted() -> Vec<u8> {
    Packet::new(0x018B).u16(0).done()
}

/// 018B: not now, because of a fight.
pub(crate) fn quit_refused() -> Vec<u8> {
    Packet::new(0x018B).u16(1).done()
}

impl Dialect {
    /// 0B18: extra bag slots, in versions that have it.
    pub(crate) fn bag_slots(&self) -> Vec<u8> {
        if self.facts.bag_size {
            Packet::new(0x0B18).u16(0).done()
        } else {
            Vec::new()
        }
    }

    /// ZC_ACCEPT_ENTER.
    pub(crate) fn accept_enter(&self, tick: u32, at: Place, sex: u8) -> Vec<u8> {
        let packet = Packet::new(self.facts.accept_enter)
            .u32(tick)
            .bytes(&pack_pos(at.x, at.y, 0))
            .bytes(&[5, 5])
            .u16(0); // font
        if self.facts.accept_sex {
            packet.u8(sex).done()
        } else {
            packet.done()
        }
    }

    /// ZC_NPCACK_SERVERMOVE.
    pub(crate) fn change_server(&self, to: Place, server: SocketAddrV4) -> Vec<u8> {
        Packet::new(self.facts.announcing.change_server)
            .text(to.map.name(), 16)
            .u16(to.x)
            .u16(to.y)
            .bytes(&server.ip().octets())
            .u16(server.port())
            .zeros(self.facts.announcing.text)
            .done()
    }

    /// The status that follows 0091 at a login, or 0201 after a change of map server.
    pub(crate) fn entry_status(&self) -> Vec<u8> {
        let mut burst = status(0x19, 22_700);
        (13..=18).for_each(|kind| burst.extend(attribute(kind)));
        let numbers = [
            (0x31, 20),
            (0x32, 20),
            (0x35, 475),
            (0x29, 15),
            (0x2e, 10),
            (0x33, 2),
            (0x34, 4),
            (0x2b, 14),
            (0x2c, 11),
            (0x30, 10),
        ];
        for (kind, value) in numbers {
            burst.extend(status(kind, value));
        }
        burst.extend(Packet::new(0x013A).u16(1).done());
        for (kind, value) in [(6, HP), (8, SP), (5, HP), (7, SP)] {
            burst.extend(status(kind, value));
        }
        if self.facts.mail {
            burst.extend(Packet::new(0x09E7).u8(0).done());
        }
        if self.facts.weight {
            burst.extend(Packet::new(0x0ADE).u32(50).done());
        }
        burst
    }

    /// The first part of the answer to 007D, before the units in sight.
    pub(crate) fn load_head(&self, account: Account) -> Vec<u8> {
        let mut burst = self.looks_changed(account.aid());
        match self.facts.bag {
            Bag::Lists(lists) => {
                for list in lists {
                    burst.extend(Packet::sized(list).finish());
                }
            }
            Bag::Bracketed => {
                burst.extend(Packet::sized(0x0B08).zeros(2).finish());
                burst.extend(Packet::new(0x0B0B).u8(0).u8(0).done());
            }
        }
        if self.facts.switch_list {
            burst.extend(Packet::sized(0x0A9B).finish());
        }
        burst.extend(status(0x18, 0));
        burst.extend(status(0x19, 22_700));
        burst.extend(Packet::new(0x099B).u16(9).u32(6).done());
        burst
    }

    /// The last part of the answer to 007D, behind the units in sight.
    pub(crate) fn load_tail(&self) -> Vec<u8> {
        let setting = |kind: u32| Packet::new(0x02D9).u32(kind).u32(0).done();
        let mut burst = [
            Packet::new(0x02C9).u8(0).done(),
            Packet::new(0x02DA).u8(0).done(),
            setting(2),
            setting(1),
            setting(3),
        ]
        .concat();
        if self.facts.load_end {
            burst.extend(Packet::sized(0x0B8D).u8(1).finish());
        }
        burst
    }

    /// 01D7: a unit's weapon, sent with every arrival.
    pub(crate) fn looks_changed(&self, aid: u32) -> Vec<u8> {
        let width = self.facts.looks;
        Packet::new(0x01D7)
            .u32(aid)
            .u8(2)
            .number(0, width)
            .number(0, width)
            .done()
    }

    /// 0B1B: the answer to 0447, in versions that have one.
    pub(crate) fn load_confirmed(&self) -> Option<Vec<u8>> {
        let confirms = self.facts.confirms_load;
        confirms.then(|| Packet::new(0x0B1B).done())
    }

    /// Somebody sits down.
    pub(crate) fn unit_sits(&self, aid: u32) -> [Vec<u8>; 2] {
        [sits_status(aid), self.posture_action(aid, 2)]
    }

    /// Somebody stands up.
    pub(crate) fn unit_stands(&self, aid: u32) -> [Vec<u8>; 2] {
        [stands_status(aid), self.posture_action(aid, 3)]
    }

    /// ZC_NOTIFY_ACT with type 0: hits, without anybody's being hurt.
    pub(crate) fn unit_hits(&self, aid: u32) -> Vec<u8> {
        self.posture_action(aid, 0)
    }

    /// ZC_NOTIFY_ACT with type 2 (sits) or 3 (stands).
    pub(crate) fn posture_action(&self, aid: u32, kind: u8) -> Vec<u8> {
        let (id, gap) = self.facts.posture;
        Packet::new(id).u32(aid).zeros(gap).u8(kind).zeros(4).done()
    }

    /// A player's name.
    pub(crate) fn player_name(&self, account: Account) -> Vec<u8> {
        let (id, before, behind) = self.facts.player_name;
        Packet::new(id)
            .u32(account.aid())
            .zeros(before)
            .text(&account.character(), 24)
            .zeros(behind)
            .done()
    }

    /// An npc's name.
    pub(crate) fn npc_name(&self, portal: &Portal) -> Vec<u8> {
        let (id, before, behind) = self.facts.npc_name;
        Packet::new(id)
            .u32(portal.id)
            .zeros(before)
            .text(portal.name, 24)
            .zeros(behind)
            .done()
    }
}
