//! The handles of a link.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use warp_link::{Carrier, CarrierStats};
use warp_link_core::view::{PathPhase, PathView};
use warp_link_core::{Link, Redundancy};
use warp_protocol::carrier::PathKind;

use crate::driver::Driver;
use crate::notice::{LinkEnd, LinkNotices, LinkStatus};
use crate::shared::Shared;
use crate::stream::GameStream;

/// Starts the task of a link on the present tokio runtime. Attach carriers to make it work.
///
/// The notices are those from the very first on; [`LinkHandle::notices`] makes more listeners. The
/// engine's side never gets incoming streams and may drop that handle.
pub fn spawn(link: Link) -> (LinkHandle, LinkNotices, IncomingStreams) {
    let shared = Shared::new(link);
    let notices = LinkNotices::new(shared.notices.subscribe(), false);
    tokio::spawn(Driver::new(Arc::clone(&shared)).run());
    let incoming = IncomingStreams {
        shared: Arc::clone(&shared),
    };
    let handle = LinkHandle {
        owner: Arc::new(Owner { shared }),
    };
    (handle, notices, incoming)
}

/// Counts of a link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkCounters {
    /// Datagrams that changed nothing: not authentic, replayed, a second copy, or not understood.
    pub refused: u64,
    /// Datagrams that were sent a second time, by this side and, as far as it has told, by the other.
    pub duplicated: u64,
    /// Key updates, of whichever side.
    pub key_updates: u64,
    /// Counts of each carrier in use, since it was attached.
    pub carriers: Vec<(PathKind, CarrierStats)>,
}

/// Held by every clone of a handle; the last one closes the link.
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let now = Instant::now();
        self.shared.change(|inner| {
            if !inner.link.is_closed() {
                inner.link.close(0, now);
            }
        });
    }
}

/// A link that runs. Clones are the same link; dropping the last one closes it.
#[derive(Clone)]
pub struct LinkHandle {
    owner: Arc<Owner>,
}

impl std::fmt::Debug for LinkHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkHandle")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl LinkHandle {
    fn shared(&self) -> &Shared {
        &self.owner.shared
    }

    // ---- carriers

    /// Gives the link a carrier. An older one of the same kind is closed, and a new path opened.
    pub fn attach(&self, kind: PathKind, carrier: Carrier) {
        self.shared().change(|inner| {
            if !inner.ended {
                inner.orders.insert(kind, Some(carrier));
            }
        });
    }

    /// Takes the carrier of that kind away and closes it.
    pub fn detach(&self, kind: PathKind) {
        self.shared().change(|inner| {
            inner.orders.insert(kind, None);
        });
    }

    // ---- streams

    /// Opens a game stream; waits while the link is not connected yet or as many streams are open
    /// as may be. Safe to cancel.
    ///
    /// # Errors
    /// The link has ended.
    pub async fn open_stream(&self) -> Result<GameStream, LinkEnd> {
        let shared = &self.owner.shared;
        let mut waiting = None;
        loop {
            let turn = shared.may_open.notified();
            tokio::pin!(turn);
            // Registered before the look, so that no call in between is missed.
            turn.as_mut().enable();
            if let Some(end) = self.end() {
                return Err(end);
            }
            let opened = shared.with(|inner| {
                let id = inner.link.open_stream();
                if let Some(id) = id {
                    inner.add_stream(id);
                }
                id
            });
            match opened {
                Some(Some(id)) => return Ok(GameStream::new(Arc::clone(shared), id)),
                // Only the mark wakes the task: it calls back in every turn, and calling it for
                // every try would go round for ever.
                Some(None) => {
                    waiting.get_or_insert_with(|| OpenerMark::new(shared));
                }
                None => return Err(LinkEnd::Fault),
            }
            turn.await;
        }
    }

    // ---- commands

    /// Moves the game to the best other path now. `None`: there is none.
    pub fn fail_over(&self) -> Option<(PathKind, PathKind)> {
        let now = Instant::now();
        self.shared()
            .change(|inner| inner.link.fail_over(now))
            .flatten()
    }

    /// Moves the game off the path in use, which is about to be closed on purpose. `None`: there is no
    /// other.
    pub fn withdraw(&self) -> Option<(PathKind, PathKind)> {
        let now = Instant::now();
        self.shared()
            .change(|inner| inner.link.withdraw(now))
            .flatten()
    }

    /// Moves the game to the path of this kind now; see [`Link::use_path`].
    pub fn use_path(&self, kind: PathKind) -> Option<(PathKind, PathKind)> {
        let now = Instant::now();
        self.shared()
            .change(|inner| inner.link.use_path(kind, now))
            .flatten()
    }

    /// When small packets are sent twice from now on.
    pub fn set_redundancy(&self, redundancy: Redundancy) {
        let now = Instant::now();
        self.shared()
            .change(|inner| inner.link.set_redundancy(redundancy, now));
    }

    /// When small packets are sent twice; as by default once the link has failed.
    pub fn redundancy(&self) -> Redundancy {
        let redundancy = self.shared().with(|inner| inner.link.redundancy());
        redundancy.unwrap_or_default()
    }

    /// Hosts with a longer round trip are not used while there is another path; `None`: any may be.
    pub fn set_host_max_rtt(&self, limit: Option<Duration>) {
        self.shared()
            .change(|inner| inner.link.set_host_max_rtt(limit));
    }

    /// Forgets that paths were left by choice, so that the best may come back.
    pub fn unbench(&self) {
        let now = Instant::now();
        self.shared().change(|inner| inner.link.unbench(now));
    }

    /// Asks for new keys for both directions; see [`Link::update_keys`].
    pub fn update_keys(&self) {
        let now = Instant::now();
        self.shared().change(|inner| inner.link.update_keys(now));
    }

    /// Ends the link and tells the other side this code.
    pub fn close(&self, code: u32) {
        let now = Instant::now();
        self.shared().change(|inner| {
            if !inner.link.is_closed() {
                inner.link.close(code, now);
            }
        });
    }

    // ---- views

    /// The present state.
    pub fn status(&self) -> LinkStatus {
        *self.shared().status.borrow()
    }

    /// The present state, and a way to wait for its changes.
    pub fn watch_status(&self) -> watch::Receiver<LinkStatus> {
        self.shared().status.subscribe()
    }

    /// A listener from now on.
    pub fn notices(&self) -> LinkNotices {
        let rx = self.shared().notices.subscribe();
        LinkNotices::new(rx, self.end().is_some())
    }

    /// Every path as it is shown.
    pub fn paths(&self) -> Vec<PathView> {
        let now = Instant::now();
        self.shared()
            .with(|inner| {
                let mut paths = inner.link.paths(now);
                // A path that is down belongs to an earlier carrier of its kind, or to none.
                for path in paths
                    .iter_mut()
                    .filter(|path| path.phase != PathPhase::Down)
                {
                    let sender = inner.senders.get(&path.kind);
                    path.queued_bytes = sender.map(|sender| sender.queued_bytes() as u64);
                    path.queue_ms = sender.map(|sender| sender.queue_time().as_secs_f64() * 1e3);
                }
                paths
            })
            .unwrap_or_default()
    }

    /// The counts so far.
    pub fn counters(&self) -> LinkCounters {
        self.shared()
            .with(|inner| LinkCounters {
                refused: inner.link.refused(),
                duplicated: inner.link.duplicated(),
                key_updates: inner.link.key_updates(),
                carriers: inner
                    .senders
                    .iter()
                    .map(|(kind, sender)| (*kind, sender.stats()))
                    .collect(),
            })
            .unwrap_or_default()
    }

    /// Why the link ended; `None` while it lives.
    pub fn end(&self) -> Option<LinkEnd> {
        self.shared().end.borrow().clone()
    }

    /// Waits for the link's end. Safe to cancel.
    pub async fn closed(&self) -> LinkEnd {
        let mut end = self.shared().end.subscribe();
        let known = end.wait_for(Option::is_some).await;
        // The sender lives as long as this handle.
        known
            .ok()
            .and_then(|end| end.clone())
            .unwrap_or(LinkEnd::Fault)
    }

    /// Waits until the link has ended and its task is gone, carriers included. Safe to cancel.
    pub async fn gone(&self) {
        self.shared().gone.cancelled().await;
    }
}

/// Counts a task that waits to open a stream, as long as it waits.
struct OpenerMark {
    shared: Arc<Shared>,
}

impl OpenerMark {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.change(|inner| inner.openers += 1);
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl Drop for OpenerMark {
    fn drop(&mut self) {
        self.shared
            .with(|inner| inner.openers = inner.openers.saturating_sub(1));
    }
}

/// The streams that the other side opens.
pub struct IncomingStreams {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for IncomingStreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IncomingStreams")
    }
}

impl IncomingStreams {
    /// The next stream; `None` after the link's end. Safe to cancel.
    pub async fn recv(&mut self) -> Option<GameStream> {
        loop {
            let next = self.shared.with(|inner| {
                if inner.ended {
                    return None;
                }
                Some(inner.incoming.pop_front())
            });
            match next.flatten() {
                Some(Some(id)) => return Some(GameStream::new(Arc::clone(&self.shared), id)),
                Some(None) => self.shared.arrived.notified().await,
                None => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use ring::signature::Ed25519KeyPair;
    use warp_link_core::{Identity, LinkConfig};

    use super::*;
    use crate::LinkNotice;

    #[tokio::test]
    async fn a_panic_inside_the_link_ends_it_for_everybody() {
        let key = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let identity = Identity::from_pkcs8_der(key.as_ref()).unwrap();
        let peer = identity.public_key().to_vec();
        let link = Link::client(LinkConfig::default(), &identity, &peer, [0; 32]).unwrap();
        let (handle, mut notices, mut incoming) = spawn(link);
        let waiting = {
            let handle = handle.clone();
            tokio::spawn(async move { handle.open_stream().await })
        };
        let shared = handle.shared();
        let fault = catch_unwind(AssertUnwindSafe(|| shared.with(|_inner| panic!("a fault"))));
        assert!(fault.is_err());
        // Whatever calls the task next makes it notice.
        handle.update_keys();
        assert_eq!(handle.closed().await, LinkEnd::Fault);
        handle.gone().await;
        assert_eq!(waiting.await.unwrap().unwrap_err(), LinkEnd::Fault);
        assert!(incoming.recv().await.is_none());
        assert_eq!(
            notices.recv().await,
            Some(LinkNotice::Closed(LinkEnd::Fault))
        );
        assert_eq!(notices.recv().await, None);
        assert!(handle.paths().is_empty());
    }
}
