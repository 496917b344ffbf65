//! JSON between launcher, endpoint and coordinator: signaling frames, REST bodies, zone files.
//!
//! Input: a letter that says what it is (`a`: a client's signal, ...), then the JSON.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use warp_coordinator_core::parse_frame;
use warp_protocol::rest::{
    AccountView, CertificateRequest, Credentials, ErrorBody, GuestRequest, IceServer,
    IdentityProof, JoinRequest, RefreshRequest, RevokeRequest, SessionGrant, Tokens,
};
use warp_protocol::signal::{ClientSignal, MAX_SIGNAL, ServerSignal, SignedDescription};
use warp_protocol::stream::{OpenAnswer, OpenRequest};
use warp_protocol::zone::{GameServer, ZoneFile, ZoneView};

use crate::input::Input;
use crate::json::survives;

/// What was read prints as JSON that reads as the same; every frame is a signal or an error signal.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte().wrapping_sub(b'a') % 18;
    let text = input.rest();
    match kind {
        0 => client_signal(text),
        1 => reads::<ServerSignal>(text),
        2 => reads::<Credentials>(text),
        3 => reads::<Tokens>(text),
        4 => reads::<RefreshRequest>(text),
        5 => reads::<JoinRequest>(text),
        6 => reads::<SessionGrant>(text),
        7 => reads::<IceServer>(text),
        8 => reads::<ErrorBody>(text),
        9 => reads::<AccountView>(text),
        10 => zone(text),
        11 => reads::<ZoneView>(text),
        13 => reads::<SignedDescription>(text),
        14 => reads::<CertificateRequest>(text),
        15 => reads::<IdentityProof>(text),
        16 => reads::<RevokeRequest>(text),
        17 => reads::<GuestRequest>(text),
        _ => {
            reads::<OpenRequest>(text);
            reads::<OpenAnswer>(text);
        }
    }
}

fn reads<T: Serialize + DeserializeOwned + Debug>(text: &[u8]) {
    let _ = survives::<T>(text);
}

fn client_signal(text: &[u8]) {
    let read = survives::<ClientSignal>(text);
    match parse_frame(text) {
        Ok(signal) => {
            assert!(text.len() <= MAX_SIGNAL);
            // A key that comes twice is refused by one way of reading, the last counts in the other.
            if let Some(read) = read {
                assert_eq!(signal, read);
            }
            let printed = serde_json::to_vec(&signal).expect("it can be printed");
            assert!(survives::<ClientSignal>(&printed).is_some());
        }
        Err(answer) => {
            let ServerSignal::Error { message, .. } = &answer else {
                panic!("answered with {answer:?}");
            };
            // Bounded: nobody makes us send more than was received by much.
            assert!(message.len() < 1024, "{} bytes", message.len());
            let printed = serde_json::to_vec(&answer).expect("it can be printed");
            assert!(survives::<ServerSignal>(&printed).is_some());
        }
    }
}

fn zone(text: &[u8]) {
    let Some(zone) = survives::<ZoneFile>(text) else {
        return;
    };
    if let Err(rule) = zone.check() {
        assert!(!rule.field.is_empty() && !rule.why.is_empty());
        return;
    }
    assert!(!zone.game.map.is_empty() && !zone.game.char.is_empty());
    assert!(zone.game.allows(zone.game.login));
    let game = serde_json::to_vec(&zone.game).expect("it can be printed");
    assert!(survives::<GameServer>(&game).is_some());
}
