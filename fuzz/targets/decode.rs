//! `decode` under libFuzzer: see `warp_fuzz::decode`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::decode::run(data));
