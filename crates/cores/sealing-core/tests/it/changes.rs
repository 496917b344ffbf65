//! When keys change, and who can read what then.

use std::time::Duration;

use warp_sealing_core::{
    Lane, LaneConfig, MAX_KEYS, MAX_PAYLOAD, Member, MemberId, Refusal, Roster, RosterError,
    SealError,
};

use crate::party::{Party, device};

const SECOND: Duration = Duration::from_secs(1);

fn config() -> LaneConfig {
    LaneConfig::default()
}

#[test]
fn a_frame_is_read_by_every_other_member() {
    let mut party = Party::new(4, config());
    let now = party.now;
    party.lane(1).rotate(now);
    party.settle();
    for length in [0, 1, 64, MAX_PAYLOAD] {
        let payload = vec![7; length];
        let frame = party.seal(1, &payload);
        for to in 2..=4 {
            assert_eq!(party.open(to, &frame), Ok(payload.clone()));
        }
    }
    let too_long = vec![0; MAX_PAYLOAD + 1];
    assert_eq!(party.lane(1).seal(&too_long, now), Err(SealError::TooLong));
    assert_eq!(party.lane(1).counts().sealed, 4);
}

#[test]
fn a_newcomer_does_not_read_the_past_and_reads_what_follows() {
    let mut party = Party::new(3, config());
    party.seal(1, b"makes the key");
    party.settle();
    let past = party.seal(1, b"past");
    party.add(4);
    party.tell();
    let between = party.seal(1, b"sent while the newcomer was not known to all");
    assert_eq!(party.open(4, &past), Err(Refusal::UnknownEpoch));
    assert_eq!(party.lane(1).key_epoch(), Some(1), "nobody has to hurry");
    party.pass(2 * SECOND);
    assert_eq!(party.lane(1).key_epoch(), Some(2));
    let after = party.seal(1, b"after");
    assert_eq!(party.open(4, &after).unwrap(), b"after");
    for frame in [&past, &between] {
        assert_eq!(party.open(4, frame), Err(Refusal::Expired));
    }
    // Those who were there before still read what was under way.
    assert_eq!(party.open(2, &past).unwrap(), b"past");
    assert_eq!(party.open(2, &after).unwrap(), b"after");
}

#[test]
fn members_who_join_within_a_second_share_one_change() {
    let mut party = Party::new(3, config());
    party.seal(1, b"makes the key");
    party.settle();
    for id in 4..10 {
        party.add(id);
        party.tell();
        party.pass(SECOND / 10);
    }
    party.pass(2 * SECOND);
    assert_eq!(party.lane(1).counts().keys_made, 2);
    let frame = party.seal(1, b"hello");
    for to in 2..10 {
        assert!(party.open(to, &frame).is_ok(), "{to}");
    }
}

#[test]
fn whoever_joins_while_a_key_is_handed_out_gets_that_key() {
    let mut party = Party::new(3, config());
    party.seal(1, b"makes the key");
    party.settle();
    let now = party.now;
    party.lane(1).rotate(now);
    party.add(4);
    party.tell();
    party.settle();
    assert_eq!(party.lane(1).key_epoch(), Some(2));
    assert_eq!(party.lane(1).counts().keys_made, 2);
    let frame = party.seal(1, b"hello");
    assert!(party.open(4, &frame).is_ok());
}

#[test]
fn whoever_left_does_not_read_the_very_next_frame() {
    let mut party = Party::new(4, config());
    party.seal(1, b"makes the key");
    party.settle();
    let before = party.seal(1, b"before");
    assert!(party.open(4, &before).is_ok());
    party.remove(4);
    party.tell();
    let first = party.seal(1, b"first");
    party.settle();
    let later = party.seal(1, b"later");
    for frame in [&first, &later] {
        // Lane 4 was not told, and keeps what it has.
        assert_eq!(party.open(4, frame), Err(Refusal::UnknownEpoch));
        assert!(party.open(2, frame).is_ok());
    }
    // And what it sends is nobody's any more.
    let own = party.seal(4, b"still here");
    assert_eq!(party.open(2, &own), Err(Refusal::UnknownSender));
}

#[test]
fn a_member_that_is_not_in_the_roster_wipes_everything() {
    let mut party = Party::new(3, config());
    party.seal(1, b"makes the key");
    party.settle();
    let frame = party.seal(1, b"hello");
    assert_eq!(party.lane(2).keys_held(), 1);
    party.remove(2);
    party.roster.revision += 1;
    let (roster, now) = (party.roster.clone(), party.now);
    party.lane(2).set_roster(&roster, now).unwrap();
    assert!(!party.lane(2).is_member());
    assert_eq!(party.lane(2).keys_held(), 0);
    assert_eq!(party.open(2, &frame), Err(Refusal::UnknownSender));
    assert_eq!(
        party.lane(2).seal(b"x", now).unwrap_err(),
        SealError::NotMember
    );
    assert!(party.messages(2).is_empty());
}

#[test]
fn the_key_changes_every_interval_and_old_frames_are_read_for_the_overlap() {
    let mut party = Party::new(3, config());
    party.seal(1, b"makes the key");
    party.settle();
    let old = party.seal(1, b"old");
    let old_too = party.seal(1, b"old too");
    party.pass(3599 * SECOND);
    assert_eq!(party.lane(1).key_epoch(), Some(1));
    party.pass(SECOND);
    assert_eq!(party.lane(1).key_epoch(), Some(2), "all have confirmed");
    assert!(party.open(2, &old).is_ok());
    party.pass(5 * SECOND);
    assert_eq!(party.open(2, &old_too), Err(Refusal::Expired));
    assert_eq!(party.lane(2).keys_held(), 1, "and the key itself is gone");
    party.pass(3600 * SECOND);
    assert_eq!(party.lane(1).key_epoch(), Some(3));
}

#[test]
fn a_member_that_does_not_confirm_holds_nobody_up_and_gets_the_key_later() {
    let mut party = Party::new(3, config());
    party.seal(1, b"makes the key");
    party.settle();
    let now = party.now;
    party.lane(1).rotate(now);
    let lost: Vec<_> = party.messages(1);
    assert_eq!(lost.len(), 2);
    assert_eq!(party.lane(1).key_epoch(), Some(1));
    // Lane 2 gets its message, lane 3 does not.
    let (_, message) = lost.iter().find(|(to, _)| *to == MemberId(2)).unwrap();
    party.lane(2).handle_message(message, now).unwrap();
    for (_, confirm) in party.messages(2) {
        party.lane(1).handle_message(&confirm, now).unwrap();
    }
    assert_eq!(party.lane(1).unconfirmed(), 1);
    party.now += 2 * SECOND;
    let now = party.now;
    let frame = party.seal(1, b"two seconds later");
    assert_eq!(party.lane(1).key_epoch(), Some(2));
    assert!(party.open(2, &frame).is_ok());
    assert_eq!(party.open(3, &frame), Err(Refusal::UnknownEpoch));
    party.lane(1).handle_timeout(now);
    party.settle();
    assert!(party.open(3, &frame).is_ok(), "sent again");
    assert_eq!(party.lane(1).unconfirmed(), 0);
}

#[test]
fn the_key_changes_before_it_has_sealed_as_many_frames_as_it_may() {
    let config = LaneConfig {
        frames_per_key: 32,
        ..config()
    };
    let mut party = Party::new(2, config);
    party.seal(1, b"0");
    party.settle();
    for frame in 1..30 {
        party.seal(1, &[frame]);
    }
    assert_eq!(party.lane(1).key_epoch(), Some(1));
    party.seal(1, b"after 15/16 the new key goes out");
    party.settle();
    party.seal(1, b"and is used");
    assert_eq!(party.lane(1).key_epoch(), Some(2));
    // With nobody to confirm it, the limit is the limit.
    let mut highest = std::collections::BTreeMap::<u32, u32>::new();
    for _ in 0..200 {
        let frame = party.seal(1, b"x");
        let epoch = u32::from_be_bytes(frame[15..19].try_into().unwrap());
        *highest.entry(epoch).or_default() += 1;
    }
    assert!(highest.len() >= 6, "{highest:?}");
    assert!(highest.values().all(|count| *count <= 32), "{highest:?}");
}

#[test]
fn a_new_zone_epoch_ends_all_that_was_before() {
    let mut party = Party::new(3, config());
    party.seal(1, b"makes the key");
    let old_messages = party.messages(1);
    for (to, message) in &old_messages {
        let now = party.now;
        party.lane(to.0).handle_message(message, now).unwrap();
    }
    party.settle();
    let old = party.seal(1, b"old host");
    party.roster.zone_epoch = 2;
    party.tell();
    let now = party.now;
    assert_eq!(party.open(2, &old), Err(Refusal::StaleZoneEpoch));
    for (to, message) in &old_messages {
        assert_eq!(
            party.lane(to.0).handle_message(message, now),
            Err(Refusal::StaleZoneEpoch)
        );
    }
    party.settle();
    let new = party.seal(1, b"new host");
    assert!(party.open(2, &new).is_ok());
    // A member who has not heard of it yet.
    let mut behind = Party::new(1, config());
    let ahead = {
        let mut frame = behind.seal(1, b"x");
        frame[14] = 9;
        frame[22] = 7;
        frame
    };
    assert_eq!(behind.open(1, &ahead), Err(Refusal::UnknownEpoch));
}

#[test]
fn rosters_that_are_old_too_large_or_double_change_nothing() {
    let config = LaneConfig {
        max_members: 4,
        ..config()
    };
    let mut party = Party::new(3, config);
    party.seal(1, b"makes the key");
    party.settle();
    let now = party.now;
    let good = party.roster.clone();
    let stale = Roster {
        revision: good.revision,
        members: Vec::new(),
        ..good.clone()
    };
    let older_epoch = Roster {
        revision: good.revision + 1,
        zone_epoch: 0,
        members: Vec::new(),
    };
    let mut twice = good.clone();
    twice.revision += 1;
    twice.members.push(good.members[0]);
    let mut crowd = good.clone();
    crowd.revision += 1;
    for id in 100..200 {
        let member = Member {
            id: MemberId(id),
            ..good.members[0]
        };
        crowd.members.push(member);
    }
    for (roster, error) in [
        (stale, RosterError::Stale),
        (older_epoch, RosterError::Stale),
        (twice, RosterError::Twice),
        (crowd, RosterError::TooMany),
    ] {
        assert_eq!(party.lane(1).set_roster(&roster, now), Err(error));
    }
    let frame = party.seal(1, b"as before");
    assert!(party.open(2, &frame).is_ok());
    assert_eq!(party.lane(1).key_epoch(), Some(1));
}

#[test]
fn whoever_comes_back_under_the_same_number_is_somebody_else() {
    let mut party = Party::new(3, config());
    party.seal(1, b"makes the key");
    let handovers = party.messages(1);
    let now = party.now;
    for (to, message) in &handovers {
        party.lane(to.0).handle_message(message, now).unwrap();
    }
    party.settle();
    let old = party.seal(1, b"from before");
    // Out and in again, with the same keys, and nobody has seen the roster in between.
    let place = party
        .roster
        .members
        .iter()
        .position(|m| m.id == MemberId(1));
    let joined = party.roster.revision + 2;
    party.roster.members[place.unwrap()] = party.lane(1).member(joined);
    party.tell();
    assert_eq!(party.open(2, &old), Err(Refusal::UnknownEpoch));
    for (to, message) in &handovers {
        let refused = party.lane(to.0).handle_message(message, now);
        assert_eq!(
            refused,
            Err(Refusal::Tampered),
            "bound to the time of joining"
        );
    }
    let new = party.seal(1, b"from now on");
    party.settle();
    assert!(party.open(2, &new).is_ok());
    assert_eq!(party.open(2, &old), Err(Refusal::Expired));
}

#[test]
fn a_session_key_that_nothing_can_be_sealed_to_holds_nobody_up() {
    let mut party = Party::new(2, config());
    // The point of order 1: every exchange with it ends in the same secret.
    let (session, revision) = ([0; 32], party.roster.revision + 1);
    let member = Member::vouched(&party.zone, MemberId(9), revision, session, &device());
    party.roster.members.push(member);
    party.tell();
    let frame = party.seal(1, b"hello");
    party.settle();
    assert!(party.open(2, &frame).is_ok());
    assert_eq!(party.lane(1).counts().unreachable, 1);
    assert_eq!(party.lane(1).unconfirmed(), 0);
}

#[test]
fn whatever_happens_a_lane_holds_a_bounded_number_of_keys_and_bytes() {
    let mut party = Party::new(12, config());
    let now = party.now;
    for round in 0..40 {
        // Everybody changes keys far more often than the overlap lets go of them.
        for id in 1..=12 {
            party.lane(id).rotate(now);
        }
        party.settle();
        let held = party.lane(1).keys_held();
        assert!(held <= 11 * MAX_KEYS, "{held} in round {round}");
        let (bytes, budget) = (party.lane(1).bytes(), Lane::budget(11));
        assert!(bytes <= budget, "{bytes} of {budget}");
    }
    assert_eq!(party.lane(1).keys_held(), 11 * MAX_KEYS);
    assert!(Lane::budget(256) < 3 << 19, "{}", Lane::budget(256));
}

#[test]
fn numbers_that_a_lane_cannot_work_with_are_refused() {
    use warp_sealing_core::{ConfigError, MAX_FRAMES_PER_KEY, Zone};
    let zone = Zone::new(b"coordinator", "prontera");
    for (config, error) in [
        (
            LaneConfig {
                frames_per_key: MAX_FRAMES_PER_KEY + 1,
                ..config()
            },
            ConfigError::FramesPerKey,
        ),
        (
            LaneConfig {
                overlap: config().switch_after,
                ..config()
            },
            ConfigError::Overlap,
        ),
        (
            LaneConfig {
                max_members: 257,
                ..config()
            },
            ConfigError::MaxMembers,
        ),
    ] {
        let made = Lane::new(config, zone, MemberId(1), device(), [0; 32]);
        assert_eq!(made.unwrap_err(), error);
    }
}
