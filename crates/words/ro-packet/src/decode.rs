//! What stands in a packet: decoded fields, for the inspector and for panels.
//!
//! [`decode`] looks the layout of a packet up and reads its fields. Layouts are tables: field
//! name, offset, kind (folder `decode/`). Server packets are found by their id; client packets
//! by their name in the version's table, since some versions shuffle the ids of those. Where a
//! field exists in some versions only, the layout says from which version on.
//!
//! - A packet without a layout has no fields; id, name, class and length are told all the same.
//! - A packet that is shorter than its layout has the fields that lie in it whole.
//! - Passwords, hashes, tokens, pin codes, hardware addresses and the two session numbers of a
//!   login (login_id1, login_id2) come out as [`FieldValue::Hidden`]. Bytes that no layout names
//!   do not come out at all.
//! - The result is bounded by the packet: one field takes at least one byte of it, but for an
//!   empty text at its end.
//!
//! Sources of the layouts: recordings (`tests/fixtures/captures`) for version 20211103; for what
//! was not recorded and for older versions the structures that rAthena, Hercules and OpenKore
//! read and write.

use std::fmt;
use std::net::SocketAddrV4;

use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use crate::Direction;
use crate::class::PacketClass;
use crate::table::PacketTable;

mod client;
mod layout;
mod session;
mod unit;
mod world;

/// Longest part of a field of raw bytes that [`FieldValue::Bytes`] shows.
pub const MAX_SHOWN_BYTES: usize = 64;

/// One decoded field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The field's usual name: `AID`, `GID`, `map`, `x`. No name comes twice in one packet or record.
    pub name: &'static str,
    /// What stands in it.
    pub value: FieldValue,
}

/// What stands in a field.
///
/// As JSON: number, text, address (`"a.b.c.d:port"`) and bytes (hex) are themselves, a position is
/// `{"x","y","dir"}`, a move `{"from":[x,y],"to":[x,y]}`, a hidden value `{"hidden":true}`, records
/// are a list of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// An integer of any width.
    Number(i64),
    /// A text up to its first zero byte. Bytes that are not UTF-8 stand as `\xNN`.
    Text(String),
    /// An IPv4 address with its port.
    Address(SocketAddrV4),
    /// A packed position, see [`crate::coords`].
    Position {
        /// Cell, 0 to 1023.
        x: u16,
        /// Cell, 0 to 1023.
        y: u16,
        /// 0 north, counter-clockwise to 7.
        dir: u8,
    },
    /// A packed move, see [`crate::coords`].
    Move {
        /// Cell x and y where it begins.
        from: (u16, u16),
        /// Cell x and y where it ends.
        to: (u16, u16),
    },
    /// Bytes as hex, the first [`MAX_SHOWN_BYTES`] of them.
    Bytes(String),
    /// A secret: it was there and is not shown.
    Hidden,
    /// Repeated groups of fields: the servers of a list, the characters of an account.
    Records(Vec<Vec<Field>>),
}

/// One packet, decoded. Serializes to an object whose `id` is four hex digits and whose `fields`
/// is an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decoded {
    /// The packet's id; 0 for bytes that are too short for one.
    #[serde(serialize_with = "hex_id")]
    pub id: u16,
    /// Its name, if the version's table has one for this direction.
    pub name: Option<&'static str>,
    /// What it is about.
    pub class: PacketClass,
    /// Its length in bytes.
    pub length: usize,
    /// Its fields in the order of the layout.
    #[serde(serialize_with = "as_object")]
    pub fields: Vec<Field>,
}

/// Decodes the whole packet `frame`, its id included, which travels in `direction` and belongs to
/// the version of `table`.
///
/// The id has to be plain: see [`crate::IdCipher`] and [`crate::FrameKind::Packet`].
#[must_use]
pub fn decode(table: &PacketTable, direction: Direction, frame: &[u8]) -> Decoded {
    let id = frame.first_chunk().copied().map(u16::from_le_bytes);
    let id_or_zero = id.unwrap_or_default();
    let name = id.and_then(|id| table.name_of(id, direction));
    let layout = id.and_then(|id| layout::find(table, direction, id, name));
    Decoded {
        id: id_or_zero,
        name,
        class: id.map_or(PacketClass::Other, |id| table.class_of(id)),
        length: frame.len(),
        fields: layout.map_or_else(Vec::new, |layout| layout.read(table.version(), frame)),
    }
}

impl fmt::Display for FieldValue {
    /// One word without line breaks: texts in quotes and escaped, `(x,y,dir)`, `(x,y)->(x,y)`,
    /// `***` for what is hidden, records as `[{name=value ...} ...]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldValue::Number(number) => write!(f, "{number}"),
            FieldValue::Text(text) => write!(f, "{text:?}"),
            FieldValue::Address(address) => write!(f, "{address}"),
            FieldValue::Position { x, y, dir } => write!(f, "({x},{y},{dir})"),
            FieldValue::Move { from, to } => {
                write!(f, "({},{})->({},{})", from.0, from.1, to.0, to.1)
            }
            FieldValue::Bytes(hex) => f.write_str(hex),
            FieldValue::Hidden => f.write_str("***"),
            FieldValue::Records(records) => {
                f.write_str("[")?;
                for (place, record) in records.iter().enumerate() {
                    f.write_str(if place == 0 { "{" } else { " {" })?;
                    for (place, field) in record.iter().enumerate() {
                        let space = if place == 0 { "" } else { " " };
                        write!(f, "{space}{field}")?;
                    }
                    f.write_str("}")?;
                }
                f.write_str("]")
            }
        }
    }
}

impl fmt::Display for Field {
    /// `name=value`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl Serialize for FieldValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            FieldValue::Number(number) => serializer.serialize_i64(*number),
            FieldValue::Text(text) | FieldValue::Bytes(text) => serializer.serialize_str(text),
            FieldValue::Address(address) => serializer.collect_str(address),
            FieldValue::Position { x, y, dir } => {
                let mut map = serializer.serialize_map(Some(3))?;
                map.serialize_entry("x", x)?;
                map.serialize_entry("y", y)?;
                map.serialize_entry("dir", dir)?;
                map.end()
            }
            FieldValue::Move { from, to } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("from", from)?;
                map.serialize_entry("to", to)?;
                map.end()
            }
            FieldValue::Hidden => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("hidden", &true)?;
                map.end()
            }
            FieldValue::Records(records) => {
                let mut list = serializer.serialize_seq(Some(records.len()))?;
                for record in records {
                    list.serialize_element(&Object(record))?;
                }
                list.end()
            }
        }
    }
}

/// Fields as one object, in their order.
struct Object<'a>(&'a [Field]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|field| (field.name, &field.value)))
    }
}

fn as_object<S: Serializer>(fields: &[Field], serializer: S) -> Result<S::Ok, S::Error> {
    Object(fields).serialize(serializer)
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that serde asks for"
)]
fn hex_id<S: Serializer>(id: &u16, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{id:04X}"))
}

#[cfg(test)]
mod tests;
