//! Floods of sign-ins, and a refresh token that comes a second time.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bystander::Bystander;
use crate::site::{Answers, Client, Site, count as tally};

/// Wrong sign-ins in all, in three floods.
const FLOOD: usize = 10_000;
/// At once: more than may wait for their hash.
const AT_ONCE: usize = 128;
/// By how much the coordinator's memory may grow, KiB: the hashes that run, the queue, and what the
/// allocator keeps.
const GROWTH: u64 = 128 * 1024;

/// Sends `count` wrong passwords: for `names` accounts, in turn from these clients.
async fn flood(clients: &[Client], names: usize, count: usize) -> Answers {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (next, clients) = (Arc::clone(&next), clients.to_vec());
        tasks.spawn(async move {
            let mut answers = Answers::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return answers;
                }
                let name = format!("victim{}", number % names);
                let body = json!({"username": name, "password": "not the password"});
                let client = &clients[number % clients.len()];
                tally(&mut answers, &client.post("auth/login", "", body).await);
            }
        });
    }
    let mut all = Answers::new();
    for answers in tasks.join_all().await {
        for (answer, times) in answers {
            *all.entry(answer).or_default() += times;
        }
    }
    all
}

#[tokio::test]
async fn ten_thousand_bad_sign_ins_are_refused_and_nobody_else_waits() {
    let site = Site::new(json!({"limits": {"address": {"burst": 20, "per_minute": 20}}}));
    let home = site.client(Ipv4Addr::LOCALHOST);
    let figures = site.figures().await;
    let mut refusals = Answers::new();
    for number in 0..2 {
        home.player(&format!("victim{number}")).await;
    }
    let bystander = Bystander::of(&site);
    let mut from = bystander.quiet();
    let before = site.memory();
    let one = vec![site.client(Ipv4Addr::new(127, 0, 0, 2))];
    let net = |last| site.client(Ipv4Addr::new(127, 0, 1, last));
    let many: Vec<Client> = (1..=200).map(net).collect();
    for (what, clients, names, count) in [
        ("one address, two accounts", &one, 2, FLOOD / 4),
        ("one address, 2,500 accounts", &one, 2500, FLOOD / 4),
        ("200 addresses, 5,000 accounts", &many, 5000, FLOOD / 2),
    ] {
        let begun = Instant::now();
        let answers = flood(clients, names, count).await;
        println!(
            "{what}: {answers:?} in {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        assert_eq!(answers.values().sum::<usize>(), count);
        let refused = |answer: &(u16, String)| {
            let (status, code) = (answer.0, answer.1.as_str());
            matches!(
                (status, code),
                (401, "wrong-password") | (429, "too-many-requests")
            )
        };
        assert!(answers.keys().all(refused), "{answers:?}");
        assert!(answers.contains_key(&(429, "too-many-requests".into())));
        for (answer, times) in answers {
            *refusals.entry(answer).or_default() += times;
        }
        bystander.report(what, from);
        from = Instant::now();
    }
    for ((_, code), times) in &refusals {
        let series = format!(r#"warp_sign_ins_total{{how="login",result="{code}"}}"#);
        site.counted(&figures, &series, *times).await;
    }
    let after = site.memory();
    println!("memory: {before} KiB before, {after} KiB after");
    assert!(after < before + GROWTH);
    // The accounts are as they were: the right password signs in as soon as a place is free.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (status, body) = home.sign_in("victim1").await;
        if status == 200 {
            break;
        }
        assert_eq!(status, 429, "{body}");
        assert!(Instant::now() < deadline, "locked out for good");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn a_refresh_token_that_comes_again_ends_the_copies_and_nobody_elses() {
    let site = Site::new(json!({}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let client = site.client(Ipv4Addr::new(127, 0, 0, 2));
    let player = client.player("robbed").await;
    let other = client.player("other").await;
    let figures = site.figures().await;
    let trade = |token: &str| {
        let (client, body) = (client.clone(), json!({"refresh_token": token}));
        async move { client.post("auth/refresh", "", body).await }
    };
    let (status, traded) = trade(&player.refresh).await;
    assert_eq!(status, 200, "{traded}");
    for _ in 0..20 {
        let (status, body) = trade(&player.refresh).await;
        assert_eq!(
            (status, &body["code"]),
            (401, &json!("token-expired")),
            "{body}"
        );
    }
    // Whoever has the newer one is out as well: nobody can tell whose it is.
    let newer = traded["refresh_token"].as_str().unwrap();
    assert_eq!(trade(newer).await.0, 401);
    site.logged(&["a refresh token came a second time"]);
    site.counted(&figures, "warp_refresh_reused_total", 1).await;
    let series = r#"warp_sign_ins_total{how="refresh",result="token-expired"}"#;
    site.counted(&figures, series, 21).await;
    assert_eq!(trade(&other.refresh).await.0, 200);
    assert_eq!(client.sign_in(&player.name).await.0, 200);
    bystander.report("replayed refresh tokens", from);
}
