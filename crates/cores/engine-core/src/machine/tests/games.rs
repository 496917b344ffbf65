//! Several game clients, and the end of the engine.

use super::*;

fn game_exits(machine: &mut Machine, game: u64, code: Option<i32>) {
    machine.on_outcome(
        NOW,
        Outcome::GameExited {
            game,
            code,
            ok: code == Some(0),
            how: "somehow".into(),
            last_lines: Vec::new(),
        },
    );
}

fn started(effects: &[Effect]) -> Vec<(u64, u32)> {
    let starts = effects.iter().filter_map(|effect| match effect {
        Effect::StartGame { game, slot, .. } => Some((*game, *slot)),
        _ => None,
    });
    starts.collect()
}

fn stopped(effects: &[Effect]) -> Vec<u64> {
    let stops = effects.iter().filter_map(|effect| match effect {
        Effect::StopGame { game } => Some(*game),
        _ => None,
    });
    stops.collect()
}

#[test]
fn quit_closes_everything_and_ends_when_the_games_have() {
    let mut machine = playing();
    drain(&mut machine);
    machine.on_command(NOW, Command::Quit);
    machine.on_time(NOW);
    let effects = drain(&mut machine);
    assert_eq!(stopped(&effects), [1]);
    assert!(effects.contains(&CLOSE_CHOSEN));
    assert!(!effects.contains(&Effect::End), "a game still runs");
    machine.on_command(NOW, Command::RefreshZones);
    assert!(drain(&mut machine).is_empty());
    game_exits(&mut machine, 1, None);
    machine.on_time(NOW);
    let effects = drain(&mut machine);
    let ok = Event::GameExited {
        game: 1,
        code: None,
        ok: true,
    };
    let expected = [Effect::Emit(ok), Effect::Emit(Event::Ended), Effect::End];
    assert_eq!(effects, expected);
    machine.on_time(NOW);
    assert!(drain(&mut machine).is_empty());
}

#[test]
fn the_end_does_not_wait_for_ever_for_a_game() {
    let mut machine = playing();
    machine.on_command(NOW, Command::Quit);
    machine.on_time(NOW);
    drain(&mut machine);
    let by = machine.next_time().unwrap();
    assert!(by <= NOW + Duration::from_secs(2));
    machine.on_time(by);
    assert_eq!(drain(&mut machine).last(), Some(&Effect::End));
    assert_eq!(machine.next_time(), None);
}

#[test]
fn without_games_the_end_comes_at_once() {
    let mut machine = signed_in();
    machine.on_command(NOW, Command::Quit);
    machine.on_time(NOW);
    assert_eq!(drain(&mut machine).last(), Some(&Effect::End));
}

#[test]
fn several_games_have_numbers_and_places_and_end_one_by_one() {
    let mut machine = playing();
    drain(&mut machine);
    machine.on_command(NOW, Command::Launch);
    machine.on_command(NOW, Command::Launch);
    assert_eq!(started(&drain(&mut machine)), [(2, 1), (3, 2)]);
    for game in [2, 3] {
        machine.on_outcome(
            NOW + Duration::from_millis(1500),
            Outcome::GameStarted {
                game,
                pid: 10,
                program: "game".into(),
            },
        );
    }
    assert_eq!(machine.snapshot().games[2].since_ms, 1500);
    drain(&mut machine);
    machine.on_command(NOW, Command::StopGame { game: 2 });
    assert_eq!(drain(&mut machine), [Effect::StopGame { game: 2 }]);
    // Asked again while it is on its way out, and one that was never there.
    for game in [2, 9] {
        machine.on_command(NOW, Command::StopGame { game });
        assert_eq!(problems(&drain(&mut machine)), [ProblemCode::BadCommand]);
    }
    game_exits(&mut machine, 2, Some(1));
    let effects = drain(&mut machine);
    assert!(problems(&effects).is_empty(), "it was asked to end");
    let games = machine.snapshot().games.iter();
    assert_eq!(games.map(|game| game.game).collect::<Vec<_>>(), [1, 3]);
    // The free place is taken first, and the number is a new one.
    machine.on_command(NOW, Command::Launch);
    assert_eq!(started(&drain(&mut machine)), [(4, 1)]);
    machine.on_command(NOW, Command::Stop);
    assert_eq!(stopped(&drain(&mut machine)), [1, 3, 4]);
}

#[test]
fn there_are_no_more_games_than_the_configuration_allows() {
    let mut config = Config::default();
    config.game.max_instances = 2;
    let mut machine = playing_with(&config);
    drain(&mut machine);
    machine.on_command(NOW, Command::Launch);
    machine.on_command(NOW, Command::Launch);
    let effects = drain(&mut machine);
    assert_eq!(started(&effects), [(2, 1)]);
    assert_eq!(problems(&effects), [ProblemCode::BadCommand]);
    // One that cannot be started gives its place back.
    machine.on_outcome(
        NOW,
        Outcome::GameFailed {
            game: 2,
            problem: Problem::new(ProblemCode::GameMissing, "game"),
        },
    );
    machine.on_command(NOW, Command::Launch);
    assert_eq!(started(&drain(&mut machine)), [(3, 1)]);
}

#[test]
fn games_are_started_only_while_a_zone_is_played() {
    let mut machine = signed_in();
    machine.on_command(NOW, Command::Launch);
    assert_eq!(problems(&drain(&mut machine)), [ProblemCode::BadCommand]);
    // Where there is no program Play opens the bridge alone; a person who asks is told.
    let mut machine = playing();
    game_exits(&mut machine, 1, Some(0));
    drain(&mut machine);
    machine.on_outcome(NOW, Outcome::NoGame { game: 1 });
    assert!(drain(&mut machine).is_empty());
    machine.on_command(NOW, Command::Launch);
    machine.on_outcome(NOW, Outcome::NoGame { game: 2 });
    assert_eq!(problems(&drain(&mut machine)), [ProblemCode::BadCommand]);
}
