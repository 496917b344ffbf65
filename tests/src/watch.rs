//! What is waited for while a launcher plays, and what a client has to tell at its end.

use std::time::Duration;

use serde_json::Value;

use crate::house::good_end;
use crate::process::{Process, Source};

/// How long a play of half a minute may take to its end.
pub const LONG: Duration = Duration::from_secs(120);

/// Waits until the game has gone on over `path`: three sets of numbers say so, and each has more
/// bytes of the client than the one before.
pub fn goes_on_over(node: &Process, from: usize, path: &str) -> usize {
    let (mut at, mut bytes) = (from, 0);
    for _ in 0..3 {
        let (next, event) = node.event_from(at, "metrics", LONG, |event| {
            let metrics = &event["metrics"];
            metrics["path"] == path && metrics["bytes_up"].as_u64() > Some(bytes)
        });
        at = next;
        bytes = event["metrics"]["bytes_up"].as_u64().unwrap_or_default();
    }
    at
}

/// Waits until the path of this kind could take the game over.
pub fn until_standby(node: &Process, from: usize, kind: &str) {
    node.event_from(from, "metrics", LONG, |event| {
        let paths = event["metrics"]["paths"].as_array();
        let mut paths = paths.into_iter().flatten();
        paths.any(|path| path["kind"] == kind && path["phase"] == "standby")
    });
}

/// Waits until a program has logged this.
pub fn logged(process: &Process, from: usize, text: &str) -> usize {
    let waited = process.wait_line(from, text, LONG, |line| {
        (line.source == Source::Err && line.text.contains(text)).then_some(())
    });
    waited.0
}

/// Waits until a host is the endpoint of its zone.
pub fn hosts_the_zone(host: &Process, from: usize) {
    host.event_from(from, "host-state", LONG, |event| {
        event["host"]["state"] == "serving"
    });
}

/// The client was never signed in again, and had the connections that a client has: login, char and
/// map, and char and map again, because it goes back to the character selection.
pub fn good_end_without_reentry(client: &mut Process) -> Value {
    let summary = good_end(client, LONG);
    assert_eq!(summary["reentries"], 0, "{summary}");
    assert_eq!(summary["connections"], 5, "{summary}");
    summary
}

/// Ends a client that plays on. It was signed in again so many times, and none of its own connections, to
/// login, char and map, was closed in it: it would have made another one.
pub fn ends_well_after(client: &mut Process, reentries: u32) -> Value {
    client.terminate();
    let summary = good_end(client, LONG);
    assert_eq!(summary["reentries"], reentries, "{summary}");
    assert_eq!(summary["connections"], 3, "{summary}");
    summary
}
