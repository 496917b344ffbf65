//! `recording` under libFuzzer: see `warp_fuzz::recording`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::recording::run(data));
