//! The clientinfo file beside a game that is started with the keeper.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use tokio::process::Command;
use warp_engine_core::config::{ClientInfoSection, GameSection};
use warp_protocol::ProblemCode;

use crate::stage::{Stage, Watched, example, games, programs, soon, start};

/// A game's folder with the stand-in in it, and a section that has a clientinfo.
fn installed(stage: &Stage, arguments: &[&str]) -> GameSection {
    let executable = stage.path("Ragexe");
    if !executable.exists() {
        symlink(example("game"), &executable).expect("a link");
    }
    GameSection {
        executable: executable.display().to_string(),
        clientinfo: Some(ClientInfoSection::default()),
        ..stage.section(&[&["--tell", "/account:{clientinfo}"], arguments].concat())
    }
}

fn names(stage: &Stage) -> Vec<String> {
    let entries = std::fs::read_dir(stage.folder.path()).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("a name"))
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_clientinfo_is_there_as_long_as_a_game_runs() {
    let stage = Stage::new().await;
    let section = installed(&stage, &["--wait"]);
    let file = stage.path("warp_clientinfo.xml");
    std::fs::write(&file, "the operator's").expect("a file");
    let before = names(&stage);
    let games = games();
    let one = Watched::start(&games, &section).await;
    let mut first = stage.next().await;
    let mut told = Vec::new();
    while let Some(line) = first.line().await.filter(|line| line != "told") {
        told.push(line);
    }
    assert!(
        told.iter()
            .any(|line| line == "argument /account:warp_clientinfo.xml"),
        "{told:?}"
    );
    let text = std::fs::read_to_string(&file).expect("ours");
    assert!(text.contains("<address>127.0.0.1</address>") && text.contains("<port>6900</port>"));

    let other = Watched::start(&games, &section).await;
    let mut second = stage.next().await;
    first.say("exit 0").await;
    assert!(one.ended().await.is_ok());
    assert_eq!(std::fs::read_to_string(&file).expect("still ours"), text);
    second.say("exit 1").await;
    assert!(!other.ended().await.is_ok());
    assert_eq!(
        std::fs::read_to_string(&file).expect("theirs"),
        "the operator's"
    );
    assert_eq!(names(&stage), before);
}

#[tokio::test]
async fn a_game_that_does_not_start_leaves_no_clientinfo() {
    let stage = Stage::new().await;
    let mut section = installed(&stage, &[]);
    let broken = stage.path("broken");
    std::fs::write(&broken, "text").expect("a file");
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    section.executable = broken.display().to_string();
    let before = names(&stage);
    let problem = start(&games(), &section).await.err().expect("a problem");
    assert_eq!(problem.code, ProblemCode::GameNotStarted);
    assert_eq!(names(&stage), before);
}

#[tokio::test]
async fn what_a_killed_launcher_left_in_the_games_folder_is_put_right() {
    let stage = Stage::new().await;
    let section = installed(&stage, &["--wait"]);
    let file = stage.path("warp_clientinfo.xml");
    std::fs::write(&file, "the operator's").expect("a file");
    let before = names(&stage);
    let mut launcher = Command::new(example("launcher"))
        .arg(programs())
        .arg(serde_json::to_string(&section).expect("JSON"))
        .stdin(Stdio::null())
        .spawn()
        .expect("a launcher");
    let mut game = stage.next().await;
    assert_ne!(
        std::fs::read_to_string(&file).expect("ours"),
        "the operator's"
    );
    // While that launcher lives, its file is nobody else's to take away.
    games().recover(&section).await;
    assert_ne!(
        std::fs::read_to_string(&file).expect("ours"),
        "the operator's"
    );
    let problem = start(&games(), &section).await.err().expect("a problem");
    assert_eq!(problem.code, ProblemCode::GameFiles, "{problem:?}");

    launcher.start_kill().expect("it runs");
    soon("the launcher ends", launcher.wait())
        .await
        .expect("a status");
    while game.line().await.is_some() {}
    assert_ne!(
        std::fs::read_to_string(&file).expect("a leftover"),
        "the operator's"
    );
    for _ in 0..2 {
        games().recover(&section).await;
        assert_eq!(
            std::fs::read_to_string(&file).expect("theirs"),
            "the operator's"
        );
        assert_eq!(names(&stage), before);
    }
}
