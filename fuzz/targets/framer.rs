//! `framer` under libFuzzer: see `warp_fuzz::framer`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::framer::run(data));
