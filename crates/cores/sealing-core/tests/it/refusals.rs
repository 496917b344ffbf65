//! What somebody in between, or another member, can try.

use proptest::prelude::*;
use warp_sealing_core::{LaneConfig, MAX_FRAME, MemberId, Refusal, WINDOW, Zone};

use crate::party::{Party, device};

fn pair() -> Party {
    let mut party = Party::new(3, LaneConfig::default());
    party.seal(1, b"makes the key");
    party.settle();
    party
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
    // The roster that lane 1 is told has the thief's session key for lane 2; what is sealed to it
    // is of no use to lane 2, and lane 2 never confirms it.
    let mut party = pair();
    let now = party.now;
    let mut swapped = party.roster.clone();
    swapped.revision += 1;
    swapped.members[1].device = device().public();
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
