//! Fifty launchers and five hosts under faults of every kind, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test tool fails by panicking, and prints its figures"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use warp_link_core::Identity;
use warp_tests::fleet::{Fault, Outcome, Plan, World};
use warp_tests::sim::identities;

/// Seeds of each quarter of the storm, five hundred in all; `WARP_SIM_SEEDS` sets another number, and
/// `WARP_SIM_FIRST` the first seed of all.
const SEEDS: u64 = 125;

fn from_environment(name: &str, usual: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|value| value.parse().ok()).unwrap_or(usual)
}

fn keys() -> Vec<(Identity, Identity)> {
    (0..4).map(|_| identities()).collect()
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

fn spread(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    println!(
        "{what}: p50 {:.0} ms, p99 {:.0} ms, worst {:.0} ms ({} samples)",
        percentile(&values, 0.5),
        percentile(&values, 0.99),
        values.last().copied().unwrap_or(0.0),
        values.len()
    );
}

#[test]
fn without_faults_everybody_plays_and_has_two_hosts() {
    let outcome = World::new(1, Plan::default(), &keys()).run(&[]);
    assert!(outcome.bytes > 50 * 2 * 20 * 30, "{} bytes", outcome.bytes);
    assert_eq!(outcome.refused_routes, 0);
    let worst = outcome.gaps_ms.iter().copied().fold(0.0, f64::max);
    // A packet every 200 to 300 ms, and the links' set-up at the start.
    assert!(worst < 1000.0, "{worst} ms");
}

#[test]
fn a_host_that_crashes_costs_its_members_a_hiccup() {
    let second = Duration::from_secs(1);
    let crash = [(3 * second, Fault::Crash(0, 4 * second))];
    let outcome = World::new(2, Plan::default(), &keys()).run(&crash);
    let worst = outcome.gaps_ms.iter().copied().fold(0.0, f64::max);
    assert!(worst < 1500.0, "{worst} ms");
}

#[test]
fn a_host_that_crashes_and_is_soon_back_in_its_old_room_has_a_lease_again() {
    let second = Duration::from_secs(1);
    let crash = [(3 * second, Fault::Crash(0, second))];
    let plan = Plan {
        end: 45 * second,
        ..Plan::default()
    };
    let outcome = World::new(2, plan, &keys()).run(&crash);
    let worst = outcome.gaps_ms.iter().copied().fold(0.0, f64::max);
    assert!(worst < 1500.0, "{worst} ms");
    // Its members found it silent, so it had no lease for half a minute.
    assert_eq!(outcome.available, plan.hosts);
}

/// Every packet takes 160 ms longer over it, and it says 10 ms.
#[test]
fn a_host_that_delays_and_says_that_it_does_not_is_contradicted() {
    let second = Duration::from_secs(1);
    let delay = [(3 * second, Fault::Delay(0, 60 * second))];
    let plan = Plan {
        troubled: 35 * second,
        end: 50 * second,
        ..Plan::default()
    };
    let outcome = World::new(4, plan, &keys()).run(&delay);
    assert!(outcome.contradictions > 0);
}

#[test]
fn a_host_that_alters_is_left_and_reported() {
    let second = Duration::from_secs(1);
    let alter = [(3 * second, Fault::Alter(1, 5 * second))];
    World::new(3, Plan::default(), &keys()).run(&alter);
}

/// Labels are not sealed, and what it makes up harms nobody: nor the hosts that carry its members later.
#[test]
fn a_host_that_relabels_has_no_host_given_up() {
    let second = Duration::from_secs(1);
    let relabel = [(3 * second, Fault::Relabel(0, 3 * second))];
    let plan = Plan {
        end: 20 * second,
        ..Plan::default()
    };
    let outcome = World::new(6, plan, &keys()).run(&relabel);
    assert_eq!(outcome.given_up, Duration::ZERO, "a host was given up");
    let worst = outcome.gaps_ms.iter().copied().fold(0.0, f64::max);
    assert!(worst < 1000.0, "{worst} ms");
    assert!(
        outcome.available + 1 >= plan.hosts,
        "{} hosts",
        outcome.available
    );
}

/// The engine hears the endpoint all the time, and is not heard itself.
#[test]
fn a_way_that_is_dead_in_one_direction_costs_less_than_a_silent_one() {
    let second = Duration::from_secs(1);
    let faults: Vec<(Duration, Fault)> = (0..50)
        .map(|player| (3 * second, Fault::OneWay(player, true, 3 * second)))
        .collect();
    let outcome = World::new(5, Plan::default(), &keys()).run(&faults);
    let worst = outcome.gaps_ms.iter().copied().fold(0.0, f64::max);
    // A packet every 200 to 300 ms, and what it takes until its answer is overdue.
    assert!(worst < 600.0, "{worst} ms");
}

/// A quarter of the storm, on one thread: quarters run side by side.
fn storm(quarter: u64) {
    let seeds = from_environment("WARP_SIM_SEEDS", SEEDS);
    let first = from_environment("WARP_SIM_FIRST", 0) + quarter * seeds;
    let plan = Plan::default();
    let keys = keys();
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut failed: Vec<(u64, String)> = Vec::new();
    let mut slowest = first;
    for seed in first..first + seeds {
        let faults = Fault::all(seed, &plan);
        let run = || World::new(seed, plan, &keys).run(&faults);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(outcome) => {
                if outcomes
                    .iter()
                    .all(|one| one.converged_ms < outcome.converged_ms)
                {
                    slowest = seed;
                }
                outcomes.push(outcome);
            }
            Err(why) => {
                let why = why.downcast_ref::<String>().cloned();
                let why = why.unwrap_or_else(|| "a panic without words".to_owned());
                failed.push((seed, format!("{why}\n{faults:#?}")));
            }
        }
    }
    println!(
        "seeds {first} to {}: {} bytes arrived in {} datagrams, {} moves, {} datagrams refused for \
         their route",
        first + seeds - 1,
        outcomes.iter().map(|one| one.bytes).sum::<u64>(),
        outcomes.iter().map(|one| one.datagrams).sum::<u64>(),
        outcomes.iter().map(|one| one.moves).sum::<u64>(),
        outcomes.iter().map(|one| one.refused_routes).sum::<u64>(),
    );
    println!(
        "{} times a meddling host's word was found wrong",
        outcomes.iter().map(|one| one.contradictions).sum::<u64>()
    );
    let gaps = outcomes.iter().flat_map(|one| one.gaps_ms.clone());
    spread("longest pause of each player's game", gaps.collect());
    let converged = outcomes.iter().map(|one| one.converged_ms);
    spread(
        &format!("from the end of the troubles until all is well, the slowest seed {slowest}"),
        converged.collect(),
    );
    assert!(
        failed.is_empty(),
        "{} seeds failed: {:?}; the first: {}",
        failed.len(),
        failed.iter().map(|(seed, _)| seed).collect::<Vec<_>>(),
        failed[0].1
    );
}

#[test]
fn storm_of_faults_loses_no_byte_and_everybody_comes_back_first() {
    storm(0);
}

#[test]
fn storm_of_faults_loses_no_byte_and_everybody_comes_back_second() {
    storm(1);
}

#[test]
fn storm_of_faults_loses_no_byte_and_everybody_comes_back_third() {
    storm(2);
}

#[test]
fn storm_of_faults_loses_no_byte_and_everybody_comes_back_fourth() {
    storm(3);
}
