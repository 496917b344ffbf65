//! Bytes: building packets, reading their fields, telling where one ends.

pub(crate) mod bytes;
pub(crate) mod digest;
pub(crate) mod frame;
pub(crate) mod packets;
pub(crate) mod tick;
pub(crate) mod units;

pub(crate) use bytes::{Fields, Packet};
pub(crate) use digest::StreamDigest;
pub(crate) use frame::{Head, head, id_of, table};
