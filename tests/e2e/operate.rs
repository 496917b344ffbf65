//! An operator's way: the commands of docs/operate.md as they stand there, the doctor against a real
//! game server, bans as a player meets them, and the systemd units.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use warp_tests::house::{House, NodePlan, Plan, ZONE, good_end, on_map, program};
use warp_tests::process::{PATIENCE, Source};

/// What a new operator is promised, from the first command to the first player.
const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);
/// What a ban is promised within.
const MINUTE: Duration = Duration::from_secs(60);

fn repository() -> PathBuf {
    // At run time: several clones may share one build directory.
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
        .parent()
        .unwrap()
        .to_owned()
}

/// The code blocks of a document that begin with this line.
fn blocks(document: &str, fence: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in document.lines() {
        if line.starts_with("```") {
            inside = line == fence;
        } else if inside {
            script.push_str(line);
            script.push('\n');
        }
    }
    script
}

/// Whether a network of our own can be had; if not, why.
fn isolated() -> Result<(), String> {
    let tried = Command::new("unshare")
        .args(["--net", "ip", "link", "set", "lo", "up"])
        .output()
        .map_err(|e| e.to_string())?;
    if tried.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned())
    }
}

#[test]
fn the_document_leads_from_the_programs_to_the_first_player() {
    if let Err(why) = isolated() {
        println!("SKIPPED: no network of our own: {why}");
        return;
    }
    let document = std::fs::read_to_string(repository().join("docs/operate.md")).unwrap();
    let script = blocks(&document, "```sh first-player");
    for step in [
        "serve",
        "zone put",
        "user add",
        "doctor",
        "key",
        "warp-node play",
    ] {
        assert!(script.contains(step), "the document has no {step}");
    }
    let dir = tempfile::tempdir().unwrap();
    let bin = program("warp-coordinator").parent().unwrap().to_owned();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    // Around the document's lines: the operator's game server, a clock, and the game client.
    let whole = format!(
        "set -e\n\
         trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n\
         ip link set lo up\n\
         warp-practice server --login 127.0.0.1:6900 --char 127.0.0.1:6121 --map 127.0.0.1:5121 \
         > game.out 2>&1 &\n\
         until grep -q listening game.out; do sleep 0.1; done\n\
         began=$(date +%s%N)\n\
         {script}\n\
         echo test1 | warp-practice client --user test1 --password-stdin --login 127.0.0.1:7900 \
         --seconds 3 --json > game-client.log\n\
         echo took $(( ($(date +%s%N) - began) / 1000000 )) ms\n"
    );
    let began = Instant::now();
    let output = Command::new("unshare")
        .args(["--net", "timeout", "120", "bash", "-c", &whole])
        .current_dir(dir.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(began.elapsed() < HALF_AN_HOUR);
    let took = said.lines().last().unwrap();
    assert!(took.starts_with("took "), "{said}");
    println!("from the first command to the end of the first play: {took}");
    let log = std::fs::read_to_string(dir.path().join("warp/game-client.log")).unwrap();
    let summary: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&summary["event"], &summary["ok"]),
        (&json!("summary"), &json!(true)),
        "{log}"
    );
    // What the first start made is the owner's alone.
    let data = dir.path().join("warp/data");
    for file in [
        "identity.key",
        "jwt.key",
        "endpoint.key",
        "coordinator.sqlite",
    ] {
        use std::os::unix::fs::PermissionsExt;
        let mode = data.join(file).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
}

/// Runs the doctor on a house's data; its exit code and findings.
fn doctor(house: &House, user: &str, password: &str) -> (Option<i32>, Vec<Value>) {
    doctor_with(house, user, password, &[])
}

/// The same with further arguments.
fn doctor_with(
    house: &House,
    user: &str,
    password: &str,
    more: &[&str],
) -> (Option<i32>, Vec<Value>) {
    let config = house.dir().join("doctor.json");
    let text = json!({"listen": house.address.to_string()}).to_string();
    std::fs::write(&config, text).unwrap();
    let file = house.dir().join("game.password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let mut command = Command::new(program("warp-coordinator"));
    command.args(["doctor", "--json", "--zone", ZONE, "--user", user]);
    command
        .arg("--password-file")
        .arg(&file)
        .arg("--config")
        .arg(&config);
    command.arg("--data").arg(house.data()).args(more);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains(password) || password == user, "{text}");
    let found = serde_json::from_str(&text).expect("a JSON array");
    (output.status.code(), found)
}

#[track_caller]
fn last_is(found: &[Value], step: &str, outcome: &str, words: &[&str]) {
    let last = found.last().unwrap();
    assert_eq!(
        (&last["step"], &last["outcome"]),
        (&json!(step), &json!(outcome)),
        "{last}"
    );
    for word in words {
        assert!(last.to_string().contains(word), "{word}: {last}");
    }
}

#[test]
fn the_doctor_goes_from_the_configuration_to_a_map() {
    let house = House::new();
    // Twice: it leaves the account free.
    for _ in 0..2 {
        let (code, found) = doctor(&house, "test1", "test1");
        assert_eq!(code, Some(0), "{found:#?}");
        let steps: Vec<_> = found.iter().map(|f| f["step"].as_str().unwrap()).collect();
        assert_eq!(
            steps,
            [
                "configuration",
                "data directory",
                "database",
                "clock",
                "listener",
                "endpoint",
                "zone",
                "login",
                "char",
                "map"
            ]
        );
        assert!(found.iter().all(|f| f["outcome"] == "good"), "{found:#?}");
    }
    // As a player: through the coordinator's endpoint, which leaves no session behind.
    for _ in 0..2 {
        let player = ["--player", "alice"];
        let (code, found) = doctor_with(&house, "test1", "test1", &player);
        assert_eq!(code, Some(0), "{found:#?}");
        let steps = found.iter().rev().map(|f| f["step"].as_str().unwrap());
        let steps: Vec<_> = steps.take(5).collect();
        assert_eq!(steps, ["map", "char", "login", "session", "zone"]);
        assert!(found.iter().all(|f| f["outcome"] == "good"), "{found:#?}");
        assert_eq!(house.admin(&["session", "list"]), "");
    }
    let lines = house.coordinator.lines().into_iter();
    let linked = lines.filter(|line| line.text.contains("link socket attached"));
    assert_eq!(linked.count(), 2);
    let player = ["--player", "nobody"];
    let (code, found) = doctor_with(&house, "test1", "test1", &player);
    assert_eq!(code, Some(1));
    let session = found.iter().find(|f| f["step"] == "session").unwrap();
    assert_eq!(session["outcome"], "bad", "{session}");
    assert!(session.to_string().contains("user add"), "{session}");
    let (code, found) = doctor(&house, "test1", "wrong-password");
    assert_eq!(code, Some(1));
    last_is(
        &found,
        "login",
        "bad",
        &["wrong password", "--password-file"],
    );
    let (code, found) = doctor(&house, "nobody", "secret-word");
    assert_eq!(code, Some(1));
    last_is(&found, "login", "bad", &["unknown account"]);
}

#[test]
fn the_doctor_says_which_server_is_down() {
    let mut house = House::new();
    house.server.kill();
    house.server.exit(PATIENCE);
    let login = house.listening["login"].as_str().unwrap().to_owned();
    let (code, found) = doctor(&house, "test1", "test1");
    assert_eq!(code, Some(1));
    last_is(
        &found,
        "login",
        "bad",
        &["refused", &login, "start the login server"],
    );
    // Of the endpoint it is told what it meets.
    let (code, found) = doctor_with(&house, "test1", "test1", &["--player", "alice"]);
    assert_eq!(code, Some(1));
    let words = [
        "refused",
        &login,
        "start the login server",
        "the endpoint's machine",
    ];
    last_is(&found, "login", "bad", &words);
    // And the coordinator itself.
    house.coordinator.kill();
    house.coordinator.exit(PATIENCE);
    let (code, found) = doctor(&house, "test1", "test1");
    assert_eq!(code, Some(1));
    let listener = found.iter().find(|f| f["step"] == "listener").unwrap();
    assert_eq!(listener["outcome"], "bad", "{listener}");
}

#[test]
fn the_doctor_says_which_announced_address_the_endpoint_may_not_dial() {
    // As a line of subnet_athena.conf does it: the login server sends clients somewhere else.
    for (option, step, setting) in [
        ("--announce-char", "login", "char_ip"),
        ("--announce-map", "char", "map_ip"),
    ] {
        let house = House::with(Plan {
            server_arguments: &[option, "192.0.2.7:6121"],
            ..Plan::default()
        });
        let (code, found) = doctor(&house, "test1", "test1");
        assert_eq!(code, Some(1));
        last_is(
            &found,
            step,
            "bad",
            &["192.0.2.7:6121", setting, "subnet_athena.conf"],
        );
    }
}

#[test]
fn the_doctor_speaks_every_version_of_the_practice_game() {
    for version in [20_130_807, 20_170_614, 20_180_621] {
        let house = House::with(Plan {
            packet_version: version,
            ..Plan::default()
        });
        let (_, found) = doctor(&house, "test1", "test1");
        let last = found.last().unwrap();
        println!("{version}: {last}");
        assert_eq!(last["step"], "map", "{found:#?}");
        assert_ne!(last["outcome"], "bad", "{found:#?}");
    }
}

#[test]
fn a_banned_player_is_out_within_a_minute_told_why_and_others_play_on() {
    let house = House::new();
    house.add_user("bob");
    let bob = NodePlan {
        user: "bob",
        ..NodePlan::default()
    };
    let (mut alice, login) = house.playing(&NodePlan::default());
    let (_bob, bobs_login) = house.playing(&bob);
    let client = house.client(login, "test1", &["--seconds", "0"]);
    let bobs = house.client(bobs_login, "test2", &["--seconds", "0"]);
    on_map(&client);
    on_map(&bobs);
    let began = Instant::now();
    let reason = "botting in the payon cave";
    let number = house.admin(&["ban", "add", "--account", "alice", "--reason", reason]);
    alice.problem("banned");
    println!(
        "out {} ms after the command began",
        began.elapsed().as_millis()
    );
    assert!(began.elapsed() < MINUTE);
    assert_eq!(alice.exit(PATIENCE).code, Some(1));
    drop(client);
    // Signing in says why.
    let mut again = house.node(&NodePlan::default());
    let problem = again.problem("banned");
    assert!(problem.to_string().contains(reason), "{problem}");
    assert_eq!(again.exit(PATIENCE).code, Some(3));
    house.admin(&["ban", "lift", number.trim()]);
    drop(house.playing(&NodePlan::default()));

    bobs.terminate();
    let mut bobs = bobs;
    good_end(&mut bobs, MINUTE);
    let log = house.admin(&["audit", "--since", "1h", "--json"]);
    let lines: Vec<Value> = log
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let actions: Vec<_> = lines
        .iter()
        .map(|l| l["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        ["zone-put", "account-add", "account-add", "ban", "unban"]
    );
    let sessions = house.admin(&["session", "list"]);
    assert!(
        sessions.contains("bob") || sessions.is_empty(),
        "{sessions}"
    );
    let lines = house.coordinator.lines();
    assert!(
        !lines
            .iter()
            .any(|l| l.source == Source::Err && l.text.contains(" ERROR "))
    );
}

#[test]
fn what_a_session_carries_is_listed_wherever_its_endpoint_is() {
    for endpoint in ["embedded", "remote"] {
        let house = House::with(Plan {
            coordinator: json!({"endpoint": {"mode": endpoint}}),
            ..Plan::default()
        });
        let (node, login) = house.playing(&NodePlan::default());
        let mut client = house.client(login, "test1", &["--seconds", "60"]);
        on_map(&client);
        let before = Instant::now();
        let listed = loop {
            let text = house.admin(&["session", "list", "--json"]);
            let all: Vec<Value> = serde_json::from_str(&text).unwrap();
            let link = &all[0]["link"];
            if link["path"] == "direct" && link["streams"] == 1 {
                break link.clone();
            }
            assert!(before.elapsed() < MINUTE, "{endpoint}: {text}");
        };
        println!("{endpoint}: {listed}");
        for bytes in ["up_bytes", "down_bytes"] {
            assert!(listed[bytes].as_u64().unwrap() > 100, "{listed}");
        }
        let line = house.admin(&["session", "list"]);
        assert!(line.trim_end().ends_with("\tdirect"), "{line}");
        client.kill();
        client.exit(PATIENCE);
        drop(node);
    }
}

#[test]
fn the_systemd_units_are_valid() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("SKIPPED: there is no systemd-analyze");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["warp-coordinator", "warp-endpoint"] {
        let file = format!("{name}.service");
        let text = std::fs::read_to_string(repository().join("packaging").join(&file)).unwrap();
        // Programs are looked for where they are here.
        let here = program(name).display().to_string();
        let text = text.replace(&format!("/usr/local/bin/{name}"), &here);
        assert!(text.contains(&here));
        let path = dir.path().join(&file);
        std::fs::write(&path, &text).unwrap();
        let verify = Command::new("systemd-analyze")
            .arg("verify")
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verify.stderr);
        assert!(
            verify.status.success() && said.trim().is_empty(),
            "{file}: {said}"
        );
        // The options that a unit starts with are ones that the program has.
        let mut help = Command::new(program(name));
        help.args(if name == "warp-coordinator" {
            &["serve", "--help"][..]
        } else {
            &["--help"]
        });
        let help = String::from_utf8(help.output().unwrap().stdout).unwrap();
        let start = text.lines().find(|l| l.starts_with("ExecStart=")).unwrap();
        for option in start.split(' ').filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "{name} has no {option}");
        }
    }
}
