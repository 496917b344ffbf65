//! Frames, handovers and confirmations of a sealed lane.
//!
//! Input: what to do (0: the bytes as they are, else: the bytes over a genuine datagram, by exclusive
//! or, and cut or grown to the length in the next two bytes), which genuine datagram, the bytes.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use warp_sealing_core::{
    CONFIRM_LEN, DeviceKey, FRAME_OVERHEAD, HANDOVER_LEN, Lane, LaneConfig, MAX_FRAME, MemberId,
    Refusal, Roster, Zone,
};

use crate::input::Input;

/// Two lanes that know each other, and datagrams of the first for the second that it has not seen.
struct Pair {
    now: Instant,
    receiver: Lane,
    genuine: Vec<Vec<u8>>,
}

/// An Ed25519 key in PKCS#8 (RFC 8410): a fixed head, then the seed.
fn device(seed: u8) -> Arc<DeviceKey> {
    let mut der = vec![
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    der.extend_from_slice(&[seed; 32]);
    Arc::new(DeviceKey::from_pkcs8_der(&der).expect("a key"))
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let zone = Zone::new(b"coordinator", "prontera");
        let mut lanes = [1, 2].map(|id| {
            let config = LaneConfig::default();
            let lane = Lane::new(config, zone, MemberId(id), device(id as u8), [id as u8; 32]);
            lane.expect("the usual numbers")
        });
        let members = lanes.iter().map(|lane| lane.member(1));
        let roster = Roster {
            zone_epoch: 1,
            revision: 1,
            members: members.collect(),
        };
        for lane in &mut lanes {
            lane.set_roster(&roster, now).expect("a good roster");
        }
        let [mut sender, mut receiver] = lanes;
        for lane in [&mut sender, &mut receiver] {
            lane.rotate(now);
        }
        let (_, first) = sender.poll_message(now).expect("a handover");
        receiver.handle_message(&first, now).expect("genuine");
        let (_, confirm) = receiver.poll_message(now).expect("a confirmation");
        sender.handle_message(&confirm, now).expect("genuine");
        let (_, other) = receiver.poll_message(now).expect("a handover");
        sender.handle_message(&other, now).expect("genuine");
        let (_, confirm) = sender.poll_message(now).expect("a confirmation");
        let frames = [&b""[..], b"a step", &[7; 300]];
        let mut genuine: Vec<Vec<u8>> = frames
            .into_iter()
            .map(|payload| sender.seal(payload, now).expect("a member").to_vec())
            .collect();
        sender.rotate(now);
        let (_, handover) = sender.poll_message(now).expect("a handover");
        genuine.extend([handover, confirm]);
        Self {
            now,
            receiver,
            genuine,
        }
    }
}

thread_local! {
    static PAIR: RefCell<Pair> = RefCell::new(Pair::new());
}

/// Nothing but what the sender made is taken, each refusal is counted, and it leaves nothing behind.
pub fn run(data: &[u8]) {
    PAIR.with_borrow_mut(|pair| {
        let mut input = Input::new(data);
        let changes = input.byte() != 0;
        let which = usize::from(input.byte()) % pair.genuine.len();
        let bytes = if changes {
            let length = usize::from(u16::from_be_bytes([input.byte(), input.byte()]));
            let mut bytes = pair.genuine[which].clone();
            bytes.resize(length % (MAX_FRAME + 8), 0);
            for (byte, change) in bytes.iter_mut().zip(input.rest()) {
                *byte ^= change;
            }
            bytes
        } else {
            input.rest().to_vec()
        };
        if pair.genuine.contains(&bytes) {
            return;
        }
        let (now, lane) = (pair.now, &mut pair.receiver);
        let (counts, keys, held) = (lane.counts(), lane.keys_held(), lane.bytes());
        let refused = lane.refusals().total();

        let as_frame = lane.open(&bytes, now).expect_err("nobody sealed that");
        let as_message = lane
            .handle_message(&bytes, now)
            .expect_err("nobody signed that");
        match (as_frame, as_message) {
            // A datagram is one or the other.
            (Refusal::Malformed | Refusal::Oversize, _)
            | (_, Refusal::Malformed | Refusal::Oversize)
            | (Refusal::Downgraded, Refusal::Downgraded) => {}
            both => panic!("read as a frame and as a message: {both:?}"),
        }
        if bytes.len() < FRAME_OVERHEAD.min(CONFIRM_LEN).min(HANDOVER_LEN) {
            assert!(matches!(as_frame, Refusal::Malformed | Refusal::Downgraded));
        }
        assert_eq!(lane.refusals().total(), refused + 2);
        assert_eq!(lane.counts(), counts);
        assert_eq!((lane.keys_held(), lane.bytes()), (keys, held));
        assert_eq!(lane.unconfirmed(), 1, "nobody has confirmed its key");
    });
}
