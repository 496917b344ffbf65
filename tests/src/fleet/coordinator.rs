//! The coordinator in the world: its start and its end, what its fleet wants done, and the routes that the
//! endpoint has by its word.

use std::time::Duration;

use rand::Rng;
use warp_coordinator_core::fleet::{
    Fleet, FleetEvent, FleetLimits, FleetOutput, HeldPlace, HostMinimum, Routed, ZoneRules,
};
use warp_protocol::carrier::PathKind;

use super::network::What;
use super::{Granted, Place, Route, SIGNALING, World, ZONE};

impl World {
    pub(super) fn fleet_now(&self) -> Duration {
        self.now - self.fleet_start + self.skew
    }

    pub(super) fn start_coordinator(&mut self) {
        self.generation += 1;
        self.fleet_start = self.now;
        let mut fleet = Fleet::new(FleetLimits::default());
        fleet.put_zone(
            Duration::ZERO,
            ZoneRules {
                zone_id: ZONE.into(),
                p2p: true,
                fallback: true,
                min_score: 7.0,
                min_bandwidth_mbps: 1,
                max_latency_ms: 400,
                minimum: HostMinimum::default(),
                upstreams: Vec::new(),
            },
        );
        self.fleet = Some(fleet);
        self.name_held();
        for n in 0..self.hosts.len() {
            let wait = Duration::from_millis(self.rng.random_range(50..800));
            self.hosts[n].beat_at = self.now + wait;
            self.at(
                wait,
                What::Beat {
                    host: n,
                    life: self.hosts[n].life,
                },
            );
        }
        for n in 0..self.players.len() {
            if self.players[n].begun {
                let wait = Duration::from_millis(self.rng.random_range(50..800));
                self.at(wait, What::Rejoin { player: n });
            }
        }
    }

    /// The endpoint names its hosts and sessions to a coordinator that has just started, which takes
    /// over what it can and says which routes are to be.
    pub(super) fn name_held(&mut self) {
        let now = self.fleet_now();
        let Some(fleet) = &mut self.fleet else {
            return;
        };
        let mut gone = Vec::new();
        for (room, granted) in &self.granted {
            if fleet
                .adopt(now, granted.record.clone(), granted.held)
                .is_err()
            {
                gone.push(*room);
            }
        }
        for room in gone {
            self.granted.remove(&room);
        }
        for n in 0..self.players.len() {
            if !self.players[n].begun {
                continue;
            }
            let mut ways = Vec::new();
            for way in [PathKind::Host, PathKind::Host2] {
                let held = self.outward.get(&(n, way)).and_then(|at| {
                    let room = self.granted.get(&at.room)?.record.room.clone();
                    let (epoch, _) = self.routes.get(&at.room)?.get(at.slot)?;
                    let slot = at.slot;
                    Some(HeldPlace {
                        room,
                        slot,
                        epoch,
                        way,
                    })
                });
                ways.extend(held);
            }
            let who = self.players[n].who();
            if let Some(fleet) = &mut self.fleet {
                fleet.rejoin(now, who, &ways);
            }
        }
        self.carry_out();
        let routes = self.fleet.as_ref().map(Fleet::routes).unwrap_or_default();
        let stay: Vec<Place> = routes.iter().map(|route| self.place(route)).collect();
        self.routes.clear();
        for n in 0..self.players.len() {
            for way in [PathKind::Host, PathKind::Host2] {
                let at = self.outward.get(&(n, way));
                if at.is_some_and(|at| !stay.contains(at)) {
                    self.outward.remove(&(n, way));
                    let now = self.now;
                    self.players[n].link(false).carrier_down(way, now);
                    self.drain(n);
                }
            }
        }
        for route in routes {
            let n = self.route(&route);
            self.drain(n);
        }
        if let Some(fleet) = &mut self.fleet {
            fleet.adopted(now);
        }
    }

    pub(super) fn stop_coordinator(&mut self) {
        self.fleet = None;
        for host in &mut self.hosts {
            host.waits |= std::mem::take(&mut host.attached);
        }
        for player in &mut self.players {
            player.signaling = false;
        }
    }

    pub(super) fn join(&mut self, n: usize) {
        let now = self.fleet_now();
        let player = &mut self.players[n];
        let Some(fleet) = &mut self.fleet else {
            return;
        };
        player.signaling = true;
        fleet.join(now, player.who());
        self.carry_out();
    }

    /// The launcher's signaling socket is open again.
    pub(super) fn enter_again(&mut self, n: usize) {
        let player = &mut self.players[n];
        if let Some(fleet) = &mut self.fleet {
            player.signaling = true;
            fleet.entered(&player.session);
        }
        self.carry_out();
    }

    /// Does what the fleet wants done; messages arrive a little later, in order.
    pub(super) fn carry_out(&mut self) {
        let mut touched: Vec<usize> = Vec::new();
        while let Some(output) = self.fleet.as_mut().and_then(Fleet::poll) {
            match output {
                FleetOutput::Route(route) => touched.push(self.route(&route)),
                FleetOutput::Unroute(route) => touched.push(self.unroute(&route)),
                FleetOutput::ToHost { host_id, signal } => {
                    let host = self.host_by_id[&host_id];
                    let life = self.hosts[host].life;
                    if !self.hosts[host].cut_off {
                        self.twice(|| What::HostSignal {
                            host,
                            life,
                            signal: signal.clone(),
                        });
                    }
                }
                FleetOutput::ToMember { session_id, signal } => {
                    let player = self.by_session[&session_id];
                    if self.players[player].signaling {
                        self.twice(|| What::Told {
                            player,
                            signal: signal.clone(),
                        });
                    }
                }
                FleetOutput::EndHost { room, .. } => {
                    let at = self.room_by_name[&room];
                    self.granted.remove(&at);
                }
                // What the endpoint has is said as a whole after that.
                FleetOutput::Held(_)
                | FleetOutput::PolicyToHost { .. }
                | FleetOutput::PolicyToMember { .. } => {}
                FleetOutput::Event(event) => {
                    if let FleetEvent::Contradicted { host_id, .. } = &event {
                        let meddled = self.hosts[self.host_by_id[host_id]].meddled;
                        assert!(meddled, "an honest host is not believed: {event:?}");
                        self.contradictions += 1;
                    }
                }
            }
        }
        for n in touched {
            self.drain(n);
        }
    }

    pub(super) fn twice(&mut self, make: impl Fn() -> What) {
        self.at(SIGNALING, make());
        if self.doubled {
            self.at(SIGNALING, make());
        }
    }

    pub(super) fn route(&mut self, route: &Routed) -> usize {
        let n = self.by_session[&route.session_id];
        let at = self.place(route);
        let to = Route {
            player: n,
            way: route.way,
        };
        if let Some(Granted { held, .. }) = self.granted.get_mut(&at.room) {
            held.next_slot = held.next_slot.max(at.slot + 1);
            held.last_epoch = held.last_epoch.max(route.epoch);
        }
        let routes = self.routes.entry(at.room).or_default();
        let taken = routes.put(at.slot, route.epoch, to);
        taken.expect("the coordinator keeps to the host's capacity");
        n
    }

    pub(super) fn place(&self, route: &Routed) -> Place {
        Place {
            room: self.room_by_name[&route.room],
            slot: route.slot,
        }
    }

    pub(super) fn unroute(&mut self, route: &Routed) -> usize {
        let at = self.place(route);
        if let Some(routes) = self.routes.get_mut(&at.room) {
            routes.remove(at.slot);
        }
        self.used.remove(&at);
        let n = self.by_session[&route.session_id];
        if self.outward.get(&(n, route.way)) == Some(&at) {
            self.outward.remove(&(n, route.way));
            let now = self.now;
            self.players[n].link(false).carrier_down(route.way, now);
        }
        n
    }
}
