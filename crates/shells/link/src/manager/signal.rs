//! The signals of peers as the coordinator's rooms carry them: it passes descriptions and candidates
//! on as they are, so what they belong to travels within them, and a refusal and the wish for another
//! round as answers.

use serde_json::{Value, json};
use warp_peer_core::{AttemptId, RefusalCode, Signal};
use warp_protocol::signal::{ClientSignal, ServerSignal};

use super::trust::SignedSignal;

/// The message to the coordinator.
pub fn to_room(to: String, said: SignedSignal) -> ClientSignal {
    let SignedSignal { signal, signature } = said;
    match signal {
        Signal::Offer { id, sdp } => ClientSignal::Offer {
            to,
            sdp: description("offer", id, 0, sdp, signature),
        },
        Signal::Answer { id, newest, sdp } => {
            let mut value = description("answer", id, 0, sdp, signature);
            value["newest"] = newest.map(attempt).into();
            ClientSignal::Answer { to, sdp: value }
        }
        Signal::Restart { id, round, sdp } => ClientSignal::Offer {
            to,
            sdp: description("offer", id, round, sdp, signature),
        },
        Signal::Restarted { id, round, sdp } => ClientSignal::Answer {
            to,
            sdp: description("answer", id, round, sdp, signature),
        },
        Signal::WantRestart { id, round } => ClientSignal::Answer {
            to,
            sdp: json!({
                "type": "restart",
                "attempt": attempt(id),
                "round": round,
                "signature": signature,
            }),
        },
        Signal::Refuse { id, code } => ClientSignal::Answer {
            to,
            sdp: json!({
                "type": "refuse",
                "code": code.code(),
                "attempt": attempt(id),
                "signature": signature,
            }),
        },
        Signal::Candidate {
            id,
            round,
            candidate,
        } => {
            // The core carries it as the text of a JSON object.
            let mut value: Value = serde_json::from_str(&candidate).unwrap_or(Value::Null);
            if let Some(object) = value.as_object_mut() {
                object.insert("attempt".to_owned(), attempt(id));
                object.insert("round".to_owned(), round.into());
            }
            ClientSignal::IceCandidate {
                to,
                candidate: value,
            }
        }
    }
}

/// What the coordinator brought, with the name of the sender; `None`: nothing for a peer.
pub fn from_room(signal: ServerSignal) -> Option<(String, SignedSignal)> {
    match signal {
        ServerSignal::Offer { from, sdp, .. } => {
            let (id, text) = (read_attempt(sdp.get("attempt")?)?, text(&sdp, "sdp")?);
            let signal = match read_round(sdp.get("round"))? {
                0 => Signal::Offer { id, sdp: text },
                round => Signal::Restart {
                    id,
                    round,
                    sdp: text,
                },
            };
            Some((from, signed(signal, &sdp)))
        }
        ServerSignal::Answer { from, sdp, .. } => {
            let (id, round) = (
                read_attempt(sdp.get("attempt")?)?,
                read_round(sdp.get("round"))?,
            );
            let signal = match &*text(&sdp, "type")? {
                "refuse" => {
                    let code = RefusalCode::from_code(&text(&sdp, "code")?)?;
                    Signal::Refuse { id, code }
                }
                "restart" => Signal::WantRestart { id, round },
                _ => match (text(&sdp, "sdp")?, round) {
                    (text, 0) => {
                        let newest = sdp.get("newest").and_then(read_attempt);
                        let sdp = text;
                        Signal::Answer { id, newest, sdp }
                    }
                    (sdp, round) => Signal::Restarted { id, round, sdp },
                },
            };
            Some((from, signed(signal, &sdp)))
        }
        ServerSignal::IceCandidate {
            from,
            mut candidate,
            ..
        } => {
            let object = candidate.as_object_mut()?;
            let id = read_attempt(&object.remove("attempt")?)?;
            let round = read_round(object.remove("round").as_ref())?;
            let candidate = candidate.to_string();
            let signal = Signal::Candidate {
                id,
                round,
                candidate,
            };
            Some((from, signal.into()))
        }
        ServerSignal::SessionJoined { .. }
        | ServerSignal::PeerJoined { .. }
        | ServerSignal::PeerLeft { .. }
        | ServerSignal::SessionLeft { .. }
        | ServerSignal::Hosts { .. }
        | ServerSignal::Policy { .. }
        | ServerSignal::SessionEnded { .. }
        | ServerSignal::Notice { .. }
        | ServerSignal::NpcState { .. }
        | ServerSignal::Serve { .. }
        | ServerSignal::Unserve { .. }
        | ServerSignal::Drained
        | ServerSignal::Error { .. } => None,
    }
}

fn description(
    kind: &str,
    id: AttemptId,
    round: u32,
    sdp: String,
    signature: Option<String>,
) -> Value {
    json!({
        "type": kind,
        "sdp": sdp,
        "attempt": attempt(id),
        "round": round,
        "signature": signature,
    })
}

fn signed(signal: Signal, sdp: &Value) -> SignedSignal {
    SignedSignal {
        signal,
        signature: text(sdp, "signature"),
    }
}

/// None is the first.
fn read_round(value: Option<&Value>) -> Option<u32> {
    value.map_or(Some(0), |value| u32::try_from(value.as_u64()?).ok())
}

fn text(value: &Value, key: &str) -> Option<String> {
    Some(value.get(key)?.as_str()?.to_owned())
}

fn attempt(id: AttemptId) -> Value {
    json!([id.incarnation, id.number, id.greater])
}

fn read_attempt(value: &Value) -> Option<AttemptId> {
    let [incarnation, number, greater] = value.as_array()?.as_slice() else {
        return None;
    };
    Some(AttemptId {
        incarnation: incarnation.as_u64()?,
        number: u32::try_from(number.as_u64()?).ok()?,
        greater: greater.as_bool()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relayed(signal: ClientSignal) -> ServerSignal {
        let (from, timestamp) = ("anna".to_owned(), "2026-01-01T00:00:00Z".to_owned());
        match signal {
            ClientSignal::Offer { sdp, .. } => ServerSignal::Offer {
                from,
                sdp,
                timestamp,
            },
            ClientSignal::Answer { sdp, .. } => ServerSignal::Answer {
                from,
                sdp,
                timestamp,
            },
            ClientSignal::IceCandidate { candidate, .. } => ServerSignal::IceCandidate {
                from,
                candidate,
                timestamp,
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn signals_come_out_of_a_room_as_they_went_in() {
        let id = AttemptId {
            incarnation: 1_767_225_600_000,
            number: 7,
            greater: true,
        };
        let (sdp, newest) = ("v=0\r\n".to_owned(), Some(id));
        let candidate = json!({"candidate": "candidate:1", "sdpMid": "0"}).to_string();
        let code = RefusalCode::Full;
        for signal in [
            Signal::Offer {
                id,
                sdp: sdp.clone(),
            },
            Signal::Answer {
                id,
                newest,
                sdp: sdp.clone(),
            },
            Signal::Answer {
                id,
                newest: None,
                sdp: sdp.clone(),
            },
            Signal::Restart {
                id,
                round: 1,
                sdp: sdp.clone(),
            },
            Signal::Restarted { id, round: 2, sdp },
            Signal::WantRestart { id, round: 1 },
            Signal::Refuse { id, code },
        ] {
            for signature in [None, Some("00ff".to_owned())] {
                let said = SignedSignal {
                    signal: signal.clone(),
                    signature,
                };
                let room = relayed(to_room("berta".to_owned(), said.clone()));
                assert_eq!(from_room(room), Some(("anna".to_owned(), said)));
            }
        }
        let said = SignedSignal::from(Signal::Candidate {
            id,
            round: 3,
            candidate,
        });
        let room = relayed(to_room("berta".to_owned(), said.clone()));
        assert_eq!(from_room(room), Some(("anna".to_owned(), said)));
    }

    #[test]
    fn what_is_no_signal_of_a_peer_is_passed_over() {
        for sdp in [
            json!("v=0"),
            json!({"sdp": "v=0"}),
            json!({"attempt": [1], "sdp": ""}),
            json!({"attempt": [1, 1, true], "sdp": "", "type": "answer", "round": -1}),
        ] {
            let to = String::new();
            let offer = relayed(ClientSignal::Offer {
                to: to.clone(),
                sdp: sdp.clone(),
            });
            assert_eq!(from_room(offer), None);
            let answer = relayed(ClientSignal::Answer {
                to: to.clone(),
                sdp: sdp.clone(),
            });
            assert_eq!(from_room(answer), None);
            let candidate = relayed(ClientSignal::IceCandidate { to, candidate: sdp });
            assert_eq!(from_room(candidate), None);
        }
    }
}
