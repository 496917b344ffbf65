//! Tests of the layouts.

use proptest::prelude::*;

use super::*;

fn certificate() -> Certificate {
    Certificate {
        serial: Serial([7; 16]),
        account: 5,
        name: "Alice.B-c_9".into(),
        key: PublicKey([3; 32]),
        role: CertificateRole::Host,
        may_host: true,
        issued: 1_000,
        expires: 4_600,
        issuer: KeyId([9; 8]),
    }
}

fn signed(certificate: &Certificate) -> Vec<u8> {
    [certificate.body().unwrap(), vec![1; SIGNATURE]].concat()
}

#[test]
fn a_certificate_reads_back_and_its_fields_lie_where_the_layout_says() {
    let bytes = signed(&certificate());
    assert_eq!(bytes.len(), 84 + 11 + 64);
    let read = Certificate::read(&bytes).unwrap();
    assert_eq!(read.says, certificate());
    assert_eq!(read.body, certificate().body().unwrap());
    assert_eq!(read.signature, [1; 64]);
    assert_eq!(bytes[..3], [1, 2, 1]);
    assert_eq!(bytes[3..11], 5_u64.to_be_bytes());
    assert_eq!(bytes[11..27], [7; 16]);
    assert_eq!(bytes[27..59], [3; 32]);
    assert_eq!(bytes[67..75], 4_600_u64.to_be_bytes());
    assert_eq!(bytes[83], 11);
}

#[test]
fn what_is_not_the_one_encoding_of_a_certificate_is_refused() {
    let good = signed(&certificate());
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    for (what, bytes) in [
        ("another version", with(0, 2)),
        ("an unknown role", with(1, 6)),
        ("an endpoint with an account", with(1, 5)),
        ("an unknown right", with(2, 2)),
        ("a length of the name that is too small", with(83, 10)),
        ("a length of the name that is too large", with(83, 12)),
        ("a name with a space", with(84, b' ')),
        ("a name that is no text", with(84, 0xff)),
        ("an end before the beginning", with(67, 0xff)),
        ("nothing", Vec::new()),
        ("a byte less", good[..good.len() - 1].to_vec()),
        ("a byte more", [&good[..], &[0]].concat()),
        ("too much", vec![1; MAX_CERTIFICATE + 1]),
    ] {
        assert_eq!(Certificate::read(&bytes), Err(BadCertificate), "{what}");
    }
    for bad in [
        Certificate {
            name: String::new(),
            ..certificate()
        },
        Certificate {
            name: "x".repeat(33),
            ..certificate()
        },
        Certificate {
            account: 0,
            ..certificate()
        },
        Certificate {
            expires: 1_000,
            ..certificate()
        },
        Certificate {
            expires: 1_001 + MAX_VALIDITY,
            ..certificate()
        },
    ] {
        assert_eq!(bad.body(), Err(BadCertificate), "{bad:?}");
    }
}

#[test]
fn keys_are_der_in_hex_and_nothing_else() {
    let text = format!("302a300506032b6570032100{}", "ab".repeat(32));
    let key = PublicKey::from_hex(&text).unwrap();
    assert_eq!(key.to_string(), text);
    assert_eq!(PublicKey::from_spki(&key.spki()), Some(key));
    assert_eq!(key.id(), KeyId([0xab; 8]));
    let json = serde_json::to_string(&key).unwrap();
    assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), key);
    for bad in [
        String::new(),
        text[2..].to_owned(),
        format!("{text}00"),
        text.replace("ab", "zz"),
        text.replace("65", "66"),
    ] {
        assert_eq!(PublicKey::from_hex(&bad), None, "{bad}");
        assert!(serde_json::from_value::<PublicKey>(bad.into()).is_err());
    }
}

#[test]
fn every_signed_message_has_a_context_of_its_own() {
    let key = PublicKey([1; 32]);
    let words = DescriptionWords {
        kind: DescriptionKind::Offer,
        session_id: "session-1",
        nonce: 1,
        sdp: [2; 32],
        offer: [0; 32],
    };
    let messages = [
        certificate_message(&[1]),
        identity_message(&key, &[0; 16], 1),
        device_message(&key, "alice", &key, 1),
        words.message(),
    ];
    let contexts: std::collections::BTreeSet<&[u8]> = messages
        .iter()
        .map(|message| message.split(|byte| *byte == 0).next().unwrap())
        .collect();
    assert_eq!(contexts.len(), messages.len());
    // Everything that is said counts.
    let others = [
        DescriptionWords {
            kind: DescriptionKind::Answer,
            ..words
        },
        DescriptionWords {
            session_id: "session-2",
            ..words
        },
        DescriptionWords { nonce: 2, ..words },
        DescriptionWords {
            sdp: [3; 32],
            ..words
        },
        DescriptionWords {
            offer: [1; 32],
            ..words
        },
    ];
    for other in others {
        assert_ne!(other.message(), words.message(), "{other:?}");
    }
}

#[test]
fn reasons_are_counted_each_for_itself_and_named_as_they_are_written() {
    let refusals = Refusals::default();
    assert!(refusals.view().is_empty());
    for (place, reason) in RefusedReason::ALL.into_iter().enumerate() {
        for count in 1..=place as u64 + 1 {
            assert_eq!(refusals.count(reason), count);
        }
        let written = serde_json::to_value(reason).unwrap();
        assert_eq!(written, reason.name());
    }
    let expected: Vec<_> = RefusedReason::ALL.into_iter().zip(1..).collect();
    assert_eq!(refusals.view(), expected);
}

proptest! {
    #[test]
    fn whatever_reads_as_a_certificate_is_its_own_encoding(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        plausible in any::<bool>(),
    ) {
        if plausible {
            let good = signed(&certificate());
            for (place, byte) in good.iter().enumerate().take(bytes.len()) {
                // Most bytes as they should be, so that the reader gets far.
                if place % 7 != 0 {
                    bytes[place] = *byte;
                }
            }
        }
        if let Ok(read) = Certificate::read(&bytes) {
            let again = [read.says.body().unwrap(), read.signature.to_vec()].concat();
            prop_assert_eq!(again, bytes);
        }
    }
}
