//! The settings page's side: what the configuration file says, and what a person changes in it.
//!
//! Only the keys of [`editable`] are read to the page and written by it. Programs, their arguments,
//! files and passwords are not among them, so that a page that was taken over can neither choose what
//! runs nor read a secret.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use warp_engine_core::{
    config::{self, Config},
    import::{self, IMPORTABLE},
};
use warp_protocol::{Problem, ProblemCode};

/// Keys that a person changes here, and no file from somewhere else does.
const BY_HAND: &[&str] = &[
    "coordinator.proxy",
    "hosting.upload_mbps",
    "hosting.only_on_network",
    "updates.channel",
];

/// Which server it is.
const SERVER: &str = "coordinator.rest_api_url";
/// Keys that go with the server.
const OF_THE_SERVER: [&str; 2] = ["coordinator.public_key", "coordinator.websocket_url"];

/// Keys that the page may see and change.
fn editable() -> impl Iterator<Item = &'static str> {
    IMPORTABLE.iter().chain(BY_HAND).copied()
}

/// What the page shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Shown {
    /// The file that changes go to; it need not be there yet.
    pub(crate) file: String,
    /// By key, as they are in force after the next start of the engine.
    pub(crate) values: BTreeMap<String, Value>,
    /// By key.
    pub(crate) defaults: BTreeMap<String, Value>,
    /// Keys that the file has.
    pub(crate) written: Vec<String>,
    /// Keys of the file that do nothing, one line each.
    pub(crate) warnings: Vec<String>,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Change {
    /// Path of the key.
    pub(crate) key: String,
    /// The value; none: as by default.
    #[serde(default)]
    pub(crate) value: Option<Value>,
}

/// Reads what the page shows.
///
/// # Errors
/// The file cannot be read, or holds a value that is not allowed.
pub(crate) fn read(file: &Path) -> Result<Shown, Problem> {
    let text = text_of(file)?;
    let loaded = config::parse(&file.display().to_string(), &text)?;
    let written: Value = serde_json::from_str(&text).unwrap_or_default();
    let pick = |config: &Config| -> Result<BTreeMap<String, Value>, Problem> {
        let all = serde_json::to_value(config)
            .map_err(|error| internal("settings", &error.to_string()))?;
        let value = |key: &str| all.pointer(&pointer(key)).cloned();
        Ok(editable()
            .filter_map(|key| Some((key.to_owned(), value(key)?)))
            .collect())
    };
    Ok(Shown {
        file: file.display().to_string(),
        values: pick(&loaded.config)?,
        defaults: pick(&Config::default())?,
        written: editable()
            .filter(|key| written.pointer(&pointer(key)).is_some())
            .map(str::to_owned)
            .collect(),
        warnings: loaded.warnings,
    })
}

/// Writes changes: all of them, or none. What the page does not know stays as it is in the file.
///
/// # Errors
/// A key that may not be changed here, a value that is not allowed (with the key and what is), or a
/// file that cannot be written.
pub(crate) fn write(file: &Path, changes: Vec<Change>) -> Result<Shown, Problem> {
    let name = file.display().to_string();
    let mut json: Value = serde_json::from_str(&text_of(file)?).map_err(|error| {
        Problem::new(ProblemCode::ConfigUnreadable, name.as_str()).with_detail(error.to_string())
    })?;
    let server = |json: &Value| json.pointer(&pointer(SERVER)).cloned();
    let before = server(&json);
    let given: Vec<String> = changes.iter().map(|change| change.key.clone()).collect();
    for Change { key, value } in &changes {
        if !editable().any(|known| known == key) {
            return Err(Problem::new(ProblemCode::ConfigValue, key.as_str())
                .with_detail("this key is not changed here; edit the file"));
        }
        if let Some(value) = value {
            import::check(key, value).map_err(|problem| Problem {
                subject: key.clone(),
                ..problem
            })?;
        }
    }
    // The server first: what else is given is this one's already.
    let (to, rest): (Vec<_>, Vec<_>) = (changes.into_iter()).partition(|one| one.key == SERVER);
    for Change { key, value } in to {
        import::set(&mut json, &key, value);
    }
    let other = server(&json) != before;
    if let (true, Value::Object(config)) = (other, &mut json) {
        let before = before.as_ref().and_then(Value::as_str);
        crate::servers::change(config, before, file)?;
    }
    for Change { key, value } in rest {
        import::set(&mut json, &key, value);
    }
    if other {
        // Of the server of before: its key would refuse the other one, and its socket get that one's tokens.
        for key in OF_THE_SERVER
            .iter()
            .filter(|key| !given.iter().any(|one| one == *key))
        {
            import::set(&mut json, key, None);
        }
    }
    let mut text =
        serde_json::to_string_pretty(&json).map_err(|error| internal(&name, &error.to_string()))?;
    text.push('\n');
    // Keys may be allowed each by itself and not together.
    config::parse(&name, &text)?;
    replace(file, &text).map_err(|error| internal(&name, &error.to_string()))?;
    if other {
        crate::profile::forget_look(file);
    }
    read(file)
}

fn internal(subject: &str, why: &str) -> Problem {
    Problem::new(ProblemCode::Internal, subject).with_detail(why)
}

fn pointer(key: &str) -> String {
    format!("/{}", key.replace('.', "/"))
}

/// A file that is not there says nothing.
fn text_of(file: &Path) -> Result<String, Problem> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok("{}".to_owned()),
        Err(error) => Err(
            Problem::new(ProblemCode::ConfigUnreadable, file.display().to_string())
                .with_detail(error.to_string()),
        ),
    }
}

/// The old file stays whole until the new one is.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut beside: PathBuf = file.to_path_buf();
    beside.as_mut_os_string().push(".new");
    let mut new = std::fs::File::create(&beside)?;
    if let Ok(old) = std::fs::metadata(file) {
        // It may hold a proxy's password, and be closed to others for that.
        new.set_permissions(old.permissions())?;
    }
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    drop(new);
    std::fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(key: &str, value: Option<Value>) -> Change {
        Change {
            key: key.into(),
            value,
        }
    }

    #[test]
    fn every_editable_key_has_a_value_and_a_default() {
        let shown = read(Path::new("missing/p2p_config.json")).unwrap();
        assert_eq!(shown.values, shown.defaults);
        assert_eq!(shown.values.len(), editable().count());
        assert!(shown.written.is_empty());
    }

    #[test]
    fn changes_keep_what_they_do_not_touch_and_a_reset_takes_the_key_away() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/p2p_config.json");
        let set = vec![change("p2p.hold_seconds", Some(json!(60)))];
        write(&file, set).unwrap();
        let text = r#"{"game":{"executable":"ro"},"coordinator":{"proxy_user":"ann","proxy_password":"hush"},"p2p":{"hold_seconds":60}}"#;
        std::fs::write(&file, text).unwrap();
        let both = vec![
            change("p2p.redundant_sending", Some(json!("always"))),
            change("p2p.hold_seconds", None),
        ];
        let shown = write(&file, both).unwrap();
        assert_eq!(shown.values["p2p.redundant_sending"], json!("always"));
        assert_eq!(shown.values["p2p.hold_seconds"], json!(30));
        assert_eq!(shown.written, ["p2p.redundant_sending"]);
        let json: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(json["game"]["executable"], "ro");
        assert_eq!(json["coordinator"]["proxy_password"], "hush");
        let seen = serde_json::to_string(&shown).unwrap();
        assert!(!seen.contains("hush") && !seen.contains("executable"));
    }

    #[test]
    fn another_server_has_neither_the_key_nor_the_socket_of_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p2p_config.json");
        let key = |byte| warp_protocol::identity::PublicKey::from_raw([byte; 32]).to_string();
        let (old, new) = (key(1), key(2));
        let before = json!({"coordinator": {
            "rest_api_url": "https://a.example/api/v1",
            "public_key": old,
            "websocket_url": "wss://a.example/ws",
            "timeout_seconds": 5,
        }});
        let url = |host: &str| {
            let url = format!("https://{host}.example/api/v1");
            change(SERVER, Some(json!(url)))
        };
        let key = change("coordinator.public_key", Some(json!(new)));
        let cases = [
            (vec![url("a")], Some(&old), true),
            (vec![url("b")], None, false),
            (vec![url("b"), key], Some(&new), false),
        ];
        for (changes, key, socket) in cases {
            std::fs::write(&file, before.to_string()).unwrap();
            write(&file, changes).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            let written: Value = serde_json::from_str(&text).unwrap();
            let coordinator = &written["coordinator"];
            let has = coordinator["public_key"].as_str();
            assert_eq!(has, key.map(String::as_str), "{text}");
            assert_eq!(coordinator["websocket_url"].is_string(), socket, "{text}");
            assert_eq!(coordinator["timeout_seconds"], 5);
        }
    }

    #[test]
    fn a_wrong_value_and_a_key_that_runs_programs_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p2p_config.json");
        std::fs::write(&file, "{}").unwrap();
        let wrong = vec![
            change("p2p.enabled", Some(json!(false))),
            change("p2p.hold_seconds", Some(json!(1))),
        ];
        let problem = write(&file, wrong).unwrap_err();
        assert_eq!(problem.subject, "p2p.hold_seconds");
        assert!(problem.detail.unwrap().contains("5 to 300"));
        for key in ["game.executable", "game.runner", "coordinator.ca_file", "x"] {
            let problem = write(&file, vec![change(key, Some(json!("/bin/sh")))]).unwrap_err();
            assert_eq!(problem.subject, key);
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{}");
    }
}
