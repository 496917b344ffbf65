//! Files that are no captures, or not whole.

use proptest::prelude::*;
use warp_ro_packet::Role;

use super::super::stream::Trouble;
use super::super::stream::collect::Collect;
use super::super::tcp::Connections;
use super::{BUFFER, MAX_RECORD, is_capture, read_from, ticks_per_second};

fn read(bytes: &[u8]) -> (Collect, Result<(), String>) {
    let mut sink = Collect::default();
    let connections = Connections::new("c".into(), None, &[(Role::Map, 5121)]);
    let result = read_from("c.pcap", bytes, connections, &mut sink, &mut |_| {});
    let result = result.map_err(|trouble| match trouble {
        Trouble::Input(message) => message,
        Trouble::Output(error) => panic!("{error}"),
    });
    (sink, result)
}

/// A classic capture with one record of raw IP.
fn classic(record: &[u8]) -> Vec<u8> {
    let mut file = vec![0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0];
    file.extend([0; 8]);
    file.extend(65_535u32.to_le_bytes());
    file.extend(101u32.to_le_bytes());
    file.extend([0; 8]);
    let length = u32::try_from(record.len()).unwrap().to_le_bytes();
    file.extend(length);
    file.extend(length);
    file.extend_from_slice(record);
    file
}

fn segment(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4([192, 0, 2, 7], [192, 0, 2, 1], 64)
        .tcp(40_000, 5121, 100, 1000)
        .write(&mut packet, payload)
        .unwrap();
    packet
}

#[test]
fn a_record_is_read_and_a_cut_one_is_told() {
    let file = classic(&segment(b"hello"));
    let (sink, result) = read(&file);
    assert_eq!(result, Ok(()));
    assert_eq!(sink.0[0].bytes, b"hello");
    for length in [0, 3, 10, 23] {
        assert!(read(&file[..length]).1.is_err(), "{length} bytes");
    }
    assert_eq!(read(&file[..24]).1, Ok(()), "a capture of nothing");
    for length in 25..file.len() {
        assert_eq!(
            read(&file[..length]).1,
            Err("c.pcap: it ends in the middle of a record".to_owned()),
            "{length} bytes"
        );
    }
}

#[test]
fn a_record_without_end_is_not_waited_for() {
    let mut file = classic(&segment(b"hello"));
    file.extend([0; 8]);
    file.extend(u32::MAX.to_le_bytes());
    file.extend(u32::MAX.to_le_bytes());
    file.resize(file.len() + 100, 0);
    let (sink, result) = read(&file);
    assert_eq!(sink.0[0].bytes, b"hello");
    assert_eq!(
        result,
        Err("c.pcap: it ends in the middle of a record".to_owned())
    );
    file.resize(file.len() + MAX_RECORD + BUFFER, 0);
    let (sink, result) = read(&file);
    assert_eq!(sink.0[0].bytes, b"hello");
    assert_eq!(
        result,
        Err("c.pcap: a record is longer than 16 MiB".to_owned())
    );
}

#[test]
fn clocks_count_in_powers() {
    assert_eq!(ticks_per_second(6), 1_000_000);
    assert_eq!(ticks_per_second(9), 1_000_000_000);
    assert_eq!(ticks_per_second(0x80 | 20), 1 << 20);
    assert_eq!(ticks_per_second(200), u64::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_file_holds_is_read_or_refused(
        magic in prop::sample::select(vec![
            [0xD4u8, 0xC3, 0xB2, 0xA1], [0xA1, 0xB2, 0xC3, 0xD4], [0x4D, 0x3C, 0xB2, 0xA1], [0xA1, 0xB2, 0x3C, 0x4D],
            [0x0A, 0x0D, 0x0D, 0x0A],
        ]),
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut file = magic.to_vec();
        prop_assert!(is_capture(&file));
        file.extend(rest);
        let _ = read(&file);
    }

    #[test]
    fn whatever_a_record_holds_is_read_or_passed_over(
        link in prop::sample::select(vec![0u32, 1, 12, 101, 108, 113, 228, 229, 276, 7]),
        mut record in proptest::collection::vec(any::<u8>(), 0..120),
        ip in prop::sample::select(vec![0x45u8, 0x60, 0x4F, 0x00]),
    ) {
        if let Some(first) = record.first_mut() {
            *first = ip;
        }
        let mut file = classic(&record);
        file[20..24].copy_from_slice(&link.to_le_bytes());
        let _ = read(&file);
    }

    #[test]
    fn a_damaged_segment_is_read_or_passed_over(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut file = classic(&segment(b"hello"));
        let at = at.index(file.len());
        file[at] = byte;
        let _ = read(&file);
    }
}
