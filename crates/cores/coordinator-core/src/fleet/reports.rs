//! What members and hosts tell of each other.

use std::collections::BTreeSet;
use std::time::Duration;

use warp_protocol::hosting::{HostVerdict, HostsReason, MemberVerdict};

use super::leases::Change;
use super::model::{FleetEvent, LeaseEnd, Report};
use super::{Fleet, Quality, Sample};

/// A round trip longer than this is no measurement, milliseconds.
const LONGEST_RTT: f64 = 60_000.0;

impl Fleet {
    /// A launcher tells how a host of its session is doing.
    pub fn report(&mut self, now: Duration, session_id: &str, report: &Report) {
        let way = self.way_of(session_id, &report.host_id);
        let session = self.sessions.get_mut(session_id);
        let account = session.as_ref().map(|session| session.who.account);
        let place = session.zip(way).and_then(|(session, way)| {
            let place = session.ways.get_mut(way)?.as_mut()?;
            (place.epoch == report.epoch).then_some(place)
        });
        let (Some(account), Some(place)) = (account, place) else {
            self.counters.stale_reports += 1;
            let session_id = session_id.to_owned();
            self.event(FleetEvent::StaleReport { session_id });
            return;
        };
        match report.verdict {
            HostVerdict::Good => {
                place.bad = false;
                let quality = measured(report);
                let sample = Some(Sample { at: now, quality });
                let sample = sample.filter(|sample| sample.quality != Quality::default());
                place.sample = sample.or(place.sample);
                if let Some(host) = self.hosts.get_mut(&report.host_id) {
                    host.bad.remove(&account);
                    if let Some(sample) = sample {
                        host.note(account, sample);
                    }
                }
                let limits = self.limits;
                self.measure(now, &report.host_id, &limits);
            }
            HostVerdict::Unreachable | HostVerdict::Silent | HostVerdict::Tampering => {
                let again = std::mem::replace(&mut place.bad, true);
                if again || self.may_report(now, account) {
                    if report.verdict == HostVerdict::Tampering
                        && let Some(host) = self.hosts.get_mut(&report.host_id)
                    {
                        host.tampered = true;
                    }
                    self.found_bad(now, session_id, account, &report.host_id);
                } else {
                    // Not heard, so that it is asked again when the account may report again.
                    let session = self.sessions.get_mut(session_id);
                    let ways = session.into_iter().flat_map(|session| &mut session.ways);
                    for place in ways.flatten().filter(|p| p.host_id == report.host_id) {
                        place.bad = false;
                    }
                    self.counters.ignored_reports += 1;
                }
            }
        }
    }

    fn found_bad(&mut self, now: Duration, session_id: &str, account: i64, host_id: &str) {
        let (within, shun) = (self.limits.report, self.limits.shun);
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.avoid.insert(host_id.to_owned(), now + shun);
        }
        let Some(host) = self.hosts.get_mut(host_id) else {
            return;
        };
        host.bad.insert(account, now);
        host.bad.retain(|_, at| *at + within > now);
        // Members that were moved since they found it bad count on.
        let carried = host.members.iter();
        let carried = carried.filter_map(|id| Some(self.sessions.get(id)?.who.account));
        let carried: BTreeSet<i64> = carried.chain(host.bad.keys().copied()).collect();
        let bad = host.bad.len();
        if 2 * bad >= carried.len() && (carried.len() == 1 || bad >= 2) {
            host.bad.clear();
            host.shunned_until = now + shun;
            self.end_leases(now, host_id, None, LeaseEnd::Reported);
            return;
        }
        let way = self.way_of(session_id, host_id);
        let other = self.pick(now, session_id, way, super::choice::Mode::Spread);
        if let (Some(way), Some(other)) = (way, other) {
            let (to, reason) = (Some(other.host_id), HostsReason::Reported);
            self.move_way(now, session_id, way, to, Change::now(reason));
            self.tell(session_id, reason);
        }
    }

    /// Counts a bad report of an account; false where it has brought as many as it may.
    fn may_report(&mut self, now: Duration, account: i64) -> bool {
        let window = self.limits.report_window;
        let times = self.reports.entry(account).or_default();
        times.retain(|at| *at + window > now);
        let may = times.len() < self.limits.reports;
        if may {
            times.push_back(now);
        }
        may
    }

    /// Forgets old reports, so that the table holds accounts of the last minutes only.
    pub(super) fn forget_reports(&mut self, now: Duration) {
        let window = self.limits.report_window;
        self.reports.retain(|_, times| {
            times.retain(|at| *at + window > now);
            !times.is_empty()
        });
    }

    /// A host tells that a member misbehaves. It drops what is too much itself; this counts it.
    pub fn member_report(
        &mut self,
        _now: Duration,
        host_id: &str,
        peer_id: &str,
        verdict: MemberVerdict,
        dropped: u64,
    ) {
        let Some(host) = self.hosts.get(host_id) else {
            return;
        };
        let mut members = host.members.iter();
        let carried = members.any(|session_id| {
            let session = self.sessions.get(session_id);
            session.is_some_and(|session| session.who.peer_id == peer_id)
        });
        if !carried {
            self.counters.stale_reports += 1;
            return;
        }
        self.counters.flooded = self.counters.flooded.saturating_add(dropped);
        self.event(FleetEvent::MemberReported {
            host_id: host_id.to_owned(),
            peer_id: peer_id.to_owned(),
            verdict,
            dropped,
        });
    }
}

/// What can be believed of a report's numbers.
fn measured(report: &Report) -> Quality {
    let rtt = |ms: &f64| (0.0..=LONGEST_RTT).contains(ms);
    let loss = |percent: &f64| (0.0..=100.0).contains(percent);
    Quality {
        latency_ms: report.rtt_ms.filter(rtt),
        loss_percent: report.loss_percent.filter(loss),
    }
}
