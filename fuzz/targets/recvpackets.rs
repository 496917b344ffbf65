//! `recvpackets` under libFuzzer: see `warp_fuzz::recvpackets`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::recvpackets::run(data));
