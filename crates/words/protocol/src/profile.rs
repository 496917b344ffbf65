//! An operator's profile: a small file that tells a launcher which server it is for.
//!
//! The file is a [`SignedProfile`] as JSON. It is signed with the coordinator's identity key, which the
//! profile itself names: so the signature proves that whoever has that key wrote all of it, and that
//! nothing was changed since. Which server a player trusts is theirs to say; what the launcher pins
//! from then on is the key in the profile.

use serde::{Deserialize, Serialize};

use crate::identity::PublicKey;

/// Largest profile file, bytes.
pub const MAX_PROFILE: usize = 32 * 1024;
/// Longest name of a server, characters.
pub const MAX_SERVER_NAME: usize = 64;
/// Longest address, bytes.
const MAX_URL: usize = 512;
/// Most hints for folders, and longest of them, bytes.
const MAX_FOLDERS: usize = 16;
const MAX_PATH: usize = 260;
/// Most arguments of the game.
const MAX_ARGUMENTS: usize = 16;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedProfile {
    /// A [`Profile`] as JSON text: what is signed are its bytes.
    pub profile: String,
    /// Ed25519 signature over [`profile_message`], 128 hex digits.
    pub signature: String,
}

/// Which server a launcher is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The server's name, for people.
    pub name: String,
    /// Base of the coordinator's REST routes, `http(s)://host:port/api/v1`.
    pub rest_api_url: String,
    /// The coordinator's identity key.
    pub public_key: PublicKey,
    /// Where the server's news are, `https://...`.
    #[serde(default)]
    pub news_url: Option<String>,
    /// Colour of buttons and marks, `#rrggbb`.
    #[serde(default)]
    pub accent: Option<String>,
    /// Where its game may be.
    #[serde(default)]
    pub game: GameHints,
}

/// Where to look for the server's game.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GameHints {
    /// File name of the program that is started, such as `Ragexe.exe`.
    #[serde(default)]
    pub executable: Option<String>,
    /// Folders to look in, best first: whole paths, or such as begin with `~`, `%NAME%` or `$NAME`.
    #[serde(default)]
    pub folders: Vec<String>,
    /// What the program is started with; `{clientinfo}` becomes the name of the file below, `{login}`
    /// the address that the game has to connect to.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// The file that points the program at the launcher, where it reads one.
    #[serde(default)]
    pub clientinfo: Option<ClientInfoHints>,
    /// Port of 127.0.0.1 at which the program looks for its login server, where that is built into it;
    /// none: the launcher's default, 6900.
    #[serde(default)]
    pub login_port: Option<u16>,
}

/// What a client information file says beside the launcher's address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfoHints {
    /// `<version>`, as the login server wants it; none: the launcher's default.
    #[serde(default)]
    pub version: Option<u32>,
    /// `<langtype>`; none: the launcher's default.
    #[serde(default)]
    pub langtype: Option<u32>,
}

impl Profile {
    /// What is wrong with it, in words that name the key.
    ///
    /// # Errors
    /// A value is not allowed.
    pub fn check(&self) -> Result<(), String> {
        let length = self.name.chars().count();
        if !(1..=MAX_SERVER_NAME).contains(&length) || self.name.contains(char::is_control) {
            return Err(format!(
                "name: 1 to {MAX_SERVER_NAME} characters on one line"
            ));
        }
        let web = |url: &str, schemes: &[&str]| {
            url.len() <= MAX_URL
                && url.is_ascii()
                && !url.contains(|c: char| c.is_control() || c == ' ' || c == '@')
                && schemes.iter().any(|scheme| {
                    url.strip_prefix(scheme)
                        .is_some_and(|rest| !rest.is_empty())
                })
        };
        if !web(&self.rest_api_url, &["https://", "http://"]) {
            return Err("rest_api_url: http://... or https://...".to_owned());
        }
        if self
            .news_url
            .as_deref()
            .is_some_and(|url| !web(url, &["https://"]))
        {
            return Err("news_url: https://...".to_owned());
        }
        let colour = |text: &str| {
            text.strip_prefix('#').is_some_and(|digits| {
                digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit())
            })
        };
        if self.accent.as_deref().is_some_and(|accent| !colour(accent)) {
            return Err("accent: a colour such as #3366cc".to_owned());
        }
        let file = |name: &str| {
            !name.is_empty()
                && name.len() <= MAX_PATH
                && !name.contains(['/', '\\', ':'])
                && !name.contains(char::is_control)
        };
        if self
            .game
            .executable
            .as_deref()
            .is_some_and(|name| !file(name))
        {
            return Err("game.executable: the name of a file, without its folder".to_owned());
        }
        let folder = |path: &String| path.len() <= MAX_PATH && is_local(path);
        if self.game.folders.len() > MAX_FOLDERS || !self.game.folders.iter().all(folder) {
            return Err(format!(
                "game.folders: at most {MAX_FOLDERS} whole paths on the player's own machine"
            ));
        }
        let argument = |text: &String| text.len() <= MAX_PATH && !text.contains(char::is_control);
        if self.game.arguments.len() > MAX_ARGUMENTS || !self.game.arguments.iter().all(argument) {
            return Err(format!("game.arguments: at most {MAX_ARGUMENTS}"));
        }
        let asks = |text: &String| text.contains("{clientinfo}");
        if self.game.clientinfo.is_none() && self.game.arguments.iter().any(asks) {
            return Err("game.arguments: {clientinfo} needs game.clientinfo".to_owned());
        }
        Ok(())
    }
}

/// A whole path of this machine, of whichever system, or one that begins with a place of the player's.
/// Another machine's share is none: looking there tells it who the player is.
fn is_local(path: &str) -> bool {
    let share = |c: char| c == '/' || c == '\\';
    let whole = path.starts_with(['/', '~', '%', '$'])
        || matches!(path.as_bytes(), [drive, b':', b'/' | b'\\', ..] if drive.is_ascii_alphabetic());
    let twice = path.chars().take(2).filter(|c| share(*c)).count() == 2;
    whole && !twice && !path.contains(char::is_control)
}

/// What is signed: a context of its own, then the profile's text.
pub fn profile_message(profile: &str) -> Vec<u8> {
    [b"warp server profile 1\0".as_slice(), profile.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            name: "Prontera Online".into(),
            rest_api_url: "https://play.example/api/v1".into(),
            public_key: PublicKey::from_raw([7; 32]),
            news_url: Some("https://play.example/news".into()),
            accent: Some("#3366cc".into()),
            game: GameHints {
                executable: Some("Ragexe.exe".into()),
                folders: vec![
                    "C:\\Games\\Prontera".into(),
                    "%ProgramFiles%\\Prontera".into(),
                    "~/Games/Prontera".into(),
                    "/opt/prontera".into(),
                ],
                arguments: vec!["/account:{clientinfo}".into(), "-1rag1".into()],
                clientinfo: Some(ClientInfoHints {
                    version: Some(46),
                    langtype: None,
                }),
                login_port: Some(6901),
            },
        }
    }

    #[test]
    fn a_good_profile_is_good_and_comes_back_from_its_text() {
        profile().check().unwrap();
        let text = serde_json::to_string(&profile()).unwrap();
        assert_eq!(serde_json::from_str::<Profile>(&text).unwrap(), profile());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |change: fn(&mut Profile)| {
            let mut profile = profile();
            change(&mut profile);
            profile.check().unwrap_err()
        };
        assert!(wrong(|p| p.name = "a\nb".into()).starts_with("name"));
        assert!(wrong(|p| p.rest_api_url = "file:///etc".into()).starts_with("rest_api_url"));
        assert!(
            wrong(|p| p.rest_api_url = "https://me:pw@host".into()).starts_with("rest_api_url")
        );
        assert!(wrong(|p| p.news_url = Some("javascript:alert(1)".into())).starts_with("news_url"));
        assert!(wrong(|p| p.accent = Some("url(x)".into())).starts_with("accent"));
        assert!(wrong(|p| p.game.executable = Some("../sh".into())).starts_with("game.executable"));
        assert!(wrong(|p| p.game.folders = vec!["/a".into(); 17]).starts_with("game.folders"));
        assert!(wrong(|p| p.game.clientinfo = None).starts_with("game.arguments"));
        assert!(wrong(|p| p.game.arguments = vec!["a\nb".into()]).starts_with("game.arguments"));
    }

    #[test]
    fn no_other_machine_is_asked_for_the_game() {
        for bad in [
            "",
            "Games",
            "..\\Games",
            "C:Games",
            "\\\\evil\\share",
            "//evil/share",
            "\\/evil/share",
            "/a\nb",
        ] {
            let mut profile = profile();
            profile.game.folders = vec![bad.into()];
            let why = profile.check().unwrap_err();
            assert!(why.starts_with("game.folders"), "{bad:?}: {why}");
        }
    }
}
