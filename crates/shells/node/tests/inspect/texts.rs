//! Text recordings.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::run::{command, fixture, fixtures, frames, inspect, recordings, word};

#[test]
fn every_recording_is_one_line_per_frame() {
    for (path, recording) in recordings() {
        let lines = inspect([&path]).sound();
        assert_eq!(lines.len(), frames(&recording), "{}", path.display());
        let objects = inspect(["--json".as_ref(), path.as_os_str()]).sound();
        assert_eq!(objects.len(), lines.len());
        for (line, object) in lines.iter().zip(objects) {
            let object: Value = serde_json::from_str(&object).unwrap();
            let id = object["id"].as_str().unwrap_or("----");
            assert_eq!(id, word(line, 3));
            assert_eq!(object["name"].as_str().unwrap_or("-"), word(line, 4));
            assert_eq!(object["class"], word(line, 5));
            assert_eq!(object["length"].to_string(), word(line, 6));
            let time_ms: f64 = word(line, 0).parse().unwrap();
            assert_eq!(object["time_ms"].as_f64(), Some(time_ms));
        }
    }
}

#[test]
fn lines_say_what_the_packets_say() {
    let lines = inspect([fixture("s1-005-map-C")]).sound();
    assert_eq!(
        lines[0],
        "    6819.333 s1/map#5 C>S 0436 CZ_ENTER system 23 AID=2000002 GID=150002 login_id1=*** tick=0 tick2=13837203 sex=0"
    );
    let lines = inspect([fixture("s1-003-char-S")]).sound();
    assert!(lines[0].ends_with("s1/char#3 S>C ---- RAW_AID system 4 AID=2000001"));
    let last = lines.last().unwrap();
    assert!(
        last.ends_with(
            r#"S>C 0AC5 HC_NOTIFY_ZONESVR system 156 GID=150001 map="prontera.gat" address=127.0.0.1:5121 host="""#
        ),
        "{last}"
    );
}

#[test]
fn no_password_token_or_session_number_is_shown() {
    let paths: Vec<_> = recordings().into_iter().map(|(path, _)| path).collect();
    for json in [false, true] {
        let ran = inspect(
            json.then_some("--json".into())
                .into_iter()
                .chain(paths.clone()),
        );
        assert_eq!(ran.code, Some(0));
        let all = ran.lines.concat() + &ran.errors;
        assert!(all.contains("bot2"), "the user is shown");
        for password in ["pwbot1", "pwbot2", "pwbot4"] {
            assert!(!all.contains(password), "{password}");
            assert!(!all.contains(&hex::encode(password)), "{password}");
        }
        for (_, recording) in recordings() {
            let Some((_, first)) = recording.items.first() else {
                continue;
            };
            if !first.starts_with(&[0xC4, 0x0A]) {
                continue;
            }
            for secret in [&first[4..8], &first[12..16]] {
                let number = u32::from_le_bytes(secret.try_into().unwrap());
                assert!(!all.contains(&number.to_string()), "{number}");
                assert!(!all.contains(&hex::encode(secret)), "{number}");
            }
        }
    }
}

#[test]
fn recordings_of_one_session_are_merged_by_time() {
    let session: Vec<_> = recordings()
        .into_iter()
        .filter(|(_, recording)| recording.header.tag.as_deref() == Some("s1"))
        .collect();
    let expected: usize = session.iter().map(|(_, recording)| frames(recording)).sum();
    let paths = session.iter().map(|(path, _)| path.clone().into());
    let lines = inspect(
        [std::ffi::OsString::from("--merge")]
            .into_iter()
            .chain(paths),
    )
    .sound();
    assert_eq!(lines.len(), expected);
    let times: Vec<f64> = lines
        .iter()
        .map(|line| word(line, 0).parse().unwrap())
        .collect();
    assert!(times.is_sorted());
    // A request and its answer lie in two files.
    assert_eq!(word(&lines[0], 3), "0064");
    assert_eq!(word(&lines[1], 3), "0AC4");
}

#[test]
fn sessions_with_other_clocks_follow_one_another() {
    let lines = inspect([
        "--merge".into(),
        fixture("s1-001-login-C"),
        fixture("mk-001-login-C"),
        fixture("s1-001-login-S"),
    ])
    .sound();
    let connections: Vec<&str> = lines.iter().map(|line| word(line, 1)).collect();
    assert_eq!(connections, ["s1/login#1", "s1/login#1", "mk/login#1"]);
}

const HEADER: &str = "# tag=t conn=1 role=map (client to server) epoch0=1.0\n";
const ENTER: &str = "1.0 C 360482841e00f2490200bdad4661000000009323d30000\n";

/// Writes a recording and inspects it together with one that is sound.
fn with_sound_one(text: &str, json: bool) -> crate::run::Ran {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.txt");
    std::fs::write(&path, text).unwrap();
    let flags = json.then_some("--json".into());
    inspect(flags.into_iter().chain([path, fixture("mk-001-login-C")]))
}

#[test]
fn where_framing_breaks_is_said_and_the_other_files_are_read() {
    // Behind a walk: an id that the version does not have.
    let text = format!(
        "{HEADER}{ENTER}2.0 C 5f03278ba0\n3.5 C 5f03278ba0eeff0102\n4.0 C 5f03278ba0\n5.0 C EOF\n"
    );
    let ran = with_sound_one(&text, false);
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.lines.len(), 5, "{:#?}", ran.lines);
    assert_eq!(
        ran.lines[3],
        "       3.500 t/map#1 C>S !! unknown-packet-id at byte 33: packet id FFEE is not known for this client version; \
         the rest of this direction is not shown"
    );
    assert!(ran.lines[4].contains("CA_LOGIN"));
    let ran = with_sound_one(&text, true);
    assert_eq!(ran.code, Some(1));
    let problem: Value = serde_json::from_str(&ran.lines[3]).unwrap();
    assert_eq!(problem["problem"], "unknown-packet-id");
    assert_eq!(problem["offset"], 33);
    assert_eq!(problem["id"], "FFEE");
    assert_eq!(problem["connection"], "t/map#1");
    assert_eq!(problem["time_ms"], 3.5);
}

#[test]
fn a_length_that_cannot_be_is_said() {
    let ran = with_sound_one(&format!("{HEADER}{ENTER}2.0 C f300030061\n"), false);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.lines[1]
            .contains("!! bad-packet-length at byte 23: packet 00F3 says that it is 3 bytes long"),
        "{:#?}",
        ran.lines
    );
}

#[test]
fn a_packet_whose_rest_never_comes_is_said() {
    for (ending, what) in [
        (
            "2.0 C 5f0327\n3.0 C EOF\n",
            "after 3 of 5 bytes of packet 035F",
        ),
        ("2.0 C f3002000\n", "after 4 of 32 bytes of packet 00F3"),
        ("2.0 C f30020\n", "after 3 bytes of packet 00F3"),
        ("2.0 C 5f\n", "after 1 bytes"),
    ] {
        let ran = with_sound_one(&format!("{HEADER}{ENTER}{ending}"), false);
        assert_eq!(ran.code, Some(1), "{ending}");
        let expected = format!("!! unfinished-packet at byte 23: the stream ends {what}");
        assert!(ran.lines[1].ends_with(&expected), "{:#?}", ran.lines);
        assert_eq!(ran.lines.len(), 3);
    }
}

#[test]
fn a_recording_that_cannot_be_read_is_told_and_the_others_are_shown() {
    for (text, told) in [
        (
            format!("{HEADER}{ENTER}2.0 C pwbot2\n"),
            "made.txt, line 3: expected pairs of hex digits, or EOF, as the third word",
        ),
        (
            format!("{HEADER}{ENTER}2.0 C {}\n", "00".repeat(200_000)),
            "made.txt, line 3: the line is longer than 262144 bytes",
        ),
        (
            ENTER.to_owned(),
            "made.txt, line 1: expected a header line `# tag=.. conn=.. role=login|char|map ..` first, or --role",
        ),
        (String::new(), "made.txt, line 1: expected a header line"),
        (
            "\u{1}\u{2}binary".to_owned(),
            "made.txt, line 1: expected `t_ms DIR hex`",
        ),
    ] {
        let ran = with_sound_one(&text, false);
        assert_eq!(ran.code, Some(2), "{told}");
        assert!(ran.errors.contains(told), "{}", ran.errors);
        assert!(!ran.errors.contains("pwbot2"), "{}", ran.errors);
        assert!(ran.lines.last().unwrap().contains("CA_LOGIN"));
    }
}

#[test]
fn role_and_direction_may_come_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bare.txt");
    std::fs::write(&path, "1 S 01000000\n2 S 6c0000\n").unwrap();
    let ran = inspect(["--role".as_ref(), "char".as_ref(), path.as_os_str()]);
    let lines = ran.sound();
    assert_eq!(
        lines,
        [
            "       1.000 char#1 S>C ---- RAW_AID system 4 AID=1",
            "       2.000 char#1 S>C 006C HC_REFUSE_ENTER system 3 code=0"
        ]
    );
    let ran = inspect([
        "--role=map".as_ref(),
        "--direction=c2s".as_ref(),
        fixture("s1-006-map-C").as_os_str(),
    ]);
    assert!(word(&ran.sound()[0], 1) == "s1/map#6");
}

#[test]
fn wrong_arguments_are_told() {
    let there = fixture("mk-001-login-C");
    let there = there.to_str().unwrap();
    for (arguments, told) in [
        (
            vec!["/nowhere/at-all.txt"],
            "cannot read /nowhere/at-all.txt",
        ),
        (vec!["/"], "it is no regular file"),
        (vec![], "required"),
        (
            vec!["--packetver", "20190101", there],
            "packet version 20190101 is not known. Known are 20130807, ",
        ),
        (vec!["--packet-table", there, there], "--packetver"),
        (
            vec!["--packetver", "20190101", "--packet-table", there, there],
            "mk-001-login-C.txt",
        ),
        (vec!["--role", "zone", there], "expected login, char or map"),
        (vec!["--direction", "up", there], "expected c2s or s2c"),
        (vec!["--ports", "map", there], "expected SERVER=PORT"),
        (vec!["--ports", "map=0", there], "expected a port"),
    ] {
        let ran = inspect(&arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}");
        assert!(ran.errors.contains(told), "{arguments:?}: {}", ran.errors);
        assert!(ran.lines.is_empty(), "{arguments:?}");
    }
}

#[test]
fn an_operators_table_is_used() {
    let table = fixtures().join("recvpackets-20211103.txt");
    let ran = inspect([
        "--packetver".as_ref(),
        "20211199".as_ref(),
        "--packet-table".as_ref(),
        table.as_os_str(),
        fixture("s1-005-map-C").as_os_str(),
    ]);
    let lines = ran.sound();
    assert_eq!(lines.len(), 36);
    assert_eq!(word(&lines[0], 4), "CZ_ENTER");
}

/// Whoever reads the output may stop when they have seen enough.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let paths = recordings().into_iter().map(|(path, _)| path);
    // More than a pipe holds, so that it is still writing.
    let many: Vec<_> = paths.cycle().take(300).collect();
    let mut child = command()
        .arg("--json")
        .args(&many)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.starts_with('{'));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors.lines().count(), 1, "the version alone: {errors}");
}
