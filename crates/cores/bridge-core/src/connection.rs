//! The pipeline of one connection.

use std::fmt;
use std::net::SocketAddrV4;

use bytes::{Bytes, BytesMut};
use warp_ro_packet::{
    Direction, Frame, FrameKind, Framer, MAP_ENTER, PacketClass, PacketTable, Role,
    announces_addresses, map_name, rewrite_addresses,
};

use crate::counters::Counters;
use crate::event::{BridgeEvent, EventQueue, Level, StepDownReason};

/// Decides where the client is told to find a server.
pub trait AddressBook {
    /// The loopback address behind which the bridge carries connections to `upstream`, a server
    /// of the kind `role` that was just announced. The client connects there as soon as it has
    /// read the packet, so it must be listened on by then.
    ///
    /// The same question must get the same answer. `upstream` itself as the answer leaves the
    /// packet as it is. One packet may announce up to 409 servers, and a server may send any
    /// number of packets: what an implementation keeps per address must be bounded by itself.
    fn loopback_for(&mut self, role: Role, upstream: SocketAddrV4) -> SocketAddrV4;
}

/// One write to the game server.
#[derive(Clone, PartialEq, Eq)]
pub struct ToServer {
    /// The bytes, never empty: one whole packet if `id` is set, else raw bytes.
    pub payload: Bytes,
    /// Nothing may be written behind this before the server has answered (map entry, 0436).
    pub alone: bool,
    /// What the packet is about; `Other` for raw bytes.
    pub class: PacketClass,
    /// The packet's id, or `None` for bytes that were not framed.
    pub id: Option<u16>,
}

/// Shows no content: login packets carry passwords.
impl fmt::Debug for ToServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToServer")
            .field("id", &self.id.map(|id| format!("{id:04X}")))
            .field("class", &self.class)
            .field("alone", &self.alone)
            .field("len", &self.payload.len())
            .finish()
    }
}

/// The framers of a connection whose packet version is known.
#[derive(Debug)]
struct Framing {
    table: &'static PacketTable,
    client: Framer,
    server: Framer,
}

/// One TCP connection of the game client to one game server. See the crate's rules.
#[derive(Debug)]
pub struct BridgeConnection {
    role: Role,
    level: Level,
    framing: Option<Framing>,
    counters: Counters,
    events: EventQueue,
    map: Option<String>,
}

impl BridgeConnection {
    /// A new connection to the server `role`, to be read at `level`.
    ///
    /// Without a table only [`Level::Opaque`] is possible: any other level steps down at once,
    /// with an event.
    #[must_use]
    pub fn new(role: Role, table: Option<&'static PacketTable>, level: Level) -> BridgeConnection {
        let framing = match (level, table) {
            (Level::Assist | Level::Rewrite, Some(table)) => Some(Framing {
                table,
                client: Framer::new(table, role, Direction::ClientToServer),
                server: Framer::new(table, role, Direction::ServerToClient),
            }),
            (Level::Opaque, _) | (_, None) => None,
        };
        let mut connection = BridgeConnection {
            role,
            level,
            framing,
            counters: Counters::default(),
            events: EventQueue::default(),
            map: None,
        };
        if connection.framing.is_none() {
            connection.step_down(Level::Opaque, StepDownReason::NoPacketTable);
        }
        connection
    }

    /// Which server this connection leads to.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// How far the connection is read now.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// The map that the server last sent the player to on this connection, without its `.gat`.
    #[must_use]
    pub fn map(&self) -> Option<&str> {
        self.map.as_deref()
    }

    /// What was handed on so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The next event, oldest first; `None` when all are told.
    pub fn poll_event(&mut self) -> Option<BridgeEvent> {
        self.events.pop()
    }

    /// How many events were dropped because nobody polled them; see [`crate::MAX_EVENTS`].
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.events.lost()
    }

    /// How many bytes of one direction wait for the rest of their packet.
    #[must_use]
    pub fn waiting(&self, direction: Direction) -> usize {
        self.framing.as_ref().map_or(0, |framing| match direction {
            Direction::ClientToServer => framing.client.pending(),
            Direction::ServerToClient => framing.server.pending(),
        })
    }

    /// Steps down to `to` and emits the event; does nothing (and returns `false`) unless `to` is
    /// below the level now.
    ///
    /// After a step to opaque, call both `release_*` methods: bytes may have been waiting.
    pub fn step_down(&mut self, to: Level, reason: StepDownReason) -> bool {
        if !to.is_below(self.level) {
            return false;
        }
        let from = std::mem::replace(&mut self.level, to);
        if to == Level::Opaque
            && let Some(framing) = &mut self.framing
        {
            framing.client.make_opaque();
            framing.server.make_opaque();
        }
        self.events
            .push(BridgeEvent::SteppedDown { from, to, reason });
        true
    }

    /// Takes what the client wrote, and gives `out` what to write to the server, in order: one
    /// whole packet each, or, when opaque, the bytes of this call as one message.
    pub fn client_bytes(&mut self, bytes: Bytes, out: &mut impl FnMut(ToServer)) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.framing {
            Some(framing) => framing.client.push_owned(bytes),
            None => return self.raw_to_server(bytes, out),
        }
        self.drain_client(out);
    }

    /// Takes what the server wrote, and gives `out` what to write to the client: all packets that
    /// are whole by now in one piece, the addresses in them replaced through `book`.
    pub fn server_bytes(
        &mut self,
        bytes: Bytes,
        book: &mut dyn AddressBook,
        out: &mut impl FnMut(Bytes),
    ) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.framing {
            Some(framing) => framing.server.push_owned(bytes),
            None => {
                self.counters.raw(Direction::ServerToClient, bytes.len());
                return out(bytes);
            }
        }
        self.drain_server(Some(book), out);
    }

    /// Hands out what the client's direction held back when the connection became opaque.
    /// Does nothing otherwise.
    pub fn release_to_server(&mut self, out: &mut impl FnMut(ToServer)) {
        if self.level == Level::Opaque {
            self.drain_client(out);
        }
    }

    /// Hands out what the server's direction held back when the connection became opaque.
    /// Does nothing otherwise.
    pub fn release_to_client(&mut self, out: &mut impl FnMut(Bytes)) {
        if self.level == Level::Opaque {
            self.drain_server(None, out);
        }
    }

    /// The client's stream has ended: hands out what is left of it, as it is.
    pub fn finish_client(&mut self, out: &mut impl FnMut(ToServer)) {
        self.release_to_server(out);
        let rest = self.framing.as_mut().and_then(|f| f.client.finish());
        if let Some(rest) = rest {
            self.note_partial(Direction::ClientToServer, rest.bytes.len());
            self.raw_to_server(rest.bytes.freeze(), out);
        }
    }

    /// The server's stream has ended: hands out what is left of it, as it is.
    pub fn finish_server(&mut self, out: &mut impl FnMut(Bytes)) {
        self.release_to_client(out);
        let rest = self.framing.as_mut().and_then(|f| f.server.finish());
        if let Some(rest) = rest {
            self.note_partial(Direction::ServerToClient, rest.bytes.len());
            self.counters
                .raw(Direction::ServerToClient, rest.bytes.len());
            out(rest.bytes.freeze());
        }
    }

    fn note_partial(&mut self, direction: Direction, bytes: usize) {
        self.events.push(BridgeEvent::Partial { direction, bytes });
    }

    fn raw_to_server(&mut self, payload: Bytes, out: &mut impl FnMut(ToServer)) {
        self.counters.raw(Direction::ClientToServer, payload.len());
        out(ToServer {
            payload,
            alone: false,
            class: PacketClass::Other,
            id: None,
        });
    }

    fn drain_client(&mut self, out: &mut impl FnMut(ToServer)) {
        while let Some(framing) = &mut self.framing
            && let Some(Frame { kind, bytes }) = framing.client.next_frame()
        {
            match kind {
                FrameKind::Packet(id) => {
                    let class = framing.table.class_of(id);
                    self.counters
                        .packet(Direction::ClientToServer, class, bytes.len());
                    out(ToServer {
                        payload: bytes.freeze(),
                        alone: self.role == Role::Map && id == MAP_ENTER,
                        class,
                        id: Some(id),
                    });
                }
                // No client stream begins with a raw account id; as raw bytes nothing would be lost.
                FrameKind::RawAid | FrameKind::Raw => self.raw_to_server(bytes.freeze(), out),
            }
        }
        self.step_down_if_unframeable(Direction::ClientToServer);
    }

    /// `book` is absent where only raw bytes can come.
    fn drain_server(
        &mut self,
        mut book: Option<&mut dyn AddressBook>,
        out: &mut impl FnMut(Bytes),
    ) {
        const TO_CLIENT: Direction = Direction::ServerToClient;
        // Frames of one push lie behind one another: joining them again copies nothing.
        let mut whole = BytesMut::new();
        while let Some(framing) = &mut self.framing
            && let Some(Frame { kind, mut bytes }) = framing.server.next_frame()
        {
            match kind {
                FrameKind::Packet(id) => {
                    let class = framing.table.class_of(id);
                    self.counters.packet(TO_CLIENT, class, bytes.len());
                    if let Some(book) = &mut book
                        && announces_addresses(id)
                    {
                        self.rewrite(&mut bytes, *book);
                    }
                    self.note_map(&bytes);
                }
                FrameKind::RawAid => {
                    self.counters
                        .packet(TO_CLIENT, PacketClass::Other, bytes.len());
                }
                FrameKind::Raw => self.counters.raw(TO_CLIENT, bytes.len()),
            }
            whole.unsplit(bytes);
        }
        if !whole.is_empty() {
            out(whole.freeze());
        }
        self.step_down_if_unframeable(TO_CLIENT);
    }

    fn rewrite(&mut self, packet: &mut [u8], book: &mut dyn AddressBook) {
        let events = &mut self.events;
        rewrite_addresses(packet, &mut |role, upstream| {
            let loopback = book.loopback_for(role, upstream);
            events.push(BridgeEvent::ServerAnnounced {
                role,
                upstream,
                loopback,
            });
            loopback
        });
    }

    fn note_map(&mut self, packet: &[u8]) {
        let Some(name) = map_name(packet) else {
            return;
        };
        let map = name.strip_suffix(".gat").unwrap_or(name);
        if self.map.as_deref() != Some(map) {
            self.map = Some(map.to_owned());
            self.events.push(BridgeEvent::MapChanged {
                map: map.to_owned(),
            });
        }
    }

    fn step_down_if_unframeable(&mut self, direction: Direction) {
        let reason = self.framing.as_ref().and_then(|framing| match direction {
            Direction::ClientToServer => framing.client.opaque_reason(),
            Direction::ServerToClient => framing.server.opaque_reason(),
        });
        if let Some(reason) = reason {
            self.step_down(
                Level::Opaque,
                StepDownReason::unframeable(direction, reason),
            );
        }
    }
}
