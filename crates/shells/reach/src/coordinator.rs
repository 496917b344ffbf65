//! Who answers at the coordinator's address, how fast, and what time it is there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Response;
use serde_json::Value;
use tokio::time::Instant;
use warp_protocol::rest::IceServer;
use warp_reach_core::report::{Coordinator, Reached};
use warp_reach_core::scrub::without_user;

/// How long one request may take.
const REQUEST: Duration = Duration::from_millis(1800);
/// Longest answer that is read, bytes. The coordinator's has below one KiB; a sign-in page may be
/// longer, and needs no reading to be known as one.
const MAX_ANSWER: usize = 16 * 1024;
/// What the coordinator calls itself.
const SERVICE: &str = "warp-coordinator";
/// How many STUN servers of the coordinator are taken, and how long their URLs may be.
const MAX_STUN: usize = 8;
const MAX_URL: usize = 256;

/// What the coordinator's health says that is of use here.
struct Health {
    well: bool,
    /// Its clock, ms since 1970.
    time_ms: Option<i64>,
    stun: Vec<String>,
}

/// Looks, and gives the STUN servers that the coordinator names to everybody.
pub(crate) async fn look(http: &reqwest::Client, url: &str) -> (Coordinator, Option<IceServer>) {
    let mut found = Coordinator {
        url: without_user(url),
        ..Coordinator::default()
    };
    let first = match get(http, url).await {
        Ok(answer) => answer,
        Err(error) => {
            found.reached = if is_untrusted(&error) {
                Reached::Untrusted
            } else {
                Reached::Nobody
            };
            return (found, None);
        }
    };
    let Some(health) = health(first).await else {
        found.reached = Reached::SomethingElse;
        return (found, None);
    };
    found.reached = if health.well {
        Reached::Coordinator
    } else {
        Reached::Unwell
    };
    // The first one paid for the connection.
    let (before, sent) = (SystemTime::now(), Instant::now());
    if let Ok(answer) = get(http, url).await {
        let rtt = sent.elapsed();
        found.rtt_ms = Some(rtt.as_secs_f64() * 1000.0);
        let time = self::health(answer).await.and_then(|health| health.time_ms);
        if let (Some(theirs), Some(ours)) = (time, since_epoch(before + rtt / 2)) {
            found.clock_ahead_ms = Some(ours.saturating_sub(theirs));
            found.clock_within_ms = u64::try_from(rtt.as_millis() / 2 + 1).ok();
        }
    }
    let stun = (!health.stun.is_empty()).then_some(IceServer {
        urls: health.stun,
        username: None,
        credential: None,
    });
    (found, stun)
}

async fn get(http: &reqwest::Client, url: &str) -> Result<Response, reqwest::Error> {
    http.get(url).timeout(REQUEST).send().await
}

/// Whether a certificate was refused, however deep it stands.
fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return matches!(tls, rustls::Error::InvalidCertificate(_));
    }
    // An input error does not count what it carries among its sources, and may carry another one.
    let carried = (error.downcast_ref::<std::io::Error>()).and_then(std::io::Error::get_ref);
    match carried {
        Some(carried) => is_untrusted(carried),
        None => error.source().is_some_and(is_untrusted),
    }
}

/// `None` for what the coordinator never says.
async fn health(mut answer: Response) -> Option<Health> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.ok()? {
        if body.len() + piece.len() > MAX_ANSWER {
            return None;
        }
        body.extend_from_slice(&piece);
    }
    read(&body)
}

fn read(body: &[u8]) -> Option<Health> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let well = match body.get("status")?.as_str()? {
        "healthy" => body.get("service")?.as_str()? == SERVICE,
        "unhealthy" => false,
        _ => return None,
    };
    if !well && body.get("code").is_none() {
        return None;
    }
    let urls = body.get("stun").and_then(Value::as_array);
    let urls = urls.into_iter().flatten().filter_map(Value::as_str);
    let urls = urls.filter(|url| url.starts_with("stun:") && url.len() <= MAX_URL);
    Some(Health {
        well,
        time_ms: body.get("time_ms").and_then(Value::as_i64),
        stun: urls.take(MAX_STUN).map(str::to_owned).collect(),
    })
}

fn since_epoch(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_coordinator_is_taken_for_it() {
        let well = read(br#"{"status":"healthy","service":"warp-coordinator","time_ms":5}"#);
        let well = well.unwrap();
        assert!(well.well && well.time_ms == Some(5) && well.stun.is_empty());
        let unwell = read(br#"{"status":"unhealthy","store":"down","code":"x"}"#).unwrap();
        assert!(!unwell.well);
        for other in [
            &b"<html>please sign in</html>"[..],
            b"",
            b"{}",
            br#"{"status":"healthy","service":"nginx"}"#,
            br#"{"status":"up"}"#,
            br#"{"status":7}"#,
        ] {
            assert!(read(other).is_none());
        }
    }

    #[test]
    fn only_stun_urls_are_taken_from_it() {
        let long = format!("stun:{}", "x".repeat(300));
        let body = serde_json::json!({
            "status": "healthy", "service": SERVICE,
            "stun": ["stun:a", "turn:b", 7, long, "http://c", "stun:d"],
        });
        let health = read(body.to_string().as_bytes()).unwrap();
        assert_eq!(health.stun, ["stun:a", "stun:d"]);
    }
}
