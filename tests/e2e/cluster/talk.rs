//! Two players who talk through the cluster while others play, and what a fault costs them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use warp_tests::digests::compare_all;
use warp_tests::house::{NodePlan, good_end, on_map};
use warp_tests::process::{PATIENCE, Process};

use crate::nodes::Cluster;
use crate::pair::{Player, register, signs_in};

/// Two players who talk, and accounts that are made meanwhile.
pub(crate) struct Pair {
    pub(crate) players: [Arc<Player>; 2],
    numbers: [Arc<AtomicU32>; 2],
    registering: JoinHandle<(Vec<String>, u32)>,
    stop: CancellationToken,
}

/// What was counted of a player.
#[derive(Clone, Copy)]
pub(crate) struct Counted {
    sent: u32,
    refused: u32,
    sockets: u32,
}

/// What a fault has cost.
pub(crate) struct Cost {
    /// Messages that did not arrive.
    pub(crate) lost: usize,
    /// Sockets that had to be opened anew.
    pub(crate) sockets: u32,
}

impl Pair {
    pub(crate) fn start(runtime: &Runtime, cluster: &Cluster) -> Self {
        let join = |first, user: &'static str| {
            let joined = Player::join(&cluster.addresses, first, user);
            Arc::new(runtime.block_on(joined))
        };
        cluster.house.add_user("bob");
        // Neither is at the owner at first.
        let players = [join(1, "alice"), join(2, "bob")];
        let numbers: [Arc<AtomicU32>; 2] = Default::default();
        let stop = CancellationToken::new();
        let room = players[0].session_id.clone();
        for (own, other) in [(0, 1), (1, 0)] {
            let player = Arc::clone(&players[own]);
            let other = players[other].peer_id.clone();
            let numbers = Arc::clone(&numbers[own]);
            runtime.spawn(player.talk(other, room.clone(), numbers, stop.clone()));
        }
        let registering = register(cluster.addresses.to_vec(), stop.clone());
        Self {
            players,
            numbers,
            registering: runtime.spawn(registering),
            stop,
        }
    }

    /// Waits until so many further messages of each player have arrived and were acknowledged.
    pub(crate) fn goes_on(&self, count: usize) {
        let arrived = || self.players.each_ref().map(|p| p.seen().acknowledged.len());
        let before = arrived();
        let end = Instant::now() + PATIENCE;
        while arrived()
            .iter()
            .zip(before)
            .any(|(now, before)| *now < before + count)
        {
            assert!(
                Instant::now() < end,
                "{:?}",
                self.players.each_ref().map(|p| format!("{:?}", p.seen()))
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// From here on something is to fail.
    pub(crate) fn begin(&self) -> [Counted; 2] {
        self.players.each_ref().map(|player| {
            let mut seen = player.seen();
            seen.gap = Duration::ZERO;
            Counted {
                sent: seen.sent,
                refused: seen.refused,
                sockets: seen.sockets,
            }
        })
    }

    /// Prints and gives what a fault has cost since `from`.
    pub(crate) fn cost(&self, what: &str, from: [Counted; 2]) -> Cost {
        let mut worst = Duration::ZERO;
        let (mut lost, mut refused, mut sent, mut sockets) = (0, 0, 0, 0);
        for (own, other) in [(0, 1), (1, 0)] {
            let before = from[own];
            let seen = self.players[own].seen();
            let theirs: BTreeSet<u32> = self.players[other]
                .seen()
                .received
                .iter()
                .copied()
                .collect();
            // The last ones are on their way.
            let until = seen.sent.saturating_sub(20);
            lost += (before.sent..until)
                .filter(|number| !theirs.contains(number))
                .count();
            sent += until.saturating_sub(before.sent);
            refused += seen.refused - before.refused;
            sockets += seen.sockets - before.sockets;
            worst = worst.max(seen.gap);
        }
        println!(
            "{what}: no message passed for {} ms at most; of {sent} sent {lost} did not arrive, {refused} \
             refusals, {sockets} new sockets",
            worst.as_millis()
        );
        Cost { lost, sockets }
    }

    /// Nobody talks any more. What was acknowledged has arrived, once, in its order; and accounts whose
    /// making was acknowledged sign in at every node.
    pub(crate) fn end(self, runtime: &Runtime, cluster: &Cluster) {
        self.stop.cancel();
        for (own, other) in [(0, 1), (1, 0)] {
            let received = self.players[other].seen().received.clone();
            assert!(received.windows(2).all(|two| two[0] < two[1]), "order");
            let received: BTreeSet<u32> = received.into_iter().collect();
            let acknowledged = self.players[own].seen().acknowledged.clone();
            assert!(acknowledged.is_subset(&received));
            assert!(
                received
                    .iter()
                    .all(|n| *n < self.numbers[own].load(Ordering::SeqCst))
            );
        }
        let (made, refused) = runtime.block_on(self.registering).unwrap();
        println!("{} accounts acknowledged, {refused} calls not", made.len());
        assert!(!made.is_empty());
        for (number, name) in made.iter().enumerate() {
            let node = cluster.addresses[number % cluster.addresses.len()];
            assert!(runtime.block_on(signs_in(node, name)), "{name}");
        }
    }
}

/// A launcher and its game, which plays until [`unharmed`].
pub(crate) fn plays(cluster: &Cluster) -> (Process, Process) {
    let (node, login) = cluster.house.playing(&NodePlan {
        coordinator: Some(cluster.addresses[1]),
        ..NodePlan::default()
    });
    let plays = [
        "--rate",
        "10",
        "--change-every",
        "0",
        "--answer-timeout",
        "100",
        "--seconds",
        "0",
    ];
    let client = cluster.house.client(login, "test1", &plays);
    on_map(&client);
    (node, client)
}

/// The game went on: nothing lost, no connection closed, nobody signed in again.
pub(crate) fn unharmed(cluster: &Cluster, node: &Process, client: &mut Process) {
    client.terminate();
    let summary = good_end(client, PATIENCE);
    assert_eq!(summary["reentries"], 0, "{summary}");
    assert_eq!(summary["connections"], 3, "{summary}");
    let house = &cluster.house;
    compare_all(
        &[client],
        &[node],
        &house.server,
        house.endpoint.as_ref().unwrap(),
    );
    println!(
        "the game's largest gap between answers: {} ms",
        summary["largest_gap_ms"]
    );
}
