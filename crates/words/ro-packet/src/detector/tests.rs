use super::*;
use proptest::prelude::*;
use proptest::sample::Index;

use Direction::{ClientToServer, ServerToClient};

const VERSIONS: [u32; 6] = [
    20_130_807, 20_151_029, 20_170_614, 20_180_621, 20_200_401, 20_211_103,
];

fn table(version: u32) -> Arc<PacketTable> {
    PacketTable::for_version(version).unwrap()
}

fn detector() -> Detector {
    Detector::new(VERSIONS.into_iter().rev().map(table).collect())
}

fn left(detector: &Detector) -> Vec<u32> {
    (detector.candidates.iter())
        .map(|table| table.version())
        .collect()
}

/// Version, certain, ciphered.
fn seen(detection: &Detection) -> (u32, bool, bool) {
    match detection {
        Detection::Table {
            table,
            certain,
            ciphered,
        } => (table.version(), *certain, *ciphered),
        other => panic!("{other:?}"),
    }
}

fn fixed(id: u16, length: usize) -> Vec<u8> {
    let mut packet = vec![0; length];
    packet[..2].copy_from_slice(&id.to_le_bytes());
    packet
}

fn variable(id: u16, length: usize) -> Vec<u8> {
    let mut packet = fixed(id, length);
    packet[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
    packet
}

/// The map login as a client of `version` sends it.
fn map_login(version: u32, ciphered: bool) -> Vec<u8> {
    let table = table(version);
    let mut id = table.roles().map_enter.unwrap();
    if ciphered {
        id = IdCipher::new(table.cipher().unwrap()).peek(id);
    }
    let mut packet = fixed(id, if version < 20_211_103 { 19 } else { 23 });
    packet[2..6].copy_from_slice(&2_000_001u32.to_le_bytes());
    packet[10..18].copy_from_slice(&[0x2E, 0x61, 0x90, 0x31, 0x7F, 0x77, 0x12, 0x9A]);
    if let Some(tick) = packet.get_mut(18..22) {
        tick.copy_from_slice(&0x1234_5678u32.to_le_bytes());
    }
    *packet.last_mut().unwrap() = 1;
    packet
}

/// What a char server says first: the account id, then 082D and the list in 006B.
fn char_list(record: usize, characters: usize) -> Vec<u8> {
    let mut bytes = vec![0x81, 0x84, 0x1E, 0x00];
    bytes.extend(variable(0x082D, 29));
    bytes.extend(variable(0x006B, 27 + record * characters));
    bytes
}

#[test]
fn the_map_login_tells_each_version_that_has_its_own() {
    for (version, ciphered, expected, certain) in [
        (20_130_807, true, 20_130_807, true),
        (20_151_029, true, 20_151_029, true),
        (20_170_614, true, 20_170_614, true),
        (20_170_614, false, 20_170_614, true),
        // Without the xor these two begin alike, and so do the two before 2021.
        (20_130_807, false, 20_151_029, false),
        (20_151_029, false, 20_151_029, false),
        (20_180_621, false, 20_200_401, false),
        (20_200_401, false, 20_200_401, false),
        (20_211_103, false, 20_211_103, true),
    ] {
        let mut detector = detector();
        let detection = detector.note(Role::Map, ClientToServer, &map_login(version, ciphered));
        assert_eq!(
            seen(&detection),
            (expected, certain, ciphered),
            "{version} {ciphered}"
        );
        assert_eq!(detector.certain(), certain);
        assert_eq!(detector.best().unwrap().version(), expected);
        assert!(left(&detector).contains(&version), "{version}");
    }
}

#[test]
fn a_map_login_is_waited_for_to_its_end() {
    for version in VERSIONS {
        for ciphered in [false, true] {
            if ciphered && table(version).cipher().is_none() {
                continue;
            }
            let whole = map_login(version, ciphered);
            for length in 0..whole.len() {
                // 19 bytes of a login of 23: its nineteenth byte is no sex.
                let mut detector = detector();
                let detection = detector.note(Role::Map, ClientToServer, &whole[..length]);
                assert!(
                    matches!(detection, Detection::NeedMore),
                    "{version}: {length} bytes: {detection:?}"
                );
                assert_eq!(left(&detector), VERSIONS);
            }
        }
    }
}

#[test]
fn what_follows_the_map_login_has_to_be_of_the_version_too() {
    let mut behind = map_login(20_211_103, false);
    behind.extend([0x7D, 0x00]);
    let mut fresh = detector();
    let detection = fresh.note(Role::Map, ClientToServer, &behind);
    assert_eq!(seen(&detection), (20_211_103, true, false));

    // A server's packet behind a client's login.
    let mut odd = map_login(20_211_103, false);
    odd.extend([0x8E, 0x00]);
    let mut fresh = detector();
    let detection = fresh.note(Role::Map, ClientToServer, &odd);
    assert!(matches!(detection, Detection::Unknown { id: 0x0436 }));

    // The second packet has a key of its own.
    let keys = table(20_170_614).cipher().unwrap();
    for (next, fits) in [(0x007Du16, true), (0xFFFE, false)] {
        let mut cipher = IdCipher::new(keys);
        let mut head = map_login(20_170_614, true);
        cipher.advance();
        head.extend(cipher.peek(next).to_le_bytes());
        let detection = detector().note(Role::Map, ClientToServer, &head);
        assert_eq!(matches!(detection, Detection::Table { .. }), fits);
    }
}

#[test]
fn the_login_servers_answer_tells_before_from_after_march_2017() {
    for (answer, expected) in [
        (variable(0x0069, 47 + 32), &VERSIONS[..2]),
        (variable(0x0AC4, 64 + 160), &VERSIONS[2..]),
        // Refusals are the same in all.
        (fixed(0x083E, 26), &VERSIONS[..]),
        (fixed(0x0081, 3), &VERSIONS[..]),
    ] {
        for length in [answer.len(), 2] {
            let mut detector = detector();
            let detection = detector.note(Role::Login, ServerToClient, &answer[..length]);
            assert!(matches!(detection, Detection::Table { .. }));
            assert_eq!(left(&detector), expected);
        }
    }
}

#[test]
fn login_packets_fit_every_version_and_others_none() {
    for packet in [
        fixed(0x0064, 55),
        fixed(0x0277, 84),
        fixed(0x02B0, 85),
        fixed(0x01DD, 47),
        fixed(0x01FA, 48),
        fixed(0x027C, 60),
        variable(0x0825, 120),
        [fixed(0x0204, 18), fixed(0x0064, 55)].concat(),
    ] {
        let mut detector = detector();
        let detection = detector.note(Role::Login, ClientToServer, &packet);
        assert_eq!(seen(&detection), (20_211_103, false, false));
        assert_eq!(left(&detector), VERSIONS);
    }
    for (packet, id) in [(fixed(0x0065, 17), 0x0065), (fixed(0xFFFF, 55), 0xFFFF)] {
        let mut detector = detector();
        let detection = detector.note(Role::Login, ClientToServer, &packet);
        assert!(matches!(detection, Detection::Unknown { id: unknown } if unknown == id));
        assert_eq!(left(&detector), VERSIONS);
    }
}

#[test]
fn a_login_packet_of_another_length_tells_operators_tables_apart() {
    let short = PacketTable::from_recvpackets(20_190_605, "02B0 85").unwrap();
    let long = PacketTable::from_recvpackets(20_190_612, "02B0 90").unwrap();
    let without = PacketTable::from_recvpackets(20_190_619, "0064 55").unwrap();
    let tables = vec![Arc::new(short), Arc::new(long), Arc::new(without)];
    let mut detector = Detector::new(tables);
    let packet = fixed(0x02B0, 85);
    let detection = detector.note(Role::Login, ClientToServer, &packet[..84]);
    assert!(matches!(detection, Detection::NeedMore));
    let detection = detector.note(Role::Login, ClientToServer, &packet);
    assert_eq!(seen(&detection), (20_190_605, true, false));
}

#[test]
fn the_list_of_characters_tells_by_the_size_of_one() {
    for (record, expected) in [
        (144, &VERSIONS[..1]),
        (147, &VERSIONS[1..3]),
        (155, &VERSIONS[3..5]),
        (175, &VERSIONS[5..]),
    ] {
        let whole = char_list(record, 2);
        // Cut behind the length is enough.
        for length in [whole.len(), 4 + 29 + 4] {
            let mut detector = detector();
            detector.note(Role::Char, ServerToClient, &whole[..length]);
            assert_eq!(left(&detector), expected, "{record}: {length} bytes");
        }
    }
    // No character, no evidence; and so for the page that is asked for later.
    let mut none = detector();
    none.note(Role::Char, ServerToClient, &char_list(175, 0));
    assert_eq!(left(&none), VERSIONS);
    for (packet, expected) in [
        (variable(0x0B72, 4), &VERSIONS[5..]),
        (variable(0x0B72, 4 + 175), &VERSIONS[5..]),
        (fixed(0x0B6F, 177), &VERSIONS[5..]),
        (variable(0x099D, 4), &VERSIONS[..5]),
        (variable(0x099D, 4 + 155), &VERSIONS[3..5]),
        (fixed(0x006D, 157), &VERSIONS[3..5]),
    ] {
        let mut detector = detector();
        let head = [vec![1, 2, 3, 4], packet].concat();
        detector.note(Role::Char, ServerToClient, &head);
        assert_eq!(left(&detector), expected);
    }
}

#[test]
fn the_way_to_the_map_tells_before_from_after_march_2017() {
    for (id, length, expected) in [(0x0071, 28, &VERSIONS[..2]), (0x0AC5, 156, &VERSIONS[2..])] {
        let mut bytes = char_list(1, 0);
        bytes.extend(fixed(id, length));
        let mut detector = detector();
        detector.note(Role::Char, ServerToClient, &bytes);
        assert_eq!(left(&detector), expected);
    }
}

#[test]
fn a_table_that_cannot_frame_gives_way_to_one_that_can() {
    // ZC_EXTEND_BODYITEM_SIZE is not in the table of 20180621.
    let mut bytes = fixed(0x0283, 6);
    bytes.extend(fixed(0x0B18, 4));
    let mut detector = detector();
    detector.note(Role::Map, ClientToServer, &map_login(20_200_401, false));
    assert_eq!(left(&detector), [20_180_621, 20_200_401]);
    let detection = detector.note(Role::Map, ServerToClient, &bytes);
    assert_eq!(seen(&detection), (20_200_401, true, false));

    // If none can, none is dropped for it.
    let mut bytes = fixed(0x0283, 6);
    bytes.extend([0xFF, 0xFF]);
    let mut fresh = self::detector();
    let detection = fresh.note(Role::Map, ServerToClient, &bytes);
    assert_eq!(seen(&detection), (20_211_103, false, false));
    assert_eq!(left(&fresh), VERSIONS);
}

#[test]
fn evidence_of_several_connections_adds_up() {
    let mut detector = detector();
    detector.note(Role::Login, ClientToServer, &fixed(0x0064, 55));
    detector.note(Role::Login, ServerToClient, &variable(0x0069, 79));
    let detection = detector.note(Role::Char, ClientToServer, &fixed(0x0065, 17));
    assert_eq!(seen(&detection), (20_151_029, false, false));
    let detection = detector.note(Role::Char, ServerToClient, &char_list(144, 1));
    assert_eq!(seen(&detection), (20_130_807, true, false));
    // The xor is of the connection, whatever was seen before.
    let detection = detector.note(Role::Map, ClientToServer, &map_login(20_130_807, false));
    assert_eq!(seen(&detection), (20_130_807, true, false));
    let detection = detector.note(Role::Map, ClientToServer, &map_login(20_130_807, true));
    assert_eq!(seen(&detection), (20_130_807, true, true));
}

#[test]
fn what_fits_none_takes_nothing_back() {
    let mut detector = detector();
    detector.note(Role::Map, ClientToServer, &map_login(20_170_614, true));
    for (role, direction, head) in [
        (Role::Map, ClientToServer, map_login(20_211_103, false)),
        (Role::Login, ServerToClient, variable(0x0069, 79)),
        (Role::Map, ClientToServer, fixed(0xFEFE, 19)),
        (Role::Char, ClientToServer, fixed(0x0066, 3)),
    ] {
        let detection = detector.note(role, direction, &head);
        assert!(matches!(detection, Detection::Unknown { .. }), "{role:?}");
        assert_eq!(left(&detector), [20_170_614]);
        assert!(detector.certain());
    }
}

#[test]
fn too_little_is_no_evidence() {
    for role in [Role::Login, Role::Char, Role::Map] {
        for direction in [ClientToServer, ServerToClient] {
            let raw = usize::from((role, direction) == (Role::Char, ServerToClient)) * RAW_AID;
            for length in 0..raw + 2 {
                let mut detector = detector();
                let detection = detector.note(role, direction, &vec![0x6B; length]);
                assert!(matches!(detection, Detection::NeedMore));
                assert_eq!(left(&detector), VERSIONS);
            }
        }
    }
}

#[test]
fn without_candidates_all_is_unknown() {
    let mut detector = Detector::new(Vec::new());
    assert!(detector.best().is_none());
    assert!(!detector.certain());
    let detection = detector.note(Role::Login, ClientToServer, &fixed(0x0064, 55));
    assert!(matches!(detection, Detection::Unknown { id: 0x0064 }));
}

/// A wrong version would have to look like another; no hidden map login does.
#[test]
fn no_hidden_map_login_looks_like_another_version() {
    let plain: Vec<u16> = (VERSIONS.into_iter())
        .map(|version| table(version).roles().map_enter.unwrap())
        .collect();
    let hidden: Vec<u16> = (VERSIONS.into_iter().map(table))
        .filter_map(|table| {
            Some(IdCipher::new(table.cipher()?).peek(table.roles().map_enter.unwrap()))
        })
        .collect();
    for (place, id) in hidden.iter().enumerate() {
        assert!(!plain.contains(id));
        assert!(!hidden[place + 1..].contains(id));
    }
}

proptest! {
    #[test]
    fn candidates_only_become_fewer_and_never_none(
        notes in proptest::collection::vec(
            (any::<Index>(), any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)),
            0..12,
        ),
        versions in proptest::sample::subsequence(VERSIONS.to_vec(), 1..=6),
    ) {
        let mut detector = Detector::new(versions.into_iter().map(table).collect());
        for (role, to_server, true_to_form, mut head) in notes {
            let role = *role.get(&[Role::Login, Role::Char, Role::Map]);
            let direction = if to_server { ClientToServer } else { ServerToClient };
            // Half of them begin with an id that matters.
            if let (true, Some(id)) = (true_to_form, head.first_chunk_mut::<2>()) {
                *id = match (role, to_server) {
                    (Role::Login, true) => [0x64, 0x00],
                    (Role::Login, false) => [0xC4, 0x0A],
                    (Role::Char, _) => [0x65, 0x00],
                    (Role::Map, true) => [0x36, 0x04],
                    (Role::Map, false) => [0x83, 0x02],
                };
            }
            let before = left(&detector);
            let detection = detector.note(role, direction, &head);
            let after = left(&detector);
            prop_assert!(!after.is_empty());
            prop_assert!(after.iter().all(|version| before.contains(version)));
            match detection {
                Detection::Table { table, certain, .. } => {
                    prop_assert_eq!(Some(&table.version()), after.last());
                    prop_assert_eq!(certain, after.len() == 1);
                }
                Detection::NeedMore | Detection::Unknown { .. } => prop_assert_eq!(after, before),
            }
        }
    }

    /// However a session of a version is cut, the version stays among those that are left.
    #[test]
    fn a_true_session_never_loses_its_version(
        version in proptest::sample::select(VERSIONS.to_vec()),
        ciphered in any::<bool>(),
        characters in 0usize..16,
        cuts in proptest::collection::vec(any::<Index>(), 5),
    ) {
        let own = table(version);
        let newer = version >= 20_170_315;
        let record = usize::from(own.char_record().unwrap());
        let ciphered = ciphered && own.cipher().is_some();
        let mut from_char = char_list(record, characters);
        from_char.extend(if newer { fixed(0x0AC5, 156) } else { fixed(0x0071, 28) });
        let heads = [
            (Role::Login, ClientToServer, fixed(0x0064, 55)),
            (Role::Login, ServerToClient, if newer { variable(0x0AC4, 224) } else { variable(0x0069, 79) }),
            (Role::Char, ClientToServer, fixed(0x0065, 17)),
            (Role::Char, ServerToClient, from_char),
            (Role::Map, ClientToServer, map_login(version, ciphered)),
        ];
        let mut detector = detector();
        for ((role, direction, head), cut) in heads.iter().zip(cuts) {
            for head in [&head[..cut.index(head.len())], head] {
                let detection = detector.note(*role, *direction, head);
                let is_unknown = matches!(detection, Detection::Unknown { .. });
                prop_assert!(!is_unknown, "{:?} {:?}", role, direction);
                prop_assert!(left(&detector).contains(&version));
                if let Detection::Table { ciphered: hidden, .. } = detection {
                    prop_assert_eq!(hidden, ciphered && *role == Role::Map);
                }
            }
        }
    }
}
