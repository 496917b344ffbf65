//! `scout` under libFuzzer: see `warp_fuzz::scout`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::scout::run(data));
