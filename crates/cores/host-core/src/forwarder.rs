//! Members' datagrams between them and the endpoint.
//!
//! # Rates
//! A game client needs a few kilobytes a second: some packets of it are 10 to 100 bytes, ten to thirty
//! a second, each with about 50 bytes of QUIC and label around it, some of them twice, and
//! acknowledgements. [`ForwarderConfig`] lets ten times that through, which also covers the copies while
//! a path fails, and drops what is beyond. What comes from the endpoint is not held back for each
//! member: the endpoint's congestion control answers for it.
//!
//! # The shared upload
//! Whatever a host forwards, up or down, leaves by its upload once. The limit is a bucket that fills
//! at the limit's rate. Its lower half is divided into equal shares, one of each member, that fill at
//! equal parts of the rate: what is within a member's share always passes, however much the others
//! send. What is beyond it passes while the upper half holds it, so an upload that nobody else wants
//! may be used. The buckets hold a quarter of a second, and at least two of the largest datagrams for
//! each member.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use warp_protocol::carrier::{Label, MAX_CARRIER_DATAGRAM};
use warp_protocol::hosting::{FORWARD_LEN, Forwarded, MAX_FORWARDED, Member};

use crate::bucket::Bucket;
use crate::loss::LossMeter;

/// What a datagram costs on the wire beside itself, bytes: our header (1), SCTP's (28, RFC 9260) and
/// its padding (up to 3), DTLS (37), UDP (8), IPv4 (20).
pub const WIRE_OVERHEAD: usize = 97;
/// The most that one forwarded datagram costs.
const MAX_WIRE: f64 = (MAX_FORWARDED + WIRE_OVERHEAD) as f64;
/// What the bucket of the upload holds, seconds of its rate.
const UPLOAD_DEPTH: f64 = 0.25;
/// A member is reported at most this often.
pub const REPORT_EVERY: Duration = Duration::from_secs(5);

/// How long the coordinator has to name the members of a host whose signaling socket was opened: it does
/// so at once.
pub const RECOUNT: Duration = Duration::from_secs(5);

/// Limits of a forwarder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwarderConfig {
    /// Members at once.
    pub max_members: usize,
    /// Datagrams a second from one member, with a burst of one second.
    pub datagrams_per_second: u32,
    /// Bytes a second from one member, with a burst of one second.
    pub bytes_per_second: u32,
    /// Upload of all together, 10^6 bits a second, at least 1.
    pub upload_mbps: u32,
}

impl Default for ForwarderConfig {
    fn default() -> Self {
        Self {
            max_members: 50,
            datagrams_per_second: 300,
            bytes_per_second: 96 * 1024,
            upload_mbps: 10,
        }
    }
}

/// A member was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServeRefused {
    /// There are as many as there may be.
    #[error("the host carries as many members as it may")]
    Full,
    /// Its slot is another member's.
    #[error("the slot is another member's")]
    SlotTaken,
}

/// What was forwarded for a member, and what was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemberCounts {
    /// Datagrams to the endpoint.
    pub up: u64,
    /// Bytes of those, without heads.
    pub up_bytes: u64,
    /// Datagrams to the member.
    pub down: u64,
    /// Bytes of those, without heads.
    pub down_bytes: u64,
    /// From it, dropped: beyond its rate.
    pub over_rate: u64,
    /// From or to it, dropped: beyond its share of the upload while there was no more.
    pub over_upload: u64,
}

/// Counts of everything since the forwarder was made, members that are gone included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Of all members.
    pub members: MemberCounts,
    /// From somebody who is no member.
    pub strangers: u64,
    /// No datagrams of a link: empty, or too long.
    pub malformed: u64,
    /// From the endpoint, for a slot that is no member's.
    pub unrouted: u64,
    /// From the endpoint, of another epoch than the member's.
    pub stale: u64,
    /// Flood reports.
    pub floods: u64,
}

/// A member that sends far more than a game does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flood {
    /// The member.
    pub peer_id: Arc<str>,
    /// Datagrams dropped for it since the last report.
    pub dropped: u64,
}

#[derive(Debug)]
struct Served {
    epoch: u32,
    slot: u32,
    zone: String,
    /// The coordinator has named it since the signaling socket was opened.
    named: bool,
    datagrams: Bucket,
    bytes: Bucket,
    /// Its share of the upload.
    share: Bucket,
    counts: MemberCounts,
    loss: LossMeter,
    /// Dropped since the last report, and when that was.
    unreported: u64,
    reported: Option<Instant>,
}

/// Forwards for the members of one host.
#[derive(Debug)]
pub struct Forwarder {
    config: ForwarderConfig,
    members: HashMap<Arc<str>, Served>,
    slots: HashMap<u32, Arc<str>>,
    upload: Bucket,
    totals: Totals,
    /// When those go that have not been named again.
    recount: Option<Instant>,
    /// Went without a word; as many as there were members.
    gone: VecDeque<Arc<str>>,
}

impl Forwarder {
    /// Without members.
    pub fn new(config: ForwarderConfig, now: Instant) -> Self {
        let rate = f64::from(config.upload_mbps.max(1)) * 1e6 / 8.0;
        Self {
            upload: Bucket::full(rate, rate * UPLOAD_DEPTH, now),
            config,
            members: HashMap::new(),
            slots: HashMap::new(),
            totals: Totals::default(),
            recount: None,
            gone: VecDeque::new(),
        }
    }

    /// The limits.
    pub fn config(&self) -> &ForwarderConfig {
        &self.config
    }

    /// Carries a member, or one that it carries already under the epoch and slot given now.
    ///
    /// # Errors
    /// [`ServeRefused`]; nothing has changed then.
    pub fn serve(&mut self, now: Instant, member: &Member) -> Result<(), ServeRefused> {
        let peer_id: Arc<str> = member.peer_id.as_str().into();
        if let Some(holder) = self.slots.get(&member.slot).cloned()
            && holder != peer_id
            && !self.let_go(now, |other| *other == holder)
        {
            return Err(ServeRefused::SlotTaken);
        }
        if let Some(served) = self.members.get_mut(&peer_id) {
            served.named = true;
            self.slots.remove(&served.slot);
            served.epoch = member.epoch;
            served.slot = member.slot;
            served.zone.clone_from(&member.zone_id);
            self.slots.insert(member.slot, peer_id);
            return Ok(());
        }
        if self.members.len() >= self.config.max_members && !self.let_go(now, |_| true) {
            return Err(ServeRefused::Full);
        }
        let per_second = |rate: u32| Bucket::full(rate.into(), rate.into(), now);
        let served = Served {
            epoch: member.epoch,
            slot: member.slot,
            zone: member.zone_id.clone(),
            named: true,
            datagrams: per_second(self.config.datagrams_per_second),
            bytes: per_second(self.config.bytes_per_second),
            share: Bucket::empty(0.0, 0.0, now),
            counts: MemberCounts::default(),
            loss: LossMeter::default(),
            unreported: 0,
            reported: None,
        };
        self.slots.insert(member.slot, Arc::clone(&peer_id));
        self.members.insert(peer_id, served);
        self.divide(now);
        Ok(())
    }

    /// Carries a member no longer; false: it did not.
    pub fn unserve(&mut self, now: Instant, peer_id: &str) -> bool {
        let Some(served) = self.members.remove(peer_id) else {
            return false;
        };
        self.slots.remove(&served.slot);
        self.divide(now);
        true
    }

    /// The signaling socket is open again: the coordinator names all members now. What it said while
    /// there was none, or one that was dead, was not heard, and whoever went meanwhile would keep its
    /// place for ever.
    pub fn on_signaling(&mut self, now: Instant) {
        for served in self.members.values_mut() {
            served.named = false;
        }
        self.recount = Some(now + RECOUNT);
    }

    /// Somebody who is carried no longer, because it was not named again in time or another needs its
    /// place.
    pub fn poll_gone(&mut self, now: Instant) -> Option<Arc<str>> {
        if self.recount.is_some_and(|at| now >= at) {
            while self.let_go(now, |_| true) {}
            self.recount = None;
        }
        self.gone.pop_front()
    }

    /// Lets go of one that `which` fits and that was not named again; false: there is none.
    fn let_go(&mut self, now: Instant, which: impl Fn(&Arc<str>) -> bool) -> bool {
        if self.recount.is_none() {
            return false;
        }
        let mut members = self.members.iter();
        let found = members.find(|(peer_id, served)| !served.named && which(peer_id));
        let Some(peer_id) = found.map(|(peer_id, _)| Arc::clone(peer_id)) else {
            return false;
        };
        self.unserve(now, &peer_id);
        self.gone.push_back(peer_id);
        true
    }

    /// Divides the upload anew among the members there are.
    fn divide(&mut self, now: Instant) {
        let rate = self.upload.per_second;
        let count = self.members.len() as f64;
        let depth = (rate * UPLOAD_DEPTH).max(2.0 * MAX_WIRE * count);
        self.upload.change(rate, depth, now);
        for served in self.members.values_mut() {
            let share = depth / 2.0 / count;
            served.share.change(rate / count, share, now);
        }
    }

    /// A member's datagram, as it goes to the endpoint; `None`: it is dropped, and counted.
    pub fn from_member(&mut self, now: Instant, peer_id: &str, datagram: &[u8]) -> Option<Bytes> {
        let Some(served) = self.members.get_mut(peer_id) else {
            self.totals.strangers += 1;
            return None;
        };
        if datagram.is_empty() || datagram.len() > MAX_CARRIER_DATAGRAM {
            self.totals.malformed += 1;
            return None;
        }
        let bytes = datagram.len() as f64;
        served.datagrams.fill(now);
        served.bytes.fill(now);
        if !served.datagrams.holds(1.0) || !served.bytes.holds(bytes) {
            served.counts.over_rate += 1;
            served.unreported += 1;
            self.totals.members.over_rate += 1;
            return None;
        }
        served.datagrams.level -= 1.0;
        served.bytes.level -= bytes;
        let cost = FORWARD_LEN + datagram.len() + WIRE_OVERHEAD;
        if !may_upload(&mut self.upload, &mut served.share, cost, now) {
            served.counts.over_upload += 1;
            self.totals.members.over_upload += 1;
            return None;
        }
        for counts in [&mut served.counts, &mut self.totals.members] {
            counts.up += 1;
            counts.up_bytes += datagram.len() as u64;
        }
        let head = Forwarded {
            epoch: served.epoch,
            slot: served.slot,
        };
        let mut framed = BytesMut::with_capacity(FORWARD_LEN + datagram.len());
        framed.extend_from_slice(&head.to_bytes());
        framed.extend_from_slice(datagram);
        Some(framed.freeze())
    }

    /// What came from the endpoint, and the member that it goes to; `None`: it is dropped, and
    /// counted.
    pub fn from_endpoint(&mut self, now: Instant, framed: &Bytes) -> Option<(Arc<str>, Bytes)> {
        let Some((head, inner)) = Forwarded::split(framed) else {
            self.totals.malformed += 1;
            return None;
        };
        let peer_id = self.slots.get(&head.slot);
        let member = peer_id.and_then(|peer_id| self.members.get_mut(peer_id));
        let (Some(peer_id), Some(served)) = (peer_id, member) else {
            self.totals.unrouted += 1;
            return None;
        };
        if served.epoch != head.epoch {
            self.totals.stale += 1;
            return None;
        }
        if let Some((label, _)) = Label::split(inner) {
            served.loss.on_number(label.stamp.number);
        }
        let bytes = inner.len();
        let cost = bytes + WIRE_OVERHEAD;
        if !may_upload(&mut self.upload, &mut served.share, cost, now) {
            served.counts.over_upload += 1;
            self.totals.members.over_upload += 1;
            return None;
        }
        for counts in [&mut served.counts, &mut self.totals.members] {
            counts.down += 1;
            counts.down_bytes += bytes as u64;
        }
        Some((Arc::clone(peer_id), framed.slice(FORWARD_LEN..)))
    }

    /// The next member to report, if there is one now.
    pub fn poll_flood(&mut self, now: Instant) -> Option<Flood> {
        let due = |served: &Served| {
            let rested = served
                .reported
                .is_none_or(|at| now.saturating_duration_since(at) >= REPORT_EVERY);
            served.unreported > 0 && rested
        };
        let found = self.members.iter_mut().find(|(_, served)| due(served));
        let (peer_id, served) = found?;
        served.reported = Some(now);
        self.totals.floods += 1;
        Some(Flood {
            peer_id: Arc::clone(peer_id),
            dropped: std::mem::take(&mut served.unreported),
        })
    }

    /// Members now.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Slot, zone and counts of each member, in no order.
    pub fn members(&self) -> impl Iterator<Item = (&Arc<str>, u32, &str, MemberCounts)> {
        self.members
            .iter()
            .map(|(peer_id, it)| (peer_id, it.slot, it.zone.as_str(), it.counts))
    }

    /// Counts of everything.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Loss on the way from the endpoint since the last call, 0 to 100; `None`: nothing came.
    pub fn take_loss_percent(&mut self) -> Option<f64> {
        let (mut expected, mut received) = (0, 0);
        for served in self.members.values_mut() {
            let (more, came) = served.loss.take();
            expected += more;
            received += came;
        }
        let lost = expected.saturating_sub(received) as f64;
        (expected > 0).then(|| lost * 100.0 / expected as f64)
    }
}

/// Takes the cost of a datagram from the upload, if that may be.
fn may_upload(upload: &mut Bucket, share: &mut Bucket, cost: usize, now: Instant) -> bool {
    let cost = cost as f64;
    upload.fill(now);
    share.fill(now);
    if share.holds(cost) {
        share.level -= cost;
    } else if !upload.holds(upload.depth / 2.0 + cost) {
        return false;
    }
    upload.level -= cost;
    true
}

#[cfg(test)]
mod tests;
