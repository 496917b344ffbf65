//! Set-ups over a way that loses datagrams from the first one on.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test program, which prints its figures"
)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Relay, address_of, config, without_candidates};
use warp_link::peer::{Answerer, Offerer};

/// So many of a thousand datagrams are lost, each way.
const LOSS: u64 = 50;
const SET_UPS: u64 = 200;
/// At once.
const BESIDE: usize = 10;

/// Sets a connection up; gives how many datagrams were lost meanwhile.
async fn set_up(seed: u64) -> u64 {
    let mut config = config();
    // A set-up that stands is to fail here, and not to be given up in time and made anew.
    config.connect_timeout = Duration::from_secs(60);
    config.given_up_after = Duration::from_secs(60);
    let (offerer, mut near_candidates) = Offerer::new(config.clone()).await.unwrap();
    let offer = without_candidates(&offerer.create_offer().await.unwrap());
    let (answerer, answer, mut far_candidates) = Answerer::accept(config, &offer).await.unwrap();
    let answer = without_candidates(&answer);
    offerer.accept_answer(&answer).await.unwrap();
    let near = near_candidates.next().await.unwrap();
    let far = far_candidates.next().await.unwrap();
    // Neighbouring seeds of the relay's generator lose alike.
    let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let relay = Relay::seeded(address_of(&near), address_of(&far), seed).await;
    relay.loss.store(LOSS, Ordering::Relaxed);
    let (for_far, for_near) = relay.candidates(&near, &far);
    answerer.add_remote_candidate(&for_far).await.unwrap();
    offerer.add_remote_candidate(&for_near).await.unwrap();
    let (near, far) = tokio::join!(offerer.opened(), answerer.opened());
    let failed = [near.err(), far.err()];
    let lost = [&relay.from_near, &relay.from_far].map(|way| way.lost.load(Ordering::Relaxed));
    let opened = failed.iter().all(Option::is_none);
    assert!(opened, "seed {seed}, {lost:?} lost: {failed:?}");
    tokio::join!(offerer.close(), answerer.close());
    lost.iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_datagram_holds_no_set_up() {
    let mut running = tokio::task::JoinSet::new();
    let mut lost = 0;
    for seed in 0..SET_UPS {
        if running.len() == BESIDE {
            lost += running.join_next().await.unwrap().unwrap();
        }
        running.spawn(set_up(seed));
    }
    lost += running.join_all().await.iter().sum::<u64>();
    println!("{SET_UPS} set-ups, {lost} datagrams lost");
    assert!(lost > SET_UPS);
}
