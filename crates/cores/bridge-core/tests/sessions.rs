//! Recorded sessions, and anything else that may arrive, through the bridge's pipeline.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

/// The recordings, read by the packet crate's test code.
#[path = "../../../words/ro-packet/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use common::{recordings, table};
use proptest::prelude::*;
use proptest::sample::Index;
use warp_bridge_core::{
    AddressBook, BridgeConnection, BridgeEvent, Level, StepDownReason, ToServer,
};
use warp_ro_packet::{Direction, FrameKind, Framer, PacketClass, PacketLength, Role};

const TO_SERVER: Direction = Direction::ClientToServer;
const TO_CLIENT: Direction = Direction::ServerToClient;

/// Both directions of one recorded connection.
#[derive(Debug)]
struct Session {
    name: String,
    role: Role,
    client: Vec<u8>,
    server: Vec<u8>,
}

static SESSIONS: LazyLock<Vec<Session>> = LazyLock::new(|| {
    let mut sessions: BTreeMap<String, Session> = BTreeMap::new();
    for recording in recordings() {
        let name = recording.name[..recording.name.len() - 2].to_owned();
        let session = sessions.entry(name.clone()).or_insert(Session {
            name,
            role: recording.role,
            client: Vec::new(),
            server: Vec::new(),
        });
        match recording.direction {
            TO_SERVER => session.client = recording.bytes,
            TO_CLIENT => session.server = recording.bytes,
        }
    }
    sessions.into_values().collect()
});

/// Answers with one loopback port per upstream, as a bridge does.
#[derive(Default)]
struct Ports(Vec<(Role, SocketAddrV4)>);

impl Ports {
    fn answer(nth: usize) -> SocketAddrV4 {
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
struct Identity;

impl AddressBook for Identity {
    fn loopback_for(&mut self, _: Role, upstream: SocketAddrV4) -> SocketAddrV4 {
        upstream
    }
}

/// What came out of a connection.
#[derive(Default)]
struct Outcome {
    messages: Vec<ToServer>,
    client: Vec<u8>,
    events: Vec<BridgeEvent>,
}

impl Outcome {
    fn to_server(&self) -> Vec<u8> {
        let payloads = self.messages.iter().map(|message| message.payload.to_vec());
        payloads.flatten().collect()
    }

    fn steps(&self) -> usize {
        let steps = self
            .events
            .iter()
            .filter(|event| matches!(event, BridgeEvent::SteppedDown { .. }));
        steps.count()
    }
}

/// Cuts both streams and feeds the pieces in turns; then both ends.
fn run(
    connection: &mut BridgeConnection,
    book: &mut dyn AddressBook,
    client: (&[u8], &[Index]),
    server: (&[u8], &[Index]),
) -> Outcome {
    let mut outcome = Outcome::default();
    let client = pieces(client.0, client.1);
    let server = pieces(server.0, server.1);
    for turn in 0..client.len().max(server.len()) {
        if let Some(piece) = client.get(turn) {
            let messages = &mut outcome.messages;
            connection.client_bytes(piece.clone(), &mut |message| messages.push(message));
        }
        if let Some(piece) = server.get(turn) {
            let bytes = &mut outcome.client;
            let mut calls = 0;
            connection.server_bytes(piece.clone(), book, &mut |piece| {
                calls += 1;
                bytes.extend_from_slice(&piece);
            });
            assert!(calls <= 1, "whole packets are written together");
        }
        while let Some(event) = connection.poll_event() {
            outcome.events.push(event);
        }
    }
    connection.finish_client(&mut |message| outcome.messages.push(message));
    connection.finish_server(&mut |piece| outcome.client.extend_from_slice(&piece));
    while let Some(event) = connection.poll_event() {
        outcome.events.push(event);
    }
    assert_eq!(connection.events_lost(), 0);
    assert_eq!(connection.waiting(TO_SERVER), 0);
    assert_eq!(connection.waiting(TO_CLIENT), 0);
    outcome
}

fn pieces(bytes: &[u8], cuts: &[Index]) -> Vec<Bytes> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| Bytes::copy_from_slice(&bytes[pair[0]..pair[1]]))
        .collect()
}

/// Where the addresses of a server stream lie, by the layouts of 0AC4, 0AC5 and 0AC7.
fn address_fields(role: Role, stream: &[u8]) -> Vec<Range<usize>> {
    let mut framer = Framer::new(table(), role, TO_CLIENT);
    framer.push(stream);
    let mut fields = Vec::new();
    let mut at = 0;
    while let Some(frame) = framer.next_frame() {
        match frame.kind {
            FrameKind::Packet(0x0AC4) => {
                let servers = (frame.bytes.len() - 64) / 160;
                fields.extend((0..servers).map(|nth| {
                    let start = at + 64 + 160 * nth;
                    start..start + 6
                }));
            }
            FrameKind::Packet(0x0AC5 | 0x0AC7) => fields.push(at + 22..at + 28),
            _ => {}
        }
        at += frame.bytes.len();
    }
    fields
}

fn assert_only_addresses_differ(session: &Session, got: &[u8], book: &Ports) -> usize {
    let fields = address_fields(session.role, &session.server);
    assert_eq!(got.len(), session.server.len(), "{}", session.name);
    for (at, (old, new)) in session.server.iter().zip(got).enumerate() {
        let inside = fields.iter().any(|field| field.contains(&at));
        assert!(old == new || inside, "{}: byte {at}", session.name);
    }
    for field in &fields {
        let old = &session.server[field.clone()];
        let upstream = SocketAddrV4::new(
            Ipv4Addr::new(old[0], old[1], old[2], old[3]),
            u16::from_le_bytes([old[4], old[5]]),
        );
        let nth = book.0.iter().position(|entry| entry.1 == upstream).unwrap();
        let [low, high] = Ports::answer(nth).port().to_le_bytes();
        assert_eq!(got[field.clone()], [127, 0, 0, 1, low, high]);
    }
    fields.len()
}

fn assert_one_whole_packet_each(role: Role, messages: &[ToServer]) {
    for message in messages {
        let id = message.id.unwrap();
        assert_eq!(message.payload[..2], id.to_le_bytes());
        let length = match table().length_of(id).unwrap() {
            PacketLength::Fixed(length) => length,
            PacketLength::Variable => u16::from_le_bytes([message.payload[2], message.payload[3]]),
        };
        assert_eq!(message.payload.len(), usize::from(length));
        assert_eq!(message.class, table().class_of(id));
        assert_eq!(message.alone, role == Role::Map && id == 0x0436);
    }
}

#[test]
fn recorded_sessions_pass_with_only_addresses_changed() {
    let mut addresses = 0;
    let mut maps = 0;
    let mut entries = 0;
    for session in SESSIONS.iter() {
        for level in [Level::Assist, Level::Rewrite] {
            let mut connection = BridgeConnection::new(session.role, Some(table()), level);
            let mut book = Ports::default();
            let outcome = run(
                &mut connection,
                &mut book,
                (&session.client, &[]),
                (&session.server, &[]),
            );
            assert_eq!(outcome.to_server(), session.client, "{}", session.name);
            assert_one_whole_packet_each(session.role, &outcome.messages);
            let here = assert_only_addresses_differ(session, &outcome.client, &book);
            let announced = outcome.events.iter().filter(|event| {
                matches!(event, BridgeEvent::ServerAnnounced { loopback, .. } if loopback.ip().is_loopback())
            });
            assert_eq!(announced.count(), here, "{}", session.name);
            assert_eq!(connection.level(), level);
            assert_eq!(outcome.steps(), 0);
            addresses += here;
            maps += usize::from(connection.map().is_some());
            entries += outcome.messages.iter().filter(|one| one.alone).count();
        }
    }
    // Each level once: 6 times 0AC4, 7 times 0AC5, 2 times 0AC7; 9 map connections.
    assert_eq!(addresses, 2 * 15);
    assert_eq!(entries, 2 * 9);
    assert!(maps > 0);
}

#[test]
fn counters_add_up_by_class_and_direction() {
    let session = SESSIONS.iter().find(|one| one.name == "s1-006-map");
    let session = session.unwrap();
    let mut connection = BridgeConnection::new(Role::Map, Some(table()), Level::Rewrite);
    let outcome = run(
        &mut connection,
        &mut Ports::default(),
        (&session.client, &[]),
        (&session.server, &[]),
    );
    let counters = connection.counters();
    let client = counters.of(TO_SERVER);
    assert_eq!(client.total().bytes, session.client.len() as u64);
    assert_eq!(client.total().packets, outcome.messages.len() as u64);
    assert_eq!(client.raw().packets, 0);
    for class in PacketClass::ALL {
        let of_class = outcome.messages.iter().filter(|one| one.class == class);
        assert_eq!(client.class(class).packets, of_class.count() as u64);
    }
    assert!(client.class(PacketClass::Movement).packets > 0);
    assert!(client.class(PacketClass::Chat).packets > 0);
    let server = counters.of(TO_CLIENT);
    assert_eq!(server.total().bytes, session.server.len() as u64);
    assert!(server.class(PacketClass::Movement).packets > 0);
}

#[test]
fn map_changes_are_told_once_each() {
    let session = SESSIONS.iter().find(|one| one.name == "s1-003-char");
    let session = session.unwrap();
    let mut connection = BridgeConnection::new(Role::Char, Some(table()), Level::Rewrite);
    let mut packet = session.server.clone();
    let outcome = run(
        &mut connection,
        &mut Ports::default(),
        (&[], &[]),
        (&packet, &[]),
    );
    let maps: Vec<&str> = outcome
        .events
        .iter()
        .filter_map(|event| match event {
            BridgeEvent::MapChanged { map } => Some(map.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(maps, ["prontera"]);
    assert_eq!(connection.map(), Some("prontera"));

    // The same map again is no change.
    let mut entered = BridgeConnection::new(Role::Map, Some(table()), Level::Rewrite);
    packet = vec![0x91, 0x00];
    packet.extend(b"izlude.gat\0\0\0\0\0\0");
    packet.extend([0; 4]);
    let twice = packet.repeat(2);
    let outcome = run(
        &mut entered,
        &mut Ports::default(),
        (&[], &[]),
        (&twice, &[]),
    );
    let izlude = BridgeEvent::MapChanged {
        map: "izlude".to_owned(),
    };
    assert_eq!(outcome.events, [izlude]);
}

#[test]
fn only_a_map_servers_0436_travels_alone() {
    let mut packet = vec![0x36, 0x04];
    packet.resize(23, 0);
    for (role, alone) in [(Role::Map, true), (Role::Char, false), (Role::Login, false)] {
        let mut connection = BridgeConnection::new(role, Some(table()), Level::Rewrite);
        let mut messages = Vec::new();
        let bytes = Bytes::from([&packet[..], &[0x7D, 0x00]].concat());
        connection.client_bytes(bytes, &mut |message| messages.push(message));
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].alone, alone, "{role:?}");
        assert!(!messages[1].alone);
    }
}

#[test]
fn without_a_table_the_connection_is_opaque_and_says_so() {
    let mut connection = BridgeConnection::new(Role::Map, None, Level::Assist);
    assert_eq!(connection.level(), Level::Opaque);
    assert_eq!(
        connection.poll_event(),
        Some(BridgeEvent::SteppedDown {
            from: Level::Assist,
            to: Level::Opaque,
            reason: StepDownReason::NoPacketTable
        })
    );
    // Chosen opaque is no step.
    for table in [None, Some(table())] {
        let mut connection = BridgeConnection::new(Role::Map, table, Level::Opaque);
        assert_eq!(connection.poll_event(), None);
    }
}

#[test]
fn opaque_keeps_the_clients_own_writes() {
    let mut connection = BridgeConnection::new(Role::Map, Some(table()), Level::Opaque);
    let writes: [&'static [u8]; 3] = [&[0x7D, 0, 0x7D, 0], &[0x5F, 3, 1], &[0xFF]];
    let mut messages = Vec::new();
    for write in writes {
        connection.client_bytes(Bytes::from_static(write), &mut |one| messages.push(one));
    }
    let payloads: Vec<&[u8]> = messages.iter().map(|one| &one.payload[..]).collect();
    assert_eq!(payloads, writes);
    assert!(messages.iter().all(|one| one.id.is_none() && !one.alone));
    assert_eq!(connection.counters().of(TO_SERVER).raw().packets, 3);
}

#[test]
fn an_unknown_id_of_the_client_frees_what_the_server_direction_held() {
    let mut connection = BridgeConnection::new(Role::Map, Some(table()), Level::Rewrite);
    let mut to_client: Vec<Bytes> = Vec::new();
    // Two bytes of a packet of twelve wait.
    connection.server_bytes(
        Bytes::from_static(&[0x87, 0x00]),
        &mut Identity,
        &mut |piece| to_client.push(piece),
    );
    assert!(to_client.is_empty());
    assert_eq!(connection.waiting(TO_CLIENT), 2);
    connection.release_to_client(&mut |piece| to_client.push(piece));
    assert!(to_client.is_empty(), "framed bytes wait for their packet");

    let mut messages = Vec::new();
    connection.client_bytes(
        Bytes::from_static(&[0x7D, 0x00, 0xEE, 0xFF, 0x01]),
        &mut |message| messages.push(message),
    );
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].id, Some(0x007D));
    assert_eq!(messages[1].id, None);
    assert_eq!(&messages[1].payload[..], &[0xEE, 0xFF, 0x01]);
    let step = connection.poll_event();
    assert_eq!(
        step,
        Some(BridgeEvent::SteppedDown {
            from: Level::Rewrite,
            to: Level::Opaque,
            reason: StepDownReason::UnknownPacketId {
                direction: TO_SERVER,
                id: 0xFFEE
            }
        })
    );
    connection.release_to_client(&mut |piece| to_client.push(piece));
    assert_eq!(to_client.concat(), [0x87, 0x00]);
    // From here on untouched, also what looks like a packet's beginning; and no second event.
    connection.server_bytes(
        Bytes::from_static(&[0xC5, 0x0A]),
        &mut Ports::default(),
        &mut |piece| to_client.push(piece),
    );
    assert_eq!(to_client.concat(), [0x87, 0x00, 0xC5, 0x0A]);
    assert_eq!(connection.poll_event(), None);
}

#[test]
fn a_stalled_direction_can_be_let_go() {
    let mut connection = BridgeConnection::new(Role::Map, Some(table()), Level::Assist);
    let mut messages = Vec::new();
    connection.client_bytes(
        Bytes::from_static(&[0xF3, 0x00, 0x00, 0x80, 0x01]),
        &mut |message| messages.push(message),
    );
    let waiting = connection.waiting(TO_SERVER);
    assert_eq!((messages.len(), waiting), (0, 5));
    let reason = StepDownReason::Stalled {
        direction: TO_SERVER,
        waiting,
    };
    assert!(connection.step_down(Level::Opaque, reason));
    connection.release_to_server(&mut |message| messages.push(message));
    assert_eq!(&messages[0].payload[..], &[0xF3, 0x00, 0x00, 0x80, 0x01]);
    assert_eq!(connection.waiting(TO_SERVER), 0);
}

#[test]
fn levels_only_step_down() {
    let mut connection = BridgeConnection::new(Role::Map, Some(table()), Level::Assist);
    let requested = StepDownReason::Requested;
    assert!(!connection.step_down(Level::Assist, requested));
    assert!(connection.step_down(Level::Rewrite, requested));
    assert!(!connection.step_down(Level::Assist, requested));
    assert!(connection.step_down(Level::Opaque, requested));
    assert!(!connection.step_down(Level::Rewrite, requested));
    let events: Vec<BridgeEvent> = std::iter::from_fn(|| connection.poll_event()).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(
        serde_json::to_string(&events[0]).unwrap(),
        r#"{"event":"stepped-down","from":"assist","to":"rewrite","reason":{"code":"requested"}}"#
    );
}

#[test]
fn a_stream_that_ends_inside_a_packet_is_forwarded_and_told() {
    let mut connection = BridgeConnection::new(Role::Char, Some(table()), Level::Rewrite);
    let outcome = run(
        &mut connection,
        &mut Ports::default(),
        (&[0x5F, 0x03, 1], &[]),
        // Three of the four raw bytes of the account id.
        (&[1, 2, 3], &[]),
    );
    assert_eq!(outcome.to_server(), [0x5F, 0x03, 1]);
    assert_eq!(outcome.client, [1, 2, 3]);
    let partial = |direction| BridgeEvent::Partial {
        direction,
        bytes: 3,
    };
    assert_eq!(outcome.events, [partial(TO_SERVER), partial(TO_CLIENT)]);
}

#[test]
fn debug_output_shows_no_password() {
    let mut packet = vec![0x64, 0x00];
    packet.resize(55, b'x');
    let mut connection = BridgeConnection::new(Role::Login, Some(table()), Level::Rewrite);
    connection.client_bytes(Bytes::copy_from_slice(&packet[..40]), &mut |_| {});
    assert!(!format!("{connection:?}").contains("xx"));
    let mut messages = Vec::new();
    connection.client_bytes(Bytes::copy_from_slice(&packet[40..]), &mut |message| {
        messages.push(message);
    });
    assert_eq!(messages[0].payload.len(), 55);
    assert!(!format!("{messages:?}").contains("xx"));
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 0..40)
}

fn any_role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Login), Just(Role::Char), Just(Role::Map)]
}

fn any_level() -> impl Strategy<Value = Level> {
    prop_oneof![
        Just(Level::Assist),
        Just(Level::Rewrite),
        Just(Level::Opaque)
    ]
}

proptest! {
    #[test]
    fn any_segmentation_of_a_session_gives_the_same_bytes(
        which in any::<Index>(),
        client_cuts in cuts(),
        server_cuts in cuts(),
    ) {
        let session = which.get(&SESSIONS);
        let mut connection = BridgeConnection::new(session.role, Some(table()), Level::Rewrite);
        let mut book = Ports::default();
        let outcome = run(
            &mut connection,
            &mut book,
            (&session.client, &client_cuts),
            (&session.server, &server_cuts),
        );
        prop_assert_eq!(outcome.to_server(), session.client.clone());
        assert_one_whole_packet_each(session.role, &outcome.messages);
        assert_only_addresses_differ(session, &outcome.client, &book);
        prop_assert_eq!(outcome.steps(), 0);
        let carried = connection.counters().of(TO_CLIENT).total().bytes;
        prop_assert_eq!(carried, session.server.len() as u64);
    }

    #[test]
    fn opaque_sessions_pass_untouched(
        which in any::<Index>(),
        client_cuts in cuts(),
        server_cuts in cuts(),
    ) {
        let session = which.get(&SESSIONS);
        let mut connection = BridgeConnection::new(session.role, Some(table()), Level::Opaque);
        let outcome = run(
            &mut connection,
            &mut Ports::default(),
            (&session.client, &client_cuts),
            (&session.server, &server_cuts),
        );
        prop_assert_eq!(outcome.to_server(), session.client.clone());
        prop_assert_eq!(&outcome.client, &session.server);
        prop_assert!(outcome.events.is_empty());
    }

    #[test]
    fn a_session_that_goes_wrong_midway_loses_nothing(
        which in any::<Index>(),
        at in any::<Index>(),
        extra in proptest::collection::vec(any::<u8>(), 1..30),
        client_cuts in cuts(),
        server_cuts in cuts(),
    ) {
        let session = which.get(&SESSIONS);
        let mut client = session.client.clone();
        let at = at.index(client.len() + 1);
        client.splice(at..at, extra);
        let mut connection = BridgeConnection::new(session.role, Some(table()), Level::Rewrite);
        let outcome = run(
            &mut connection,
            &mut Identity,
            (&client, &client_cuts),
            (&session.server, &server_cuts),
        );
        prop_assert_eq!(outcome.to_server(), client);
        prop_assert_eq!(&outcome.client, &session.server);
        prop_assert!(outcome.steps() <= 1);
    }

    #[test]
    fn arbitrary_bytes_pass_as_they_are(
        role in any_role(),
        level in any_level(),
        with_table in any::<bool>(),
        client in proptest::collection::vec(any::<u8>(), 0..400),
        server in proptest::collection::vec(any::<u8>(), 0..400),
        client_cuts in cuts(),
        server_cuts in cuts(),
    ) {
        let mut connection = BridgeConnection::new(role, with_table.then(table), level);
        let outcome = run(
            &mut connection,
            &mut Identity,
            (&client, &client_cuts),
            (&server, &server_cuts),
        );
        prop_assert_eq!(outcome.to_server(), client);
        prop_assert_eq!(&outcome.client, &server);
        prop_assert!(outcome.steps() <= 1);
    }

    #[test]
    fn known_packets_with_arbitrary_content_pass_as_they_are_without_address_packets(
        role in any_role(),
        packets in proptest::collection::vec((any::<Index>(), proptest::collection::vec(any::<u8>(), 160)), 1..12),
        server_cuts in cuts(),
    ) {
        let ids: Vec<(u16, PacketLength)> = table()
            .ids()
            .filter(|(id, _)| !warp_ro_packet::announces_addresses(*id))
            .collect();
        let mut server = if role == Role::Char { vec![1, 2, 3, 4] } else { Vec::new() };
        for (which, mut body) in packets {
            let (id, length) = *which.get(&ids);
            let length = match length {
                PacketLength::Fixed(length) => length,
                PacketLength::Variable => {
                    body[2..4].copy_from_slice(&120u16.to_le_bytes());
                    120
                }
            };
            body[..2].copy_from_slice(&id.to_le_bytes());
            body.resize(usize::from(length), 0xA5);
            server.extend(body);
        }
        let mut connection = BridgeConnection::new(role, Some(table()), Level::Rewrite);
        let mut book = Ports::default();
        let outcome = run(&mut connection, &mut book, (&[], &[]), (&server, &server_cuts));
        prop_assert_eq!(&outcome.client, &server);
        prop_assert!(book.0.is_empty());
        prop_assert_eq!(outcome.steps(), 0);
        prop_assert_eq!(connection.counters().of(TO_CLIENT).raw().packets, 0);
    }
}
