//! What the page tells the native side about itself: the words of its language for what is shown
//! outside of it (tray, dialogs, notifications), its theme, and what the person chose to be notified of.
//!
//! It is kept, so that a dialog that has to be shown *because* the page did not come has the words of
//! last time. Before there was a page at all they are English.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

/// Longest text, bytes; what is longer is the default.
const MAX_TEXT: usize = 400;
const FILE: &str = "face.json";

/// Words and choices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Face {
    pub(crate) words: Words,
    /// The person's choice; none: the system's.
    pub(crate) theme: Option<tauri::Theme>,
    /// Tell of failovers while the window has no focus.
    pub(crate) notify_failover: bool,
    /// Tell of a new version while the window has no focus.
    pub(crate) notify_update: bool,
}

impl Default for Face {
    fn default() -> Self {
        Self {
            words: Words::default(),
            theme: None,
            notify_failover: true,
            notify_update: true,
        }
    }
}

/// The texts, by what they are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Words {
    pub(crate) open: String,
    pub(crate) fail_over: String,
    pub(crate) quit: String,
    pub(crate) stay: String,
    pub(crate) game_runs: String,
    pub(crate) profile: String,
    pub(crate) blank: String,
    pub(crate) reload: String,
    pub(crate) go_back: String,
    pub(crate) did_not_start: String,
    pub(crate) start: String,
    pub(crate) moved: String,
    pub(crate) update: String,
    /// Names of the connection's states, by their stable codes.
    pub(crate) state: BTreeMap<String, String>,
}

impl Default for Words {
    fn default() -> Self {
        let states = [
            ("disconnected", "Disconnected"),
            ("connecting", "Connecting"),
            ("authenticating", "Authenticating"),
            ("connected", "Connected"),
            ("reconnecting", "Reconnecting"),
            ("failing-over", "Failing over"),
        ];
        Self {
            open: "Open".into(),
            fail_over: "Fail over".into(),
            quit: "Quit".into(),
            stay: "Stay".into(),
            game_runs: "A game is running. It ends when the launcher quits.".into(),
            profile:
                "A server's profile was opened. Use this server from now on? A game that runs \
                      ends."
                    .into(),
            blank: "The launcher's page does not show. Reloading it often helps; what went wrong \
                    is in the log."
                .into(),
            reload: "Reload".into(),
            go_back: "Back to the version before".into(),
            did_not_start: "This version of the launcher has not started well so far. The version \
                            before can be put back."
                .into(),
            start: "Try once more".into(),
            moved: "The connection has moved to another path.".into(),
            update: "A new version of the launcher is there.".into(),
            state: states
                .into_iter()
                .map(|(code, name)| (code.to_owned(), name.to_owned()))
                .collect(),
        }
    }
}

impl Face {
    /// The one of last time, from `folder`.
    pub(crate) fn load(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join(FILE)).ok();
        let face = text.and_then(|text| serde_json::from_str::<Self>(&text).ok());
        face.unwrap_or_default().bounded()
    }

    /// Keeps it for next time. That it cannot be kept harms nobody.
    pub(crate) fn keep(&self, folder: &Path) {
        let kept = std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(folder.join(FILE), serde_json::to_vec(self)?));
        if let Err(error) = kept {
            tracing::debug!(%error, "the window's words are not kept");
        }
    }

    /// The same without texts that no menu or dialog can show.
    pub(crate) fn bounded(mut self) -> Self {
        let plain = Words::default();
        let words = &mut self.words;
        for (text, default) in [
            (&mut words.open, plain.open),
            (&mut words.fail_over, plain.fail_over),
            (&mut words.quit, plain.quit),
            (&mut words.stay, plain.stay),
            (&mut words.game_runs, plain.game_runs),
            (&mut words.profile, plain.profile),
            (&mut words.blank, plain.blank),
            (&mut words.reload, plain.reload),
            (&mut words.go_back, plain.go_back),
            (&mut words.did_not_start, plain.did_not_start),
            (&mut words.start, plain.start),
            (&mut words.moved, plain.moved),
            (&mut words.update, plain.update),
        ] {
            if text.trim().is_empty() || text.len() > MAX_TEXT {
                *text = default;
            }
        }
        for (code, default) in plain.state {
            let known = words.state.get(&code);
            if known.is_none_or(|text| text.trim().is_empty() || text.len() > MAX_TEXT) {
                words.state.insert(code, default);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_what_cannot_be_shown_is_english() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Face::load(folder.path()), Face::default());
        let mut face = Face::default();
        face.words.quit = "Sair".into();
        face.words.open = String::new();
        face.words.blank = "x".repeat(MAX_TEXT + 1);
        face.words.state.clear();
        face.theme = Some(tauri::Theme::Dark);
        face.notify_failover = false;
        face.keep(folder.path());
        let back = Face::load(folder.path());
        assert_eq!(back.words.quit, "Sair");
        assert_eq!(back.words.open, "Open");
        assert_eq!(back.words.blank, Words::default().blank);
        assert_eq!(back.words.state, Words::default().state);
        assert_eq!(back.theme, face.theme);
        assert!(!back.notify_failover);
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(Face::load(folder.path()), Face::default());
    }
}
