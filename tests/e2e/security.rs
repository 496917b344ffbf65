//! An active adversary: somebody between launcher and coordinator who changes what they say, and
//! devices that were revoked. Real processes on the loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use warp_link_core::Identity;
use warp_protocol::identity::{Certificate, CertificateRole, PublicKey, Serial, identity_message};
use warp_tests::house::{House, NodePlan, Plan, bridge, good_end, on_map};
use warp_tests::mitm::{Mitm, Towards};
use warp_tests::process::{PATIENCE, Process, Source};
use warp_tests::sim::identity;

/// How long a play of a few seconds may take to its end.
const PLAY: Duration = Duration::from_secs(60);
/// What a revocation is promised within.
const MINUTE: Duration = Duration::from_secs(60);

/// Waits until a program logged that this was refused, so many times or more.
fn refused(process: &Process, reason: &str, count: u64) {
    let what = format!("{count} x {reason} in the log");
    process.wait_line(0, &what, PATIENCE, |line| {
        let field = |name: &str| {
            let mut words = line.text.split(' ');
            let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
            Some(value.trim_matches('"').to_owned())
        };
        let counted: u64 = field("count")?.parse().ok()?;
        (line.source == Source::Err && field("reason")? == reason && counted >= count).then_some(())
    });
}

/// A house with a man in the middle, and a launcher that goes through him.
struct Case {
    house: House,
    mitm: Mitm,
}

impl Case {
    fn new() -> Self {
        let house = House::new();
        let mitm = Mitm::before(house.address);
        Self { house, mitm }
    }

    /// A launcher for `alice` that waits a second for the direct path, and tries it often.
    fn node_with(&self, config: Value) -> Process {
        let mut all = json!({
            "p2p": {"prefer_wait_ms": 1000},
            "webrtc": {"connection_timeout_ms": 3000},
        });
        warp_tests::house::merge(&mut all, &config);
        self.house.node(&NodePlan {
            coordinator: Some(self.mitm.address()),
            config: all,
            ..NodePlan::default()
        })
    }

    fn node(&self) -> Process {
        self.node_with(json!({}))
    }

    /// The launcher is refused before it plays: by this problem, this reason, and with this code.
    fn refuses(&self, problem: &str, reason: &str, exit: i32) {
        let mut node = self.node();
        let told = node.problem(problem);
        println!("{told}");
        refused(&node, reason, 1);
        assert_eq!(node.exit(PATIENCE).code, Some(exit));
        assert_eq!(node.events("bridge-ready"), Vec::<Value>::new());
    }

    /// The key in the coordinator's data: what no adversary has.
    fn coordinator_key(&self) -> Identity {
        let der = std::fs::read(self.house.data().join("identity.key")).unwrap();
        Identity::from_pkcs8_der(&der).unwrap()
    }
}

/// Plays over the WebSocket, to the end, and never over anything else.
fn plays_over_wss_only(case: &Case, node: &Process) {
    let login = bridge(node);
    let mut client = case.house.client(login, "test1", &["--seconds", "2"]);
    good_end(&mut client, PLAY);
    for event in node.events("state") {
        assert_ne!(event["path"], "direct", "{event}");
    }
    for event in node.events("metrics") {
        let paths = event["metrics"]["paths"].as_array().unwrap();
        assert!(paths.iter().all(|path| path["kind"] != "direct"), "{event}");
    }
}

/// Another fingerprint in the description, as it would be that of a peer in the middle.
fn swap_fingerprint(json: &mut Value) {
    let sdp = match &mut json["sdp"] {
        Value::Object(description) => &mut description["sdp"],
        text => text,
    };
    let text = sdp.as_str().unwrap();
    let at = text.find("sha-256 ").expect("a fingerprint") + 8;
    let first = if &text[at..at + 2] == "AA" {
        "BB"
    } else {
        "AA"
    };
    *sdp = json!(format!("{}{first}{}", &text[..at], &text[at + 2..]));
}

fn is(json: &Value, kind: &str) -> bool {
    json["type"] == kind
}

#[test]
fn a_swapped_fingerprint_in_the_answer_is_detected_and_nothing_goes_that_way() {
    let case = Case::new();
    case.mitm.change("signaling/ws", Towards::Launcher, |json| {
        if is(json, "answer") {
            swap_fingerprint(json);
        }
    });
    let node = case.node();
    let problem = node.problem("signaling-untrusted");
    assert_eq!(problem["detail"], "description-forged");
    plays_over_wss_only(&case, &node);
    refused(&node, "description-forged", 2);
    assert_eq!(node.events("problem").len(), 1, "told once, counted always");
}

#[test]
fn a_swapped_fingerprint_in_the_offer_is_detected_by_the_endpoint() {
    let case = Case::new();
    case.mitm
        .change("signaling/ws", Towards::Coordinator, |json| {
            if is(json, "offer") {
                swap_fingerprint(json);
            }
        });
    let node = case.node();
    plays_over_wss_only(&case, &node);
    refused(&case.house.coordinator, "description-forged", 1);
}

#[test]
fn descriptions_whose_signatures_were_taken_off_are_refused_on_both_sides() {
    let strip = |json: &mut Value| {
        let sdp = json["sdp"]["sdp"].take();
        json["sdp"] = sdp;
    };
    let case = Case::new();
    case.mitm
        .change("signaling/ws", Towards::Launcher, move |json| {
            if is(json, "answer") {
                strip(json);
            }
        });
    let node = case.node();
    let problem = node.problem("signaling-untrusted");
    assert_eq!(problem["detail"], "description-unsigned");
    plays_over_wss_only(&case, &node);
    drop(node);

    case.mitm
        .change("signaling/ws", Towards::Coordinator, move |json| {
            if is(json, "offer") {
                strip(json);
            }
        });
    let node = case.node();
    plays_over_wss_only(&case, &node);
    refused(&case.house.coordinator, "description-unsigned", 1);
}

#[test]
fn an_offer_that_is_sent_twice_counts_once_and_one_that_comes_back_is_no_answer() {
    let case = Case::new();
    case.mitm.meddle(|message| {
        let twice = is(&message.json, "offer") && message.towards == Towards::Coordinator;
        vec![message.json.clone(); if twice { 2 } else { 1 }]
    });
    let node = case.node_with(json!({"p2p": {"prefer_wait_ms": 15_000}}));
    node.event_from(0, "state", PLAY, |event| {
        event["state"] == "connected" && event["path"] == "direct"
    });
    refused(&case.house.coordinator, "description-replayed", 1);
    assert_eq!(node.events("problem"), Vec::<Value>::new());
    drop(node);

    // Reflected: the launcher's own signed words, called an answer.
    let offer = Arc::new(Mutex::new(Value::Null));
    case.mitm.meddle(move |message| {
        let mut json = message.json.clone();
        let mut held = offer.lock().unwrap();
        if is(&json, "offer") {
            *held = json["sdp"].clone();
        } else if is(&json, "answer") {
            json["sdp"] = held.clone();
            json["sdp"]["type"] = json!("answer");
        }
        vec![json]
    });
    let node = case.node();
    let problem = node.problem("signaling-untrusted");
    assert_eq!(problem["detail"], "description-forged");
    plays_over_wss_only(&case, &node);
}

#[test]
fn an_answer_of_another_session_is_refused() {
    let case = Case::new();
    // Every launcher gets the first answer that there ever was.
    let first = Arc::new(Mutex::new(None));
    case.mitm.meddle(move |message| {
        let mut json = message.json.clone();
        if is(&json, "answer") && message.towards == Towards::Launcher {
            let mut first = first.lock().unwrap();
            json["sdp"] = first.get_or_insert_with(|| json["sdp"].clone()).clone();
        }
        vec![json]
    });
    let node = case.node_with(json!({"p2p": {"prefer_wait_ms": 15_000}}));
    node.event_from(0, "state", PLAY, |event| event["path"] == "direct");
    drop(node);
    let node = case.node();
    let problem = node.problem("signaling-untrusted");
    // Its number is that of the offer it answered, which no later session's offer has.
    assert_eq!(problem["detail"], "description-replayed");
    plays_over_wss_only(&case, &node);
}

#[test]
fn an_older_policy_does_not_count_after_a_newer_one() {
    let case = Case::new();
    // The first policy comes again behind each later one.
    let first = Mutex::new(None);
    case.mitm.meddle(move |message| {
        let json = message.json.clone();
        if !is(&json, "policy") || message.towards != Towards::Launcher {
            return vec![json];
        }
        let older = first.lock().unwrap().get_or_insert(json.clone()).clone();
        if older == json {
            vec![json]
        } else {
            vec![json, older]
        }
    });
    let node = case.node_with(json!({"p2p": {"prefer_wait_ms": 15_000}}));
    let (mut at, _) = node.event_from(0, "state", PLAY, |event| event["path"] == "direct");
    // They are dated to the second, so two seconds of play lie between them.
    for _ in 0..3 {
        (at, _) = node.event_from(at, "metrics", PLAY, |_| true);
    }
    println!("{}", case.house.admin(&["p2p", "off"]));
    let (at, _) = node.event_from(at, "moved", PLAY, |event| event["to"] == "wss");
    node.wait_line(0, "the older policy", PLAY, |line| {
        let fits = line.text.contains("an older policy came after a newer one");
        fits.then_some(())
    });
    let mut client = case
        .house
        .client(bridge(&node), "test1", &["--seconds", "2"]);
    good_end(&mut client, PLAY);
    for line in node.lines().split_off(at) {
        let event = line.event.unwrap_or_default();
        assert_ne!(event["to"], "direct", "{event}");
        assert_ne!(event["metrics"]["path"], "direct", "{event}");
    }
}

/// What Mallory would put in the endpoint's place.
fn certificate(key: PublicKey, issuer: &Identity, now: u64) -> Certificate {
    Certificate {
        serial: Serial([7; 16]),
        account: 0,
        name: "endpoint".into(),
        key,
        role: CertificateRole::Endpoint,
        may_host: false,
        issued: now,
        expires: now + 3600,
        issuer: issuer.key().id(),
    }
}

fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[test]
fn an_endpoint_that_the_coordinator_did_not_certify_is_refused_before_a_link_is_opened() {
    let case = Case::new();
    let (mallory, real) = (identity(), case.coordinator_key());
    let now = unix_now();
    let forged = certificate(mallory.key(), &mallory, now);
    let as_real = Certificate {
        issuer: real.key().id(),
        ..forged.clone()
    };
    let old = Certificate {
        issued: now - 7200,
        expires: now - 3600,
        ..as_real.clone()
    };
    let players = Certificate {
        role: CertificateRole::Player,
        account: 1,
        ..as_real.clone()
    };
    let sign = |by: &Identity, says: &Certificate| Some(hex::encode(by.certify(says).unwrap()));
    for (what, shown, problem, reason) in [
        ("none", None, "certificate-missing", "certificate-missing"),
        (
            "rubbish",
            Some("00".repeat(90)),
            "certificate-invalid",
            "certificate-malformed",
        ),
        (
            "his own",
            sign(&mallory, &forged),
            "certificate-invalid",
            "certificate-forged",
        ),
        (
            "his own in another's name",
            sign(&mallory, &as_real),
            "certificate-invalid",
            "certificate-forged",
        ),
        (
            "a player's",
            sign(&real, &players),
            "certificate-invalid",
            "certificate-misused",
        ),
        (
            "an old one",
            sign(&real, &old),
            "certificate-expired",
            "certificate-expired",
        ),
    ] {
        let key = mallory.key();
        case.mitm.change("/join", Towards::Launcher, move |grant| {
            grant["endpoint_key"] = json!(key);
            grant["endpoint_certificate"] = json!(shown);
        });
        println!("{what}:");
        case.refuses(problem, reason, 3);
    }
    // The real endpoint's certificate for another key.
    let key = mallory.key();
    case.mitm.change("/join", Towards::Launcher, move |grant| {
        grant["endpoint_key"] = json!(key);
    });
    case.refuses("certificate-invalid", "certificate-misused", 3);
    let asked = |part: &str| {
        let seen = case.mitm.seen();
        seen.iter()
            .filter(|message| message.path.contains(part))
            .count()
    };
    assert_eq!(asked("signaling/ws"), 0, "no set-up was begun");
}

#[test]
fn a_device_that_is_put_in_the_launchers_place_is_refused_by_the_coordinator() {
    let case = Case::new();
    case.house.add_user("mallory");
    // Mallory's own session shows her certificate.
    let plan = NodePlan {
        user: "mallory",
        coordinator: Some(case.mitm.address()),
        ..NodePlan::default()
    };
    drop(case.house.playing(&plan));
    let seen = case.mitm.seen().into_iter();
    let mut joins = seen.filter(|message| {
        message.path.contains("/join") && message.towards == Towards::Coordinator
    });
    let mallorys = joins.next().unwrap().json;
    case.mitm
        .change("/join", Towards::Coordinator, move |request| {
            *request = mallorys.clone();
        });
    let mut node = case.node();
    node.problem("certificate-invalid");
    assert_eq!(node.exit(PATIENCE).code, Some(3));
    refused(&case.house.coordinator, "certificate-misused", 1);

    case.mitm.change("/join", Towards::Coordinator, |request| {
        request.as_object_mut().unwrap().remove("certificate");
    });
    let mut node = case.node();
    node.problem("certificate-missing");
    assert_eq!(node.exit(PATIENCE).code, Some(3));
    refused(&case.house.coordinator, "certificate-missing", 1);
}

#[test]
fn a_coordinator_with_another_key_gets_no_password() {
    let case = Case::new();
    // A launcher that has met the real one.
    let node = case.node();
    bridge(&node);
    drop(node);
    let key = case.house.admin(&["key"]).trim().to_owned();
    assert_eq!(
        PublicKey::from_hex(&key),
        Some(case.coordinator_key().key())
    );
    let met = std::fs::read_to_string(case.house.dir().join("known_coordinators.json")).unwrap();
    assert!(met.contains(&key), "{met}");

    let seen = case.mitm.seen().len();
    let mallory = Arc::new(identity());
    let nonce = Arc::new(Mutex::new([0; 16]));
    let as_mallory = {
        let mallory = Arc::clone(&mallory);
        move |shown: PublicKey, path: &str| {
            let mut nonce = nonce.lock().unwrap();
            let text = path.split_once("nonce=").unwrap().1;
            hex::decode_to_slice(text, &mut *nonce).unwrap();
            let time = unix_now();
            let message = identity_message(&shown, &nonce, time);
            let signature = hex::encode(mallory.sign(&message).unwrap());
            json!({"public_key": shown, "time": time, "signature": signature})
        }
    };
    let real = case.coordinator_key().key();
    for (what, shown, problem, reason) in [
        (
            "her own key",
            Some(mallory.key()),
            "coordinator-key-changed",
            "coordinator-key-changed",
        ),
        (
            "the real key without holding it",
            Some(real),
            "coordinator-unproven",
            "coordinator-unproven",
        ),
        (
            "no key at all",
            None,
            "coordinator-unproven",
            "coordinator-unproven",
        ),
    ] {
        let as_mallory = as_mallory.clone();
        case.mitm.meddle(move |message| {
            let proof = message.path.contains("/identity");
            if !proof || message.towards == Towards::Coordinator {
                return vec![message.json.clone()];
            }
            let shown = shown.map(|shown| as_mallory(shown, &message.path));
            shown.into_iter().collect()
        });
        println!("{what}:");
        case.refuses(problem, reason, 4);
    }
    // Also where certificates are not required: who once had a key has one.
    let mut node = case.node_with(json!({"security": {"require_certificates": false}}));
    node.problem("coordinator-unproven");
    assert_eq!(node.exit(PATIENCE).code, Some(4));
    for message in case.mitm.seen().split_off(seen) {
        assert!(message.path.contains("/identity"), "{}", message.path);
    }
}

#[test]
fn a_configured_key_counts_from_the_first_meeting_on() {
    let case = Case::new();
    let wrong = identity().key().to_string();
    let config = |key: &str| json!({"coordinator": {"public_key": key}});
    let mut node = case.node_with(config(&wrong));
    let problem = node.problem("coordinator-key-changed");
    assert!(
        problem["detail"].as_str().unwrap().contains(&wrong),
        "{problem}"
    );
    assert_eq!(node.exit(PATIENCE).code, Some(4));
    let key = case.house.admin(&["key"]);
    let node = case.node_with(config(key.trim()));
    bridge(&node);
    assert!(!case.house.dir().join("known_coordinators.json").exists());
}

#[test]
fn a_certificate_that_expired_unnoticed_is_renewed_and_the_join_goes_on() {
    let case = Case::new();
    let real = case.coordinator_key();
    // What a launcher shows whose machine has slept: its own certificate, as of long ago.
    let first = Mutex::new(true);
    case.mitm.meddle(move |message| {
        let mut json = message.json.clone();
        let asks = message.path.contains("/join") && message.towards == Towards::Coordinator;
        if asks && std::mem::take(&mut *first.lock().unwrap()) {
            let shown = hex::decode(json["certificate"].as_str().unwrap()).unwrap();
            let says = Certificate::read(&shown).unwrap().says;
            let old = Certificate {
                issued: says.issued - 7200,
                expires: says.issued - 3600,
                ..says
            };
            json["certificate"] = json!(hex::encode(real.certify(&old).unwrap()));
        }
        vec![json]
    });
    let node = case.node();
    bridge(&node);
    refused(&case.house.coordinator, "certificate-expired", 1);
    assert_eq!(node.events("problem"), Vec::<Value>::new());
    let certified = |line: &&warp_tests::process::Line| line.text.contains("device certified");
    assert_eq!(node.lines().iter().filter(certified).count(), 2);
}

#[test]
fn a_launcher_that_requires_nothing_still_sees_what_was_taken_off() {
    let case = Case::new();
    let lax = json!({"security": {"require_certificates": false}});
    case.mitm.change("signaling/ws", Towards::Launcher, |json| {
        if is(json, "answer") {
            let text = json["sdp"]["sdp"].take();
            json["sdp"] = text;
        }
    });
    let node = case.node_with(lax.clone());
    let problem = node.problem("signaling-untrusted");
    assert_eq!(problem["detail"], "description-unsigned");
    plays_over_wss_only(&case, &node);
    drop(node);
    case.mitm.change("/join", Towards::Launcher, |grant| {
        grant
            .as_object_mut()
            .unwrap()
            .remove("endpoint_certificate");
    });
    let mut node = case.node_with(lax);
    node.problem("certificate-missing");
    assert_eq!(node.exit(PATIENCE).code, Some(3));
}

/// The fields of the coordinator's last line about a certified device of that account.
fn certified(house: &House, account: &str) -> (String, String) {
    let wanted = format!("name=\"{account}\"");
    let lines = house.coordinator.lines();
    let line = lines
        .iter()
        .rev()
        .find(|line| line.text.contains("device certified") && line.text.contains(&wanted));
    let text = &line.expect("a certified device").text;
    let field = |name: &str| {
        let mut words = text.split(' ');
        let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.expect("a field").to_owned()
    };
    (field("serial"), field("device"))
}

#[test]
fn a_device_revoked_on_the_command_line_is_out_within_a_minute_and_others_play_on() {
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
    let (serial, key) = certified(&house, "alice");
    let list = house.admin(&["device", "list", "alice"]);
    assert!(
        list.contains(&serial) && list.contains(&key) && list.contains("\tvalid"),
        "{list}"
    );

    let began = Instant::now();
    assert_eq!(house.admin(&["device", "revoke", &serial]), "alice\n");
    alice.wait_line(0, "the end", MINUTE, |line| {
        let event = line.event.as_ref()?;
        (event["problem"]["code"] == "device-revoked").then_some(())
    });
    println!(
        "out {} ms after the command began",
        began.elapsed().as_millis()
    );
    assert!(began.elapsed() < MINUTE);
    assert_eq!(alice.exit(PATIENCE).code, Some(1));
    let list = house.admin(&["device", "list", "alice"]);
    assert!(list.contains("\trevoked"), "{list}");
    drop(client);

    // With the password she is back, as another device; bob never noticed.
    let (again, _) = house.playing(&NodePlan::default());
    assert_ne!(certified(&house, "alice").1, key);
    drop(again);
    bobs.terminate();
    let mut bobs = bobs;
    good_end(&mut bobs, PLAY);
}

#[test]
fn an_accounts_devices_revoked_on_the_command_line_are_out_within_a_minute() {
    let house = House::new();
    let (mut node, login) = house.playing(&NodePlan {
        config: json!({"p2p": {"enabled": false}}),
        ..NodePlan::default()
    });
    let client = house.client(login, "test1", &["--seconds", "0"]);
    on_map(&client);
    let began = Instant::now();
    assert_eq!(house.admin(&["user", "revoke-devices", "ALICE"]), "alice\n");
    node.problem("device-revoked");
    println!(
        "out {} ms after the command began",
        began.elapsed().as_millis()
    );
    assert_eq!(node.exit(PATIENCE).code, Some(1));
    drop(client);
    house.playing(&NodePlan::default());
}

#[test]
fn certificates_are_renewed_while_the_game_goes_on() {
    let house = House::with(Plan {
        coordinator: json!({"certificates": {"lifetime_seconds": 10}}),
        ..Plan::default()
    });
    let (node, login) = house.playing(&NodePlan::default());
    let arguments = ["--rate", "20", "--seconds", "0", "--change-every", "0"];
    let mut client = house.client(login, "test1", &arguments);
    on_map(&client);
    let from = node.mark();
    let mut at = 0;
    for _ in 0..3 {
        (at, _) = node.wait_line(at, "a certificate", PATIENCE, |line| {
            line.text.contains("device certified").then_some(())
        });
    }
    client.terminate();
    good_end(&mut client, PLAY);
    let later = node.lines().split_off(from).into_iter();
    let events: Vec<Value> = later.filter_map(|line| line.event).collect();
    let disturbed = |event: &&Value| {
        ["moved", "problem"].contains(&event["event"].as_str().unwrap_or_default())
    };
    assert_eq!(events.iter().find(disturbed), None);
}
