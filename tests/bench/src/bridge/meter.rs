//! Timing and counting what is done to a mix.
//!
//! Criterion plans the samples: it warms up, chooses how often to repeat, and prints its own estimate.
//! Within each sample the baseline is timed too, right before or right behind what is measured, in
//! turns, so that both meet the same moments of the machine; the share between the two is taken
//! sample by sample.

use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, SamplingMode, measurement::WallTime};
use serde::Serialize;

/// Least, median and most of some samples.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Range {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
        Self {
            min: at(0),
            median: (at(sorted.len().saturating_sub(1) / 2) + at(sorted.len() / 2)) / 2.0,
            max: at(sorted.len().saturating_sub(1)),
        }
    }
}

/// Something beside its baseline.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Timed {
    /// Nanoseconds per packet.
    pub(crate) ns: Range,
    /// The baseline's.
    pub(crate) copy_ns: Range,
    /// How many times the baseline's time, sample by sample.
    pub(crate) times_copy: Range,
    /// What it allocates.
    pub(crate) allocated: Allocated,
}

/// What was allocated in the steady state.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Allocated {
    /// Over all packets counted.
    pub(crate) times: u64,
    /// Per packet.
    pub(crate) times_per_packet: f64,
    /// Bytes per packet.
    pub(crate) bytes_per_packet: f64,
}

/// Packets that pass before allocations are counted: buffers have found their size by then.
const SETTLE: usize = 10_000;
/// Packets over which allocations are counted, at least.
const COUNTED: usize = 100_000;

/// Counts what `pass`, which handles so many packets, allocates in its steady state.
pub(crate) fn allocated(packets: usize, pass: &mut dyn FnMut()) -> Allocated {
    for _ in 0..SETTLE.div_ceil(packets) {
        pass();
    }
    let passes = COUNTED.div_ceil(packets);
    let info = allocation_counter::measure(|| {
        for _ in 0..passes {
            pass();
        }
    });
    let counted = (passes * packets) as f64;
    Allocated {
        times: info.count_total,
        times_per_packet: info.count_total as f64 / counted,
        bytes_per_packet: info.bytes_total as f64 / counted,
    }
}

/// Measures the things of one mix.
pub(crate) struct Meter<'a> {
    group: BenchmarkGroup<'a, WallTime>,
    samples: usize,
}

impl<'a> Meter<'a> {
    /// A meter whose figures take about `time` each.
    pub(crate) fn new(criterion: &'a mut Criterion, name: &str, time: Duration) -> Self {
        let mut group = criterion.benchmark_group(name);
        let samples = if time < Duration::from_millis(100) {
            10
        } else {
            40
        };
        group
            .sampling_mode(SamplingMode::Flat)
            .sample_size(samples)
            .warm_up_time(time / 4)
            .measurement_time(time)
            .nresamples(2000);
        Self { group, samples }
    }

    /// Measures `pass`, which handles so many packets, beside `copy`, which copies their bytes.
    pub(crate) fn measure(
        &mut self,
        name: &str,
        packets: usize,
        copy: &mut dyn FnMut(),
        pass: &mut dyn FnMut(),
    ) -> Timed {
        let allocated = allocated(packets, pass);
        let mut samples: Vec<(u64, Duration, Duration)> = Vec::new();
        self.group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let own_first = samples.len() % 2 == 1;
                let timed = |work: &mut dyn FnMut()| {
                    let began = Instant::now();
                    for _ in 0..times {
                        work();
                    }
                    began.elapsed()
                };
                let early = own_first.then(|| timed(pass));
                let base = timed(copy);
                let own = early.unwrap_or_else(|| timed(pass));
                samples.push((times, base, own));
                own
            });
        });
        // What came before belongs to the warm-up.
        let counted = samples.split_off(samples.len().saturating_sub(self.samples));
        let per_packet =
            |times: u64, took: Duration| took.as_secs_f64() * 1e9 / (times as f64 * packets as f64);
        Timed {
            ns: Range::of(
                counted
                    .iter()
                    .map(|(times, _, own)| per_packet(*times, *own)),
            ),
            copy_ns: Range::of(
                counted
                    .iter()
                    .map(|(times, base, _)| per_packet(*times, *base)),
            ),
            times_copy: Range::of(
                (counted.iter()).map(|(_, base, own)| own.as_secs_f64() / base.as_secs_f64()),
            ),
            allocated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_few() {
        let range = Range::of([3.0, 1.0, 2.0, 10.0].into_iter());
        assert_eq!((range.min, range.median, range.max), (1.0, 2.5, 10.0));
        assert_eq!(Range::of([7.0].into_iter()).median, 7.0);
        assert_eq!(Range::of(std::iter::empty()).max, 0.0);
    }

    #[test]
    fn allocations_are_seen() {
        let none = allocated(10, &mut || {});
        assert_eq!(none.times, 0);
        let one = allocated(10, &mut || drop(std::hint::black_box(vec![0_u8; 100])));
        assert_eq!((one.times_per_packet, one.bytes_per_packet), (0.1, 10.0));
    }
}
