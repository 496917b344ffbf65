//! The configuration file, read for the window.

use std::path::Path;

use warp_engine_core::config::{self, Config};
use warp_protocol::{Problem, ProblemCode};

/// What the file says, or what holds without one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Settings {
    /// Every key, with its default where the file is silent.
    pub(crate) config: Config,
    /// Keys of the file that do nothing, one line each.
    pub(crate) warnings: Vec<String>,
    /// The file names a coordinator. False: the embedded house takes its place.
    pub(crate) names_coordinator: bool,
}

/// Reads `file`. `None`: there is none, and every key has its default.
///
/// # Errors
/// `config-unreadable` and `config-value`, with the file and the path of the key.
pub(crate) fn load(file: Option<&Path>) -> Result<Settings, Problem> {
    let Some(file) = file else {
        return Ok(Settings::default());
    };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Problem::new(ProblemCode::ConfigUnreadable, name.as_str()).with_detail(error.to_string())
    })?;
    let mut loaded = config::parse(&name, &text)?;
    // A program is named from where the file lies, not from where the launcher was started.
    let folder = std::path::absolute(file)
        .ok()
        .and_then(|file| file.parent().map(Path::to_path_buf));
    if let Some(folder) = folder {
        loaded.config.relative_to(&folder);
    }
    Ok(Settings {
        config: loaded.config,
        warnings: loaded.warnings,
        names_coordinator: names_coordinator(&text),
    })
}

/// The address has a default, so that the parsed configuration cannot tell whether it was written.
fn names_coordinator(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text)
        .is_ok_and(|file| file.pointer("/coordinator/rest_api_url").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Settings, Problem> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p2p_config.json");
        std::fs::write(&file, text).unwrap();
        load(Some(&file))
    }

    #[test]
    fn the_embedded_house_stands_in_unless_a_coordinator_is_written_down() {
        assert!(!load(None).unwrap().names_coordinator);
        assert!(!of("{}").unwrap().names_coordinator);
        let quick = r#"{"coordinator": {"timeout_seconds": 5}}"#;
        assert!(!of(quick).unwrap().names_coordinator);
        let named = r#"{"coordinator": {"rest_api_url": "https://play.example/api/v1"}}"#;
        assert!(of(named).unwrap().names_coordinator);
    }

    #[test]
    fn a_game_is_looked_for_from_the_folder_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p2p_config.json");
        let text = r#"{"game": {"executable": "client/ragexe", "runner": "wine"}}"#;
        std::fs::write(&file, text).unwrap();
        let game = load(Some(&file)).unwrap().config.game;
        let expected = folder.path().join("client/ragexe");
        assert_eq!(Path::new(&game.executable), expected);
        assert_eq!(game.runner, "wine");
    }

    #[test]
    fn what_is_wrong_has_its_code_its_file_and_its_key() {
        let missing = load(Some(Path::new("missing.json"))).unwrap_err();
        assert_eq!(missing.code, ProblemCode::ConfigUnreadable);
        assert_eq!(missing.subject, "missing.json");
        let value = of(r#"{"bridge": {"login_listen": "here"}}"#).unwrap_err();
        assert_eq!(value.code, ProblemCode::ConfigValue);
        assert!(
            value
                .subject
                .ends_with("p2p_config.json: bridge.login_listen")
        );
        assert!(
            !of(r#"{"bridge": {"color": 1}}"#)
                .unwrap()
                .warnings
                .is_empty()
        );
    }
}
