use proptest::prelude::*;

use super::*;
use SessionStatus::{Active, Ended, Failed, Paused, Pending};

fn ids(id: i64) -> SessionIds {
    SessionIds {
        id,
        session_id: format!("session-{id:016x}"),
    }
}

fn pair(host_id: &str, zone_id: &str) -> Pair {
    Pair {
        host_id: host_id.into(),
        zone_id: zone_id.into(),
    }
}

fn slot(n: u32) -> (String, u32) {
    ("room".into(), n)
}

fn status(table: &HostSessions, id: i64) -> Option<SessionStatus> {
    table.get(&id.to_string()).map(|session| session.status)
}

#[test]
fn only_the_changes_of_the_table_are_allowed() {
    let allowed = [
        (Pending, Change::Activate, Active),
        (Pending, Change::End, Ended),
        (Pending, Change::Fail, Failed),
        (Active, Change::Pause, Paused),
        (Active, Change::End, Ended),
        (Active, Change::Fail, Failed),
        (Paused, Change::Activate, Active),
        (Paused, Change::End, Ended),
        (Paused, Change::Fail, Failed),
    ];
    for from in SessionStatus::ALL {
        for change in Change::ALL {
            let expected = allowed.iter().find(|(f, c, _)| (*f, *c) == (from, change));
            assert_eq!(
                next(from, change),
                expected.map(|(_, _, to)| *to),
                "{from:?} {change:?}"
            );
        }
    }
}

#[test]
fn a_life_is_seen_under_both_ids_and_taken_out_once() {
    let mut table = HostSessions::default();
    let h = pair("h", "z");
    let (made, is_new) = table.open(ids(7), h.clone(), 10, 1);
    assert_eq!((made.status, is_new), (Pending, true));
    let (again, is_new) = table.open(ids(8), h.clone(), 10, 2);
    assert_eq!((again.ids.id, is_new), (7, false), "one per host and zone");
    let active = table
        .change(&h, Change::Activate, None, 3)
        .unwrap()
        .unwrap();
    assert_eq!((active.status, active.started_at), (Active, Some(3)));
    assert_eq!(table.get("session-0000000000000007"), table.get("7"));
    let illegal = table
        .change(&h, Change::Activate, None, 4)
        .unwrap()
        .unwrap_err();
    assert_eq!(
        illegal.to_string(),
        "a session that is active cannot be activated"
    );
    let changes = table.take_changes();
    assert_eq!(changes.sessions.len(), 1);
    assert_eq!(
        changes.zones["z"],
        ZoneAdded {
            sessions: 1,
            players: 0
        }
    );
    assert!(table.take_changes().is_empty());
    let over = table
        .change(&h, Change::End, Some("done".into()), 5)
        .unwrap()
        .unwrap();
    assert_eq!(
        (over.status, over.ended_at, over.reason.as_deref()),
        (Ended, Some(5), Some("done"))
    );
    assert_eq!(table.get("7"), None);
    assert_eq!(table.change(&h, Change::End, None, 6), None);
}

#[test]
fn the_first_player_makes_it_active_and_each_counts_once() {
    let mut table = HostSessions::default();
    let h = pair("h", "z");
    table.open(ids(1), h.clone(), 10, 1);
    table.carried(slot(0), "ann", (ids(2), h.clone(), 10), 2);
    table.carried(slot(1), "ann", (ids(3), h.clone(), 10), 2);
    table.carried(slot(2), "ben", (ids(4), h.clone(), 10), 2);
    let session = table.of(&h).unwrap();
    assert_eq!((session.status, session.ids.id), (Active, 1));
    assert_eq!(session.players().collect::<Vec<_>>(), ["ann", "ben"]);
    table.let_go(&slot(0), 3);
    assert_eq!(table.of(&h).unwrap().count(), 2, "her other way stays");
    table.let_go(&slot(1), 3);
    table.let_go(&slot(1), 3);
    assert_eq!(table.of(&h).unwrap().count(), 1);
    table.carried(slot(3), "ann", (ids(5), h.clone(), 10), 4);
    assert_eq!(
        table.take_changes().zones["z"],
        ZoneAdded {
            sessions: 1,
            players: 3
        }
    );
    // Where nobody asked for one, it makes one.
    table.carried(slot(4), "ann", (ids(6), pair("g", "z"), 10), 5);
    assert_eq!(status(&table, 6), Some(Active));
    assert_eq!(table.active_in("z"), 2);
}

#[test]
fn how_a_lease_ends_is_how_a_session_ends() {
    for (why, expected) in [
        (LeaseEnd::Silent, Failed),
        (LeaseEnd::Reported, Failed),
        (LeaseEnd::Draining, Ended),
        (LeaseEnd::Removed, Ended),
        (LeaseEnd::Policy, Ended),
    ] {
        let mut table = HostSessions::default();
        let h = pair("h", "z");
        table.carried(slot(0), "ann", (ids(1), h.clone(), 10), 1);
        table.lease_ended(&h, why, 2);
        let stored = table.take_changes().sessions;
        assert_eq!((stored[0].status, stored[0].count()), (expected, 0));
        assert!(stored[0].reason.is_some());
        // A slot that is let go later is nobody's business.
        table.let_go(&slot(0), 3);
        assert!(table.take_changes().is_empty());
    }
}

#[test]
fn a_paused_one_lives_on_without_a_lease_until_its_host_is_gone() {
    let mut table = HostSessions::default();
    let h = pair("h", "z");
    table.carried(slot(0), "ann", (ids(1), h.clone(), 10), 1);
    table.change(&h, Change::Pause, None, 2).unwrap().unwrap();
    table.lease_ended(&h, LeaseEnd::Draining, 2);
    table.let_go(&slot(0), 2);
    assert_eq!(table.fail_idle(1, 1000), 0);
    assert_eq!(status(&table, 1), Some(Paused));
    table
        .change(&h, Change::Activate, None, 3)
        .unwrap()
        .unwrap();
    assert_eq!(table.of(&h).unwrap().started_at, Some(1), "its first start");
    table.change(&h, Change::Pause, None, 4).unwrap().unwrap();
    table.host_lost("h", 5);
    assert_eq!(status(&table, 1), None);
}

#[test]
fn an_idle_one_fails_and_a_busy_one_of_the_same_age_stays() {
    let mut table = HostSessions::default();
    table.open(ids(1), pair("idle", "z"), 10, 0);
    table.carried(slot(0), "ann", (ids(2), pair("busy", "z"), 10), 0);
    table.carried(slot(1), "ben", (ids(3), pair("left", "z"), 10), 0);
    table.let_go(&slot(1), 90);
    assert_eq!(table.fail_idle(100, 99), 0);
    assert_eq!(table.fail_idle(100, 100), 1);
    assert_eq!(
        [1, 2, 3].map(|id| status(&table, id)),
        [None, Some(Active), Some(Active)]
    );
    assert_eq!(table.fail_idle(100, 190), 1);
    assert_eq!(status(&table, 2), Some(Active));
}

#[test]
fn what_could_not_be_stored_is_stored_later_and_the_newer_counts() {
    let mut table = HostSessions::default();
    let h = pair("h", "z");
    table.open(ids(1), h.clone(), 10, 1);
    let lost = table.take_changes();
    table.carried(slot(0), "ann", (ids(2), h.clone(), 10), 2);
    table.give_back(lost);
    let changes = table.take_changes();
    assert_eq!(changes.sessions.len(), 1);
    assert_eq!(changes.sessions[0].status, Active);
    assert_eq!(
        changes.zones["z"],
        ZoneAdded {
            sessions: 1,
            players: 1
        }
    );
}

proptest! {
    /// Whatever happens, in whatever order: each pair has one open session at most, both ids lead to
    /// it, what is stored goes only forward, and a closed one is never seen again.
    #[test]
    fn any_course_keeps_the_rules(steps in prop::collection::vec((0..8_u8, 0..2_u8, 0..2_u8, 0..6_u32), 0..120)) {
        let mut table = HostSessions::default();
        let mut stored: BTreeMap<i64, SessionStatus> = BTreeMap::new();
        let mut sessions = 0;
        for (n, (what, host, zone, place)) in steps.into_iter().enumerate() {
            let at = n as i64;
            let pair = pair(&format!("h{host}"), &format!("z{zone}"));
            let new = ids(at + 1);
            match what {
                0 => { table.open(new, pair, 5, at); }
                1 | 2 => table.carried((pair.host_id.clone(), place), "ann", (new, pair, 5), at),
                3 => table.let_go(&(pair.host_id, place), at),
                4 => { table.change(&pair, Change::ALL[place as usize % 4], None, at); }
                5 => table.lease_ended(&pair, LeaseEnd::Draining, at),
                6 => table.host_lost(&pair.host_id, at),
                _ => { table.fail_idle(10, at); }
            }
            for session in table.all() {
                prop_assert!(session.status.is_open());
                prop_assert_eq!(table.get(&session.ids.session_id), Some(session));
                prop_assert_eq!(table.get(&session.ids.id.to_string()), Some(session));
            }
            let changes = table.take_changes();
            sessions += changes.zones.values().map(|added| added.sessions).sum::<u64>();
            for session in changes.sessions {
                let before = stored.insert(session.ids.id, session.status);
                prop_assert!(before.is_none_or(SessionStatus::is_open), "{before:?} -> {session:?}");
                prop_assert_eq!(session.ended_at.is_some(), !session.status.is_open());
            }
        }
        prop_assert_eq!(sessions, stored.len() as u64);
    }
}
