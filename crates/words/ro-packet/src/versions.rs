//! The client versions that are compiled in. To add one: a module with its lengths, its shuffled
//! ids in [`known::shuffled`], and a [`Compiled`] here, in ascending order.

use std::borrow::Cow;
use std::slice;
use std::sync::{Arc, LazyLock};

use crate::cipher::IdKeys;
use crate::class::PacketInfo;
use crate::roles::Roles;
use crate::table::{PacketTable, TableParts};

mod known;
mod v20130807;
mod v20151029;
mod v20170614;
mod v20180621;
mod v20200401;
mod v20211103;

use known::shuffled::{FROM_2013, FROM_2017, PLAIN, STORE_PASSWORD_2013, STORE_PASSWORD_2015};

/// The first and the last client date (version) that gives packets to a map server other ids in every
/// build, and may hide them behind a rolling xor. Source: rAthena's `clif_shuffle.hpp` and
/// `clif_obfuscation.hpp`.
pub const SHUFFLED: std::ops::RangeInclusive<u32> = 20_110_817..=20_180_307;

/// What a version is made of.
struct Compiled {
    version: u32,
    lengths: &'static [[u16; 16]],
    /// Beside what all versions have in common.
    known: &'static [&'static [PacketInfo]],
    map_enter: u16,
    time_sync: u16,
    /// From rAthena's `clif_obfuscation.hpp`; zero after 2018-03-07.
    keys: IdKeys,
    /// See [`PacketTable::char_record`]. By Hercules' `packets_hc_struct.h` two bytes less than
    /// packet 006D, or 0B6F from 2021-11-03 on.
    char_record: u16,
}

const COMPILED: [Compiled; 6] = [
    Compiled {
        version: 20_130_807,
        lengths: &v20130807::LENGTHS,
        known: &[FROM_2013, slice::from_ref(&STORE_PASSWORD_2013)],
        map_enter: 0x022D,
        time_sync: 0x035F,
        keys: IdKeys([0x7E24_1DE0, 0x5E80_5580, 0x3D80_7D80]),
        char_record: 144,
    },
    Compiled {
        version: 20_151_029,
        lengths: &v20151029::LENGTHS,
        known: &[FROM_2013, slice::from_ref(&STORE_PASSWORD_2015)],
        map_enter: 0x022D,
        time_sync: 0x035F,
        keys: IdKeys([0x45B9_45B9; 3]),
        char_record: 147,
    },
    Compiled {
        version: 20_170_614,
        lengths: &v20170614::LENGTHS,
        known: &[FROM_2017],
        map_enter: 0x0944,
        time_sync: 0x0866,
        keys: IdKeys([0x5ED1_0A48, 0x667F_4301, 0x2E5D_761F]),
        char_record: 147,
    },
    Compiled {
        version: 20_180_621,
        lengths: &v20180621::LENGTHS,
        known: &[PLAIN],
        map_enter: 0x0436,
        time_sync: 0x0360,
        keys: IdKeys([0; 3]),
        char_record: 155,
    },
    Compiled {
        version: 20_200_401,
        lengths: &v20200401::LENGTHS,
        known: &[PLAIN],
        map_enter: 0x0436,
        time_sync: 0x0360,
        keys: IdKeys([0; 3]),
        char_record: 155,
    },
    Compiled {
        version: 20_211_103,
        lengths: &v20211103::LENGTHS,
        known: &[PLAIN],
        map_enter: 0x0436,
        time_sync: 0x0360,
        keys: IdKeys([0; 3]),
        char_record: 175,
    },
];

static ALL: LazyLock<[Arc<PacketTable>; 6]> = LazyLock::new(|| COMPILED.map(|one| table(&one)));

fn table(compiled: &Compiled) -> Arc<PacketTable> {
    Arc::new(PacketTable::assemble(TableParts {
        version: compiled.version,
        lengths: Cow::Borrowed(compiled.lengths),
        known: known::with(compiled.known),
        roles: Roles {
            map_enter: Some(compiled.map_enter),
            map_loaded: Some(0x007D),
            time_sync: Some(compiled.time_sync),
            public_chat: Some(0x00F3),
            system_chat: Some(crate::chat::SYSTEM_LINE),
            char_enter: Some(0x0065),
            restart: Some(0x00B2),
        },
        keys: Some(compiled.keys).filter(|keys| !keys.is_zero()),
        char_record: Some(compiled.char_record),
    }))
}

/// Every compiled-in version, oldest first.
pub(crate) fn all() -> &'static [Arc<PacketTable>] {
    &*ALL
}

/// The newest version that is not newer than `version`; the oldest if all are newer.
pub(crate) fn nearest(version: u32) -> &'static PacketTable {
    let [oldest, ..] = &*ALL;
    ALL.iter()
        .rev()
        .find(|table| table.version() <= version)
        .unwrap_or(oldest)
}

#[cfg(test)]
mod tests;
