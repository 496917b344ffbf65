//! Looking ahead while the packet version is not certain.
//!
//! Input: one byte for the connection (its switch: every look is said to be the last for a moment), one
//! for the sizes of the pieces, one for the length of what the client sent first, then that, then what
//! comes in the connection's direction.

use warp_bridge_core::{Scout, Versions};
use warp_ro_packet::MAX_PACKET;

use crate::input::{Input, pieces};

/// Of what a char server says before its first packet, bytes.
const RAW_AID: usize = 4;

/// What passes is what came, in its order, and with what is held all of it; what is held is bounded; and
/// nothing is undecided once nothing more comes.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (role, direction, settled) = input.connection();
    let seed = input.byte();
    let length = usize::from(input.byte());
    let rest = input.rest();
    let (head, bytes) = rest.split_at(length.min(rest.len()));
    let mut versions = Versions::new(0, &[]);
    let _ = versions.on_client(role, head);
    let mut scout = Scout::new(role, direction);
    let (mut came, mut passed) = (0, Vec::new());
    for piece in pieces(seed, bytes) {
        scout.push(piece);
        came += piece.len();
        look(&mut scout, &mut versions, settled, &mut passed);
        assert_eq!(passed.len() + scout.held(), came);
        assert_eq!(passed, bytes[..passed.len()]);
    }
    look(&mut scout, &mut versions, true, &mut passed);
    passed.extend_from_slice(&scout.give_up());
    assert!(!scout.undecided());
    assert_eq!(scout.held(), 0);
    assert_eq!(passed, bytes);
}

fn look(scout: &mut Scout, versions: &mut Versions, settled: bool, passed: &mut Vec<u8>) {
    let was_certain = versions.certain();
    let (reading, bytes) = scout.pass(versions, settled);
    passed.extend_from_slice(&bytes);
    assert!(
        scout.held() <= MAX_PACKET + RAW_AID,
        "{} held",
        scout.held()
    );
    assert!(!(settled && scout.undecided()), "undecided for good");
    if was_certain {
        assert!(reading.is_some() && scout.held() == 0);
    }
    assert!(versions.certain() || !was_certain, "a version came back");
}
