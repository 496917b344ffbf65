//! `carrier` under libFuzzer: see `warp_fuzz::carrier`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::carrier::run(data));
