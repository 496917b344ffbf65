//! Running the command, and the recordings it is run on.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use warp_ro_packet::recording::{Recording, parse};
use warp_ro_packet::{Framer, PacketTable};

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<String>,
    pub(crate) errors: String,
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warp-node"));
    command.arg("inspect");
    command
}

pub(crate) fn inspect(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
    let output = command().args(arguments).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!errors.contains("panicked"), "{errors}");
    Ran {
        code: output.status.code(),
        lines: String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect(),
        errors,
    }
}

impl Ran {
    /// The lines, which were written without a complaint.
    #[track_caller]
    pub(crate) fn sound(self) -> Vec<String> {
        assert_eq!(self.code, Some(0), "{}", self.errors);
        assert!(
            self.lines.iter().all(|line| !line.contains(" !! ")),
            "{:#?}",
            self.lines
        );
        self.lines
    }
}

pub(crate) fn fixtures() -> PathBuf {
    // At run time: several clones may share one build directory.
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../../tests/fixtures")
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    fixtures().join("captures").join(format!("{name}.txt"))
}

/// All recordings, by name.
pub(crate) fn recordings() -> Vec<(PathBuf, Recording)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(fixtures().join("captures"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert_eq!(paths.len(), 44, "the fixtures are complete");
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let recording = parse(&path.display().to_string(), &text).unwrap();
            (path, recording)
        })
        .collect()
}

pub(crate) fn recording(name: &str) -> Recording {
    let path = fixture(name);
    let text = std::fs::read_to_string(&path).unwrap();
    parse(name, &text).unwrap()
}

/// How many frames a recording holds.
pub(crate) fn frames(recording: &Recording) -> usize {
    let table = PacketTable::for_version(20_211_103).unwrap();
    let mut framer = Framer::new(table, recording.role, recording.direction);
    for (_, bytes) in &recording.items {
        framer.push(bytes);
    }
    std::iter::from_fn(|| framer.next_frame()).count()
}

/// The word of a line at `place`: 0 time, 1 connection, 2 direction, 3 id, 4 name, 5 class, 6 length.
pub(crate) fn word(line: &str, place: usize) -> &str {
    line.split_whitespace().nth(place).unwrap()
}
