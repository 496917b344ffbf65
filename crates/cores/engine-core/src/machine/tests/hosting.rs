//! Being a host beside everything else.

use warp_host_core::{HostState, HostStatusView};

use super::*;

fn hosting(effects: &[Effect]) -> Vec<Effect> {
    let of_hosts = effects.iter().filter(|effect| {
        matches!(
            effect,
            Effect::StartHost { .. } | Effect::PauseHost { .. } | Effect::StopHost { .. }
        )
    });
    of_hosts.cloned().collect()
}

fn start_effect(zone: &str) -> Effect {
    Effect::StartHost {
        zones: vec![zone.into()],
        max_players: None,
        upload_mbps: None,
        upstreams: None,
    }
}

fn ask(machine: &mut Machine, zones: &[&str]) -> Vec<Effect> {
    machine.on_command(
        NOW,
        Command::HostStart {
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            max_players: None,
            upload_mbps: None,
            upstreams: None,
        },
    );
    drain(machine)
}

fn tell(machine: &mut Machine, state: HostState) -> Vec<Effect> {
    let view = HostStatusView {
        state,
        ..HostStatusView::default()
    };
    machine.on_outcome(NOW, Outcome::HostState(Box::new(view)));
    drain(machine)
}

#[test]
fn hosting_starts_once_stops_when_asked_and_may_start_again() {
    let mut machine = machine();
    let refused = problems(&ask(&mut machine, &["prontera"]));
    assert_eq!(refused, [ProblemCode::NotSignedIn]);

    let mut machine = signed_in();
    assert_eq!(problems(&ask(&mut machine, &[])), [ProblemCode::BadCommand]);
    let begun = ask(&mut machine, &["geffen"]);
    assert_eq!(hosting(&begun), [start_effect("geffen")]);
    let twice = ask(&mut machine, &["geffen"]);
    assert_eq!(problems(&twice), [ProblemCode::BadCommand]);
    tell(&mut machine, HostState::Serving);
    let shown = machine.snapshot().host.as_ref().map(|host| host.state);
    assert_eq!(shown, Some(HostState::Serving));
    machine.on_command(NOW, Command::HostStop);
    assert_eq!(
        hosting(&drain(&mut machine)),
        [Effect::StopHost {
            how: HostEnd::Drained
        }]
    );
    tell(&mut machine, HostState::Stopped);
    machine.on_command(NOW, Command::HostStop);
    assert_eq!(
        problems(&drain(&mut machine)),
        [ProblemCode::BadCommand],
        "there is none"
    );
    assert_eq!(
        hosting(&ask(&mut machine, &["geffen"])),
        [start_effect("geffen")]
    );
    machine.on_command(NOW, Command::SignOut);
    assert_eq!(
        hosting(&drain(&mut machine)),
        [Effect::StopHost { how: HostEnd::Now }]
    );
    let mut machine = signed_in_with(&Config::default());
    ask(&mut machine, &["geffen"]);
    machine.on_command(NOW, Command::Quit);
    assert_eq!(
        hosting(&drain(&mut machine)),
        [Effect::StopHost { how: HostEnd::Soon }]
    );
}

#[test]
fn by_itself_it_hosts_the_configured_zones_or_the_one_that_is_played() {
    let mut config = Config::default();
    config.hosting.enabled = true;
    let mut machine = signed_in_with(&config);
    start(&mut machine);
    assert_eq!(hosting(&drain(&mut machine)), [start_effect("prontera")]);

    config.hosting.zones = vec!["geffen".into()];
    let mut machine = Machine::new(Settings::of(&config));
    machine.on_command(NOW, Command::Resume { user: "a".into() });
    machine.on_outcome(
        NOW,
        Outcome::SignedIn {
            attempt: 1,
            account: AccountView {
                name: "poring".into(),
                role: AccountRole::Host,
            },
            kept: TokenStore::Memory,
            device: None,
        },
    );
    assert_eq!(hosting(&drain(&mut machine)), [start_effect("geffen")]);
}

#[test]
fn while_a_game_runs_it_takes_no_new_players_where_that_is_wanted() {
    let mut config = Config::default();
    config.hosting.not_while_playing = true;
    let mut machine = signed_in_with(&config);
    ask(&mut machine, &["geffen"]);
    start(&mut machine);
    assert_eq!(
        hosting(&drain(&mut machine)),
        [Effect::PauseHost { on: true }]
    );
    machine.on_outcome(
        NOW,
        Outcome::GameExited {
            game: 1,
            code: Some(0),
            ok: true,
            how: "exit code 0".into(),
            last_lines: Vec::new(),
        },
    );
    assert_eq!(
        hosting(&drain(&mut machine)),
        [Effect::PauseHost { on: false }]
    );
    // Where it is not wanted nothing is said.
    let mut machine = signed_in();
    ask(&mut machine, &["geffen"]);
    start(&mut machine);
    assert_eq!(hosting(&drain(&mut machine)), []);
}
