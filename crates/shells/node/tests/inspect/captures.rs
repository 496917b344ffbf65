//! Captures with pcap and pcapng, whole and not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use warp_ro_packet::Direction;

use crate::run::{Ran, fixture, inspect, recording, word};
use crate::wire::{File, Link, Segment, Talk, capture};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A login, char and map connection as they were recorded, as segments.
fn session(ip: IpAddr) -> Vec<Segment> {
    let mut all = Vec::new();
    for (name, from, port) in [
        ("s1-001-login", 40_001, 6900),
        ("s1-003-char", 40_002, 6121),
        ("s1-006-map", 40_003, 5121),
    ] {
        let mut said: Vec<(u64, bool, Vec<u8>)> = Vec::new();
        for side in ["C", "S"] {
            let recording = recording(&format!("{name}-{side}"));
            let client = recording.direction == Direction::ClientToServer;
            let items = recording.items.into_iter();
            said.extend(items.map(|(time_us, bytes)| (time_us, client, bytes.to_vec())));
        }
        said.sort_by_key(|(time_us, ..)| *time_us);
        let first = said[0].0;
        let mut talk = Talk::open(ip, from, port, first);
        for (time_us, client, bytes) in &said {
            talk.say(*time_us, *client, bytes);
        }
        talk.close(said.last().unwrap().0);
        all.extend(talk.segments);
    }
    all
}

/// The recordings behind [`session`], merged: id, name, class, length and fields of each packet.
fn recorded() -> Vec<String> {
    let names = ["s1-001-login", "s1-003-char", "s1-006-map"];
    let files = names
        .into_iter()
        .flat_map(|name| ["C", "S"].map(|side| fixture(&format!("{name}-{side}"))));
    // One connection after the other, as the segments are.
    let lines = names.into_iter().flat_map(|name| {
        let files = ["C", "S"].map(|side| fixture(&format!("{name}-{side}")));
        inspect(["--merge".into()].into_iter().chain(files)).sound()
    });
    assert_eq!(files.count(), 6);
    lines.map(|line| without_clock(&line)).collect()
}

/// A line from its direction on.
fn without_clock(line: &str) -> String {
    line.split_whitespace()
        .skip(2)
        .collect::<Vec<_>>()
        .join(" ")
}

fn run(bytes: &[u8], flags: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.pcap");
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap().to_owned();
    inspect(flags.iter().map(ToString::to_string).chain([path]))
}

#[track_caller]
fn assert_session(lines: &[String], expected: &[String]) {
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.iter().zip(expected) {
        assert_eq!(&without_clock(line), expected);
    }
}

#[test]
fn every_kind_of_capture_says_what_the_recordings_say() {
    let expected = recorded();
    assert!(expected.len() > 200, "{} packets", expected.len());
    for ip in [V4, V6] {
        let segments = session(ip);
        for link in Link::ALL {
            let ran = run(&capture(File::Classic, link, &segments), &[]);
            assert_session(&ran.sound(), &expected);
        }
        for file in File::ALL {
            let ran = run(&capture(file, Link::Ethernet, &segments), &[]);
            let lines = ran.sound();
            assert_session(&lines, &expected);
            assert_eq!(word(&lines[0], 0), "0.000", "{file:?}");
            // The clock counts from the first packet: 4.704695 s and 6.863... s in the recordings.
            assert_eq!(word(&lines[1], 0), "6.221", "{file:?}");
            assert_eq!(word(&lines[0], 1), "login#1");
            assert_eq!(word(&lines[2], 1), "char#2");
            assert_eq!(word(lines.last().unwrap(), 1), "map#3");
        }
    }
}

#[test]
fn what_the_network_repeats_and_reorders_is_put_right() {
    let mut segments = session(V4);
    // Every segment with data comes again later, and neighbours change places.
    let mut disorder = Vec::new();
    for (place, segment) in segments.iter().enumerate() {
        disorder.push(segment.clone());
        if place % 3 == 2 && !segment.payload.is_empty() {
            disorder.push(segment.clone());
        }
    }
    let mut swapped = 0;
    for place in (1..disorder.len()).step_by(2) {
        let (one, two) = (&disorder[place - 1], &disorder[place]);
        let same_way = (one.source, one.destination) == (two.source, two.destination);
        if same_way && !one.syn && !two.syn {
            disorder.swap(place - 1, place);
            swapped += 1;
        }
    }
    assert!(swapped > 10, "{swapped} pairs");
    let plain = run(&capture(File::Classic, Link::Ethernet, &segments), &[]).sound();
    let ran = run(&capture(File::Classic, Link::Ethernet, &disorder), &[]);
    let mut shown: Vec<String> = ran.sound().iter().map(|line| without_clock(line)).collect();
    let mut expected: Vec<String> = plain.iter().map(|line| without_clock(line)).collect();
    // Per direction the order is the same; the directions may have moved against each other.
    for lines in [&mut shown, &mut expected] {
        lines.sort_by_key(|line| line.split(' ').next().unwrap().to_owned());
    }
    assert_eq!(shown, expected);
    // A segment in two overlapping parts, the second first.
    let long = segments
        .iter()
        .position(|segment| segment.payload.len() > 100)
        .unwrap();
    let mut tail = segments[long].clone();
    tail.payload.drain(..50);
    tail.sequence = tail.sequence.wrapping_add(50);
    segments[long].payload.truncate(80);
    segments.insert(long, tail);
    let ran = run(&capture(File::Next, Link::Raw, &segments), &[]);
    assert_session(&ran.sound(), &recorded());
}

/// A map connection with three walks.
fn walks() -> Talk {
    let mut talk = Talk::open(V4, 40_000, 5121, 0);
    let enter = recording("s1-005-map-C").items[0].1.clone();
    talk.say(1000, true, &enter);
    for (time_us, x) in [(2_000_000, 0x27), (3_000_000, 0x26), (4_000_000, 0x25)] {
        talk.say(time_us, true, &[0x5F, 0x03, x, 0x8B, 0xA0]);
        talk.say(time_us + 100, false, &[0x7F, 0x00, 1, 0, 0, 0]);
    }
    talk.close(5_000_000);
    talk
}

#[test]
fn a_gap_is_said_and_the_other_direction_goes_on() {
    let mut segments = walks().segments;
    // The second walk is not in the capture; the server has acknowledged it.
    let lost = segments
        .iter()
        .position(|segment| segment.payload.get(2) == Some(&0x26))
        .unwrap();
    segments.remove(lost);
    let ran = run(&capture(File::Classic, Link::Ethernet, &segments), &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.errors);
    let shown: Vec<String> = ran.lines.iter().map(|line| without_clock(line)).collect();
    assert_eq!(shown.len(), 6, "{shown:#?}");
    let gap: Vec<&String> = shown.iter().filter(|line| line.contains(" !! ")).collect();
    assert_eq!(
        gap,
        [
            "C>S !! gap at byte 28: 5 bytes are not in the capture, behind 0 bytes of a packet; \
         the rest of this direction is not shown"
        ]
    );
    let answers = shown.iter().filter(|line| line.starts_with("S>C 007F"));
    assert_eq!(answers.count(), 3);
}

#[test]
fn a_missing_end_is_a_gap_and_a_missing_rest_an_unfinished_packet() {
    let mut segments = walks().segments;
    let last = segments
        .iter()
        .position(|segment| segment.payload.get(2) == Some(&0x25))
        .unwrap();
    let mut lost = segments.clone();
    lost.remove(last);
    let ran = run(&capture(File::Next, Link::Cooked, &lost), &[]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.lines
            .iter()
            .any(|line| line.contains("!! gap at byte 33: 5 bytes")),
        "{:#?}",
        ran.lines
    );
    // The capture stops in the middle of the last walk.
    segments[last].payload.truncate(3);
    segments.truncate(last + 1);
    let ran = run(&capture(File::Next, Link::Cooked, &segments), &[]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.lines.last().unwrap().ends_with(
            "C>S !! unfinished-packet at byte 33: the stream ends after 3 of 5 bytes of packet 035F"
        ),
        "{:#?}",
        ran.lines
    );
}

#[test]
fn ports_say_which_server_it_is() {
    let bytes = capture(File::Classic, Link::Ethernet, &session(V4));
    let none = run(&bytes, &["--ports", "map=7000,login=7001"]);
    assert_eq!(none.code, Some(0));
    assert!(none.lines.is_empty());
    assert!(
        none.errors
            .contains("no data to or from a game server; --ports names their ports"),
        "{}",
        none.errors
    );
    let map_only = run(&bytes, &["--ports", "map=5122,map=5121"]).sound();
    assert_eq!(map_only.len(), 56 + 265);
    assert!(map_only.iter().all(|line| word(line, 1) == "map#1"));
}

#[test]
fn a_capture_that_begins_in_the_middle_is_marked() {
    let mut talk = Talk::middle(V4, 40_000, 6121);
    talk.say(0, true, &[0xA1, 0x09]);
    // Not the raw account id that a char server says first.
    talk.say(10, false, &[0x6C, 0x00, 0x00]);
    let ran = run(&capture(File::Classic, Link::Null, &talk.segments), &[]);
    assert!(
        ran.errors.contains("char#1 began before the capture"),
        "{}",
        ran.errors
    );
    let shown: Vec<String> = ran.sound().iter().map(|line| without_clock(line)).collect();
    assert_eq!(
        shown,
        [
            "C>S 09A1 CH_CHARLIST_REQ system 2",
            "S>C 006C HC_REFUSE_ENTER system 3 code=0"
        ]
    );
}

#[test]
fn several_captures_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["one.pcap", "two.pcapng"].map(|name| folder.path().join(name));
    let files = [File::Classic, File::Next];
    for (path, file) in paths.iter().zip(files) {
        std::fs::write(path, capture(file, Link::Ethernet, &walks().segments)).unwrap();
    }
    let lines = inspect(&paths).sound();
    assert_eq!(lines.len(), 14);
    assert_eq!(word(&lines[0], 1), "one/map#1");
    assert_eq!(word(&lines[13], 1), "two/map#1");
}

#[test]
fn a_damaged_capture_is_told_and_what_can_be_read_is_shown() {
    let bytes = capture(File::Classic, Link::Ethernet, &walks().segments);
    let ran = run(&bytes[..bytes.len() - 10], &[]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.errors
            .contains("made.pcap: it ends in the middle of a record"),
        "{}",
        ran.errors
    );
    assert_eq!(ran.lines.len(), 7);
    let ran = run(&[0xD4, 0xC3, 0xB2, 0xA1, 0, 0], &[]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.errors.contains("its head is damaged"), "{}", ran.errors);
    // IEEE 802.11, which is not read.
    let mut foreign = bytes.clone();
    foreign[20] = 105;
    let ran = run(&foreign, &[]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.errors
            .contains("packets of link type 105 cannot be read"),
        "{}",
        ran.errors
    );
}
