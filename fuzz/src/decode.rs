//! Decoding of single packets for the inspector.
//!
//! Input: version, connection (its direction), then the packet.

use std::collections::BTreeSet;

use warp_ro_packet::{Field, FieldValue, MAX_SHOWN_BYTES, decode};

use crate::input::Input;

/// Any bytes are decoded to something that is bounded by them and that prints on one line.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let table = input.table();
    let (_, direction, _) = input.connection();
    let packet = input.rest();
    let decoded = decode(&table, direction, packet);
    assert_eq!(decoded.length, packet.len());
    match packet.first_chunk() {
        Some(id) => {
            assert_eq!(decoded.id, u16::from_le_bytes(*id));
            assert_eq!(decoded.name, table.name_of(decoded.id, direction));
            assert_eq!(decoded.class, table.class_of(decoded.id));
        }
        None => assert!(decoded.id == 0 && decoded.fields.is_empty()),
    }
    // An empty text at the end takes no byte.
    assert!(
        count(&decoded.fields) <= packet.len() + 1,
        "more fields than bytes"
    );
    let json = serde_json::to_value(&decoded).expect("it can be printed");
    let fields = json["fields"].as_object().expect("fields are an object");
    assert_eq!(
        fields.len(),
        decoded.fields.len(),
        "a field is lost in JSON"
    );
}

/// How many values there are; checks each.
fn count(fields: &[Field]) -> usize {
    let names: BTreeSet<_> = fields.iter().map(|field| field.name).collect();
    assert_eq!(names.len(), fields.len(), "a name comes twice");
    let values = fields.iter().map(|field| {
        let line = field.to_string();
        assert!(!line.contains(['\n', '\r', '\0', '\x1b']), "{line:?}");
        match &field.value {
            FieldValue::Bytes(hex) => {
                assert!(hex.len() <= 2 * MAX_SHOWN_BYTES && hex.len().is_multiple_of(2));
                1
            }
            FieldValue::Position { x, y, dir } => {
                assert!(*x < 1024 && *y < 1024 && *dir < 16);
                1
            }
            FieldValue::Records(records) => records.iter().map(|record| count(record)).sum(),
            FieldValue::Number(_)
            | FieldValue::Text(_)
            | FieldValue::Address(_)
            | FieldValue::Move { .. }
            | FieldValue::Hidden => 1,
        }
    });
    values.sum()
}
