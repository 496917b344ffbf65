//! Units on the map and characters of an account: long layouts that grew from version to version.
//!
//! The fields lie behind one another, so only their order and the versions that have them are
//! written down. Versions are those of the renewal ("RE") clients.

use super::layout::{NEXT, Slot, i16, i32, i64, path, position, skip, text, u8, u16, u32};

/// Item ids, and the shield of a unit, grew from 16 to 32 bits.
pub(super) const WIDE_ITEMS: u32 = 20_180_704;

/// Units carry the id of the account beside the id of the character.
const UNIT_AID: u32 = 20_131_223;
/// Units carry their health.
const UNIT_HEALTH: u32 = 20_120_221;
/// Units carry the style of their body.
const UNIT_BODY: u32 = 20_150_513;

/// The three packets of a unit, which differ by the tick of the move, by position or move, and by
/// the posture.
macro_rules! unit {
    ($name:ident, $about:literal, [$($tick:expr)?], $place:expr, [$($posture:expr)?]) => {
        #[doc = $about]
        pub(super) const $name: &[Slot] = &[
            u8(4, "type"),
            u32(NEXT, "AID").since(UNIT_AID),
            u32(NEXT, "GID"),
            u16(NEXT, "speed"),
            u16(NEXT, "body_state"),
            u16(NEXT, "health_state"),
            u32(NEXT, "option"),
            u16(NEXT, "job"),
            u16(NEXT, "hair"),
            u32(NEXT, "weapon"),
            u32(NEXT, "shield").since(WIDE_ITEMS),
            u16(NEXT, "head_low"),
            $($tick,)?
            u16(NEXT, "head_top"),
            u16(NEXT, "head_mid"),
            u16(NEXT, "hair_color"),
            u16(NEXT, "clothes_color"),
            u16(NEXT, "head_dir"),
            u16(NEXT, "robe"),
            u32(NEXT, "guild"),
            u16(NEXT, "emblem"),
            i16(NEXT, "manner"),
            u32(NEXT, "virtue"),
            u8(NEXT, "pk"),
            u8(NEXT, "sex"),
            $place,
            u8(NEXT, "x_size"),
            u8(NEXT, "y_size"),
            $($posture,)?
            u16(NEXT, "level"),
            u16(NEXT, "font"),
            i32(NEXT, "max_hp").since(UNIT_HEALTH),
            i32(NEXT, "hp").since(UNIT_HEALTH),
            u8(NEXT, "boss").since(UNIT_HEALTH),
            u16(NEXT, "body").since(UNIT_BODY),
            text(NEXT, 24, "name"),
        ];
    };
}

unit!(
    STANDING,
    "ZC_NOTIFY_STANDENTRY: a unit that stands, sits or lies.",
    [],
    position(NEXT),
    [u8(NEXT, "posture")]
);
unit!(
    NEW,
    "ZC_NOTIFY_NEWENTRY: a unit that has just arrived.",
    [],
    position(NEXT),
    []
);
unit!(
    MOVING,
    "ZC_NOTIFY_MOVEENTRY: a unit that walks.",
    [u32(NEXT, "tick")],
    path(NEXT),
    []
);

/// Experience grew to 64 bits.
const WIDE_EXPERIENCE: u32 = 20_170_830;
/// Health and spell points of a character grew to 64 bits.
const WIDE_HEALTH: u32 = 20_211_103;
/// Characters carry the style of their body.
const CHARACTER_BODY: u32 = 20_141_022;
/// Characters carry their sex.
const CHARACTER_SEX: u32 = 20_141_016;

/// A character of an account: 144, 147, 155 or 175 bytes.
pub(super) const CHARACTER: &[Slot] = &[
    u32(0, "GID"),
    u32(NEXT, "base_exp").before(WIDE_EXPERIENCE),
    i64(NEXT, "base_exp").since(WIDE_EXPERIENCE),
    u32(NEXT, "zeny"),
    u32(NEXT, "job_exp").before(WIDE_EXPERIENCE),
    i64(NEXT, "job_exp").since(WIDE_EXPERIENCE),
    u32(NEXT, "job_level"),
    u32(NEXT, "body_state"),
    u32(NEXT, "health_state"),
    u32(NEXT, "option"),
    i32(NEXT, "karma"),
    i32(NEXT, "manner"),
    u16(NEXT, "status_points"),
    u32(NEXT, "hp").before(WIDE_HEALTH),
    u32(NEXT, "max_hp").before(WIDE_HEALTH),
    u16(NEXT, "sp").before(WIDE_HEALTH),
    u16(NEXT, "max_sp").before(WIDE_HEALTH),
    i64(NEXT, "hp").since(WIDE_HEALTH),
    i64(NEXT, "max_hp").since(WIDE_HEALTH),
    i64(NEXT, "sp").since(WIDE_HEALTH),
    i64(NEXT, "max_sp").since(WIDE_HEALTH),
    u16(NEXT, "speed"),
    u16(NEXT, "job"),
    u16(NEXT, "hair"),
    u16(NEXT, "body").since(CHARACTER_BODY),
    u16(NEXT, "weapon"),
    u16(NEXT, "base_level"),
    u16(NEXT, "skill_points"),
    u16(NEXT, "head_low"),
    u16(NEXT, "shield"),
    u16(NEXT, "head_top"),
    u16(NEXT, "head_mid"),
    u16(NEXT, "hair_color"),
    u16(NEXT, "clothes_color"),
    text(NEXT, 24, "name"),
    u8(NEXT, "str"),
    u8(NEXT, "agi"),
    u8(NEXT, "vit"),
    u8(NEXT, "int"),
    u8(NEXT, "dex"),
    u8(NEXT, "luk"),
    u8(NEXT, "slot"),
    skip(1), // the hair colour again
    u16(NEXT, "renamed"),
    text(NEXT, 16, "map"),
    u32(NEXT, "delete_date"),
    u32(NEXT, "robe"),
    u32(NEXT, "moves_left"),
    u32(NEXT, "renames_left"),
    u8(NEXT, "sex").since(CHARACTER_SEX),
];
