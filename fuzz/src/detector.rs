//! Finding the version that a client speaks.
//!
//! Input: any number of beginnings of connections: one byte for the connection, two for the
//! length of the head (the low one first), then the head.

use std::sync::Arc;

use warp_ro_packet::{Detection, Detector, Direction, PacketTable, Role};

use crate::input::Input;

/// The candidates only ever become fewer, there is always one left, and the answer is the newest.
pub fn run(data: &[u8]) {
    let tables: Vec<_> = PacketTable::versions()
        .filter_map(PacketTable::for_version)
        .collect();
    let mut detector = Detector::new(tables);
    let mut newest = best(&detector);
    let mut certain = detector.certain();
    let mut rest = data;
    while !rest.is_empty() {
        let mut input = Input::new(rest);
        let (role, direction, _) = input.connection();
        let length = usize::from(u16::from_le_bytes([input.byte(), input.byte()]));
        let head;
        (head, rest) = {
            let behind = input.rest();
            behind.split_at(length.min(behind.len()))
        };
        match detector.note(role, direction, head) {
            Detection::NeedMore => {}
            Detection::Table { table, certain, .. } => {
                assert!(Arc::ptr_eq(
                    &table,
                    detector.best().expect("a table was named")
                ));
                assert_eq!(certain, detector.certain());
            }
            Detection::Unknown { id } => {
                // A char server says an account id first.
                let at = match (role, direction) {
                    (Role::Char, Direction::ServerToClient) => 4,
                    _ => 0,
                };
                assert_eq!(head[at..at + 2], id.to_le_bytes());
                assert_eq!(best(&detector), newest, "what was known before stays");
            }
        }
        let now = best(&detector);
        assert!(now <= newest, "a newer version came back");
        assert!(detector.certain() || !certain, "a version came back");
        (newest, certain) = (now, detector.certain());
    }
}

fn best(detector: &Detector) -> u32 {
    detector
        .best()
        .expect("there is always a candidate")
        .version()
}
