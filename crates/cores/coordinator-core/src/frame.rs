//! Signaling frames from outside: every text that comes becomes a message, or the `error` signal
//! that answers it. Nothing that a peer sends ends its socket here.

use serde_json::Value;
use warp_protocol::{
    ProblemCode,
    signal::{ClientSignal, MAX_SIGNAL, ServerSignal},
};

/// Longest piece of a peer's own text that an error repeats, characters.
const MAX_ECHO: usize = 64;

const TYPES: [&str; 7] = [
    "join",
    "leave",
    "offer",
    "answer",
    "ice-candidate",
    "host-report",
    "member-report",
];

/// Reads one text frame.
///
/// # Errors
/// The `error` signal to answer with, code `bad-request`.
pub fn parse_frame(frame: &[u8]) -> Result<ClientSignal, ServerSignal> {
    if frame.len() > MAX_SIGNAL {
        return Err(bad_request(format!(
            "a signaling message has at most {MAX_SIGNAL} bytes, this one has {}",
            frame.len()
        )));
    }
    let value: Value = serde_json::from_slice(frame)
        .map_err(|e| bad_request(format!("not valid JSON: {}", clip(&e.to_string()))))?;
    let Value::Object(object) = &value else {
        return Err(bad_request("a signaling message is a JSON object"));
    };
    let Some(kind) = object.get("type").and_then(Value::as_str) else {
        return Err(bad_request(
            "a signaling message has a field `type` with text in it",
        ));
    };
    if !TYPES.contains(&kind) {
        return Err(bad_request(format!(
            "unknown message type `{}`; known are {}",
            clip(kind),
            TYPES.join(", ")
        )));
    }
    let kind = kind.to_owned();
    let signal: ClientSignal = serde_json::from_value(value)
        .map_err(|e| bad_request(format!("{kind}: {}", clip(&e.to_string()))))?;
    match &signal {
        ClientSignal::Offer { sdp, .. } | ClientSignal::Answer { sdp, .. } if is_empty(sdp) => {
            Err(bad_request(format!("{kind}: `sdp` is empty")))
        }
        _ => Ok(signal),
    }
}

/// An `error` signal with code `bad-request`.
pub fn bad_request(message: impl Into<String>) -> ServerSignal {
    error(ProblemCode::BadRequest, message)
}

/// An `error` signal.
pub fn error(code: ProblemCode, message: impl Into<String>) -> ServerSignal {
    ServerSignal::Error {
        code,
        message: message.into(),
        to: None,
    }
}

/// The first characters of a peer's text, so that an error cannot be made as large as a frame.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(MAX_ECHO).collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn message_of(frame: &str) -> String {
        match parse_frame(frame.as_bytes()) {
            Err(ServerSignal::Error {
                code: ProblemCode::BadRequest,
                message,
                ..
            }) => message,
            other => panic!("{frame} gave {other:?}"),
        }
    }

    #[test]
    fn malformed_frames_say_what_is_wrong() {
        for (frame, part) in [
            ("", "not valid JSON"),
            ("{", "not valid JSON"),
            ("[]", "JSON object"),
            ("7", "JSON object"),
            ("{}", "`type`"),
            (r#"{"type":7}"#, "`type`"),
            (r#"{"type":"dance"}"#, "unknown message type `dance`"),
            (r#"{"type":"join"}"#, "session_id"),
            (r#"{"type":"join","session_id":{}}"#, "join"),
            (r#"{"type":"offer","to":"b"}"#, "sdp"),
            (r#"{"type":"offer","to":"b","sdp":""}"#, "`sdp` is empty"),
            (r#"{"type":"answer","to":"b","sdp":{}}"#, "`sdp` is empty"),
            (r#"{"type":"answer","to":"b","sdp":null}"#, "`sdp` is empty"),
            (r#"{"type":"offer","sdp":"x"}"#, "to"),
            (r#"{"type":"ice-candidate","to":"b"}"#, "candidate"),
        ] {
            let message = message_of(frame);
            assert!(message.contains(part), "{frame}: {message}");
        }
        let nested = "[".repeat(50_000);
        assert!(message_of(&nested).contains("not valid JSON"));
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(60_000));
        assert!(message_of(&long).len() < 300);
        let too_long = " ".repeat(MAX_SIGNAL + 1);
        assert!(message_of(&too_long).contains("at most"));
    }

    #[test]
    fn descriptions_and_candidates_pass_unchanged() {
        let sdp = json!({"type": "offer", "sdp": "v=0\r\n", "signature": [1, 2]});
        let text = json!({"type": "offer", "to": "b", "sdp": sdp, "extra": 1}).to_string();
        assert_eq!(
            parse_frame(text.as_bytes()).unwrap(),
            ClientSignal::Offer {
                to: "b".into(),
                sdp
            }
        );
        // The empty candidate is the end of candidates.
        assert!(parse_frame(br#"{"type":"ice-candidate","to":"b","candidate":""}"#).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(frame in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Err(signal) = parse_frame(&frame) {
                let is_error = matches!(signal, ServerSignal::Error { .. });
                prop_assert!(is_error);
            }
        }
    }
}
