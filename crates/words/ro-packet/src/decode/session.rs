//! Layouts of what login and char server send, by id.

use super::layout::{Layout, Slot, V, address, hidden, hidden_rest, s, text, u8, u16, u32};
use super::unit::CHARACTER;

/// A char server in 0069: 32 bytes.
const CHAR_SERVER: &[Slot] = &[
    address(0),
    text(6, 20, "name"),
    u16(26, "users"),
    u16(28, "type"),
    u16(30, "new"),
];

/// The same in 0AC4, with room for `host:port`: 160 bytes.
const CHAR_SERVER_WITH_TEXT: &[Slot] = &[
    address(0),
    text(6, 20, "name"),
    u16(26, "users"),
    u16(28, "type"),
    u16(30, "new"),
    text(32, 128, "host"),
];

/// A character that may not be played: 24 bytes.
const BLOCKED: &[Slot] = &[u32(0, "GID"), text(4, 20, "until")];

/// A map server's map and whether it can be entered: 20 bytes.
const ACCESSIBLE_MAP: &[Slot] = &[u32(0, "status"), text(4, 16, "map")];

#[rustfmt::skip]
pub(super) static LAYOUTS: &[Layout] = &[
    // login server
    s(0x0069, V, &[
        hidden(4, 4, "login_id1"), u32(8, "AID"), hidden(12, 4, "login_id2"), text(20, 26, "last_login"), u8(46, "sex"),
    ]).list(47, "servers", CHAR_SERVER),
    s(0x0AC4, V, &[
        hidden(4, 4, "login_id1"), u32(8, "AID"), hidden(12, 4, "login_id2"), text(20, 26, "last_login"), u8(46, "sex"),
        hidden(47, 17, "token"),
    ]).list(64, "servers", CHAR_SERVER_WITH_TEXT),
    s(0x006A, 23, &[u8(2, "code"), text(3, 20, "date")]),
    s(0x083E, 26, &[u32(2, "code"), text(6, 20, "date")]),
    s(0x01DC, V, &[hidden_rest(4, "salt")]),
    s(0x0AE3, V, &[hidden_rest(4, "token")]),

    // every server
    s(0x0081, 3, &[u8(2, "code")]),

    // char server
    s(0x006B, V, &[u8(4, "slots"), u8(5, "available"), u8(6, "premium")]).list(27, "characters", CHARACTER),
    s(0x006C, 3, &[u8(2, "code")]),
    s(0x006D, 146, &[]).list(2, "characters", CHARACTER),
    s(0x006D, 149, &[]).list(2, "characters", CHARACTER),
    s(0x006D, 157, &[]).list(2, "characters", CHARACTER),
    s(0x0B6F, 177, &[]).list(2, "characters", CHARACTER),
    s(0x006E, 3, &[u8(2, "code")]),
    s(0x099D, V, &[]).list(4, "characters", CHARACTER),
    s(0x0B72, V, &[]).list(4, "characters", CHARACTER),
    s(0x0071, 28, &[u32(2, "GID"), text(6, 16, "map"), address(22)]),
    s(0x0AC5, 156, &[u32(2, "GID"), text(6, 16, "map"), address(22), text(28, 128, "host")]),
    s(0x020D, V, &[]).list(4, "characters", BLOCKED),
    s(0x082D, V, &[u8(4, "normal"), u8(5, "premium"), u8(6, "billing"), u8(7, "producible"), u8(8, "valid")]),
    s(0x0840, V, &[]).list(4, "maps", ACCESSIBLE_MAP),
    s(0x08B9, 12, &[u32(2, "seed"), u32(6, "AID"), u16(10, "state")]),
    s(0x09A0, 6, &[u32(2, "pages")]),
    s(0x09A0, 10, &[u32(2, "pages"), u32(6, "slots")]),
];
