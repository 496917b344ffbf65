//! What comes from the other side through signaling, checked before the library sees it.
//!
//! Candidates make us send: every pair of an own address and one of theirs is checked for three
//! seconds. So that a peer cannot aim that at somebody else with much effect, few are taken, and none
//! that many hosts answer to.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use warp_reach_core::nat;
use webrtc::peer_connection::{RTCIceCandidate, RTCIceCandidateInit, RTCSessionDescription};

use super::error::PeerError;

/// Longest session description that is read, bytes. Ours are below 2 KiB.
const MAX_SDP: usize = 16 * 1024;

/// Longest candidate that is read, bytes (RFC 8839 allows hosts by name; an address needs far less).
const MAX_CANDIDATE: usize = 512;

/// How many candidates of the other side are tried, those in its description included.
pub const MAX_REMOTE_CANDIDATES: usize = 16;

/// Which kind of description it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Answer,
}

/// Reads a description; yields it with the candidates that are to be tried, and their addresses.
///
/// It must describe exactly one media section, a data channel: nothing else is ever offered here.
/// Candidates beyond [`MAX_REMOTE_CANDIDATES`] are left out, as those that are not to be tried.
pub(super) fn description(
    kind: Kind,
    sdp: &str,
    loopback: bool,
) -> Result<(RTCSessionDescription, HashSet<SocketAddr>), PeerError> {
    let bad = |cause: &str| PeerError::BadDescription {
        cause: cause.to_owned(),
    };
    if sdp.len() > MAX_SDP {
        return Err(bad("it is too long"));
    }
    // The library passes over white space around a line and its value.
    let mut sections = sdp.lines().map(str::trim).filter(|l| l.starts_with("m="));
    let (Some(section), None) = (sections.next(), sections.next()) else {
        return Err(bad("it must describe one data channel and nothing else"));
    };
    if !section.starts_with("m=application ") {
        return Err(bad("it must describe a data channel"));
    }
    let mut addresses = HashSet::new();
    let mut kept = String::with_capacity(sdp.len());
    for line in sdp.split_inclusive('\n') {
        let attribute = line.trim().strip_prefix("a=").map(str::trim);
        let keep = match attribute.filter(|text| text.starts_with(CANDIDATE)) {
            None => true,
            Some(candidate) => match target(candidate, loopback) {
                Ok(Some(address)) if addresses.len() < MAX_REMOTE_CANDIDATES => {
                    addresses.insert(address)
                }
                refused => {
                    tracing::debug!(?refused, "a candidate in a description is passed over");
                    false
                }
            },
        };
        if keep {
            kept.push_str(line);
        }
    }
    let description = match kind {
        Kind::Offer => RTCSessionDescription::offer(kept),
        Kind::Answer => RTCSessionDescription::answer(kept),
    };
    match description {
        Ok(description) => Ok((description, addresses)),
        Err(error) => Err(bad(&error.to_string())),
    }
}

/// Reads `{candidate, sdpMid, sdpMLineIndex}`.
///
/// `None` for what needs no action: the empty candidate, which says that there are no more, and what
/// [`target`] passes over.
pub(super) fn remote_candidate(
    value: &Value,
    loopback: bool,
) -> Result<Option<(SocketAddr, RTCIceCandidateInit)>, PeerError> {
    let bad = |cause: &str| PeerError::BadCandidate {
        cause: cause.to_owned(),
    };
    let text = value
        .get("candidate")
        .and_then(Value::as_str)
        .ok_or_else(|| bad("there is no text under \"candidate\""))?;
    if text.is_empty() {
        return Ok(None);
    }
    let Some(address) = target(text, loopback).map_err(bad)? else {
        return Ok(None);
    };
    let candidate = RTCIceCandidateInit {
        candidate: text.to_owned(),
        sdp_mid: Some("0".to_owned()),
        sdp_mline_index: Some(0),
        username_fragment: None,
        url: None,
    };
    Ok(Some((address, candidate)))
}

/// What a candidate begins with.
const CANDIDATE: &str = "candidate:";

/// Where a candidate has us send, read as the library reads it.
///
/// `None`: nowhere. Candidates over TCP are not used here (and must not make us connect anywhere),
/// and names are not looked up.
///
/// # Errors
/// What is wrong with it: it is no candidate, or no address of one host that both sides mean the
/// same by. Link-local ones are not either, and we offer none; loopback is only with `loopback`.
fn target(candidate: &str, loopback: bool) -> Result<Option<SocketAddr>, &'static str> {
    if candidate.len() > MAX_CANDIDATE {
        return Err("it is too long");
    }
    // foundation, component, transport, priority, address, port (RFC 8839, section 5.1)
    let mut fields = candidate
        .strip_prefix(CANDIDATE)
        .unwrap_or(candidate)
        .split_whitespace()
        .skip(2);
    let transport = fields.next().ok_or("it names no transport")?;
    if transport.eq_ignore_ascii_case("tcp") {
        return Ok(None);
    }
    let (Some(address), Some(port)) = (fields.nth(1), fields.next()) else {
        return Err("it names no address and port");
    };
    let port: u16 = port.parse().map_err(|_| "its port is no number")?;
    let Ok(address) = address.parse::<IpAddr>() else {
        return Ok(None);
    };
    if port == 0 || !nat::is_host(address) || (address.is_loopback() && !loopback) {
        return Err("its address is not that of a peer");
    }
    Ok(Some(SocketAddr::new(address, port)))
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

    fn host(address: &str, port: u16) -> String {
        format!("candidate:1 1 udp 2130706431 {address} {port} typ host")
    }

    fn described(candidates: &[String]) -> String {
        let mut sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nt=0 0\r\n\
                       m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
            .to_owned();
        for candidate in candidates {
            sdp.push_str(&format!("a={candidate}\r\n"));
        }
        sdp.push_str("a=end-of-candidates\r\n");
        sdp
    }

    #[test]
    fn candidates_that_need_no_action_are_told_from_bad_ones() {
        let read = |text: &str| remote_candidate(&json!({"candidate": text}), false);
        for good in [
            "192.0.2.1",
            "10.0.0.1",
            "100.64.0.1",
            "2001:db8::1",
            "fd00::1",
        ] {
            let (address, _) = read(&host(good, 5000)).unwrap().unwrap();
            assert_eq!(address, SocketAddr::new(good.parse().unwrap(), 5000));
        }
        let tcp = "candidate:1 1 TCP 1 192.0.2.1 22 typ host tcptype passive";
        for nothing in ["", tcp, &host("a8e0-4f.local", 5000)] {
            assert_eq!(read(nothing).unwrap(), None, "{nothing}");
        }
        for bad in [
            json!(null),
            json!("candidate"),
            json!({"candidate": 7}),
            json!({"candidate": "x"}),
            json!({"candidate": "candidate:1 1 udp 1 192.0.2.1"}),
            json!({"candidate": "candidate:1 1 udp 1 192.0.2.1 65536 typ host"}),
            json!({"candidate": "a ".repeat(400)}),
        ] {
            assert_eq!(
                remote_candidate(&bad, false).unwrap_err().code(),
                "p2p-bad-candidate"
            );
        }
    }

    #[test]
    fn nothing_is_sent_to_addresses_that_no_peer_has() {
        for nobody in [
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.251",
            "239.255.255.250",
            "ff02::fb",
            "255.255.255.255",
            "169.254.1.1",
            "fe80::1",
            "::ffff:192.0.2.1",
            "127.0.0.1",
            "::1",
        ] {
            let candidate = host(nobody, 5000);
            let value = json!({"candidate": candidate});
            let error = remote_candidate(&value, false).unwrap_err();
            assert_eq!(error.code(), "p2p-bad-candidate", "{nobody}");
            // In a description too, however it is written there, and the good one stays.
            let good = host("192.0.2.1", 5000);
            for hidden in [
                candidate.clone(),
                format!(" {candidate}"),
                candidate.replacen("candidate:", "candidate: ", 1),
                candidate.replacen(' ', "\u{2003}", 1),
                format!("b\r\n\ra={candidate}"),
            ] {
                let sdp = described(&[hidden, good.clone()]);
                let (description, addresses) = description(Kind::Offer, &sdp, false).unwrap();
                assert_eq!(
                    addresses,
                    HashSet::from(["192.0.2.1:5000".parse().unwrap()])
                );
                assert!(!description.sdp.contains(&format!("{nobody} ")), "{sdp}");
                assert!(description.sdp.contains(&good));
                assert!(description.sdp.ends_with("a=end-of-candidates\r\n"));
            }
        }
        let value = json!({"candidate": host("127.0.0.1", 5000)});
        assert!(remote_candidate(&value, true).unwrap().is_some());
        assert!(remote_candidate(&json!({"candidate": host("192.0.2.1", 0)}), true).is_err());
    }

    #[test]
    fn only_one_data_channel_may_be_described() {
        for sdp in [
            "",
            "garbage",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nm=application 9 X y\r\n",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\rm=audio 9 X y\r\n",
            &"x".repeat(MAX_SDP + 1),
        ] {
            let error = description(Kind::Offer, sdp, false).unwrap_err();
            assert_eq!(error.code(), "p2p-bad-description");
        }
    }

    #[test]
    fn of_many_candidates_in_a_description_the_first_are_taken() {
        let many: Vec<String> = (1..=40).map(|port| host("192.0.2.1", port)).collect();
        // The same twice counts once.
        let many: Vec<String> = many
            .iter()
            .flat_map(|one| [one.clone(), one.clone()])
            .collect();
        let (description, addresses) = description(Kind::Answer, &described(&many), false).unwrap();
        assert_eq!(addresses.len(), MAX_REMOTE_CANDIDATES);
        let left = description.sdp.matches("a=candidate:").count();
        assert_eq!(left, MAX_REMOTE_CANDIDATES);
        assert!(addresses.iter().all(|address| address.port() <= 16));
    }
}
