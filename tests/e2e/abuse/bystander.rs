//! The bystander: two players who exchange signals, and ask for the lists of zones and hosts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use crate::site::{Client, Grant, PATIENCE, Player, Site, Socket, ZONES};

/// Pause between two of its rounds: one request and one signal each way.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest that an answer may take under any attack. Generous: the machine of the test does the
/// attack as well, and other things.
const BOUND: Duration = Duration::from_secs(5);
/// Rounds that a quiet time and an attack have at least.
const ROUNDS: usize = 20;

#[derive(Default)]
struct Seen {
    /// When it was asked, and how long the answer took.
    requests: Vec<(Instant, Duration)>,
    signals: Vec<(Instant, Duration)>,
}

/// A client that minds its own business.
pub(crate) struct Bystander {
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Bystander {
    /// Signs in, joins, and begins.
    pub(crate) fn of(site: &Site) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (stop, stopped) = watch::channel(false);
        let (ready, is_ready) = mpsc::channel();
        let (to, notes) = (site.address(), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut pair = Pair::new(to).await;
                ready.send(()).unwrap();
                while !*stopped.borrow() {
                    pair.round(&notes).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        });
        let this = Self {
            seen,
            stop,
            thread: Some(thread),
        };
        let began = is_ready.recv_timeout(PATIENCE);
        began.expect("the bystander has signed in; see above why not");
        this
    }

    /// Looks on for some rounds, in which nothing is attacked.
    pub(crate) fn quiet(&self) -> Instant {
        let begun = Instant::now();
        self.report("idle", begun);
        Instant::now()
    }

    /// Prints how it fared since `from`, and fails when an answer was late or did not come. Waits for
    /// so many rounds that this says something.
    pub(crate) fn report(&self, when: &str, from: Instant) {
        let deadline = Instant::now() + PATIENCE;
        let since = |all: &[(Instant, Duration)]| -> Vec<Duration> {
            let late = all.iter().filter(|(at, _)| *at >= from);
            late.map(|(_, took)| *took).collect()
        };
        loop {
            let (requests, signals) = {
                let seen = self.seen.lock().unwrap();
                (since(&seen.requests), since(&seen.signals))
            };
            if requests.len() >= ROUNDS && signals.len() >= ROUNDS {
                for (what, mut all) in [("requests", requests), ("signals", signals)] {
                    all.sort();
                    let (p99, worst) =
                        (all[(all.len() * 99).div_ceil(100) - 1], all[all.len() - 1]);
                    println!(
                        "bystander, {when}: {} {what}, p99 {:.1} ms, worst {:.1} ms",
                        all.len(),
                        p99.as_secs_f64() * 1e3,
                        worst.as_secs_f64() * 1e3
                    );
                    assert!(worst <= BOUND, "{when}: {what} took up to {worst:?}");
                }
                return;
            }
            let alive = self.thread.as_ref().is_some_and(|t| !t.is_finished());
            assert!(alive, "{when}: the bystander was refused; see above");
            assert!(Instant::now() < deadline, "{when}: nobody is served");
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the bystander failed");
        }
    }
}

struct Pair {
    player: Player,
    sockets: [Socket; 2],
    /// Where the game would be; a session without one ends.
    _links: [Socket; 2],
    peers: [String; 2],
    rounds: usize,
}

impl Pair {
    async fn new(to: SocketAddr) -> Self {
        let client = Client::new(to, Ipv4Addr::LOCALHOST);
        let player = client.player("bystander").await;
        let friend = client.player("friend").await;
        let (grant, other) = (player.join(ZONES[0]).await, friend.join(ZONES[0]).await);
        let path = format!("links/{}/guests", grant.session);
        let guest = json!({"peer_id": other.peer});
        let (status, body) = client.post(&path, &player.token, guest).await;
        assert_eq!(status, 204, "{body}");
        let link = |player: &Player, grant: &Grant| {
            let path = format!("link/ws?session_id={}", grant.session);
            let (client, token) = (client.clone(), player.token.clone());
            async move { client.socket(&path, &token).await.expect("a link socket") }
        };
        let links = [link(&player, &grant).await, link(&friend, &other).await];
        let mut sockets = [
            player.signaling(&grant).await,
            friend.signaling(&other).await,
        ];
        let join = json!({"type": "join", "session_id": grant.session});
        let join = Message::text(join.to_string());
        sockets[1].send(join).await.unwrap();
        let joined = |signal: &Value| {
            signal["type"] == "session-joined" && signal["session_id"] == grant.session.as_str()
        };
        until(&mut sockets[1], joined).await;
        Self {
            player,
            sockets,
            _links: links,
            peers: [grant.peer, other.peer],
            rounds: 0,
        }
    }

    async fn round(&mut self, seen: &Mutex<Seen>) {
        self.rounds += 1;
        let path = ["zones/", "hosts/"][self.rounds % 2];
        let asked = Instant::now();
        let (status, body) = self.player.client.get(path, &self.player.token).await;
        assert_eq!(status, 200, "{path}: {body}");
        seen.lock().unwrap().requests.push((asked, asked.elapsed()));
        for (from, to) in [(0, 1), (1, 0)] {
            let mark = format!("{}-{from}", self.rounds);
            let sent = Instant::now();
            let signal = json!({"type": "offer", "to": self.peers[to], "sdp": mark});
            let signal = Message::text(signal.to_string());
            self.sockets[from].send(signal).await.expect("it is open");
            until(&mut self.sockets[to], |signal| {
                signal["sdp"] == mark.as_str()
            })
            .await;
            seen.lock().unwrap().signals.push((sent, sent.elapsed()));
        }
    }
}

/// Reads until a signal fits. An error signal fails.
pub(crate) async fn until(socket: &mut Socket, fits: impl Fn(&Value) -> bool) -> Value {
    let reading = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let signal: Value = serde_json::from_str(&text).unwrap();
                    if fits(&signal) {
                        return signal;
                    }
                    assert_ne!(signal["type"], "error", "{signal}");
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?} instead of a signal"),
            }
        }
    };
    let read = tokio::time::timeout(PATIENCE, reading).await;
    read.expect("the signal did not come")
}
