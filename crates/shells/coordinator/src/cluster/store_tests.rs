//! The script in a real Redis keeps the rules that `warp_coordinator_core::cluster` counts on.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use super::*;

/// A Redis that ends with its value.
struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    /// `None`: it is not installed.
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ]);
        let mut process = command.stdout(Stdio::piped()).spawn().ok()?;
        let out = BufReader::new(process.stdout.take().unwrap());
        let mut lines = out.lines();
        let ready = lines.any(|line| line.unwrap().contains("Ready to accept"));
        assert!(ready);
        // So that it can go on writing.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { process, port })
    }

    fn signal(&self, name: &str) {
        let mut command = Command::new("kill");
        let done = command
            .args([name, &self.process.id().to_string()])
            .status();
        assert!(done.unwrap().success());
    }

    fn store(&self) -> ClusterStore {
        ClusterStore::new(&Secret::new(format!("redis://127.0.0.1:{}/", self.port))).unwrap()
    }

    async fn flush(&self) {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("FLUSHALL")
            .query_async::<()>(&mut connection)
            .await
            .unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn node(name: &str, key: &str) -> Presence {
    Presence {
        view: NodeView {
            url: format!("http://{name}:1"),
            token: format!("token-of-{name}"),
        },
        keys: vec![
            ("identity.key", key.to_owned()),
            ("jwt.key", "same".to_owned()),
        ],
        times: LeaseTimes {
            lease: Duration::from_secs(2),
        },
    }
}

#[tokio::test]
async fn the_script_keeps_the_rules_of_the_lease() {
    let Some(redis) = Redis::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let store = redis.store();
    let (a, b) = (node("a", "k"), node("b", "k"));
    let ask = async |who: &Presence, ask| store.beat(who, ask).await.unwrap();
    // It has just begun, and may have forgotten a lease.
    assert_eq!(ask(&a, Ask::Acquire).await.answer, Answer::TooEarly);
    let began = Instant::now();
    let (beat, fence) = loop {
        let beat = ask(&a, Ask::Acquire).await;
        if let Answer::Granted { fence, unbroken } = beat.answer {
            assert!(!unbroken);
            break (beat, fence);
        }
        assert!(began.elapsed() < 3 * a.times.guard());
        sleep(Duration::from_millis(100)).await;
    };
    assert!(began.elapsed() + Duration::from_secs(1) > a.times.guard());
    assert_eq!(beat.owner, Some(a.view.clone()));
    let held = ask(&b, Ask::Acquire).await;
    assert!(matches!(held.answer, Answer::Held { remaining } if remaining <= b.times.lease));
    assert_eq!(held.owner, Some(a.view.clone()));
    assert_eq!(ask(&a, Ask::Renew { fence }).await.answer, Answer::Renewed);
    // It forgets everything: who may act goes on, and nobody else comes in between.
    redis.flush().await;
    assert_eq!(ask(&a, Ask::Renew { fence }).await.answer, Answer::Renewed);
    assert!(matches!(
        ask(&b, Ask::Acquire).await.answer,
        Answer::Held { .. }
    ));
    // The same one again has a new number, and is told that nobody was there meanwhile.
    let again = ask(&a, Ask::Acquire).await.answer;
    let Answer::Granted {
        fence: second,
        unbroken: true,
    } = again
    else {
        panic!("{again:?}");
    };
    assert!(second > fence);
    // Given back, and at once another's.
    let mut news = Box::pin(store.listen().await.unwrap());
    store.leave(&a).await.unwrap();
    assert_eq!(news.next().await, Some(News::Lease));
    let taken = ask(&b, Ask::Acquire).await.answer;
    let Answer::Granted {
        fence: third,
        unbroken: false,
    } = taken
    else {
        panic!("{taken:?}");
    };
    assert!(third > second);
    // What the one before sends late changes nothing, not even when the lease has run out.
    let late = Ask::Renew { fence: second };
    assert!(matches!(ask(&a, late).await.answer, Answer::Held { .. }));
    sleep(b.times.lease + Duration::from_millis(100)).await;
    assert!(matches!(ask(&a, late).await.answer, Answer::Held { .. }));
    assert_eq!(
        ask(&b, Ask::Renew { fence: third }).await.answer,
        Answer::Renewed
    );
}

#[tokio::test]
async fn a_node_with_other_keys_is_told_which() {
    let Some(redis) = Redis::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let store = redis.store();
    store.look(&node("a", "k")).await.unwrap();
    match store.look(&node("b", "other")).await {
        Err(StoreTrouble::Keys { url, files }) => {
            assert_eq!(
                (url.as_str(), files),
                ("http://a:1", vec!["identity.key".to_owned()])
            );
        }
        other => panic!("{other:?}"),
    }
    // Itself with another key, after it was given one.
    store.look(&node("a", "other")).await.unwrap();
    store.look(&node("b", "other")).await.unwrap();
}

#[tokio::test]
async fn a_store_that_stands_still_holds_nobody_up() {
    let Some(redis) = Redis::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let store = redis.store();
    let a = node("a", "k");
    store.look(&a).await.unwrap();
    redis.signal("-STOP");
    for _ in 0..3 {
        let began = Instant::now();
        assert!(matches!(store.look(&a).await, Err(StoreTrouble::Slow)));
        assert!(
            began.elapsed() < 3 * store::CALL_TIME,
            "{:?}",
            began.elapsed()
        );
    }
    redis.signal("-CONT");
    store.look(&a).await.unwrap();
}

#[tokio::test]
async fn after_it_stood_still_the_store_waits_for_who_held_the_lease() {
    let Some(redis) = Redis::start() else {
        println!("SKIPPED: redis-server is not installed");
        return;
    };
    let store = redis.store();
    let (a, b) = (node("a", "k"), node("b", "k"));
    while !matches!(
        store.beat(&a, Ask::Acquire).await.unwrap().answer,
        Answer::Granted { .. }
    ) {
        sleep(Duration::from_millis(200)).await;
    }
    redis.signal("-STOP");
    sleep(a.times.lease + a.times.beat()).await;
    redis.signal("-CONT");
    // Nobody has it, and b is not given it yet.
    let beat = store.beat(&b, Ask::Acquire).await.unwrap();
    assert_eq!((beat.answer, beat.owner), (Answer::TooEarly, None));
    let beat = store.beat(&a, Ask::Acquire).await.unwrap();
    assert!(matches!(
        beat.answer,
        Answer::Granted { unbroken: true, .. }
    ));
    // Where a does not come, b has it after a moment.
    redis.signal("-STOP");
    sleep(a.times.lease + a.times.beat()).await;
    redis.signal("-CONT");
    let began = Instant::now();
    while !matches!(
        store.beat(&b, Ask::Acquire).await.unwrap().answer,
        Answer::Granted {
            unbroken: false,
            ..
        }
    ) {
        assert!(began.elapsed() < Duration::from_secs(3));
        sleep(Duration::from_millis(100)).await;
    }
}
