//! What is bounded, and what comes without a client, a coordinator or a decision.

use super::*;

#[test]
fn without_the_coordinator_an_old_answer_is_used_or_the_chosen_zone_and_it_is_told_once() {
    let mut world = World::new();
    let link = world.visits(1, "cave", "west");
    world.goes(1, "town");
    world.pass(LOOKUP_KEPT);
    world.left(link);
    world.goes(1, "cave");
    world.take();
    world.away("cave");
    let effects = world.take();
    joins(&effects, "west");
    assert_eq!(
        problems(&effects),
        [(ProblemCode::NoPath, "somewhere".into())]
    );
    world.goes(2, "peak");
    world.take();
    world.away("peak");
    let effects = world.take();
    assert_eq!(told(&effects), [map(2, "peak", None)]);
    assert_eq!(problems(&effects), []);
    // The same map again asks again; and after an answer the next outage is told.
    world.goes(2, "peak");
    assert_eq!(asked(&world.take()), ["peak"]);
    world.found("peak", &[]);
    world.goes(2, "bridge");
    world.take();
    world.away("bridge");
    assert_eq!(problems(&world.take()).len(), 1);
}

#[test]
fn a_map_is_told_without_its_zone_when_that_takes_too_long_and_again_with_it() {
    let mut world = World::new();
    world.goes(1, "cave");
    assert_eq!(world.roaming.next_time(), Some(world.now + ROUTE_WAIT));
    world.pass(ROUTE_WAIT);
    assert_eq!(told(&world.take()), [map(1, "cave", None)]);
    world.found("cave", &["west"]);
    let link = joins(&world.take(), "west");
    world.joined(link, "west");
    world.ready(link);
    assert_eq!(told(&world.take()), [map(1, "cave", Some("west"))]);
    assert_eq!(world.way(1, "cave"), Way::Visit(link));
}

#[test]
fn a_map_that_was_left_before_it_was_decided_is_not_told() {
    let mut world = World::new();
    world.goes(1, "cave");
    world.goes(1, "town");
    world.found("cave", &["west"]);
    let effects = world.take();
    assert_eq!(told(&effects), [map(1, "town", Some("base"))]);
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Join { .. }))
    );
}

#[test]
fn six_zones_are_visited_and_the_one_unused_longest_makes_room() {
    let mut world = World::new();
    let mut links = Vec::new();
    for number in 0..6_u64 {
        let (map, zone) = (format!("map{number}"), format!("zone{number}"));
        links.push(world.visits(number + 1, &map, &zone));
        world.pass(seconds(1));
    }
    // All are used: the chosen zone carries the seventh, and nobody is told of a problem.
    world.goes(7, "map6");
    world.found("map6", &["zone6"]);
    let effects = world.take();
    assert_eq!(told(&effects).last(), Some(&map(7, "map6", None)));
    assert_eq!(problems(&effects), []);
    assert_eq!(world.way(7, "map6"), Way::Chosen);
    // Two fall free, the third zone first.
    world.goes(3, "town");
    world.pass(seconds(2));
    world.goes(1, "town");
    world.pass(seconds(2));
    world.take();
    world.goes(7, "map6");
    let effects = world.take();
    assert!(closes(&effects, links[2]) && !closes(&effects, links[0]));
    let seventh = joins(&effects, "zone6");
    // One at a time: the next waits until that one is gone.
    world.goes(8, "map7");
    world.found("map7", &["zone7"]);
    assert!(!closes(&world.take(), links[0]));
    assert_eq!(world.way(8, "map7"), Way::Wait);
    world.left(links[2]);
    let effects = world.take();
    assert!(closes(&effects, links[0]));
    joins(&effects, "zone7");
    world.joined(seventh, "zone6");
    world.ready(seventh);
    assert_eq!(world.way(7, "map6"), Way::Visit(seventh));
}

#[test]
fn nobody_knows_whose_map_it_is_or_there_are_too_many() {
    let mut world = World::new();
    let unknown = |world: &mut World, name: &str| {
        world.roaming.map_changed(world.now, None, name.into());
        world.settle();
        told(&world.take())
    };
    assert_eq!(unknown(&mut world, "cave"), [map(0, "cave", None)]);
    assert_eq!(unknown(&mut world, "town"), [map(0, "town", Some("base"))]);
    for client in 1..=100 {
        world.goes(client, "cave");
    }
    let effects = world.take();
    assert_eq!(told(&effects).len(), 100 - MAX_CLIENTS);
    assert_eq!(world.way(100, "cave"), Way::Chosen);
    // A name that no map can have is not sent anywhere.
    world.goes(1, "no map of\nthis name");
    assert!(asked(&world.take()).is_empty());
}

#[test]
fn only_so_many_maps_are_asked_for_at_once() {
    let mut world = World::new();
    for number in 0..=MAX_ASKED {
        world.goes(1, &format!("map{number}"));
    }
    let effects = world.take();
    assert_eq!(asked(&effects).len(), MAX_ASKED);
    let last = format!("map{MAX_ASKED}");
    assert_eq!(told(&effects), [map(1, &last, None)]);
    // It may be asked for when it is announced again.
    world.found("map0", &[]);
    world.goes(1, &last);
    assert_eq!(asked(&world.take()), [last]);
}

#[test]
fn answers_are_forgotten_oldest_first() {
    let mut world = World::new();
    for number in 0..MAX_LOOKUPS + 10 {
        let map = format!("map{number}");
        world.goes(1, &map);
        world.found(&map, &[]);
        world.pass(Duration::from_millis(1));
    }
    assert_eq!(world.roaming.lookups.len(), MAX_LOOKUPS);
    world.take();
    world.goes(1, "map9");
    assert_eq!(asked(&world.take()), ["map9"]);
    world.goes(1, &format!("map{}", MAX_LOOKUPS + 8));
    assert!(asked(&world.take()).is_empty());
}

#[test]
fn an_opaque_zone_is_carried_only_where_it_was_chosen() {
    let mut world = World::new();
    let opaque = |id: &str| {
        let mut zone = view(id);
        zone.zone.game.level = ReadLevel::Opaque;
        zone
    };
    world.goes(1, "cave");
    let zones = [opaque("shield"), view("west")];
    world.roaming.zones_found(world.now, "cave", &zones);
    world.settle();
    joins(&world.take(), "west");
    for (client, told) in [(2, 1), (3, 0)] {
        world.goes(client, &format!("vault{client}"));
        let zones = [opaque("shield")];
        (world.roaming).zones_found(world.now, &format!("vault{client}"), &zones);
        world.settle();
        let effects = world.take();
        let expected = (ProblemCode::ZoneNotJoined, "shield".to_owned());
        assert_eq!(problems(&effects), vec![expected; told], "once");
        assert_eq!(world.way(client, &format!("vault{client}")), Way::Chosen);
    }
    // The chosen zone's own maps are its own, however it is read.
    world.goes(4, "annex");
    world
        .roaming
        .zones_found(world.now, "annex", &[opaque("base")]);
    world.settle();
    assert_eq!(problems(&world.take()), []);
    assert_eq!(world.way(4, "annex"), Way::Chosen);
}
