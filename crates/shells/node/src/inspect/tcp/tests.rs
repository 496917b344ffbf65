//! Streams come out as they were sent, whatever the network did to their segments.

use proptest::prelude::*;
use warp_ro_packet::{Direction, Role};

use super::super::stream::collect::Collect;
use super::{Connections, HOLE_US, MAX_CONNECTIONS, MAX_HELD, Segment};

const PORTS: [(Role, u16); 3] = [(Role::Login, 6900), (Role::Char, 6121), (Role::Map, 5121)];
const CLIENT: &str = "192.0.2.7:40000";
const SERVER: &str = "192.0.2.1:5121";

/// What one segment says; to the server unless `back`.
#[derive(Debug, Clone, Default)]
struct Sent {
    back: bool,
    sequence: u32,
    acknowledged: Option<u32>,
    syn: bool,
    fin: bool,
    rst: bool,
    payload: Vec<u8>,
}

fn run(segments: &[(u64, Sent)]) -> Collect {
    let mut sink = Collect::default();
    let mut connections = Connections::new("c".into(), None, &PORTS);
    let mut last = 0;
    for (time_us, sent) in segments {
        last = *time_us;
        let (source, destination) = if sent.back {
            (SERVER, CLIENT)
        } else {
            (CLIENT, SERVER)
        };
        let segment = Segment {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            sequence: sent.sequence,
            acknowledged: sent.acknowledged,
            syn: sent.syn,
            fin: sent.fin,
            rst: sent.rst,
            payload: &sent.payload,
        };
        connections.segment(*time_us, &segment, &mut sink).unwrap();
    }
    connections.finish(last, &mut sink).unwrap();
    assert_eq!(connections.held, 0, "nothing waits in the end");
    assert!(sink.0.iter().all(|stream| stream.ended));
    sink
}

fn syn(sequence: u32) -> Sent {
    Sent {
        sequence,
        syn: true,
        ..Sent::default()
    }
}

fn data(sequence: u32, payload: &[u8]) -> Sent {
    Sent {
        sequence,
        payload: payload.to_vec(),
        ..Sent::default()
    }
}

fn ack(acknowledged: u32) -> Sent {
    Sent {
        back: true,
        sequence: 1,
        acknowledged: Some(acknowledged),
        ..Sent::default()
    }
}

fn at(time_us: u64, segments: Vec<Sent>) -> Vec<(u64, Sent)> {
    segments.into_iter().map(|one| (time_us, one)).collect()
}

#[test]
fn segments_in_disorder_sent_twice_and_overlapping_are_put_right() {
    let sink = run(&at(
        0,
        vec![
            syn(99),
            data(104, b"ef"),
            data(100, b"abc"),
            data(100, b"abc"),
            data(102, b"cde"),
            syn(99),
            data(103, b"defgh"),
        ],
    ));
    assert_eq!(sink.0.len(), 1);
    assert_eq!(sink.0[0].bytes, b"abcdefgh");
    assert_eq!(sink.0[0].gaps, []);
    let origin = &sink.0[0].origin;
    assert_eq!(
        (origin.role, origin.direction, origin.number, origin.whole),
        (Role::Map, Direction::ClientToServer, 1, true)
    );
}

#[test]
fn sequence_numbers_wrap() {
    let start = u32::MAX - 1;
    let sink = run(&at(
        0,
        vec![
            syn(start - 1),
            data(start.wrapping_add(4), b"ef"),
            data(start, b"abcd"),
        ],
    ));
    assert_eq!(sink.0[0].bytes, b"abcdef");
}

#[test]
fn what_the_receiver_has_and_the_capture_has_not_is_a_gap_after_a_second() {
    let mut segments = at(
        0,
        vec![syn(99), data(100, b"ab"), data(105, b"fg"), ack(107)],
    );
    segments.push((HOLE_US - 1, data(107, b"h")));
    let waiting = run(&segments[..4]);
    assert_eq!(
        waiting.0[0].gaps,
        [(2, 3)],
        "told at the end of the capture"
    );
    let mut late = segments.clone();
    late.push((HOLE_US - 1, data(102, b"cde")));
    let filled = run(&late);
    assert_eq!(filled.0[0].bytes, b"abcdefgh");
    assert_eq!(filled.0[0].gaps, []);
    segments.push((HOLE_US, ack(108)));
    segments.push((HOLE_US, data(102, b"cde")));
    let given_up = run(&segments);
    assert_eq!(given_up.0[0].bytes, b"abfgh");
    assert_eq!(given_up.0[0].gaps, [(2, 3)]);
}

#[test]
fn what_nobody_acknowledged_may_come_late() {
    let mut segments = at(
        0,
        vec![syn(99), data(100, b"ab"), data(105, b"fg"), ack(102)],
    );
    segments.push((10 * HOLE_US, data(102, b"cde")));
    let sink = run(&segments);
    assert_eq!(sink.0[0].bytes, b"abcdefg");
    assert_eq!(sink.0[0].gaps, []);
}

#[test]
fn what_waits_is_bounded() {
    let piece = vec![7u8; 60_000];
    let pieces = u32::try_from(MAX_HELD / piece.len()).unwrap() + 2;
    let mut segments = vec![syn(99)];
    for place in 0..pieces {
        segments.push(data(101 + place * 60_000, &piece));
    }
    let sink = run(&at(0, segments));
    assert_eq!(sink.0[0].gaps, [(0, 1)]);
    assert_eq!(
        sink.0[0].bytes.len(),
        60_000 * usize::try_from(pieces).unwrap()
    );
}

#[test]
fn the_end_of_a_stream_is_where_its_fin_stands() {
    let mut fin = data(102, b"c");
    fin.fin = true;
    let early = run(&at(0, vec![syn(99), fin.clone(), data(100, b"ab")]));
    assert_eq!(early.0[0].bytes, b"abc");
    assert_eq!(early.0[0].gaps, []);
    fin.payload.clear();
    let lost = run(&at(0, vec![syn(99), data(100, b"a"), fin]));
    assert_eq!(lost.0[0].gaps, [(1, 1)]);
}

#[test]
fn the_same_ports_may_carry_another_connection() {
    let mut reset = data(102, b"");
    reset.rst = true;
    let sink = run(&at(
        0,
        vec![
            syn(99),
            data(100, b"ab"),
            reset,
            data(102, b"straggler"),
            syn(5000),
            data(5001, b"cd"),
            syn(9000),
            data(9001, b"ef"),
        ],
    ));
    let bytes: Vec<&[u8]> = sink.0.iter().map(|stream| &stream.bytes[..]).collect();
    assert_eq!(bytes, [b"ab", b"cd", b"ef"]);
    let numbers: Vec<u32> = sink.0.iter().map(|stream| stream.origin.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn a_connection_in_the_middle_of_which_the_capture_begins_is_shown_and_marked() {
    let mut answer = data(700, b"server");
    answer.back = true;
    let sink = run(&at(0, vec![answer, data(100, b"client")]));
    assert_eq!(sink.0.len(), 2);
    assert_eq!(sink.0[0].origin.direction, Direction::ServerToClient);
    assert_eq!(sink.0[0].bytes, b"server");
    assert_eq!(sink.0[1].origin.direction, Direction::ClientToServer);
    assert!(sink.0.iter().all(|stream| !stream.origin.whole));
    assert!(sink.0.iter().all(|stream| stream.origin.number == 1));
}

#[test]
fn other_ports_are_passed_over() {
    let mut sink = Collect::default();
    let mut connections = Connections::new("c".into(), None, &PORTS);
    let segment = Segment {
        source: "[2001:db8::1]:40000".parse().unwrap(),
        destination: "[2001:db8::2]:443".parse().unwrap(),
        sequence: 1,
        acknowledged: Some(1),
        syn: false,
        fin: false,
        rst: false,
        payload: b"tls",
    };
    connections.segment(0, &segment, &mut sink).unwrap();
    assert_eq!(connections.opened(), 0);
    assert!(connections.table.is_empty());
}

#[test]
fn the_stalest_connection_gives_way() {
    let mut sink = Collect::default();
    let mut connections = Connections::new("c".into(), None, &PORTS);
    for place in 0..=u16::try_from(MAX_CONNECTIONS).unwrap() {
        let segment = Segment {
            source: ([192, 0, 2, 7], 20_000 + place).into(),
            destination: SERVER.parse().unwrap(),
            sequence: 1,
            acknowledged: None,
            syn: true,
            fin: false,
            rst: false,
            payload: b"x",
        };
        connections
            .segment(u64::from(place), &segment, &mut sink)
            .unwrap();
    }
    assert_eq!(connections.table.len(), MAX_CONNECTIONS);
    let ended: Vec<u32> = sink
        .0
        .iter()
        .filter(|stream| stream.ended)
        .map(|stream| stream.origin.number)
        .collect();
    assert_eq!(ended, [1]);
}

fn any_segment() -> impl Strategy<Value = Sent> {
    (
        any::<[bool; 5]>(),
        prop_oneof![any::<u32>(), 0u32..50],
        prop_oneof![any::<u32>(), 0u32..50],
        proptest::collection::vec(any::<u8>(), 0..20),
    )
        .prop_map(
            |([back, syn, fin, rst, acks], sequence, acknowledged, payload)| Sent {
                back,
                sequence,
                acknowledged: acks.then_some(acknowledged),
                syn,
                fin,
                rst: rst && fin,
                payload,
            },
        )
}

proptest! {
    /// Every byte arrives at least once, in any order within what may wait.
    #[test]
    fn cut_repeated_and_shuffled_is_put_together(
        bytes in proptest::collection::vec(any::<u8>(), 1..400),
        initial in any::<u32>(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..20),
        order in any::<u64>(),
    ) {
        let first = initial.wrapping_add(1);
        let piece = |from: usize, to: usize| data(first.wrapping_add(u32::try_from(from).unwrap()), &bytes[from..to]);
        let mut pieces = vec![piece(0, bytes.len() / 2), piece(bytes.len() / 2, bytes.len())];
        for (a, b) in cuts {
            let (a, b) = (a.index(bytes.len() + 1), b.index(bytes.len() + 1));
            pieces.push(piece(a.min(b), a.max(b)));
        }
        let count = pieces.len();
        for place in 0..count {
            let other = usize::try_from(order.rotate_left(u32::try_from(place).unwrap() * 5) % count as u64).unwrap();
            pieces.swap(place, other);
        }
        pieces.insert(0, syn(initial));
        let sink = run(&at(0, pieces));
        prop_assert_eq!(&sink.0[0].bytes, &bytes);
        prop_assert_eq!(&sink.0[0].gaps, &[]);
    }

    #[test]
    fn any_segments_do_not_panic(segments in proptest::collection::vec((0u64..5_000_000, any_segment()), 0..60)) {
        run(&segments);
    }
}
