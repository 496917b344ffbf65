use proptest::prelude::*;
use warp_protocol::carrier::{PathKind, PathLabel, Stamp};
use warp_protocol::identity::PublicKey;

use super::*;

fn member(peer_id: &str, epoch: u32, slot: u32) -> Member {
    Member {
        peer_id: peer_id.into(),
        session_id: format!("session of {peer_id}"),
        zone_id: "prontera".into(),
        epoch,
        slot,
        device_key: PublicKey::from_raw([1; 32]),
    }
}

fn framed(epoch: u32, slot: u32, inner: &[u8]) -> Bytes {
    let head = Forwarded { epoch, slot }.to_bytes();
    Bytes::from([&head[..], inner].concat())
}

#[allow(clippy::disallowed_methods, reason = "some instant to begin with")]
fn forwarder(config: ForwarderConfig) -> (Forwarder, Instant) {
    let now = Instant::now();
    (Forwarder::new(config, now), now)
}

#[test]
fn datagrams_go_both_ways_with_head_and_without() {
    let (mut host, now) = forwarder(ForwarderConfig::default());
    host.serve(now, &member("a", 7, 1)).unwrap();
    host.serve(now, &member("b", 7, 2)).unwrap();
    let up = host.from_member(now, "b", b"from b").unwrap();
    assert_eq!(up, framed(7, 2, b"from b"));
    let (to, down) = host.from_endpoint(now, &framed(7, 1, b"to a")).unwrap();
    assert_eq!((&*to, &down[..]), ("a", &b"to a"[..]));
    let totals = host.totals();
    assert_eq!((totals.members.up, totals.members.up_bytes), (1, 6));
    assert_eq!((totals.members.down, totals.members.down_bytes), (1, 4));
    let counts = |peer: &str| host.members().find(|it| &**it.0 == peer).unwrap().3;
    assert_eq!((counts("a").up, counts("a").down), (0, 1));
    assert_eq!((counts("b").up, counts("b").down), (1, 0));
}

#[test]
fn what_is_nobodys_old_or_no_datagram_is_dropped_and_counted() {
    let (mut host, now) = forwarder(ForwarderConfig::default());
    host.serve(now, &member("a", 7, 1)).unwrap();
    assert_eq!(host.from_member(now, "z", b"x"), None);
    assert_eq!(host.from_member(now, "a", b""), None);
    assert_eq!(host.from_member(now, "a", &[0; 1211]), None);
    assert!(host.from_member(now, "a", &[0; 1210]).is_some());
    assert_eq!(host.from_endpoint(now, &framed(7, 2, b"x")), None);
    assert_eq!(host.from_endpoint(now, &framed(6, 1, b"x")), None);
    assert_eq!(host.from_endpoint(now, &framed(7, 1, b"")), None);
    assert_eq!(host.from_endpoint(now, &Bytes::from_static(b"x")), None);
    let totals = host.totals();
    assert_eq!((totals.strangers, totals.malformed), (1, 4));
    assert_eq!((totals.unrouted, totals.stale), (1, 1));
    // Served again: the new epoch counts, the old one no longer, and the counts stay.
    host.serve(now, &member("a", 8, 3)).unwrap();
    assert_eq!(host.from_endpoint(now, &framed(7, 1, b"x")), None);
    assert!(host.from_endpoint(now, &framed(8, 3, b"x")).is_some());
    assert_eq!(
        host.from_member(now, "a", b"x").unwrap(),
        framed(8, 3, b"x")
    );
    assert_eq!(host.totals().unrouted, 2);
    assert!(host.unserve(now, "a"));
    assert!(!host.unserve(now, "a"));
    assert_eq!(host.from_endpoint(now, &framed(8, 3, b"x")), None);
    assert!(host.is_empty());
}

#[test]
fn it_takes_as_many_as_it_may_and_no_slot_twice() {
    let config = ForwarderConfig {
        max_members: 2,
        ..ForwarderConfig::default()
    };
    let (mut host, now) = forwarder(config);
    host.serve(now, &member("a", 1, 1)).unwrap();
    let taken = host.serve(now, &member("b", 1, 1));
    assert_eq!(taken, Err(ServeRefused::SlotTaken));
    host.serve(now, &member("b", 1, 2)).unwrap();
    let full = host.serve(now, &member("c", 1, 3));
    assert_eq!(full, Err(ServeRefused::Full));
    host.serve(now, &member("b", 2, 2)).unwrap();
    let taken = host.serve(now, &member("b", 2, 1));
    assert_eq!(taken, Err(ServeRefused::SlotTaken));
    assert_eq!(host.len(), 2);
}

#[test]
fn a_flood_is_cut_to_its_rate_and_reported_once_in_five_seconds() {
    let (mut host, begin) = forwarder(ForwarderConfig::default());
    host.serve(begin, &member("flood", 1, 1)).unwrap();
    host.serve(begin, &member("calm", 1, 2)).unwrap();
    let mut reports = Vec::new();
    let mut passed = 0;
    // 2,000 a second for ten seconds, beside 20 a second.
    for step in 0..20_000_u64 {
        let now = begin + Duration::from_micros(step * 500);
        passed += u64::from(host.from_member(now, "flood", &[1; 60]).is_some());
        if step % 100 == 0 {
            assert!(host.from_member(now, "calm", &[1; 60]).is_some());
        }
        reports.extend(host.poll_flood(now));
    }
    // The burst, and ten seconds of the rate.
    assert!((3_299..=3_301).contains(&passed), "{passed}");
    assert_eq!(reports.len(), 2);
    assert!(reports.iter().all(|flood| &*flood.peer_id == "flood"));
    let end = begin + Duration::from_secs(20);
    let last = host.poll_flood(end).unwrap();
    let told: u64 = reports.iter().map(|it| it.dropped).sum::<u64>() + last.dropped;
    assert_eq!(told, 20_000 - passed);
    assert_eq!(host.poll_flood(end + REPORT_EVERY), None);
    assert_eq!(host.totals().floods, 3);
}

#[test]
fn long_datagrams_are_held_to_the_rate_in_bytes() {
    let (mut host, begin) = forwarder(ForwarderConfig {
        upload_mbps: 1000,
        ..ForwarderConfig::default()
    });
    host.serve(begin, &member("a", 1, 1)).unwrap();
    let mut bytes = 0;
    for step in 0..2_000_u64 {
        let now = begin + Duration::from_millis(step * 5);
        bytes += host
            .from_member(now, "a", &[1; 1200])
            .map_or(0, |sent| sent.len() - FORWARD_LEN);
    }
    let limit = 96 * 1024;
    assert!((10 * limit..=11 * limit).contains(&bytes), "{bytes}");
}

#[test]
fn loss_is_what_the_labels_of_the_endpoint_show() {
    let (mut host, now) = forwarder(ForwarderConfig::default());
    host.serve(now, &member("a", 1, 1)).unwrap();
    assert_eq!(host.take_loss_percent(), None);
    for number in [1, 2, 3, 5, 6, 8, 9, 10] {
        let label = Label {
            path: PathLabel {
                kind: PathKind::Host,
                generation: 1,
            },
            stamp: Stamp {
                number,
                ..Stamp::default()
            },
        };
        let inner = [&label.to_bytes()[..], b"quic"].concat();
        assert!(host.from_endpoint(now, &framed(1, 1, &inner)).is_some());
    }
    assert_eq!(host.take_loss_percent(), Some(20.0));
    assert_eq!(host.take_loss_percent(), None);
}

/// What each of some members sends: bytes of a datagram, microseconds between two.
fn senders() -> impl Strategy<Value = Vec<(usize, u64)>> {
    proptest::collection::vec((1_usize..1200, 200_u64..20_000), 1..12)
}

proptest! {
    /// Whoever stays within an equal part of the upload loses nothing to it, and all together never
    /// send more than the limit and its burst.
    #[test]
    fn the_upload_is_shared_fairly(senders in senders(), greedy in 1_usize..4) {
        let config = ForwarderConfig {
            datagrams_per_second: 1_000_000,
            bytes_per_second: u32::MAX,
            upload_mbps: 1,
            ..ForwarderConfig::default()
        };
        let (mut host, begin) = forwarder(config);
        let rate = 1e6 / 8.0;
        let count = senders.len() + greedy;
        let names: Vec<String> = (0..count).map(|number| format!("m{number}")).collect();
        for (slot, name) in names.iter().enumerate() {
            host.serve(begin, &member(name, 1, slot as u32)).unwrap();
        }
        // The shares fill.
        let begin = begin + Duration::from_secs(60);
        let mut events: Vec<(u64, usize, usize)> = Vec::new();
        let mut modest = Vec::new();
        for (number, (size, every)) in senders.iter().enumerate() {
            let cost = (size + FORWARD_LEN + WIRE_OVERHEAD) as f64;
            modest.push(cost * 1e6 / (*every as f64) <= rate / count as f64);
            events.extend((0..2_000_000 / every).map(|turn| (turn * every, number, *size)));
        }
        for number in senders.len()..count {
            events.extend((0..4_000).map(|turn| (turn * 500, number, 1200)));
        }
        events.sort_unstable();
        let mut sent = 0.0;
        for (at, number, size) in events {
            let now = begin + Duration::from_micros(at);
            let passed = host.from_member(now, &names[number], &vec![0; size]);
            if let Some(passed) = passed {
                sent += (passed.len() + WIRE_OVERHEAD) as f64;
            } else {
                prop_assert!(!modest.get(number).copied().unwrap_or(false), "member {number}");
            }
        }
        let depth = (rate * UPLOAD_DEPTH).max(2.0 * MAX_WIRE * count as f64);
        prop_assert!(sent <= 2.0 * rate + depth + 1.0, "{sent}");
    }

    /// Members that come and go, and any bytes, break nothing; every datagram is counted once.
    #[test]
    fn every_datagram_is_counted_once(
        steps in proptest::collection::vec((0_u8..6, 0_u32..5, 0_u32..4, 0_usize..1400), 1..400),
    ) {
        let config = ForwarderConfig { max_members: 3, ..ForwarderConfig::default() };
        let (mut host, begin) = forwarder(config);
        let mut given = 0;
        for (step, (what, slot, epoch, size)) in steps.into_iter().enumerate() {
            let now = begin + Duration::from_millis(step as u64);
            let name = format!("m{slot}");
            match what {
                0 => { let _ = host.serve(now, &member(&name, epoch, slot)); }
                1 => { host.unserve(now, &name); }
                2 | 3 => {
                    given += 1;
                    host.from_member(now, &name, &vec![0; size]);
                }
                _ => {
                    given += 1;
                    host.from_endpoint(now, &framed(epoch, slot, &vec![0; size]));
                }
            }
            prop_assert!(host.len() <= 3);
            prop_assert_eq!(host.slots.len(), host.members.len());
        }
        let totals = host.totals();
        let MemberCounts { up, down, over_rate, over_upload, .. } = totals.members;
        let counted = up + down + over_rate + over_upload;
        let others = totals.strangers + totals.malformed + totals.unrouted + totals.stale;
        prop_assert_eq!(counted + others, given);
    }
}

#[test]
fn who_is_not_named_again_after_a_break_goes_and_makes_room() {
    let (mut forwarder, start) = forwarder(ForwarderConfig {
        max_members: 2,
        ..ForwarderConfig::default()
    });
    for (number, name) in ["anna", "bert"].into_iter().enumerate() {
        let member = member(name, 1, number as u32);
        forwarder.serve(start, &member).unwrap();
    }
    let full = forwarder.serve(start, &member("cora", 1, 7));
    assert_eq!(full, Err(ServeRefused::Full));
    forwarder.on_signaling(start);
    forwarder.serve(start, &member("anna", 1, 0)).unwrap();
    // Bert went while nobody could tell: its place is needed.
    forwarder.serve(start, &member("cora", 1, 7)).unwrap();
    assert_eq!(forwarder.poll_gone(start).as_deref(), Some("bert"));
    assert_eq!(forwarder.poll_gone(start), None);
    let full = forwarder.serve(start, &member("dora", 1, 8));
    assert_eq!(full, Err(ServeRefused::Full), "both are named");

    forwarder.on_signaling(start);
    forwarder.serve(start, &member("cora", 1, 7)).unwrap();
    assert_eq!(forwarder.poll_gone(start + RECOUNT / 2), None);
    assert_eq!(forwarder.len(), 2, "there is time");
    assert_eq!(
        forwarder.poll_gone(start + RECOUNT).as_deref(),
        Some("anna")
    );
    assert_eq!(forwarder.poll_gone(start + RECOUNT), None);
    assert_eq!(forwarder.len(), 1);
}
