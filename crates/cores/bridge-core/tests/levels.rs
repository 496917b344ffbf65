//! Levels, the choice of the table, and the ends of streams.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use std::sync::Arc;

use support::{Client, Identity, PATH, TO_CLIENT, TO_SERVER, Tap, Version, run};
use warp_bridge_core::{
    BridgeConnection, BridgeEvent, FirstPacket, KnownVersion, Level, Reading, StepDownReason,
    Versions,
};
use warp_ro_packet::{PacketTable, Role};

fn new() -> Version {
    Version::new(20_211_103, false)
}

fn stepped(from: Level, to: Level, reason: StepDownReason) -> BridgeEvent {
    BridgeEvent::SteppedDown { from, to, reason }
}

#[test]
fn only_the_map_entry_travels_alone() {
    for version in Version::all() {
        for (role, alone) in [(Role::Map, true), (Role::Char, false), (Role::Login, false)] {
            let mut client = Client::new(&version);
            if role != Role::Map {
                client = Client::new(&new());
            }
            let bytes = [version.enter(), version.loaded()].map(|packet| client.hide(&packet));
            let mut tap = version.tap(role);
            tap.client(&bytes.concat());
            let alones: Vec<bool> = tap.out.messages.iter().map(|one| one.alone).collect();
            assert_eq!(alones, [alone, false], "{version:?} {role:?}");
        }
    }
}

#[test]
fn every_reason_not_to_read_a_connection_is_told() {
    for reason in [
        StepDownReason::NoPacketTable,
        StepDownReason::UnknownVersion { id: 7 },
        StepDownReason::ObfuscatedIds { id: 7 },
    ] {
        let reading = Reading::Opaque(reason);
        let tap = Tap::new(BridgeConnection::new(
            Role::Map,
            Level::Assist,
            reading,
            true,
        ));
        assert_eq!(
            tap.out.events,
            [stepped(Level::Assist, Level::Opaque, reason)]
        );
        assert_eq!(tap.connection.level(), Level::Opaque);
    }
    // The zone's choice comes first, and is a reason as well.
    let reading = Reading::Opaque(StepDownReason::NoPacketTable);
    let tap = Tap::new(BridgeConnection::new(
        Role::Map,
        Level::Rewrite,
        reading,
        true,
    ));
    let by_zone = StepDownReason::ByZone;
    assert_eq!(
        tap.out.events,
        [
            stepped(Level::Assist, Level::Rewrite, by_zone),
            stepped(Level::Rewrite, Level::Opaque, StepDownReason::NoPacketTable),
        ]
    );
    let tap = Tap::new(new().connection(Role::Map, Level::Opaque));
    assert_eq!(
        tap.out.events,
        [stepped(Level::Assist, Level::Opaque, by_zone)]
    );
}

#[test]
fn opaque_keeps_the_clients_own_writes() {
    let mut tap = Tap::new(new().connection(Role::Map, Level::Opaque));
    let writes: [&[u8]; 3] = [&[0x7D, 0, 0x7D, 0], &[0x5F, 3, 1], &[0xFF]];
    for write in writes {
        tap.client(write);
    }
    let messages = &tap.out.messages;
    let payloads: Vec<&[u8]> = messages.iter().map(|one| &one.payload[..]).collect();
    assert_eq!(payloads, writes);
    assert!(messages.iter().all(|one| one.id.is_none() && !one.alone));
    let raw = tap.connection.counters().raw(TO_SERVER, PATH);
    assert_eq!(raw.packets, 3);
}

#[test]
fn an_unknown_id_of_the_client_frees_what_the_server_direction_held() {
    let mut tap = new().tap(Role::Map);
    // Two bytes of a packet of twelve wait.
    tap.server(&[0x87, 0x00]);
    assert!(tap.out.client.is_empty(), "framed bytes wait");
    assert_eq!(tap.connection.waiting(TO_CLIENT), 2);
    tap.client(&[0x7D, 0x00, 0xEE, 0xFF, 0x01]);
    let ids: Vec<Option<u16>> = tap.out.messages.iter().map(|one| one.id).collect();
    assert_eq!(ids, [Some(0x007D), None]);
    assert_eq!(tap.out.messages[1].payload, [0xEE, 0xFF, 0x01]);
    let reason = StepDownReason::UnknownPacketId {
        direction: TO_SERVER,
        id: 0xFFEE,
    };
    assert_eq!(
        tap.out.events,
        [stepped(Level::Assist, Level::Opaque, reason)]
    );
    assert_eq!(tap.out.client, [0x87, 0x00]);
    // From here on untouched, also what looks like a packet's beginning; and no second event.
    tap.server(&[0xC5, 0x0A]);
    assert_eq!(tap.out.client, [0x87, 0x00, 0xC5, 0x0A]);
    assert_eq!(tap.out.events.len(), 1);
}

#[test]
fn a_stalled_direction_can_be_let_go() {
    let mut tap = new().tap(Role::Map);
    tap.client(&[0xF3, 0x00, 0x00, 0x80, 0x01]);
    let waiting = tap.connection.waiting(TO_SERVER);
    assert_eq!((tap.out.messages.len(), waiting), (0, 5));
    let reason = StepDownReason::Stalled {
        direction: TO_SERVER,
        waiting,
    };
    assert!(tap.connection.step_down(Level::Opaque, reason));
    assert!(tap.connection.due(TO_SERVER));
    assert!(!tap.connection.due(TO_CLIENT));
    tap.client(&[]);
    assert_eq!(tap.out.to_server(), [0xF3, 0x00, 0x00, 0x80, 0x01]);
}

#[test]
fn levels_only_step_down() {
    let mut connection = new().connection(Role::Map, Level::Assist);
    let requested = StepDownReason::Requested;
    assert!(!connection.step_down(Level::Assist, requested));
    assert!(connection.step_down(Level::Rewrite, requested));
    assert!(!connection.step_down(Level::Assist, requested));
    assert!(connection.step_down(Level::Opaque, requested));
    assert!(!connection.step_down(Level::Rewrite, requested));
    assert!(!connection.choose(new().reading()), "opaque it stays");
    let events: Vec<BridgeEvent> = std::iter::from_fn(|| connection.poll_event()).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(
        serde_json::to_string(&events[0]).unwrap(),
        r#"{"event":"stepped-down","from":"assist","to":"rewrite","reason":{"code":"requested"}}"#
    );
}

#[test]
fn a_stream_that_ends_inside_a_packet_is_forwarded_and_told() {
    let tap = run(
        new().connection(Role::Char, Level::Assist),
        &mut Identity,
        (&[0x5F, 0x03, 1], &[]),
        // Three of the four raw bytes of the account id.
        (&[1, 2, 3], &[]),
    );
    assert_eq!(tap.out.to_server(), [0x5F, 0x03, 1]);
    assert_eq!(tap.out.client, [1, 2, 3]);
    let partial = |direction| BridgeEvent::Partial {
        direction,
        bytes: 3,
    };
    assert_eq!(tap.out.events, [partial(TO_SERVER), partial(TO_CLIENT)]);
}

#[test]
fn debug_output_shows_no_password() {
    let mut packet = vec![0x64, 0x00];
    packet.resize(55, b'x');
    let mut connection = new().connection(Role::Login, Level::Assist);
    connection.client_bytes(&packet[..40], PATH, &mut |_| {});
    assert!(!format!("{connection:?}").contains("xx"));
    let mut seen = 0;
    connection.client_bytes(&packet[40..], PATH, &mut |message| {
        seen += message.payload.len();
        assert!(!format!("{message:?}").contains("xx"));
    });
    assert_eq!(seen, 55);
}

#[test]
fn the_table_may_be_chosen_again_before_anything_was_said() {
    let old = Version::new(20_130_807, true);
    let mut client = Client::new(&old);
    let mut tap = new().tap(Role::Map);
    assert!(tap.connection.choose(old.reading()));
    tap.client(&[client.hide(&old.enter()), client.hide(&old.loaded())].concat());
    let ids: Vec<Option<u16>> = tap.out.messages.iter().map(|one| one.id).collect();
    let roles = old.table.roles();
    assert_eq!(ids, [roles.map_enter, roles.map_loaded]);
    assert!(tap.out.messages[0].alone);
    assert_eq!(tap.out.steps(), 0);
    // The client's key is behind the first packets: it cannot be taken up now.
    assert!(!tap.connection.choose(new().reading()));
    assert!(tap.connection.choose(old.reading()), "it is read so");
}

#[test]
fn another_table_goes_on_where_the_first_one_was() {
    let old = Version::new(20_130_807, false);
    let mut tap = new().tap(Role::Char);
    // Account id, and the beginning of 006B.
    tap.server(&[1, 2, 3, 4, 0x6B, 0x00]);
    tap.client(&[0x65]);
    assert_eq!(tap.out.client, [1, 2, 3, 4]);
    assert!(tap.connection.choose(old.reading()));
    let rest = [6, 0, 9, 9];
    tap.server(&rest);
    tap.client(&[0; 16]);
    assert_eq!(
        tap.out.client,
        [1, 2, 3, 4, 0x6B, 0x00, 6, 0, 9, 9],
        "one packet, and no raw account id"
    );
    assert_eq!(tap.out.messages[0].payload.len(), 17);
    // What is no packet in the new table either.
    let opaque = Reading::Opaque(StepDownReason::UnknownVersion { id: 1 });
    assert!(tap.connection.choose(opaque));
    assert_eq!(tap.connection.level(), Level::Opaque);
}

/// CA_LOGIN of any version.
fn login() -> Vec<u8> {
    let mut packet = vec![0x64, 0];
    packet.resize(55, 1);
    packet
}

fn version_of(reading: &Reading) -> Option<(u32, bool)> {
    match reading {
        Reading::Framed { table, ciphered } => Some((table.version(), *ciphered)),
        Reading::Opaque(_) => None,
    }
}

#[test]
fn the_version_is_found_out_from_the_first_packets() {
    for version in Version::all() {
        let expected = version.table.version();
        let mut versions = Versions::new(0, &[]);
        assert!(versions.on_client(Role::Login, &login()[..1]).is_none());
        let newest = versions.on_client(Role::Login, &login()).unwrap();
        assert_eq!(version_of(&newest), Some((20_211_103, false)));
        assert_eq!(version_of(&versions.guess()), Some((20_211_103, false)));
        assert!(!versions.certain());
        let uncertain = KnownVersion {
            version: 20_211_103,
            ciphered: false,
            certain: false,
        };
        assert_eq!(versions.poll_change(), Some(uncertain));
        assert_eq!(versions.poll_change(), None);
        let mut enter = version.enter();
        *enter.last_mut().unwrap() = 0;
        let enter = Client::new(&version).hide(&enter);
        let reading = versions.on_client(Role::Map, &enter).unwrap();
        let (found, ciphered) = version_of(&reading).unwrap();
        assert_eq!(ciphered, version.ciphered);
        // Versions that share their map entry cannot be told apart by it: the newest counts. With
        // hidden ids the keys tell.
        let same_enter = |other: u32| {
            let other = PacketTable::for_version(other).unwrap();
            other.roles().map_enter == version.table.roles().map_enter
        };
        assert!(found == expected || (!ciphered && found > expected && same_enter(found)));
        let known = versions.poll_change();
        let certain = versions.certain();
        let told = KnownVersion {
            version: found,
            ciphered,
            certain,
        };
        assert_eq!(known, (told != uncertain).then_some(told));
        // A connection to the char server says nothing of the cipher.
        let mut char_enter = vec![0x65, 0];
        char_enter.resize(17, 0);
        versions.on_client(Role::Char, &char_enter).unwrap();
        assert_eq!(versions.poll_change(), None);
    }
}

#[test]
fn ids_hidden_by_an_unknown_key_are_told_from_an_unknown_version() {
    let mut first = vec![0xAB, 0x7A];
    first.resize(23, 0);
    let mut versions = Versions::new(0, &[]);
    let reading = versions.on_client(Role::Map, &first).unwrap();
    assert!(matches!(
        reading,
        Reading::Opaque(StepDownReason::ObfuscatedIds { id: 0x7AAB })
    ));
    // 0C01 is beyond no table's ids by much, but on a login connection nothing is hidden.
    let reading = versions.on_client(Role::Login, &first).unwrap();
    assert!(matches!(
        reading,
        Reading::Opaque(StepDownReason::UnknownVersion { id: 0x7AAB })
    ));
    // An id that tables know, but no client begins with.
    let reading = versions.on_client(Role::Map, &[0x7D, 0]).unwrap();
    assert!(matches!(
        reading,
        Reading::Opaque(StepDownReason::UnknownVersion { id: 0x007D })
    ));
    // The version is known to be one that may hide its ids: what does not fit is hidden.
    let mut versions = Versions::new(20_151_029, &[]);
    let reading = versions.on_client(Role::Map, &first).unwrap();
    assert!(matches!(
        reading,
        Reading::Opaque(StepDownReason::ObfuscatedIds { .. })
    ));
}

#[test]
fn the_operators_choice_wins() {
    // The version that the zone names, whatever comes.
    let mut versions = Versions::new(20_211_103, &[]);
    assert!(versions.certain());
    for (role, head) in [(Role::Map, &[0x7D, 0][..]), (Role::Login, &[0xAB, 0x7A, 0])] {
        let reading = versions.on_client(role, head).unwrap();
        assert_eq!(version_of(&reading), Some((20_211_103, false)), "{role:?}");
    }
    // A version without a table.
    let mut versions = Versions::new(19_990_101, &[]);
    for reading in [
        versions.on_client(Role::Login, &login()).unwrap(),
        versions.guess(),
    ] {
        assert!(matches!(
            reading,
            Reading::Opaque(StepDownReason::NoPacketTable)
        ));
    }
    assert!(versions.on_server(Role::Login, &[0xC4, 0x0A]).is_none());
    // The operator's own table of a version that is compiled in, and of one that is not.
    let rows = "0064 55 55 0\n0436 23 23 0\n0999 7 7 0\n";
    let own = |version| Arc::new(PacketTable::from_recvpackets(version, rows).unwrap());
    for version in [20_211_103, 20_220_406] {
        let own = own(version);
        let mut versions = Versions::new(version, &[Arc::clone(&own)]);
        match versions.on_client(Role::Login, &login()).unwrap() {
            Reading::Framed { table, .. } => assert!(Arc::ptr_eq(&table, &own)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_servers_first_packets_tell_versions_apart() {
    let mut versions = Versions::new(0, &[]);
    versions.on_client(Role::Login, &login()).unwrap();
    // 0069 with one char server: clients before 2017-03-15.
    let mut accept = vec![0x69, 0];
    accept.extend((47u16 + 32).to_le_bytes());
    accept.resize(47 + 32, 0);
    let reading = versions.on_server(Role::Login, &accept).unwrap();
    assert_eq!(version_of(&reading), Some((20_151_029, false)));
    assert_eq!(version_of(&versions.guess()), Some((20_151_029, false)));
}

#[test]
fn the_first_packet_names_the_account() {
    for version in Version::all() {
        let account = 2_000_007u32;
        let mut enter = version.enter();
        enter[2..6].copy_from_slice(&account.to_le_bytes());
        let enter = Client::new(&version).hide(&enter);
        let reading = version.reading();
        let first = |head: &[u8]| reading.first_packet(Role::Map, head);
        assert_eq!(first(&enter), FirstPacket::Account(account));
        assert_eq!(first(&enter[..enter.len() - 1]), FirstPacket::Unfinished);
        let plain = Version {
            ciphered: false,
            ..version.clone()
        };
        let loaded = plain.reading().first_packet(Role::Map, &plain.loaded());
        assert_eq!(loaded, FirstPacket::Other);
        let mut char_enter = vec![0x65, 0];
        char_enter.extend(account.to_le_bytes());
        char_enter.resize(17, 0);
        let first = reading.first_packet(Role::Char, &char_enter);
        assert_eq!(first, FirstPacket::Account(account));
    }
    let opaque = Reading::Opaque(StepDownReason::NoPacketTable);
    assert_eq!(opaque.first_packet(Role::Map, &[]), FirstPacket::Other);
}
