//! The pipeline of one connection, both directions at once.
//!
//! Input: version, connection (its direction: the zone's level is only *rewrite*; its switch: ids
//! are xored), commands on or off, cutting, then the writes of both sides: a byte with the side in
//! its highest bit (set: the server) and the length in the others, then so many bytes.

use std::net::SocketAddrV4;
use std::sync::Arc;

use bytes::BytesMut;
use warp_bridge_core::{
    AddressBook, BridgeConnection, BridgeEvent, FirstPacket, Level, Reading, ToServer,
};
use warp_protocol::stream::MessageKind;
use warp_ro_packet::{
    Direction, FrameKind, Framer, IdCipher, PacketLength, PacketTable, Role, announces_addresses,
    chat, rewrite_addresses,
};

use crate::addresses::loopback;
use crate::input::{Input, pieces};

const UP: Direction = Direction::ClientToServer;
const DOWN: Direction = Direction::ServerToClient;

/// What the player is answered.
const ANSWER: &str = "an answer of the bridge, as long as an answer is";

/// How the connection is made.
#[derive(Clone)]
struct Setting {
    table: Arc<PacketTable>,
    role: Role,
    level: Level,
    ciphered: bool,
    commands: bool,
}

/// A write of one side.
struct Write<'a> {
    by_server: bool,
    bytes: &'a [u8],
}

/// Something for the server.
#[derive(Debug, PartialEq)]
enum Sent {
    /// A packet: plain id, bytes on the wire.
    Packet(u16, Vec<u8>),
    /// Raw bytes; neighbours are joined.
    Raw(Vec<u8>),
}

/// What came of a connection.
#[derive(Debug, PartialEq, Default)]
struct Outcome {
    sent: Vec<Sent>,
    received: Vec<u8>,
    commands: u64,
    /// Where answers were put into what the client received, while packets were read.
    answered_at: Vec<usize>,
    opaque: bool,
}

struct Book;

impl AddressBook for Book {
    fn loopback_for(&mut self, role: Role, upstream: SocketAddrV4) -> SocketAddrV4 {
        loopback(role, upstream)
    }
}

/// See the single checks.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let table = input.table();
    let (role, direction, xored) = input.connection();
    let setting = Setting {
        ciphered: xored && role == Role::Map && table.cipher().is_some(),
        table,
        role,
        level: if direction == UP {
            Level::Assist
        } else {
            Level::Rewrite
        },
        commands: input.byte() & 1 == 1,
    };
    let seed = input.byte();
    let writes = writes(input.rest());
    let of = |server: bool| -> Vec<u8> {
        let own = writes.iter().filter(|write| write.by_server == server);
        own.flat_map(|write| write.bytes).copied().collect()
    };
    let (client, server) = (of(false), of(true));

    let whole = play(&setting, &writes, 0, None);
    let parts = play(&setting, &writes, seed, None);
    assert_eq!(whole, parts, "pieces are handled otherwise than the whole");
    check_sent(&setting, &whole, &client);
    check_received(&setting, &whole, &server);
    if !whole.opaque {
        let again = [Write {
            by_server: true,
            bytes: &whole.received,
        }];
        let again = play(&setting, &again, 0, None);
        assert!(again.received == whole.received, "rewriting twice");
    }
    check_answers(&setting, &writes, &whole, &server);
    check_first_packet(&setting, &client);
    check_choice(&setting, &writes, &client, &server);
}

fn writes(mut rest: &[u8]) -> Vec<Write<'_>> {
    let mut writes = Vec::new();
    while let Some((head, behind)) = rest.split_first() {
        let (bytes, left) = behind.split_at(usize::from(head & 0x7F).min(behind.len()));
        let by_server = head & 0x80 != 0;
        writes.push(Write { by_server, bytes });
        rest = left;
    }
    writes
}

/// Carries the writes, cut by `seed`, to the end of both streams. With an answer, each command is
/// answered by it at once.
fn play(setting: &Setting, writes: &[Write<'_>], seed: u8, answer: Option<&[String]>) -> Outcome {
    let reading = Reading::Framed {
        table: Arc::clone(&setting.table),
        ciphered: setting.ciphered,
    };
    let mut connection =
        BridgeConnection::new(setting.role, setting.level, reading, setting.commands);
    let mut owner = Owner {
        setting,
        answer,
        line: answer_bytes(answer),
        cipher: sent_cipher(setting),
        outcome: Outcome::default(),
    };
    owner.poll(&mut connection);
    for write in writes {
        for piece in pieces(seed, write.bytes) {
            if write.by_server {
                connection.server_bytes(piece, None, &mut Book, &mut |bytes| owner.receive(bytes));
            } else {
                connection.client_bytes(piece, None, &mut |message| owner.send(message));
            }
            owner.poll(&mut connection);
            for direction in [UP, DOWN] {
                assert!(connection.waiting(direction) < 65_536);
                assert!(
                    !connection.due(direction),
                    "{direction:?} is due after being released"
                );
            }
        }
    }
    connection.finish_client(None, &mut |message| owner.send(message));
    connection.finish_server(None, &mut |bytes| owner.receive(bytes));
    owner.poll(&mut connection);
    let mut outcome = owner.outcome;
    outcome.opaque = connection.level() == Level::Opaque;
    assert_eq!(
        connection.events_lost(),
        0,
        "writes are far too short for that"
    );
    let sent: usize = outcome.sent.iter().map(Sent::len).sum();
    let counted = |direction| connection.counters().total(direction).bytes;
    assert_eq!(counted(UP), sent as u64, "counted otherwise than sent");
    assert_eq!(
        counted(DOWN),
        outcome.received.len() as u64,
        "counted otherwise than received"
    );
    outcome
}

fn answer_bytes(answer: Option<&[String]>) -> BytesMut {
    let mut bytes = BytesMut::new();
    for line in answer.unwrap_or_default() {
        chat::system_line(line, &mut bytes);
    }
    bytes
}

fn sent_cipher(setting: &Setting) -> Option<IdCipher> {
    let keys = setting.table.cipher().filter(|_| setting.ciphered);
    keys.map(IdCipher::new)
}

/// Does what the owner of a connection has to do, and notes what comes out.
struct Owner<'a> {
    setting: &'a Setting,
    answer: Option<&'a [String]>,
    /// The answer as it comes out.
    line: BytesMut,
    /// The server's view of the ids.
    cipher: Option<IdCipher>,
    outcome: Outcome,
}

impl Owner<'_> {
    fn send(&mut self, message: ToServer<'_>) {
        let roles = self.setting.table.roles();
        let map = self.setting.role == Role::Map;
        match message.kind {
            MessageKind::KeepAlive => return self.check_keep_alive(message.payload),
            MessageKind::Alone => {
                assert!(map && message.id == roles.map_enter && message.id.is_some())
            }
            MessageKind::Plain => {
                assert!(!map || message.id.is_none() || message.id != roles.map_enter)
            }
        }
        assert!(!message.payload.is_empty());
        let bytes = message.payload.to_vec();
        let Some(id) = message.id else {
            match self.outcome.sent.last_mut() {
                Some(Sent::Raw(before)) => before.extend(bytes),
                _ => self.outcome.sent.push(Sent::Raw(bytes)),
            }
            return;
        };
        assert!(
            !matches!(self.outcome.sent.last(), Some(Sent::Raw(_))),
            "a packet behind raw bytes"
        );
        assert_eq!(message.class, self.setting.table.class_of(id));
        let wire = u16::from_le_bytes([bytes[0], bytes[1]]);
        let plain = self
            .cipher
            .as_mut()
            .map_or(wire, |cipher| cipher.apply(wire));
        assert_eq!(plain, id, "the server reads another id");
        self.outcome.sent.push(Sent::Packet(id, bytes));
    }

    fn check_keep_alive(&self, packet: &[u8]) {
        if packet.is_empty() {
            return;
        }
        assert!(self.setting.role == Role::Map && !self.setting.ciphered);
        let id = u16::from_le_bytes([packet[0], packet[1]]);
        assert_eq!(Some(id), self.setting.table.roles().time_sync);
        if let Some(PacketLength::Fixed(length)) = self.setting.table.length_of(id) {
            assert_eq!(packet.len(), usize::from(length));
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        if self.answer.is_some() && !self.line.is_empty() && is_repeated(bytes, &self.line) {
            self.outcome.answered_at.push(self.outcome.received.len());
            return;
        }
        self.outcome.received.extend(bytes);
    }

    fn poll(&mut self, connection: &mut BridgeConnection) {
        while let Some(event) = connection.poll_event() {
            match event {
                BridgeEvent::Command { line } => {
                    let word = line.get(..4).map(str::to_ascii_lowercase);
                    assert!(matches!(word.as_deref(), Some("/p2p" | "@p2p")), "{line:?}");
                    self.outcome.commands += 1;
                    if let Some(lines) = self.answer {
                        connection.answer(lines);
                    }
                }
                BridgeEvent::SteppedDown { from, to, .. } => assert!(to.is_below(from)),
                _ => {}
            }
        }
        connection.release_to_server(None, &mut |message| self.send(message));
        connection.release_to_client(None, &mut |bytes| self.receive(bytes));
    }
}

/// Whether `bytes` are `part` once or more often.
fn is_repeated(bytes: &[u8], part: &[u8]) -> bool {
    bytes.len().is_multiple_of(part.len()) && bytes.chunks(part.len()).all(|chunk| chunk == part)
}

impl Sent {
    fn len(&self) -> usize {
        match self {
            Sent::Packet(_, bytes) | Sent::Raw(bytes) => bytes.len(),
        }
    }
}

/// A packet of one direction as it should be read: plain id, bytes on the wire.
fn frames(setting: &Setting, direction: Direction, stream: &[u8]) -> Vec<(FrameKind, Vec<u8>)> {
    let mut framer = Framer::new(Arc::clone(&setting.table), setting.role, direction);
    if direction == UP
        && let Some(cipher) = sent_cipher(setting)
    {
        framer.set_cipher(cipher);
    }
    framer.push(stream);
    std::iter::from_fn(|| framer.next_frame())
        .map(|frame| (frame.kind, frame.bytes.to_vec()))
        .collect()
}

/// Whether a chat packet is a command, said in other words than the bridge's.
fn is_command(packet: &[u8]) -> bool {
    let text = chat::message(packet).map(|message| message.to_ascii_lowercase());
    let Some(text) = text else { return false };
    let typed = if text.first() == Some(&b'|') {
        text.get(3..)
    } else {
        Some(&text[..])
    };
    typed.is_some_and(|typed| {
        [&b"/p2p"[..], b"@p2p"].contains(&typed)
            || typed.starts_with(b"/p2p ")
            || typed.starts_with(b"@p2p ")
    })
}

/// The server gets the client's bytes without the commands that were told, and nothing else.
fn check_sent(setting: &Setting, outcome: &Outcome, client: &[u8]) {
    let mut expected = frames(setting, UP, client).into_iter();
    let mut at = 0;
    let mut withheld = 0;
    let mut sent = outcome.sent.iter();
    let mut raw: &[u8] = &[];
    for item in sent.by_ref() {
        let Sent::Packet(id, bytes) = item else {
            let Sent::Raw(bytes) = item else { continue };
            raw = bytes;
            break;
        };
        loop {
            let (kind, packet) = expected.next().expect("more packets than the client sent");
            at += packet.len();
            if is_withheld(setting, kind, &packet) {
                withheld += 1;
                continue;
            }
            assert_eq!(kind, FrameKind::Packet(*id), "a packet is missing");
            assert!(packet[2..] == bytes[2..], "another packet {id:04X}");
            break;
        }
    }
    assert_eq!(sent.next(), None, "something behind raw bytes");
    while withheld < outcome.commands {
        let (kind, packet) = expected.next().expect("more was withheld than came");
        assert!(is_withheld(setting, kind, &packet), "withheld: {kind:?}");
        at += packet.len();
        withheld += 1;
    }
    assert!(raw == &client[at..], "the rest of the client's bytes");
}

/// Whether this packet of the client is withheld: commands are, at *assist*.
fn is_withheld(setting: &Setting, kind: FrameKind, packet: &[u8]) -> bool {
    let roles = setting.table.roles();
    let FrameKind::Packet(id) = kind else {
        return false;
    };
    setting.commands
        && setting.level == Level::Assist
        && setting.role == Role::Map
        && roles.system_chat.is_some()
        && roles.public_chat == Some(id)
        && is_command(packet)
}

/// The client gets the server's bytes with the addresses replaced as long as packets are read.
fn check_received(setting: &Setting, outcome: &Outcome, server: &[u8]) {
    assert_eq!(outcome.received.len(), server.len());
    let mut at = 0;
    let mut untouched = false;
    for (kind, packet) in frames(setting, DOWN, server) {
        let received = &outcome.received[at..at + packet.len()];
        at += packet.len();
        let mut rewritten = packet.clone();
        if let FrameKind::Packet(id) = kind
            && announces_addresses(id)
        {
            rewrite_addresses(&mut rewritten, &mut loopback);
        }
        if received != rewritten {
            assert!(outcome.opaque, "not rewritten");
            assert!(received == packet, "changed: {kind:?}");
            untouched = true;
        } else if rewritten != packet {
            assert!(!untouched, "rewritten after it was opaque");
        }
    }
    assert!(
        outcome.received[at..] == server[at..],
        "the rest of the server's bytes"
    );
}

/// Answers change nothing else, and stand between packets.
fn check_answers(setting: &Setting, writes: &[Write<'_>], plain: &Outcome, server: &[u8]) {
    if plain.commands == 0 {
        return;
    }
    let lines = [ANSWER.to_owned()];
    let line = answer_bytes(Some(&lines));
    if server.windows(line.len()).any(|window| window == &line[..]) {
        // It could not be told from an answer.
        return;
    }
    let answered = play(setting, writes, 0, Some(&lines));
    assert!(
        answered.received == plain.received,
        "an answer changed the rest"
    );
    assert_eq!(answered.sent, plain.sent);
    let mut borders = vec![0];
    for (_, packet) in frames(setting, DOWN, server) {
        borders.push(borders[borders.len() - 1] + packet.len());
    }
    for at in answered.answered_at {
        assert!(borders.contains(&at), "an answer inside a packet");
    }
}

/// The first packet says the same whatever comes behind it.
fn check_first_packet(setting: &Setting, client: &[u8]) {
    let reading = Reading::Framed {
        table: Arc::clone(&setting.table),
        ciphered: setting.ciphered,
    };
    let said = reading.first_packet(setting.role, client);
    let first = frames(setting, UP, client).into_iter().next();
    match first {
        Some((FrameKind::Packet(_), packet)) => {
            assert_eq!(reading.first_packet(setting.role, &packet), said);
            let less = &packet[..packet.len() - 1];
            let unfinished = reading.first_packet(setting.role, less);
            assert_eq!(unfinished, FirstPacket::Unfinished, "{} bytes", less.len());
        }
        Some(_) => assert_eq!(said, FirstPacket::Other),
        None => assert_eq!(said, FirstPacket::Unfinished),
    }
}

/// Another table chosen in the middle loses nothing.
fn check_choice(setting: &Setting, writes: &[Write<'_>], client: &[u8], server: &[u8]) {
    let other = PacketTable::versions().filter(|version| *version != setting.table.version());
    let Some(other) = other.last().and_then(PacketTable::for_version) else {
        return;
    };
    let reading = |table: &Arc<PacketTable>| Reading::Framed {
        table: Arc::clone(table),
        ciphered: false,
    };
    let mut connection = BridgeConnection::new(setting.role, Level::Assist, reading(&other), false);
    let (mut sent, mut received) = (Vec::new(), 0);
    let mut send = |message: ToServer<'_>| {
        if message.kind != MessageKind::KeepAlive {
            sent.extend_from_slice(message.payload);
        }
    };
    let mut receive = |bytes: &[u8]| received += bytes.len();
    for (at, write) in writes.iter().enumerate() {
        if at == 1 {
            connection.choose(reading(&setting.table));
        }
        if write.by_server {
            connection.server_bytes(write.bytes, None, &mut Book, &mut receive);
        } else {
            connection.client_bytes(write.bytes, None, &mut send);
        }
        connection.release_to_server(None, &mut send);
        connection.release_to_client(None, &mut receive);
    }
    connection.finish_client(None, &mut send);
    connection.finish_server(None, &mut receive);
    assert!(sent == client, "the choice of a table lost bytes");
    assert_eq!(received, server.len());
}
