//! Hosts come, tell how they are doing, and go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use warp_protocol::hosting::{HostHeartbeat, HostStatus, HostView, HostsReason};
use warp_protocol::signal::ServerSignal;

use super::claims::Doubts;
use super::leases::Change;
use super::model::{FleetEvent, FleetTally, HostRecord, HostRefused, LeaseEnd};
use super::policy::{check_heartbeat, check_record};
use super::{Fleet, FleetLimits, FleetOutput, Host, Quality};

/// Which hosts are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HostFilter {
    /// Only those with this status.
    pub status: Option<HostStatus>,
    /// Only those whose score is known and at least this.
    pub min_score: Option<f64>,
}

impl Host {
    pub(super) fn new(record: HostRecord, now: Duration, next_slot: u32) -> Self {
        Self {
            record,
            heard: now,
            attached: false,
            detached_at: None,
            offline_since: None,
            awaits: false,
            beat: None,
            draining: false,
            expired: false,
            drained: false,
            leases: BTreeMap::new(),
            held: BTreeSet::new(),
            next_slot,
            members: BTreeSet::new(),
            retiring: 0,
            bad: BTreeMap::new(),
            shunned_until: Duration::ZERO,
            tampered: false,
            forgiven: None,
            quality: Quality::default(),
            voices: 0,
            measured: BTreeMap::new(),
            found: Quality::default(),
            doubts: Doubts::default(),
        }
    }

    /// Until when it counts as alive, as things are.
    fn alive_until(&self, limits: &FleetLimits) -> Duration {
        let silent = self.heard + limits.silent;
        let detached = self.detached_at.map(|at| at + limits.detached);
        detached.map_or(silent, |at| at.min(silent))
    }

    /// When something is to be done about it.
    pub(super) fn deadline(&self, limits: &FleetLimits) -> Option<Duration> {
        match self.offline_since {
            Some(since) => Some(since + limits.forget),
            None => {
                let shunned = Some(self.shunned_until).filter(|until| !until.is_zero());
                let valid = self.record.valid_until.filter(|_| !self.expired);
                let alive = self.alive_until(limits);
                [shunned, valid, Some(alive)].into_iter().flatten().min()
            }
        }
    }

    fn status(&self) -> HostStatus {
        if self.offline_since.is_some() {
            HostStatus::Offline
        } else if self.draining {
            HostStatus::Maintenance
        } else if self.is_full() {
            HostStatus::Busy
        } else {
            HostStatus::Online
        }
    }

    fn score(&self) -> Option<f64> {
        self.scored(0).score()
    }

    fn view(&self) -> HostView {
        self.view_with(self.score())
    }

    /// Where its score is known already.
    fn view_with(&self, quality_score: Option<f64>) -> HostView {
        let record = &self.record;
        HostView {
            host_id: record.host_id.clone(),
            player_name: record.name.clone(),
            status: self.status(),
            zones: record.zones.clone(),
            hardware: record.hardware,
            max_players: record.max_players,
            current_players: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            latency_ms: self.quality.latency_ms,
            packet_loss_percent: self.quality.loss_percent,
            bandwidth_usage_mbps: self.beat.map_or(0.0, |beat| beat.bandwidth_usage_mbps),
            quality_score,
        }
    }
}

impl Fleet {
    /// Registers a host. The same one again replaces what it said before and no longer drains; with
    /// the same room, peer id and key it keeps its members.
    ///
    /// # Errors
    /// [`HostRefused`]. A host of which at least one zone takes it is registered for those that do.
    pub fn register(
        &mut self,
        now: Duration,
        mut record: HostRecord,
    ) -> Result<HostView, HostRefused> {
        check_record(&record)?;
        self.check_owner(&record.host_id, record.account)?;
        record.zones = self.accepted(&record)?;
        let host_id = record.host_id.clone();
        let known = self.hosts.get(&host_id).map(|host| {
            let same = &host.record;
            let place = (&same.room, &same.peer_id, same.device_key);
            (
                place == (&record.room, &record.peer_id, record.device_key),
                host.next_slot,
                (host.found, host.doubts),
            )
        });
        match known {
            None => {
                self.make_room(now, record.account)?;
                self.hosts
                    .insert(host_id.clone(), Host::new(record, now, 0));
            }
            Some((false, next_slot, known)) => {
                self.remove(now, &host_id);
                let mut host = Host::new(record, now, next_slot);
                // A new start makes nobody honest.
                (host.found, host.doubts) = known;
                self.hosts.insert(host_id.clone(), host);
            }
            Some((true, ..)) => self.renew(now, record),
        }
        self.grant_leases(now, &host_id);
        self.host(&host_id).ok_or(HostRefused::UnknownHost)
    }

    fn renew(&mut self, now: Duration, record: HostRecord) {
        let host_id = record.host_id.clone();
        let gone = |host: &Host| !host.attached && host.detached_at.is_some();
        if self.hosts.get(&host_id).is_some_and(gone) {
            self.start_anew(now, &host_id);
        }
        let Some(host) = self.hosts.get_mut(&host_id) else {
            return;
        };
        let hosted = record.hosted.is_some();
        let certified = host.record.certificate != record.certificate;
        let (zones, places) = (record.zones.clone(), record.max_players);
        host.record = record;
        host.heard = now;
        host.draining = false;
        host.expired = false;
        host.offline_since = None;
        // One without a socket has the time of a new one to open it.
        host.detached_at = None;
        let left = host.leases.keys();
        let left: Vec<String> = left
            .filter(|zone| hosted || !zones.contains(zone))
            .cloned()
            .collect();
        for zone_id in left {
            self.end_leases(now, &host_id, Some(&zone_id), LeaseEnd::Removed);
        }
        self.shrink(now, &host_id, places);
        if certified {
            // Its members check the certificate when they connect again.
            let members = self.hosts.get(&host_id).map(|host| host.members.clone());
            for session_id in members.unwrap_or_default() {
                self.tell(&session_id, HostsReason::First);
            }
        }
    }

    /// A host registers whose socket has gone: its process is another one, and carries nobody.
    fn start_anew(&mut self, now: Duration, host_id: &str) {
        self.end_leases(now, host_id, None, LeaseEnd::Removed);
        self.retire_all_of(host_id);
        let window = self.limits.report_window;
        let Some(host) = self.hosts.get_mut(host_id) else {
            return;
        };
        // That it was silent is over with the process that was. One that dies again and again waits.
        let lately = host.forgiven.is_some_and(|at| at + window > now);
        if host.shunned_until > now && !host.tampered && !lately {
            host.shunned_until = Duration::ZERO;
            host.forgiven = Some(now);
        }
    }

    /// Moves members away that a host no longer has places for.
    fn shrink(&mut self, now: Duration, host_id: &str, places: u32) {
        if self.hosts.get(host_id).is_some_and(|h| h.load() > places) {
            self.retire_all_of(host_id);
        }
        let keep = usize::try_from(places).unwrap_or(usize::MAX);
        let members = self.hosts.get(host_id).map(|host| host.members.clone());
        let surplus = members.into_iter().flatten().skip(keep);
        let surplus: Vec<String> = surplus.collect();
        for session_id in surplus {
            let change = Change::now(HostsReason::Draining);
            self.move_away(now, &session_id, host_id, change);
        }
    }

    /// A host tells how it is doing.
    ///
    /// # Errors
    /// It is not known, is another account's, or says what cannot be.
    pub fn heartbeat(
        &mut self,
        now: Duration,
        host_id: &str,
        account: i64,
        beat: HostHeartbeat,
    ) -> Result<HostView, HostRefused> {
        self.check_owner(host_id, account)?;
        check_heartbeat(&beat)?;
        let limits = self.limits;
        let host = self
            .hosts
            .get_mut(host_id)
            .ok_or(HostRefused::UnknownHost)?;
        host.heard = now;
        if host.alive_until(&limits) > now {
            host.offline_since = None;
        }
        let before = host.beat.replace(beat);
        let could = |beat: &HostHeartbeat| (beat.paused, beat.latency_ms.is_some());
        let changed = before.as_ref().map(could) != Some(could(&beat));
        self.weigh(now, host_id);
        self.measure(now, host_id, &limits);
        self.grant_leases(now, host_id);
        if changed {
            self.fill_soon(now);
        }
        self.host(host_id).ok_or(HostRefused::UnknownHost)
    }

    /// Its signaling socket is up, perhaps a new one. It is told its zones' policies and its members.
    pub fn attached(&mut self, now: Duration, host_id: &str) {
        let Some(host) = self.hosts.get_mut(host_id) else {
            return;
        };
        host.heard = now;
        host.attached = true;
        host.detached_at = None;
        host.offline_since = None;
        let (zones, members) = (host.record.zones.clone(), host.members.clone());
        for zone_id in zones {
            let host_id = host_id.to_owned();
            self.out
                .push_back(FleetOutput::PolicyToHost { host_id, zone_id });
        }
        for session_id in members {
            let way = self.way_of(&session_id, host_id);
            if let Some((_, member)) = way.and_then(|way| self.routed(&session_id, way)) {
                self.tell_host(host_id, ServerSignal::Serve { member });
            }
        }
        self.grant_leases(now, host_id);
    }

    /// Its signaling socket is gone.
    pub fn detached(&mut self, now: Duration, host_id: &str) {
        if let Some(host) = self.hosts.get_mut(host_id)
            && host.attached
        {
            host.attached = false;
            host.detached_at = Some(now);
        }
    }

    /// A host goes soon: its members are moved, then it is told.
    pub fn drain(&mut self, now: Duration, host_id: &str) {
        let Some(host) = self.hosts.get_mut(host_id) else {
            return;
        };
        host.draining = true;
        host.drained = false;
        self.end_leases(now, host_id, None, LeaseEnd::Draining);
        self.see_drained(host_id);
    }

    /// A host is gone.
    pub fn remove(&mut self, now: Duration, host_id: &str) {
        self.end_leases(now, host_id, None, LeaseEnd::Removed);
        self.retire_all_of(host_id);
        if let Some(host) = self.hosts.remove(host_id) {
            self.out.push_back(FleetOutput::EndHost {
                host_id: host_id.to_owned(),
                room: host.record.room,
            });
        }
    }

    /// One host.
    pub fn host(&self, host_id: &str) -> Option<HostView> {
        self.hosts.get(host_id).map(Host::view)
    }

    /// Whose host it is.
    pub fn owner(&self, host_id: &str) -> Option<i64> {
        self.hosts.get(host_id).map(|host| host.record.account)
    }

    /// What a host registered with.
    pub fn record(&self, host_id: &str) -> Option<&HostRecord> {
        self.hosts.get(host_id).map(|host| &host.record)
    }

    /// Hosts, by name.
    pub fn hosts(&self, filter: HostFilter) -> Vec<HostView> {
        let hosts = self.wanted(filter);
        hosts.map(|(host, score)| host.view_with(score)).collect()
    }

    /// A page of the hosts, the best first, an unknown one below all known ones, equals by name; and how
    /// many there are in all.
    pub fn best_hosts(
        &self,
        filter: HostFilter,
        offset: usize,
        limit: usize,
    ) -> (Vec<HostView>, usize) {
        let mut hosts: Vec<_> = self.wanted(filter).collect();
        let points = |score: Option<f64>| score.unwrap_or(-1.0);
        hosts.sort_by(|(_, a), (_, b)| points(*b).total_cmp(&points(*a)));
        let page = hosts.iter().skip(offset).take(limit);
        let views = page.map(|(host, score)| host.view_with(*score)).collect();
        (views, hosts.len())
    }

    /// Hosts by name, each with its score.
    fn wanted(&self, filter: HostFilter) -> impl Iterator<Item = (&Host, Option<f64>)> {
        let fits = move |host: &Host, score: Option<f64>| {
            filter.status.is_none_or(|status| host.status() == status)
                && filter
                    .min_score
                    .is_none_or(|least| score.is_some_and(|score| score >= least))
        };
        let hosts = self.hosts.values().map(|host| (host, host.score()));
        hosts.filter(move |(host, score)| fits(host, *score))
    }

    /// How many hosts there are, and what was measured of them.
    pub fn tally(&self) -> FleetTally {
        let mut tally = FleetTally::default();
        let (mut scores, mut latencies) = (Mean::default(), Mean::default());
        for host in self.hosts.values() {
            let status = host.status();
            *match status {
                HostStatus::Online => &mut tally.online,
                HostStatus::Offline => &mut tally.offline,
                HostStatus::Busy => &mut tally.busy,
                HostStatus::Maintenance => &mut tally.maintenance,
            } += 1;
            if status == HostStatus::Online {
                scores.add(host.score());
            }
        }
        for place in self.sessions.values().flat_map(|session| &session.ways) {
            let sample = place.as_ref().and_then(|place| place.sample);
            latencies.add(sample.and_then(|sample| sample.quality.latency_ms));
        }
        tally.score = scores.value();
        tally.latency_ms = latencies.value();
        tally
    }

    /// Hosts that could be given a member now, the best first.
    pub fn available(&self) -> Vec<HostView> {
        let able = |host: &&Host| {
            let online = host.status() == HostStatus::Online;
            online && host.attached && !host.expired && !host.leases.is_empty()
        };
        let mut views: Vec<HostView> = self.hosts.values().filter(able).map(Host::view).collect();
        // By score; an unknown one is below all known ones.
        let points = |view: &HostView| view.quality_score.unwrap_or(-1.0);
        views.sort_by(|a, b| points(b).total_cmp(&points(a)));
        views
    }

    fn check_owner(&self, host_id: &str, account: i64) -> Result<(), HostRefused> {
        match self.owner(host_id) {
            Some(owner) if owner != account => Err(HostRefused::NotYours),
            _ => Ok(()),
        }
    }

    /// Makes room for one more host of an account.
    pub(super) fn make_room(&mut self, now: Duration, account: i64) -> Result<(), HostRefused> {
        let offline = |of: Option<i64>| {
            let hosts = self.hosts.iter();
            let hosts = hosts.filter(|(_, h)| of.is_none_or(|of| h.record.account == of));
            let hosts = hosts.filter_map(|(id, host)| Some((host.offline_since?, id.clone())));
            hosts.min().map(|(_, id)| id)
        };
        let hosts = self.hosts.values();
        let mine = hosts.filter(|host| host.record.account == account).count();
        let (full, reason, oldest) = if mine >= self.limits.hosts_per_account {
            (true, HostRefused::TooManyOfAccount, offline(Some(account)))
        } else {
            let full = self.hosts.len() >= self.limits.hosts;
            (full, HostRefused::Full, offline(None).filter(|_| full))
        };
        match oldest {
            _ if !full => Ok(()),
            Some(oldest) => {
                self.remove(now, &oldest);
                Ok(())
            }
            None => Err(reason),
        }
    }

    /// Finds hosts that went silent, may have leases again, are drained, or can be forgotten.
    pub(super) fn look_after_hosts(&mut self, now: Duration) {
        let hosts: Vec<String> = self.hosts.keys().cloned().collect();
        for host_id in hosts {
            let Some(host) = self.hosts.get_mut(&host_id) else {
                continue;
            };
            match host.offline_since {
                Some(since) if since + self.limits.forget <= now => self.remove(now, &host_id),
                None if host.alive_until(&self.limits) <= now => {
                    host.offline_since = Some(now);
                    self.event(FleetEvent::HostOffline {
                        host_id: host_id.clone(),
                    });
                    self.end_leases(now, &host_id, None, LeaseEnd::Silent);
                }
                _ => {
                    host.expired = host.record.valid_until.is_some_and(|until| until <= now);
                    if host.shunned_until <= now {
                        host.shunned_until = Duration::ZERO;
                        host.tampered = false;
                    }
                    self.grant_leases(now, &host_id);
                }
            }
            self.see_drained(&host_id);
        }
    }

    fn see_drained(&mut self, host_id: &str) {
        let Some(host) = self.hosts.get_mut(host_id) else {
            return;
        };
        if host.draining && !host.drained && host.load() == 0 {
            host.drained = true;
            self.tell_host(host_id, ServerSignal::Drained);
            self.event(FleetEvent::Drained {
                host_id: host_id.to_owned(),
            });
        }
    }
}

/// Over what is known only.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.sum += value;
            self.count += 1;
        }
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}
