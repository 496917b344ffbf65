//! Layouts of what map servers send, by id.

use super::layout::{
    ANY, Layout, NEXT, V, address, bytes, i16, i32, i64, path, position, rest, s, text, u8, u16,
    u32,
};
use super::unit::{MOVING, NEW, STANDING, WIDE_ITEMS};

#[rustfmt::skip]
pub(super) static LAYOUTS: &[Layout] = &[
    // entering and leaving
    s(0x0073, 11, &[u32(2, "tick"), position(6)]),
    s(0x02EB, 13, &[u32(2, "tick"), position(6), u16(11, "font")]),
    s(0x0A18, 14, &[u32(2, "tick"), position(6), u16(11, "font"), u8(13, "sex")]),
    s(0x0283, 6, &[u32(2, "AID")]),
    s(0x0B18, 4, &[i16(2, "extra_slots")]),
    s(0x0091, 22, &[text(2, 16, "map"), u16(18, "x"), u16(20, "y")]),
    s(0x0092, 28, &[text(2, 16, "map"), u16(18, "x"), u16(20, "y"), address(22)]),
    s(0x0AC7, 156, &[text(2, 16, "map"), u16(18, "x"), u16(20, "y"), address(22), text(28, 128, "host")]),
    s(0x099B, 8, &[u16(2, "type"), u32(4, "flags")]),
    s(0x00B3, 3, &[u8(2, "type")]),
    s(0x018B, 4, &[u16(2, "result")]),
    s(0x007F, 6, &[u32(2, "tick")]),

    // the player's own numbers
    s(0x00B0, 8, &[u16(2, "parameter"), i32(4, "value")]),
    s(0x0ACB, 12, &[u16(2, "parameter"), i64(4, "value")]),
    s(0x0141, 14, &[u32(2, "parameter"), i32(6, "base"), i32(10, "bonus")]),
    s(0x013A, 4, &[u16(2, "range")]),
    s(0x00BD, 44, &[
        u16(2, "status_points"), u8(4, "str"), u8(5, "str_cost"), u8(6, "agi"), u8(7, "agi_cost"), u8(8, "vit"), u8(9, "vit_cost"),
        u8(10, "int"), u8(11, "int_cost"), u8(12, "dex"), u8(13, "dex_cost"), u8(14, "luk"), u8(15, "luk_cost"),
    ]),
    s(0x0ADE, 6, &[u32(2, "percent")]),
    s(0x09E7, 3, &[u8(2, "unread")]),
    s(0x02C9, 3, &[u8(2, "refuse_invitations")]),
    s(0x02DA, 3, &[u8(2, "show_equipment")]),
    s(0x02D9, 10, &[u32(2, "setting"), u32(6, "value")]),
    s(0x043F, 25, &[
        u16(2, "status"), u32(4, "AID"), u8(8, "on"), u32(9, "remaining_ms"), i32(13, "value1"), i32(17, "value2"), i32(21, "value3"),
    ]),
    s(0x0983, 29, &[
        u16(2, "status"), u32(4, "AID"), u8(8, "on"), u32(9, "total_ms"), u32(13, "remaining_ms"),
        i32(17, "value1"), i32(21, "value2"), i32(25, "value3"),
    ]),
    s(0x0196, 9, &[u16(2, "status"), u32(4, "AID"), u8(8, "on")]),

    // units
    s(0x090F, V, NEW),
    s(0x0914, V, MOVING),
    s(0x0915, V, STANDING),
    s(0x09DB, V, MOVING),
    s(0x09DC, V, NEW),
    s(0x09DD, V, STANDING),
    s(0x09FD, V, MOVING),
    s(0x09FE, V, NEW),
    s(0x09FF, V, STANDING),
    s(0x0080, 7, &[u32(2, "unit"), u8(6, "type")]),
    s(0x0086, 16, &[u32(2, "unit"), path(6), u32(12, "tick")]),
    s(0x0087, 12, &[u32(2, "tick"), path(6)]),
    s(0x0088, 10, &[u32(2, "unit"), u16(6, "x"), u16(8, "y")]),
    s(0x009C, 9, &[u32(2, "unit"), u16(6, "head_dir"), u8(8, "dir")]),
    s(0x00C0, 7, &[u32(2, "unit"), u8(6, "type")]),
    s(0x01D7, 11, &[u32(2, "unit"), u8(6, "type"), u16(7, "value"), u16(9, "value2")]),
    s(0x01D7, 15, &[u32(2, "unit"), u8(6, "type"), u32(7, "value"), u32(11, "value2")]),
    s(0x0095, 30, &[u32(2, "unit"), text(6, 24, "name")]),
    s(0x0195, 102, &[u32(2, "unit"), text(6, 24, "name"), text(30, 24, "party"), text(54, 24, "guild"), text(78, 24, "position_name")]),
    s(0x0A30, 106, &[
        u32(2, "unit"), text(6, 24, "name"), text(30, 24, "party"), text(54, 24, "guild"), text(78, 24, "position_name"), u32(102, "title"),
    ]),
    s(0x0ADF, 58, &[u32(2, "unit"), u32(6, "group"), text(10, 24, "name"), text(34, 24, "title")]),
    s(0x02E1, 33, &[
        u32(2, "source"), u32(6, "target"), u32(10, "tick"), i32(14, "source_delay"), i32(18, "target_delay"),
        i32(22, "damage"), u16(26, "hits"), u8(28, "type"), i32(29, "damage2"),
    ]),
    s(0x08C8, 34, &[
        u32(2, "source"), u32(6, "target"), u32(10, "tick"), i32(14, "source_delay"), i32(18, "target_delay"),
        i32(22, "damage"), u8(26, "sp_damage"), u16(27, "hits"), u8(29, "type"), i32(30, "damage2"),
    ]),

    // chat
    s(0x008D, V, &[u32(4, "unit"), rest(8, "text")]),
    s(0x008E, V, &[rest(4, "text")]),
    s(0x0097, V, &[text(4, 24, "name"), u32(28, "admin"), rest(32, "text")]),
    s(0x0098, 3, &[u8(2, "result")]),
    s(0x09DE, V, &[u32(4, "AID"), text(8, 24, "name"), u8(32, "admin"), rest(33, "text")]),
    s(0x09DF, 7, &[u8(2, "result"), u32(3, "GID")]),
    s(0x0109, V, &[u32(4, "AID"), rest(8, "text")]),
    s(0x017F, V, &[rest(4, "text")]),

    // skills
    s(0x0110, 10, &[u16(2, "skill"), u32(4, "reason"), u8(8, "ok"), u8(9, "cause")]),
    s(0x0110, 14, &[u16(2, "skill"), u32(4, "reason"), u32(8, "item"), u8(12, "ok"), u8(13, "cause")]),
    s(0x0117, 18, &[u16(2, "skill"), u32(4, "source"), u16(8, "level"), u16(10, "x"), u16(12, "y"), u32(14, "tick")]),
    s(0x011A, 15, &[u16(2, "skill"), i16(4, "level"), u32(6, "target"), u32(10, "source"), u8(14, "ok")]),
    s(0x0120, 6, &[u32(2, "unit")]),
    s(0x01DE, 33, &[
        u16(2, "skill"), u32(4, "source"), u32(8, "target"), u32(12, "tick"), i32(16, "source_delay"), i32(20, "target_delay"),
        i32(24, "damage"), u16(28, "level"), u16(30, "hits"), u8(32, "type"),
    ]),
    s(0x07FB, 25, &[
        u32(2, "source"), u32(6, "target"), u16(10, "x"), u16(12, "y"), u16(14, "skill"), u32(16, "element"), u32(20, "cast_ms"),
        u8(24, "disposable"),
    ]),
    s(0x0B1A, 29, &[
        u32(2, "source"), u32(6, "target"), u16(10, "x"), u16(12, "y"), u16(14, "skill"), u32(16, "element"), u32(20, "cast_ms"),
        u8(24, "disposable"), u32(25, "attack_motion"),
    ]),
    s(0x09CB, 17, &[u16(2, "skill"), i32(4, "level"), u32(8, "target"), u32(12, "source"), u8(16, "ok")]),

    // items
    s(0x0990, ANY, &[
        u16(2, "index"), u16(4, "amount"), u16(6, "item").before(WIDE_ITEMS), u32(6, "item").since(WIDE_ITEMS),
        u8(NEXT, "identified"), u8(NEXT, "damaged"), u8(NEXT, "refine"),
        bytes(NEXT, 8, "cards").before(WIDE_ITEMS), bytes(NEXT, 16, "cards").since(WIDE_ITEMS),
        u32(NEXT, "location"), u8(NEXT, "type"), u8(NEXT, "result"), u32(NEXT, "expires"), u16(NEXT, "bind"),
    ]),
    s(0x0A37, ANY, &[
        u16(2, "index"), u16(4, "amount"), u16(6, "item").before(WIDE_ITEMS), u32(6, "item").since(WIDE_ITEMS),
        u8(NEXT, "identified"), u8(NEXT, "damaged"), u8(NEXT, "refine"),
        bytes(NEXT, 8, "cards").before(WIDE_ITEMS), bytes(NEXT, 16, "cards").since(WIDE_ITEMS),
        u32(NEXT, "location"), u8(NEXT, "type"), u8(NEXT, "result"), u32(NEXT, "expires"), u16(NEXT, "bind"),
        bytes(NEXT, 25, "options"), u8(NEXT, "favorite"), u16(NEXT, "look"),
    ]),
    s(0x0B41, 70, &[
        u16(2, "index"), u16(4, "amount"), u32(6, "item"), u8(10, "identified"), u8(11, "damaged"), bytes(12, 16, "cards"),
        u32(28, "location"), u8(32, "type"), u8(33, "result"), u32(34, "expires"), u16(38, "bind"), bytes(40, 25, "options"),
        u8(65, "favorite"), u16(66, "look"), u8(68, "refine"), u8(69, "grade"),
    ]),
    s(0x00AF, 6, &[u16(2, "index"), u16(4, "amount")]),
    s(0x07FA, 8, &[u16(2, "reason"), u16(4, "index"), u16(6, "amount")]),
    s(0x084B, 19, &[
        u32(2, "floor_item"), u16(6, "item"), u16(8, "type"), u8(10, "identified"), u16(11, "x"), u16(13, "y"),
        u8(15, "sub_x"), u8(16, "sub_y"), u16(17, "amount"),
    ]),
    s(0x0ADD, 22, &[
        u32(2, "floor_item"), u16(6, "item"), u16(8, "type"), u8(10, "identified"), u16(11, "x"), u16(13, "y"),
        u8(15, "sub_x"), u8(16, "sub_y"), u16(17, "amount"), u8(19, "effect"), u16(20, "effect_mode"),
    ]),
    s(0x0ADD, 24, &[
        u32(2, "floor_item"), u32(6, "item"), u16(10, "type"), u8(12, "identified"), u16(13, "x"), u16(15, "y"),
        u8(17, "sub_x"), u8(18, "sub_y"), u16(19, "amount"), u8(21, "effect"), u16(22, "effect_mode"),
    ]),
    s(0x009D, 17, &[
        u32(2, "floor_item"), u16(6, "item"), u8(8, "identified"), u16(9, "x"), u16(11, "y"), u16(13, "amount"),
        u8(15, "sub_x"), u8(16, "sub_y"),
    ]),
    s(0x009D, 19, &[
        u32(2, "floor_item"), u32(6, "item"), u8(10, "identified"), u16(11, "x"), u16(13, "y"), u16(15, "amount"),
        u8(17, "sub_x"), u8(18, "sub_y"),
    ]),
    s(0x00A1, 6, &[u32(2, "floor_item")]),
    s(0x01C8, 13, &[u16(2, "index"), u16(4, "item"), u32(6, "AID"), u16(10, "left"), u8(12, "ok")]),
    s(0x01C8, 15, &[u16(2, "index"), u32(4, "item"), u32(8, "AID"), u16(12, "left"), u8(14, "ok")]),
    s(0x0999, 11, &[u16(2, "index"), u32(4, "location"), u16(8, "look"), u8(10, "result")]),
    s(0x099A, 9, &[u16(2, "index"), u32(4, "location"), u8(8, "result")]),

    // NPC
    s(0x00B4, V, &[u32(4, "NPC"), rest(8, "text")]),
    s(0x00B5, 6, &[u32(2, "NPC")]),
    s(0x00B6, 6, &[u32(2, "NPC")]),
    s(0x00B7, V, &[u32(4, "NPC"), rest(8, "choices")]),
    s(0x0142, 6, &[u32(2, "NPC")]),
    s(0x01D4, 6, &[u32(2, "NPC")]),
];
