//! When the newest packet that the other side has acknowledged was sent.
//!
//! QUIC tells that to its congestion controller only, so ours is the library's usual one (CUBIC, RFC
//! 9438) with an ear.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use noq_proto::RttEstimator;
use noq_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};

/// Over all paths of a link.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewestAcked(Arc<Mutex<Option<Instant>>>);

impl NewestAcked {
    fn note(&self, sent: Instant) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = newest.max(Some(sent));
    }

    /// When it was sent; `None`: nothing was acknowledged yet.
    pub(crate) fn sent_at(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the controller of every path.
#[derive(Debug)]
pub(crate) struct Listening {
    usual: Arc<CubicConfig>,
    newest: NewestAcked,
}

impl Listening {
    pub(crate) fn new(newest: NewestAcked) -> Arc<Self> {
        Arc::new(Self {
            usual: Arc::default(),
            newest,
        })
    }
}

impl ControllerFactory for Listening {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Listener {
            usual: Arc::clone(&self.usual).build(now, current_mtu),
            newest: self.newest.clone(),
        })
    }
}

/// Hands everything on.
#[derive(Debug)]
struct Listener {
    usual: Box<dyn Controller>,
    newest: NewestAcked,
}

impl Controller for Listener {
    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        pn: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.newest.note(sent);
        self.usual.on_ack(now, sent, bytes, pn, app_limited, rtt);
    }

    fn on_sent(&mut self, now: Instant, bytes: u64, largest_pn: u64) {
        self.usual.on_sent(now, bytes, largest_pn);
    }

    fn on_packet_sent(&mut self, now: Instant, bytes: u16, pn: u64) {
        self.usual.on_packet_sent(now, bytes, pn);
    }

    fn on_cwnd_limited(&mut self) {
        self.usual.on_cwnd_limited();
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.usual
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        is_ecn: bool,
        lost_bytes: u64,
        largest_lost_pn: u64,
    ) {
        self.usual.on_congestion_event(
            now,
            sent,
            is_persistent_congestion,
            is_ecn,
            lost_bytes,
            largest_lost_pn,
        );
    }

    fn on_packet_lost(&mut self, lost_bytes: u16, pn: u64, now: Instant) {
        self.usual.on_packet_lost(lost_bytes, pn, now);
    }

    fn on_spurious_congestion_event(&mut self) {
        self.usual.on_spurious_congestion_event();
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.usual.on_mtu_update(new_mtu);
    }

    fn on_ack_frequency_update(
        &mut self,
        ack_eliciting_threshold: u64,
        requested_max_ack_delay: Duration,
    ) {
        self.usual
            .on_ack_frequency_update(ack_eliciting_threshold, requested_max_ack_delay);
    }

    fn window(&self) -> u64 {
        self.usual.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.usual.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            usual: self.usual.clone_box(),
            newest: self.newest.clone(),
        })
    }

    fn initial_window(&self) -> u64 {
        self.usual.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self.usual.into_any()
    }
}
