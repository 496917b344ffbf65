//! What players get to see of themselves and of each other.

use warp_ro_packet::coords::{unpack_move, unpack_pos};

use crate::raw::*;

const PRONTERA_PORTAL: u32 = 110_000_001;

#[tokio::test]
async fn players_see_each_other_come_act_and_go() {
    let server = server().await;
    let (mut one, first) = on_map(&server, 1).await;
    let (mut two, second) = entered(&server, 2).await;
    assert_eq!(load(&mut two).await, [PRONTERA_PORTAL, first.aid]);
    let aid = hex::encode(second.aid.to_le_bytes());
    one.expect(&format!("d701{aid}020000000000000000")).await;
    let arrival = one.sized(0x09FE).await;
    assert_eq!(
        (arrival.len(), u32_at(&arrival, 5), u32_at(&arrival, 9)),
        (107, second.aid, second.gid)
    );
    assert_eq!(
        unpack_pos(arrival[63..66].try_into().unwrap()),
        (156, 191, 0)
    );
    assert_eq!(arrival[83..94], *b"Practice 2\0");

    two.send(&walk(158, 189)).await;
    let own = two.packet(0x0087, 12).await;
    let seen = one.sized(0x09FD).await;
    assert_eq!((seen.len(), u32_at(&seen, 5)), (114, second.aid));
    assert_eq!(
        unpack_move(own[6..12].try_into().unwrap()),
        (156, 191, 158, 189)
    );
    assert_eq!(seen[67..73], own[6..12]);
    assert_eq!(u32_at(&seen, 37), u32_at(&own, 2));

    two.send(&chat("Practice 2 : hello")).await;
    two.expect("8e00170050726163746963652032203a2068656c6c6f00")
        .await;
    one.expect(&format!(
        "8d001b00{aid}50726163746963652032203a2068656c6c6f00"
    ))
    .await;

    two.send(&[0xbf, 0, 3]).await;
    for raw in [&mut one, &mut two] {
        raw.expect(&format!("c000{aid}03")).await;
    }
    let zeros = |count: usize| "00".repeat(count);
    for (action, status) in [
        (2, format!("83096e02{aid}010f2700000f270000{}", zeros(12))),
        (3, format!("96016e02{aid}00")),
    ] {
        two.send(&[0x37, 0x04, 9, 9, 9, 9, action]).await;
        for raw in [&mut one, &mut two] {
            raw.expect(&format!(
                "{status}c808{aid}{}{action:02x}{}",
                zeros(23),
                zeros(4)
            ))
            .await;
        }
    }
    // Looking is for the others only: the next thing that the looker gets is the name.
    two.send(&[0x61, 0x03, 1, 0, 5]).await;
    one.expect(&format!("9c00{aid}010005")).await;
    two.send(&[&[0x68, 0x03][..], &first.aid.to_le_bytes()].concat())
        .await;
    let name = two.packet(0x0A30, 106).await;
    assert_eq!(
        (u32_at(&name, 2), &name[6..17]),
        (first.aid, &b"Practice 1\0"[..])
    );
    two.send(&[&[0x68, 0x03][..], &PRONTERA_PORTAL.to_le_bytes()].concat())
        .await;
    assert_eq!(u32_at(&two.packet(0x0ADF, 58).await, 2), PRONTERA_PORTAL);

    // Quitting is granted; the unit stays until the client closes.
    two.send(&[0x8a, 0x01, 0, 0]).await;
    two.expect("8b010000").await;
    two.send(&TIME).await;
    two.packet(0x007F, 6).await;
    two.finish().await;
    one.expect(&format!("8000{aid}02")).await;
    server.shutdown().await;
}

#[tokio::test]
async fn nothing_is_heard_before_the_map_is_loaded() {
    let server = server().await;
    let (mut raw, _) = entered(&server, 1).await;
    raw.send(&TIME).await;
    raw.send(&chat("Practice 1 : hello")).await;
    // The first answer is the burst.
    load(&mut raw).await;
    raw.send(&[0x47, 0x04]).await;
    raw.expect("1b0b").await;
    // A second 007D is not heard.
    raw.send(&LOADED).await;
    raw.send(&[0x47, 0x04]).await;
    raw.expect("1b0b").await;
    server.shutdown().await;
}

#[tokio::test]
async fn what_is_wrong_has_no_answer() {
    let server = server().await;
    let (mut raw, _) = on_map(&server, 1).await;
    let mut unfinished = chat("Practice 1 : hello");
    *unfinished.last_mut().unwrap() = b'!';
    let sit = [0x37, 0x04, 0, 0, 0, 0, 2];
    let wrong = [
        chat("Practice 2 : hello"),
        chat("hello"),
        unfinished,
        walk(156 + 18, 191),
        [&[0x68, 0x03][..], &2_000_050u32.to_le_bytes()].concat(),
        vec![0x61, 0x03, 0, 0, 8],
        vec![0x4f, 0x01, 0, 0, 0, 0], // 014F: known and without meaning here
    ];
    for packet in wrong {
        raw.send(&packet).await;
        raw.send(&TIME).await;
        raw.packet(0x007F, 6).await;
    }
    raw.send(&sit).await;
    raw.take(29 + 34).await;
    raw.send(&sit).await; // sits already
    raw.send(&walk(157, 191)).await; // and cannot walk
    raw.send(&TIME).await;
    raw.packet(0x007F, 6).await;
    server.shutdown().await;
}

#[tokio::test]
async fn the_portal_leads_to_the_second_server_and_back() {
    let server = server().await;
    let (mut watcher, _) = on_map(&server, 2).await;
    let (mut raw, ids) = on_map(&server, 1).await;
    watcher.take(15 + 107).await;
    raw.send(&walk(166, 188)).await;
    raw.packet(0x0087, 12).await;
    let zone = raw.packet(0x0AC7, 156).await;
    assert_eq!(zone[2..13], *b"geffen.gat\0");
    assert_eq!((u16_at(&zone, 18), u16_at(&zone, 20)), (120, 70));
    assert_eq!(address_at(&zone, 22), server.map2_addr().unwrap());
    // The others see it go at once; the old connection is deaf from now on.
    watcher.sized(0x09FD).await;
    let aid = hex::encode(ids.aid.to_le_bytes());
    watcher.expect(&format!("8000{aid}00")).await;
    raw.send(&TIME).await;

    let mut geffen = Raw::to(server.map2_addr().unwrap()).await;
    geffen.send(&map_enter(ids)).await;
    entry_burst(&mut geffen, ids, false).await;
    assert_eq!(load(&mut geffen).await, [110_000_002]);
    raw.finish().await;
    raw.closed().await;
    // The end of the old connection does not touch the new one.
    geffen.send(&chat("Practice 1 : @go 0")).await;
    let zone = geffen.packet(0x0AC7, 156).await;
    assert_eq!(address_at(&zone, 22), server.map_addr());
    let mut back = Raw::to(server.map_addr()).await;
    back.send(&map_enter(ids)).await;
    entry_burst(&mut back, ids, false).await;
    assert_eq!(load(&mut back).await, [PRONTERA_PORTAL, ids.aid + 1]);
    server.shutdown().await;
}

#[tokio::test]
async fn commands_move_within_a_server() {
    let server = server().await;
    let (mut watcher, _) = on_map(&server, 2).await;
    let (mut raw, ids) = on_map(&server, 1).await;
    watcher.take(15 + 107).await;
    raw.send(&chat("Practice 1 : @go 1")).await;
    let to = raw.packet(0x0091, 22).await;
    assert_eq!(to[2..13], *b"izlude.gat\0");
    raw.expect("8e000c005761727065642e00").await;
    watcher
        .expect(&format!("8000{}03", hex::encode(ids.aid.to_le_bytes())))
        .await;
    raw.send(&TIME).await; // not heard before 007D
    assert_eq!(load(&mut raw).await, [110_000_003]);
    raw.send(&chat("Practice 1 : @jump")).await;
    assert_eq!(
        raw.sized(0x008E).await[4..],
        *b"@jump is Unknown Command.\0"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn char_select_returns_with_the_same_ids() {
    let server = server().await;
    let mut events = server.events();
    let (mut watcher, _) = on_map(&server, 2).await;
    let (mut raw, ids) = on_map(&server, 1).await;
    watcher.take(15 + 107).await;
    raw.send(&[0xb2, 0, 1]).await;
    raw.expect("b30001").await;
    // Even before the old connection has ended.
    let map_server = selected(ids, server.char_addr()).await;
    let aid = hex::encode(ids.aid.to_le_bytes());
    watcher.expect(&format!("8000{aid}02")).await;
    let mut again = Raw::to(map_server).await;
    again.send(&map_enter(ids)).await;
    entry_burst(&mut again, ids, true).await;
    raw.finish().await;
    raw.closed().await;
    let key = format!("map:test1:{:08x}-1", ids.id1);
    assert_eq!(ended(&mut events, &key).await, "client-closed");
    assert_eq!(load(&mut again).await, [PRONTERA_PORTAL, ids.aid + 1]);
    assert_eq!(server.players_online(), 2);
    server.shutdown().await;
}
