//! The recordings in `tests/fixtures/captures`, for the tests of this crate.

#![allow(dead_code, reason = "each test program uses a part of this")]

use std::path::PathBuf;
use std::sync::Arc;

use warp_ro_packet::{Direction, Frame, PacketTable, Role, recording};

/// One direction of one recorded TCP connection.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) direction: Direction,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn table() -> Arc<PacketTable> {
    PacketTable::for_version(20_211_103).unwrap()
}

/// Every recording, by file name.
pub(crate) fn recordings() -> Vec<Recording> {
    // At run time: several clones may share one build directory.
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let folder = package.join("../../../tests/fixtures/captures");
    let mut all: Vec<Recording> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            #[allow(clippy::disallowed_methods, reason = "a test reads its fixtures")]
            let text = std::fs::read_to_string(&path).unwrap();
            read(name, &text)
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(all.len(), 44, "the fixtures are complete");
    all
}

fn read(name: String, text: &str) -> Recording {
    let recording = recording::parse(&name, text).unwrap();
    Recording {
        name,
        role: recording.role,
        direction: recording.direction,
        bytes: recording
            .items
            .into_iter()
            .flat_map(|(_, bytes)| bytes)
            .collect(),
    }
}

/// The bytes of `frames`, behind one another.
pub(crate) fn joined(frames: &[Frame]) -> Vec<u8> {
    frames
        .iter()
        .flat_map(|frame| frame.bytes.to_vec())
        .collect()
}
