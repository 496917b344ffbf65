//! Tests of the clientinfo file in the game's folder.

use super::*;

/// A game's folder, and an operator's file.
struct Place {
    folder: tempfile::TempDir,
    section: ClientInfoSection,
}

const THEIRS: &[u8] = b"<clientinfo>theirs \xbc\xad</clientinfo>";

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            section: ClientInfoSection::default(),
        }
    }

    fn executable(&self) -> PathBuf {
        self.folder.path().join("Ragexe.exe")
    }

    fn file(&self, end: &str) -> PathBuf {
        beside(&self.folder.path().join(&self.section.file), end)
    }

    fn put(&self, end: &str, content: &[u8]) {
        fs::write(self.file(end), content).unwrap();
    }

    fn lease(&self, files: &Files, port: u16) -> Result<Lease, Problem> {
        let login = SocketAddr::from(([127, 0, 0, 1], port));
        files.lease(&self.section, &self.executable(), login)
    }

    /// Names and contents of the folder, sorted.
    fn all(&self) -> Vec<(String, Vec<u8>)> {
        let mut all: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap_or_default())
            })
            .collect();
        all.sort();
        all
    }
}

fn has_port(file: &Path, port: u16) -> bool {
    let text = fs::read_to_string(file).unwrap();
    text.contains(&format!("<port>{port}</port>"))
}

#[test]
fn the_last_game_takes_the_file_away() {
    let (place, files) = (Place::new(), Files::default());
    let first = place.lease(&files, 6900).unwrap();
    let second = place.lease(&files, 6900).unwrap();
    assert!(has_port(&place.file(""), 6900));
    drop(first);
    assert!(has_port(&place.file(""), 6900));
    // The bridge was opened anew while a game still runs.
    let third = place.lease(&files, 6999).unwrap();
    assert!(has_port(&place.file(""), 6999));
    drop((second, third));
    assert_eq!(place.all(), []);
}

#[test]
fn the_operators_file_is_set_aside_and_put_back() {
    let (place, files) = (Place::new(), Files::default());
    place.put("", THEIRS);
    let before = place.all();
    let lease = place.lease(&files, 6900).unwrap();
    assert!(has_port(&place.file(""), 6900));
    assert_eq!(fs::read(place.file(".before-warp")).unwrap(), THEIRS);
    drop(lease);
    assert_eq!(place.all(), before);
}

#[test]
fn with_two_files_in_the_way_nothing_is_touched() {
    let (place, files) = (Place::new(), Files::default());
    place.put("", THEIRS);
    place.put(".before-warp", b"older");
    let before = place.all();
    let problem = place.lease(&files, 6900).err().unwrap();
    assert_eq!(problem.code, ProblemCode::GameFiles);
    assert!(problem.detail.unwrap().contains(".before-warp"));
    assert_eq!(place.all(), before);
}

#[test]
fn leftovers_of_a_crash_are_put_right_once() {
    let place = Place::new();
    let login = SocketAddr::from(([127, 0, 0, 1], 6900));
    let ours = clientinfo::fresh(&place.section, login);
    // Whatever step the crash came after: a lock file is never locked by a process that is gone.
    for (name, aside) in [(true, true), (true, false), (false, true)] {
        if name {
            place.put("", &ours);
        }
        if aside {
            place.put(".before-warp", THEIRS);
        }
        place.put(".warp-lock", digest(&ours).as_bytes());
        for _ in 0..2 {
            Files::default()
                .recover(&place.section, &place.executable())
                .unwrap();
            let restored = aside.then_some(THEIRS);
            assert_eq!(fs::read(place.file("")).ok().as_deref(), restored);
            assert!(!place.file(".before-warp").exists());
        }
        // A start does the same by itself.
        place.put(".warp-new", b"half");
        let (files, before) = (Files::default(), fs::read(place.file("")).ok());
        drop(place.lease(&files, 6901).unwrap());
        assert_eq!(fs::read(place.file("")).ok(), before);
        let _ = fs::remove_file(place.file(""));
        assert_eq!(place.all(), []);
    }
}

#[test]
fn a_file_that_was_replaced_while_the_game_ran_stays() {
    let (place, files) = (Place::new(), Files::default());
    place.put("", b"first");
    let lease = place.lease(&files, 6900).unwrap();
    place.put("", THEIRS);
    drop(lease);
    assert_eq!(fs::read(place.file("")).unwrap(), THEIRS);
    assert_eq!(fs::read(place.file(".before-warp")).unwrap(), b"first");
}

#[test]
fn a_file_that_somebody_changes_is_not_the_launchers_any_more() {
    let (place, files) = (Place::new(), Files::default());
    place.put("", b"first");
    let lease = place.lease(&files, 6900).unwrap();
    // What was edited in place still has our mark in it.
    let mut edited = fs::read(place.file("")).unwrap();
    edited.extend_from_slice(b"<!-- theirs -->");
    place.put("", &edited);
    for port in [6900, 6999] {
        let problem = place.lease(&files, port).err().unwrap();
        assert_eq!(problem.code, ProblemCode::GameFiles);
        assert!(problem.detail.unwrap().contains("changed"));
    }
    assert_eq!(fs::read(place.file("")).unwrap(), edited);
    drop(lease);
    assert_eq!(fs::read(place.file("")).unwrap(), edited);
    assert_eq!(fs::read(place.file(".before-warp")).unwrap(), b"first");
}

#[test]
fn two_launchers_do_not_share_a_file() {
    let place = Place::new();
    let (one, other) = (Files::default(), Files::default());
    let lease = place.lease(&one, 6900).unwrap();
    let problem = place.lease(&other, 6901).err().unwrap();
    assert!(problem.detail.unwrap().contains("another launcher"));
    // Nor does one take the other's file for a leftover.
    assert!(other.recover(&place.section, &place.executable()).is_err());
    assert!(has_port(&place.file(""), 6900));
    drop(lease);
    drop(place.lease(&other, 6901).unwrap());
    assert_eq!(place.all(), []);
}

#[test]
fn loose_files_lie_in_the_data_folder_if_there_is_one() {
    let (mut place, files) = (Place::new(), Files::default());
    let data = place.folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let lease = place.lease(&files, 6900).unwrap();
    assert!(data.join(&place.section.file).is_file() && !place.file("").exists());
    drop(lease);
    place.section.folder = Some(String::new());
    let lease = place.lease(&files, 6900).unwrap();
    assert!(place.file("").is_file());
    drop(lease);
    place.section.folder = Some("System".into());
    let problem = place.lease(&files, 6900).err().unwrap();
    assert!(problem.subject.ends_with("System"), "{problem:?}");
}

#[test]
fn the_operators_own_file_may_be_the_template_of_what_takes_its_place() {
    let (mut place, files) = (Place::new(), Files::default());
    let theirs = b"<c><connection><display>\xbc\xad</display><address>a</address></connection></c>";
    place.put("", theirs);
    place.section.template = place.file("").to_str().unwrap().to_owned();
    let lease = place.lease(&files, 6900).unwrap();
    let file = fs::read(place.file("")).unwrap();
    assert!(file.windows(2).any(|piece| piece == b"\xbc\xad"));
    assert!(String::from_utf8_lossy(&file).contains("<address>127.0.0.1</address>"));
    drop(lease);
    assert_eq!(fs::read(place.file("")).unwrap(), theirs);
}

#[test]
fn what_stands_in_the_way_is_told_and_nothing_is_left_behind() {
    let (mut place, files) = (Place::new(), Files::default());
    fs::create_dir(place.file("")).unwrap();
    let problem = place.lease(&files, 6900).err().unwrap();
    assert!(problem.detail.unwrap().contains("folder"));
    fs::remove_dir(place.file("")).unwrap();

    place.section.template = place.file(".missing").to_str().unwrap().to_owned();
    let problem = place.lease(&files, 6900).err().unwrap();
    assert_eq!(problem.subject, place.section.template);
    assert_eq!(place.all(), []);
}

/// A folder that nobody can write to, whoever runs this.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_told_with_what_to_do() {
    let login = SocketAddr::from(([127, 0, 0, 1], 6900));
    let section = ClientInfoSection::default();
    let problem = Files::default()
        .lease(&section, Path::new("/proc/self/game"), login)
        .err()
        .unwrap();
    assert_eq!(problem.code, ProblemCode::GameFiles);
    assert!(problem.subject.starts_with("/proc/"), "{problem:?}");
    assert!(problem.detail.unwrap().contains("permissions"));
}
