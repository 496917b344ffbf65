//! Rate limits. Buckets are governor's (GCRA): a burst at once, then a steady rate.

use std::{
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    state::keyed::HashMapStateStore,
};
use serde::Deserialize;
use warp_protocol::ProblemCode;

use crate::problem::Refused;

/// Keys that one limit remembers; about 100 bytes each.
const MAX_KEYS: usize = 10_000;

/// One rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Rate {
    /// How many at once.
    pub burst: NonZeroU32,
    /// How many come back per minute.
    pub per_minute: NonZeroU32,
}

impl Rate {
    /// `burst` at once, `per_minute` in the long run; zero counts as one.
    pub const fn new(burst: u32, per_minute: u32) -> Self {
        Self {
            burst: at_least_one(burst),
            per_minute: at_least_one(per_minute),
        }
    }

    /// So many times as much, at once and in the long run.
    pub(crate) fn times(self, n: u32) -> Self {
        let times = |rate: NonZeroU32| at_least_one(rate.get().saturating_mul(n));
        Self {
            burst: times(self.burst),
            per_minute: times(self.per_minute),
        }
    }

    fn quota(self) -> Quota {
        Quota::per_minute(self.per_minute).allow_burst(self.burst)
    }
}

const fn at_least_one(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

/// How often what may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Sign-ins, registrations and refreshes from one address (IPv6: from one /64).
    pub address: Rate,
    /// Sign-ins to one account, from wherever.
    pub account: Rate,
    /// Signaling messages of one account, over all its sockets.
    pub signals: Rate,
    /// Bytes that the relay takes from one account, over all its sockets.
    pub relay_bytes: Rate,
    /// Requests of one account, or of one address without a sign-in, per class of route.
    pub requests: Rate,
    /// Requests of one address in all.
    pub address_requests: Rate,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            address: Rate::new(60, 120),
            account: Rate::new(10, 10),
            signals: Rate::new(1000, 1000),
            // 64 KiB a second: twenty times a player's game traffic.
            relay_bytes: Rate::new(256 * 1024, 60 * 64 * 1024),
            requests: Rate::new(100, 100),
            // A hundred a second: a cybercafe, and no flood.
            address_requests: Rate::new(6000, 6000),
        }
    }
}

/// A limit per key. The number of keys is bounded: when it is reached, buckets that are full again
/// are forgotten, and if that does not help, all keys share one bucket until it does. To get there
/// takes [`MAX_KEYS`] addresses or names within the time that one try takes to come back.
pub(crate) struct KeyedLimit<K: Hash + Eq + Clone> {
    limiter: RateLimiter<Option<K>, HashMapStateStore<Option<K>>, MonotonicClock>,
    start: Instant,
    /// Second since `start` in which buckets were last forgotten.
    swept: AtomicU64,
}

impl<K: Hash + Eq + Clone> KeyedLimit<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            limiter: RateLimiter::new(rate.quota(), HashMapStateStore::default(), MonotonicClock),
            start: Instant::now(),
            swept: AtomicU64::new(0),
        }
    }

    /// Counts one try.
    ///
    /// # Errors
    /// `too-many-requests`, with the time to wait.
    pub(crate) fn check(&self, key: K) -> Result<(), Refused> {
        let key = if self.limiter.len() < MAX_KEYS || self.sweep() {
            Some(key)
        } else {
            None
        };
        self.limiter.check_key(&key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.limiter.clock().now());
            too_many(wait.as_secs() + 1)
        })
    }

    /// Whether `count` at once are within the rate; counts them if so.
    pub(crate) fn takes(&self, key: K, count: NonZeroU32) -> bool {
        let key = (self.limiter.len() < MAX_KEYS || self.sweep()).then_some(key);
        // More than the whole burst never fits.
        matches!(self.limiter.check_key_n(&key, count), Ok(Ok(())))
    }

    /// Forgets full buckets, at most once a second. True if there is room now.
    fn sweep(&self) -> bool {
        let now = self.start.elapsed().as_secs();
        if self.swept.swap(now, Ordering::Relaxed) != now {
            self.limiter.retain_recent();
        }
        self.limiter.len() < MAX_KEYS
    }
}

/// The limit of the signaling sockets of one account.
pub(crate) fn socket_limit(rate: Rate) -> DefaultDirectRateLimiter {
    RateLimiter::direct(rate.quota())
}

/// What an address counts as: one IPv4 address, or one IPv6 /64, which is what one customer gets.
pub(crate) fn bucket_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

fn too_many(seconds: u64) -> Refused {
    Refused::new(
        ProblemCode::TooManyRequests,
        format!("too many tries; wait {seconds} s"),
    )
    .retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_bucket() {
        let limit = KeyedLimit::new(Rate::new(2, 1));
        assert!(limit.check("a").is_ok());
        assert!(limit.check("a").is_ok());
        let refused = limit.check("a").unwrap_err();
        assert_eq!(refused.code(), ProblemCode::TooManyRequests);
        assert!(limit.check("b").is_ok());
    }

    #[test]
    fn many_at_once_are_counted_as_many() {
        let limit = KeyedLimit::new(Rate::new(10, 1));
        let n = |n| NonZeroU32::new(n).unwrap();
        assert!(limit.takes("a", n(7)));
        assert!(!limit.takes("a", n(4)));
        assert!(limit.takes("a", n(3)));
        assert!(!limit.takes("b", n(11)));
        assert!(limit.takes("b", n(10)));
    }

    #[test]
    fn many_keys_end_in_one_shared_bucket() {
        let limit = KeyedLimit::new(Rate::new(2, 1));
        let max = u32::try_from(MAX_KEYS).unwrap();
        for key in 0..max {
            assert!(limit.check(key).is_ok());
        }
        let beyond = (max..max + 50).filter(|k| limit.check(*k).is_ok()).count();
        assert_eq!(beyond, 2);
        assert!(limit.limiter.len() <= MAX_KEYS + 1);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share_a_bucket() {
        let of = |text: &str| bucket_of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
