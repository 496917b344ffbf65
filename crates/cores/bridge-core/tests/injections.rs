//! What the bridge takes out of a connection and puts into it: commands, answers, and the packet
//! that keeps the session alive.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod support;

use bytes::BytesMut;
use proptest::prelude::*;
use proptest::sample::Index;
use support::{
    Client, Identity, PATH, Ports, TO_CLIENT, Tap, Version, any_version, cuts, pieces, text_packet,
};
use warp_bridge_core::{BridgeConnection, BridgeEvent, Level, MAX_ANSWERS, StepDownReason};
use warp_ro_packet::{
    Direction, FrameKind, Framer, IdCipher, Role, announces_addresses, chat, map_name,
    rewrite_addresses,
};

fn answer_packets(lines: &[&str]) -> Vec<u8> {
    let mut packets = BytesMut::new();
    for line in lines {
        chat::system_line(line, &mut packets);
    }
    packets.to_vec()
}

/// 0091: to a map of the same server.
fn move_to(map: &str) -> Vec<u8> {
    let mut packet = vec![0x91, 0x00];
    packet.extend(map.as_bytes());
    packet.resize(22, 0);
    packet
}

#[test]
fn a_command_never_reaches_the_server() {
    for version in Version::all() {
        let (mut tap, mut client) = version.playing();
        let before = tap.out.messages.len();
        let counted = *tap.connection.counters();
        tap.client(&client.hide(&version.chat("Ann : /p2p status")));
        tap.client(&client.hide(&version.chat("Ann : @P2P")));
        assert_eq!(tap.out.commands(), ["/p2p status", "@P2P"]);
        assert_eq!(tap.out.messages.len(), before, "{version:?}");
        assert_eq!(tap.connection.counters(), &counted);
    }
}

#[test]
fn everything_that_is_no_command_passes() {
    for version in Version::all() {
        let (mut tap, mut client) = version.playing();
        let whisper = {
            let mut packet = text_packet(0x0096, "");
            packet.resize(28, b'x');
            packet.extend(b"Ann : /p2p status\0");
            let length = u16::try_from(packet.len()).unwrap();
            packet[2..4].copy_from_slice(&length.to_le_bytes());
            packet
        };
        let party = text_packet(0x0108, "Ann : /p2p status");
        let others = [
            version.chat("Ann : /p2px"),
            version.chat("Ann : tell me of /p2p"),
            version.chat("Ann : hello"),
            version.sync(9),
            whisper,
            party,
        ];
        for packet in others {
            let before = tap.out.messages.len();
            let hidden = client.hide(&packet);
            tap.client(&hidden);
            assert_eq!(tap.out.messages[before..].len(), 1, "{packet:02x?}");
            assert_eq!(tap.out.messages[before].payload, hidden);
        }
        assert!(tap.out.commands().is_empty());
    }
}

#[test]
fn commands_are_only_read_where_they_may_be() {
    let version = Version::new(20_211_103, false);
    let line = version.chat("Ann : /p2p status");
    // Switched off, not on a map connection, opaque.
    let reading = || version.reading();
    for connection in [
        BridgeConnection::new(Role::Map, Level::Assist, reading(), false),
        BridgeConnection::new(Role::Char, Level::Assist, reading(), true),
        BridgeConnection::new(Role::Map, Level::Opaque, reading(), true),
    ] {
        let mut tap = Tap::new(connection);
        tap.client(&line);
        assert_eq!(tap.out.to_server(), line);
        assert!(tap.out.commands().is_empty());
        if tap.connection.role() == Role::Char || tap.connection.level() == Level::Opaque {
            assert!(!tap.answer(&["no"]));
        }
    }
    let mut tap = Tap::new(BridgeConnection::new(
        Role::Map,
        Level::Assist,
        reading(),
        true,
    ));
    tap.client(&line);
    assert!(tap.out.messages.is_empty());
    assert_eq!(tap.out.commands(), ["/p2p status"]);
}

#[test]
fn below_assist_nothing_is_taken_out_or_put_in() {
    let version = Version::new(20_211_103, false);
    let (mut tap, mut client) = version.playing();
    assert!(tap.answer(&["waits"]));
    let kept = tap.out.kept.len();
    let by_zone = StepDownReason::ByZone;
    assert!(tap.connection.step_down(Level::Rewrite, by_zone));
    let line = client.hide(&version.chat("Ann : /p2p status"));
    let before = tap.out.to_server().len();
    tap.client(&line);
    assert_eq!(tap.out.to_server()[before..], line);
    assert!(tap.out.commands().is_empty());
    assert!(!tap.answer(&["no"]));
    // What was left with the endpoint is taken back, and nothing new is.
    tap.client(&client.hide(&version.sync(9)));
    assert_eq!(tap.out.kept[kept..], [Vec::<u8>::new()]);
}

#[test]
fn what_follows_a_withheld_packet_is_hidden_by_the_servers_own_key() {
    let version = Version::new(20_130_807, true);
    let (mut tap, mut client) = version.playing();
    let command = version.chat("Ann : /p2p status");
    let sync = version.sync(3);
    let said = version.chat("Ann : hello");
    for packet in [&command, &sync, &command, &command, &said, &sync] {
        tap.client(&client.hide(packet));
    }
    // The server's key has seen only what was sent.
    let mut key = Client::new(&version);
    let expected: Vec<Vec<u8>> = [version.enter(), version.loaded(), sync.clone(), said, sync]
        .iter()
        .map(|packet| key.hide(packet))
        .collect();
    assert_eq!(tap.out.to_server(), expected.concat());
    let ids: Vec<u16> = tap.out.messages.iter().filter_map(|one| one.id).collect();
    let roles = version.table.roles();
    let plain = [
        roles.map_enter,
        roles.map_loaded,
        roles.time_sync,
        roles.public_chat,
        roles.time_sync,
    ];
    assert_eq!(ids, plain.map(Option::unwrap), "told in plain");
}

#[test]
fn answers_come_at_once_while_the_server_is_silent() {
    for version in Version::all() {
        let (mut tap, _client) = version.playing();
        let before = tap.out.client.clone();
        assert!(tap.answer(&["path: direct", "ping: 20 ms"]));
        let expected = [before, answer_packets(&["path: direct", "ping: 20 ms"])].concat();
        assert_eq!(tap.out.client, expected);
        // Nothing is counted as the server's.
        let bytes = tap.connection.counters().total(TO_CLIENT).bytes;
        assert_eq!(bytes, 2 * version.packet(0x0087, 0).len() as u64);
    }
}

#[test]
fn answers_never_come_inside_a_packet() {
    let version = Version::new(20_211_103, false);
    let (mut tap, _client) = version.playing();
    tap.out.client.clear();
    let moved = version.packet(0x0087, 7);
    tap.server(&moved[..5]);
    tap.answer(&["between"]);
    tap.server(&moved[5..]);
    let expected = [answer_packets(&["between"]), moved].concat();
    assert_eq!(tap.out.client, expected);
}

#[test]
fn answers_wait_for_the_end_of_loading() {
    for version in Version::all() {
        let mut tap = version.tap(Role::Map);
        let mut client = Client::new(&version);
        let entered = version.packet(0x0087, 1);
        assert!(tap.answer(&["early"]));
        tap.client(&client.hide(&version.enter()));
        tap.server(&entered);
        tap.server(&move_to("prontera.gat"));
        tap.client(&client.hide(&version.loaded()));
        let loading = [&entered[..], &move_to("prontera.gat")].concat();
        assert_eq!(tap.out.client, loading, "the server has not answered");
        tap.server(&entered);
        let loaded = [&loading[..], &entered, &answer_packets(&["early"])].concat();
        assert_eq!(tap.out.client, loaded);
        // And again for each map.
        tap.server(&move_to("izlude.gat"));
        tap.answer(&["later"]);
        tap.server(&entered);
        assert!(tap.out.client.ends_with(&entered));
        tap.client(&client.hide(&version.loaded()));
        tap.server(&entered);
        let expected = [&entered[..], &answer_packets(&["later"])].concat();
        assert!(tap.out.client.ends_with(&expected));
    }
}

#[test]
fn a_client_that_may_not_leave_gets_its_answers_later() {
    let version = Version::new(20_211_103, false);
    let (mut tap, mut client) = version.playing();
    tap.client(&client.hide(&version.restart()));
    tap.out.client.clear();
    tap.answer(&["line"]);
    assert!(tap.out.client.is_empty());
    tap.client(&client.hide(&version.sync(1)));
    assert_eq!(tap.out.client, answer_packets(&["line"]));
}

#[test]
fn so_many_lines_wait_and_the_rest_is_dropped_and_told() {
    let version = Version::new(20_211_103, false);
    let mut tap = version.tap(Role::Map);
    let lines: Vec<String> = (0..MAX_ANSWERS + 3).map(|n| format!("line {n}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert!(tap.answer(&lines[..10]));
    assert!(tap.answer(&lines[10..]));
    let dropped = BridgeEvent::AnswersDropped { lines: 3 };
    assert_eq!(tap.out.events, [dropped]);
    tap.client(&version.loaded());
    tap.server(&version.packet(0x0087, 1));
    assert!(
        tap.out
            .client
            .ends_with(&answer_packets(&lines[..MAX_ANSWERS]))
    );
    assert!(tap.answer(&lines[..1]), "there is room again");
}

#[test]
fn an_opaque_connection_gets_no_answers() {
    let version = Version::new(20_211_103, false);
    let mut tap = version.tap(Role::Map);
    tap.answer(&["early"]);
    tap.connection
        .step_down(Level::Opaque, StepDownReason::Requested);
    tap.client(&version.loaded());
    tap.server(&[0x87]);
    assert_eq!(tap.out.client, [0x87]);
    assert!(!tap.answer(&["late"]));
}

#[test]
fn the_session_is_kept_alive_while_the_player_is_on_a_map() {
    for version in [
        Version::new(20_130_807, false),
        Version::new(20_211_103, false),
    ] {
        let mut tap = version.tap(Role::Map);
        tap.client(&version.enter());
        tap.server(&version.packet(0x0087, 1));
        tap.client(&version.loaded());
        assert!(tap.out.kept.is_empty(), "loading");
        tap.server(&version.packet(0x0087, 1));
        // Made, until the client sends its own.
        assert_eq!(tap.out.kept, [version.sync(0)]);
        tap.client(&version.sync(7));
        tap.client(&version.sync(7));
        tap.client(&version.sync(8));
        assert_eq!(tap.out.kept[1..], [version.sync(7), version.sync(8)]);
        // Taken away when loading begins, given back when it ends.
        tap.server(&move_to("izlude.gat"));
        assert_eq!(tap.out.kept[3..], [Vec::<u8>::new()]);
        tap.client(&version.sync(9));
        tap.client(&version.loaded());
        assert_eq!(tap.out.kept.len(), 4);
        tap.server(&version.packet(0x0087, 1));
        assert_eq!(tap.out.kept[4..], [version.sync(9)]);
        // A client that leaves.
        tap.client(&version.restart());
        assert_eq!(tap.out.kept[5..], [Vec::<u8>::new()]);
        tap.client(&version.sync(9));
        assert_eq!(tap.out.kept[6..], [version.sync(9)]);
        // The time syncs themselves were all sent.
        let syncs = tap.out.messages.iter();
        let syncs = syncs.filter(|one| one.id == version.table.roles().time_sync);
        assert_eq!(syncs.count(), 5);
    }
}

#[test]
fn a_move_to_another_map_server_takes_the_packet_away() {
    for (version, id) in [(20_130_807, 0x0092), (20_211_103, 0x0AC7)] {
        let version = Version::new(version, false);
        let (mut tap, _client) = version.playing();
        let mut moved = version.packet(id, 0);
        moved[2..12].copy_from_slice(b"izlude.gat");
        moved[22..28].copy_from_slice(&[192, 0, 2, 9, 0x01, 0x14]);
        tap.server_with(&moved, &mut Ports::default());
        assert_eq!(tap.out.kept, [version.sync(0), Vec::new()]);
        let announced = tap.out.events.iter().find_map(|event| match event {
            BridgeEvent::ServerAnnounced { upstream, map, .. } => Some((*upstream, map.clone())),
            _ => None,
        });
        let expected = ("192.0.2.9:5121".parse().unwrap(), Some("izlude".to_owned()));
        assert_eq!(announced, Some(expected));
    }
}

#[test]
fn nothing_is_kept_alive_where_it_would_do_harm() {
    // A packet more would put the server's key ahead.
    let (tap, _client) = Version::new(20_130_807, true).playing();
    assert!(tap.out.kept.is_empty());
    // Not a map connection.
    let version = Version::new(20_211_103, false);
    let mut tap = version.tap(Role::Char);
    tap.client(&version.loaded());
    tap.server(&[1, 2, 3, 4]);
    assert!(tap.out.kept.is_empty());
    // No longer read.
    let (mut tap, _client) = version.playing();
    assert_eq!(tap.out.kept.len(), 1);
    tap.server(&[0xFF; 8]);
    assert_eq!(tap.connection.level(), Level::Opaque);
    assert_eq!(tap.out.kept[1..], [Vec::<u8>::new()]);
}

/// Part of a client's side.
#[derive(Debug, Clone)]
enum Step {
    /// A packet of the table, and what its body is filled with.
    Packet(Index, u8),
    Chat(String),
    Command,
    Loaded,
    Sync(u8),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (any::<Index>(), any::<u8>()).prop_map(|(which, fill)| Step::Packet(which, fill)),
        1 => "[a-z/@ ]{0,20}".prop_map(Step::Chat),
        2 => Just(Step::Command),
        2 => Just(Step::Loaded),
        1 => any::<u8>().prop_map(Step::Sync),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..25)
}

/// The packets of the client's side that pass, and the bytes of the whole side.
fn client_side(version: &Version, steps: &[Step]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let chat_id = version.table.roles().public_chat;
    let ids: Vec<u16> = version
        .table
        .ids()
        .map(|(id, _)| id)
        .filter(|id| Some(*id) != chat_id)
        .collect();
    let (mut passing, mut bytes) = (vec![version.enter()], Vec::new());
    let mut client = Client::new(version);
    bytes.extend(client.hide(&version.enter()));
    for step in steps {
        let packet = match step {
            Step::Packet(which, fill) => version.packet(*which.get(&ids), *fill),
            Step::Chat(text) => version.chat(&format!("Ann : -{text}")),
            Step::Command => version.chat("Ann : /p2p status"),
            Step::Loaded => version.loaded(),
            Step::Sync(tick) => version.sync(*tick),
            Step::Restart => version.restart(),
        };
        bytes.extend(client.hide(&packet));
        if !matches!(step, Step::Command) {
            passing.push(packet);
        }
    }
    (passing, bytes)
}

/// Packets of a map server without system lines, with addresses of both generations now and then.
fn server_side(version: &Version, packets: &[(Index, u8, u8)]) -> Vec<Vec<u8>> {
    let ids: Vec<u16> = version
        .table
        .ids()
        .map(|(id, _)| id)
        .filter(|id| *id != 0x008E)
        .collect();
    let special: Vec<u16> = [0x0091, 0x0092, 0x0AC7]
        .into_iter()
        .filter(|id| version.table.length_of(*id).is_some())
        .collect();
    let make = |(which, fill, kind): &(Index, u8, u8)| {
        if *kind < 4 {
            return version.packet(*which.get(&special), *fill);
        }
        version.packet(*which.get(&ids), *fill)
    };
    packets.iter().map(make).collect()
}

proptest! {
    /// Commands are withheld and answers interleaved at any point of any segmentation; nothing else
    /// changes on either side.
    #[test]
    fn only_commands_are_taken_out_and_only_whole_answers_put_in(
        version in any_version(),
        steps in steps(),
        packets in proptest::collection::vec((any::<Index>(), any::<u8>(), 0u8..16), 0..25),
        client_cuts in cuts(),
        server_cuts in cuts(),
        answers in proptest::collection::vec(0u8..3, 0..40),
    ) {
        let (passing, client_bytes) = client_side(&version, &steps);
        let server_packets = server_side(&version, &packets);
        let server_bytes = server_packets.concat();
        let client_pieces = pieces(&client_bytes, &client_cuts);
        let server_pieces = pieces(&server_bytes, &server_cuts);
        let mut tap = version.tap(Role::Map);
        let mut book = Ports::default();
        let mut asked = 0;
        for turn in 0..client_pieces.len().max(server_pieces.len()) {
            if let Some(piece) = client_pieces.get(turn) {
                tap.client(piece);
            }
            for _ in 0..answers.get(turn).copied().unwrap_or(0) {
                asked += 1;
                tap.answer(&["an answer"]);
            }
            if let Some(piece) = server_pieces.get(turn) {
                tap.server_with(piece, &mut book);
            }
        }
        tap.finish();
        prop_assert_eq!(tap.out.steps(), 0);

        // The server: the client's packets without the commands, under the server's own key.
        let mut key = Client::new(&version);
        let expected: Vec<Vec<u8>> = passing.iter().map(|packet| key.hide(packet)).collect();
        let written: Vec<Vec<u8>> = tap.out.messages.iter().map(|one| one.payload.clone()).collect();
        prop_assert_eq!(written, expected);
        let commands = steps.iter().filter(|step| matches!(step, Step::Command)).count();
        prop_assert_eq!(tap.out.commands().len(), commands);

        // The client: the server's packets with only addresses changed, and whole answers.
        let line = answer_packets(&["an answer"]);
        let mut framer = Framer::new(version.table.clone(), Role::Map, TO_CLIENT);
        framer.push(&tap.out.client);
        let (mut seen, mut answered) = (Vec::new(), 0);
        while let Some(frame) = framer.next_frame() {
            prop_assert!(matches!(frame.kind, FrameKind::Packet(_)));
            if frame.kind == FrameKind::Packet(0x008E) {
                prop_assert_eq!(&frame.bytes[..], &line[..]);
                answered += 1;
            } else {
                seen.push(frame.bytes.to_vec());
            }
        }
        prop_assert_eq!(framer.pending(), 0);
        prop_assert!(answered <= asked);
        prop_assert_eq!(seen.len(), server_packets.len());
        for (seen, sent) in seen.iter().zip(&server_packets) {
            let id = u16::from_le_bytes([sent[0], sent[1]]);
            if !announces_addresses(id) {
                prop_assert_eq!(seen, sent);
                continue;
            }
            let mut expected = sent.clone();
            rewrite_addresses(&mut expected, &mut |role, upstream| {
                let nth = book.0.iter().position(|known| *known == (role, upstream));
                nth.map_or(upstream, Ports::answer)
            });
            prop_assert_eq!(seen, &expected);
        }
    }

    /// Nothing is given to the client, and nothing kept for the server, from the map entry or a move
    /// to a map until the client has loaded it and the server has said something.
    #[test]
    fn nothing_is_injected_while_a_map_is_loading(
        which in any::<bool>(),
        turns in proptest::collection::vec((0u8..7, any::<u8>()), 0..60),
    ) {
        let version = Version::new(if which { 20_130_807 } else { 20_211_103 }, false);
        let mut tap = version.tap(Role::Map);
        tap.client(&version.enter());
        // 0: loading, 1: the client has loaded, 2: the server has answered.
        let mut loading = 0;
        for (turn, tick) in turns {
            let (answered, kept) = (tap.out.client.len(), tap.out.kept.len());
            let mut from_server = 0;
            match turn {
                0 => {
                    tap.client(&version.loaded());
                    loading = loading.max(1);
                }
                1 => tap.client(&version.sync(tick)),
                2 => {
                    tap.answer(&["line"]);
                }
                3 | 4 => {
                    let packet = version.packet(0x0087, tick);
                    from_server = packet.len();
                    tap.server(&packet);
                    if loading == 1 {
                        loading = 2;
                    }
                }
                5 => {
                    let packet = move_to("prontera.gat");
                    prop_assert!(map_name(&packet).is_some());
                    from_server = packet.len();
                    tap.server(&packet);
                    loading = 0;
                }
                _ => {
                    tap.client(&version.enter());
                    loading = 0;
                }
            }
            if loading < 2 {
                let injected = tap.out.client.len() - answered - from_server;
                prop_assert_eq!(injected, 0);
                let given = tap.out.kept[kept..].iter().filter(|packet| !packet.is_empty());
                prop_assert_eq!(given.count(), 0);
                // What was given before has been taken away.
                prop_assert!(tap.out.kept.last().is_none_or(Vec::is_empty));
            }
        }
    }
}

#[test]
fn the_test_and_the_bridge_hide_ids_alike() {
    // The property above would not notice if both forgot to.
    let version = Version::new(20_130_807, true);
    let keys = version.table.cipher().unwrap();
    let enter = version.table.roles().map_enter.unwrap();
    assert_ne!(IdCipher::new(keys).peek(enter), enter);
    let mut tap = version.tap(Role::Map);
    let hidden = Client::new(&version).hide(&version.enter());
    tap.server_with(&[], &mut Identity);
    tap.connection
        .client_bytes(&hidden, PATH, &mut |message| tap.out.take(message));
    assert_eq!(tap.out.messages[0].id, Some(enter));
    assert_eq!(tap.out.messages[0].payload, hidden);
    assert_eq!(Direction::ClientToServer, support::TO_SERVER);
}
