//! Certificates of devices and endpoints.

use warp_protocol::identity::{Certificate, MAX_CERTIFICATE, MAX_VALIDITY, certificate_message};

/// What was read is the one encoding of what it says.
pub fn run(data: &[u8]) {
    let Ok(read) = Certificate::read(data) else {
        return;
    };
    assert!(data.len() <= MAX_CERTIFICATE);
    let says = &read.says;
    assert!((1..=MAX_VALIDITY).contains(&(says.expires - says.issued)));
    let body = says.body().expect("what was read may be written");
    assert_eq!(body, read.body);
    assert_eq!([&body[..], &read.signature].concat(), data);
    assert!(certificate_message(&body).ends_with(&body));
}
