//! Random walks of several clients, with a coordinator and links that answer late, in any order, or
//! not as hoped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

const CLIENTS: u64 = 4;
/// Maps 0 and 1 are the chosen zone's, every fifth has none, two of the others share a zone each.
const MAPS: usize = 30;

#[derive(Debug, Clone)]
enum Step {
    Goes {
        client: u64,
        map: usize,
    },
    Gone {
        client: u64,
    },
    /// The oldest thing that was asked for is answered, well or not.
    Answer {
        well: bool,
    },
    /// The newest, before the older ones.
    AnswerNewest {
        well: bool,
    },
    /// A client's map connection is opened where the routes lead it.
    Connects {
        client: u64,
    },
    Disconnects {
        client: u64,
    },
    /// An open link is lost.
    Lost {
        which: usize,
    },
    Passes {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let client = 1..=CLIENTS;
    prop_oneof![
        6 => (client.clone(), 0..MAPS).prop_map(|(client, map)| Step::Goes { client, map }),
        1 => client.clone().prop_map(|client| Step::Gone { client }),
        10 => (0..10).prop_map(|luck| Step::Answer { well: luck > 0 }),
        3 => (0..10).prop_map(|luck| Step::AnswerNewest { well: luck > 0 }),
        4 => client.clone().prop_map(|client| Step::Connects { client }),
        3 => client.prop_map(|client| Step::Disconnects { client }),
        1 => (0..6_usize).prop_map(|which| Step::Lost { which }),
        4 => (0..30_000_u64).prop_map(|ms| Step::Passes { ms }),
    ]
}

fn map_name(map: usize) -> String {
    match map {
        0 => "town".into(),
        1 => "field".into(),
        map => format!("map{map}"),
    }
}

fn zone_of(name: &str) -> Option<String> {
    let number: usize = name.strip_prefix("map")?.parse().ok()?;
    (!number.is_multiple_of(5)).then(|| format!("zone{}", number / 2))
}

/// What the shell, the coordinator and the endpoints would do.
struct Outside {
    world: World,
    /// Effects that are not answered yet.
    open: VecDeque<Effect>,
    routes: Routes,
    maps: BTreeMap<u64, String>,
    /// Map connections: client and link.
    streams: BTreeMap<u64, LinkId>,
    /// Zone of each link that was asked for, or that there is.
    zones: BTreeMap<LinkId, String>,
    /// Sessions that the coordinator has granted and not got back.
    sessions: BTreeSet<LinkId>,
    /// Links that are connected.
    connected: BTreeSet<LinkId>,
    /// Joined and left as events told it.
    told: BTreeSet<String>,
}

impl Outside {
    fn new() -> Self {
        Self {
            world: World::new(),
            open: VecDeque::new(),
            routes: Routes::default(),
            maps: BTreeMap::new(),
            streams: BTreeMap::new(),
            zones: BTreeMap::new(),
            sessions: BTreeSet::new(),
            connected: BTreeSet::new(),
            told: BTreeSet::new(),
        }
    }

    /// Carries out what is wanted, as the loop does it, and holds it against the rules.
    fn carry_out(&mut self, lost: Option<LinkId>) {
        for effect in self.world.take() {
            match effect {
                Effect::SetRoutes(routes) => self.routes = routes,
                Effect::CloseLink { link } => {
                    assert!(
                        !link.is_chosen(),
                        "the chosen zone is left while it is played"
                    );
                    self.leaves(link, lost);
                    self.open.push_back(Effect::CloseLink { link });
                }
                Effect::Join { link, zone } => {
                    assert!(!link.is_chosen());
                    self.zones.insert(link, zone.clone());
                    self.open.push_back(Effect::Join { link, zone });
                }
                effect @ (Effect::FindZones { .. } | Effect::OpenLink { .. }) => {
                    self.open.push_back(effect);
                }
                Effect::Emit(Event::ZoneJoined { zone }) => {
                    assert!(self.told.insert(zone), "joined twice");
                }
                Effect::Emit(Event::ZoneLeft { zone }) => {
                    assert!(self.told.remove(&zone), "left without having been joined");
                }
                Effect::Emit(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(self.world.roaming.visits.len() <= MAX_VISITS);
        assert!(
            self.sessions.len() <= MAX_VISITS + 1,
            "more sessions than an account may have"
        );
    }

    /// A link is closed: nobody may need it, unless it was lost.
    fn leaves(&mut self, link: LinkId, lost: Option<LinkId>) {
        let playing = self.world.roaming.chosen.is_some();
        if self.connected.remove(&link) && lost != Some(link) && playing {
            assert!(
                !self.streams.values().any(|on| *on == link),
                "a link is closed with a stream on it"
            );
            let zone = Some(&self.zones[&link]);
            // What the coordinator never said nobody can know.
            let lookups = &self.world.roaming.lookups;
            let known = |map: &&String| lookups.knows(map);
            let mut maps = self.maps.values().filter(known);
            let used = maps.any(|map| zone_of(map).as_ref() == zone);
            assert!(!used, "a zone is left with a client on its maps");
        }
        self.streams.retain(|_, on| *on != link);
    }

    /// As the loop does it: routes first, then the count of streams, then joining and leaving.
    fn settle(&mut self, lost: Option<LinkId>) {
        while let Some(effect) = self.world.roaming.poll() {
            self.world.seen.push(effect);
        }
        self.carry_out(lost);
        let streams = self.streams.iter().map(|(client, link)| MapStream {
            number: *client,
            client: Some(*client),
            link: *link,
        });
        self.world.roaming.set_streams(streams.collect());
        self.world.settle();
        self.carry_out(lost);
    }

    fn answer(&mut self, effect: Effect, well: bool) {
        let now = self.world.now;
        let roaming = &mut self.world.roaming;
        match effect {
            Effect::FindZones { map } if well => {
                let zones: Vec<ZoneView> = zone_of(&map).iter().map(|zone| view(zone)).collect();
                roaming.zones_found(now, &map, &zones);
            }
            Effect::FindZones { map } => roaming.lookup_failed(now, &map, problem()),
            Effect::Join { link, zone } if well => {
                self.sessions.insert(link);
                roaming.joined(link, grant(&zone));
            }
            Effect::Join { link, .. } => roaming.failed(now, link, &problem()),
            Effect::OpenLink { link, .. } if !self.sessions.contains(&link) => {}
            Effect::OpenLink { link, .. } if well => {
                if roaming.has(link) {
                    self.connected.insert(link);
                }
                roaming.ready(now, link);
            }
            Effect::OpenLink { link, .. } => roaming.failed(now, link, &problem()),
            Effect::CloseLink { link } => {
                if self.sessions.remove(&link) {
                    roaming.left(link);
                }
            }
            other => panic!("{other:?}"),
        }
        self.settle(None);
    }

    fn step(&mut self, step: Step) {
        let now = self.world.now;
        match step {
            Step::Goes { client, map } => {
                let map = map_name(map);
                self.maps.insert(client, map.clone());
                self.world.roaming.map_changed(now, Some(client), map);
                self.settle(None);
            }
            Step::Gone { client } => {
                self.maps.remove(&client);
                self.streams.remove(&client);
                self.world.roaming.client_gone(now, client);
                self.settle(None);
            }
            Step::Answer { well } => {
                if let Some(effect) = self.open.pop_front() {
                    self.answer(effect, well);
                }
            }
            Step::AnswerNewest { well } => {
                if let Some(effect) = self.open.pop_back() {
                    self.answer(effect, well);
                }
            }
            Step::Connects { client } => {
                let Some(map) = self.maps.get(&client) else {
                    return;
                };
                let link = match self.routes.way(client, map) {
                    Way::Visit(link) => {
                        assert!(self.connected.contains(&link), "a route to a closed link");
                        link
                    }
                    Way::Wait | Way::Chosen => LinkId::CHOSEN,
                };
                self.streams.insert(client, link);
                self.settle(None);
            }
            Step::Disconnects { client } => {
                self.streams.remove(&client);
                self.settle(None);
            }
            Step::Lost { which } => {
                let Some(link) = self.connected.iter().nth(which).copied() else {
                    return;
                };
                self.world.roaming.closed(now, link, "lost".into());
                self.settle(Some(link));
            }
            Step::Passes { ms } => {
                self.world.now += Duration::from_millis(ms);
                self.settle(None);
            }
        }
    }

    /// Everybody goes home: whatever was joined is left, by the linger time alone.
    fn end(&mut self, stop: bool) {
        if stop {
            self.world.roaming.stop();
            self.streams.clear();
            self.settle(None);
        } else {
            for client in 1..=CLIENTS {
                self.step(Step::Gone { client });
            }
        }
        for _ in 0..1000 {
            while let Some(effect) = self.open.pop_front() {
                self.answer(effect, true);
            }
            let Some(next) = self.world.roaming.next_time() else {
                break;
            };
            self.world.now = next.max(self.world.now);
            self.settle(None);
        }
        assert!(self.open.is_empty());
        let none = BTreeSet::new();
        assert_eq!(self.sessions, none, "a session is not given back");
        assert!(self.told.is_empty(), "a zone is not told as left");
        assert!(self.world.roaming.visits.is_empty());
        assert!(self.world.roaming.leaving.is_empty());
    }
}

proptest! {
    #[test]
    fn whatever_happens_nobody_is_left_behind_and_nothing_is_kept(
        steps in proptest::collection::vec(step(), 0..300),
        stop in any::<bool>(),
    ) {
        let mut outside = Outside::new();
        for step in steps {
            outside.step(step);
        }
        outside.end(stop);
    }
}
