//! What is known of each path: when it was heard, what waits for an answer, and what QUIC found lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use noq_proto::{FrameStats, PathId};
use warp_protocol::carrier::PathLabel;

use crate::flow::share;

/// Length of the loss window.
const LOSS_WINDOW: Duration = Duration::from_secs(10);
/// Time between two samples of the loss window; bounds it to eleven entries.
const LOSS_STEP: Duration = Duration::from_secs(1);
/// RFC 9000 18.2: default of max_ack_delay, which both sides keep.
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// RFC 9002 6.1.2: kGranularity.
const GRANULARITY: Duration = Duration::from_millis(1);
/// A lost path is closed after this many pings each way: five seconds of heartbeats.
const LEAVING_PINGS: u32 = 20;
/// Floor of the suspicion time: scheduling on a busy machine takes some milliseconds.
const SUSPICION_FLOOR: Duration = Duration::from_millis(30);

/// Round trips as QUIC's timers see them, which suspicion is measured by; not for showing.
///
/// QUIC tells the smoothed round trip only: `s' = 7/8 s + 1/8 sample` (RFC 9002 5.3), so each
/// change gives the sample back as `8 s' - 7 s`.
#[derive(Debug, Default)]
pub(crate) struct RoundTrips {
    smoothed: Option<Duration>,
    deviation: Duration,
}

impl RoundTrips {
    /// True when a new sample was in it, that is when a packet of the path was acknowledged.
    pub(crate) fn observe(&mut self, smoothed: Duration) -> bool {
        let Some(before) = self.smoothed else {
            self.smoothed = Some(smoothed);
            self.deviation = smoothed / 2;
            return true;
        };
        if smoothed == before {
            return false;
        }
        let sample = (smoothed * 8).saturating_sub(before * 7);
        self.deviation = (self.deviation * 3 + sample.abs_diff(before)) / 4;
        self.smoothed = Some(smoothed);
        true
    }

    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// RFC 9002 6.2.1: smoothed + max(4 × deviation, granularity) + max_ack_delay.
    fn probe_timeout(&self) -> Duration {
        let smoothed = self.smoothed.unwrap_or(Duration::from_millis(333));
        smoothed + (self.deviation * 4).max(GRANULARITY) + MAX_ACK_DELAY
    }
}

/// Packets that were sent and lost over the last ten seconds. While copies are sent it shows little of
/// what the carrier loses; how good a carrier is comes from [`crate::flow`].
#[derive(Debug, Default)]
pub(crate) struct LossWindow {
    samples: VecDeque<(Instant, u64, u64)>,
}

impl LossWindow {
    /// True when a sample was due.
    pub(crate) fn sample(&mut self, now: Instant, sent: u64, lost: u64) -> bool {
        if let Some((at, ..)) = self.samples.back()
            && now.saturating_duration_since(*at) < LOSS_STEP
        {
            return false;
        }
        self.samples.push_back((now, sent, lost));
        while let Some((at, ..)) = self.samples.front()
            && now.saturating_duration_since(*at) > LOSS_WINDOW
        {
            self.samples.pop_front();
        }
        true
    }

    /// (sent, lost) since the start of the window, given the totals now.
    pub(crate) fn since_start(&self, sent: u64, lost: u64) -> (u64, u64) {
        let (sent_then, lost_then) = self
            .samples
            .front()
            .map_or((0, 0), |(_, sent, lost)| (*sent, *lost));
        (
            sent.saturating_sub(sent_then),
            lost.saturating_sub(lost_then),
        )
    }
}

/// The packets of one direction of a path, by their numbers, as of the last report.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    window: LossWindow,
    sent: u64,
    /// Of the last ten seconds; `None` of too few.
    pub(crate) lost_percent: Option<f64>,
}

impl Arrivals {
    /// `arrived` of `sent` packets have come so far.
    pub(crate) fn on_told(&mut self, sent: u64, arrived: u64, now: Instant) {
        // Reports may come out of order.
        if sent < self.sent {
            return;
        }
        self.sent = sent;
        let lost = sent.saturating_sub(arrived);
        // First, so that nothing is left of what was before an outage.
        self.window.sample(now, sent, lost);
        let (recent, lost_of_them) = self.window.since_start(sent, lost);
        self.lost_percent = share(lost_of_them.min(recent), recent);
    }
}

/// Both directions of a path.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// Of ours.
    pub(crate) out: Arrivals,
    /// Of the other side's.
    pub(crate) back: Arrivals,
}

/// What passed on a lost path, over other carriers, since it waits to be closed.
///
/// QUIC declares what is in flight on a closed path lost only after the other side's consent and
/// three probe timeouts of that path, which after an outage are many seconds. An acknowledgement of
/// a later ping does it at once, so a path is kept until pings of both sides have passed for long
/// enough, without a break, that nothing of either side can be in flight on it any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaving {
    /// Acknowledgements of our packets.
    answers: u32,
    /// Packets of the other side.
    heard: u32,
    last: Instant,
    heartbeat: Duration,
}

impl Leaving {
    fn new(now: Instant, heartbeat: Duration) -> Self {
        Self {
            answers: 0,
            heard: 0,
            last: now,
            heartbeat,
        }
    }

    fn touch(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last) > self.heartbeat * 3 {
            (self.answers, self.heard) = (0, 0);
        }
        self.last = now;
    }

    pub(crate) fn on_answer(&mut self, now: Instant) {
        self.touch(now);
        self.answers += 1;
    }

    pub(crate) fn on_heard(&mut self, now: Instant) {
        self.touch(now);
        self.heard += 1;
    }

    fn is_done(&self, now: Instant) -> bool {
        let fresh = now.saturating_duration_since(self.last) <= self.heartbeat * 3;
        fresh && self.answers >= LEAVING_PINGS && self.heard >= LEAVING_PINGS
    }
}

/// One QUIC path.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) id: PathId,
    pub(crate) label: PathLabel,
    /// QUIC has validated it.
    pub(crate) established: bool,
    /// Last time an authentic packet of this path came over its own carrier.
    pub(crate) heard: Option<Instant>,
    /// When the next heartbeat is due.
    pub(crate) next_beat: Instant,
    /// Path in use: when the first packet was sent that should have been answered since then.
    /// (Answers to a backup path may come over the path in use, so there it says nothing.)
    pub(crate) unanswered: Option<Instant>,
    /// Since when it has been heard without a suspicion.
    pub(crate) steady_since: Option<Instant>,
    /// The other side marks it available.
    pub(crate) peer_available: bool,
    /// Its datagrams also go over other carriers until then, though it is out of use.
    pub(crate) reroute_until: Option<Instant>,
    /// Not to be chosen before.
    pub(crate) benched_until: Option<Instant>,
    /// The shell was asked to open its carrier anew.
    pub(crate) given_up: bool,
    pub(crate) opened: Instant,
    /// It waits to be closed.
    pub(crate) leaving: Option<Leaving>,
    pub(crate) trips: RoundTrips,
    /// Found lost by QUIC, what was merely overtaken and acknowledged late among it.
    pub(crate) loss: LossWindow,
    /// What did not come over whichever carrier; while copies are sent it shows little of what its own
    /// carrier loses.
    pub(crate) lost: Lost,
    /// Its datagrams take unlike times.
    pub(crate) uneven: bool,
    /// Small packets are sent twice until then.
    pub(crate) redundant_until: Option<Instant>,
    /// Frames of this path that were heard when it was last looked; `None`: it never was.
    pub(crate) frames: Option<u64>,
    /// Frames that want an answer, sent when it was last looked.
    asked: Option<u64>,
    heartbeat: Duration,
}

impl Book {
    pub(crate) fn new(id: PathId, label: PathLabel, now: Instant, heartbeat: Duration) -> Self {
        Self {
            id,
            label,
            established: false,
            heard: None,
            next_beat: now,
            unanswered: None,
            steady_since: None,
            // QUIC's default; it is only told when it changes.
            peer_available: true,
            reroute_until: None,
            benched_until: None,
            given_up: false,
            opened: now,
            leaving: None,
            trips: RoundTrips::default(),
            loss: LossWindow::default(),
            lost: Lost::default(),
            uneven: false,
            redundant_until: None,
            frames: None,
            asked: None,
            heartbeat,
        }
    }

    pub(crate) fn on_heard(&mut self, now: Instant) {
        self.heard = Some(now);
        self.leaving = None;
        if self.steady_since.is_none() {
            self.steady_since = Some(now);
        }
    }

    /// Whether more frames that want an answer were sent since the last look; `asked`: so far.
    pub(crate) fn has_asked(&mut self, asked: u64) -> bool {
        self.asked
            .replace(asked)
            .is_some_and(|before| before < asked)
    }

    pub(crate) fn on_asked(&mut self, now: Instant) {
        if self.unanswered.is_none() {
            self.unanswered = Some(now);
        }
    }

    /// The other side has heard something on this path's own carrier that was sent lately. That it is
    /// heard itself is no answer: the path may be dead in this direction alone.
    pub(crate) fn on_answered(&mut self) {
        self.unanswered = None;
    }

    /// For a path that is lost and out of use: can it be closed without leaving data in flight?
    pub(crate) fn may_close(&mut self, now: Instant) -> bool {
        if !self.established {
            return true;
        }
        let heartbeat = self.heartbeat;
        self.leaving
            .get_or_insert_with(|| Leaving::new(now, heartbeat))
            .is_done(now)
    }

    /// It promised too much, what came over it was altered, or it is about to be withdrawn; see also
    /// `Policy::benched`.
    pub(crate) fn is_benched(&self, now: Instant) -> bool {
        self.benched_until.is_some_and(|until| now < until)
    }

    /// How long nothing has been heard on its own carrier.
    pub(crate) fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard.unwrap_or(self.opened))
    }

    /// Silence that a path in good health does not have.
    fn missed_beat(&self) -> Duration {
        self.heartbeat * 3 / 2
    }

    fn suspicion(&self) -> Duration {
        (self.trips.probe_timeout() * 9 / 10).max(SUSPICION_FLOOR)
    }

    /// An answer or a heartbeat is overdue: send its datagrams over the standby too.
    pub(crate) fn suspect(&self, now: Instant) -> bool {
        let overdue = self
            .unanswered
            .is_some_and(|since| now.saturating_duration_since(since) >= self.suspicion());
        overdue || self.silent_for(now) >= self.missed_beat()
    }

    /// When [`Book::suspect`] or `silence` will come true if nothing is heard.
    pub(crate) fn next_doubt(&self, now: Instant, silence: Duration) -> Instant {
        let heard = self.heard.unwrap_or(self.opened);
        if self.suspect(now) {
            return heard + silence;
        }
        let missed_at = heard + self.missed_beat();
        let overdue_at = self.unanswered.map(|since| since + self.suspicion());
        missed_at.min(overdue_at.unwrap_or(missed_at))
    }
}

/// Frames that want an answer (RFC 9000 13.2.1: all but ACK, PADDING and CONNECTION_CLOSE).
pub(crate) fn asking_frames(stats: &FrameStats) -> u64 {
    stats.stream
        + stats.ping
        + stats.crypto
        + stats.datagram
        + stats.path_challenge
        + stats.path_response
        + stats.max_data
        + stats.max_stream_data
        + stats.path_status_available
        + stats.path_status_backup
        + stats.immediate_ack
        + stats.reset_stream
        + stats.stop_sending
}

/// All frames; grows with every packet that was authentic and new.
pub(crate) fn all_frames(stats: &FrameStats) -> u64 {
    asking_frames(stats)
        + stats.acks
        + stats.path_acks
        + stats.connection_close
        + u64::from(stats.handshake_done)
        + stats.max_streams_bidi
        + stats.max_streams_uni
        + stats.new_connection_id
        + stats.path_new_connection_id
        + stats.retire_connection_id
        + stats.path_retire_connection_id
        + stats.path_abandon
        + stats.max_path_id
        + stats.paths_blocked
        + stats.path_cids_blocked
        + stats.data_blocked
        + stats.stream_data_blocked
        + stats.streams_blocked_bidi
        + stats.streams_blocked_uni
        + stats.ack_frequency
        + stats.new_token
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some instant to start from"
)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_follows_the_samples_behind_the_smoothed_round_trip() {
        let mut trips = RoundTrips::default();
        let mut smoothed = Duration::from_millis(40);
        trips.observe(smoothed);
        let mut deviation = smoothed / 2;
        for sample_ms in [48u32, 40, 56, 40] {
            let sample = Duration::from_millis(u64::from(sample_ms));
            // RFC 9002 5.3
            deviation = (deviation * 3 + smoothed.abs_diff(sample)) / 4;
            smoothed = (smoothed * 7 + sample) / 8;
            assert!(trips.observe(smoothed));
            let off = trips.deviation.abs_diff(deviation);
            assert!(off < Duration::from_micros(1), "{off:?}");
        }
        assert!(!trips.observe(smoothed), "nothing new");
    }

    #[test]
    fn loss_is_counted_over_the_window_only() {
        let start = Instant::now();
        let mut book = Book::new(
            PathId::ZERO,
            PathLabel {
                kind: warp_protocol::carrier::PathKind::Direct,
                generation: 0,
            },
            start,
            Duration::from_millis(250),
        );
        for second in 0..30u64 {
            // one packet in ten is lost in the first 10 s, none later
            let sent = second * 10;
            let lost = second.min(10);
            book.loss
                .sample(start + Duration::from_secs(second), sent, lost);
        }
        let (sent, lost) = book.loss.since_start(300, 10);
        assert_eq!((sent, lost), (110, 0));
    }

    #[test]
    fn an_answer_that_is_overdue_makes_a_path_suspect_until_it_comes() {
        let start = Instant::now();
        let label = PathLabel {
            kind: warp_protocol::carrier::PathKind::Direct,
            generation: 0,
        };
        let mut book = Book::new(PathId::ZERO, label, start, Duration::from_millis(250));
        book.trips.observe(Duration::from_millis(2));
        book.on_heard(start);
        assert!(
            !book.suspect(start + Duration::from_millis(200)),
            "nothing was asked"
        );
        book.on_asked(start + Duration::from_millis(200));
        assert!(book.suspect(start + Duration::from_millis(300)));
        book.on_heard(start + Duration::from_millis(301));
        assert!(
            book.suspect(start + Duration::from_millis(302)),
            "heard, and not answered"
        );
        book.on_answered();
        assert!(!book.suspect(start + Duration::from_millis(400)));
    }
}
