//! What the other side has acknowledged, and what QUIC found lost.
//!
//! QUIC tells both when they happen to its congestion controller only, so ours is the library's usual
//! one (CUBIC, RFC 9438) with an ear.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use noq_proto::RttEstimator;
use noq_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};

/// Over all paths of a link.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acks(Arc<Mutex<Told>>);

#[derive(Debug, Clone, Copy, Default)]
struct Told {
    newest: Option<Instant>,
    acked: u64,
    lost: u64,
}

impl Acks {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_ack(&self, sent: Instant) {
        let mut told = self.told();
        told.newest = told.newest.max(Some(sent));
        told.acked += 1;
    }

    /// When the newest acknowledged packet was sent; `None`: nothing was acknowledged yet.
    pub(crate) fn newest_sent(&self) -> Option<Instant> {
        self.told().newest
    }

    /// Packets that were acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.told().acked
    }

    /// Packets that were found lost.
    pub(crate) fn lost(&self) -> u64 {
        self.told().lost
    }
}

/// Makes the controller of every path.
#[derive(Debug)]
pub(crate) struct Listening {
    usual: Arc<CubicConfig>,
    acks: Acks,
}

impl Listening {
    pub(crate) fn new(acks: Acks) -> Arc<Self> {
        Arc::new(Self {
            usual: Arc::default(),
            acks,
        })
    }
}

impl ControllerFactory for Listening {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Listener {
            usual: Arc::clone(&self.usual).build(now, current_mtu),
            acks: self.acks.clone(),
        })
    }
}

/// Hands everything on.
#[derive(Debug)]
struct Listener {
    usual: Box<dyn Controller>,
    acks: Acks,
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
        self.acks.on_ack(sent);
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
        self.acks.told().lost += 1;
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
            acks: self.acks.clone(),
        })
    }

    fn initial_window(&self) -> u64 {
        self.usual.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self.usual.into_any()
    }
}
