//! More requests than one account, or one address with many accounts, may send.

use std::net::Ipv4Addr;
use std::time::Instant;

use serde_json::json;

use crate::bystander::Bystander;
use crate::site::{Answers, Client, Site, count};

/// Requests of a flood.
const FLOOD: usize = 3000;

/// Asks for `path` so many times with these tokens, in turn; gives how many were answered, and how many
/// seconds that took. All others are refused for being too many.
async fn flood(site: &Site, client: &Client, path: &str, tokens: &[String]) -> (usize, f64) {
    let figures = site.figures().await;
    let begun = Instant::now();
    let mut answers = Answers::new();
    for token in tokens.iter().cycle().take(FLOOD) {
        count(&mut answers, &client.get(path, token).await);
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{} accounts: {answers:?} in {seconds:.1} s", tokens.len());
    let answered = answers.remove(&(200, "-".into())).unwrap_or(0);
    let refused = answers.remove(&(429, "too-many-requests".into()));
    assert!(answers.is_empty(), "{answers:?}");
    let refused = refused.unwrap_or(0);
    assert_eq!(answered + refused, FLOOD);
    let series = r#"warp_rate_limited_total{what="request"}"#;
    site.counted(&figures, series, refused).await;
    (answered, seconds)
}

#[tokio::test]
async fn floods_of_requests_are_refused_beyond_the_rate_and_cost_nobody_else() {
    // The bystander sends ten a second of each class at most, so these are enough for it.
    let site = Site::new(json!({"limits": {
        "requests": {"burst": 300, "per_minute": 1200},
        "address_requests": {"burst": 500, "per_minute": 3000},
    }}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let client = site.client(Ipv4Addr::new(127, 0, 0, 2));
    let token = client.player("hasty").await.token;
    let (answered, seconds) = flood(&site, &client, "zones/", &[token]).await;
    let most = 301.0 + 20.0 * seconds;
    assert!(
        answered >= 300 && (answered as f64) <= most,
        "{answered} of one account"
    );
    bystander.report("one account asks and asks", from);

    let from = Instant::now();
    let client = site.client(Ipv4Addr::new(127, 0, 0, 3));
    let mut tokens = Vec::new();
    for number in 0..4 {
        tokens.push(client.player(&format!("hasty{number}")).await.token);
    }
    let (answered, seconds) = flood(&site, &client, "hosts/", &tokens).await;
    // To sign in took a few of the address's.
    let most = 501.0 + 50.0 * seconds;
    assert!(
        answered >= 400 && (answered as f64) <= most,
        "{answered} of one address"
    );
    bystander.report("four accounts of one address ask and ask", from);
}
