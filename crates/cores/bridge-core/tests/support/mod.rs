//! Connections of the bridge's core, fed by tests.
#![allow(dead_code, reason = "not every test program uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use warp_bridge_core::{AddressBook, BridgeConnection, BridgeEvent, Level, Reading, ToServer};
use warp_protocol::carrier::PathKind;
use warp_protocol::stream::MessageKind;
use warp_ro_packet::{Direction, IdCipher, PacketClass, PacketLength, PacketTable, Role};

pub(crate) const TO_SERVER: Direction = Direction::ClientToServer;
pub(crate) const TO_CLIENT: Direction = Direction::ServerToClient;
pub(crate) const PATH: Option<PathKind> = Some(PathKind::Direct);

/// Answers with one loopback port per upstream, as a bridge does.
#[derive(Default)]
pub(crate) struct Ports(pub(crate) Vec<(Role, SocketAddrV4)>);

impl Ports {
    pub(crate) fn answer(nth: usize) -> SocketAddrV4 {
        SocketAddrV4::new(
            Ipv4Addr::LOCALHOST,
            50_000 + u16::try_from(nth).unwrap_or(0),
        )
    }
}

impl AddressBook for Ports {
    fn loopback_for(&mut self, role: Role, upstream: SocketAddrV4) -> SocketAddrV4 {
        let known = self.0.iter().position(|entry| *entry == (role, upstream));
        let nth = known.unwrap_or(self.0.len());
        if known.is_none() {
            self.0.push((role, upstream));
        }
        Ports::answer(nth)
    }
}

/// Leaves every address as it is.
pub(crate) struct Identity;

impl AddressBook for Identity {
    fn loopback_for(&mut self, _: Role, upstream: SocketAddrV4) -> SocketAddrV4 {
        upstream
    }
}

/// A message for the server, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) payload: Vec<u8>,
    pub(crate) alone: bool,
    pub(crate) class: PacketClass,
    pub(crate) id: Option<u16>,
}

/// What came out of a connection.
#[derive(Default)]
pub(crate) struct Outcome {
    /// What is written to the server.
    pub(crate) messages: Vec<Sent>,
    /// What the endpoint was given to keep the session alive.
    pub(crate) kept: Vec<Vec<u8>>,
    pub(crate) client: Vec<u8>,
    pub(crate) events: Vec<BridgeEvent>,
}

impl Outcome {
    pub(crate) fn take(&mut self, message: ToServer<'_>) {
        let payload = message.payload.to_vec();
        if message.kind == MessageKind::KeepAlive {
            return self.kept.push(payload);
        }
        self.messages.push(Sent {
            payload,
            alone: message.kind == MessageKind::Alone,
            class: message.class,
            id: message.id,
        });
    }

    pub(crate) fn to_server(&self) -> Vec<u8> {
        let payloads = self.messages.iter().map(|message| &message.payload[..]);
        payloads.collect::<Vec<_>>().concat()
    }

    pub(crate) fn steps(&self) -> usize {
        let steps = self
            .events
            .iter()
            .filter(|event| matches!(event, BridgeEvent::SteppedDown { .. }));
        steps.count()
    }

    pub(crate) fn commands(&self) -> Vec<&str> {
        let lines = self.events.iter().filter_map(|event| match event {
            BridgeEvent::Command { line } => Some(line.as_str()),
            _ => None,
        });
        lines.collect()
    }
}

/// A connection and all that came out of it.
pub(crate) struct Tap {
    pub(crate) connection: BridgeConnection,
    pub(crate) out: Outcome,
}

impl Tap {
    pub(crate) fn new(connection: BridgeConnection) -> Tap {
        let mut tap = Tap {
            connection,
            out: Outcome::default(),
        };
        tap.poll();
        tap
    }

    fn poll(&mut self) {
        self.out
            .events
            .extend(std::iter::from_fn(|| self.connection.poll_event()));
    }

    /// Hands out whatever became due, as the owner of a connection does.
    fn release(&mut self) {
        if self.connection.due(TO_SERVER) {
            let out = &mut self.out;
            self.connection
                .release_to_server(PATH, &mut |message| out.take(message));
        }
        if self.connection.due(TO_CLIENT) {
            let out = &mut self.out;
            self.connection
                .release_to_client(PATH, &mut |bytes| out.client.extend_from_slice(bytes));
        }
        assert!(!self.connection.due(TO_SERVER) && !self.connection.due(TO_CLIENT));
        self.poll();
    }

    pub(crate) fn client(&mut self, bytes: &[u8]) {
        let out = &mut self.out;
        self.connection
            .client_bytes(bytes, PATH, &mut |message| out.take(message));
        self.release();
    }

    pub(crate) fn server(&mut self, bytes: &[u8]) {
        self.server_with(bytes, &mut Identity);
    }

    pub(crate) fn server_with(&mut self, bytes: &[u8], book: &mut dyn AddressBook) {
        let out = &mut self.out;
        self.connection
            .server_bytes(bytes, PATH, book, &mut |bytes| {
                out.client.extend_from_slice(bytes);
            });
        self.release();
    }

    pub(crate) fn answer(&mut self, lines: &[&str]) -> bool {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let taken = self.connection.answer(&lines);
        self.release();
        taken
    }

    pub(crate) fn finish(&mut self) {
        let out = &mut self.out;
        self.connection
            .finish_client(PATH, &mut |message| out.take(message));
        self.connection
            .finish_server(PATH, &mut |bytes| out.client.extend_from_slice(bytes));
        self.poll();
        assert_eq!(self.connection.events_lost(), 0);
        assert_eq!(self.connection.waiting(TO_SERVER), 0);
        assert_eq!(self.connection.waiting(TO_CLIENT), 0);
    }
}

/// Cuts both streams and feeds the pieces in turns; then both ends.
pub(crate) fn run(
    connection: BridgeConnection,
    book: &mut dyn AddressBook,
    client: (&[u8], &[Index]),
    server: (&[u8], &[Index]),
) -> Tap {
    let mut tap = Tap::new(connection);
    let client = pieces(client.0, client.1);
    let server = pieces(server.0, server.1);
    for turn in 0..client.len().max(server.len()) {
        if let Some(piece) = client.get(turn) {
            tap.client(piece);
        }
        if let Some(piece) = server.get(turn) {
            tap.server_with(piece, book);
        }
    }
    tap.finish();
    tap
}

pub(crate) fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

/// A client version, with or without hidden ids.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) table: Arc<PacketTable>,
    pub(crate) ciphered: bool,
}

impl Version {
    pub(crate) fn new(version: u32, ciphered: bool) -> Version {
        let table = PacketTable::for_version(version).unwrap();
        assert!(!ciphered || table.cipher().is_some());
        Version { table, ciphered }
    }

    /// Old with plain and with hidden ids, and new.
    pub(crate) fn all() -> [Version; 3] {
        [
            Version::new(20_130_807, false),
            Version::new(20_130_807, true),
            Version::new(20_211_103, false),
        ]
    }

    pub(crate) fn reading(&self) -> Reading {
        Reading::Framed {
            table: Arc::clone(&self.table),
            ciphered: self.ciphered,
        }
    }

    pub(crate) fn connection(&self, role: Role, level: Level) -> BridgeConnection {
        BridgeConnection::new(role, level, self.reading(), true)
    }

    pub(crate) fn tap(&self, role: Role) -> Tap {
        Tap::new(self.connection(role, Level::Assist))
    }

    /// A packet of the version whose body is `fill` throughout.
    pub(crate) fn packet(&self, id: u16, fill: u8) -> Vec<u8> {
        let length = match self.table.length_of(id).unwrap() {
            PacketLength::Fixed(length) => length,
            PacketLength::Variable => 12,
        };
        let mut packet = vec![fill; usize::from(length)];
        packet[..2].copy_from_slice(&id.to_le_bytes());
        if self.table.length_of(id) == Some(PacketLength::Variable) {
            packet[2..4].copy_from_slice(&length.to_le_bytes());
        }
        packet
    }

    /// The packets as a client with hidden ids sends them from the beginning of a connection on.
    pub(crate) fn enciphered(&self, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut client = Client::new(self);
        packets.iter().map(|packet| client.hide(packet)).collect()
    }

    pub(crate) fn enter(&self) -> Vec<u8> {
        self.packet(self.table.roles().map_enter.unwrap(), 1)
    }

    pub(crate) fn loaded(&self) -> Vec<u8> {
        self.packet(self.table.roles().map_loaded.unwrap(), 0)
    }

    pub(crate) fn sync(&self, tick: u8) -> Vec<u8> {
        self.packet(self.table.roles().time_sync.unwrap(), tick)
    }

    pub(crate) fn restart(&self) -> Vec<u8> {
        self.packet(self.table.roles().restart.unwrap(), 1)
    }

    pub(crate) fn chat(&self, text: &str) -> Vec<u8> {
        text_packet(self.table.roles().public_chat.unwrap(), text)
    }

    /// A map connection of a player who is on a map, and the cipher in front of the client's next
    /// packet.
    pub(crate) fn playing(&self) -> (Tap, Client) {
        let mut tap = self.tap(Role::Map);
        let mut client = Client::new(self);
        tap.client(&client.hide(&self.enter()));
        tap.server(&self.packet(0x0087, 1));
        tap.client(&client.hide(&self.loaded()));
        tap.server(&self.packet(0x0087, 2));
        (tap, client)
    }
}

/// `id`, length, text, zero.
pub(crate) fn text_packet(id: u16, text: &str) -> Vec<u8> {
    let mut packet = id.to_le_bytes().to_vec();
    packet.extend(u16::try_from(text.len() + 5).unwrap().to_le_bytes());
    packet.extend(text.as_bytes());
    packet.push(0);
    packet
}

/// Hides the ids of packets as a game client does, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Client(Option<IdCipher>);

impl Client {
    pub(crate) fn new(version: &Version) -> Client {
        let keys = version.table.cipher().filter(|_| version.ciphered);
        Client(keys.map(IdCipher::new))
    }

    pub(crate) fn hide(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        if let Some(cipher) = &mut self.0 {
            let id = u16::from_le_bytes([packet[0], packet[1]]);
            packet[..2].copy_from_slice(&cipher.apply(id).to_le_bytes());
        }
        packet
    }
}

pub(crate) fn cuts() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 0..40)
}

pub(crate) fn any_role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Login), Just(Role::Char), Just(Role::Map)]
}

pub(crate) fn any_level() -> impl Strategy<Value = Level> {
    prop_oneof![
        Just(Level::Assist),
        Just(Level::Rewrite),
        Just(Level::Opaque)
    ]
}

pub(crate) fn any_version() -> impl Strategy<Value = Version> {
    (0usize..3).prop_map(|which| Version::all()[which].clone())
}
