//! Bytes: building packets, reading their fields, telling where one ends.

pub(crate) mod bytes;
pub(crate) mod dialect;
pub(crate) mod digest;
pub(crate) mod frame;
pub(crate) mod packets;
pub(crate) mod requests;
pub(crate) mod shield;
pub(crate) mod tick;
pub(crate) mod units;

pub(crate) use bytes::{Fields, Packet};
pub(crate) use dialect::Dialect;
pub(crate) use digest::StreamDigest;
pub(crate) use frame::{Cutter, Head, id_of};
