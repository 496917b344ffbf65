//! Whatever arrives, the server lives, and ends the connection when the client does.

use proptest::prelude::*;

use crate::raw::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn garbage_ends_with_the_connection(
        chunks in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 1..200),
                Just(TIME.to_vec()), Just(LOADED.to_vec()), Just(login("test1", "test1")),
                Just(chat("Practice 1 : @go 1")), Just(walk(166, 188)), Just(vec![0xb2, 0, 1]),
                any::<u8>().prop_map(|b| vec![b, 0x09]), any::<u8>().prop_map(|b| vec![b, 0]),
            ],
            0..8,
        ),
        door in 0usize..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = server().await;
            let mut raw = match door {
                0 => Raw::to(server.login_addr()).await,
                1 => Raw::to(server.char_addr()).await,
                2 => Raw::to(server.map_addr()).await,
                _ => on_map(&server, 1).await.0,
            };
            raw.send_and_drain(&chunks.concat()).await;
            // The server still serves.
            on_map(&server, 2).await;
            server.shutdown().await;
        });
    }
}
