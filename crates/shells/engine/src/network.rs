//! Notices that this machine is on another network, or has slept.
//!
//! Sockets of an address that is gone fail silently, and a carrier would only be made anew after the
//! link has given it up. So the address that the system would use towards the coordinator is looked at
//! twice a second, which sends nothing, and the clocks are compared: one of them goes on while the
//! machine sleeps, and this task does not.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::coordinator::Coordinator;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Time that passed without this task: the machine slept, or the process was stopped.
const SLEPT: Duration = Duration::from_secs(3);
/// The coordinator's name is looked up again so often: where it has moved, the way there may be another.
const LOOKUP: Duration = Duration::from_secs(60);
/// The same while it is not known, which a network that has just come up may change.
const FIRST_LOOKUP: Duration = Duration::from_secs(5);

/// What is compared with what it was before.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Look {
    /// The own address towards the coordinator, the last one that was known.
    address: Option<IpAddr>,
    /// No way leads there now.
    away: bool,
    monotonic: Instant,
    wall: SystemTime,
}

impl Look {
    /// Why paths should be made anew, if they should.
    fn differs(&self, before: &Self) -> Option<&'static str> {
        let passed = self.monotonic.saturating_duration_since(before.monotonic);
        let wall = self.wall.duration_since(before.wall).unwrap_or_default();
        // A clock that was set forward looks the same; a new carrier does no harm.
        if passed > SLEPT + LOOK || wall > passed + SLEPT {
            return Some("resumed");
        }
        match (before.address, self.address) {
            (Some(old), Some(new)) if old != new => Some("another address"),
            // The same address again: what was tried meanwhile failed, and would be tried again late.
            (Some(_), Some(_)) if before.away && !self.away => Some("back"),
            _ => None,
        }
    }

    /// The look after this one, of which the address is `found`.
    fn next(&self, found: Option<IpAddr>) -> Self {
        Self {
            address: found.or(self.address),
            away: found.is_none(),
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

/// Counts up with each change, while somebody listens.
pub(crate) fn watch(coordinator: Arc<Coordinator>) -> watch::Receiver<u64> {
    let (changes, told) = watch::channel(0);
    tokio::spawn(async move {
        let (found, target) = watch::channel(None);
        tokio::select! {
            () = look_on(target, &changes) => {}
            () = look_up(|known| resolve(&coordinator, known), &found) => {}
            () = changes.closed() => {}
        }
    });
    told
}

/// Keeps the address of the coordinator up to date, the last one that was found.
async fn look_up<F>(resolve: impl Fn(bool) -> F, found: &watch::Sender<Option<SocketAddr>>)
where
    F: Future<Output = Option<SocketAddr>>,
{
    loop {
        let known = found.borrow().is_some();
        let wait = match resolve(known).await {
            Some(address) => {
                found.send_if_modified(|known| known.replace(address) != Some(address));
                LOOKUP
            }
            None if known => LOOKUP,
            None => FIRST_LOOKUP,
        };
        tokio::time::sleep(wait).await;
    }
}

/// Never awaits anything that may take long: a resolver that does not answer is no sleep.
async fn look_on(mut target: watch::Receiver<Option<SocketAddr>>, changes: &watch::Sender<u64>) {
    let to = *target.borrow_and_update();
    let found = own_address(to).await;
    let mut before = Look {
        address: found,
        away: found.is_none(),
        monotonic: Instant::now(),
        wall: SystemTime::now(),
    };
    loop {
        tokio::time::sleep(LOOK).await;
        let to = *target.borrow_and_update();
        let now = before.next(own_address(to).await);
        if let Some(why) = now.differs(&before) {
            tracing::info!(why, "the network changed; carriers are made anew");
            changes.send_modify(|count| *count += 1);
        }
        before = now;
    }
}

/// Where the launcher connects to: the coordinator, or the proxy on the way there, where the network
/// gives no other name. One on this machine says nothing of the network.
async fn resolve(coordinator: &Coordinator, known: bool) -> Option<SocketAddr> {
    let hops = coordinator.hops().into_iter();
    // A name that fails once is no other network: only where nothing is known the proxy will do.
    for (host, port) in hops.take(if known { 1 } else { usize::MAX }) {
        let found = tokio::net::lookup_host((host, port)).await.ok();
        if let Some(address) = found.and_then(|mut found| found.next()) {
            return Some(address);
        }
    }
    None
}

/// Connecting a UDP socket only asks the system for the way.
async fn own_address(target: Option<SocketAddr>) -> Option<IpAddr> {
    let target = target?;
    let any: SocketAddr = if target.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(target).await.ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_address_a_sleep_and_the_end_of_an_outage_are_changes() {
        let before = Look {
            address: Some([10, 0, 0, 1].into()),
            away: false,
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        };
        let after = |passed: Duration, slept: Duration, address: Option<[u8; 4]>| Look {
            address: address.map(IpAddr::from).or(before.address),
            away: address.is_none(),
            monotonic: before.monotonic + passed,
            wall: before.wall + passed + slept,
        };
        let none = Duration::ZERO;
        let mine = Some([10, 0, 0, 1]);
        assert_eq!(after(LOOK, none, mine).differs(&before), None);
        let away = after(LOOK, none, None);
        assert_eq!(away.differs(&before), None);
        let still = away.next(None);
        assert_eq!(still.differs(&away), None);
        assert_eq!(still.next(before.address).differs(&still), Some("back"));
        let elsewhere = still.next(Some([10, 0, 0, 2].into()));
        assert_eq!(elsewhere.differs(&still), Some("another address"));
        let other = after(LOOK, none, Some([10, 0, 0, 2]));
        assert_eq!(other.differs(&before), Some("another address"));
        let slept = after(LOOK, Duration::from_secs(60), mine);
        assert_eq!(slept.differs(&before), Some("resumed"));
        let stopped = after(Duration::from_secs(60), none, mine);
        assert_eq!(stopped.differs(&before), Some("resumed"));
        // A clock that is corrected a little, or set back.
        let corrected = after(LOOK, Duration::from_secs(1), mine);
        assert_eq!(corrected.differs(&before), None);
        let mut back = after(LOOK, none, mine);
        back.wall = before.wall - Duration::from_secs(3600);
        assert_eq!(back.differs(&before), None);
    }

    #[tokio::test]
    async fn the_own_address_is_that_of_the_way_to_the_other_side() {
        let target = "127.0.0.1:9".parse().ok();
        assert_eq!(own_address(target).await, Some([127, 0, 0, 1].into()));
        assert_eq!(own_address(None).await, None);
    }
}
