//! What comes from the other side through signaling, checked before the library sees it.

use std::collections::HashSet;

use serde_json::{Value, json};
use webrtc::peer_connection::{RTCIceCandidate, RTCIceCandidateInit, RTCSessionDescription};

use super::error::PeerError;

/// Longest session description that is read, bytes. Ours are below 1 KiB.
const MAX_SDP: usize = 16 * 1024;

/// Longest candidate that is read, bytes (RFC 8839 allows hosts by name; an address needs far less).
const MAX_CANDIDATE: usize = 512;

/// How many candidates of the other side are tried, those in its description included.
pub const MAX_REMOTE_CANDIDATES: usize = 64;

/// Which kind of description it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Answer,
}

/// Reads a description and the addresses of the candidates in it.
///
/// It must describe exactly one media section, a data channel: nothing else is ever offered here.
pub(super) fn description(
    kind: Kind,
    sdp: &str,
) -> Result<(RTCSessionDescription, HashSet<String>), PeerError> {
    let bad = |cause: &str| PeerError::BadDescription {
        cause: cause.to_owned(),
    };
    if sdp.len() > MAX_SDP {
        return Err(bad("it is too long"));
    }
    let sections: Vec<&str> = sdp.lines().filter(|line| line.starts_with("m=")).collect();
    if !matches!(sections.as_slice(), [one] if one.starts_with("m=application ")) {
        return Err(bad("it must describe one data channel and nothing else"));
    }
    let mut addresses = HashSet::new();
    let mut candidates = 0_usize;
    for line in sdp.lines() {
        let Some(candidate) = line.strip_prefix("a=") else {
            continue;
        };
        if candidate.starts_with("candidate:") {
            candidates += 1;
            addresses.extend(transport_address(candidate));
        }
    }
    if candidates > MAX_REMOTE_CANDIDATES {
        return Err(PeerError::TooManyCandidates {
            limit: MAX_REMOTE_CANDIDATES,
        });
    }
    let description = match kind {
        Kind::Offer => RTCSessionDescription::offer(sdp.to_owned()),
        Kind::Answer => RTCSessionDescription::answer(sdp.to_owned()),
    };
    match description {
        Ok(description) => Ok((description, addresses)),
        Err(error) => Err(bad(&error.to_string())),
    }
}

/// Reads `{candidate, sdpMid, sdpMLineIndex}`.
///
/// `None` for what needs no action: the empty candidate, which says that there are no more, and
/// candidates over TCP, which are not used here (and must not make us connect anywhere).
pub(super) fn remote_candidate(
    value: &Value,
) -> Result<Option<(String, RTCIceCandidateInit)>, PeerError> {
    let bad = |cause: &str| PeerError::BadCandidate {
        cause: cause.to_owned(),
    };
    let text = value
        .get("candidate")
        .and_then(Value::as_str)
        .ok_or_else(|| bad("there is no text under \"candidate\""))?;
    if text.len() > MAX_CANDIDATE {
        return Err(bad("it is too long"));
    }
    if text.is_empty() {
        return Ok(None);
    }
    // foundation, component, transport, priority, address, port (RFC 8839, section 5.1)
    let transport = text
        .split_ascii_whitespace()
        .nth(2)
        .ok_or_else(|| bad("it names no transport"))?;
    if transport.eq_ignore_ascii_case("tcp") {
        return Ok(None);
    }
    let address = transport_address(text).ok_or_else(|| bad("it names no address and port"))?;
    let candidate = RTCIceCandidateInit {
        candidate: text.to_owned(),
        sdp_mid: Some("0".to_owned()),
        sdp_mline_index: Some(0),
        username_fragment: None,
        url: None,
    };
    Ok(Some((address, candidate)))
}

/// What makes a candidate a different one: address and port, the fifth and the sixth field.
fn transport_address(candidate: &str) -> Option<String> {
    let mut fields = candidate.split_ascii_whitespace().skip(4);
    let (address, port) = (fields.next()?, fields.next()?);
    Some(format!("{address} {port}"))
}

/// A local candidate as signaling carries it; `None` for one that no peer could use.
pub(super) fn local_candidate(candidate: &RTCIceCandidate) -> Option<Value> {
    let unspecified = candidate
        .address
        .parse::<std::net::IpAddr>()
        .is_ok_and(|ip| ip.is_unspecified());
    if unspecified {
        return None;
    }
    match candidate.to_json() {
        Ok(init) => Some(json!({
            "candidate": init.candidate,
            "sdpMid": "0",
            "sdpMLineIndex": 0,
        })),
        Err(error) => {
            tracing::warn!(%error, "a local candidate cannot be written");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_that_need_no_action_are_told_from_bad_ones() {
        let udp = json!({"candidate": "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"});
        assert!(remote_candidate(&udp).unwrap().is_some());
        let tcp = json!({"candidate": "candidate:1 1 TCP 1 192.0.2.1 22 typ host tcptype passive"});
        assert_eq!(remote_candidate(&tcp).unwrap(), None);
        assert_eq!(remote_candidate(&json!({"candidate": ""})).unwrap(), None);
        for bad in [
            json!(null),
            json!("candidate"),
            json!({"candidate": 7}),
            json!({"candidate": "x"}),
            json!({"candidate": "candidate:1 1 udp 1 192.0.2.1"}),
            json!({"candidate": "a ".repeat(400)}),
        ] {
            assert_eq!(
                remote_candidate(&bad).unwrap_err().code(),
                "p2p-bad-candidate"
            );
        }
    }

    #[test]
    fn only_one_data_channel_may_be_described() {
        for sdp in [
            "",
            "garbage",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nm=application 9 X y\r\n",
            &"x".repeat(MAX_SDP + 1),
        ] {
            let error = description(Kind::Offer, sdp).unwrap_err();
            assert_eq!(error.code(), "p2p-bad-description");
        }
        let mut sdp = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n".to_owned();
        sdp.push_str(&"a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n".repeat(65));
        let error = description(Kind::Answer, &sdp).unwrap_err();
        assert_eq!(error.code(), "p2p-too-many-candidates");
    }
}
