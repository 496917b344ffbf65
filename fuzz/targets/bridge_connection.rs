//! `bridge_connection` under libFuzzer: see `warp_fuzz::bridge_connection`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warp_fuzz::bridge_connection::run(data));
