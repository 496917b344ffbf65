//! The tables.

use super::Outcome;
use crate::stats::Spread;

fn row(name: &str, spread: &Spread) {
    println!(
        "{name:<32} {:>8.3} {:>8.3} {:>8.3} {:>8.3}   {}",
        spread.p50, spread.p99, spread.p999, spread.max, spread.samples
    );
}

/// Prints everything, and ratios to the last row of each table, which is ours.
pub(super) fn show(outcome: &Outcome) {
    println!("ms                                    p50      p99    p99.9      max   samples");
    for times in &outcome.set_up {
        row(&format!("set-up, {}", times.over), &times.ms);
    }
    for times in &outcome.set_up_under_loss {
        row(&format!("set-up, 5 % lost, {}", times.over), &times.ms);
    }
    for trips in &outcome.round_trips {
        row(&format!("{} at {} Hz", trips.over, trips.hertz), &trips.ms);
    }
    for times in &outcome.control_beside_bulk {
        row(&format!("control beside bulk, {}", times.over), &times.ms);
    }
    for crowd in &outcome.crowd {
        let of = format!("{} peers at 30 Hz, {}", crowd.peers, crowd.over);
        row(&format!("{of}, to the host"), &crowd.one_way_ms);
        row(&format!("{of}, and back"), &crowd.round_trip_ms);
    }
    println!();
    let ours = outcome.short_messages.last();
    for flood in &outcome.short_messages {
        println!(
            "100 bytes over {}: {:.0} a second, {:.2} s of CPU per million; ours is {:.2} times as many",
            flood.over,
            flood.arrived_per_s,
            flood.cpu_s_per_million,
            ours.map_or(0.0, |ours| ours.arrived_per_s / flood.arrived_per_s)
        );
    }
    let ours = outcome.bulk.last();
    for bulk in &outcome.bulk {
        println!(
            "bulk over {}: {:.1} MB/s, {:.2} s of CPU per GB; ours is {:.2} times as much",
            bulk.over,
            bulk.mb_per_s,
            bulk.cpu_s_per_gb,
            ours.map_or(0.0, |ours| ours.mb_per_s / bulk.mb_per_s)
        );
    }
    for crowd in &outcome.crowd {
        println!(
            "{} peers at 30 Hz over {}: {:.1} % of a core on the host, {} lost",
            crowd.peers, crowd.over, crowd.host_cpu_percent, crowd.lost
        );
    }
    for memory in &outcome.memory {
        println!(
            "{} peers over {}: {} KiB per end",
            memory.peers, memory.over, memory.kib_per_end
        );
    }
}
