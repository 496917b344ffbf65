//! What somebody in between, or another member, can try.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use warp_sealing_core::{
    Lane, LaneConfig, MAX_FRAME, Member, MemberId, Refusal, Roster, WINDOW, Zone,
};

use crate::party::{Party, device};

fn pair() -> Party {
    let mut party = Party::new(3, LaneConfig::default());
    party.seal(1, b"makes the key");
    party.settle();
    party
}

impl Party {
    /// The next roster, with somebody else in one place.
    fn told(&mut self, place: usize, member: Member) -> Roster {
        self.roster.revision += 1;
        let mut roster = self.roster.clone();
        roster.members[place] = member;
        roster
    }
}

#[test]
fn each_refusal_has_its_own_code_and_is_counted() {
    let mut party = pair();
    let frame = party.seal(1, b"hello");
    let with = |place: usize, byte: u8| {
        let mut other = frame.clone();
        other[place] = byte;
        other
    };
    let mut cases = vec![
        (frame[..46].to_vec(), Refusal::Malformed),
        (Vec::new(), Refusal::Malformed),
        (with(1, 9), Refusal::Malformed),
        (with(1, 2), Refusal::Malformed),
        (vec![1; MAX_FRAME + 1], Refusal::Oversize),
        (with(0, 0), Refusal::Downgraded),
        (with(0, 2), Refusal::Downgraded),
        (with(2, 0), Refusal::Downgraded),
        (with(3, frame[3] ^ 1), Refusal::CrossZone),
        (with(14, 0), Refusal::StaleZoneEpoch),
        (with(14, 2), Refusal::UnknownEpoch),
        (with(22, 2), Refusal::Reflected),
        (with(22, 77), Refusal::UnknownSender),
        (with(18, 2), Refusal::UnknownEpoch),
        (with(18, 0), Refusal::Expired),
        // Another counter, and another text.
        (with(30, 100), Refusal::Tampered),
        (with(33, frame[33] ^ 1), Refusal::Tampered),
    ];
    // Another member's name on it, who has sent nothing yet; and one who has.
    cases.push((with(22, 3), Refusal::UnknownEpoch));
    for (bytes, expected) in &cases {
        let before = party.lane(2).refusals().of(*expected);
        assert_eq!(party.open(2, bytes), Err(*expected), "{bytes:02x?}");
        assert_eq!(party.lane(2).refusals().of(*expected), before + 1);
    }
    assert_eq!(party.lane(2).refusals().total(), cases.len() as u64);
    party.seal(3, b"now it has a key");
    party.settle();
    assert_eq!(party.open(2, &with(22, 3)), Err(Refusal::Tampered));
    // All that has not cost the frame itself anything.
    assert_eq!(party.open(2, &frame).unwrap(), b"hello");
    assert_eq!(party.open(2, &frame), Err(Refusal::Replayed));
    // Its own frame, sent back.
    assert_eq!(party.open(1, &frame), Err(Refusal::Reflected));
}

#[test]
fn what_is_below_the_window_is_too_old() {
    let mut party = pair();
    let frames: Vec<_> = (0..=WINDOW).map(|_| party.seal(1, b"x")).collect();
    let (first, rest) = frames.split_first().unwrap();
    assert!(party.open(2, rest.last().unwrap()).is_ok());
    assert_eq!(party.open(2, first), Err(Refusal::TooOld));
    assert!(party.open(2, &rest[0]).is_ok());
}

#[test]
fn the_same_members_in_another_zone_do_not_read_each_other() {
    let mut here = pair();
    let frame = here.seal(1, b"hello");
    let mut there = Party::new(0, LaneConfig::default());
    there.zone = Zone::new(b"coordinator", "payon");
    there.add(1);
    there.add(2);
    there.tell();
    assert_eq!(there.open(2, &frame), Err(Refusal::CrossZone));
    // Also where the head claims it.
    there.seal(1, b"makes the key");
    there.settle();
    let other = there.seal(1, b"there");
    let mut claims = frame.clone();
    claims[3..11].copy_from_slice(&other[3..11]);
    assert_eq!(there.open(2, &claims), Err(Refusal::Tampered));
}

#[test]
fn handovers_work_for_their_recipient_only_and_only_once() {
    let mut party = Party::new(3, LaneConfig::default());
    let now = party.now;
    let frame = party.seal(1, b"hello");
    let messages = party.messages(1);
    let (_, for_two) = messages.iter().find(|(to, _)| *to == MemberId(2)).unwrap();
    assert_eq!(
        party.lane(3).handle_message(for_two, now),
        Err(Refusal::Misdirected)
    );
    let mut readdressed = for_two.clone();
    readdressed[26] = 3;
    assert_eq!(
        party.lane(3).handle_message(&readdressed, now),
        Err(Refusal::Tampered)
    );
    assert_eq!(
        party.lane(1).handle_message(for_two, now),
        Err(Refusal::Reflected)
    );
    party.lane(2).handle_message(for_two, now).unwrap();
    assert!(party.open(2, &frame).is_ok());
    // The same again is answered again, for the answer may be lost; the window stays.
    assert_eq!(party.messages(2).len(), 1);
    party.lane(2).handle_message(for_two, now).unwrap();
    assert_eq!(party.messages(2).len(), 1);
    assert_eq!(party.open(2, &frame), Err(Refusal::Replayed));
    assert_eq!(party.lane(2).counts().handovers_taken, 1);
    // After the next one it is over.
    party.lane(1).rotate(now);
    party.settle();
    assert_eq!(
        party.lane(2).handle_message(for_two, now),
        Err(Refusal::Expired)
    );
    assert_eq!(party.open(3, &frame).unwrap_err(), Refusal::Expired);
}

#[test]
fn a_member_cannot_hand_over_or_confirm_in_anothers_name() {
    let mut party = pair();
    let now = party.now;
    // Lane 3's own, valid handover, with the name of lane 1 on it.
    party.lane(3).rotate(now);
    let messages = party.messages(3);
    let (_, real) = messages.iter().find(|(to, _)| *to == MemberId(2)).unwrap();
    let mut forged = real.clone();
    forged[22] = 1;
    // The epoch that lane 1 has already given, and the next.
    for (epoch, refusal) in [(1, Refusal::Replayed), (2, Refusal::Tampered)] {
        forged[18] = epoch;
        assert_eq!(party.lane(2).handle_message(&forged, now), Err(refusal));
    }
    // And a confirmation of lane 2 in the name of lane 3.
    party.settle();
    party.lane(1).rotate(now);
    let handovers = party.messages(1);
    let (_, for_two) = handovers.iter().find(|(to, _)| *to == MemberId(2)).unwrap();
    party.lane(2).handle_message(for_two, now).unwrap();
    let confirm = party.messages(2).remove(0).1;
    let mut forged = confirm.clone();
    forged[22] = 3;
    assert_eq!(
        party.lane(1).handle_message(&forged, now),
        Err(Refusal::Tampered)
    );
    assert_eq!(party.lane(1).unconfirmed(), 2);
    party.lane(1).handle_message(&confirm, now).unwrap();
    assert_eq!(party.lane(1).unconfirmed(), 1);
}

#[test]
fn a_signaling_server_that_swaps_a_session_key_gets_no_key_that_others_use() {
    let mut party = Party::new(2, LaneConfig::default());
    let (now, zone, id) = (party.now, party.zone, MemberId(3));
    let device_of_three = device();
    party.add_device(3, Arc::clone(&device_of_three));
    party.tell();
    party.seal(1, b"makes the key");
    party.settle();
    let genuine = party.roster.members[2];
    // The best thief there can be: with that device it is told a roster in which it stands itself,
    // and so it opens whatever is sealed to its session key.
    let mut thief = Lane::new(LaneConfig::default(), zone, id, device_of_three, [77; 32]).unwrap();
    let vouched = thief.member(genuine.joined);
    let session = vouched.session;
    let by_another = Member::vouched(&zone, id, genuine.joined, session, &device());
    // With the signature of the member's own key, and with one of the thief's device.
    let swapped = [genuine.voucher, by_another.voucher];
    for (number, voucher) in swapped.into_iter().enumerate() {
        let told = |party: &mut Party, voucher| {
            party.told(
                2,
                Member {
                    session,
                    voucher,
                    ..genuine
                },
            )
        };
        let roster = told(&mut party, vouched.voucher);
        thief.set_roster(&roster, now).unwrap();
        assert!(thief.is_member());
        let roster = told(&mut party, voucher);
        party.lane(1).set_roster(&roster, now).unwrap();
        let unvouched = party.lane(1).refusals().of(Refusal::Unvouched);
        assert_eq!(unvouched, 1 + number as u64);
        // Not now, and not with the next key or when it is sent again.
        party.lane(1).rotate(now);
        let mut messages = party.messages(1);
        let later = now + Duration::from_secs(60);
        party.lane(1).handle_timeout(later);
        while let Some(message) = party.lane(1).poll_message(later) {
            messages.push(message);
        }
        assert!(!messages.is_empty());
        for (to, message) in messages {
            assert_eq!(to, MemberId(2), "nobody else is handed a key");
            assert_eq!(
                thief.handle_message(&message, now),
                Err(Refusal::Misdirected)
            );
        }
        let frame = party.seal(1, b"not for thieves");
        assert_eq!(thief.open(&frame, now).unwrap_err(), Refusal::UnknownEpoch);
    }
    // The right key makes it a member again.
    party.tell();
    party.pass(Duration::from_secs(5));
    let frame = party.seal(1, b"hello");
    assert_eq!(party.open(3, &frame).unwrap(), b"hello");
}

#[test]
fn a_voucher_is_good_for_one_membership_of_one_member_in_one_zone() {
    let mut party = pair();
    let now = party.now;
    let genuine = party.roster.members[1];
    let elsewhere = Zone::new(b"coordinator", "payon");
    let lane = Lane::new(
        LaneConfig::default(),
        elsewhere,
        MemberId(2),
        device(),
        [2; 32],
    );
    let mut forged = genuine;
    forged.voucher[0] ^= 1;
    for (number, member) in [
        Member {
            joined: genuine.joined + 1,
            ..genuine
        },
        Member {
            id: MemberId(4),
            ..genuine
        },
        lane.unwrap().member(genuine.joined),
        forged,
    ]
    .into_iter()
    .enumerate()
    {
        let roster = party.told(1, member);
        party.lane(1).set_roster(&roster, now).unwrap();
        assert_eq!(
            party.lane(1).refusals().of(Refusal::Unvouched),
            1 + number as u64
        );
        // The others are there as before.
        let frame = party.seal(1, b"hello");
        for (to, message) in party.messages(1) {
            assert_eq!(to, MemberId(3));
            party.lane(3).handle_message(&message, now).unwrap();
        }
        assert_eq!(party.open(3, &frame).unwrap(), b"hello");
    }
}

#[test]
fn a_handover_to_a_device_that_is_not_the_members_is_of_no_use_to_the_member() {
    // Certificates keep such a roster out; what is sealed because of it is refused all the same.
    let mut party = pair();
    let now = party.now;
    let genuine = party.roster.members[1];
    let stranger = Member::vouched(
        &party.zone,
        MemberId(2),
        genuine.joined,
        genuine.session,
        &device(),
    );
    let swapped = party.told(1, stranger);
    party.lane(1).set_roster(&swapped, now).unwrap();
    let messages = party.messages(1);
    let (_, message) = messages.iter().find(|(to, _)| *to == MemberId(2)).unwrap();
    assert_eq!(
        party.lane(2).handle_message(message, now),
        Err(Refusal::Tampered)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any one bit, anywhere.
    #[test]
    fn a_frame_with_any_bit_flipped_is_refused(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        bit in any::<proptest::sample::Index>(),
    ) {
        let mut party = pair();
        let frame = party.seal(1, &payload);
        let bit = bit.index(frame.len() * 8);
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(party.open(2, &flipped).is_err());
        prop_assert_eq!(party.lane(2).counts().opened, 0);
        prop_assert_eq!(party.open(2, &frame).unwrap(), payload);
    }

    /// Any one bit, anywhere.
    #[test]
    fn a_message_with_any_bit_flipped_is_refused(
        bit in any::<proptest::sample::Index>(),
        again in any::<bool>(),
    ) {
        let mut party = pair();
        let now = party.now;
        party.lane(1).rotate(now);
        let handover = party.messages(1).remove(0).1;
        let bit_of = |message: &[u8]| bit.index(message.len() * 8);
        let flip = |message: &[u8]| {
            let mut flipped = message.to_vec();
            flipped[bit_of(message) / 8] ^= 1 << (bit_of(message) % 8);
            flipped
        };
        if again {
            party.lane(2).handle_message(&handover, now).unwrap();
        }
        prop_assert!(party.lane(2).handle_message(&flip(&handover), now).is_err());
        let taken = party.lane(2).counts().handovers_taken;
        prop_assert_eq!(taken, 1 + u64::from(again));
        if !again {
            party.lane(2).handle_message(&handover, now).unwrap();
        }
        let confirm = party.messages(2).remove(0).1;
        prop_assert!(party.lane(1).handle_message(&flip(&confirm), now).is_err());
        prop_assert_eq!(party.lane(1).unconfirmed(), 2);
        prop_assert!(party.lane(1).handle_message(&confirm, now).is_ok());
        prop_assert_eq!(party.lane(1).unconfirmed(), 1);
    }

    /// Whatever comes, in whatever length.
    #[test]
    fn bytes_from_nowhere_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut party = pair();
        let now = party.now;
        let mut known = vec![1, bytes.first().copied().unwrap_or_default() % 4, 1];
        known.extend_from_slice(&bytes);
        for bytes in [&bytes, &known] {
            prop_assert!(party.open(2, bytes).is_err());
            prop_assert!(party.lane(2).handle_message(bytes, now).is_err());
        }
    }

    /// Frames in any order that the window covers: each is read once, and its copy refused.
    #[test]
    fn reordered_frames_are_all_read_and_their_copies_refused(
        swaps in proptest::collection::vec((0usize..300, 0usize..300), 0..300),
    ) {
        let mut party = pair();
        let mut frames: Vec<_> = (0..300u16)
            .map(|number| (number, party.seal(1, &number.to_be_bytes())))
            .collect();
        for (one, two) in swaps {
            frames.swap(one, two);
        }
        for (number, frame) in &frames {
            prop_assert_eq!(party.open(2, frame).unwrap(), number.to_be_bytes());
        }
        for (_, frame) in &frames {
            prop_assert_eq!(party.open(2, frame), Err(Refusal::Replayed));
        }
    }
}
