//! The client versions that are compiled in, one module each. To add one: a module with its
//! `LENGTHS` and `KNOWN`, and a row here, in ascending order.

use crate::table::PacketTable;

mod v20211103;
mod v20211103_known;

/// Every compiled-in version, oldest first.
pub(crate) static ALL: &[PacketTable] = &[PacketTable {
    version: 20_211_103,
    lengths: &v20211103::LENGTHS,
    known: v20211103_known::KNOWN,
}];
