//! What clients send under ids that differ from version to version.
//!
//! From 2011 to March 2018 every client build moved some thirty packets to other ids. Source of
//! the numbers: rAthena's `clif_shuffle.hpp` for the exact date; all their lengths agree with
//! the length tables, which come from elsewhere (OpenKore, Hercules). Ids of the shuffled range
//! that a version does not use are two bytes long in its table and have no row here.

use super::c;
use crate::class::PacketClass::{Group, Item, Movement, Other, Skill, System};
use crate::class::PacketInfo;

/// 20130807 and 20151029, which share the layout of the build of 2012-04-18.
/// They differ in one id: [`STORE_PASSWORD_2013`], [`STORE_PASSWORD_2015`].
#[rustfmt::skip]
pub(crate) static FROM_2013: &[PacketInfo] = &[
    c(0x0202, Movement, "CZ_CHANGE_DIRECTION"),
    c(0x022D, System, "CZ_ENTER"),
    c(0x023B, Other, "CZ_ADD_FRIENDS"),
    c(0x0281, Item, "CZ_ITEMLISTWIN_RES"),
    c(0x035F, System, "CZ_REQUEST_TIME"),
    c(0x0360, Item, "CZ_REQ_CLICK_TO_BUYING_STORE"),
    c(0x0361, Other, "CZ_COMMAND_MER"),
    c(0x0362, Item, "CZ_ITEM_THROW"),
    c(0x0363, Other, "CZ_JOIN_BATTLE_FIELD"),
    c(0x0364, Item, "CZ_MOVE_ITEM_FROM_STORE_TO_BODY"),
    c(0x0365, Group, "CZ_PARTY_BOOKING_REQ_REGISTER"),
    c(0x0366, Skill, "CZ_USE_SKILL_TOGROUND_WITHTALKBOX"),
    c(0x0368, Other, "CZ_REQNAME_BYGID"),
    c(0x0369, Other, "CZ_REQUEST_ACT"),
    c(0x0436, Other, "CZ_GANGSI_RANK"),
    c(0x0437, Movement, "CZ_REQUEST_MOVE"),
    c(0x0438, Skill, "CZ_USE_SKILL_TOGROUND"),
    c(0x07E4, Item, "CZ_ITEM_PICKUP"),
    c(0x07EC, Item, "CZ_MOVE_ITEM_FROM_BODY_TO_STORE"),
    c(0x0802, Group, "CZ_PARTY_JOIN_REQ"),
    c(0x0811, Item, "CZ_REQ_TRADE_BUYING_STORE"),
    c(0x0815, Item, "CZ_REQ_OPEN_BUYING_STORE"),
    c(0x0817, Item, "CZ_REQ_CLOSE_BUYING_STORE"),
    c(0x0819, Item, "CZ_SEARCH_STORE_INFO"),
    c(0x0835, Item, "CZ_SEARCH_STORE_INFO_NEXT_PAGE"),
    c(0x0838, Item, "CZ_SSILIST_ITEM_CLICK"),
    c(0x083C, Skill, "CZ_USE_SKILL"),
    c(0x096A, Other, "CZ_REQNAME"),
];

/// 20130807 only.
pub(crate) static STORE_PASSWORD_2013: PacketInfo = c(0x0887, Item, "CZ_ACK_STORE_PASSWORD");

/// 20151029 only.
pub(crate) static STORE_PASSWORD_2015: PacketInfo = c(0x0860, Item, "CZ_ACK_STORE_PASSWORD");

/// 20170614.
#[rustfmt::skip]
pub(crate) static FROM_2017: &[PacketInfo] = &[
    c(0x023B, Item, "CZ_MOVE_ITEM_FROM_STORE_TO_BODY"),
    c(0x0361, Movement, "CZ_REQUEST_MOVE"),
    c(0x0364, Other, "CZ_COMMAND_MER"),
    c(0x0367, Item, "CZ_ITEM_THROW"),
    c(0x0437, Item, "CZ_ACK_STORE_PASSWORD"),
    c(0x0838, Skill, "CZ_USE_SKILL_TOGROUND"),
    c(0x083C, Other, "CZ_REQUEST_ACT"),
    c(0x0860, Item, "CZ_REQ_CLICK_TO_BUYING_STORE"),
    c(0x0865, Other, "CZ_GANGSI_RANK"),
    c(0x0866, System, "CZ_REQUEST_TIME"),
    c(0x0867, Other, "CZ_ADD_FRIENDS"),
    c(0x086B, Item, "CZ_REQ_CLOSE_BUYING_STORE"),
    c(0x086C, Item, "CZ_SEARCH_STORE_INFO"),
    c(0x0877, Group, "CZ_PARTY_BOOKING_REQ_REGISTER"),
    c(0x0879, Item, "CZ_MOVE_ITEM_FROM_BODY_TO_STORE"),
    c(0x087D, Other, "CZ_REQNAME_BYGID"),
    c(0x087E, Movement, "CZ_CHANGE_DIRECTION"),
    c(0x0889, Skill, "CZ_USE_SKILL_TOGROUND_WITHTALKBOX"),
    c(0x0899, Group, "CZ_PARTY_JOIN_REQ"),
    c(0x089D, Item, "CZ_ITEMLISTWIN_RES"),
    c(0x08A2, Item, "CZ_REQ_OPEN_BUYING_STORE"),
    c(0x08AD, Item, "CZ_ITEM_PICKUP"),
    c(0x091B, Skill, "CZ_USE_SKILL"),
    c(0x0928, Item, "CZ_SEARCH_STORE_INFO_NEXT_PAGE"),
    c(0x092F, Item, "CZ_REQ_TRADE_BUYING_STORE"),
    c(0x0936, Other, "CZ_REQNAME"),
    c(0x0944, System, "CZ_ENTER"),
    c(0x0957, Other, "CZ_JOIN_BATTLE_FIELD"),
    c(0x0963, Item, "CZ_SSILIST_ITEM_CLICK"),
];

/// 20180621 and later: the ids of 2010, which are no longer shuffled.
#[rustfmt::skip]
pub(crate) static PLAIN: &[PacketInfo] = &[
    c(0x0202, Other, "CZ_ADD_FRIENDS"),
    c(0x022D, Other, "CZ_COMMAND_MER"),
    c(0x023B, Item, "CZ_ACK_STORE_PASSWORD"),
    c(0x0281, Other, "CZ_GANGSI_RANK"),
    c(0x02C4, Group, "CZ_PARTY_JOIN_REQ"),
    c(0x035F, Movement, "CZ_REQUEST_MOVE"),
    c(0x0360, System, "CZ_REQUEST_TIME"),
    c(0x0361, Movement, "CZ_CHANGE_DIRECTION"),
    c(0x0362, Item, "CZ_ITEM_PICKUP"),
    c(0x0363, Item, "CZ_ITEM_THROW"),
    c(0x0364, Item, "CZ_MOVE_ITEM_FROM_BODY_TO_STORE"),
    c(0x0365, Item, "CZ_MOVE_ITEM_FROM_STORE_TO_BODY"),
    c(0x0366, Skill, "CZ_USE_SKILL_TOGROUND"),
    c(0x0367, Skill, "CZ_USE_SKILL_TOGROUND_WITHTALKBOX"),
    c(0x0368, Other, "CZ_REQNAME"),
    c(0x0369, Other, "CZ_REQNAME_BYGID"),
    c(0x0436, System, "CZ_ENTER"),
    c(0x0437, Other, "CZ_REQUEST_ACT"),
    c(0x0438, Skill, "CZ_USE_SKILL"),
    c(0x07E4, Item, "CZ_ITEMLISTWIN_RES"),
    c(0x07EC, Other, "CZ_JOIN_BATTLE_FIELD"),
    c(0x0802, Group, "CZ_PARTY_BOOKING_REQ_REGISTER"),
    c(0x0811, Item, "CZ_REQ_OPEN_BUYING_STORE"),
    c(0x0815, Item, "CZ_REQ_CLOSE_BUYING_STORE"),
    c(0x0817, Item, "CZ_REQ_CLICK_TO_BUYING_STORE"),
    c(0x0819, Item, "CZ_REQ_TRADE_BUYING_STORE"),
    c(0x0835, Item, "CZ_SEARCH_STORE_INFO"),
    c(0x0838, Item, "CZ_SEARCH_STORE_INFO_NEXT_PAGE"),
    c(0x083C, Item, "CZ_SSILIST_ITEM_CLICK"),
];
