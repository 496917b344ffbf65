//! `certificate` under libFuzzer: see `warp_fuzz::certificate`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::certificate::run(data));
