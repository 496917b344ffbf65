//! `addresses` under libFuzzer: see `warp_fuzz::addresses`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::addresses::run(data));
