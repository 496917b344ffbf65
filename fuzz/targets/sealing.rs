//! `sealing` under libFuzzer: see `warp_fuzz::sealing`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::sealing::run(data));
