//! What each side of a link tells of the carriers.

use warp_protocol::report::{MAX_REPORT, decode, encode};

/// A report that was read prints the bytes that it was read from, and nothing impossible is in it.
pub fn run(data: &[u8]) {
    let Some(report) = decode(data) else {
        return;
    };
    assert!(data.len() <= MAX_REPORT);
    for entry in &report.entries {
        assert!(entry.heard.recent_lost <= entry.heard.recent);
        assert!(entry.heard.total_lost <= entry.heard.total);
    }
    assert_eq!(encode(&report), data);
}
