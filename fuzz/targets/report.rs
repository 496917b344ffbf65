//! `report` under libFuzzer: see `warp_fuzz::report`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::report::run(data));
