//! The text format of recordings: what is read, and what is refused with which words.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use proptest::prelude::*;
use warp_ro_packet::recording::{Item, MAX_LINE, Mistake, Parser, RecordingError, parse};
use warp_ro_packet::{Direction, Role};

const HEADER: &str =
    "# tag=s1 conn=5 role=map (client to server) epoch0=1795213830.389  t_ms is ms since epoch0\n";

fn mistake(text: &str) -> (usize, Mistake) {
    let RecordingError { file, line, what } = parse("a.txt", text).unwrap_err();
    assert_eq!(file, "a.txt");
    (line, what)
}

#[test]
fn a_recording_is_read() {
    let text = format!("{HEADER}6819.333 C 3604\n\n# a remark\n6822 C 7d00FF\r\n6822.5 C EOF\n");
    let recording = parse("a.txt", &text).unwrap();
    assert_eq!(recording.role, Role::Map);
    assert_eq!(recording.direction, Direction::ClientToServer);
    assert_eq!(recording.header.tag.as_deref(), Some("s1"));
    assert_eq!(recording.header.connection, Some(5));
    assert_eq!(recording.header.epoch_us, Some(1_795_213_830_389_000));
    let items: Vec<(u64, &[u8])> = recording
        .items
        .iter()
        .map(|(time, bytes)| (*time, &bytes[..]))
        .collect();
    assert_eq!(
        items,
        [
            (6_819_333, &[0x36, 0x04][..]),
            (6_822_000, &[0x7D, 0x00, 0xFF][..])
        ]
    );
    assert_eq!(recording.eof, Some(6_822_500));
    let shown = format!("{recording:?}");
    assert!(!shown.contains("7d") && !shown.contains("125"), "{shown}");
}

#[test]
fn refusals_name_the_line_and_what_is_expected() {
    for (rest, line, what) in [
        ("1.0 C", 2, Mistake::Shape),
        ("1.0 C 00 00", 2, Mistake::Shape),
        ("1.0 C 00\nx C 00", 3, Mistake::Time),
        ("-1 C 00", 2, Mistake::Time),
        ("1.2.3 C 00", 2, Mistake::Time),
        (". C 00", 2, Mistake::Time),
        ("99999999999999999999 C 00", 2, Mistake::Time),
        ("1.0 X 00", 2, Mistake::Side),
        ("1.0 S 00", 2, Mistake::OtherSide),
        ("1.0 C 0", 2, Mistake::Hex),
        ("1.0 C secret", 2, Mistake::Hex),
        ("1.0 C EOF\n2.0 C 00", 3, Mistake::BehindEnd),
    ] {
        assert_eq!(mistake(&format!("{HEADER}{rest}")), (line, what), "{rest}");
    }
    assert_eq!(mistake(""), (1, Mistake::NoRole));
    assert_eq!(mistake("1.0 C 00\n"), (1, Mistake::NoRole));
    assert_eq!(mistake("# role=map\n"), (1, Mistake::Empty));
    assert_eq!(mistake("# role=zone\n"), (1, Mistake::Role));
    assert_eq!(
        mistake("# conn=x role=map\n"),
        (1, Mistake::HeaderNumber("conn"))
    );
    let error = parse("a.txt", &format!("{HEADER}1.0 C secret")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.txt, line 2: expected pairs of hex digits, or EOF, as the third word"
    );
}

#[test]
fn the_direction_may_come_from_the_lines() {
    let recording = parse("a.txt", "# role=login\n5 S 00\n").unwrap();
    assert_eq!(recording.direction, Direction::ServerToClient);
    assert_eq!(
        mistake("# role=login\n5 S 00\n6 C 00\n"),
        (3, Mistake::OtherSide)
    );
}

#[test]
fn a_line_has_a_longest_length() {
    let mut parser = Parser::new("a.txt");
    let mut line = b"1.0 C ".to_vec();
    line.resize(MAX_LINE, b'0');
    let item = parser.line(&line).unwrap();
    assert!(
        matches!(item, Some(Item::Data { time_us: 1000, ref bytes }) if bytes.len() == (MAX_LINE - 6) / 2)
    );
    line.push(b'0');
    let error = parser.line(&line).unwrap_err();
    assert_eq!((error.line, error.what), (2, Mistake::LineTooLong));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*|[0-9. CSEOF#a-f\n=]{0,200}") {
        let whole = parse("a.txt", &text);
        let with_header = parse("a.txt", &format!("{HEADER}{text}"));
        if let (Ok(whole), Ok(with_header)) = (&whole, &with_header) {
            prop_assert_eq!(&whole.items, &with_header.items);
        }
    }

    #[test]
    fn any_line_of_bytes_is_read_or_refused(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..8)) {
        let mut parser = Parser::new("a.txt");
        for (place, line) in lines.iter().enumerate() {
            if let Err(error) = parser.line(line) {
                prop_assert_eq!(error.line, place + 1);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back(items in proptest::collection::vec((0u64..10_000_000_000, proptest::collection::vec(any::<u8>(), 1..60)), 0..20)) {
        let mut text = HEADER.to_owned();
        for (time_us, bytes) in &items {
            text += &format!("{}.{:03} C {}\n", time_us / 1000, time_us % 1000, hex::encode(bytes));
        }
        let read = parse("a.txt", &text).unwrap().items;
        let read: Vec<(u64, Vec<u8>)> = read.into_iter().map(|(time, bytes)| (time, bytes.to_vec())).collect();
        prop_assert_eq!(read, items);
    }
}
