//! The packets that are measured.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use warp_ro_packet::{Direction, FrameKind, Framer, PacketLength, PacketTable, Role, recording};

/// Bytes of a read when many packets come at once: what one TCP segment holds on most ways.
pub(crate) const SEGMENT: usize = 1460;
/// Packets of a made mix, about.
const PACKETS: usize = 1000;

/// How a mix comes out of the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// One packet a read.
    Single,
    /// Full segments.
    Segments,
    /// As they were recorded.
    Recorded,
}

impl Reads {
    /// For a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Reads::Single => "1 packet",
            Reads::Segments => "1460 B",
            Reads::Recorded => "recorded",
        }
    }
}

/// One direction of one connection.
pub(crate) struct Mix {
    /// Whose table.
    pub(crate) version: u32,
    pub(crate) name: &'static str,
    pub(crate) table: Arc<PacketTable>,
    pub(crate) role: Role,
    pub(crate) direction: Direction,
    /// What this is about is a player's steady state: nothing may be allocated per packet.
    pub(crate) hot: bool,
    /// Whole packets with their ids.
    pub(crate) packets: Vec<(u16, Vec<u8>)>,
    recorded: Option<Vec<Vec<u8>>>,
}

impl Mix {
    /// Bytes of all packets.
    pub(crate) fn bytes(&self) -> usize {
        self.packets.iter().map(|(_, packet)| packet.len()).sum()
    }

    /// The ways in which this mix is read.
    pub(crate) fn readings(&self) -> &'static [Reads] {
        if self.recorded.is_some() {
            &[Reads::Recorded]
        } else {
            &[Reads::Single, Reads::Segments]
        }
    }

    /// The bytes as reads of the socket.
    pub(crate) fn reads(&self, reads: Reads) -> Vec<Vec<u8>> {
        let packets = || self.packets.iter().map(|(_, packet)| packet.clone());
        match (reads, &self.recorded) {
            (Reads::Recorded, Some(recorded)) => recorded.clone(),
            (Reads::Segments, _) => {
                let all: Vec<u8> = packets().flatten().collect();
                all.chunks(SEGMENT).map(<[u8]>::to_vec).collect()
            }
            (Reads::Single | Reads::Recorded, _) => packets().collect(),
        }
    }

    fn made(
        table: &Arc<PacketTable>,
        name: &'static str,
        direction: Direction,
        hot: bool,
        round: &[Vec<u8>],
    ) -> Self {
        let mut packets: Vec<(u16, Vec<u8>)> = (round.iter().cycle())
            .take(PACKETS / round.len() * round.len())
            .filter_map(|packet| Some((id_of(packet)?, packet.clone())))
            .collect();
        // The clock in a time sync goes on, or it would be the same packet again.
        let sync = table.roles().time_sync;
        for (tick, (id, packet)) in (0_u32..).zip(&mut packets) {
            if Some(*id) == sync
                && let Some(clock) = packet.last_chunk_mut::<4>()
            {
                *clock = tick.to_le_bytes();
            }
        }
        Self {
            version: table.version(),
            name,
            table: Arc::clone(table),
            role: Role::Map,
            direction,
            hot,
            packets,
            recorded: None,
        }
    }
}

fn id_of(packet: &[u8]) -> Option<u16> {
    packet.first_chunk().map(|id| u16::from_le_bytes(*id))
}

/// The mixes of one version.
///
/// # Errors
/// The version has no table, or lacks a packet that every version should have.
pub(crate) fn made(version: u32) -> Result<Vec<Mix>> {
    use Direction::{ClientToServer as Up, ServerToClient as Down};
    let table = PacketTable::for_version(version).with_context(|| format!("version {version}"))?;
    let maker = Maker { table: &table };
    let roles = table.roles();
    let walk = maker.named("CZ_REQUEST_MOVE")?;
    let look = maker.named("CZ_CHANGE_DIRECTION")?;
    let sync = roles.time_sync.context("no time sync")?;
    let chat = roles.public_chat.context("no public chat")?;
    // What a player who walks about sends in two seconds, and what the server answers.
    let walking_up: Vec<u16> = [[walk; 4].as_slice(), &[look], &[walk; 4], &[sync]].concat();
    let walking_down = [[0x0087; 4].as_slice(), &[0x009C], &[0x0087; 4], &[TIME]].concat();
    let unit = maker.first(&[0x09FF, 0x09DD, 0x0915])?;
    let unit_walks = maker.first(&[0x09FD, 0x09DB, 0x0914])?;
    let town = [[unit; 8].as_slice(), &[unit_walks; 2], &[0x0087, 0x0080]].concat();
    let says = b"Wanderer : anyone for the old castle? |-)";
    let address = maker.first(&[0x0AC7, 0x0092])?;
    let mut moved = maker.packet(address, 0)?;
    // map name, cell, then the address: 203.0.113.7:5121
    moved[2..18].copy_from_slice(b"geffen.gat\0\0\0\0\0\0");
    moved[22..28].copy_from_slice(&[203, 0, 113, 7, 0x01, 0x14]);
    if let Some(text) = moved.get_mut(28..) {
        text.fill(0);
    }
    let all = |ids: &[u16]| -> Result<Vec<Vec<u8>>> {
        ids.iter().map(|id| maker.packet(*id, 80)).collect()
    };
    Ok(vec![
        Mix::made(&table, "walking, client", Up, true, &all(&walking_up)?),
        Mix::made(&table, "walking, server", Down, true, &all(&walking_down)?),
        Mix::made(
            &table,
            "chat, client",
            Up,
            true,
            &[maker.text(chat, &[], says)?],
        ),
        Mix::made(
            &table,
            "chat, server",
            Down,
            true,
            &[maker.text(0x008D, &[7, 0, 0, 0], says)?],
        ),
        Mix::made(&table, "town burst", Down, true, &all(&town)?),
        Mix::made(&table, "address packets", Down, false, &[moved]),
    ])
}

/// The server's answer to a time sync: id of a packet of every version.
pub(crate) const TIME: u16 = 0x007F;

/// The packet `id`, filled with something; empty if the table has none.
pub(crate) fn packet(table: &PacketTable, id: u16) -> Vec<u8> {
    Maker { table }.packet(id, 80).unwrap_or_default()
}

struct Maker<'a> {
    table: &'a PacketTable,
}

impl Maker<'_> {
    fn named(&self, name: &str) -> Result<u16> {
        let known = self.table.known().iter().find(|info| info.name == name);
        let version = self.table.version();
        Ok(known
            .with_context(|| format!("{version} has no {name}"))?
            .id)
    }

    fn first(&self, ids: &[u16]) -> Result<u16> {
        let known = ids.iter().find(|id| self.table.length_of(**id).is_some());
        let version = self.table.version();
        known
            .copied()
            .with_context(|| format!("{version} has none of {ids:04X?}"))
    }

    /// A packet with bytes that do not matter behind its head; `body` of them if it is variable.
    fn packet(&self, id: u16, body: usize) -> Result<Vec<u8>> {
        let filler = |length: usize| (0..length).map(|at| at as u8 | 0x40);
        let length = self.table.length_of(id);
        Ok(
            match length.with_context(|| format!("no packet {id:04X}"))? {
                PacketLength::Fixed(length) => {
                    let mut packet = id.to_le_bytes().to_vec();
                    packet.extend(filler(usize::from(length) - 2));
                    packet
                }
                PacketLength::Variable => self.text(id, &[], &filler(body).collect::<Vec<u8>>())?,
            },
        )
    }

    /// A variable packet with these bytes and an ending zero.
    fn text(&self, id: u16, head: &[u8], text: &[u8]) -> Result<Vec<u8>> {
        let length = u16::try_from(4 + head.len() + text.len() + 1)?;
        let start = [id.to_le_bytes(), length.to_le_bytes()].concat();
        Ok([&start, head, text, &[0]].concat())
    }
}

/// Recorded sessions of map connections, both directions.
///
/// # Errors
/// The folder holds something else.
pub(crate) fn recorded(folder: &Path) -> Result<Vec<Mix>> {
    let version = 20_211_103;
    let table = PacketTable::for_version(version).context("no table")?;
    let mut mixes = Vec::new();
    for (file, name) in [
        ("s1-006-map-C", "recorded play, client"),
        ("s1-006-map-S", "recorded play, server"),
        ("bw-005-map-S", "recorded walk, server"),
    ] {
        let path = folder.join(format!("{file}.txt"));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let recording = recording::parse(file, &text)?;
        let reads: Vec<Vec<u8>> = (recording.items.iter())
            .map(|(_, bytes)| bytes.to_vec())
            .collect();
        let mut framer = Framer::new(Arc::clone(&table), recording.role, recording.direction);
        framer.push(&reads.concat());
        let mut packets = Vec::new();
        while let Some(frame) = framer.next_frame() {
            let FrameKind::Packet(id) = frame.kind else {
                anyhow::bail!("{file}: {:?}", frame.kind);
            };
            packets.push((id, frame.bytes.to_vec()));
        }
        mixes.push(Mix {
            version,
            name,
            table: Arc::clone(&table),
            role: recording.role,
            direction: recording.direction,
            // The player enters and changes maps in it.
            hot: false,
            packets,
            recorded: Some(reads),
        });
    }
    Ok(mixes)
}
