//! Which server this launcher is for: an operator's profile, written into the configuration file.
//!
//! A profile is opened from the page (a file dialog), dropped on the program, or lies beside it under
//! the name [`BESIDE`]: a program with one is for that server, each time that it is another one than was
//! taken last.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};
use warp_protocol::{
    Problem, ProblemCode,
    profile::{GameHints, MAX_PROFILE, Profile},
};

use crate::{options::Places, servers};

/// Name of a profile that an operator ships beside the program.
pub(crate) const BESIDE: &str = "server.warp";
/// How profile files end.
pub(crate) const EXTENSION: &str = "warp";

/// What the page is told of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Applied {
    name: String,
    news_url: Option<String>,
    accent: Option<String>,
    /// The game's program that was found, if it was.
    game: Option<String>,
}

/// Reads a profile file.
///
/// # Errors
/// `profile-invalid`.
pub(crate) fn read(file: &Path) -> Result<Profile, Problem> {
    let name = file.display().to_string();
    let wrong = |why: String| Problem::new(ProblemCode::ProfileInvalid, &name).with_detail(why);
    let size = std::fs::metadata(file).map_err(|error| wrong(error.to_string()))?;
    if !size.is_file() || size.len() > MAX_PROFILE as u64 {
        return Err(wrong(format!(
            "a profile is a file of at most {MAX_PROFILE} bytes"
        )));
    }
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    warp_engine::open_profile(&name, &text)
}

/// Takes the profile that an operator put beside the program, unless it is the one that was taken last:
/// what was chosen since then stays. A configuration that was named, or lies beside the program too, is
/// somebody's own, and is left alone.
///
/// # Errors
/// As those of [`read`] and [`apply`].
pub(crate) fn take_shipped(places: &mut Places, program: &Path) -> Result<(), Problem> {
    let Some(shipped) = shipped(places, program) else {
        return Ok(());
    };
    apply(&read(&shipped)?, &places.write)?;
    places.config = Some(places.write.clone());
    if let Err(error) = std::fs::copy(&shipped, taken(places)) {
        tracing::warn!(%error, "the profile is taken again at the next start");
    }
    Ok(())
}

/// The profile beside the program, if it is to be taken.
fn shipped(places: &Places, program: &Path) -> Option<PathBuf> {
    let shipped = program.with_file_name(BESIDE);
    if !places.own || !shipped.is_file() {
        return None;
    }
    let text = |file: &Path| std::fs::read(file).ok();
    let known = places.config.is_some() && text(&shipped) == text(&taken(places));
    (!known).then_some(shipped)
}

/// A copy of the profile that was taken last from beside a program.
fn taken(places: &Places) -> PathBuf {
    places.write.with_file_name(BESIDE)
}

/// Writes what the profile says into the configuration `file`; every other key stays as it is.
///
/// # Errors
/// `config-unreadable`: the file cannot be read or written.
pub(crate) fn apply(profile: &Profile, file: &Path) -> Result<Applied, Problem> {
    let mut config = read_config(file)?;
    let key = json!(profile.public_key.to_string());
    let known = config.get("coordinator");
    let same = known.and_then(|known| known.get("public_key")) == Some(&key);
    // One with the same key is the same server, wherever it has moved.
    let before = servers::named(&config).filter(|_| !same);
    edit(&mut config, "coordinator", |coordinator| {
        coordinator.insert("rest_api_url".into(), json!(profile.rest_api_url));
        coordinator.insert("public_key".into(), key);
        // An address of another coordinator's socket would be the wrong one.
        coordinator.remove("websocket_url");
    });
    servers::change(&mut config, before.as_deref(), file)?;
    let game = find_game(&profile.game);
    edit(&mut config, "game", |section| {
        let named = section.get("executable").and_then(Value::as_str);
        if let Some(program) = &game
            && named.is_none_or(str::is_empty)
        {
            section.insert("executable".into(), json!(program));
            starts(section, program);
        }
        point(section, profile);
    });
    if let Some(port) = profile.game.login_port {
        edit(&mut config, "bridge", |bridge| {
            bridge.insert("login_listen".into(), json!(format!("127.0.0.1:{port}")));
        });
    }
    write_config(file, &config)?;
    keep_look(profile, file);
    Ok(Applied {
        name: profile.name.clone(),
        news_url: profile.news_url.clone(),
        accent: profile.accent.clone(),
        game: game.map(|game| game.display().to_string()),
    })
}

/// Writes an address that was typed in.
///
/// # Errors
/// `config-value`: it is no address; `config-unreadable`: the file cannot be read or written.
pub(crate) fn apply_address(url: &str, file: &Path) -> Result<(), Problem> {
    let typed = url.trim();
    // As people write addresses.
    let whole = format!("https://{typed}");
    let url = match typed.contains("://") {
        true => typed,
        false => &whole,
    };
    let url = url.trim_end_matches('/');
    let bare = url.strip_prefix("https://").or(url.strip_prefix("http://"));
    let good = bare.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && !rest.contains([' ', '@', '\\'])
    });
    if !good || url.len() > 512 {
        return Err(
            Problem::new(ProblemCode::ConfigValue, "coordinator.rest_api_url")
                .with_detail("http://host:port/api/v1 or https://host/api/v1"),
        );
    }
    let url = match bare.is_some_and(|rest| rest.contains('/')) {
        true => url.to_owned(),
        false => format!("{url}/api/v1"),
    };
    let mut config = read_config(file)?;
    let before = servers::named(&config);
    edit(&mut config, "coordinator", |coordinator| {
        if before.as_deref() != Some(&url) {
            coordinator.remove("public_key");
            coordinator.remove("websocket_url");
        }
        coordinator.insert("rest_api_url".into(), json!(url));
    });
    servers::change(&mut config, before.as_deref(), file)?;
    write_config(file, &config)?;
    forget_look(file);
    Ok(())
}

/// Writes which program is the game.
///
/// # Errors
/// `game-missing`: it is no file; `config-unreadable`: the file cannot be read or written.
pub(crate) fn apply_game(program: &Path, file: &Path) -> Result<(), Problem> {
    if !program.is_file() {
        return Err(Problem::new(
            ProblemCode::GameMissing,
            program.display().to_string(),
        ));
    }
    let mut config = read_config(file)?;
    edit(&mut config, "game", |game| {
        game.insert("executable".into(), json!(program));
        starts(game, program);
    });
    write_config(file, &config)
}

/// Completes what starts a program that was found or chosen: without being told where the launcher is, a
/// game's client would go past it; and on Linux a Windows program needs Wine. What is there stays.
fn starts(game: &mut Map<String, Value>, program: &Path) {
    let windows = program
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("exe"));
    if !windows {
        return;
    }
    if ["arguments", "clientinfo", "practice"]
        .iter()
        .all(|key| !game.contains_key(*key))
    {
        game.insert("clientinfo".into(), json!({}));
        game.insert("arguments".into(), json!(["/account:{clientinfo}"]));
    }
    if cfg!(target_os = "linux") && !game.contains_key("runner") && is_in_path("wine") {
        game.insert("runner".into(), json!("wine"));
    }
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What the operator says of how the game finds the launcher takes the place of what was there.
fn point(game: &mut Map<String, Value>, profile: &Profile) {
    let hints = &profile.game;
    if hints.arguments.is_empty() && hints.clientinfo.is_none() {
        return;
    }
    game.insert("arguments".into(), json!(hints.arguments));
    game.remove("clientinfo");
    if let Some(clientinfo) = &hints.clientinfo {
        let mut section = json!({ "display": profile.name });
        for (key, number) in [
            ("version", clientinfo.version),
            ("langtype", clientinfo.langtype),
        ] {
            if let Some(number) = number {
                section[key] = json!(number);
            }
        }
        game.insert("clientinfo".into(), section);
    }
}

/// How the server of the configuration looks; `None`: it came without a profile.
pub(crate) fn look(config: Option<&Path>) -> Option<Value> {
    let text = std::fs::read_to_string(look_file(config?)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Where the news of the server of the configuration are; `None`: it came without a profile, or names
/// none.
pub(crate) fn news_url(config: Option<&Path>) -> Option<String> {
    let look = look(config)?;
    look.get("news_url")?.as_str().map(str::to_owned)
}

fn look_file(config: &Path) -> PathBuf {
    config.with_file_name("server_look.json")
}

/// The server of the configuration is another one, of which no profile is known.
pub(crate) fn forget_look(config: &Path) {
    // Mostly there is none.
    let _ = std::fs::remove_file(look_file(config));
}

fn keep_look(profile: &Profile, config: &Path) {
    let look = json!({
        "name": profile.name,
        "news_url": profile.news_url,
        "accent": profile.accent,
    });
    if let Err(error) = std::fs::write(look_file(config), look.to_string()) {
        tracing::warn!(%error, "the server's look is not kept");
    }
}

/// The game's program in one of the hinted folders. `~` at the start is the home folder, `%NAME%` and
/// `$NAME` at the start an environment variable.
fn find_game(hints: &GameHints) -> Option<PathBuf> {
    let executable = hints.executable.as_deref()?;
    let candidates = hints.folders.iter().filter_map(|folder| expand(folder));
    let mut candidates = candidates.map(|folder| folder.join(executable));
    candidates.find(|program| program.is_file())
}

fn expand(folder: &str) -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if let Some(rest) = folder.strip_prefix('~') {
        let home = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        return Some(variable(home)?.join(rest.trim_start_matches(['/', '\\'])));
    }
    if let Some(rest) = folder.strip_prefix('%') {
        let (name, rest) = rest.split_once('%')?;
        return Some(variable(name)?.join(rest.trim_start_matches(['/', '\\'])));
    }
    if let Some(rest) = folder.strip_prefix('$') {
        let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
        return Some(variable(name)?.join(rest));
    }
    Some(PathBuf::from(folder))
}

pub(crate) fn read_config(file: &Path) -> Result<Map<String, Value>, Problem> {
    let wrong = |why: String| {
        Problem::new(ProblemCode::ConfigUnreadable, file.display().to_string()).with_detail(why)
    };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(error) => return Err(wrong(error.to_string())),
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(config)) => Ok(config),
        Ok(_) => Err(wrong("it is not a JSON object".into())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn edit(config: &mut Map<String, Value>, name: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut section = match config.remove(name) {
        Some(Value::Object(section)) => section,
        _ => Map::new(),
    };
    change(&mut section);
    config.insert(name.to_owned(), Value::Object(section));
}

/// Beside first, then renamed: half a configuration is never there.
pub(crate) fn write_config(file: &Path, config: &Map<String, Value>) -> Result<(), Problem> {
    let written = serde_json::to_vec_pretty(config)
        .map_err(std::io::Error::from)
        .and_then(|text| {
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let new = file.with_extension("json.new");
            std::fs::write(&new, text)?;
            std::fs::rename(&new, file)
        });
    written.map_err(|error| {
        Problem::new(ProblemCode::ConfigUnreadable, file.display().to_string())
            .with_detail(error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_protocol::{identity::PublicKey, profile::ClientInfoHints};

    fn profile(folder: &Path) -> Profile {
        Profile {
            name: "Prontera Online".into(),
            rest_api_url: "https://play.example/api/v1".into(),
            public_key: PublicKey::from_raw([7; 32]),
            news_url: None,
            accent: Some("#3366cc".into()),
            game: GameHints {
                executable: Some("ragexe".into()),
                folders: vec!["/nowhere".into(), folder.display().to_string()],
                ..GameHints::default()
            },
        }
    }

    fn config(file: &Path) -> Value {
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }

    #[test]
    fn a_profile_takes_the_place_of_the_server_and_of_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sub/p2p_config.json");
        let applied = apply(&profile(folder.path()), &file).unwrap();
        assert_eq!(applied.game, None, "there is no game in the hinted folders");
        let text =
            r#"{"coordinator": {"websocket_url": "ws://old", "timeout_seconds": 5}, "mine": 1}"#;
        std::fs::write(&file, text).unwrap();
        std::fs::write(folder.path().join("ragexe"), "").unwrap();
        let applied = apply(&profile(folder.path()), &file).unwrap();
        let program = folder.path().join("ragexe").display().to_string();
        assert_eq!(applied.game.as_deref(), Some(program.as_str()));
        let written = config(&file);
        let expected = json!({
            "coordinator": {
                "rest_api_url": "https://play.example/api/v1",
                "public_key": PublicKey::from_raw([7; 32]).to_string(),
                "timeout_seconds": 5,
            },
            "game": { "executable": program },
            "mine": 1,
        });
        assert_eq!(written, expected);
        assert_eq!(look(Some(&file)).unwrap()["accent"], "#3366cc");
    }

    #[test]
    fn a_program_is_for_the_server_whose_profile_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config/p2p_config.json");
        let mut places = Places {
            config: None,
            write: config.clone(),
            own: true,
            data: folder.path().into(),
        };
        let program = |server: &str| folder.path().join(server).join("warp-launcher");
        let to_take = |places: &Places, server| shipped(places, &program(server));
        for server in ["a", "b", "config"] {
            std::fs::create_dir(folder.path().join(server)).unwrap();
        }
        assert_eq!(to_take(&places, "a"), None, "there is none");
        for server in ["a", "b"] {
            std::fs::write(program(server).with_file_name(BESIDE), server).unwrap();
        }
        assert!(to_take(&places, "a").is_some());
        // Taken once; what is chosen from then on stays.
        places.config = Some(config);
        std::fs::write(taken(&places), "a").unwrap();
        assert_eq!(to_take(&places, "a"), None);
        assert!(to_take(&places, "b").is_some(), "another server's folder");
        std::fs::write(program("a").with_file_name(BESIDE), "a, anew").unwrap();
        assert!(to_take(&places, "a").is_some(), "a new profile");
        places.own = false;
        assert_eq!(to_take(&places, "a"), None, "somebody's own configuration");
    }

    #[test]
    fn another_server_has_a_game_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p2p_config.json");
        std::fs::write(folder.path().join("ragexe"), "").unwrap();
        let mut first = profile(folder.path());
        first.game.login_port = Some(6950);
        let found = apply(&first, &file).unwrap().game;
        let executable = || config(&file)["game"]["executable"].clone();
        assert_eq!(executable(), json!(found));
        let other = Profile {
            rest_api_url: "https://other.example/api/v1".into(),
            public_key: PublicKey::from_raw([8; 32]),
            game: GameHints::default(),
            ..first.clone()
        };
        apply(&other, &file).unwrap();
        assert_eq!(executable(), json!(null));
        assert_eq!(config(&file)["bridge"], json!({}));
        apply_address(&first.rest_api_url, &file).unwrap();
        assert_eq!(executable(), json!(found));
        // The same server at another address: its key says so.
        apply(&first, &file).unwrap();
        first.rest_api_url = "https://moved.example/api/v1".into();
        apply(&first, &file).unwrap();
        assert_eq!(executable(), json!(found));
        let login = &config(&file)["bridge"]["login_listen"];
        assert_eq!(login, "127.0.0.1:6950");
    }

    #[test]
    fn a_client_is_told_where_the_launcher_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p2p_config.json");
        let program = folder.path().join("Ragexe.EXE");
        std::fs::write(&program, "").unwrap();
        let game = || config(&file)["game"].clone();
        apply_game(&program, &file).unwrap();
        assert_eq!(game()["arguments"], json!(["/account:{clientinfo}"]));
        assert_eq!(game()["clientinfo"], json!({}));
        // The operator knows better, and what a person wrote is better than our guess.
        let mut profile = profile(folder.path());
        profile.game = GameHints {
            arguments: vec!["-1rag1".into(), "/account:{clientinfo}".into()],
            clientinfo: Some(ClientInfoHints {
                version: Some(46),
                langtype: None,
            }),
            login_port: Some(6950),
            ..GameHints::default()
        };
        profile.check().unwrap();
        apply(&profile, &file).unwrap();
        assert_eq!(game()["arguments"], json!(profile.game.arguments));
        let expected = json!({ "display": "Prontera Online", "version": 46 });
        assert_eq!(game()["clientinfo"], expected);
        assert_eq!(config(&file)["bridge"]["login_listen"], "127.0.0.1:6950");
        apply_game(&program, &file).unwrap();
        assert_eq!(game()["arguments"], json!(profile.game.arguments));
        // All of it is what the engine takes.
        let text = std::fs::read_to_string(&file).unwrap();
        warp_engine_core::config::parse("test", &text).unwrap();
    }

    #[test]
    fn a_typed_address_forgets_the_key_of_another_server() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p2p_config.json");
        apply(&profile(folder.path()), &file).unwrap();
        apply_address(" http://other.example:8001/ ", &file).unwrap();
        let written = config(&file);
        assert_eq!(
            written["coordinator"],
            json!({ "rest_api_url": "http://other.example:8001/api/v1" })
        );
        assert_eq!(look(Some(&file)), None);
        apply_address("other.example:8001", &file).unwrap();
        let url = &config(&file)["coordinator"]["rest_api_url"];
        assert_eq!(url, "https://other.example:8001/api/v1");
        for bad in ["", "ftp://a", "http://", "http://a b", "http://me@host/"] {
            let problem = apply_address(bad, &file).unwrap_err();
            assert_eq!(problem.code, ProblemCode::ConfigValue, "{bad}");
        }
    }

    #[test]
    fn a_configuration_that_is_not_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p2p_config.json");
        std::fs::write(&file, "[1]").unwrap();
        let problem = apply(&profile(folder.path()), &file).unwrap_err();
        assert_eq!(problem.code, ProblemCode::ConfigUnreadable);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "[1]");
    }

    #[test]
    fn a_file_that_is_no_profile_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.warp");
        for text in ["", "{}", &"x".repeat(MAX_PROFILE + 1)] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read(&file).unwrap_err().code, ProblemCode::ProfileInvalid);
        }
        assert_eq!(
            read(folder.path()).unwrap_err().code,
            ProblemCode::ProfileInvalid
        );
    }
}
