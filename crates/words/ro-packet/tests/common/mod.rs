//! The recordings in `tests/fixtures/captures`, for the tests of this crate.

use std::path::PathBuf;

use warp_ro_packet::{Direction, PacketTable, Role};

/// One direction of one recorded TCP connection.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) direction: Direction,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn table() -> &'static PacketTable {
    PacketTable::for_version(20_211_103).unwrap()
}

/// Every recording; the file name `TAG-NNN-ROLE-{C,S}.txt` says what it is.
pub(crate) fn recordings() -> Vec<Recording> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/captures");
    let mut all: Vec<Recording> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            #[allow(clippy::disallowed_methods, reason = "a test reads its fixtures")]
            let text = std::fs::read_to_string(&path).unwrap();
            parse(name, &text)
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(all.len(), 44, "the fixtures are complete");
    all
}

fn parse(name: String, text: &str) -> Recording {
    let mut parts = name.rsplit('-');
    let direction = match parts.next().unwrap() {
        "C" => Direction::ClientToServer,
        "S" => Direction::ServerToClient,
        other => panic!("{name}: direction {other}"),
    };
    let role = match parts.next().unwrap() {
        "login" => Role::Login,
        "char" => Role::Char,
        "map" => Role::Map,
        other => panic!("{name}: role {other}"),
    };
    let bytes = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().nth(2).unwrap())
        .filter(|word| *word != "EOF")
        .flat_map(|word| hex::decode(word).unwrap())
        .collect();
    Recording {
        name,
        role,
        direction,
        bytes,
    }
}
