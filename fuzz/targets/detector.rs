//! `detector` under libFuzzer: see `warp_fuzz::detector`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::detector::run(data));
