//! The signals of peers as the coordinator's rooms carry them: it passes descriptions and candidates
//! on as they are, so the attempt that they belong to travels within them, and a refusal as an answer.

use serde_json::{Value, json};
use warp_peer_core::{AttemptId, RefusalCode, Signal};
use warp_protocol::signal::{ClientSignal, ServerSignal};

/// The message to the coordinator.
pub fn to_room(to: String, signal: Signal) -> ClientSignal {
    match signal {
        Signal::Offer { id, sdp } => ClientSignal::Offer {
            to,
            sdp: json!({"type": "offer", "sdp": sdp, "attempt": attempt(id)}),
        },
        Signal::Answer { id, newest, sdp } => ClientSignal::Answer {
            to,
            sdp: json!({
                "type": "answer",
                "sdp": sdp,
                "attempt": attempt(id),
                "newest": newest.map(attempt),
            }),
        },
        Signal::Refuse { id, code } => ClientSignal::Answer {
            to,
            sdp: json!({"type": "refuse", "code": code.code(), "attempt": attempt(id)}),
        },
        Signal::Candidate { id, candidate } => {
            // The core carries it as the text of a JSON object.
            let mut value: Value = serde_json::from_str(&candidate).unwrap_or(Value::Null);
            if let Some(object) = value.as_object_mut() {
                object.insert("attempt".to_owned(), attempt(id));
            }
            ClientSignal::IceCandidate {
                to,
                candidate: value,
            }
        }
    }
}

/// What the coordinator brought, with the name of the sender; `None`: nothing for a peer.
pub fn from_room(signal: ServerSignal) -> Option<(String, Signal)> {
    match signal {
        ServerSignal::Offer { from, sdp, .. } => {
            let (id, sdp) = (read_attempt(sdp.get("attempt")?)?, text(&sdp, "sdp")?);
            Some((from, Signal::Offer { id, sdp }))
        }
        ServerSignal::Answer { from, sdp, .. } => {
            let id = read_attempt(sdp.get("attempt")?)?;
            if text(&sdp, "type")? == "refuse" {
                let code = RefusalCode::from_code(&text(&sdp, "code")?)?;
                return Some((from, Signal::Refuse { id, code }));
            }
            let newest = sdp.get("newest").and_then(read_attempt);
            let sdp = text(&sdp, "sdp")?;
            Some((from, Signal::Answer { id, newest, sdp }))
        }
        ServerSignal::IceCandidate {
            from,
            mut candidate,
            ..
        } => {
            let id = read_attempt(&candidate.as_object_mut()?.remove("attempt")?)?;
            let candidate = candidate.to_string();
            Some((from, Signal::Candidate { id, candidate }))
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
                sdp,
            },
            Signal::Candidate { id, candidate },
            Signal::Refuse { id, code },
        ] {
            let room = relayed(to_room("berta".to_owned(), signal.clone()));
            assert_eq!(from_room(room), Some(("anna".to_owned(), signal)));
        }
    }

    #[test]
    fn what_is_no_signal_of_a_peer_is_passed_over() {
        for sdp in [
            json!("v=0"),
            json!({"sdp": "v=0"}),
            json!({"attempt": [1], "sdp": ""}),
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
