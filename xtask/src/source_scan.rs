//! Looks in the text of words and cores for what the standard library offers of the world: clocks,
//! sockets, files, processes, threads, environment, terminal. Comments and test code are left out
//! (a test may need a real `Instant` to start from).
//!
//! This is a net with meshes: text, not meaning. It catches what is written by habit; who renames
//! an import to get through it does so knowingly.

use std::path::Path;

use anyhow::{Context as _, Result};

/// What may not be written, and what to do instead.
const FORBIDDEN: &[(&str, &str)] = &[
    ("Instant::now", "time is an argument"),
    ("SystemTime::now", "time is an argument"),
    (".elapsed()", "time is an argument"),
    ("TcpStream", "sockets belong to the shells"),
    ("TcpListener", "sockets belong to the shells"),
    ("UdpSocket", "sockets belong to the shells"),
    ("ToSocketAddrs", "names are looked up by the shells"),
    ("std::fs", "files belong to the shells"),
    ("std::env", "the environment belongs to the shells"),
    ("std::process", "processes belong to the shells"),
    ("std::thread", "threads belong to the shells"),
    ("io::stdin", "the terminal belongs to the shells"),
    ("io::stdout", "the terminal belongs to the shells"),
    ("io::stderr", "the terminal belongs to the shells"),
    ("thread_rng", "randomness is an argument"),
    ("rand::rng()", "randomness is an argument"),
    ("rand::random", "randomness is an argument"),
    ("OsRng", "randomness is an argument"),
    ("SystemRandom", "randomness is an argument"),
];

/// Scans every source below `folder`; each finding begins with its place below `root`.
pub(crate) fn scan(folder: &Path, root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if is_test {
            continue;
        }
        if path.is_dir() {
            found.extend(scan(&path, root)?);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
            let place = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .display()
                .to_string();
            found.extend(
                (scan_text(&text).into_iter())
                    .map(|(line, word, advice)| format!("{place}:{line}: `{word}`: {advice}")),
            );
        }
    }
    Ok(found)
}

fn scan_text(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let mut found = Vec::new();
    // Inside an item marked as test code: how deep in its braces; None before its first one.
    let mut test_item: Option<Option<usize>> = None;
    for (at, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if test_item.is_none() && code.trim_start().starts_with("#[cfg(test)]") {
            test_item = Some(None);
            continue;
        }
        if let Some(depth) = test_item {
            test_item = after_line(code, depth);
            continue;
        }
        for (word, advice) in FORBIDDEN {
            if code.contains(word) {
                found.push((at + 1, *word, *advice));
            }
        }
    }
    found
}

/// The state after one more line of an item marked as test code; `None`: the item has ended.
fn after_line(code: &str, depth: Option<usize>) -> Option<Option<usize>> {
    let mut depth = depth;
    for sign in code.chars() {
        match sign {
            '{' => depth = Some(depth.unwrap_or(0) + 1),
            '}' => depth = depth.map(|open| open.saturating_sub(1)),
            ';' if depth.is_none() => return None,
            _ => {}
        }
        if depth == Some(0) {
            return None;
        }
    }
    Some(depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_clock_and_leaves_comments_and_tests_alone() {
        let text = "\
//! never calls Instant::now
fn late(now: Instant) -> bool {
    now < Instant::now() // here
}
#[cfg(test)]
mod more;
fn host() { std::env::var(\"X\") }
#[cfg(test)]
mod tests {
    fn now() { Instant::now(); }
}
use std::net::UdpSocket;
";
        let lines: Vec<_> = (scan_text(text).into_iter())
            .map(|(line, word, _)| (line, word))
            .collect();
        assert_eq!(
            lines,
            [(3, "Instant::now"), (7, "std::env"), (12, "UdpSocket")]
        );
    }
}
