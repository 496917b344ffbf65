//! `config` under libFuzzer: see `warp_fuzz::config`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::config::run(data));
