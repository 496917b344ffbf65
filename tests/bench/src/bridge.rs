//! `bridge`: what a packet costs in the bridge.
//!
//! One thread, no process, no socket. For each mix of packets: framing, classifying and rewriting by
//! themselves, all that the bridge does together, and the way through the bridge and the messages of
//! the game stream. Beside each, in turns, the same bytes in the same pieces are copied and nothing else.
//!
//! A player's steady state must not allocate per packet, however the packets are read.

mod meter;
mod mix;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use criterion::Criterion;
use serde::Serialize;

use meter::{Meter, Timed};
use mix::Mix;

/// The client versions that are measured: the oldest and the newest that is compiled in.
const VERSIONS: [u32; 2] = [20_130_807, 20_211_103];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each figure is measured, milliseconds; the copy beside it takes its time besides.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    time: u64,
    /// The recorded sessions.
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/captures"))]
    captures: PathBuf,
    /// Only to see that it works.
    #[arg(long)]
    quick: bool,
}

/// The whole result.
#[derive(Serialize)]
pub(crate) struct Outcome {
    milliseconds_per_figure: u64,
    mixes: Vec<Row>,
    pub(crate) holds: bool,
}

/// One mix, read in one way.
#[derive(Serialize)]
struct Row {
    version: u32,
    mix: &'static str,
    reads: &'static str,
    packets: usize,
    bytes_per_packet: f64,
    framing: Timed,
    classifying: Timed,
    rewriting: Timed,
    bridge: Timed,
    through: Timed,
    /// Packets per second and core through bridge and stream, millions.
    through_mpps: f64,
    /// The same bytes copied.
    copy_mpps: f64,
    /// Nothing may be allocated here.
    hot: bool,
}

impl Row {
    fn name(&self) -> String {
        let mark = if self.hot { "*" } else { "" };
        format!("{} {}{mark}", self.version, self.mix)
    }

    /// What is allocated in the bridge, and through bridge and stream.
    fn allocates(&self) -> bool {
        self.bridge.allocated.times > 0 || self.through.allocated.times > 0
    }
}

/// Measures all mixes and prints a table.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let time = Duration::from_millis(if args.quick { 10 } else { args.time });
    let mut mixes = Vec::new();
    for version in VERSIONS {
        mixes.extend(mix::made(version)?);
    }
    mixes.extend(mix::recorded(&args.captures)?);
    let files = tempfile::tempdir()?;
    let mut criterion = Criterion::default()
        .without_plots()
        .output_directory(files.path());
    let mut rows = Vec::new();
    for mix in &mixes {
        rows.extend(measure(&mut criterion, mix, time));
    }
    show(&rows);
    let bad: Vec<&Row> = rows
        .iter()
        .filter(|row| row.hot && row.allocates())
        .collect();
    for row in &bad {
        println!(
            "FAILS: {} ({} a read) allocates: {:.3} times per packet in the bridge, {:.3} through bridge and stream",
            row.name(),
            row.reads,
            row.bridge.allocated.times_per_packet,
            row.through.allocated.times_per_packet
        );
    }
    let holds = bad.is_empty();
    if holds {
        println!(
            "holds: nothing is allocated per packet in a player's steady state (rows marked *)"
        );
    }
    Ok(Outcome {
        milliseconds_per_figure: args.time,
        mixes: rows,
        holds,
    })
}

fn measure(criterion: &mut Criterion, mix: &Mix, time: Duration) -> Vec<Row> {
    let count = mix.packets.len();
    let readings = mix.readings().iter();
    readings
        .map(|reads| {
            let pieces = mix.reads(*reads);
            let group = format!("{} {}, {} a read", mix.version, mix.name, reads.name());
            let mut meter = Meter::new(criterion, &group, time);
            let mut measured = |name: &str, pass: &mut dyn FnMut()| {
                meter.measure(name, count, &mut work::copy(&pieces), pass)
            };
            let through = measured("through", &mut work::through(mix, &pieces));
            Row {
                version: mix.version,
                mix: mix.name,
                reads: reads.name(),
                packets: count,
                bytes_per_packet: mix.bytes() as f64 / count as f64,
                framing: measured("framing", &mut work::framing(mix, &pieces)),
                classifying: measured("classifying", &mut work::classifying(mix)),
                rewriting: measured("rewriting", &mut work::rewriting(mix)),
                bridge: measured("bridge", &mut work::bridge(mix, &pieces)),
                through_mpps: 1e3 / through.ns.median,
                copy_mpps: 1e3 / through.copy_ns.median,
                through,
                hot: mix.hot,
            }
        })
        .collect()
}

/// Costs per packet, then packets per second.
fn show(rows: &[Row]) {
    println!(
        "\nPer packet: nanoseconds on one core (medians), allocations and bytes allocated. copy: the same bytes in\n\
         the same pieces, copied. bridge: the three before it, commands, counting, all that the bridge does. * a\n\
         player's steady state."
    );
    println!(
        "{:<34}{:<10}{:>7}{:>8}{:>9}{:>10}{:>9}{:>8}{:>8}{:>8}",
        "",
        "a read",
        "bytes",
        "copy",
        "framing",
        "classing",
        "rewrite",
        "bridge",
        "allocs",
        "bytes"
    );
    for row in rows {
        println!(
            "{:<34}{:<10}{:>7.1}{:>8.1}{:>9.1}{:>10.1}{:>9.1}{:>8.1}{:>8.3}{:>8.1}",
            row.name(),
            row.reads,
            row.bytes_per_packet,
            row.framing.copy_ns.median,
            row.framing.ns.median,
            row.classifying.ns.median,
            row.rewriting.ns.median,
            row.bridge.ns.median,
            row.bridge.allocated.times_per_packet,
            row.bridge.allocated.bytes_per_packet,
        );
    }
    println!(
        "\nMillion packets per second and core, through the bridge and both ends of the game stream, and copied in the\n\
         same pieces. times: the time beside the copy's, sample by sample."
    );
    println!(
        "{:<34}{:<10}{:>9}{:>9}{:>9}{:>10}{:>9}{:>8}",
        "", "a read", "least", "median", "most", "copied", "times", "allocs"
    );
    for row in rows {
        let ns = row.through.ns;
        println!(
            "{:<34}{:<10}{:>9.2}{:>9.2}{:>9.2}{:>10.1}{:>9.1}{:>8.3}",
            row.name(),
            row.reads,
            1e3 / ns.max,
            row.through_mpps,
            1e3 / ns.min,
            row.copy_mpps,
            row.through.times_copy.median,
            row.through.allocated.times_per_packet,
        );
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_players_steady_state_allocates_nothing_however_it_is_read() {
        let mut looked_at = 0;
        for version in VERSIONS {
            let mixes = mix::made(version).unwrap();
            for mix in mixes.iter().filter(|mix| mix.hot) {
                for reads in mix.readings() {
                    let pieces = mix.reads(*reads);
                    let count = mix.packets.len();
                    for allocated in [
                        meter::allocated(count, &mut work::bridge(mix, &pieces)),
                        meter::allocated(count, &mut work::through(mix, &pieces)),
                    ] {
                        let name = format!("{version} {}, {} a read", mix.name, reads.name());
                        assert_eq!(allocated.times, 0, "{name}");
                    }
                    looked_at += 1;
                }
            }
        }
        assert!(looked_at > 0);
    }
}
