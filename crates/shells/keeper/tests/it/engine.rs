//! The engine's game module with the keeper, and without it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use tokio::process::Command;
use warp_engine::game::{self, Ended, Games};
use warp_engine_core::config::{GameSection, PracticeSection};
use warp_protocol::ProblemCode;

use crate::stage::{Stage, Watched, example, games, programs, send, soon, start};

/// A child in the game's group.
const CHILD: &[&str] = &[
    "--child", "--name", "child", "--report", "ADDRESS", "--wait", "--end",
];
/// One that has to be killed.
const DEAF_CHILD: &[&str] = &[
    "--child",
    "--ignore-term",
    "--name",
    "child",
    "--report",
    "ADDRESS",
    "--wait",
    "--end",
];

#[tokio::test]
async fn a_good_end_is_told_with_its_code() {
    let stage = Stage::new().await;
    let watched = Watched::start(&games(), &stage.section(&["--exit", "0"])).await;
    let expected = Ended {
        code: Some(0),
        ..Ended::default()
    };
    assert_eq!(watched.ended().await, expected);
}

#[tokio::test]
async fn a_failure_is_told_with_its_code_and_the_last_lines_of_both_outputs() {
    let stage = Stage::new().await;
    let log = stage.path("game.log");
    std::fs::write(&log, "of yesterday\n").expect("a log");
    let mut arguments = Vec::new();
    let lines: Vec<String> = (0..10).map(|number| format!("error {number}")).collect();
    for line in &lines {
        arguments.extend(["--stderr", line]);
    }
    arguments.extend(["--log", log.to_str().expect("a name"), "no graphics card"]);
    arguments.extend(["--exit", "3"]);
    let section = GameSection {
        working_directory: stage.folder.path().display().to_string(),
        log_file: "game.log".into(),
        ..stage.section(&arguments)
    };
    let ended = Watched::start(&games(), &section).await.ended().await;
    assert_eq!(
        (ended.code, ended.signal, ended.asked),
        (Some(3), None, false)
    );
    let expected: Vec<&str> = lines[2..]
        .iter()
        .map(String::as_str)
        .chain(["game.log: no graphics card"])
        .collect();
    assert_eq!(ended.last_lines, expected);
    assert!(!ended.is_ok());
    assert_eq!(ended.how(), "exit code 3");
}

#[tokio::test]
async fn a_crash_and_a_kill_are_told_with_the_signal() {
    let stage = Stage::new().await;
    let watched = Watched::start(&games(), &stage.section(&["--abort"])).await;
    let ended = watched.ended().await;
    assert_eq!(ended.signal, Some(Signal::ABORT.as_raw()), "{ended:?}");
    assert!(!ended.is_ok());

    let watched = Watched::start(&games(), &stage.section(&["--wait"])).await;
    let _crashed = stage.next().await;
    let game = stage.next().await;
    // (A Rust program passes over a SIGSEGV that it did not cause.)
    game.kill(Signal::FPE);
    let ended = watched.ended().await;
    assert_eq!((ended.code, ended.asked), (None, false));
    assert_eq!(ended.how(), "ended by signal 8 (SIGFPE)");
}

#[tokio::test]
async fn what_cannot_be_started_is_a_problem_with_a_name() {
    let stage = Stage::new().await;
    let executable = |name: &str, mode: u32, text: &str| {
        let path = stage.path(name);
        std::fs::write(&path, text).expect("a file");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode).expect("permissions");
        GameSection {
            executable: path.display().to_string(),
            ..GameSection::default()
        }
    };
    let at = |path: &Path| GameSection {
        executable: path.display().to_string(),
        ..GameSection::default()
    };
    let plain = executable("plain", 0o644, "text");
    let no_format = executable("no-format", 0o755, "text");
    let no_interpreter = executable("no-interpreter", 0o755, "#!/no/such/interpreter\n");
    let missing = at(&stage.path("missing"));
    let folder = at(stage.folder.path());
    let no_runner = GameSection {
        runner: "no-such-wine".into(),
        ..plain.clone()
    };
    let no_runner_path = GameSection {
        runner: stage.path("wine").display().to_string(),
        ..plain.clone()
    };
    let nowhere = GameSection {
        working_directory: stage.path("nowhere").display().to_string(),
        ..stage.section(&[])
    };
    let subject = |section: &GameSection| section.executable.clone();
    use ProblemCode::{GameMissing, GameNotStarted};
    for (section, code, subject, detail) in [
        (&missing, GameMissing, subject(&missing), "No such file"),
        (&folder, GameNotStarted, subject(&folder), "folder"),
        (&plain, GameNotStarted, subject(&plain), "not executable"),
        (&no_format, GameNotStarted, subject(&no_format), "format"),
        (
            &no_interpreter,
            GameNotStarted,
            subject(&no_interpreter),
            "No such file",
        ),
        (
            &no_runner,
            GameNotStarted,
            "no-such-wine".into(),
            "game.runner",
        ),
        (
            &no_runner_path,
            GameNotStarted,
            no_runner_path.runner.clone(),
            "game.runner",
        ),
        (
            &nowhere,
            GameNotStarted,
            nowhere.working_directory.clone(),
            "game.working_directory",
        ),
    ] {
        // The same words with and without the keeper.
        for games in [games(), Games::new(Some(stage.folder.path().to_path_buf()))] {
            let problem = start(&games, section).await.err().expect("a problem");
            assert_eq!(
                (problem.code, &problem.subject),
                (code, &subject),
                "{problem:?}"
            );
            let told = problem.detail.expect("a detail");
            assert!(told.contains(detail), "{told}");
        }
    }
}

#[tokio::test]
async fn a_runner_gets_its_arguments_the_game_and_the_games_arguments() {
    let stage = Stage::new().await;
    let game = stage.path("Ragexe.exe");
    std::fs::write(&game, "not executable here").expect("a file");
    let section = GameSection {
        executable: game.display().to_string(),
        arguments: vec!["{login_port}".into(), "--exit".into(), "0".into()],
        runner: example("game").display().to_string(),
        runner_arguments: stage.arguments(&["--tell"]),
        ..GameSection::default()
    };
    let watched = Watched::start(&games(), &section).await;
    let mut runner = stage.next().await;
    let mut told = Vec::new();
    while let Some(line) = runner.line().await.filter(|line| line != "told") {
        told.push(line);
    }
    let canonical = stage.folder.path().canonicalize().expect("a folder");
    let expected: Vec<String> = std::iter::once(format!("folder {}", canonical.display()))
        .chain(
            stage
                .arguments(&["--tell", &section.executable, "6900", "--exit", "0"])
                .iter()
                .map(|argument| format!("argument {argument}")),
        )
        .collect();
    assert_eq!(told, expected);
    assert!(watched.ended().await.is_ok());
}

#[tokio::test]
async fn a_game_that_does_not_listen_is_killed_with_all_that_it_started() {
    let stage = Stage::new().await;
    let deaf = [&["--ignore-term"], DEAF_CHILD, &["--wait"]].concat();
    let watched = Watched::start(&games(), &stage.section(&deaf)).await;
    let (game, child) = stage.family().await;
    watched.stop.cancel();
    game.gone().await;
    child.gone().await;
    let ended = watched.ended().await;
    assert!(ended.asked && ended.is_ok());
    assert_eq!(ended.signal, Some(Signal::KILL.as_raw()));
}

#[tokio::test]
async fn a_game_that_listens_ends_by_being_asked() {
    let stage = Stage::new().await;
    // A child that does not listen keeps nobody from telling how the game itself ended.
    let section = stage.section(&[DEAF_CHILD, &["--wait"]].concat());
    let watched = Watched::start(&games(), &section).await;
    let (game, child) = stage.family().await;
    watched.stop.cancel();
    game.gone().await;
    child.gone().await;
    let ended = watched.ended().await;
    assert_eq!(
        (ended.asked, ended.signal),
        (true, Some(Signal::TERM.as_raw()))
    );
}

#[tokio::test]
async fn a_killed_launcher_takes_its_game_along() {
    for stubborn in [false, true] {
        let stage = Stage::new().await;
        let mut arguments = [CHILD, &["--wait"]].concat();
        if stubborn {
            arguments.insert(0, "--ignore-term");
        }
        let section = serde_json::to_string(&stage.section(&arguments)).expect("JSON");
        let mut launcher = Command::new(example("launcher"))
            .arg(programs())
            .arg(section)
            .stdin(Stdio::null())
            .spawn()
            .expect("a launcher");
        let (game, child) = stage.family().await;
        // SIGKILL: nothing of the launcher runs any more.
        launcher.start_kill().expect("it runs");
        game.gone().await;
        child.gone().await;
        let status = soon("the launcher ends", launcher.wait())
            .await
            .expect("a status");
        assert_eq!(status.code(), None);
    }
}

#[tokio::test]
async fn a_dropped_game_is_ended() {
    let stage = Stage::new().await;
    for games in [games(), Games::new(Some(stage.folder.path().to_path_buf()))] {
        let section = stage.section(&[CHILD, &["--wait"]].concat());
        let started = start(&games, &section).await.expect("it starts");
        let (game, child) = stage.family().await;
        drop(started);
        game.gone().await;
        child.gone().await;
    }
}

#[tokio::test]
async fn several_games_do_not_disturb_one_another() {
    let stage = Stage::new().await;
    let games = games();
    let section = |name| stage.section(&["--name", name, "--report", "ADDRESS", "--wait"]);
    let one = Watched::start(&games, &section("one")).await;
    let _earlier_report = stage.next().await;
    let mut first = stage.next().await;
    let other = Watched::start(&games, &section("other")).await;
    let _earlier_report = stage.next().await;
    let second = stage.next().await;
    other.stop.cancel();
    second.gone().await;
    assert!(other.ended().await.asked);
    first.lives().await;
    first.say("exit 5").await;
    let ended = one.ended().await;
    assert_eq!((ended.code, ended.asked), (Some(5), false));
}

#[tokio::test]
async fn a_starter_may_hand_over_to_the_game() {
    let stage = Stage::new().await;
    let section = stage.section(&[CHILD, &["--exit", "0"]].concat());
    let watched = Watched::start(&games(), &section).await;
    let (starter, mut game) = stage.family().await;
    starter.gone().await;
    game.lives().await;
    game.say("exit 0").await;
    // Killed, it would not have said so.
    assert_eq!(game.line().await.as_deref(), Some("bye"));
    let ended = watched.ended().await;
    assert_eq!((ended.code, ended.asked), (Some(0), false));

    // And it can still be stopped.
    let watched = Watched::start(&games(), &section).await;
    let (starter, mut game) = stage.family().await;
    starter.gone().await;
    game.lives().await;
    watched.stop.cancel();
    game.gone().await;
    assert!(watched.ended().await.asked);
}

#[tokio::test]
async fn what_a_game_that_failed_had_started_goes_too() {
    let stage = Stage::new().await;
    let section = stage.section(&[CHILD, &["--wait"]].concat());
    let watched = Watched::start(&games(), &section).await;
    let (mut starter, child) = stage.family().await;
    starter.say("exit 6").await;
    child.gone().await;
    assert_eq!(watched.ended().await.code, Some(6));
}

#[tokio::test]
async fn a_keeper_that_is_asked_to_end_makes_no_failure_and_one_that_is_killed_does() {
    let stage = Stage::new().await;
    for (signal, ok) in [(Signal::TERM, true), (Signal::KILL, false)] {
        let watched = Watched::start(&games(), &stage.section(&["--wait"])).await;
        let game = stage.next().await;
        // The game's parent is its keeper.
        send(game.parent, signal);
        game.gone().await;
        let ended = watched.ended().await;
        assert_eq!(ended.is_ok(), ok, "{ended:?}");
        let told = ended
            .last_lines
            .iter()
            .any(|line| line.contains("warp-keeper"));
        assert_eq!(told, !ok, "{ended:?}");
    }
}

#[tokio::test]
async fn without_a_keeper_the_game_is_started_and_ended_all_the_same() {
    let stage = Stage::new().await;
    let bare = Games::new(Some(stage.folder.path().to_path_buf()));
    let watched = Watched::start(&bare, &stage.section(&["--stderr", "why", "--exit", "3"])).await;
    let ended = watched.ended().await;
    assert_eq!(
        (ended.code, ended.last_lines),
        (Some(3), vec!["why".to_owned()])
    );
    let _failed = stage.next().await;

    let watched = Watched::start(
        &bare,
        &stage.section(&[&["--ignore-term"], CHILD, &["--wait"]].concat()),
    )
    .await;
    let (game, child) = stage.family().await;
    watched.stop.cancel();
    game.gone().await;
    child.gone().await;
    let ended = watched.ended().await;
    assert_eq!(
        (ended.asked, ended.signal),
        (true, Some(Signal::KILL.as_raw()))
    );
}

#[tokio::test]
async fn the_practice_client_gets_its_password_on_its_input() {
    let stage = Stage::new().await;
    let section = GameSection {
        practice: Some(PracticeSection {
            account: "test42".into(),
            ..PracticeSection::default()
        }),
        ..GameSection::default()
    };
    // The stand-in under the practice client's name reports to the login address.
    symlink(example("game"), stage.path("warp-practice")).expect("a link");
    let own = Some(stage.folder.path());
    let program = game::program(&section, own).expect("a program");
    for kept in [false, true] {
        if kept {
            symlink(programs().join("warp-keeper"), stage.path("warp-keeper")).expect("a link");
        }
        let games = Games::new(own.map(Path::to_path_buf));
        let game = soon(
            "it starts",
            games.start(&section, &program, stage.address()),
        )
        .await;
        let watched = Watched::watch(game.expect("it starts"));
        let mut client = stage.next().await;
        assert_eq!(client.line().await.as_deref(), Some("stdin test42"));
        assert!(watched.ended().await.is_ok());
    }
}
