//! Real files, signed with real keys, over the real coordinator.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use warp_coordinator::{Coordinator, CoordinatorConfig, Running};
use warp_protocol::{
    ProblemCode,
    update::{Channel, Offer},
};
use warp_updates::{
    Asker, Checked,
    publish::{Publication, check_file, new_key, read_key, sign_file, verify_folder},
};

const PLATFORM: &str = "linux-x86_64-portable";

/// An operator with a key, a coordinator that serves its folder, and a launcher of version 1.0.0.
struct Operator {
    running: Running,
    folder: tempfile::TempDir,
    asker: Asker,
}

impl Operator {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = new_key(&folder.path().join("key"), None).unwrap();
        let config = CoordinatorConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: folder.path().join("data"),
            updates: Some(folder.path().join("updates")),
            ..CoordinatorConfig::default()
        };
        let running = Coordinator::start(config).await.unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let asker = Asker {
            base: format!("{}/api/v1", running.url),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            key,
            channel: Channel::Stable,
            platform: PLATFORM.parse().unwrap(),
            current: "1.0.0".parse().unwrap(),
            install: "someone".into(),
        };
        Self {
            running,
            folder,
            asker,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Publishes a package of a megabyte that differs from version to version.
    fn publish(&self, version: &str, channel: Channel) -> PathBuf {
        let package = self.path(&format!("launcher-{version}"));
        fs::write(&package, bytes(version)).unwrap();
        let publication = Publication {
            package: &package,
            version: version.parse().unwrap(),
            channel,
            platform: PLATFORM.parse().unwrap(),
            percentage: 100,
            notes: format!("What is new in {version}."),
            date: std::time::SystemTime::now(),
        };
        let key = read_key(&self.path("key"), None).unwrap();
        publication.publish(&self.path("updates"), &key).unwrap()
    }

    async fn offer(&self) -> Offer {
        self.asker.ask().await.unwrap().expect("a release is there")
    }

    async fn fetch(&self) -> Result<Checked, ProblemCode> {
        let offer = self.offer().await;
        let parts = self.path("parts");
        let fetched = self.asker.fetch(&offer, &parts, false, |_, _| {}).await;
        fetched.map_err(|problem| problem.code)
    }
}

fn bytes(version: &str) -> Vec<u8> {
    let seed: u32 = version.bytes().map(u32::from).sum();
    (0..1_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8)
        .collect()
}

/// Puts a release in the place of another: what an attacker with the operator's folder can do, who
/// has not the key.
fn disguise(release: &Path, as_version: &str) {
    let file = release.join("release.json");
    let text = fs::read_to_string(&file).unwrap();
    let version = release.file_name().unwrap().to_str().unwrap();
    let text = text.replace(
        &format!("\"version\": \"{version}\""),
        &format!("\"version\": \"{as_version}\""),
    );
    fs::write(&file, text).unwrap();
    fs::rename(release, release.with_file_name(as_version)).unwrap();
}

#[tokio::test]
async fn a_good_update_arrives_whole_and_says_what_is_new() {
    let operator = Operator::new().await;
    assert_eq!(
        operator.asker.ask().await.unwrap(),
        None,
        "nothing is published"
    );
    let folder = operator.publish("1.1.0", Channel::Stable);
    let note = verify_folder(&folder, &operator.asker.key).unwrap();
    assert_eq!(note.version, "1.1.0");
    let offer = operator.offer().await;
    assert_eq!(offer.version, "1.1.0");
    assert_eq!(offer.notes, "What is new in 1.1.0.");
    let checked = operator.fetch().await.unwrap();
    assert_eq!(checked.version.to_string(), "1.1.0");
    assert!(checked.bytes == bytes("1.1.0"));
    let left = fs::read_dir(operator.path("parts")).unwrap().count();
    assert_eq!(left, 0, "what is done with is not kept");
    operator.running.shutdown().await;
}

#[tokio::test]
async fn a_file_that_was_changed_after_it_was_signed_is_forged() {
    let operator = Operator::new().await;
    let folder = operator.publish("1.1.0", Channel::Stable);
    let package = folder.join("launcher-1.1.0");
    let mut changed = fs::read(&package).unwrap();
    changed[500_000] ^= 1;
    fs::write(&package, changed).unwrap();
    assert_eq!(operator.fetch().await, Err(ProblemCode::UpdateForged));
    assert!(verify_folder(&folder, &operator.asker.key).is_err());
    operator.running.shutdown().await;
}

#[tokio::test]
async fn a_signature_of_another_key_is_forged() {
    let mut operator = Operator::new().await;
    operator.publish("1.1.0", Channel::Stable);
    operator.asker.key = new_key(&operator.path("other"), None).unwrap();
    assert_eq!(operator.fetch().await, Err(ProblemCode::UpdateForged));
    operator.running.shutdown().await;
}

#[tokio::test]
async fn an_old_version_under_a_new_number_is_refused() {
    let operator = Operator::new().await;
    let old = operator.publish("0.9.0", Channel::Stable);
    disguise(&old, "1.1.0");
    assert_eq!(operator.offer().await.version, "1.1.0");
    assert_eq!(operator.fetch().await, Err(ProblemCode::UpdateSwapped));
    operator.running.shutdown().await;
}

#[tokio::test]
async fn an_old_version_under_its_own_number_is_refused() {
    let operator = Operator::new().await;
    let mut newer = operator.asker.clone();
    newer.current = "2.0.0".parse().unwrap();
    operator.publish("1.1.0", Channel::Stable);
    // The offer is for 1.0.0, and reaches 2.0.0 as if the coordinator had sent it there.
    let offer = operator.offer().await;
    let parts = operator.path("parts");
    let refused = newer.fetch(&offer, &parts, false, |_, _| {}).await;
    assert_eq!(refused.unwrap_err().code, ProblemCode::UpdateSwapped);
    assert_eq!(newer.ask().await.unwrap(), None);
    operator.running.shutdown().await;
}

#[tokio::test]
async fn a_release_of_another_channel_or_system_is_refused() {
    let operator = Operator::new().await;
    let canary = operator.publish("1.1.0", Channel::Canary);
    assert_eq!(
        operator.asker.ask().await.unwrap(),
        None,
        "canary is not for everybody"
    );
    // Moved over by somebody who has not the key.
    let stable = operator.path("updates/stable").join(PLATFORM);
    fs::create_dir_all(&stable).unwrap();
    fs::rename(&canary, stable.join("1.1.0")).unwrap();
    assert_eq!(operator.fetch().await, Err(ProblemCode::UpdateSwapped));
    let elsewhere = operator.path("updates/stable/linux-x86_64-deb");
    fs::rename(&stable, &elsewhere).unwrap();
    let mut asker = operator.asker.clone();
    asker.platform = "linux-x86_64-deb".parse().unwrap();
    let offer = asker.ask().await.unwrap().unwrap();
    let parts = operator.path("parts");
    let refused = asker.fetch(&offer, &parts, false, |_, _| {}).await;
    assert_eq!(refused.unwrap_err().code, ProblemCode::UpdateSwapped);
    operator.running.shutdown().await;
}

#[tokio::test]
async fn a_package_that_ends_early_is_incomplete() {
    let operator = Operator::new().await;
    operator.publish("1.1.0", Channel::Stable);
    // More than there is was announced: what arrives ends early, and nobody's connection broke.
    let mut offer = operator.offer().await;
    offer.size += 1;
    let parts = operator.path("parts");
    let refused = operator.asker.fetch(&offer, &parts, false, |_, _| {}).await;
    assert_eq!(refused.unwrap_err().code, ProblemCode::UpdateIncomplete);
    operator.running.shutdown().await;
}

#[tokio::test]
async fn the_version_that_runs_can_be_had_to_be_kept() {
    let operator = Operator::new().await;
    assert_eq!(operator.asker.ask_same().await.unwrap(), None);
    operator.publish("1.0.0", Channel::Stable);
    let offer = operator.asker.ask_same().await.unwrap().unwrap();
    let parts = operator.path("parts");
    let kept = operator
        .asker
        .fetch(&offer, &parts, true, |_, _| {})
        .await
        .unwrap();
    assert!(kept.bytes == bytes("1.0.0"));
    operator.running.shutdown().await;
}

/// Cuts every connection after so many bytes of answers, and notes what was asked for.
async fn cutting_proxy(to: String, after: usize) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&to).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = from_client.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..n]).to_lowercase();
                    let range = text.lines().find_map(|line| line.strip_prefix("range: "));
                    noted
                        .lock()
                        .unwrap()
                        .push(range.unwrap_or("whole").to_owned());
                    if to_server.write_all(&buffer[..n]).await.is_err() {
                        return;
                    }
                }
            });
            tokio::spawn(async move {
                let mut left = after;
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
                    let n = n.min(left);
                    left -= n;
                    if to_client.write_all(&buffer[..n]).await.is_err() || left == 0 {
                        return;
                    }
                }
            });
        }
    });
    (address.to_string(), asked)
}

#[tokio::test]
async fn a_download_goes_on_where_it_was_cut() {
    let operator = Operator::new().await;
    operator.publish("1.1.0", Channel::Stable);
    let offer = operator.offer().await;
    let server = operator
        .running
        .url
        .trim_start_matches("http://")
        .to_owned();
    let (proxy, asked) = cutting_proxy(server, 300_000).await;
    let mut asker = operator.asker.clone();
    asker.base = format!("http://{proxy}/api/v1");
    let most = AtomicU64::new(0);
    let parts = operator.path("parts");
    let progress = |at, of| {
        assert_eq!(of, 1_000_000);
        let before = most.swap(at, Ordering::SeqCst);
        assert!(at > before, "it never begins anew: {before}, then {at}");
    };
    let checked = asker.fetch(&offer, &parts, false, progress).await.unwrap();
    assert!(checked.bytes == bytes("1.1.0"));
    let asked = asked.lock().unwrap().clone();
    assert!(asked.len() >= 4, "{asked:?}");
    assert_eq!(asked[0], "whole");
    assert!(
        asked[1..].iter().all(|range| range.starts_with("bytes=")),
        "{asked:?}"
    );
    operator.running.shutdown().await;
}

#[test]
fn a_file_for_people_is_what_was_signed_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [file, secret, other] = ["SHA256SUMS", "key", "other"].map(|name| folder.path().join(name));
    fs::write(&file, "sums").unwrap();
    let public = new_key(&secret, None).unwrap();
    let another = new_key(&other, None).unwrap();
    check_file(&file, &public).unwrap_err();
    let beside = sign_file(&file, &read_key(&secret, None).unwrap()).unwrap();
    assert_eq!(beside, folder.path().join("SHA256SUMS.minisig"));
    check_file(&file, &public).unwrap();
    check_file(&file, &another).unwrap_err();
    fs::write(&file, "other sums").unwrap();
    check_file(&file, &public).unwrap_err();
}
