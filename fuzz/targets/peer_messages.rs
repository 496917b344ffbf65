//! `peer_messages` under libFuzzer: see `warp_fuzz::peer_messages`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::peer_messages::run(data));
