//! `signal` under libFuzzer: see `warp_fuzz::signal`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::signal::run(data));
