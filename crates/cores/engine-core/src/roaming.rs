//! The zone follows the map: which other zones are joined, and which link carries a map connection.
//!
//! The session of the zone that was chosen is kept for the whole play. It carries login and char
//! connections, maps without a zone, and everything that nothing else can carry. A *visit* is a
//! session in another zone beside it:
//!
//! ```text
//! asking ──▶ joining ──▶ opening ──▶ open ──▶ lingering ──▶ left
//! (by map)      └─ failed: the chosen zone carries ◀─┘ lost
//! ```
//!
//! # Rules
//! * A client that is sent to a map asks for that map's zone: the coordinator's answer counts for
//!   [`LOOKUP_KEPT`], also "no zone". An older one is used when the coordinator is away.
//! * The zone is joined and its link opened at once, before the client's connection comes. A
//!   connection waits [`ROUTE_WAIT`] at most for that, and stays on the link it began on.
//! * What fails is told once per zone, until it has worked. It is tried again when a client is next
//!   sent to another map of the zone; after a lost link also when it is sent to the same one.
//! * A visit is *used* while a client is on a map of its zone or a map connection is on its link.
//!   One that is not used is left after the linger time; when there are [`MAX_VISITS`] already and
//!   another is wanted, the one unused longest is left first. A used one is never left, and none while a map's zone is
//!   being looked up, which may be its.
//! * Time is an argument. Nothing is joined or left but in `Roaming::on_time`, so that whoever
//!   counts the streams of the links can do that after the last change of [`Routes`] took effect.
//!
//! # Bounds
//! [`MAX_VISITS`] visits and one that is being left, so that with the chosen zone's session an
//! account stays within the 8 that the coordinator grants; [`MAX_CLIENTS`] clients, further ones
//! stay with the chosen zone; [`MAX_LOOKUPS`] maps, of which [`MAX_ASKED`] are asked for at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use warp_protocol::rest::SessionGrant;
use warp_protocol::zone::{ReadLevel, ZoneFile, ZoneStatus, ZoneView, is_map_name};
use warp_protocol::{Problem, ProblemCode};

use crate::effect::{Effect, LinkId, MapStream, Routes, Way};
use crate::event::Event;
use crate::snapshot::MAX_CLIENTS;

mod client;
mod lookups;

use client::{Carrier, Client, Place};
pub use lookups::{LOOKUP_KEPT, MAX_ASKED, MAX_LOOKUPS};
use lookups::{Look, Lookups};

/// Zones that are visited at once.
pub const MAX_VISITS: usize = 6;
/// How long a map connection waits for its zone's link before the chosen zone's carries it.
pub const ROUTE_WAIT: Duration = Duration::from_millis(1500);

/// What the configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoamingSettings {
    /// Join the zones of maps at all.
    pub follow: bool,
    /// How long an unused visit is kept.
    pub linger: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Joining,
    Opening,
    Open,
}

#[derive(Debug)]
struct Visit {
    link: LinkId,
    phase: Phase,
    /// Since when it is not used.
    idle: Option<Duration>,
}

/// The state of it all, for one play after the other.
#[derive(Debug)]
pub(crate) struct Roaming {
    settings: RoamingSettings,
    chosen: Option<ZoneFile>,
    clients: BTreeMap<u64, Client>,
    lookups: Lookups,
    /// By zone id.
    visits: BTreeMap<String, Visit>,
    /// Closed, and perhaps still known to the coordinator; with the phase they had.
    leaving: BTreeMap<LinkId, Phase>,
    streams: Vec<MapStream>,
    routes: Routes,
    last_visit: u64,
    /// Zones whose failure was told.
    told_failed: BTreeSet<String>,
    told_away: bool,
    out: VecDeque<Effect>,
}

impl Roaming {
    pub(crate) fn new(settings: RoamingSettings) -> Self {
        Self {
            settings,
            chosen: None,
            clients: BTreeMap::new(),
            lookups: Lookups::default(),
            visits: BTreeMap::new(),
            leaving: BTreeMap::new(),
            streams: Vec::new(),
            routes: Routes::default(),
            last_visit: 0,
            told_failed: BTreeSet::new(),
            told_away: false,
            out: VecDeque::new(),
        }
    }

    /// The next thing to do, or to tell.
    pub(crate) fn poll(&mut self) -> Option<Effect> {
        self.out.pop_front()
    }

    /// Play has begun in this zone.
    pub(crate) fn start(&mut self, chosen: &ZoneFile) {
        let (settings, last_visit) = (self.settings, self.last_visit);
        *self = Self {
            chosen: Some(chosen.clone()),
            last_visit,
            ..Self::new(settings)
        };
    }

    /// Whether a map connection of anybody but `client` is on `link`.
    pub(crate) fn carries_others(&self, link: LinkId, client: Option<u64>) -> bool {
        let mut streams = self.streams.iter().filter(|stream| stream.link == link);
        streams.any(|stream| stream.client.is_none() || stream.client != client)
    }

    /// The chosen zone is described so now. Returns whether it is another one than before.
    pub(crate) fn rehome(&mut self, chosen: &ZoneFile) -> bool {
        let before = self.chosen.replace(chosen.clone());
        before.is_some_and(|before| before.zone_id != chosen.zone_id)
    }

    /// Play ends: every visit is left.
    pub(crate) fn stop(&mut self) {
        let zones: Vec<String> = self.visits.keys().cloned().collect();
        for zone in zones {
            self.leave(&zone);
        }
        self.chosen = None;
        self.clients.clear();
        self.streams.clear();
    }

    /// A server sent a client to a map.
    pub(crate) fn map_changed(&mut self, now: Duration, client: Option<u64>, map: String) {
        if self.chosen.is_none() {
            return;
        }
        let known = client.and_then(|client| self.clients.get(&client));
        let repeated = known.is_some_and(|at| at.map == map && !at.place.may_retry());
        if repeated {
            return;
        }
        let room = known.is_some() || self.clients.len() < MAX_CLIENTS;
        let Some(client) = client.filter(|_| room) else {
            let zone = self.own(&map).then(|| self.chosen_id());
            return self.emit(Event::MapChanged {
                client: client.unwrap_or(0),
                map,
                zone,
            });
        };
        let place = self.place_of(now, &map);
        let known = self.clients.get(&client);
        let told = known.and_then(|at| at.told_for(&map));
        let at = Client {
            tell_by: told.is_none().then_some(now + ROUTE_WAIT),
            told: told.flatten(),
            map,
            place,
        };
        self.clients.insert(client, at);
        self.refresh(now);
    }

    /// The client has no connection any more.
    pub(crate) fn client_gone(&mut self, now: Duration, client: u64) {
        self.clients.remove(&client);
        self.refresh(now);
    }

    fn own(&self, map: &str) -> bool {
        self.chosen.as_ref().is_some_and(|zone| zone.has_map(map))
    }

    fn chosen_id(&self) -> String {
        let chosen = self.chosen.as_ref();
        chosen.map_or_else(String::new, |zone| zone.zone_id.clone())
    }

    /// Where a client is that was sent to `map`; asks the coordinator where that is not known.
    fn place_of(&mut self, now: Duration, map: &str) -> Place {
        if self.own(map) {
            return Place::Own;
        }
        if !self.settings.follow || !is_map_name(map) {
            return Place::Nowhere { unknown: false };
        }
        match self.lookups.look(now, map) {
            Look::Known(zone) => Place::in_zone(zone.as_deref(), &self.chosen_id()),
            Look::Asked => Place::Asking,
            Look::Busy => Place::Nowhere { unknown: true },
            Look::Ask => {
                let map = map.to_owned();
                self.out.push_back(Effect::FindZones { map });
                Place::Asking
            }
        }
    }

    /// The coordinator named the zones of a map, best first.
    pub(crate) fn zones_found(&mut self, now: Duration, map: &str, zones: &[ZoneView]) {
        if self.chosen.is_none() {
            return;
        }
        let chosen = self.chosen_id();
        let enabled = || {
            zones
                .iter()
                .filter(|view| view.status == ZoneStatus::Enabled)
        };
        let ids = || enabled().map(|view| view.zone.zone_id.as_str());
        // The chosen zone has its session already; its maps may be other ones than when it began.
        let own = ids().find(|id| *id == chosen);
        // Nothing is rewritten for an opaque zone, so its connections come in at fixed ports, which the
        // bridge has for the chosen zone alone; and what is enciphered does not say whose it is.
        let read = enabled().filter(|view| view.zone.game.level != ReadLevel::Opaque);
        let best = read.map(|view| view.zone.zone_id.as_str()).next();
        let zone = own.or(best).map(str::to_owned);
        if zone.is_none()
            && let Some(opaque) = ids().next()
        {
            let detail = format!("{map}: the zone is opaque; choose it at Play to go through it");
            self.tell_once(opaque, ProblemCode::ZoneNotJoined, detail);
        }
        let place = Place::in_zone(zone.as_deref(), &chosen);
        self.lookups.answered(now, map, zone);
        self.told_away = false;
        self.answer(now, map, &place);
    }

    /// The coordinator could not be asked.
    pub(crate) fn lookup_failed(&mut self, now: Duration, map: &str, problem: Problem) {
        if self.chosen.is_none() {
            return;
        }
        let place = match self.lookups.failed(map) {
            Some(zone) => Place::in_zone(zone.as_deref(), &self.chosen_id()),
            None => Place::Nowhere { unknown: true },
        };
        if !std::mem::replace(&mut self.told_away, true) {
            self.emit(Event::Problem { problem });
        }
        self.answer(now, map, &place);
    }

    /// Puts those who wait for it, and those for whom it was not known, where the answer says.
    fn answer(&mut self, now: Duration, map: &str, place: &Place) {
        for client in self.clients.values_mut() {
            let waits = matches!(client.place, Place::Asking | Place::Nowhere { .. });
            if waits && client.map == map {
                client.place = place.clone();
            }
        }
        self.refresh(now);
    }

    /// The coordinator granted a session for a visit.
    pub(crate) fn joined(&mut self, link: LinkId, grant: Box<SessionGrant>) {
        match self.visit_mut(link) {
            Some(visit) if visit.phase == Phase::Joining => {
                visit.phase = Phase::Opening;
                self.out.push_back(Effect::OpenLink { link, grant });
            }
            // Left meanwhile: the session is given back.
            _ => {
                if let Some(phase) = self.leaving.get_mut(&link) {
                    *phase = Phase::Opening;
                }
                self.out.push_back(Effect::CloseLink { link });
            }
        }
    }

    /// The link of a visit is connected.
    pub(crate) fn ready(&mut self, now: Duration, link: LinkId) {
        let Some(zone) = self.zone_of(link) else {
            return;
        };
        if let Some(visit) = self.visits.get_mut(&zone) {
            visit.phase = Phase::Open;
        }
        for client in self.clients.values_mut() {
            if client.place.zone() == Some(&zone) {
                client.place = Place::visiting(&zone);
            }
        }
        self.told_failed.remove(&zone);
        self.emit(Event::ZoneJoined { zone });
        self.refresh(now);
    }

    /// There is no session for a visit, or no path of it could be opened.
    pub(crate) fn failed(&mut self, now: Duration, link: LinkId, problem: &Problem) {
        let Some(zone) = self.zone_of(link) else {
            // Left while it was being asked for: there is no session to wait for.
            if self.leaving.get(&link) == Some(&Phase::Joining) {
                self.leaving.remove(&link);
            }
            return;
        };
        let asked_only = self
            .visits
            .get(&zone)
            .is_some_and(|visit| visit.phase == Phase::Joining);
        if asked_only {
            self.visits.remove(&zone);
        } else {
            self.leave(&zone);
        }
        self.fall_back(&zone, false);
        let code = problem.code.name();
        let detail = match &problem.detail {
            Some(detail) => format!("{code}: {detail}"),
            None => code,
        };
        self.tell_once(&zone, ProblemCode::ZoneNotJoined, detail);
        self.refresh(now);
    }

    /// The link of a visit has ended by itself.
    pub(crate) fn closed(&mut self, now: Duration, link: LinkId, why: String) {
        let Some(zone) = self.zone_of(link) else {
            return;
        };
        self.leave(&zone);
        self.fall_back(&zone, true);
        self.tell_once(&zone, ProblemCode::ZoneLost, why);
        self.refresh(now);
    }

    /// A closed link is gone and its session given back.
    pub(crate) fn left(&mut self, link: LinkId) {
        self.leaving.remove(&link);
    }

    /// The map connections that are open now.
    pub(crate) fn set_streams(&mut self, streams: Vec<MapStream>) {
        self.streams = streams;
    }

    /// Joins and leaves what is due; to be called after every other call, and at
    /// [`Roaming::next_time`].
    pub(crate) fn on_time(&mut self, now: Duration) {
        if self.chosen.is_none() {
            return;
        }
        self.note_use(now);
        let due = self
            .unused()
            .filter(|(_, since)| now.saturating_sub(*since) >= self.settings.linger);
        let due: Vec<String> = due.map(|(zone, _)| zone.to_owned()).collect();
        for zone in due {
            self.leave(&zone);
        }
        let wanted: BTreeSet<String> = self
            .clients
            .values()
            .filter_map(|client| match &client.place {
                Place::Zone {
                    zone,
                    by: Carrier::Visit,
                } if !self.visits.contains_key(zone) => Some(zone.clone()),
                _ => None,
            })
            .collect();
        for zone in wanted {
            self.visit(zone);
        }
        self.refresh(now);
    }

    /// Notes since when each visit is unused.
    fn note_use(&mut self, now: Duration) {
        for (zone, visit) in &mut self.visits {
            let mut clients = self.clients.values();
            let used = clients.any(|client| client.place.zone() == Some(zone))
                || self.streams.iter().any(|stream| stream.link == visit.link);
            visit.idle = match visit.idle {
                _ if used => None,
                None => Some(now),
                since => since,
            };
        }
    }

    /// A map's zone is being looked up for a client that is on it.
    fn asking(&self) -> bool {
        let mut clients = self.clients.values();
        clients.any(|client| client.place == Place::Asking)
    }

    /// Visits that may be left, and since when they are unused.
    fn unused(&self) -> impl Iterator<Item = (&str, Duration)> {
        let visits = self.visits.iter().filter(|_| !self.asking());
        visits.filter_map(|(zone, visit)| Some((zone.as_str(), visit.idle?)))
    }

    /// Joins a zone, if there is a place for it.
    fn visit(&mut self, zone: String) {
        if self.visits.len() >= MAX_VISITS {
            let oldest = self.unused().min_by_key(|(_, since)| *since);
            match oldest.map(|(zone, _)| zone.to_owned()) {
                // One at a time is on its way out beside the six.
                Some(oldest) if self.leaving.is_empty() => self.leave(&oldest),
                Some(_) => return,
                // One of them may be unused when the lookup is answered.
                None if self.asking() => return,
                None => return self.fall_back(&zone, true),
            }
        } else if self.visits.len() + self.leaving.len() > MAX_VISITS {
            return;
        }
        self.last_visit += 1;
        let link = LinkId::visit(self.last_visit);
        let visit = Visit {
            link,
            phase: Phase::Joining,
            idle: None,
        };
        self.visits.insert(zone.clone(), visit);
        self.out.push_back(Effect::Join { link, zone });
    }

    /// Leaves a zone. Its clients stay where they are.
    fn leave(&mut self, zone: &str) {
        let Some(visit) = self.visits.remove(zone) else {
            return;
        };
        self.leaving.insert(visit.link, visit.phase);
        self.out.push_back(Effect::CloseLink { link: visit.link });
        if visit.phase == Phase::Open {
            let zone = zone.to_owned();
            self.emit(Event::ZoneLeft { zone });
        }
    }

    /// The chosen zone carries the clients of `zone`.
    fn fall_back(&mut self, zone: &str, retry: bool) {
        for client in self.clients.values_mut() {
            match &mut client.place {
                Place::Zone { zone: at, by } if at == zone => *by = Carrier::Chosen { retry },
                _ => {}
            }
        }
    }

    fn tell_once(&mut self, zone: &str, code: ProblemCode, detail: String) {
        if self.told_failed.insert(zone.to_owned()) {
            let problem = Problem::new(code, zone).with_detail(detail);
            self.emit(Event::Problem { problem });
        }
    }

    /// When [`Roaming::on_time`] has something to do by itself.
    pub(crate) fn next_time(&self) -> Option<Duration> {
        let linger = self.unused().map(|(_, since)| since + self.settings.linger);
        let tell = self.clients.values().filter_map(|client| client.tell_by);
        linger.chain(tell).min()
    }

    /// The link that carries the newest map connection, of one client or of all.
    pub(crate) fn newest(&self, client: Option<u64>) -> LinkId {
        self.streams
            .iter()
            .filter(|stream| client.is_none() || stream.client == client)
            .max_by_key(|stream| stream.number)
            .map_or(LinkId::CHOSEN, |stream| stream.link)
    }

    /// Every link that is open, the chosen zone's first.
    pub(crate) fn links(&self) -> Vec<LinkId> {
        let open = self
            .visits
            .values()
            .filter(|visit| visit.phase == Phase::Open);
        std::iter::once(LinkId::CHOSEN)
            .chain(open.map(|visit| visit.link))
            .collect()
    }

    /// True while `link` is that of a visit, whatever its phase.
    pub(crate) fn has(&self, link: LinkId) -> bool {
        self.zone_of(link).is_some()
    }

    fn zone_of(&self, link: LinkId) -> Option<String> {
        let of_link = self.visits.iter().find(|(_, visit)| visit.link == link);
        of_link.map(|(zone, _)| zone.clone())
    }

    fn visit_mut(&mut self, link: LinkId) -> Option<&mut Visit> {
        self.visits.values_mut().find(|visit| visit.link == link)
    }

    fn emit(&mut self, event: Event) {
        self.out.push_back(Effect::Emit(event));
    }

    /// Tells what changed for the clients, and for the router.
    fn refresh(&mut self, now: Duration) {
        let mut routes = Routes::default();
        let chosen = self.chosen_id();
        let mut news = Vec::new();
        for (number, client) in &mut self.clients {
            let (way, zone) = match &client.place {
                Place::Own => (Way::Chosen, Some(&chosen)),
                Place::Nowhere { .. } => (Way::Chosen, None),
                Place::Asking => (Way::Wait, None),
                Place::Zone { zone, by } => match (self.visits.get(zone), by) {
                    (Some(visit), _) if visit.phase == Phase::Open => {
                        (Way::Visit(visit.link), Some(zone))
                    }
                    (None, Carrier::Chosen { .. }) => (Way::Chosen, None),
                    _ => (Way::Wait, None),
                },
            };
            routes.enter(*number, &client.map, way);
            let tell = match client.tell_by {
                Some(by) => way != Way::Wait || now >= by,
                None => client.told.as_ref() != zone,
            };
            if tell {
                client.tell_by = None;
                client.told = zone.cloned();
                news.push(Event::MapChanged {
                    client: *number,
                    map: client.map.clone(),
                    zone: zone.cloned(),
                });
            }
        }
        for event in news {
            self.emit(event);
        }
        if routes != self.routes {
            self.routes = routes.clone();
            self.out.push_back(Effect::SetRoutes(routes));
        }
    }
}

#[cfg(test)]
mod tests;
