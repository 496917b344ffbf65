//! Rates and measurements, for the view and for heartbeats.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use warp_host_core::{HostStatusView, MemberCounts, MemberView};

use crate::hardware::OwnCpu;
use crate::plane::{Plane, PlaneCounts};

/// Time between two looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was counted at the last look.
pub(crate) struct Figures {
    started: Instant,
    at: Instant,
    counts: PlaneCounts,
    members: HashMap<u32, MemberCounts>,
    cpu: OwnCpu,
    /// Of the last look.
    upload_bytes_per_s: f64,
}

impl Figures {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            at: now,
            counts: PlaneCounts::default(),
            members: HashMap::new(),
            cpu: OwnCpu::new(),
            upload_bytes_per_s: 0.0,
        }
    }

    /// Upload, 10^6 bits a second.
    pub(crate) fn upload_mbps(&self) -> f64 {
        self.upload_bytes_per_s * 8.0 / 1e6
    }

    /// Looks, and fills in what is counted.
    pub(crate) fn look(&mut self, plane: &Plane, view: &mut HostStatusView) {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let rate = |now: u64, before: u64| {
            if passed > 0.0 {
                now.saturating_sub(before) as f64 / passed
            } else {
                0.0
            }
        };
        let counts = plane.counts();
        let sent = |counts: &PlaneCounts| {
            let members = counts.totals.members;
            members.up_bytes + members.down_bytes
        };
        self.upload_bytes_per_s = rate(sent(&counts), sent(&self.counts));
        view.upload_bytes_per_s = self.upload_bytes_per_s;
        view.download_bytes_per_s = rate(counts.received_bytes, self.counts.received_bytes);
        view.uploaded_bytes = sent(&counts);
        view.downloaded_bytes = counts.received_bytes;
        let totals = counts.totals;
        view.dropped_rate = totals.members.over_rate;
        view.dropped_upload = totals.members.over_upload;
        view.dropped_other = totals.strangers
            + totals.malformed
            + totals.unrouted
            + totals.stale
            + counts.undelivered;
        view.floods = totals.floods;
        let mut members = HashMap::new();
        let lines = plane.member_lines().into_iter();
        view.members = lines
            .map(|line| {
                let before = self.members.get(&line.slot).copied().unwrap_or_default();
                members.insert(line.slot, line.counts);
                MemberView {
                    slot: line.slot,
                    zone: line.zone,
                    connected: line.connected,
                    up_bytes_per_s: rate(line.counts.up_bytes, before.up_bytes),
                    down_bytes_per_s: rate(line.counts.down_bytes, before.down_bytes),
                }
            })
            .collect();
        view.cpu_percent = self.cpu.percent();
        let uptime = now.saturating_duration_since(self.started).as_millis();
        view.uptime_ms = u64::try_from(uptime).unwrap_or(u64::MAX);
        self.at = now;
        self.counts = counts;
        self.members = members;
    }
}
