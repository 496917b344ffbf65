//! Layouts of client packets, by their names: a version's table knows which id carries the name.

use super::layout::{Layout, V, c, hidden, hidden_rest, i32, position, rest, text, u8, u16, u32};

/// Where forms of one packet differ, the length tells them apart.
#[rustfmt::skip]
pub(super) static LAYOUTS: &[Layout] = &[
    // login server
    c("CA_LOGIN", 55, &[u32(2, "version"), text(6, 24, "user"), hidden(30, 24, "password"), u8(54, "client_type")]),
    c("CA_LOGIN2", 47, &[u32(2, "version"), text(6, 24, "user"), hidden(30, 16, "md5"), u8(46, "client_type")]),
    c("CA_LOGIN3", 48, &[u32(2, "version"), text(6, 24, "user"), hidden(30, 16, "md5"), u8(46, "client_type"), u8(47, "client_info")]),
    c("CA_LOGIN4", 60, &[u32(2, "version"), text(6, 24, "user"), hidden(30, 16, "md5"), u8(46, "client_type"), hidden(47, 13, "mac")]),
    c("CA_LOGIN_PCBANG", 84, &[
        u32(2, "version"), text(6, 24, "user"), hidden(30, 24, "password"), u8(54, "client_type"),
        text(55, 16, "ip"), hidden(71, 13, "mac"),
    ]),
    c("CA_LOGIN_CHANNEL", 85, &[
        u32(2, "version"), text(6, 24, "user"), hidden(30, 24, "password"), u8(54, "client_type"),
        text(55, 16, "ip"), hidden(71, 13, "mac"), u8(84, "flag"),
    ]),
    c("CA_SSO_LOGIN_REQ", V, &[
        u32(4, "version"), u8(8, "client_type"), text(9, 24, "user"), hidden(33, 27, "password"),
        hidden(60, 17, "mac"), text(77, 15, "ip"), hidden_rest(92, "token"),
    ]),
    c("CA_CONNECT_INFO_CHANGED", 26, &[text(2, 24, "user")]),
    c("CA_EXE_HASHCHECK", 18, &[hidden(2, 16, "md5")]),
    c("CA_LOGIN_OTP", 52, &[hidden(2, 50, "credentials")]),
    c("CA_LOGIN_OTP", 68, &[hidden(2, 66, "credentials")]),

    // char server
    c("CH_ENTER", 17, &[u32(2, "AID"), hidden(6, 4, "login_id1"), hidden(10, 4, "login_id2"), u8(16, "sex")]),
    c("CH_SELECT_CHAR", 3, &[u8(2, "slot")]),
    c("PING", 6, &[u32(2, "AID")]),
    c("CH_MAKE_CHAR", 37, &[
        text(2, 24, "name"), u8(26, "str"), u8(27, "agi"), u8(28, "vit"), u8(29, "int"), u8(30, "dex"), u8(31, "luk"),
        u8(32, "slot"), u16(33, "hair_color"), u16(35, "hair"),
    ]),
    c("CH_MAKE_CHAR", 31, &[text(2, 24, "name"), u8(26, "slot"), u16(27, "hair_color"), u16(29, "hair")]),
    c("CH_MAKE_CHAR", 36, &[
        text(2, 24, "name"), u8(26, "slot"), u16(27, "hair_color"), u16(29, "hair"), u16(31, "job"), u8(35, "sex"),
    ]),
    c("CH_REQ_IS_VALID_CHARNAME", 34, &[u32(2, "AID"), u32(6, "GID"), text(10, 24, "name")]),
    c("CH_REQ_CHANGE_CHARNAME", 6, &[u32(2, "GID")]),
    c("CH_REQ_CHANGE_CHARACTERNAME", 30, &[u32(2, "GID"), text(6, 24, "name")]),
    c("CH_REQ_CHANGE_CHARACTER_SLOT", 8, &[u16(2, "from"), u16(4, "to"), u16(6, "moves_left")]),
    c("CH_DELETE_CHAR_RESERVED", 6, &[u32(2, "GID")]),
    c("CH_DELETE_CHAR", 12, &[u32(2, "GID"), hidden(6, 6, "code")]),
    c("CH_DELETE_CHAR_CANCEL", 6, &[u32(2, "GID")]),
    c("CH_SELECT_ACCESSIBLE_MAPNAME", 4, &[u8(2, "slot"), u8(3, "map_index")]),
    c("CH_SECOND_PASSWD_ACK", 10, &[u32(2, "AID"), hidden(6, 4, "pin")]),
    c("CH_MAKE_SECOND_PASSWD", 10, &[u32(2, "AID"), hidden(6, 4, "pin")]),
    c("CH_EDIT_SECOND_PASSWD", 14, &[u32(2, "AID"), hidden(6, 4, "old_pin"), hidden(10, 4, "pin")]),
    c("CH_AVAILABLE_SECOND_PASSWD", 6, &[u32(2, "AID")]),

    // map server: entering, leaving, time
    c("CZ_ENTER", 19, &[u32(2, "AID"), u32(6, "GID"), hidden(10, 4, "login_id1"), u32(14, "tick"), u8(18, "sex")]),
    c("CZ_ENTER", 23, &[u32(2, "AID"), u32(6, "GID"), hidden(10, 4, "login_id1"), u32(14, "tick"), u32(18, "tick2"), u8(22, "sex")]),
    c("CZ_REQUEST_TIME", 6, &[u32(2, "tick")]),
    c("CZ_RESTART", 3, &[u8(2, "type")]),
    c("CZ_REQ_DISCONNECT", 4, &[u16(2, "type")]),
    c("CZ_REQ_GUILD_MENU", 6, &[u32(2, "type")]),
    c("CZ_REQNAME", 6, &[u32(2, "unit")]),

    // moves, chat, emotions, actions
    c("CZ_REQUEST_MOVE", 5, &[position(2)]),
    c("CZ_CHANGE_DIRECTION", 5, &[u16(2, "head_dir"), u8(4, "dir")]),
    c("CZ_REQUEST_CHAT", V, &[rest(4, "text")]),
    c("CZ_REQUEST_CHAT_PARTY", V, &[rest(4, "text")]),
    c("CZ_GUILD_CHAT", V, &[rest(4, "text")]),
    c("CZ_WHISPER", V, &[text(4, 24, "name"), rest(28, "text")]),
    c("CZ_REQ_EMOTION", 3, &[u8(2, "type")]),
    c("CZ_REQUEST_ACT", 7, &[u32(2, "target"), u8(6, "action")]),

    // skills
    c("CZ_USE_SKILL", 10, &[u16(2, "level"), u16(4, "skill"), u32(6, "target")]),
    c("CZ_USE_SKILL_TOGROUND", 10, &[u16(2, "level"), u16(4, "skill"), u16(6, "x"), u16(8, "y")]),
    c("CZ_USE_SKILL_TOGROUND", 11, &[u16(2, "level"), u16(4, "skill"), u16(6, "x"), u16(8, "y")]),
    c("CZ_UPGRADE_SKILLLEVEL", 4, &[u16(2, "skill")]),

    // items
    c("CZ_ITEM_PICKUP", 6, &[u32(2, "floor_item")]),
    c("CZ_ITEM_THROW", 6, &[u16(2, "index"), u16(4, "amount")]),
    c("CZ_USE_ITEM", 8, &[u16(2, "index"), u32(4, "AID")]),
    c("CZ_REQ_WEAR_EQUIP", 8, &[u16(2, "index"), u32(4, "location")]),
    c("CZ_REQ_TAKEOFF_EQUIP", 4, &[u16(2, "index")]),

    // NPC
    c("CZ_CONTACTNPC", 7, &[u32(2, "NPC"), u8(6, "type")]),
    c("CZ_REQ_NEXT_SCRIPT", 6, &[u32(2, "NPC")]),
    c("CZ_CLOSE_DIALOG", 6, &[u32(2, "NPC")]),
    c("CZ_CHOOSE_MENU", 7, &[u32(2, "NPC"), u8(6, "choice")]),
    c("CZ_INPUT_EDITDLG", 10, &[u32(2, "NPC"), i32(6, "number")]),
    c("CZ_INPUT_EDITDLGSTR", V, &[u32(4, "NPC"), rest(8, "text")]),
];
