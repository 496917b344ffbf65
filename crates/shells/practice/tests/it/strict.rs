//! How bytes must arrive, and which session numbers are taken (ro-protocol sections 6 and 8).

use std::time::Duration;

use warp_practice::server::{Server, ServerConfig};

use crate::raw::*;

/// 0200: a login keep-alive without an answer.
fn login_keep_alive() -> Vec<u8> {
    let mut packet = vec![0; 26];
    packet[1] = 2;
    packet
}

#[tokio::test]
async fn login_closes_on_a_split_packet() {
    let server = server().await;
    for cut in [2, 10, 54] {
        let mut raw = Raw::to(server.login_addr()).await;
        raw.send(&login("test1", "test1")[..cut]).await;
        raw.closed().await;
    }
    server.shutdown().await;
}

#[tokio::test]
async fn login_waits_after_one_byte_and_takes_several_packets_at_once() {
    let server = server().await;
    let mut raw = Raw::to(server.login_addr()).await;
    let unknown = login("nobody", "x");
    let wrong = login("test1", "x");
    // Two whole packets and one byte of a third: the answers say that all of it was read.
    raw.send(&[&login_keep_alive(), &unknown, &wrong[..1]].concat())
        .await;
    raw.expect(&format!("3e0800000000{}", "00".repeat(20)))
        .await;
    raw.send(&wrong[1..]).await;
    raw.expect(&format!("3e0801000000{}", "00".repeat(20)))
        .await;
    // A whole one and a head: handled first, then closed.
    raw.send(&[&wrong[..], &wrong[..30]].concat()).await;
    raw.expect(&format!("3e0801000000{}", "00".repeat(20)))
        .await;
    raw.closed().await;
    server.shutdown().await;
}

#[tokio::test]
async fn char_waits_for_the_rest() {
    let server = server().await;
    let (ids, char_server) = logged_in(&server, 1).await;
    let mut raw = Raw::to(char_server).await;
    let enter = char_enter(ids);
    // A keep-alive before it makes no difference, and a packet may come in two pieces.
    let mut keep_alive = vec![0x87, 0x01];
    keep_alive.extend(ids.aid.to_le_bytes());
    raw.send(&[&keep_alive[..], &enter[..9]].concat()).await;
    raw.send(&enter[9..]).await;
    char_burst(&mut raw, ids).await;
    // The answer to the whole packet says that the head behind it was read, too.
    raw.send(&[0xa1, 0x09, 0x66, 0x00]).await;
    assert_eq!(raw.sized(0x0B72).await.len(), 179);
    raw.send(&[0x00]).await;
    raw.packet(0x0AC5, 156).await;
    server.shutdown().await;
}

#[tokio::test]
async fn map_closes_on_a_split_packet() {
    let server = server().await;
    for (number, cut) in [(1, 2), (2, 4)] {
        let (mut raw, _) = on_map(&server, number).await;
        raw.send(&walk(157, 191)[..cut]).await;
        raw.closed().await;
    }
    let (mut raw, _) = on_map(&server, 3).await;
    raw.send(&chat("Practice 3 : hello")[..10]).await;
    raw.closed().await;
    server.shutdown().await;
}

#[tokio::test]
async fn map_waits_after_one_byte_and_after_three_of_a_variable_packet() {
    let server = server().await;
    let mut events = server.events();
    let (mut raw, ids) = on_map(&server, 1).await;
    let line = chat("Practice 1 : hello");
    for (packet, cut) in [(&TIME[..], 1), (&line[..], 1), (&line[..], 3)] {
        raw.send(&[&TIME, &packet[..cut]].concat()).await;
        raw.packet(0x007F, 6).await;
        raw.send(&packet[cut..]).await;
        if packet == line {
            assert_eq!(raw.sized(0x008E).await[4..], line[4..]);
        } else {
            raw.packet(0x007F, 6).await;
        }
    }
    // Eight whole packets in one segment are eight packets.
    raw.send(&TIME.repeat(8)).await;
    for _ in 0..8 {
        raw.packet(0x007F, 6).await;
    }
    // A whole packet and the head of the next: handled first, then closed.
    raw.send(&[&TIME[..], &TIME[..3]].concat()).await;
    raw.packet(0x007F, 6).await;
    raw.closed().await;
    let key = format!("map:test1:{:08x}-1", ids.id1);
    assert_eq!(ended(&mut events, &key).await, "split-packet");
    server.shutdown().await;
}

#[tokio::test]
async fn enter_has_to_be_first_whole_and_alone() {
    let server = server().await;
    let (ids, char_server) = logged_in(&server, 1).await;
    let map_server = selected(ids, char_server).await;
    let refusal = format!("6a0001{}", "00".repeat(20));
    let enter = map_enter(ids);
    for bytes in [
        [&enter[..], &LOADED].concat(),
        [&enter[..], &[0]].concat(),
        enter[..22].to_vec(),
    ] {
        let mut raw = Raw::to(map_server).await;
        raw.send(&bytes).await;
        raw.expect(&refusal).await;
        raw.closed().await;
    }
    let mut raw = Raw::to(map_server).await;
    raw.send(&TIME).await;
    raw.closed().await;
    // None of that used the ticket up.
    let mut raw = Raw::to(map_server).await;
    raw.send(&enter).await;
    entry_burst(&mut raw, ids, true).await;
    server.shutdown().await;
}

#[tokio::test]
async fn unknown_ids_and_impossible_lengths_close() {
    let server = server().await;
    for door in [server.login_addr(), server.char_addr(), server.map_addr()] {
        let mut raw = Raw::to(door).await;
        raw.send(&[0xff, 0xff, 1, 2, 3]).await;
        raw.closed().await;
    }
    for bytes in [&[0xff, 0xff][..], &[0xf3, 0, 2, 0]] {
        let (mut raw, _) = on_map(&server, 1).await;
        raw.send(&[&TIME, bytes].concat()).await;
        raw.packet(0x007F, 6).await;
        raw.closed().await;
    }
    server.shutdown().await;
}

#[tokio::test]
async fn login_tickets_work_once() {
    let server = server().await;
    let (ids, char_server) = logged_in(&server, 1).await;
    let aid = hex::encode(ids.aid.to_le_bytes());
    let mut raw = Raw::to(char_server).await;
    for wrong in [
        Ids {
            id1: !ids.id1,
            ..ids
        },
        Ids {
            id2: !ids.id2,
            ..ids
        },
        Ids {
            sex: 1 - ids.sex,
            ..ids
        },
        Ids {
            aid: ids.aid + 1,
            ..ids
        },
        Ids { aid: 7, ..ids },
    ] {
        // Refused, and never closed by the char server.
        raw.send(&char_enter(wrong)).await;
        raw.expect(&hex::encode(wrong.aid.to_le_bytes())).await;
        raw.expect("6c0000").await;
    }
    raw.send(&[0x66, 0, 0]).await; // without the right ids nothing is heard
    raw.send(&char_enter(ids)).await;
    char_burst(&mut raw, ids).await;
    let mut second = Raw::to(char_server).await;
    second.send(&char_enter(ids)).await;
    second.expect(&aid).await;
    second.expect("6c0000").await;
    server.shutdown().await;
}

#[tokio::test]
async fn map_tickets_work_once_and_at_their_own_server() {
    let server = server().await;
    let mut events = server.events();
    let (ids, char_server) = logged_in(&server, 1).await;
    let map_server = selected(ids, char_server).await;
    let refused = async |ids: Ids, door, code: &str| {
        let mut raw = Raw::to(door).await;
        raw.send(&map_enter(ids)).await;
        raw.expect(&format!("8302{}", hex::encode(ids.aid.to_le_bytes())))
            .await;
        raw.expect(code).await;
        raw.closed().await;
    };
    refused(
        Ids {
            id1: !ids.id1,
            ..ids
        },
        map_server,
        "810000",
    )
    .await;
    refused(
        Ids {
            gid: ids.gid + 1,
            ..ids
        },
        map_server,
        "810000",
    )
    .await;
    refused(
        Ids {
            aid: ids.aid + 1,
            ..ids
        },
        map_server,
        "810000",
    )
    .await;
    refused(
        Ids {
            sex: 1 - ids.sex,
            ..ids
        },
        map_server,
        "810000",
    )
    .await;
    refused(ids, server.map2_addr().unwrap(), "810000").await;

    let mut first = Raw::to(map_server).await;
    first.send(&map_enter(ids)).await;
    entry_burst(&mut first, ids, true).await;
    load(&mut first).await;
    // The same ids while the first is alive: the first stays untouched.
    refused(ids, map_server, "810008").await;
    first.send(&TIME).await;
    first.packet(0x007F, 6).await;
    // And after it has gone they are used up.
    first.finish().await;
    first.closed().await;
    assert_eq!(ended(&mut events, "map:test1:").await.as_str(), "refused");
    refused(ids, map_server, "810000").await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_second_login_throws_the_first_out() {
    let server = server().await;
    let (mut old, _) = on_map(&server, 1).await;
    let mut raw = Raw::to(server.login_addr()).await;
    raw.send(&login("test1", "test1")).await;
    raw.expect("810008").await;
    old.expect("810002").await;
    old.closed().await;
    let (mut new, _) = on_map(&server, 1).await;
    new.send(&TIME).await;
    new.packet(0x007F, 6).await;

    // A char connection counts as online, too.
    let (ids, char_server) = logged_in(&server, 2).await;
    let mut old = Raw::to(char_server).await;
    old.send(&char_enter(ids)).await;
    char_burst(&mut old, ids).await;
    raw.send(&login("test2", "test2")).await;
    raw.expect("810008").await;
    old.expect("810002").await;
    old.closed().await;

    // And so does the way from the char to the map server: once.
    let (ids, char_server) = logged_in(&server, 3).await;
    let map_server = selected(ids, char_server).await;
    raw.send(&login("test3", "test3")).await;
    raw.expect("810008").await;
    logged_in(&server, 3).await;
    let mut late = Raw::to(map_server).await;
    late.send(&map_enter(ids)).await;
    late.expect(&format!("8302{}810000", hex::encode(ids.aid.to_le_bytes())))
        .await;
    late.closed().await;
    server.shutdown().await;
}

#[tokio::test]
async fn only_idle_map_connections_are_closed() {
    let mut config = ServerConfig::loopback();
    config.idle_limit = Duration::from_millis(100);
    let server = Server::start(config).await.unwrap();
    let mut events = server.events();
    let (ids, char_server) = logged_in(&server, 1).await;
    let mut at_char = Raw::to(char_server).await;
    at_char.send(&char_enter(ids)).await;
    char_burst(&mut at_char, ids).await;
    let mut silent = Raw::to(server.map_addr()).await;
    silent.closed().await;
    let (mut raw, ids) = on_map(&server, 2).await;
    raw.closed().await;
    let key = format!("map:test2:{:08x}-1", ids.id1);
    assert_eq!(ended(&mut events, &key).await, "idle");
    at_char.send(&[0xa1, 0x09]).await;
    at_char.sized(0x0B72).await;
    server.shutdown().await;
}

#[tokio::test]
async fn shutdown_closes_everything() {
    let server = server().await;
    let mut events = server.events();
    let (mut raw, _) = on_map(&server, 1).await;
    let address = server.login_addr();
    server.shutdown().await;
    raw.closed().await;
    assert_eq!(ended(&mut events, "map:test1:").await, "shutdown");
    assert!(events.recv().await.is_none());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// The account is held: however often somebody tries, and it is nobody's connection that is kicked.
async fn held(server: &Server, user: &str) {
    let mut raw = Raw::to(server.login_addr()).await;
    for _ in 0..3 {
        raw.send(&login(user, user)).await;
        raw.expect("810008").await;
    }
}

#[tokio::test]
async fn who_fights_cannot_leave_and_stays_online() {
    let server = server().await;
    let (mut raw, ids) = on_map(&server, 1).await;
    // Attack on: the blow is told.
    raw.send(&[0x37, 0x04, 0, 0, 0, 0, 7]).await;
    let blow = raw.packet(0x08C8, 34).await;
    assert_eq!((u32_at(&blow, 2), blow[29]), (ids.aid, 0));
    // Neither 018A nor 00B2.
    raw.send(&[0x8A, 0x01, 0, 0]).await;
    raw.expect("8b010100").await;
    raw.send(&[0xB2, 0x00, 1]).await;
    raw.expect("8b010100").await;
    raw.finish().await;
    raw.closed().await;
    held(&server, "test1").await;
    // Without a fight the account is free at once.
    let (mut raw, _) = on_map(&server, 2).await;
    raw.finish().await;
    raw.closed().await;
    logged_in(&server, 2).await;
    server.shutdown().await;
}

#[tokio::test]
async fn an_account_that_is_lost_while_it_loads_is_locked() {
    let server = server().await;
    let (mut raw, _) = entered(&server, 1).await;
    raw.finish().await;
    raw.closed().await;
    held(&server, "test1").await;
    server.shutdown().await;
}

#[tokio::test]
async fn nothing_is_done_before_the_right_pin() {
    let mut config = ServerConfig::loopback();
    config.pin = Some(*b"4821");
    let server = Server::start(config).await.unwrap();
    let asked = async |number: u32| {
        let (ids, char_server) = logged_in(&server, number).await;
        let mut raw = Raw::to(char_server).await;
        raw.send(&char_enter(ids)).await;
        raw.expect(&hex::encode(ids.aid.to_le_bytes())).await;
        raw.sized(0x082D).await;
        raw.sized(0x006B).await;
        raw.expect("a009050000000d020400").await;
        let state = raw.packet(0x08B9, 12).await;
        assert_eq!((u32_at(&state, 6), u16_at(&state, 10)), (ids.aid, 1));
        (raw, ids)
    };
    let (mut raw, _) = asked(1).await;
    raw.send(&[0xA1, 0x09]).await;
    raw.sized(0x0B72).await;
    raw.send(&[0x66, 0x00, 0]).await;
    raw.closed().await;
    // Ten tries of one digit four times: one of them would be right for 0000 to 9999 alone.
    let (mut raw, ids) = asked(2).await;
    for digit in b'0'..=b'9' {
        let mut enter = vec![0xB8, 0x08];
        enter.extend(ids.aid.to_le_bytes());
        enter.extend([digit; 4]);
        raw.send(&enter).await;
        let state = raw.packet(0x08B9, 12).await;
        assert_eq!(u16_at(&state, 10), 8);
    }
    server.shutdown().await;
}
