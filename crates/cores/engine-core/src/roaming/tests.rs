//! Tests of roaming, in virtual time.

use super::*;
use warp_protocol::zone::{GameServer, ReadLevel};

mod limits;
mod walks;

const LINGER: Duration = Duration::from_secs(20);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn file(id: &str, maps: &[&str]) -> ZoneFile {
    let address = "127.0.0.1:6900".parse().unwrap();
    ZoneFile {
        zone_id: id.into(),
        zone_name: id.into(),
        zone_display_name: id.into(),
        map_name: "town".into(),
        maps: maps.iter().map(|map| (*map).to_owned()).collect(),
        max_players: 100,
        recommended_players: 50,
        p2p_enabled: true,
        p2p_priority: 1,
        fallback_enabled: true,
        min_host_quality_score: 7.0,
        min_bandwidth_mbps: 100,
        max_latency_ms: 100,
        description: None,
        fallback_zone: None,
        plain_tcp: None,
        hosted: None,
        game: GameServer {
            packet_version: 20_211_103,
            level: ReadLevel::Assist,
            login: address,
            char: vec![address],
            map: vec![address],
        },
    }
}

fn view(id: &str) -> ZoneView {
    ZoneView {
        zone: file(id, &[]),
        status: ZoneStatus::Enabled,
        players: 0,
    }
}

fn grant(id: &str) -> Box<SessionGrant> {
    Box::new(SessionGrant {
        session_id: format!("session-{id}"),
        peer_id: "player".into(),
        endpoint_peer_id: "endpoint".into(),
        endpoint_key: String::new(),
        endpoint_certificate: None,
        zone: view(id),
        ice_servers: Vec::new(),
    })
}

fn problem() -> Problem {
    Problem::new(ProblemCode::NoPath, "somewhere").with_detail("direct: no answer")
}

/// Roaming with its clock, and what it wanted so far.
struct World {
    roaming: Roaming,
    now: Duration,
    seen: Vec<Effect>,
}

impl World {
    /// Plays zone `base`, which has the maps `town` and `field`.
    fn with(settings: RoamingSettings) -> Self {
        let mut roaming = Roaming::new(settings);
        roaming.start(&file("base", &["town", "field"]));
        Self {
            roaming,
            now: seconds(1000),
            seen: Vec::new(),
        }
    }

    fn new() -> Self {
        Self::with(RoamingSettings {
            follow: true,
            linger: LINGER,
        })
    }

    fn settle(&mut self) {
        self.seen.extend(std::iter::from_fn(|| self.roaming.poll()));
        self.roaming.on_time(self.now);
        self.seen.extend(std::iter::from_fn(|| self.roaming.poll()));
    }

    /// What was wanted since the last call.
    fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.seen)
    }

    fn goes(&mut self, client: u64, map: &str) {
        self.roaming.map_changed(self.now, Some(client), map.into());
        self.settle();
    }

    fn found(&mut self, map: &str, zones: &[&str]) {
        let zones: Vec<ZoneView> = zones.iter().map(|zone| view(zone)).collect();
        self.roaming.zones_found(self.now, map, &zones);
        self.settle();
    }

    fn away(&mut self, map: &str) {
        self.roaming.lookup_failed(self.now, map, problem());
        self.settle();
    }

    fn joined(&mut self, link: LinkId, zone: &str) {
        self.roaming.joined(link, grant(zone));
        self.settle();
    }

    fn ready(&mut self, link: LinkId) {
        self.roaming.ready(self.now, link);
        self.settle();
    }

    fn failed(&mut self, link: LinkId) {
        self.roaming.failed(self.now, link, &problem());
        self.settle();
    }

    fn closed(&mut self, link: LinkId) {
        self.roaming.closed(self.now, link, "gone".into());
        self.settle();
    }

    fn left(&mut self, link: LinkId) {
        self.roaming.left(link);
        self.settle();
    }

    fn streams(&mut self, streams: &[(u64, LinkId)]) {
        let numbered = streams.iter().zip(1..);
        let streams = numbered.map(|((client, link), number)| MapStream {
            number,
            client: Some(*client),
            link: *link,
        });
        self.roaming.set_streams(streams.collect());
        self.settle();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    /// Sends a client to `map` of `zone`, and opens the visit.
    fn visits(&mut self, client: u64, map: &str, zone: &str) -> LinkId {
        self.goes(client, map);
        let mut effects = self.take();
        if asked(&effects).contains(&map.to_owned()) {
            self.found(map, &[zone]);
            effects = self.take();
        }
        let link = joins(&effects, zone);
        self.joined(link, zone);
        self.ready(link);
        link
    }

    fn way(&self, client: u64, map: &str) -> Way {
        self.roaming.routes.way(client, map)
    }
}

/// Maps that the coordinator is asked for.
fn asked(effects: &[Effect]) -> Vec<String> {
    let maps = effects.iter().filter_map(|effect| match effect {
        Effect::FindZones { map } => Some(map.clone()),
        _ => None,
    });
    maps.collect()
}

/// The link with which `zone` is joined; it is joined once.
fn joins(effects: &[Effect], zone: &str) -> LinkId {
    let mut links = effects.iter().filter_map(|effect| match effect {
        Effect::Join { link, zone: joined } if joined == zone => Some(*link),
        _ => None,
    });
    let link = links.next();
    assert_eq!(links.next(), None, "{zone} is joined twice: {effects:?}");
    link.unwrap_or_else(|| panic!("{zone} is not joined: {effects:?}"))
}

fn closes(effects: &[Effect], link: LinkId) -> bool {
    effects.contains(&Effect::CloseLink { link })
}

fn told(effects: &[Effect]) -> Vec<(u64, String, Option<String>)> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Emit(Event::MapChanged { client, map, zone }) => {
            Some((*client, map.clone(), zone.clone()))
        }
        _ => None,
    });
    told.collect()
}

fn map(client: u64, map: &str, zone: Option<&str>) -> (u64, String, Option<String>) {
    (client, map.into(), zone.map(str::to_owned))
}

fn problems(effects: &[Effect]) -> Vec<(ProblemCode, String)> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Emit(Event::Problem { problem }) => Some((problem.code, problem.subject.clone())),
        _ => None,
    });
    told.collect()
}

fn events(effects: &[Effect], wanted: fn(&Event) -> Option<&String>) -> Vec<String> {
    let zones = effects.iter().filter_map(|effect| match effect {
        Effect::Emit(event) => wanted(event).cloned(),
        _ => None,
    });
    zones.collect()
}

fn zones_joined(effects: &[Effect]) -> Vec<String> {
    events(effects, |event| match event {
        Event::ZoneJoined { zone } => Some(zone),
        _ => None,
    })
}

fn zones_left(effects: &[Effect]) -> Vec<String> {
    events(effects, |event| match event {
        Event::ZoneLeft { zone } => Some(zone),
        _ => None,
    })
}

#[test]
fn maps_of_the_chosen_zone_are_told_at_once_and_nobody_is_asked() {
    let mut world = World::new();
    world.goes(1, "town");
    world.goes(1, "town");
    world.goes(1, "field");
    let effects = world.take();
    let expected = [map(1, "town", Some("base")), map(1, "field", Some("base"))];
    assert_eq!(told(&effects), expected);
    assert!(asked(&effects).is_empty());
    assert_eq!(world.way(1, "field"), Way::Chosen);
    // The news of another map is still on its way.
    assert_eq!(world.way(1, "cave"), Way::Wait);
    assert_eq!(world.way(9, "town"), Way::Wait);
}

#[test]
fn a_zone_is_joined_and_opened_when_the_map_is_announced_and_told_when_it_is_open() {
    let mut world = World::new();
    world.goes(1, "cave");
    let effects = world.take();
    assert_eq!(asked(&effects), ["cave"]);
    assert_eq!(told(&effects), []);
    assert_eq!(world.way(1, "cave"), Way::Wait);

    world.found("cave", &["west", "north"]);
    let link = joins(&world.take(), "west");
    assert_eq!(world.way(1, "cave"), Way::Wait);
    world.joined(link, "west");
    assert!(matches!(
        world.take().as_slice(),
        [Effect::OpenLink { link: opened, .. }] if *opened == link
    ));
    world.ready(link);
    let effects = world.take();
    assert_eq!(zones_joined(&effects), ["west"]);
    assert_eq!(told(&effects), [map(1, "cave", Some("west"))]);
    assert_eq!(world.way(1, "cave"), Way::Visit(link));
    // A second client finds it open.
    world.goes(2, "cave");
    assert_eq!(told(&world.take()), [map(2, "cave", Some("west"))]);
    assert_eq!(world.way(2, "cave"), Way::Visit(link));
}

#[test]
fn the_answer_for_a_map_counts_for_a_minute_also_when_there_is_no_zone() {
    let mut world = World::new();
    world.goes(1, "cave");
    world.goes(2, "cave");
    assert_eq!(asked(&world.take()), ["cave"], "asked once for both");
    world.found("cave", &[]);
    assert_eq!(
        told(&world.take()),
        [map(1, "cave", None), map(2, "cave", None)]
    );
    assert_eq!(world.way(1, "cave"), Way::Chosen);
    world.goes(1, "town");
    world.pass(LOOKUP_KEPT - Duration::from_millis(1));
    world.goes(1, "cave");
    assert!(asked(&world.take()).is_empty());
    world.goes(1, "town");
    world.pass(Duration::from_millis(1));
    world.goes(1, "cave");
    assert_eq!(asked(&world.take()), ["cave"]);
}

#[test]
fn the_chosen_zone_is_not_joined_again_when_it_has_the_map_by_now() {
    let mut world = World::new();
    world.goes(1, "cave");
    world.found("cave", &["west", "base"]);
    let effects = world.take();
    assert_eq!(told(&effects), [map(1, "cave", Some("base"))]);
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Join { .. }))
    );
    world.goes(1, "town");
    world.goes(1, "cave");
    assert_eq!(
        told(&world.take()).last(),
        Some(&map(1, "cave", Some("base")))
    );
}

#[test]
fn a_zone_that_is_closed_is_not_joined() {
    let mut world = World::new();
    world.goes(1, "cave");
    let mut closed = view("west");
    closed.status = ZoneStatus::Maintenance;
    world.roaming.zones_found(world.now, "cave", &[closed]);
    world.settle();
    assert_eq!(told(&world.take()), [map(1, "cave", None)]);
}

#[test]
fn an_unused_zone_is_left_after_the_linger_time_and_not_before() {
    let mut world = World::new();
    let link = world.visits(1, "cave", "west");
    world.streams(&[(1, link)]);
    world.goes(1, "town");
    world.pass(LINGER * 3);
    assert!(!closes(&world.take(), link), "a stream is on its link");
    world.streams(&[]);
    assert_eq!(world.roaming.next_time(), Some(world.now + LINGER));
    world.pass(LINGER - Duration::from_millis(1));
    assert!(!closes(&world.take(), link));
    world.pass(Duration::from_millis(1));
    let effects = world.take();
    assert!(closes(&effects, link));
    assert_eq!(zones_left(&effects), ["west"]);
    assert_eq!(world.roaming.next_time(), None);
}

#[test]
fn whoever_comes_back_in_time_keeps_the_zone() {
    let mut world = World::new();
    let link = world.visits(1, "cave", "west");
    world.goes(1, "town");
    world.pass(LINGER / 2);
    world.goes(1, "cave");
    world.pass(LINGER * 2);
    let effects = world.take();
    assert!(!closes(&effects, link));
    assert_eq!(told(&effects).last(), Some(&map(1, "cave", Some("west"))));
    // And a client that goes away for good does not.
    world.roaming.client_gone(world.now, 1);
    world.settle();
    world.pass(LINGER);
    assert!(closes(&world.take(), link));
}

#[test]
fn a_walk_without_a_new_connection_changes_the_membership_and_not_the_link() {
    let mut world = World::new();
    let west = world.visits(1, "cave", "west");
    world.streams(&[(1, west)]);
    let north = world.visits(1, "peak", "north");
    assert_eq!(world.way(1, "peak"), Way::Visit(north));
    assert_eq!(world.roaming.newest(Some(1)), west);
    world.pass(LINGER * 2);
    assert!(!closes(&world.take(), west), "its stream is still there");
    world.streams(&[]);
    world.pass(LINGER);
    let effects = world.take();
    assert!(closes(&effects, west) && !closes(&effects, north));
}

#[test]
fn a_failed_join_is_told_once_and_tried_again_only_when_a_client_comes_anew() {
    let mut world = World::new();
    world.goes(1, "cave");
    world.found("cave", &["west"]);
    let link = joins(&world.take(), "west");
    world.failed(link);
    let effects = world.take();
    let expected = (ProblemCode::ZoneNotJoined, "west".to_owned());
    assert_eq!(problems(&effects), [expected]);
    assert_eq!(told(&effects), [map(1, "cave", None)]);
    assert_eq!(world.way(1, "cave"), Way::Chosen);
    assert!(!closes(&effects, link), "there is no session");
    // Not in a loop, and not because the same map is announced again.
    world.pass(LINGER * 10);
    world.goes(1, "cave");
    assert_eq!(world.take(), []);
    // The next change to it.
    world.goes(1, "town");
    world.goes(1, "cave");
    world.found("cave", &["west"]);
    let link = joins(&world.take(), "west");
    world.joined(link, "west");
    world.failed(link);
    let effects = world.take();
    assert_eq!(problems(&effects), [], "it was told");
    assert!(closes(&effects, link), "its session is given back");
    // Once it works it may fail and be told anew.
    world.goes(1, "town");
    let link = world.visits(1, "cave", "west");
    world.closed(link);
    let expected = (ProblemCode::ZoneLost, "west".to_owned());
    assert_eq!(problems(&world.take()), [expected]);
}

#[test]
fn a_lost_link_ends_the_visit_and_the_same_map_may_be_tried_again() {
    let mut world = World::new();
    let link = world.visits(1, "cave", "west");
    world.take();
    world.closed(link);
    let effects = world.take();
    assert!(closes(&effects, link));
    assert_eq!(zones_left(&effects), ["west"]);
    assert_eq!(told(&effects), [map(1, "cave", None)]);
    assert_eq!(world.way(1, "cave"), Way::Chosen);
    world.left(link);
    // The player logs in again and lands where he was.
    let again = world.visits(1, "cave", "west");
    assert_ne!(again, link);
    assert_eq!(world.way(1, "cave"), Way::Visit(again));
}

#[test]
fn stop_leaves_everything_also_what_is_only_being_asked_for() {
    let mut world = World::new();
    let west = world.visits(1, "cave", "west");
    world.goes(2, "peak");
    world.found("peak", &["north"]);
    let north = joins(&world.take(), "north");
    world.roaming.stop();
    world.settle();
    let effects = world.take();
    assert!(closes(&effects, west) && closes(&effects, north));
    assert_eq!(
        zones_left(&effects),
        ["west"],
        "north was never told as joined"
    );
    assert_eq!(world.roaming.next_time(), None);
    // The grant that comes now is given back.
    world.joined(north, "north");
    assert_eq!(world.take(), [Effect::CloseLink { link: north }]);
    // Nothing that comes now does anything.
    world.goes(1, "cave");
    world.found("peak", &["north"]);
    assert_eq!(world.take(), []);
}

#[test]
fn switched_off_the_chosen_zone_carries_all_maps() {
    let mut world = World::with(RoamingSettings {
        follow: false,
        linger: LINGER,
    });
    world.goes(1, "cave");
    world.goes(1, "town");
    let effects = world.take();
    let expected = [map(1, "cave", None), map(1, "town", Some("base"))];
    assert_eq!(told(&effects), expected);
    assert!(asked(&effects).is_empty());
    assert_eq!(world.way(1, "town"), Way::Chosen);
}

#[test]
fn a_client_that_the_chosen_zone_carries_joins_in_when_another_opens_its_zone() {
    let mut world = World::new();
    world.goes(1, "cave");
    world.found("cave", &["west"]);
    let link = joins(&world.take(), "west");
    world.failed(link);
    assert_eq!(world.way(1, "cave"), Way::Chosen);
    world.take();
    let link = world.visits(2, "cave", "west");
    assert_eq!(world.way(1, "cave"), Way::Visit(link));
    // It is on the zone's maps: the zone is not left without it.
    world.goes(2, "town");
    world.pass(LINGER * 2);
    assert!(!closes(&world.take(), link));
}

#[test]
fn nothing_is_left_while_a_map_is_looked_up() {
    let mut world = World::new();
    let link = world.visits(1, "cave", "west");
    world.goes(1, "deeper");
    world.pass(LINGER * 2);
    assert!(!closes(&world.take(), link));
    assert_eq!(world.roaming.next_time(), None);
    world.found("deeper", &["west"]);
    world.pass(LINGER * 2);
    assert!(!closes(&world.take(), link));
    assert_eq!(world.way(1, "deeper"), Way::Visit(link));
}
