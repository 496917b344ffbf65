//! Measuring carriers: stamps on the way out and in, reports of both sides, figures to show.

use std::time::{Duration, Instant};

use bytes::Bytes;
use noq_proto::PathStats;
use warp_protocol::carrier::{CLOCK_WRAP, Label, PathKind, PathLabel};
use warp_protocol::report::{self, CopyWish, Entry, Heard, Report};

use crate::books::Book;
use crate::config::Redundancy;
use crate::flow::{Flow, share};
use crate::link::Link;
use crate::packets::Numbers;
use crate::quality::{Figures, Quality};
use crate::view::{DirectionView, PathView};

/// Time between reports.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A report older than this is old news: two were lost after it.
const REPORT_FRESH: Duration = Duration::from_millis(3500);

impl Link {
    /// The own clock as it is told: microseconds since some moment, wrapping.
    fn clock_us(&mut self, now: Instant) -> u32 {
        let since = *self.clock.get_or_insert(now);
        let micros = now.saturating_duration_since(since).as_micros();
        (micros % u128::from(CLOCK_WRAP)) as u32
    }

    /// The label of a datagram of `len` bytes that leaves over `carrier` now.
    pub(crate) fn label(
        &mut self,
        carrier: PathKind,
        path: PathLabel,
        len: usize,
        now: Instant,
    ) -> Label {
        let clock = self.clock_us(now);
        let stamp = self.flow(carrier).stamp(now, clock, len);
        Label { path, stamp }
    }

    /// A datagram of `len` bytes came over `carrier`.
    pub(crate) fn measure(&mut self, carrier: PathKind, label: Label, len: usize, now: Instant) {
        let clock = self.clock_us(now);
        let flow = self.flow(carrier);
        flow.hear(label.stamp, now, clock, len);
        if flow.answered() != Some(now) {
            return;
        }
        let generation = self.carriers.get(carrier).map(|known| known.generation);
        for book in self.books.values_mut() {
            if book.label.kind == carrier && Some(book.label.generation) == generation {
                book.on_answered();
            }
        }
    }

    /// What is measured of a carrier.
    pub(crate) fn flow(&mut self, carrier: PathKind) -> &mut Flow {
        self.flows.or_default(carrier)
    }

    // ---- reports

    /// When the next report is due.
    pub(crate) fn report_deadline(&self) -> Option<Instant> {
        self.next_report.filter(|_| !self.closed)
    }

    /// Tells what was heard, once a second.
    pub(crate) fn report(&mut self, now: Instant) {
        if self.next_report.is_none_or(|at| now < at) {
            return;
        }
        self.next_report = Some(now + REPORT_EVERY);
        let entries: Vec<Entry> = self
            .carriers
            .iter()
            .filter(|(_, carrier)| carrier.up)
            .filter_map(|(kind, carrier)| {
                let heard = self.flows.get(kind)?.heard(now)?;
                let carrier = PathLabel {
                    kind,
                    generation: carrier.generation,
                };
                let path = self.books.values().find(|book| book.label == carrier);
                let packets = self.keys.packets();
                let came = path.and_then(|book| packets.heard(book.id));
                let Numbers { numbers, arrived } = came.unwrap_or_default();
                let heard = Heard {
                    packet_numbers: numbers,
                    packets: arrived,
                    skipped: path.map_or(0, |book| packets.skipped(book.id)),
                    ..heard
                };
                Some(Entry { carrier, heard })
            })
            .collect();
        if let Some((_, connection)) = &mut self.connection {
            self.quiet = false;
            let report = Report {
                copies: self.config.redundancy.into(),
                sent_twice: self.duplicated,
                entries,
            };
            // A side that takes no datagrams has these figures as unknown.
            let _ = connection
                .datagrams()
                .send(Bytes::from(report::encode(&report)), true);
        }
    }

    /// Takes the datagrams that came; what is no report is dropped.
    pub(crate) fn take_reports(&mut self, now: Instant) {
        while let Some(bytes) = self
            .connection
            .as_mut()
            .and_then(|(_, connection)| connection.datagrams().recv())
        {
            let Some(report) = report::decode(&bytes) else {
                continue;
            };
            // They may come out of order.
            self.sent_twice_there = self.sent_twice_there.max(report.sent_twice);
            self.wish(report.copies);
            for Entry { carrier, heard } in report.entries {
                let open = self.carriers.get(carrier.kind);
                if open.is_some_and(|open| open.generation == carrier.generation) {
                    self.flow(carrier.kind).on_told(now, heard);
                }
                let mut paths = self.books.values_mut();
                if let Some(book) = paths.find(|book| book.label == carrier) {
                    let packets = self.keys.packets();
                    let sent = packets.sent_below(book.id, heard.packet_numbers);
                    let came = packets.heard(book.id).unwrap_or_default();
                    let sent_there = came.numbers.saturating_sub(heard.skipped.into());
                    book.lost.out.on_told(sent, heard.packets, now);
                    book.lost.back.on_told(sent_there, came.arrived, now);
                }
            }
        }
    }

    /// The other side wishes small packets to be sent twice then; an engine follows nobody.
    fn wish(&mut self, copies: CopyWish) {
        if !self.is_client() && std::mem::replace(&mut self.wished, copies) != copies {
            self.forget_copies();
        }
    }

    /// When small packets are sent twice: as the engine wishes it, on both sides.
    pub(crate) fn copies(&self) -> Redundancy {
        match self.wished {
            CopyWish::Auto => self.config.redundancy,
            CopyWish::Never => Redundancy::Off,
            CopyWish::Always => Redundancy::Always,
        }
    }

    /// What was wanted before is not wanted for its hold time any more.
    pub(crate) fn forget_copies(&mut self) {
        for book in self.books.values_mut() {
            book.redundant_until = None;
        }
    }

    /// How unlike the times are that this side's datagrams took over a carrier, as the other side told.
    pub(crate) fn jitter_there(&self, carrier: PathKind, now: Instant) -> Option<Duration> {
        let told = self.flows.get(carrier)?.told(now, REPORT_FRESH)?;
        told.jitter_us
            .map(|jitter| Duration::from_micros(jitter.into()))
    }

    // ---- figures

    /// All that is measured of a path's own carrier; `None` while some of it is not known.
    pub(crate) fn figures_of(&self, book: &Book, now: Instant) -> Option<Figures> {
        let flow = self.flows.get(book.label.kind)?;
        if !self.carrier_of(book) {
            return None;
        }
        let (told, heard) = (flow.told(now, REPORT_FRESH), flow.heard(now));
        let (up, down) = if self.is_client() {
            (told, heard)
        } else {
            (heard, told)
        };
        let trip = flow.trip(now)?.as_secs_f64() * 1000.0;
        figures(Some(trip), &direction(up, None), &direction(down, None))
    }

    /// One path as it is shown.
    pub(crate) fn view_of(&self, book: &Book, stats: &PathStats, now: Instant) -> PathView {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        // The carrier of an older opening is gone, and what is measured is not of it.
        let flow = self
            .flows
            .get(book.label.kind)
            .filter(|_| self.carrier_of(book));
        let told = flow.and_then(|flow| flow.told(now, REPORT_FRESH));
        let heard = flow.and_then(|flow| flow.heard(now));
        let (sent_rate, heard_rate) = flow.map(|flow| flow.rates(now)).unwrap_or_default();
        let (up, down) = if self.is_client() {
            (told, heard)
        } else {
            (heard, told)
        };
        let (up_rate, down_rate) = if self.is_client() {
            (sent_rate, heard_rate)
        } else {
            (heard_rate, sent_rate)
        };
        let rtt_ms = flow.and_then(|flow| flow.trip(now)).map(ms);
        let to_endpoint = direction(up, up_rate);
        let to_player = direction(down, down_rate);
        let figures = figures(rtt_ms, &to_endpoint, &to_player);
        PathView {
            kind: book.label.kind,
            phase: self.phase_of(book, now),
            rtt_ms,
            jitter_ms: larger(to_endpoint.jitter_ms, to_player.jitter_ms),
            loss_percent: pooled_loss(up, down),
            quality: figures.map(|figures| Quality::of(&figures)),
            cost_ms: self.cost(book, now),
            to_endpoint,
            to_player,
            resent_packets: stats.lost_packets,
            queued_bytes: None,
            queue_ms: None,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            silent_ms: book.heard.map(|_| ms(book.silent_for(now))),
        }
    }
}

fn direction(heard: Option<Heard>, bytes_per_second: Option<f64>) -> DirectionView {
    let part = |part: fn(&Heard) -> u32| {
        heard.and_then(|heard| share(u64::from(part(&heard)), u64::from(heard.recent)))
    };
    DirectionView {
        loss_percent: part(|heard| heard.recent_lost),
        jitter_ms: heard
            .and_then(|heard| heard.jitter_us)
            .map(|jitter| f64::from(jitter) / 1000.0),
        late_percent: part(|heard| heard.recent_late),
        bytes_per_second,
        datagrams: heard.map(|heard| heard.total),
        lost: heard.map(|heard| heard.total_lost),
    }
}

/// Of both directions together; of the one that is known while the other is not.
fn pooled_loss(up: Option<Heard>, down: Option<Heard>) -> Option<f64> {
    let (mut lost, mut sent) = (0, 0);
    for heard in [up, down].into_iter().flatten() {
        lost += u64::from(heard.recent_lost);
        sent += u64::from(heard.recent);
    }
    share(lost, sent)
}

fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

fn figures(rtt_ms: Option<f64>, up: &DirectionView, down: &DirectionView) -> Option<Figures> {
    Some(Figures {
        rtt_ms: rtt_ms?,
        jitter_ms: [up.jitter_ms?, down.jitter_ms?],
        loss_percent: [up.loss_percent?, down.loss_percent?],
    })
}
