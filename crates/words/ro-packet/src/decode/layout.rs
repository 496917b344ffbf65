//! How layouts are written down, found and read.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Field, FieldValue, MAX_SHOWN_BYTES, client, session, world};
use crate::table::{PacketLength, PacketTable, VARIABLE};
use crate::{Direction, coords};

/// An offset that means "right behind the field before"; fields that the version does not have
/// take no room.
pub(super) const NEXT: u16 = u16::MAX;

/// A layout's length that means "the version decides"; its fields then depend on the version too.
pub(super) const ANY: u16 = 0;

/// A layout's length that means "told by the packet".
pub(super) const V: u16 = VARIABLE;

/// What stands in a field, with its width in bytes where it has a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    U16,
    I16,
    U32,
    I32,
    I64,
    /// Zero-padded text.
    Text(u16),
    /// Text to the end of the packet.
    Rest,
    /// IPv4 in network order, then the port, little-endian.
    Address,
    Position,
    Move,
    Bytes(u16),
    Hidden(u16),
    /// A secret to the end of the packet.
    HiddenRest,
    /// Takes room, is not shown.
    Skip(u16),
}

impl Kind {
    /// Width in bytes; `None`: to the end of the packet.
    fn width(self) -> Option<usize> {
        Some(match self {
            Kind::U8 => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::Position => 3,
            Kind::U32 | Kind::I32 => 4,
            Kind::Address | Kind::Move => 6,
            Kind::I64 => 8,
            Kind::Text(width) | Kind::Bytes(width) | Kind::Hidden(width) | Kind::Skip(width) => {
                usize::from(width)
            }
            Kind::Rest | Kind::HiddenRest => return None,
        })
    }
}

/// One field of a layout.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// From the packet's (or the record's) first byte, or [`NEXT`].
    pub(super) at: u16,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// First version that has it.
    since: u32,
    /// First version that no longer has it.
    before: u32,
}

impl Slot {
    pub(super) const fn since(mut self, version: u32) -> Slot {
        self.since = version;
        self
    }

    pub(super) const fn before(mut self, version: u32) -> Slot {
        self.before = version;
        self
    }

    fn is_in(&self, version: u32) -> bool {
        (self.since..self.before).contains(&version)
    }
}

const fn slot(at: u16, name: &'static str, kind: Kind) -> Slot {
    Slot {
        at,
        name,
        kind,
        since: 0,
        before: u32::MAX,
    }
}

pub(super) const fn u8(at: u16, name: &'static str) -> Slot {
    slot(at, name, Kind::U8)
}
pub(super) const fn u16(at: u16, name: &'static str) -> Slot {
    slot(at, name, Kind::U16)
}
pub(super) const fn i16(at: u16, name: &'static str) -> Slot {
    slot(at, name, Kind::I16)
}
pub(super) const fn u32(at: u16, name: &'static str) -> Slot {
    slot(at, name, Kind::U32)
}
pub(super) const fn i32(at: u16, name: &'static str) -> Slot {
    slot(at, name, Kind::I32)
}
pub(super) const fn i64(at: u16, name: &'static str) -> Slot {
    slot(at, name, Kind::I64)
}
pub(super) const fn text(at: u16, width: u16, name: &'static str) -> Slot {
    slot(at, name, Kind::Text(width))
}
pub(super) const fn rest(at: u16, name: &'static str) -> Slot {
    slot(at, name, Kind::Rest)
}
pub(super) const fn address(at: u16) -> Slot {
    slot(at, "address", Kind::Address)
}
pub(super) const fn position(at: u16) -> Slot {
    slot(at, "position", Kind::Position)
}
pub(super) const fn path(at: u16) -> Slot {
    slot(at, "move", Kind::Move)
}
pub(super) const fn bytes(at: u16, width: u16, name: &'static str) -> Slot {
    slot(at, name, Kind::Bytes(width))
}
pub(super) const fn hidden(at: u16, width: u16, name: &'static str) -> Slot {
    slot(at, name, Kind::Hidden(width))
}
pub(super) const fn hidden_rest(at: u16, name: &'static str) -> Slot {
    slot(at, name, Kind::HiddenRest)
}
pub(super) const fn skip(width: u16) -> Slot {
    slot(NEXT, "", Kind::Skip(width))
}

/// Repeated groups of fields, from an offset to the end of the packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    pub(super) name: &'static str,
    pub(super) at: u16,
    pub(super) slots: &'static [Slot],
}

/// How a packet is found: server packets keep their ids, client packets their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Id(u16),
    Name(&'static str),
}

/// The layout of one packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) key: Key,
    /// The length that the version's table must state: bytes, [`V`], or [`ANY`]. Forms of one
    /// packet that differ in length are different layouts.
    pub(super) length: u16,
    pub(super) slots: &'static [Slot],
    pub(super) list: Option<List>,
}

/// A client packet.
pub(super) const fn c(name: &'static str, length: u16, slots: &'static [Slot]) -> Layout {
    Layout {
        key: Key::Name(name),
        length,
        slots,
        list: None,
    }
}

/// A server packet.
pub(super) const fn s(id: u16, length: u16, slots: &'static [Slot]) -> Layout {
    Layout {
        key: Key::Id(id),
        length,
        slots,
        list: None,
    }
}

impl Layout {
    pub(super) const fn list(
        mut self,
        at: u16,
        name: &'static str,
        slots: &'static [Slot],
    ) -> Layout {
        self.list = Some(List { name, at, slots });
        self
    }

    fn fits(&self, table: &PacketTable, id: u16) -> bool {
        match table.length_of(id) {
            None => false,
            Some(_) if self.length == ANY => true,
            Some(PacketLength::Variable) => self.length == V,
            Some(PacketLength::Fixed(bytes)) => self.length == bytes,
        }
    }

    /// The fields of `frame`, as far as it goes.
    pub(super) fn read(&self, version: u32, frame: &[u8]) -> Vec<Field> {
        let mut fields = read_slots(self.slots, version, frame);
        if let Some(list) = self.list {
            let stride = width(list.slots, version).max(1);
            let body = frame.get(usize::from(list.at)..).unwrap_or_default();
            let records = body
                .chunks(stride)
                .map(|record| read_slots(list.slots, version, record))
                .filter(|record| !record.is_empty())
                .collect();
            fields.push(Field {
                name: list.name,
                value: FieldValue::Records(records),
            });
        }
        fields
    }
}

/// The layout of packet `id`, whose name in this version and direction is `name`.
pub(super) fn find(
    table: &PacketTable,
    direction: Direction,
    id: u16,
    name: Option<&'static str>,
) -> Option<&'static Layout> {
    let (mut layouts, key) = match direction {
        Direction::ClientToServer => (client::LAYOUTS.iter().chain(&[]), Key::Name(name?)),
        Direction::ServerToClient => (session::LAYOUTS.iter().chain(world::LAYOUTS), Key::Id(id)),
    };
    layouts.find(|layout| layout.key == key && layout.fits(table, id))
}

/// Width of a record in bytes.
pub(super) fn width(slots: &[Slot], version: u32) -> usize {
    let mut end = 0;
    let mut widest = 0;
    for slot in slots.iter().filter(|slot| slot.is_in(version)) {
        let at = if slot.at == NEXT {
            end
        } else {
            usize::from(slot.at)
        };
        end = at + slot.kind.width().unwrap_or_default();
        widest = widest.max(end);
    }
    widest
}

fn read_slots(slots: &[Slot], version: u32, frame: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut end = 0;
    for slot in slots.iter().filter(|slot| slot.is_in(version)) {
        let at = if slot.at == NEXT {
            end
        } else {
            usize::from(slot.at)
        };
        let part = match slot.kind.width() {
            Some(width) => {
                end = at + width;
                frame.get(at..end)
            }
            None => {
                end = frame.len();
                frame.get(at..)
            }
        };
        if let Some(value) = part.and_then(|part| value(slot.kind, part)) {
            fields.push(Field {
                name: slot.name,
                value,
            });
        }
    }
    fields
}

/// `None` for what is not shown. `part` is as wide as the kind says.
fn value(kind: Kind, part: &[u8]) -> Option<FieldValue> {
    let number = |number: i64| Some(FieldValue::Number(number));
    match kind {
        Kind::U8 => number((*part.first()?).into()),
        Kind::U16 => number(u16::from_le_bytes(*part.first_chunk()?).into()),
        Kind::I16 => number(i16::from_le_bytes(*part.first_chunk()?).into()),
        Kind::U32 => number(u32::from_le_bytes(*part.first_chunk()?).into()),
        Kind::I32 => number(i32::from_le_bytes(*part.first_chunk()?).into()),
        Kind::I64 => number(i64::from_le_bytes(*part.first_chunk()?)),
        Kind::Text(_) | Kind::Rest => Some(FieldValue::Text(readable(part))),
        Kind::Address => {
            let &[a, b, c, d, low, high] = part.first_chunk()?;
            Some(FieldValue::Address(SocketAddrV4::new(
                Ipv4Addr::new(a, b, c, d),
                u16::from_le_bytes([low, high]),
            )))
        }
        Kind::Position => {
            let (x, y, dir) = coords::unpack_pos(*part.first_chunk()?);
            Some(FieldValue::Position { x, y, dir })
        }
        Kind::Move => {
            let (x0, y0, x1, y1) = coords::unpack_move(*part.first_chunk()?);
            Some(FieldValue::Move {
                from: (x0, y0),
                to: (x1, y1),
            })
        }
        Kind::Bytes(_) => {
            let shown = part.get(..MAX_SHOWN_BYTES).unwrap_or(part);
            Some(FieldValue::Bytes(hex::encode(shown)))
        }
        Kind::Hidden(_) => Some(FieldValue::Hidden),
        Kind::HiddenRest => (!part.is_empty()).then_some(FieldValue::Hidden),
        Kind::Skip(_) => None,
    }
}

/// Text up to the first zero byte. Clients write their own code page: what is not UTF-8 stands as `\xNN`.
fn readable(part: &[u8]) -> String {
    let text = part.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut readable = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        readable.push_str(chunk.valid());
        for byte in chunk.invalid() {
            readable.push_str(&format!("\\x{byte:02X}"));
        }
    }
    readable
}
