//! Recorded sessions as text.

use std::fmt::Write as _;

use warp_ro_packet::recording::{Item, MAX_LINE, Parser, Recording, parse};
use warp_ro_packet::{Direction, Role};

/// What was read prints as a text that reads as the same; line by line it is the same too.
pub fn run(data: &[u8]) {
    by_line(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let recording = match parse("fuzz.txt", text) {
        Ok(recording) => recording,
        Err(error) => {
            assert_eq!(error.file, "fuzz.txt");
            assert!(
                (1..=text.lines().count().max(1)).contains(&error.line),
                "{error}"
            );
            return;
        }
    };
    let _ = format!("{recording:?}");
    let printed = print(&recording);
    let again = parse("fuzz.txt", &printed).expect("what was printed");
    assert_eq!(again.items, recording.items);
    assert_eq!(
        (again.role, again.direction),
        (recording.role, recording.direction)
    );
    assert_eq!(again.eof, recording.eof);
}

/// Every line is read or refused, also behind one that was refused.
fn by_line(data: &[u8]) {
    let mut parser = Parser::new("fuzz.txt");
    let mut ended = false;
    for (at, line) in data.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match parser.line(line) {
            Ok(Some(Item::Data { bytes, .. })) => {
                assert!(!bytes.is_empty() && bytes.len() <= MAX_LINE / 2);
                assert!(parser.direction().is_some() && !ended);
            }
            Ok(Some(Item::End { .. })) => {
                assert!(!ended);
                ended = true;
            }
            Ok(None) => {}
            Err(error) => assert_eq!(error.line, at + 1),
        }
    }
}

fn print(recording: &Recording) -> String {
    let role = match recording.role {
        Role::Login => "login",
        Role::Char => "char",
        Role::Map => "map",
    };
    let (side, way) = match recording.direction {
        Direction::ClientToServer => ('C', "client to server"),
        Direction::ServerToClient => ('S', "server to client"),
    };
    let ms = |us: u64| format!("{}.{:03}", us / 1000, us % 1000);
    let mut text = format!("# role={role} ({way})\n");
    for (time, bytes) in &recording.items {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{} {side} {hex}", ms(*time)).expect("text takes text");
    }
    if let Some(time) = recording.eof {
        writeln!(text, "{} {side} EOF", ms(time)).expect("text takes text");
    }
    text
}
