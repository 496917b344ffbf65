//! Tests of one machine.

use super::*;

fn open(ours: bool, now: Instant) -> (Machine, AttemptId) {
    let mut machine = Machine::new(MachineConfig::default(), "b", "a", 1, 1);
    if ours {
        machine.connect(now);
    } else {
        let id = AttemptId {
            incarnation: 1,
            number: 1,
            greater: false,
        };
        let sdp = String::new();
        machine.handle_signal(Signal::Offer { id, sdp }, now);
    }
    let id = machine.current().unwrap();
    machine.offered(id, "offer".into());
    machine.answered(id, "answer".into());
    machine.opened(id);
    assert_eq!(machine.state(), PeerState::Open);
    while machine.poll_action().is_some() {}
    (machine, id)
}

fn actions(machine: &mut Machine) -> Vec<Action> {
    let actions = std::iter::from_fn(|| machine.poll_action());
    actions
        .filter(|action| !matches!(action, Action::State(_) | Action::Hold(_)))
        .collect()
}

#[test]
fn a_round_that_is_not_done_in_time_ends_the_attempt() {
    let now = Instant::now();
    for ours in [true, false] {
        let (mut machine, id) = open(ours, now);
        machine.network_changed(now);
        assert_eq!(machine.state(), PeerState::Restarting);
        machine.restart_offered(id, 1, "offer".into());
        let mut said = 0;
        while machine.state() == PeerState::Restarting {
            let due = machine.poll_timeout().unwrap();
            assert!(due <= now + MachineConfig::default().restart_timeout);
            machine.handle_timeout(due);
            let actions = actions(&mut machine);
            said += actions
                .iter()
                .filter(|action| matches!(action, Action::Send(_)))
                .count();
            let dropped = actions.contains(&Action::Drop(id));
            assert_eq!(dropped, machine.state() == PeerState::Offering);
        }
        assert_eq!(machine.state(), PeerState::Offering);
        // At once, and then each second.
        assert!((5..=6).contains(&said), "{said}");
    }
}

#[test]
fn rounds_count_up_and_older_ones_are_passed_over() {
    let now = Instant::now();
    let (mut machine, id) = open(false, now);
    let restart = |round| Signal::Restart {
        id,
        round,
        sdp: String::new(),
    };
    let candidate = |round| Signal::Candidate {
        id,
        round,
        candidate: format!("{round}"),
    };
    // A candidate may come before its round.
    machine.handle_signal(candidate(2), now);
    assert_eq!(actions(&mut machine), []);
    machine.handle_signal(restart(2), now);
    let answer = Action::AnswerRestart(id, 2, String::new());
    assert_eq!(actions(&mut machine), [answer]);
    machine.restart_answered(id, 2, "answer".into());
    let said = Signal::Restarted {
        id,
        round: 2,
        sdp: "answer".into(),
    };
    let added = Action::AddCandidate(id, "2".into());
    assert_eq!(actions(&mut machine), [added, Action::Send(said.clone())]);
    for old in [restart(1), candidate(1), candidate(0)] {
        machine.handle_signal(old, now);
    }
    assert_eq!(actions(&mut machine), []);
    // Said again: they do not have the answer.
    machine.handle_signal(restart(2), now);
    assert_eq!(actions(&mut machine), [Action::Send(said)]);
    // Who answered the attempt offers no rounds.
    machine.handle_signal(Signal::WantRestart { id, round: 3 }, now);
    machine.restarted(id, 1);
    assert_eq!(machine.state(), PeerState::Restarting);
    assert_eq!(actions(&mut machine), []);
    machine.restarted(id, 2);
    assert_eq!(machine.state(), PeerState::Open);
    assert_eq!(machine.poll_timeout(), None);
}

#[test]
fn a_round_that_could_not_begin_is_begun_when_it_is_said_again() {
    let now = Instant::now();
    let (mut machine, id) = open(true, now);
    machine.network_changed(now);
    assert_eq!(actions(&mut machine), [Action::Restart(id, 1)]);
    machine.round_failed(id, 1);
    machine.handle_timeout(now + SAY_AGAIN);
    assert_eq!(actions(&mut machine), [Action::Restart(id, 1)]);
    let (mut machine, id) = open(false, now);
    let (round, sdp) = (1, String::new());
    let restart = Signal::Restart { id, round, sdp };
    let answer = Action::AnswerRestart(id, 1, String::new());
    for _ in 0..2 {
        machine.handle_signal(restart.clone(), now);
        assert_eq!(actions(&mut machine), std::slice::from_ref(&answer));
        machine.round_failed(id, 1);
    }
}

#[test]
fn an_offer_that_was_open_once_does_not_count_again() {
    let now = Instant::now();
    let mut machine = Machine::new(MachineConfig::default(), "a", "b", 1, 1);
    let id = AttemptId {
        incarnation: 1,
        number: 1,
        greater: true,
    };
    let offer = || Signal::Offer {
        id,
        sdp: String::new(),
    };
    machine.handle_signal(offer(), now);
    machine.answered(id, "answer".into());
    // Given up before it was open: they may offer it still.
    machine.network_changed(now);
    machine.handle_signal(offer(), now);
    assert_eq!(machine.current(), Some(id));
    machine.answered(id, "answer".into());
    machine.opened(id);
    machine.network_changed(now);
    machine.lost(id, now);
    let ours = machine.current();
    machine.handle_signal(offer(), now);
    assert_eq!(machine.current(), ours);
    assert!(machine.is_offerer());
}

#[test]
fn a_way_of_a_network_that_is_gone_again_does_not_count() {
    let now = Instant::now();
    let (mut machine, id) = open(false, now);
    let restart = |round| Signal::Restart {
        id,
        round,
        sdp: String::new(),
    };
    machine.network_changed(now);
    machine.handle_signal(restart(1), now);
    machine.restart_answered(id, 1, "answer".into());
    machine.network_changed(now);
    machine.restarted(id, 1);
    assert_eq!(machine.state(), PeerState::Restarting);
    machine.handle_signal(restart(2), now);
    machine.restart_answered(id, 2, "answer".into());
    machine.restarted(id, 2);
    assert_eq!(machine.state(), PeerState::Open);
}

#[test]
fn who_offered_the_attempt_offers_its_rounds() {
    let now = Instant::now();
    let (mut machine, id) = open(true, now);
    let want = |round| Signal::WantRestart { id, round };
    machine.handle_signal(want(1), now);
    machine.handle_signal(want(1), now);
    assert_eq!(actions(&mut machine), [Action::Restart(id, 1)]);
    machine.restart_offered(id, 1, "offer".into());
    let answer = |round| Signal::Restarted {
        id,
        round,
        sdp: String::new(),
    };
    for _ in 0..2 {
        machine.handle_signal(answer(1), now);
    }
    machine.handle_signal(answer(0), now);
    let accept = Action::AcceptRestart(id, 1, String::new());
    let all = actions(&mut machine);
    assert_eq!(all.iter().filter(|action| **action == accept).count(), 1);
    assert_eq!(all.len(), 2, "{all:?}");
}

#[test]
fn a_farewell_behind_the_end_of_its_connection_counts() {
    let now = Instant::now();
    let open = || {
        let mut machine = Machine::new(MachineConfig::default(), "b", "a", 1, 1);
        machine.connect(now);
        let id = machine.current().unwrap();
        machine.offered(id, "offer".into());
        machine.opened(id);
        (machine, id)
    };
    let farewell = |id| Signal::Refuse {
        id,
        code: RefusalCode::Closed,
    };
    let (mut machine, id) = open();
    machine.lost(id, now);
    assert_eq!(machine.state(), PeerState::Reconnecting);
    machine.handle_signal(farewell(id), now);
    let gone = PeerState::Closed(GaveUp::Remote(RefusalCode::Closed));
    assert_eq!(machine.state(), gone);
    assert_eq!(machine.poll_timeout(), None, "and nothing is tried again");

    // So does one behind the end of a round.
    let (mut machine, id) = open();
    machine.network_changed(now);
    machine.lost(id, now);
    assert_eq!(machine.state(), PeerState::Offering);
    machine.handle_signal(farewell(id), now);
    assert_eq!(machine.state(), gone);

    // One of an attempt before is old news.
    let (mut machine, first) = open();
    machine.lost(first, now);
    let due = machine.poll_timeout().unwrap();
    machine.handle_timeout(due);
    let second = machine.current().unwrap();
    machine.opened(second);
    machine.handle_signal(farewell(first), due);
    assert_eq!(machine.state(), PeerState::Open);
    machine.lost(second, due);
    machine.handle_signal(farewell(first), due);
    assert_eq!(machine.state(), PeerState::Reconnecting);
}
