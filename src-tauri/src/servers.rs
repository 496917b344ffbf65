//! What belongs to a server goes with it: its game, how that is started, and the port that it expects
//! the launcher at. Another server's are put aside, and are there again when one goes back.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use warp_protocol::Problem;

use crate::profile::{read_config, write_config};

/// Keys of `game` that say what runs. How many at once, and the practice game, are the person's.
const GAME: [&str; 7] = [
    "executable",
    "arguments",
    "working_directory",
    "runner",
    "runner_arguments",
    "log_file",
    "clientinfo",
];
/// The key of `bridge` that a client may have built in.
const PORT: &str = "login_listen";

/// Where what other servers have is kept, by their addresses.
fn aside(config: &Path) -> PathBuf {
    config.with_file_name("server_games.json")
}

/// The server that a configuration names.
pub(crate) fn named(config: &Map<String, Value>) -> Option<String> {
    let url = config.get("coordinator")?.get("rest_api_url")?.as_str()?;
    Some(url.to_owned())
}

/// `config`, which goes to `file`, names another server than `before`, or may: puts aside what belongs to
/// that one, and takes what is there for this one. A game that was chosen before any server stays.
///
/// # Errors
/// `config-unreadable`: what was put aside cannot be read or written. Nothing is changed then.
pub(crate) fn change(
    config: &mut Map<String, Value>,
    before: Option<&str>,
    file: &Path,
) -> Result<(), Problem> {
    let now = named(config);
    let Some(before) = before.filter(|before| now.as_deref() != Some(before)) else {
        return Ok(());
    };
    let mut all = read_config(&aside(file))?;
    // Of this one a copy stays, should the configuration not be written in the end.
    let back = now.and_then(|now| all.get(&now).cloned());
    let mut changed = config.clone();
    let old = Value::Object(take(&mut changed));
    all.insert(before.to_owned(), old);
    write_config(&aside(file), &all)?;
    if let Some(Value::Object(back)) = back {
        give(&mut changed, back);
    }
    *config = changed;
    Ok(())
}

/// Takes away what belongs to the server, by section.
fn take(config: &mut Map<String, Value>) -> Map<String, Value> {
    let mut taken = Map::new();
    for (name, keys) in [("game", &GAME[..]), ("bridge", &[PORT])] {
        let mut of = Map::new();
        if let Some(Value::Object(section)) = config.get_mut(name) {
            for key in keys {
                of.extend(section.remove(*key).map(|value| ((*key).to_owned(), value)));
            }
        }
        taken.insert(name.to_owned(), Value::Object(of));
    }
    taken
}

fn give(config: &mut Map<String, Value>, back: Map<String, Value>) {
    for (name, of) in back {
        let section = config
            .entry(name)
            .or_insert_with(|| Value::Object(Map::new()));
        if let (Value::Object(section), Value::Object(of)) = (section, of) {
            section.extend(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn each_server_has_its_own_game_and_finds_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p2p_config.json");
        let first = json!({
            "coordinator": { "rest_api_url": "https://a" },
            "game": { "executable": "a.exe", "arguments": ["-1rag1"], "max_instances": 2 },
            "bridge": { "login_listen": "127.0.0.1:6950", "idle_seconds": 9 },
            "mine": 1,
        });
        let mut config = object(first.clone());
        let go = |config: &mut Map<String, Value>, to: &str| {
            let before = named(config);
            config["coordinator"]["rest_api_url"] = json!(to);
            change(config, before.as_deref(), &file).unwrap();
        };
        go(&mut config, "https://b");
        assert_eq!(config["game"], json!({ "max_instances": 2 }));
        assert_eq!(config["bridge"], json!({ "idle_seconds": 9 }));
        config["game"]["executable"] = json!("b.exe");
        go(&mut config, "https://b");
        assert_eq!(config["game"]["executable"], "b.exe", "the same server");
        go(&mut config, "https://a");
        assert_eq!(Value::Object(config.clone()), first);
        go(&mut config, "https://b");
        assert_eq!(config["game"]["executable"], "b.exe");
        assert_eq!(config["game"].get("arguments"), None);
    }

    #[test]
    fn the_first_server_takes_the_game_that_was_chosen_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p2p_config.json");
        let mut config = object(json!({
            "coordinator": { "rest_api_url": "https://a" },
            "game": { "executable": "a.exe" },
        }));
        change(&mut config, None, &file).unwrap();
        assert_eq!(config["game"]["executable"], "a.exe");
        assert!(!aside(&file).exists());
    }

    #[test]
    fn where_nothing_can_be_put_aside_nothing_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p2p_config.json");
        std::fs::write(aside(&file), "[]").unwrap();
        let mut config = object(json!({
            "coordinator": { "rest_api_url": "https://b" },
            "game": { "executable": "a.exe" },
        }));
        let problem = change(&mut config, Some("https://a"), &file).unwrap_err();
        assert!(problem.subject.ends_with("server_games.json"));
        assert_eq!(config["game"]["executable"], "a.exe");
    }
}
