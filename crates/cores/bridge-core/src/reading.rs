//! Which packet table a connection is read with.

use std::sync::Arc;

use warp_ro_packet::{
    Agreement, Detection, Detector, Direction, FrameKind, Framer, IdCipher, PacketTable, Role,
    SHUFFLED, account_of,
};

use crate::event::StepDownReason;

/// How the packets of one connection are read.
#[derive(Debug, Clone)]
pub enum Reading {
    /// They are cut by a table.
    Framed {
        /// Lengths and classes of the client's version.
        table: Arc<PacketTable>,
        /// The client's ids are xored with the version's keys. Means something on map connections.
        ciphered: bool,
    },
    /// They are not, for this reason.
    Opaque(StepDownReason),
}

impl Reading {
    /// The cipher of the client's direction, if it has one.
    pub(crate) fn cipher(table: &PacketTable, role: Role, ciphered: bool) -> Option<IdCipher> {
        let hidden = ciphered && role == Role::Map;
        table.cipher().filter(|_| hidden).map(IdCipher::new)
    }

    /// What the client's first packet says, of which `head` is the beginning.
    #[must_use]
    pub fn first_packet(&self, role: Role, head: &[u8]) -> FirstPacket {
        let Reading::Framed { table, ciphered } = self else {
            return FirstPacket::Other;
        };
        let direction = Direction::ClientToServer;
        let mut framer = Framer::new(Arc::clone(table), role, direction);
        if let Some(cipher) = Reading::cipher(table, role, *ciphered) {
            framer.set_cipher(cipher);
        }
        framer.push(head);
        let Some(mut frame) = framer.next_frame() else {
            return FirstPacket::Unfinished;
        };
        if let (FrameKind::Packet(id), Some(head)) = (frame.kind, frame.bytes.first_chunk_mut()) {
            *head = id.to_le_bytes();
        }
        account_of(table, role, direction, &frame.bytes)
            .map_or(FirstPacket::Other, FirstPacket::Account)
    }
}

/// The client's first packet on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstPacket {
    /// It has not all come.
    Unfinished,
    /// CH_ENTER or CZ_ENTER of this account (AID).
    Account(u32),
    /// Any other.
    Other,
}

/// What is known of the version that a zone's clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownVersion {
    /// The version; the newest that fits, unless it is certain.
    pub version: u32,
    /// Ids on map connections are hidden.
    pub ciphered: bool,
    /// No other version fits.
    pub certain: bool,
}

/// Chooses the table for each connection of a zone: the operator's, or the one that the clients'
/// first packets show. One for each zone.
#[derive(Debug)]
pub struct Versions {
    /// Absent if there is no table to choose from.
    detector: Option<Detector>,
    /// The operator named the version.
    fixed: Option<Arc<PacketTable>>,
    /// One more than the highest id that any table has.
    ids_end: u16,
    known: Option<KnownVersion>,
    told: Option<KnownVersion>,
}

impl Versions {
    /// For clients of `version`; 0: to be found out. `own` are the operator's tables, which win over
    /// compiled-in ones of the same version; of two of the same version, the later one.
    #[must_use]
    pub fn new(version: u32, own: &[Arc<PacketTable>]) -> Versions {
        let mut tables: Vec<Arc<PacketTable>> = PacketTable::versions()
            .filter_map(PacketTable::for_version)
            .collect();
        for table in own {
            tables.retain(|other| other.version() != table.version());
            tables.push(Arc::clone(table));
        }
        if version != 0 {
            tables.retain(|table| table.version() == version);
        }
        tables.sort_by_key(|table| table.version());
        let last = tables
            .iter()
            .filter_map(|table| table.ids().last())
            .map(|(id, _)| id)
            .max();
        let fixed = if version == 0 { None } else { tables.last() };
        Versions {
            fixed: fixed.cloned(),
            detector: (!tables.is_empty()).then(|| Detector::new(tables)),
            ids_end: last.unwrap_or(0).saturating_add(1),
            known: None,
            told: None,
        }
    }

    /// How a connection is read whose client has sent `head` so far; `None`: that is too little to
    /// say.
    pub fn on_client(&mut self, role: Role, head: &[u8]) -> Option<Reading> {
        let Some(detector) = &mut self.detector else {
            return Some(Reading::Opaque(StepDownReason::NoPacketTable));
        };
        let id = match detector.note(role, Direction::ClientToServer, head) {
            Detection::NeedMore => return None,
            Detection::Table {
                table,
                certain,
                ciphered,
            } => {
                self.learn(role, table.version(), ciphered, certain);
                return Some(Reading::Framed { table, ciphered });
            }
            Detection::Unknown { id } => id,
        };
        let login_unknown = |table: &Arc<PacketTable>| table.roles().map_enter.is_none();
        Some(
            if role == Role::Map && self.fixed.as_ref().is_some_and(login_unknown) {
                Reading::Opaque(StepDownReason::UnknownMapLogin { id })
            } else if self.hidden(role, id) {
                Reading::Opaque(StepDownReason::ObfuscatedIds { id })
            } else if let Some(table) = &self.fixed {
                // The operator knows better, until a packet says otherwise.
                Reading::Framed {
                    table: Arc::clone(table),
                    ciphered: false,
                }
            } else {
                Reading::Opaque(StepDownReason::UnknownVersion { id })
            },
        )
    }

    /// The same for what the server has sent so far; `None` as well if it says nothing new.
    pub fn on_server(&mut self, role: Role, head: &[u8]) -> Option<Reading> {
        let detector = self.detector.as_mut()?;
        match detector.note(role, Direction::ServerToClient, head) {
            Detection::Table { table, certain, .. } => {
                let ciphered = self.known.is_some_and(|known| known.ciphered);
                self.learn(role, table.version(), ciphered, certain);
                Some(Reading::Framed {
                    table,
                    ciphered: false,
                })
            }
            Detection::NeedMore | Detection::Unknown { .. } => None,
        }
    }

    /// What a side has sent behind its beginning, from a packet border on, in plain; see
    /// [`Detector::note_later`].
    pub(crate) fn on_later(
        &mut self,
        role: Role,
        direction: Direction,
        packets: &[u8],
        settled: bool,
    ) -> Agreement {
        let all = Agreement {
            bytes: packets.len(),
            undecided: false,
            learned: false,
        };
        let Some(detector) = &mut self.detector else {
            return all;
        };
        let agreement = detector.note_later(direction, packets, settled);
        if agreement.learned
            && let Some((version, certain)) = detector
                .best()
                .map(|table| (table.version(), detector.certain()))
        {
            let ciphered = self.known.is_some_and(|known| known.ciphered);
            self.learn(role, version, ciphered, certain);
        }
        agreement
    }

    /// How a connection is read whose client has said nothing: by the newest version that fits the
    /// connections before it.
    #[must_use]
    pub fn guess(&self) -> Reading {
        match self.detector.as_ref().and_then(Detector::best) {
            Some(table) => Reading::Framed {
                table: Arc::clone(table),
                ciphered: false,
            },
            None => Reading::Opaque(StepDownReason::NoPacketTable),
        }
    }

    /// Whether connections to come can still say something about the version.
    #[must_use]
    pub fn certain(&self) -> bool {
        self.detector.as_ref().is_none_or(Detector::certain)
    }

    /// What is known now, if that was not told yet.
    pub fn poll_change(&mut self) -> Option<KnownVersion> {
        if self.known == self.told {
            return None;
        }
        self.told = self.known;
        self.known
    }

    fn learn(&mut self, role: Role, version: u32, ciphered: bool, certain: bool) {
        let before = self.known.is_some_and(|known| known.ciphered);
        self.known = Some(KnownVersion {
            version,
            // Other connections say nothing about it.
            ciphered: if role == Role::Map { ciphered } else { before },
            certain,
        });
    }

    /// Whether `id`, which no table knows at the beginning of a connection, is most likely hidden by
    /// a key. Only map connections have hidden ids; the xor reaches far beyond the ids in use.
    fn hidden(&self, role: Role, id: u16) -> bool {
        let Some(best) = self.detector.as_ref().and_then(Detector::best) else {
            return false;
        };
        let only = self.certain() && SHUFFLED.contains(&best.version());
        role == Role::Map && (only || (self.fixed.is_none() && id >= self.ids_end))
    }
}
