//! Recorded sessions, and anything else that may arrive, through the bridge's pipeline.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

/// The recordings, read by the packet crate's test code.
#[path = "../../../words/ro-packet/tests/common/mod.rs"]
mod common;

mod support;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;
use std::sync::LazyLock;

use common::{recordings, table};
use proptest::prelude::*;
use proptest::sample::Index;
use support::{
    Identity, PATH, Ports, Sent, TO_CLIENT, TO_SERVER, Tap, Version, any_level, any_role, cuts, run,
};
use warp_bridge_core::{BridgeConnection, BridgeEvent, Level, Reading, StepDownReason};
use warp_protocol::carrier::PathKind;
use warp_ro_packet::{FrameKind, Framer, PacketClass, PacketLength, Role};

fn connection(role: Role, level: Level) -> BridgeConnection {
    Version::new(20_211_103, false).connection(role, level)
}

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

fn assert_one_whole_packet_each(role: Role, messages: &[Sent]) {
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

/// A recorded session through a connection of its role, cut as said.
fn replay(session: &Session, level: Level, client: &[Index], server: &[Index]) -> (Tap, Ports) {
    let mut book = Ports::default();
    let connection = connection(session.role, level);
    let tap = run(
        connection,
        &mut book,
        (&session.client, client),
        (&session.server, server),
    );
    (tap, book)
}

fn session(name: &str) -> &'static Session {
    SESSIONS.iter().find(|one| one.name == name).unwrap()
}

fn maps(events: &[BridgeEvent]) -> Vec<&str> {
    let maps = events.iter().filter_map(|event| match event {
        BridgeEvent::MapChanged { map } => Some(map.as_str()),
        _ => None,
    });
    maps.collect()
}

#[test]
fn recorded_sessions_pass_with_only_addresses_changed() {
    let mut addresses = 0;
    let mut maps = 0;
    let mut entries = 0;
    for session in SESSIONS.iter() {
        for level in [Level::Assist, Level::Rewrite] {
            let (tap, book) = replay(session, level, &[], &[]);
            let outcome = &tap.out;
            assert_eq!(outcome.to_server(), session.client, "{}", session.name);
            assert_one_whole_packet_each(session.role, &outcome.messages);
            let here = assert_only_addresses_differ(session, &outcome.client, &book);
            let announced = outcome.events.iter().filter(|event| {
                matches!(event, BridgeEvent::ServerAnnounced { loopback, .. } if loopback.ip().is_loopback())
            });
            assert_eq!(announced.count(), here, "{}", session.name);
            assert_eq!(tap.connection.level(), level);
            assert_eq!(outcome.steps(), usize::from(level == Level::Rewrite));
            addresses += here;
            maps += usize::from(tap.connection.map().is_some());
            entries += outcome.messages.iter().filter(|one| one.alone).count();
        }
    }
    // Each level once: 6 times 0AC4, 7 times 0AC5, 2 times 0AC7; 9 map connections.
    assert_eq!(addresses, 2 * 15);
    assert_eq!(entries, 2 * 9);
    assert!(maps > 0);
}

#[test]
fn connections_of_a_recorded_login_name_the_same_account() {
    for (name, tag) in [
        ("s1-003-char", "s1"),
        ("s1-006-map", "s1"),
        ("bw-001-login", "bw"),
    ] {
        let (tap, _) = replay(session(name), Level::Assist, &[], &[]);
        let account = tap.connection.account().unwrap();
        assert!((2_000_000..2_000_100).contains(&account), "{tag} {account}");
        let told = tap.out.events.iter().filter(
            |event| matches!(event, BridgeEvent::Account { account: told } if *told == account),
        );
        assert_eq!(told.count(), 1, "{name}");
    }
}

#[test]
fn counters_add_up_by_class_direction_and_path() {
    let session = session("s1-006-map");
    let (tap, _) = replay(session, Level::Assist, &[], &[]);
    let counters = tap.connection.counters();
    let messages = &tap.out.messages;
    assert_eq!(counters.total(TO_SERVER).bytes, session.client.len() as u64);
    assert_eq!(counters.total(TO_SERVER).packets, messages.len() as u64);
    assert_eq!(counters.raw_total(TO_SERVER).packets, 0);
    for class in PacketClass::ALL {
        let of_class = messages.iter().filter(|one| one.class == class).count() as u64;
        assert_eq!(counters.class(TO_SERVER, class).packets, of_class);
        assert_eq!(counters.counter(TO_SERVER, class, PATH).packets, of_class);
        for other in [None, Some(PathKind::Wss)] {
            assert_eq!(counters.counter(TO_SERVER, class, other).packets, 0);
        }
    }
    assert!(counters.class(TO_SERVER, PacketClass::Movement).packets > 0);
    assert!(counters.class(TO_SERVER, PacketClass::Chat).packets > 0);
    assert_eq!(counters.total(TO_CLIENT).bytes, session.server.len() as u64);
    assert!(counters.class(TO_CLIENT, PacketClass::Movement).packets > 0);
}

#[test]
fn map_changes_are_told_once_each() {
    let (tap, _) = replay(session("s1-003-char"), Level::Assist, &[], &[]);
    assert_eq!(maps(&tap.out.events), ["prontera"]);
    assert_eq!(tap.connection.map(), Some("prontera"));
    let announced = tap.out.events.iter().find_map(|event| match event {
        BridgeEvent::ServerAnnounced { map, .. } => Some(map.as_deref()),
        _ => None,
    });
    assert_eq!(announced, Some(Some("prontera")));

    // The same map again is no change.
    let mut packet = vec![0x91, 0x00];
    packet.extend(b"izlude.gat\0\0\0\0\0\0");
    packet.extend([0; 4]);
    let twice = packet.repeat(2);
    let mut tap = Tap::new(connection(Role::Map, Level::Assist));
    tap.server(&twice);
    assert_eq!(maps(&tap.out.events), ["izlude"]);
}

proptest! {
    #[test]
    fn any_segmentation_of_a_session_gives_the_same_bytes(
        which in any::<Index>(),
        client_cuts in cuts(),
        server_cuts in cuts(),
    ) {
        let session = which.get(&SESSIONS);
        let (tap, book) = replay(session, Level::Assist, &client_cuts, &server_cuts);
        prop_assert_eq!(tap.out.to_server(), session.client.clone());
        assert_one_whole_packet_each(session.role, &tap.out.messages);
        assert_only_addresses_differ(session, &tap.out.client, &book);
        prop_assert_eq!(tap.out.steps(), 0);
        let carried = tap.connection.counters().total(TO_CLIENT).bytes;
        prop_assert_eq!(carried, session.server.len() as u64);
    }

    #[test]
    fn opaque_sessions_pass_untouched(
        which in any::<Index>(),
        client_cuts in cuts(),
        server_cuts in cuts(),
    ) {
        let session = which.get(&SESSIONS);
        let (tap, _) = replay(session, Level::Opaque, &client_cuts, &server_cuts);
        prop_assert_eq!(tap.out.to_server(), session.client.clone());
        prop_assert_eq!(&tap.out.client, &session.server);
        let by_zone = BridgeEvent::SteppedDown {
            from: Level::Assist,
            to: Level::Opaque,
            reason: StepDownReason::ByZone,
        };
        prop_assert_eq!(&tap.out.events, &[by_zone]);
        prop_assert!(tap.out.kept.is_empty());
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
        let tap = run(
            connection(session.role, Level::Assist),
            &mut Identity,
            (&client, &client_cuts),
            (&session.server, &server_cuts),
        );
        prop_assert_eq!(tap.out.to_server(), client);
        prop_assert_eq!(&tap.out.client, &session.server);
        prop_assert!(tap.out.steps() <= 1);
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
        let reading = if with_table {
            Version::new(20_211_103, false).reading()
        } else {
            Reading::Opaque(StepDownReason::NoPacketTable)
        };
        let tap = run(
            BridgeConnection::new(role, level, reading, true),
            &mut Identity,
            (&client, &client_cuts),
            (&server, &server_cuts),
        );
        prop_assert_eq!(tap.out.to_server(), client);
        prop_assert_eq!(&tap.out.client, &server);
        prop_assert!(tap.out.steps() <= 2);
    }
}
