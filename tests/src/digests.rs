//! Whether both ends of every connection saw the same bytes.
//!
//! Two comparisons, each over what two programs say that know nothing of one another:
//! - practice client and practice server tell, under the same key, bytes, packets and SHA-256 of
//!   both directions, with the addresses that the bridge rewrites taken out;
//! - launcher and endpoint tell bytes and SHA-256 of both directions of each stream.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::process::{Line, PATIENCE, Process, Source, is};

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Connections of clients.
    pub connections: usize,
    /// Those to map servers.
    pub maps: usize,
}

/// A stream as one end saw it: role, bytes and digest up, bytes and digest down.
type Stream = (String, u64, String, u64, String);

/// Compares client and server, connection by connection. Waits for what the server has yet to tell.
///
/// # Panics
/// When they differ, or the server does not know a connection.
pub fn compare_ends(clients: &[&Process], server: &Process) -> Compared {
    compare_ends_of(clients, server, |_| true)
}

/// The same, but for connections to map servers: one that was entered again is two at the game's
/// server, and what the launcher says and hears in between is none of the client's.
///
/// # Panics
/// When they differ, the server does not know a connection, or there is none.
pub fn compare_ends_before_map(clients: &[&Process], server: &Process) {
    let compared = compare_ends_of(clients, server, |role| role != "map");
    assert!(compared.connections > 0, "nothing was compared");
}

fn compare_ends_of(
    clients: &[&Process],
    server: &Process,
    which: impl Fn(&str) -> bool,
) -> Compared {
    let mut compared = Compared {
        connections: 0,
        maps: 0,
    };
    for client in clients {
        for ours in client.events("connection-closed") {
            if !which(&text(&ours["role"])) {
                continue;
            }
            let key = ours["key"].clone();
            assert!(key.is_string(), "{ours}");
            let (_, theirs) = server.event_from(0, "connection-closed", PATIENCE, |event| {
                event["key"] == key
            });
            for direction in ["c2s", "s2c"] {
                assert_eq!(ours[direction], theirs[direction], "{key} {direction}");
            }
            compared.connections += 1;
            compared.maps += usize::from(ours["role"] == "map");
        }
    }
    compared
}

/// Compares launchers and endpoint, stream by stream, over all sessions of the house. Waits until
/// both have told of as many streams as the launchers opened.
///
/// # Panics
/// When they differ.
pub fn compare_streams(nodes: &[&Process], coordinator: &Process) -> usize {
    let mut ours: Vec<Stream> = Vec::new();
    for node in nodes {
        let opened = node.events("stream-opened").len();
        node.events_more(0, "stream-closed", opened, |_| true);
        ours.extend(node.events("stream-closed").iter().map(of_launcher));
    }
    let mut theirs: Vec<Stream> = Vec::new();
    let mut at = 0;
    while theirs.len() < ours.len() {
        let (next, stream) = coordinator.wait_line(at, "a closed stream", PATIENCE, of_endpoint);
        at = next;
        theirs.push(stream);
    }
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs, "launcher and endpoint saw different bytes");
    ours.len()
}

/// Every connection of these clients went through one of these launchers: what the client says it
/// sent, a launcher says it took.
///
/// # Panics
/// When one did not.
pub fn went_through(clients: &[&Process], nodes: &[&Process]) {
    let mut taken: BTreeMap<(String, u64, String), usize> = BTreeMap::new();
    for event in nodes.iter().flat_map(|node| node.events("stream-closed")) {
        let (role, bytes, sha256, ..) = of_launcher(&event);
        *taken.entry((role, bytes, sha256)).or_default() += 1;
    }
    for event in (clients.iter()).flat_map(|client| client.events("connection-closed")) {
        let (bytes, sha256) = digest(&event["c2s"]);
        let key = (text(&event["role"]), bytes, sha256);
        let count = taken.get_mut(&key).filter(|count| **count > 0);
        let count = count.unwrap_or_else(|| panic!("no launcher took this: {event}"));
        *count -= 1;
    }
}

/// All of the above; gives what was compared.
///
/// # Panics
/// When anything differs.
pub fn compare_all(
    clients: &[&Process],
    nodes: &[&Process],
    server: &Process,
    coordinator: &Process,
) -> Compared {
    let compared = compare_ends(clients, server);
    assert!(compared.maps > 0, "nothing was compared");
    let streams = compare_streams(nodes, coordinator);
    assert_eq!(streams, compared.connections, "a stream per connection");
    went_through(clients, nodes);
    println!(
        "{} connections ({} to map servers): equal at client, launcher, endpoint and game server",
        compared.connections, compared.maps
    );
    compared
}

fn of_launcher(event: &Value) -> Stream {
    assert!(is(event, "stream-closed"), "{event}");
    let (up_bytes, up) = digest(&event["up"]);
    let (down_bytes, down) = digest(&event["down"]);
    (text(&event["role"]), up_bytes, up, down_bytes, down)
}

fn of_endpoint(line: &Line) -> Option<Stream> {
    if line.source != Source::Err || !line.text.contains(" stream closed ") {
        return None;
    }
    let field = |name: &str| {
        let value =
            (line.text.split(' ')).find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let value = value.unwrap_or_else(|| panic!("no {name} in {:?}", line.text));
        value.trim_matches('"').to_owned()
    };
    let number = |name| field(name).parse().expect("a number");
    Some((
        field("role"),
        number("up_bytes"),
        field("up_sha256"),
        number("down_bytes"),
        field("down_sha256"),
    ))
}

fn digest(value: &Value) -> (u64, String) {
    let bytes = value["bytes"].as_u64();
    let bytes = bytes.unwrap_or_else(|| panic!("{value} is no digest"));
    (bytes, text(&value["sha256"]))
}

fn text(value: &Value) -> String {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}
