//! How many requests and signaling messages are carried out.
//!
//! * A request with a valid access token counts for its *account*, per class of route, so that players
//!   behind one address do not lock one another out. Beside that all requests of the address count,
//!   with a limit that is so large that only a flood meets it.
//! * A request without one counts for its address, per class of route; IPv6 addresses by their /64.
//! * The class of a route is what stands first after `/api/v1/`: `zones`, `hosts`, `auth`. Sign-ins have
//!   limits of their own beside these, per address and per account, which count tries and not answers.
//! * Every answer of a limited route says `x-ratelimit-limit`, `-remaining` and `-reset` (unix seconds at
//!   which nothing counts any more); a refusal says `retry-after` as well.
//! * What is for everybody (`/`, `/health`, documents, metrics) is not limited.
//! * Signaling messages count per account, over all its sockets; a host's sockets ten times as much.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
};
use governor::DefaultDirectRateLimiter;
use parking_lot::Mutex;
use warp_protocol::ProblemCode;

use crate::{
    app::App,
    extract::{ClientAddr, signed_in},
    limits::{Rate, bucket_of, socket_limit},
    problem::Refused,
};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Names of the headers that answers carry, for browsers of other origins.
pub(crate) const HEADERS: [HeaderName; 3] = [LIMIT, REMAINING, RESET];

/// Buckets that are remembered; about 100 bytes each.
const MAX_BUCKETS: usize = 50_000;

/// Class of a route that is none of ours, so that made-up paths make no buckets.
const OTHER: &str = "other";

/// First parts of our paths.
const CLASSES: [&str; 15] = [
    "accounts",
    "audit",
    "auth",
    "bans",
    "devices",
    "fleet",
    "hosts",
    "identity",
    "link",
    "links",
    "monitoring",
    "relay",
    "sessions",
    "signaling",
    "zones",
];

/// Whose bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Account(i64, &'static str),
    Anonymous(IpAddr, &'static str),
    Address(IpAddr),
}

/// A bucket that leaks at a steady rate.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// What is in it, in requests.
    level: f64,
    at: Instant,
}

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standing {
    limit: u32,
    remaining: u32,
    /// Until the bucket is empty.
    reset: Duration,
    /// The request is refused; it may be tried again after so long.
    wait: Option<Duration>,
}

impl Bucket {
    /// Counts one request at `now`, if it fits.
    fn take(&mut self, rate: Rate, now: Instant) -> Standing {
        let burst = f64::from(rate.burst.get());
        let per_second = f64::from(rate.per_minute.get()) / 60.0;
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let level = (self.level - passed * per_second).max(0.0);
        let fits = level + 1.0 <= burst + 1e-6;
        let wait = (level + 1.0 - burst) / per_second;
        let level = if fits { level + 1.0 } else { level };
        (self.level, self.at) = (level, now);
        Standing {
            limit: rate.burst.get(),
            remaining: (burst - level + 1e-6).max(0.0) as u32,
            reset: Duration::from_secs_f64(level / per_second),
            wait: (!fits).then(|| Duration::from_secs_f64(wait.max(0.0))),
        }
    }

    fn is_empty(&self, rate: Rate, now: Instant) -> bool {
        let per_second = f64::from(rate.per_minute.get()) / 60.0;
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level <= passed * per_second
    }
}

/// The buckets of requests.
pub(crate) struct RequestLimits {
    /// Of an account, or of an address without one, per class of route.
    rate: Rate,
    /// Of an address in all.
    address: Rate,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    by_key: HashMap<Key, Bucket>,
    swept: Instant,
}

impl RequestLimits {
    pub(crate) fn new(rate: Rate, address: Rate) -> Self {
        let buckets = Buckets {
            by_key: HashMap::new(),
            swept: Instant::now(),
        };
        Self {
            rate,
            address,
            buckets: Mutex::new(buckets),
        }
    }

    fn count(
        &self,
        account: Option<i64>,
        address: Option<IpAddr>,
        class: &'static str,
    ) -> Standing {
        let now = Instant::now();
        let address = address.map(bucket_of);
        let mut buckets = self.buckets.lock();
        if buckets.by_key.len() >= MAX_BUCKETS {
            buckets.sweep(now, self.rate, self.address);
        }
        let mut take = |key: Key, rate| {
            let fresh = Bucket {
                level: 0.0,
                at: now,
            };
            let full = buckets.by_key.len() >= MAX_BUCKETS && !buckets.by_key.contains_key(&key);
            if full {
                // Whoever made so many buckets is held by the limits of its addresses; others go on.
                let mut fresh = fresh;
                return fresh.take(rate, now);
            }
            buckets.by_key.entry(key).or_insert(fresh).take(rate, now)
        };
        // Of the address first: a flood is not to use its account's bucket up.
        if let Some(address) = address {
            let standing = take(Key::Address(address), self.address);
            if standing.wait.is_some() {
                return standing;
            }
        }
        match (account, address) {
            (Some(account), _) => take(Key::Account(account, class), self.rate),
            (None, Some(address)) => take(Key::Anonymous(address, class), self.rate),
            (None, None) => take(Key::Account(0, class), self.rate),
        }
    }
}

impl Buckets {
    /// Forgets empty buckets, at most once a second.
    fn sweep(&mut self, now: Instant, rate: Rate, address: Rate) {
        if now.saturating_duration_since(self.swept) < Duration::from_secs(1) {
            return;
        }
        self.swept = now;
        self.by_key.retain(|key, bucket| {
            let rate = if matches!(key, Key::Address(_)) {
                address
            } else {
                rate
            };
            !bucket.is_empty(rate, now)
        });
    }
}

/// The class of a path; none: it is not limited.
fn class_of(path: &str) -> Option<&'static str> {
    let rest = path
        .strip_prefix("/api/v1/")
        .or_else(|| path.strip_prefix("/api/"))?;
    let first = rest.split('/').next().unwrap_or_default();
    Some(
        CLASSES
            .into_iter()
            .find(|class| *class == first)
            .unwrap_or(OTHER),
    )
}

/// Counts a request. None: its route is not limited.
pub(crate) fn count(app: &App, request: &mut Request) -> Option<Standing> {
    let class = class_of(request.uri().path())?;
    let address: Option<&ClientAddr> = request.extensions().get();
    let address = address.map(|ClientAddr(address)| address.ip());
    let account = signed_in(app, request);
    Some(app.requests.count(account, address, class))
}

impl Standing {
    /// # Errors
    /// `too-many-requests`, where there are.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        let Some(wait) = self.wait else {
            return Ok(());
        };
        let seconds = wait.as_secs() + 1;
        let text = format!("too many requests; try again in {seconds} s");
        Err(Refused::new(ProblemCode::TooManyRequests, text).retry_after(seconds))
    }

    /// Says on an answer how its asker stands.
    pub(crate) fn say(&self, headers: &mut HeaderMap) {
        let reset = SystemTime::now() + self.reset;
        let reset = reset
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs() + 1);
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(reset));
    }
}

/// The buckets of signaling messages, one per account, over all its sockets.
pub(crate) struct SignalLimits {
    rate: Rate,
    by_account: Mutex<HashMap<(i64, bool), Arc<DefaultDirectRateLimiter>>>,
}

impl SignalLimits {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            by_account: Mutex::default(),
        }
    }

    /// The bucket of a socket of this account. Nothing is locked when a message is counted.
    pub(crate) fn of(&self, account: i64, is_host: bool) -> Arc<DefaultDirectRateLimiter> {
        let rate = if is_host {
            self.rate.times(10)
        } else {
            self.rate
        };
        let mut all = self.by_account.lock();
        if let Some(known) = all.get(&(account, is_host)) {
            return Arc::clone(known);
        }
        if all.len() >= 256 && all.len().is_power_of_two() {
            // Without a socket, and full again: as good as a new one.
            all.retain(|(_, is_host), limiter| {
                let rate = if *is_host {
                    self.rate.times(10)
                } else {
                    self.rate
                };
                Arc::strong_count(limiter) > 1 || limiter.check_n(rate.burst) != Ok(Ok(()))
            });
        }
        let fresh = Arc::new(socket_limit(rate));
        all.insert((account, is_host), Arc::clone(&fresh));
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn limits(rate: u32, address: u32) -> RequestLimits {
        RequestLimits::new(Rate::new(rate, rate), Rate::new(address, address))
    }

    #[test]
    fn the_101st_request_is_refused_and_told_when_to_come_back() {
        let rate = Rate::new(100, 100);
        let now = Instant::now();
        let mut bucket = Bucket {
            level: 0.0,
            at: now,
        };
        for n in 1..=100 {
            let standing = bucket.take(rate, now);
            assert_eq!((standing.remaining, standing.wait), (100 - n, None));
        }
        let refused = bucket.take(rate, now);
        assert_eq!(refused.remaining, 0);
        let wait = refused.wait.unwrap();
        assert!(
            wait > Duration::from_millis(500) && wait < Duration::from_secs(1),
            "{wait:?}"
        );
        assert!(refused.reset.abs_diff(Duration::from_secs(60)) < Duration::from_millis(1));
        assert!(bucket.take(rate, now + wait).wait.is_none());
        assert!(!bucket.is_empty(rate, now + Duration::from_secs(30)));
        assert!(bucket.is_empty(rate, now + Duration::from_secs(61)));
    }

    #[test]
    fn accounts_of_one_address_have_buckets_of_their_own_and_classes_too() {
        let limits = limits(2, 100);
        for account in 1..=20 {
            assert!(
                limits
                    .count(Some(account), Some(HOME), "hosts")
                    .wait
                    .is_none()
            );
            assert!(
                limits
                    .count(Some(account), Some(HOME), "hosts")
                    .wait
                    .is_none()
            );
            assert!(
                limits
                    .count(Some(account), Some(HOME), "hosts")
                    .wait
                    .is_some()
            );
            assert!(
                limits
                    .count(Some(account), Some(HOME), "zones")
                    .wait
                    .is_none()
            );
        }
        // Those without an account share the address's.
        assert!(limits.count(None, Some(HOME), "hosts").wait.is_none());
        assert!(limits.count(None, Some(HOME), "hosts").wait.is_none());
        assert!(limits.count(None, Some(HOME), "hosts").wait.is_some());
    }

    #[test]
    fn a_flood_of_one_address_is_refused_whoever_it_says_it_is() {
        let limits = limits(100, 10);
        let taken = (0..50).filter(|n| limits.count(Some(*n), Some(HOME), "hosts").wait.is_none());
        assert_eq!(taken.count(), 10);
        let other = "192.0.2.2".parse().unwrap();
        assert!(limits.count(Some(1), Some(other), "hosts").wait.is_none());
    }

    #[test]
    fn made_up_paths_make_no_buckets_and_public_ones_none_at_all() {
        assert_eq!(class_of("/api/v1/hosts/abc"), Some("hosts"));
        assert_eq!(class_of("/api/hosts"), Some("hosts"));
        assert_eq!(class_of("/api/v1/nonsense-17/x"), Some(OTHER));
        assert_eq!(class_of("/health"), None);
        assert_eq!(class_of("/"), None);
    }

    #[test]
    fn sockets_of_one_account_share_a_bucket() {
        let limits = SignalLimits::new(Rate::new(3, 1));
        let (first, second) = (limits.of(1, false), limits.of(1, false));
        assert!(first.check().is_ok() && second.check().is_ok() && first.check().is_ok());
        assert!(second.check().is_err());
        drop((first, second));
        // Closing all and coming back fills nothing.
        assert!(limits.of(1, false).check().is_err());
        assert!(limits.of(2, false).check().is_ok());
        assert!(limits.of(1, true).check().is_ok());
    }

    #[test]
    fn buckets_of_those_who_left_are_forgotten() {
        let limits = SignalLimits::new(Rate::new(3, 1));
        for account in 0..5000 {
            limits.of(account, false);
        }
        assert!(limits.by_account.lock().len() <= 512);
    }
}
