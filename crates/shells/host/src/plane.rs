//! The data plane: members' carriers on one side, the endpoint's on the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use warp_host_core::{Flood, Forwarder, ForwarderConfig, MemberCounts, ServeRefused, Totals};
use warp_link::{Carrier, CarrierReceiver, CarrierSender, CarrierUse, WrapCarrier};
use warp_protocol::hosting::Member;

/// Datagrams of a carrier that are passed on with one look at the rules.
const BATCH: usize = 32;

/// Forwards between members and the endpoint. Attach carriers to make it work; each has one task.
pub struct Plane {
    inner: Mutex<Inner>,
    /// Carriers so far; numbers them.
    carriers: AtomicU64,
    received_bytes: AtomicU64,
    /// For want of a carrier, or by one that was full.
    undelivered: AtomicU64,
    wrap: Option<WrapCarrier>,
}

struct Inner {
    forwarder: Forwarder,
    members: HashMap<Arc<str>, (u64, CarrierSender)>,
    upstream: Option<(u64, CarrierSender)>,
}

/// What the plane counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PlaneCounts {
    pub(crate) totals: Totals,
    pub(crate) received_bytes: u64,
    pub(crate) undelivered: u64,
}

/// One member, for the view.
pub(crate) struct MemberLine {
    pub(crate) slot: u32,
    pub(crate) zone: String,
    pub(crate) connected: bool,
    pub(crate) counts: MemberCounts,
}

impl std::fmt::Debug for Plane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plane")
            .field("members", &self.inner.lock().members.len())
            .finish_non_exhaustive()
    }
}

impl Plane {
    /// Without members and without an endpoint.
    pub fn new(config: ForwarderConfig) -> Arc<Self> {
        Self::wrapped(config, None)
    }

    /// The same with something around each carrier.
    pub(crate) fn wrapped(config: ForwarderConfig, wrap: Option<WrapCarrier>) -> Arc<Self> {
        Arc::new(Self {
            wrap,
            inner: Mutex::new(Inner {
                forwarder: Forwarder::new(config, Instant::now()),
                members: HashMap::new(),
                upstream: None,
            }),
            carriers: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            undelivered: AtomicU64::new(0),
        })
    }

    fn wrap(&self, purpose: CarrierUse, carrier: Carrier) -> Carrier {
        match &self.wrap {
            Some(wrap) => wrap(purpose, carrier),
            None => carrier,
        }
    }

    /// Carries a member, or one that it carries under another epoch from now on.
    ///
    /// # Errors
    /// [`ServeRefused`]; nothing has changed then.
    pub fn serve(&self, member: &Member) -> Result<(), ServeRefused> {
        let mut inner = self.inner.lock();
        inner.forwarder.serve(Instant::now(), member)
    }

    /// The signaling socket is open again, see [`warp_host_core::Forwarder::on_signaling`].
    pub(crate) fn on_signaling(&self) {
        self.inner.lock().forwarder.on_signaling(Instant::now());
    }

    /// Somebody who is carried no longer; its carrier is closed.
    pub(crate) fn poll_gone(&self) -> Option<Arc<str>> {
        let mut inner = self.inner.lock();
        let peer_id = inner.forwarder.poll_gone(Instant::now())?;
        if let Some((_, carrier)) = inner.members.remove(&*peer_id) {
            carrier.close();
        }
        Some(peer_id)
    }

    /// Carries a member no longer, and closes its carrier.
    pub fn unserve(&self, peer_id: &str) {
        let mut inner = self.inner.lock();
        inner.forwarder.unserve(Instant::now(), peer_id);
        if let Some((_, carrier)) = inner.members.remove(peer_id) {
            carrier.close();
        }
    }

    /// Takes a member's carrier in place of the one before, until it ends or `stop` is cancelled.
    pub fn attach_member(
        self: &Arc<Self>,
        peer_id: &str,
        carrier: Carrier,
        stop: CancellationToken,
    ) {
        let Carrier { tx, rx } = self.wrap(CarrierUse::Member, carrier);
        let number = self.carriers.fetch_add(1, Ordering::Relaxed);
        let peer_id: Arc<str> = peer_id.into();
        let older = {
            let mut inner = self.inner.lock();
            inner.members.insert(Arc::clone(&peer_id), (number, tx))
        };
        if let Some((_, older)) = older {
            older.close();
        }
        let plane = Arc::clone(self);
        tokio::spawn(async move {
            let pass = |inner: &mut Inner, now, datagram: &Bytes| {
                let framed = inner.forwarder.from_member(now, &peer_id, datagram)?;
                Some(match &inner.upstream {
                    Some((_, upstream)) => upstream.try_send(framed).is_ok(),
                    None => false,
                })
            };
            plane.read(rx, stop, pass).await;
            let mut inner = plane.inner.lock();
            if inner.members.get(&peer_id).is_some_and(|it| it.0 == number) {
                inner.members.remove(&peer_id);
            }
        });
    }

    /// Takes the carrier to the endpoint in place of the one before, until it ends or `stop` is
    /// cancelled.
    pub fn attach_upstream(self: &Arc<Self>, carrier: Carrier, stop: CancellationToken) {
        let Carrier { tx, rx } = self.wrap(CarrierUse::Endpoint, carrier);
        let number = self.carriers.fetch_add(1, Ordering::Relaxed);
        let older = self.inner.lock().upstream.replace((number, tx));
        if let Some((_, older)) = older {
            older.close();
        }
        let plane = Arc::clone(self);
        tokio::spawn(async move {
            let pass = |inner: &mut Inner, now, framed: &Bytes| {
                let (peer_id, datagram) = inner.forwarder.from_endpoint(now, framed)?;
                Some(match inner.members.get(&peer_id) {
                    Some((_, member)) => member.try_send(datagram).is_ok(),
                    None => false,
                })
            };
            plane.read(rx, stop, pass).await;
            let mut inner = plane.inner.lock();
            if inner.upstream.as_ref().is_some_and(|it| it.0 == number) {
                inner.upstream = None;
            }
        });
    }

    /// Passes on what comes until the carrier ends. `pass` says whether a datagram was delivered;
    /// `None`: the rules dropped it, and counted it.
    async fn read(
        &self,
        mut rx: CarrierReceiver,
        stop: CancellationToken,
        pass: impl Fn(&mut Inner, Instant, &Bytes) -> Option<bool>,
    ) {
        loop {
            // A busy carrier must let the other tasks of this thread run.
            tokio::task::coop::consume_budget().await;
            let first = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                datagram = rx.recv() => datagram,
            };
            let mut next = first;
            if next.is_none() {
                return;
            }
            let now = Instant::now();
            let (mut received, mut undelivered) = (0, 0);
            let inner = &mut *self.inner.lock();
            for _ in 0..BATCH {
                let Some(datagram) = next.take().or_else(|| rx.try_recv()) else {
                    break;
                };
                received += datagram.len() as u64;
                if pass(inner, now, &datagram) == Some(false) {
                    undelivered += 1;
                }
            }
            self.received_bytes.fetch_add(received, Ordering::Relaxed);
            self.undelivered.fetch_add(undelivered, Ordering::Relaxed);
        }
    }

    /// Members that it carries.
    pub fn member_count(&self) -> usize {
        self.inner.lock().forwarder.len()
    }

    /// Zones that it carries members of.
    pub(crate) fn zone_count(&self) -> usize {
        let inner = self.inner.lock();
        let zones = inner.forwarder.members().map(|(_, _, zone, _)| zone);
        zones.collect::<std::collections::HashSet<_>>().len()
    }

    /// The members, by slot.
    pub(crate) fn member_lines(&self) -> Vec<MemberLine> {
        let inner = self.inner.lock();
        let members = inner.forwarder.members();
        let mut lines: Vec<MemberLine> = members
            .map(|(peer_id, slot, zone, counts)| MemberLine {
                slot,
                zone: zone.to_owned(),
                connected: inner.members.contains_key(peer_id),
                counts,
            })
            .collect();
        lines.sort_unstable_by_key(|line| line.slot);
        lines
    }

    /// Whether there is a carrier to the endpoint.
    pub fn has_upstream(&self) -> bool {
        self.inner.lock().upstream.is_some()
    }

    pub(crate) fn counts(&self) -> PlaneCounts {
        PlaneCounts {
            totals: self.inner.lock().forwarder.totals(),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            undelivered: self.undelivered.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn poll_flood(&self) -> Option<Flood> {
        self.inner.lock().forwarder.poll_flood(Instant::now())
    }

    pub(crate) fn take_loss_percent(&self) -> Option<f64> {
        self.inner.lock().forwarder.take_loss_percent()
    }
}
