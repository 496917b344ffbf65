//! Links beside the chosen zone's, and lines from the game.

use super::*;

/// A visit that is open, with one client on its map.
fn visiting(machine: &mut Machine) -> LinkId {
    drain(machine);
    machine.on_outcome(
        NOW,
        Outcome::MapChanged {
            client: Some(1),
            map: "cave".into(),
        },
    );
    let mut view = zone();
    view.zone.zone_id = "west".into();
    machine.on_outcome(
        NOW,
        Outcome::ZonesFound {
            map: "cave".into(),
            zones: vec![view],
        },
    );
    machine.on_time(NOW);
    let link = drain(machine)
        .into_iter()
        .find_map(|effect| match effect {
            Effect::Join { link, .. } => Some(link),
            _ => None,
        })
        .unwrap();
    machine.on_outcome(
        NOW,
        Outcome::Joined {
            link,
            grant: grant(),
        },
    );
    link_is(machine, link, PathKind::Wss);
    machine.on_outcome(NOW, Outcome::LinkReady { link });
    machine.on_time(NOW);
    link
}

fn link_is(machine: &mut Machine, link: LinkId, path: PathKind) {
    let event = LinkEvent::State {
        state: LinkState::Connected,
        path: Some(path),
        reason: Some(SwitchReason::First),
    };
    machine.on_outcome(NOW, Outcome::Link { link, event });
}

fn carries(machine: &mut Machine, link: LinkId) {
    machine.set_streams(vec![MapStream {
        number: 1,
        client: Some(1),
        link,
    }]);
    machine.on_time(NOW);
}

#[test]
fn what_is_told_is_of_the_link_that_carries_the_newest_map_connection() {
    let mut machine = playing_with(&Config::default());
    link_is(&mut machine, LinkId::CHOSEN, PathKind::Direct);
    let link = visiting(&mut machine);
    assert_eq!(machine.snapshot().path, Some(PathKind::Direct));
    assert_eq!(machine.snapshot().joined, ["west"]);
    carries(&mut machine, link);
    assert_eq!(machine.shown_link(), link);
    assert_eq!(machine.snapshot().path, Some(PathKind::Wss));
    drain(&mut machine);
    // A move of the other link is not the player's.
    let moved = |link| Outcome::Link {
        link,
        event: LinkEvent::Moved {
            from: PathKind::Direct,
            to: PathKind::Wss,
            reason: SwitchReason::Silence,
            silent: Duration::from_millis(800),
            costs: None,
        },
    };
    machine.on_outcome(NOW, moved(LinkId::CHOSEN));
    assert!(drain(&mut machine).is_empty());
    machine.on_outcome(NOW, moved(link));
    assert!(matches!(
        drain(&mut machine).as_slice(),
        [Effect::Emit(Event::Moved { .. })]
    ));
    // Lost: the play goes on, and what is told is of the chosen zone again.
    machine.on_outcome(
        NOW,
        Outcome::Link {
            link,
            event: LinkEvent::Closed(CloseReason::Lost),
        },
    );
    let effects = drain(&mut machine);
    assert_eq!(problems(&effects), [ProblemCode::ZoneLost]);
    assert!(effects.contains(&Effect::CloseLink { link }));
    assert!(!effects.contains(&Effect::CloseBridge));
    assert_eq!(machine.shown_link(), LinkId::CHOSEN);
    assert_eq!(machine.snapshot().path, Some(PathKind::Direct));
    // The chosen zone's end is the end of all, where it cannot be joined again.
    machine.on_outcome(
        NOW,
        Outcome::Link {
            link: LinkId::CHOSEN,
            event: LinkEvent::Closed(CloseReason::Untrusted),
        },
    );
    let effects = drain(&mut machine);
    assert_eq!(problems(&effects), [ProblemCode::EndpointUntrusted]);
    assert!(effects.contains(&Effect::Emit(Event::Stopped)));
}

#[test]
fn stop_leaves_every_zone() {
    let mut machine = playing();
    let link = visiting(&mut machine);
    drain(&mut machine);
    machine.on_command(NOW, Command::Stop);
    let effects = drain(&mut machine);
    let place = |wanted: &Effect| effects.iter().position(|effect| effect == wanted).unwrap();
    let bridge = place(&Effect::CloseBridge);
    let visit = place(&Effect::CloseLink { link });
    assert!(bridge < visit && visit < place(&CLOSE_CHOSEN));
    assert!(
        place(&Effect::Emit(Event::ZoneLeft {
            zone: "west".into()
        })) < place(&Effect::Emit(Event::Stopped))
    );
    // A session that is granted only now is given back.
    machine.on_outcome(
        NOW,
        Outcome::Joined {
            link,
            grant: grant(),
        },
    );
    assert_eq!(drain(&mut machine), [Effect::CloseLink { link }]);
}

/// A line that was typed in the game, and what became of it.
fn says(machine: &mut Machine, client: Option<u64>, line: &str) -> Vec<Effect> {
    drain(machine);
    machine.on_outcome(
        NOW,
        Outcome::GameCommand {
            connection: 7,
            client,
            line: line.into(),
        },
    );
    drain(machine)
}

#[test]
fn lines_from_the_game_are_answered_there_and_told() {
    let mut machine = playing();
    let link = visiting(&mut machine);
    carries(&mut machine, link);
    for (line, wanted) in [
        ("/p2p status", "status"),
        ("@p2p metrics", "metrics"),
        ("/p2p debug on", "debug"),
        ("/p2p reconnect", "reconnecting"),
        ("/p2p failover", "no-standby"),
        ("/p2p rekey", "keys-updating"),
        ("/p2p help", "help"),
        ("/p2p fly", "unknown"),
    ] {
        let mut effects = says(&mut machine, Some(1), line);
        // What the shell has to look at is the link of that client.
        match effects.as_slice() {
            [Effect::Measure { asked, link: of }] => {
                assert_eq!(*of, link);
                let metrics = Metrics {
                    state: LinkState::Connected,
                    path: Some(PathKind::Wss),
                    streams: 3,
                    ..Metrics::default()
                };
                machine.on_outcome(
                    NOW,
                    Outcome::Measured {
                        asked: asked.clone(),
                        link,
                        metrics: Box::new(metrics),
                    },
                );
                effects = drain(&mut machine);
            }
            [Effect::FailOver { asked, links }] => {
                assert_eq!(*links, [link]);
                let (asked, answer) = (asked.clone(), ConsoleAnswer::NoStandby);
                machine.on_outcome(NOW, Outcome::Answered { asked, answer });
                effects = drain(&mut machine);
            }
            [Effect::UpdateKeys { asked, links }] => {
                assert_eq!(*links, [link]);
                let (asked, answer) = (asked.clone(), ConsoleAnswer::KeysUpdating);
                machine.on_outcome(NOW, Outcome::Answered { asked, answer });
                effects = drain(&mut machine);
            }
            [Effect::Reconnect { asked, links }] => {
                assert_eq!(*links, [link]);
                let (asked, answer) = (asked.clone(), ConsoleAnswer::Reconnecting);
                machine.on_outcome(NOW, Outcome::Answered { asked, answer });
                effects = drain(&mut machine);
            }
            _ => {}
        }
        let lines = effects.iter().find_map(|effect| match effect {
            Effect::AnswerGame { connection, lines } => {
                assert_eq!(*connection, 7);
                Some(lines.clone())
            }
            _ => None,
        });
        assert!(lines.is_some_and(|lines| !lines.is_empty()), "{line}");
        let told = effects.iter().find_map(|effect| match effect {
            Effect::Emit(Event::Console { line, answer }) => Some((line, answer)),
            _ => None,
        });
        let (told_line, answer) = told.unwrap();
        assert_eq!(told_line, line);
        let json = serde_json::to_value(answer).unwrap();
        assert_eq!(json["answer"], wanted, "{line}");
        if let ConsoleAnswer::Status {
            path,
            reason,
            map,
            map_zone,
            games,
            ..
        } = answer
        {
            assert_eq!(*path, Some(PathKind::Wss));
            assert_eq!(*reason, Some(SwitchReason::First));
            assert_eq!(map.as_deref(), Some("cave"));
            assert_eq!(map_zone.as_deref(), Some("west"));
            assert_eq!(*games, 1);
        }
    }
    assert!(machine.snapshot().debug);
}

#[test]
fn a_client_without_a_map_connection_and_one_that_is_not_known_get_the_chosen_link() {
    let mut machine = playing();
    let link = visiting(&mut machine);
    carries(&mut machine, link);
    for client in [None, Some(2)] {
        let effects = says(&mut machine, client, "/p2p status");
        assert!(matches!(
            effects.as_slice(),
            [Effect::Measure { link, .. }] if link.is_chosen()
        ));
    }
}

#[test]
fn lines_of_the_console_are_about_the_shown_link_and_act_on_all() {
    let mut machine = playing();
    let link = visiting(&mut machine);
    carries(&mut machine, link);
    drain(&mut machine);
    let line = || String::from("/p2p failover");
    machine.on_command(NOW, Command::Console { line: line() });
    let effects = drain(&mut machine);
    let [Effect::FailOver { asked, links }] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(*links, [link, LinkId::CHOSEN], "the shown one answers");
    assert_eq!(asked.by, Asker::Console);
    let line = "/p2p status".to_owned();
    machine.on_command(NOW, Command::Console { line });
    let effects = drain(&mut machine);
    assert!(matches!(
        effects.as_slice(),
        [Effect::Measure { link: of, .. }] if *of == link
    ));
}

#[test]
fn a_notice_is_told_once_and_shown_in_the_games() {
    let mut machine = playing();
    let notice = |timestamp: &str| Event::Notice {
        text: "Restart in ten minutes.".into(),
        from: "boss".into(),
        zone: None,
        timestamp: timestamp.into(),
    };
    drain(&mut machine);
    // It comes over each session.
    for _ in 0..2 {
        machine.on_outcome(NOW, Outcome::Told(notice("t1")));
    }
    let lines = vec![
        "notice from boss:".to_owned(),
        "  Restart in ten minutes.".to_owned(),
    ];
    let shown = Effect::TellGames { lines };
    assert_eq!(
        drain(&mut machine),
        [shown.clone(), Effect::Emit(notice("t1"))]
    );
    machine.on_outcome(NOW, Outcome::Told(notice("t2")));
    assert_eq!(drain(&mut machine), [shown, Effect::Emit(notice("t2"))]);
}
