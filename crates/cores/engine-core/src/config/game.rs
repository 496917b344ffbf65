//! The sections of the game's process.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Wrong;

/// `game`.
///
/// Paths may be relative: [`GameSection::relative_to`] says to what. No password and no token of
/// the launcher is ever put into an argument or a file; the game asks its player.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GameSection {
    /// Program to start; empty: none, unless `practice` is set.
    pub executable: String,
    /// Its arguments. `{login}` becomes the bridge's address (`127.0.0.1:6900`), `{login_ip}` and
    /// `{login_port}` its parts, `{clientinfo}` the name of the file that `clientinfo` asks for.
    pub arguments: Vec<String>,
    /// Where it is started, an existing folder; empty: its own folder.
    pub working_directory: String,
    /// Program that runs the game, for instance `wine`: a path, or a name that is looked for in
    /// `PATH`; empty: the game is started itself.
    pub runner: String,
    /// What the runner gets before the game's path.
    pub runner_arguments: Vec<String>,
    /// A file that the game appends its log to: the last lines are told when it fails. Relative to
    /// the folder that the game is started in; empty: none.
    pub log_file: String,
    /// Write a clientinfo file for the game, which points it at the bridge.
    pub clientinfo: Option<ClientInfoSection>,
    /// Start the practice client as the game.
    pub practice: Option<PracticeSection>,
    /// Game clients at once, 1..=32.
    pub max_instances: u32,
}

impl Default for GameSection {
    fn default() -> Self {
        Self {
            executable: String::new(),
            arguments: Vec::new(),
            working_directory: String::new(),
            runner: String::new(),
            runner_arguments: Vec::new(),
            log_file: String::new(),
            clientinfo: None,
            practice: None,
            max_instances: 8,
        }
    }
}

impl GameSection {
    pub(super) fn check(&self) -> Result<(), Wrong> {
        if let Some(practice) = &self.practice {
            Wrong::unless_in("game.practice.rate", u64::from(practice.rate), 1..=100)?;
            Wrong::unless_in("game.practice.seconds", practice.seconds, 1..=86_400)?;
        }
        match &self.clientinfo {
            Some(clientinfo) => clientinfo.check()?,
            None => {
                let asks = |text: &&String| text.contains("{clientinfo}");
                if let Some(argument) = self.arguments.iter().find(asks) {
                    let allowed = "{clientinfo} needs the section game.clientinfo";
                    return Err(Wrong::new("game.arguments", argument, allowed));
                }
            }
        }
        let instances = u64::from(self.max_instances);
        Wrong::unless_in("game.max_instances", instances, 1..=16)
    }

    /// Makes relative paths absolute by `folder`, the configuration file's: `executable`,
    /// `working_directory`, `clientinfo.template`, and `runner` where it is more than a name.
    /// Without this call they are relative to the folder that the launcher runs in.
    pub fn relative_to(&mut self, folder: &Path) {
        let root = |path: &mut String| {
            if !path.is_empty()
                && let Some(rooted) = folder.join(&*path).to_str()
            {
                *path = rooted.to_owned();
            }
        };
        root(&mut self.executable);
        root(&mut self.working_directory);
        if has_separator(&self.runner) {
            root(&mut self.runner);
        }
        if let Some(clientinfo) = &mut self.clientinfo {
            root(&mut clientinfo.template);
        }
    }

    /// The section for the `slot`-th client at once, counting from 0: practice clients play one
    /// account each.
    pub fn for_slot(&self, slot: u32) -> Self {
        let mut section = self.clone();
        if let Some(practice) = &mut section.practice {
            practice.account = practice.account_of(slot);
        }
        section
    }
}

/// True for a path, false for a name that is looked for in `PATH`.
pub fn has_separator(program: &str) -> bool {
    program.contains(std::path::is_separator)
}

/// `game.clientinfo`: the file that a Ragnarok client reads the login server's address from, when
/// it is started with `/account:NAME`.
///
/// What the keys from `servicetype` on say goes into a new file; `template` takes the place of all
/// of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientInfoSection {
    /// Its name: 1 to 64 letters, digits, `.`, `_`, `-`, and no dot in front.
    pub file: String,
    /// Folder beside the executable that it is written to, of the same letters; empty: the
    /// executable's own folder. Left out: `data` where there is such a folder, because clients look
    /// for loose files there, else the executable's own.
    pub folder: Option<String>,
    /// A clientinfo file of the operator, at most 1 MiB: it is copied, and the address and port of
    /// every connection replaced; empty: none.
    pub template: String,
    /// `<servicetype>`.
    pub servicetype: String,
    /// `<servertype>`.
    pub servertype: String,
    /// `<display>`: the server's name in the game's list.
    pub display: String,
    /// `<version>`: what the login server expects.
    pub version: u32,
    /// `<langtype>`: language and code page of the client.
    pub langtype: u32,
    /// `<registrationweb>`: page that the game opens to make an account.
    pub registrationweb: String,
}

impl Default for ClientInfoSection {
    fn default() -> Self {
        Self {
            file: "warp_clientinfo.xml".into(),
            folder: None,
            template: String::new(),
            servicetype: "korea".into(),
            servertype: "primary".into(),
            display: "Warp Launcher".into(),
            version: 55,
            langtype: 1,
            registrationweb: String::new(),
        }
    }
}

impl ClientInfoSection {
    fn check(&self) -> Result<(), Wrong> {
        const NAME: &str = "1 to 64 letters, digits, '.', '_', '-', and no '.' in front";
        if !is_plain_name(&self.file) {
            return Err(Wrong::new("game.clientinfo.file", &self.file, NAME));
        }
        if let Some(folder) = &self.folder
            && !(folder.is_empty() || is_plain_name(folder))
        {
            return Err(Wrong::new("game.clientinfo.folder", folder, NAME));
        }
        for (key, text) in [
            ("game.clientinfo.servicetype", &self.servicetype),
            ("game.clientinfo.servertype", &self.servertype),
            ("game.clientinfo.display", &self.display),
            ("game.clientinfo.registrationweb", &self.registrationweb),
        ] {
            // A client reads the file in its own code page and knows no escapes.
            let plain = |sign: char| (' '..='~').contains(&sign) && !"<>&\"".contains(sign);
            if text.len() > 200 || !text.chars().all(plain) {
                let allowed = "at most 200 printable ASCII signs without < > & \"; use \
                               game.clientinfo.template for others";
                return Err(Wrong::new(key, text, allowed));
            }
        }
        Ok(())
    }
}

/// A name without any meaning to a file system, a command line or XML.
fn is_plain_name(name: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(sign)
}

/// `game.practice`: what Play starts where no game is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PracticeSection {
    /// Account on the practice server, `test1`..`test99`; its password is its name. Further
    /// clients at once play the accounts with the next numbers.
    pub account: String,
    /// Requests per second, 1..=100.
    pub rate: u32,
    /// How long it plays, 1..=86400 s.
    pub seconds: u64,
}

impl Default for PracticeSection {
    fn default() -> Self {
        Self {
            account: "test1".into(),
            rate: 10,
            seconds: 600,
        }
    }
}

impl PracticeSection {
    /// The account of the `slot`-th client at once, counting from 0: the number at the end of
    /// `account` and those after it. An account without a number gets one, from 2 on.
    pub fn account_of(&self, slot: u32) -> String {
        if slot == 0 {
            return self.account.clone();
        }
        let name = self
            .account
            .trim_end_matches(|letter: char| letter.is_ascii_digit());
        let digits = self.account.get(name.len()..).unwrap_or_default();
        let first: u32 = digits.parse().unwrap_or(1);
        format!("{name}{}", first.saturating_add(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn refused(text: &str) -> String {
        parse("c", text).unwrap_err().subject
    }

    #[test]
    fn names_and_texts_of_the_clientinfo_are_checked() {
        let section = parse("c", r#"{"game": {"clientinfo": {}}}"#).unwrap();
        let clientinfo = section.config.game.clientinfo.unwrap();
        assert_eq!(clientinfo, ClientInfoSection::default());
        let names = [
            "",
            ".",
            "..",
            "../x.xml",
            "data/x.xml",
            "a\\\\b",
            "c:x",
            "a b",
        ];
        for name in names {
            let text = format!(r#"{{"game": {{"clientinfo": {{"file": "{name}"}}}}}}"#);
            assert_eq!(refused(&text), "c: game.clientinfo.file", "{name}");
            if !name.is_empty() {
                let text = text.replace("file", "folder");
                assert_eq!(refused(&text), "c: game.clientinfo.folder", "{name}");
            }
        }
        for display in ["a<b", "a&b", "Rägnarok", "a\\nb"] {
            let text = format!(r#"{{"game": {{"clientinfo": {{"display": "{display}"}}}}}}"#);
            assert_eq!(refused(&text), "c: game.clientinfo.display", "{display}");
        }
    }

    #[test]
    fn an_argument_that_names_a_file_that_is_not_written_is_refused() {
        let text = r#"{"game": {"arguments": ["1rag1", "/account:{clientinfo}"]}}"#;
        assert_eq!(refused(text), "c: game.arguments");
        let with = text.replace("]}", r#"], "clientinfo": {}}"#);
        assert!(parse("c", &with).is_ok());
    }

    #[test]
    fn relative_paths_belong_to_the_folder_of_the_configuration() {
        let text = r#"{"game": {"executable": "game/Ragexe.exe", "runner": "wine",
                      "log_file": "game.log", "clientinfo": {"template": "mine.xml"}}}"#;
        let mut game = parse("c", text).unwrap().config.game;
        game.relative_to(Path::new("/ro"));
        let inside = |path: &str| Path::new("/ro").join(path).to_str().unwrap().to_owned();
        assert_eq!(game.executable, inside("game/Ragexe.exe"));
        assert_eq!(game.working_directory, "");
        assert_eq!((&*game.runner, &*game.log_file), ("wine", "game.log"));
        assert_eq!(game.clientinfo.unwrap().template, inside("mine.xml"));

        let absolute = if cfg!(windows) { "C:\\games" } else { "/games" }.to_owned();
        let mut game = GameSection {
            executable: absolute.clone(),
            runner: "bin/wine".into(),
            ..GameSection::default()
        };
        game.relative_to(Path::new("/ro"));
        assert_eq!(game.executable, absolute);
        assert_eq!(game.runner, inside("bin/wine"));
    }
}
