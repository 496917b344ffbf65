//! What is started, and whether it can be.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use warp_engine_core::config::{GameSection, PracticeSection, has_separator};
use warp_platform::game::Launch;
use warp_protocol::{Problem, ProblemCode};

/// One start of a game.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) launch: Launch,
    /// What a problem is about: the game's or the runner's path, as it was configured.
    pub(super) subject: String,
}

/// Can it be started, as far as can be told before?
///
/// # Errors
/// [`ProblemCode::GameMissing`]: there is no such file. [`ProblemCode::GameNotStarted`]: it is a
/// folder, not executable, or the runner or the working directory is not there; the subject is the
/// one that is meant.
pub fn check(section: &GameSection, program: &Path) -> Result<(), Problem> {
    let game = || program.display().to_string();
    let about = match program.metadata() {
        Ok(about) => about,
        Err(error) => {
            let code = match error.kind() {
                ErrorKind::PermissionDenied => ProblemCode::GameNotStarted,
                _ => ProblemCode::GameMissing,
            };
            return Err(Problem::new(code, game()).with_detail(error.to_string()));
        }
    };
    if about.is_dir() {
        return Err(not_started(&game(), "this is a folder, not a program"));
    }
    if section.executable.is_empty() {
        // The practice client: no other key is about it.
        return executable(&about, &game());
    }
    if section.runner.is_empty() {
        executable(&about, &game())?;
    } else if !is_there(&section.runner) {
        let detail = "the runner was not found; install it, or correct game.runner";
        return Err(not_started(&section.runner, detail));
    }
    let folder = &section.working_directory;
    if !folder.is_empty() && !Path::new(folder).is_dir() {
        let detail = "this is not a folder; make it, or correct game.working_directory";
        return Err(not_started(folder, detail));
    }
    Ok(())
}

fn executable(about: &std::fs::Metadata, subject: &str) -> Result<(), Problem> {
    if !warp_platform::is_executable(about) {
        let detail = "the file is not executable; make it so (chmod +x), or name a game.runner for \
                      it, for instance wine";
        return Err(not_started(subject, detail));
    }
    Ok(())
}

pub(super) fn not_started(subject: &str, detail: &str) -> Problem {
    Problem::new(ProblemCode::GameNotStarted, subject).with_detail(detail)
}

/// A path that is a file, or a name that `PATH` has a file of.
fn is_there(runner: &str) -> bool {
    if has_separator(runner) {
        return Path::new(runner).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = [
        runner.to_owned(),
        format!("{runner}{}", std::env::consts::EXE_SUFFIX),
    ];
    std::env::split_paths(&path).any(|folder| names.iter().any(|name| folder.join(name).is_file()))
}

/// The configured game. `clientinfo`: name of the file that was written for it.
pub(super) fn configured(
    section: &GameSection,
    program: &Path,
    login: SocketAddr,
    clientinfo: &str,
) -> Plan {
    // A relative path would mean something else in another folder.
    let game = absolute(program);
    let folder = match &*section.working_directory {
        "" => game.parent().map(Path::to_path_buf),
        folder => Some(absolute(Path::new(folder))),
    };
    let arguments = section.arguments.iter().map(|argument| {
        let argument = argument
            .replace("{login}", &login.to_string())
            .replace("{login_ip}", &login.ip().to_string())
            .replace("{login_port}", &login.port().to_string())
            .replace("{clientinfo}", clientinfo);
        OsString::from(argument)
    });
    let (program, before, subject) = if section.runner.is_empty() {
        (game.into_os_string(), None, program.display().to_string())
    } else {
        let runner = if has_separator(&section.runner) {
            absolute(Path::new(&section.runner)).into_os_string()
        } else {
            OsString::from(&section.runner)
        };
        let game = game.into_os_string();
        (runner, Some(game), section.runner.clone())
    };
    let runner_arguments = before
        .iter()
        .flat_map(|_| section.runner_arguments.iter().map(OsString::from));
    Plan {
        launch: Launch {
            program,
            arguments: runner_arguments
                .chain(before.clone())
                .chain(arguments)
                .collect(),
            folder,
            input: Vec::new(),
        },
        subject,
    }
}

/// The practice client.
pub(super) fn practice(practice: &PracticeSection, program: &Path, login: SocketAddr) -> Plan {
    let arguments = [
        "client",
        "--login",
        &login.to_string(),
        "--user",
        &practice.account,
        "--password-stdin",
        "--rate",
        &practice.rate.to_string(),
        "--seconds",
        &practice.seconds.to_string(),
    ]
    .map(OsString::from);
    Plan {
        launch: Launch {
            program: absolute(program).into_os_string(),
            arguments: arguments.into(),
            folder: None,
            // The practice accounts' passwords are their names: no secret, and still not an argument.
            input: format!("{}\n", practice.account).into_bytes(),
        },
        subject: program.display().to_string(),
    }
}

fn absolute(path: &Path) -> PathBuf {
    // It fails for an empty path, or where the current folder is gone.
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 6900))
    }

    #[test]
    fn placeholders_are_filled_in_and_a_runner_comes_first() {
        let section = GameSection {
            executable: "/ro/Ragexe.exe".into(),
            arguments: vec![
                "1rag1".into(),
                "/account:{clientinfo}".into(),
                "{login_ip};{login_port};{login}".into(),
                "{other}".into(),
            ],
            runner: "wine".into(),
            runner_arguments: vec!["--fast".into()],
            ..GameSection::default()
        };
        let game = Path::new("/ro/Ragexe.exe");
        let plan = configured(&section, game, login(), "warp.xml").launch;
        let own = [
            "1rag1",
            "/account:warp.xml",
            "127.0.0.1;6900;127.0.0.1:6900",
            "{other}",
        ];
        assert_eq!(plan.program, "wine");
        let game = absolute(game);
        let before = [OsString::from("--fast"), game.clone().into_os_string()];
        let expected: Vec<OsString> = before.into_iter().chain(own.map(OsString::from)).collect();
        assert_eq!(plan.arguments, expected);
        assert_eq!(plan.folder.as_deref(), game.parent());

        let alone = GameSection {
            runner: String::new(),
            working_directory: "/elsewhere".into(),
            ..section
        };
        let plan = configured(&alone, &game, login(), "warp.xml").launch;
        assert_eq!(plan.program, game);
        assert_eq!(plan.arguments, own.map(OsString::from));
        assert_eq!(plan.folder, Some(absolute(Path::new("/elsewhere"))));
    }

    #[test]
    fn the_practice_password_is_input_and_no_argument() {
        let section = PracticeSection {
            account: "test7".into(),
            ..PracticeSection::default()
        };
        let plan = practice(&section, Path::new("/bin/warp-practice"), login()).launch;
        assert_eq!(plan.input, b"test7\n");
        let names = plan.arguments.iter().filter(|text| *text == "test7");
        assert_eq!(names.count(), 1, "the account, once");
    }
}
