//! New keys for the session link, before the old ones have done too much.
//!
//! QUIC turns both directions over when either side says so (RFC 9001 section 6), and loses nothing:
//! the old keys open what is still under way. When to do it is decided here, by each side for
//! itself:
//!
//! 1. after [`LinkConfig::key_interval`](crate::LinkConfig) (3600 s: `KeyRotationInterval`);
//! 2. after [`LinkConfig::key_packets`](crate::LinkConfig) packets of this side under the same keys
//!    (2^20; RFC 9001 6.6 allows 2^23 for AES-GCM). They are counted with every look at the link,
//!    at least once a heartbeat, so a heartbeat's worth may go beyond;
//! 3. when somebody asks ([`Link::update_keys`]).
//!
//! The interval and the count begin anew with every update, whoever asked for it: both sides with
//! the same numbers make one update and not two.
//!
//! A second update before a packet under the first one's keys was acknowledged is a violation of the
//! protocol (RFC 9001 6.1), and `noq-proto` leaves half of that to its user: who has followed the other
//! side's update may begin the next one although nothing of it has got through since. Then the other
//! side, which still waits for the first packet under the new keys, takes those under the next ones
//! for old (the phase is one bit), and never hears anything again; the simulator found this in two of
//! its first 87 storms with updates. So here a side waits until a packet that it sent under the present keys
//! was acknowledged, whoever made them (see the `acks` module).
//!
//! From then on [`KEY_SPACING`] goes by before the next update; what is asked for sooner is made then.
//! The library keeps the old keys for three probe timeouts, and meanwhile takes packets with a lower
//! number than that of the update for old ones. It compares across paths, which number their packets
//! apart, so an update within that time would silence a path until it is over.
//!
//! The library itself makes a first update within the first 1,000 packets, so that a side that cannot
//! do it is found out.
//!
//! The library does not say whether it has updated, so the TLS session is asked: it makes one pair
//! of keys in advance, and one more with every update.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use noq_proto::crypto::{
    ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig,
    Session, UnsupportedVersion,
};
use noq_proto::transport_parameters::TransportParameters;
use noq_proto::{ConnectError, ConnectionId, Side, TransportError};

use crate::acks::Acks;
use crate::link::Link;
use crate::packets::Packets;

/// Time from the first acknowledged packet under the present keys to the next update: more than three
/// probe timeouts (RFC 9002 6.2.1) of a path with a round trip of 1 s that varies by an eighth.
pub(crate) const KEY_SPACING: Duration = Duration::from_secs(5);
/// Time until an update that the library did not make is tried again.
const KEY_RETRY: Duration = Duration::from_millis(500);

/// Counts the pairs of packet keys that a TLS session has made for updates.
#[derive(Debug, Clone, Default)]
pub(crate) struct PairsMade(Arc<AtomicU64>);

impl PairsMade {
    fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Updates so far: the first pair is made in advance, when the handshake ends.
    fn updates(&self) -> u64 {
        self.0.load(Ordering::Relaxed).saturating_sub(1)
    }
}

/// When the keys are due, and how often they were updated.
#[derive(Debug, Default)]
pub(crate) struct KeyPolicy {
    made: PairsMade,
    told: Acks,
    packets: Packets,
    updates: u64,
    /// When the present keys came into use; `None` until the link is connected.
    since: Option<Instant>,
    /// When a packet under the present keys was acknowledged first.
    proven: Option<Instant>,
    /// Packets sent when they came into use.
    sent_by_then: u64,
    /// Packets sent at the last look.
    sent: u64,
    asked: bool,
    retry_at: Option<Instant>,
    /// Acknowledgements at the last look of [`KeyPolicy::has_new_acks`].
    acks: u64,
}

impl KeyPolicy {
    pub(crate) fn told(&self) -> Acks {
        self.told.clone()
    }

    /// What is counted by packet numbers.
    pub(crate) fn packets(&self) -> &Packets {
        &self.packets
    }

    /// Packets that QUIC found lost.
    pub(crate) fn lost(&self) -> u64 {
        self.told.lost()
    }

    /// Whether anything was acknowledged since the last call.
    pub(crate) fn has_new_acks(&mut self) -> bool {
        let acks = self.told.acked();
        std::mem::replace(&mut self.acks, acks) != acks
    }

    /// Takes what has happened since the last look.
    fn observe(&mut self, sent: u64, acked: Option<Instant>, now: Instant) {
        self.sent = sent;
        if self.proven.is_none() && self.since.is_some() && acked > self.since {
            self.proven = Some(now);
        }
        let updates = self.made.updates();
        if self.since.is_none() || updates > self.updates {
            if updates > self.updates {
                self.asked = false;
            }
            self.updates = updates;
            self.since = Some(now);
            self.proven = None;
            self.sent_by_then = sent;
            self.retry_at = None;
        }
    }

    /// When the next update should be made; `None` as long as it must not.
    fn due(&self, interval: Duration, packets: u64) -> Option<Instant> {
        let (since, proven) = (self.since?, self.proven?);
        let at_once = self.asked || self.sent.saturating_sub(self.sent_by_then) >= packets;
        let due = if at_once { since } else { since + interval };
        let due = due.max(proven + KEY_SPACING);
        Some(self.retry_at.map_or(due, |retry| retry.max(due)))
    }
}

impl Link {
    /// Asks for new keys for both directions. They come with the next packet, or as soon as the
    /// last update was acknowledged and is a few seconds old; more than one request until then is
    /// one request. Without a connection nothing happens: a new one has new keys.
    pub fn update_keys(&mut self, now: Instant) {
        if self.keys.since.is_some() && !self.closed {
            self.keys.asked = true;
            self.drive(now);
        }
    }

    /// Key updates so far, of whichever side.
    pub fn key_updates(&self) -> u64 {
        self.keys.made.updates()
    }

    pub(crate) fn key_deadline(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        self.keys
            .due(self.config.key_interval, self.config.key_packets)
    }

    /// Updates the keys if they are due.
    pub(crate) fn renew_keys(&mut self, now: Instant) {
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        if connection.is_handshaking() {
            return;
        }
        let sent = self.sent;
        let acked = self.keys.told.newest_sent();
        self.keys.observe(sent, acked, now);
        let due = self
            .keys
            .due(self.config.key_interval, self.config.key_packets);
        if due.is_some_and(|due| now >= due) {
            connection.force_key_update();
            self.quiet = false;
            self.keys.observe(sent, acked, now);
            if self.keys.since != Some(now) {
                self.keys.retry_at = Some(now + KEY_RETRY);
            }
        }
    }
}

/// A TLS configuration whose sessions count their keys and their packets.
pub(crate) struct Counting<C> {
    inner: C,
    made: PairsMade,
    packets: Packets,
}

impl<C> Counting<C> {
    pub(crate) fn new(inner: C, keys: &KeyPolicy) -> Arc<Self> {
        Arc::new(Self {
            inner,
            made: keys.made.clone(),
            packets: keys.packets.clone(),
        })
    }

    fn count(&self, session: Box<dyn Session>) -> Box<dyn Session> {
        Box::new(CountingSession {
            inner: session,
            made: self.made.clone(),
            packets: self.packets.clone(),
            handshaken: false,
        })
    }
}

impl<C: ClientConfig> ClientConfig for Counting<C> {
    fn start_session(
        &self,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let session = self.inner.start_session(version, server_name, params)?;
        Ok(self.count(session))
    }
}

impl<C: ServerConfig> ServerConfig for Counting<C> {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        self.inner.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.inner.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(&self, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        self.count(self.inner.start_session(version, params))
    }
}

/// Hands everything on.
struct CountingSession {
    inner: Box<dyn Session>,
    made: PairsMade,
    packets: Packets,
    /// The keys of the handshake's packets, which have numbers of their own, are made.
    handshaken: bool,
}

impl Session for CountingSession {
    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let pair = self.inner.next_1rtt_keys()?;
        self.made.add_one();
        Some(self.packets.count(pair))
    }

    fn initial_keys(&self, dst_cid: ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn std::any::Any>> {
        self.inner.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn std::any::Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let mut keys = self.inner.write_handshake(buf)?;
        if std::mem::replace(&mut self.handshaken, true) {
            keys.packet = self.packets.count(keys.packet);
        }
        Some(keys)
    }

    fn is_valid_retry(&self, orig_dst_cid: ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to start from"
)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const PACKETS: u64 = 1 << 20;

    fn connected(now: Instant) -> KeyPolicy {
        let mut policy = KeyPolicy::default();
        policy.made.add_one();
        policy.observe(10, None, now);
        policy.proven = Some(now);
        policy
    }

    #[test]
    fn keys_that_nothing_was_acknowledged_under_are_not_updated() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut policy = connected(start);
        let updated = start + second * 60;
        policy.made.add_one();
        policy.observe(10, Some(start + second * 59), updated);
        policy.asked = true;
        assert_eq!(policy.due(HOUR, PACKETS), None);
        // What is acknowledged much later was sent before the update, or just then.
        let later = updated + second * 20;
        policy.observe(10, Some(updated), later);
        assert_eq!(policy.due(HOUR, PACKETS), None);
        policy.observe(10, Some(updated + second), later);
        assert_eq!(policy.due(HOUR, PACKETS), Some(later + KEY_SPACING));
    }

    #[test]
    fn keys_are_due_after_the_interval_or_the_packets_whichever_is_first() {
        let now = Instant::now();
        let mut policy = KeyPolicy::default();
        assert_eq!(policy.due(HOUR, PACKETS), None, "not connected");
        policy = connected(now);
        assert_eq!(policy.updates, 0, "the pair made in advance is no update");
        assert_eq!(policy.due(HOUR, PACKETS), Some(now + HOUR));
        policy.observe(10 + PACKETS - 1, None, now + KEY_SPACING);
        assert_eq!(policy.due(HOUR, PACKETS), Some(now + HOUR));
        policy.observe(10 + PACKETS, None, now + KEY_SPACING);
        assert_eq!(policy.due(HOUR, PACKETS), Some(now + KEY_SPACING));
    }

    #[test]
    fn any_update_starts_the_interval_and_the_count_anew_and_fulfils_a_request() {
        let now = Instant::now();
        let mut policy = connected(now);
        policy.asked = true;
        assert_eq!(policy.due(HOUR, PACKETS), Some(now + KEY_SPACING));
        let later = now + Duration::from_secs(100);
        policy.made.add_one();
        policy.observe(500, None, later);
        policy.proven = Some(later);
        assert_eq!(policy.due(HOUR, PACKETS), Some(later + HOUR));
        policy.observe(500 + PACKETS - 1, None, later);
        assert_eq!(policy.due(HOUR, PACKETS), Some(later + HOUR));
        assert_eq!(policy.updates, 1);
    }

    #[test]
    fn an_interval_shorter_than_the_spacing_is_the_spacing() {
        let now = Instant::now();
        let policy = connected(now);
        let due = policy.due(Duration::ZERO, PACKETS);
        assert_eq!(due, Some(now + KEY_SPACING));
    }
}
