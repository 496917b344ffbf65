//! What an operator sees of a running coordinator: health, figures, and the live page.
//!
//! * Counters are taken where things happen ([`metrics`], and [`requests`] for all that is a request);
//!   gauges are read from the live tables when somebody asks. Neither reads the database.
//! * Every label has a bounded number of values: route templates instead of paths, [`MAX_ZONES`]
//!   zones, codes and reasons of closed sets.
//! * Health is asked for at most once a second, whoever asks how often ([`health`]).
//! * The live page's figures are made once a second for all its viewers, and only while there are
//!   any ([`viewers`]).

pub(crate) mod access;
pub(crate) mod config;
pub(crate) mod health;
pub(crate) mod metrics;
mod process;
pub(crate) mod recent;
pub(crate) mod requests;
pub(crate) mod scrape;
pub(crate) mod snapshot;
pub(crate) mod viewers;

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use prometheus_client::metrics::{family::Family, histogram::Histogram};

/// Zones that have labels of their own; the others share the label `other`.
pub(crate) const MAX_ZONES: usize = 256;

/// Latencies of one kind, by labels.
pub(crate) type Latencies<L> = Family<L, Histogram, fn() -> Histogram>;

/// One label with a value of a closed set.
pub(crate) type Label = [(&'static str, &'static str); 1];

/// Latencies from 0.1 ms to 20 s, which is the longest that a request may take.
pub(crate) fn latencies() -> Histogram {
    Histogram::new([
        0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
        10.0, 20.0,
    ])
}

/// Of this process: whoever embeds several coordinators has one figure for all their databases.
static DATABASE: LazyLock<Latencies<Label>> =
    LazyLock::new(|| Family::new_with_constructor(latencies as fn() -> Histogram));

/// A call of the database has ended; counted with how long it took.
pub(crate) fn database_call(started: Instant, result: &'static str) {
    let took = started.elapsed().as_secs_f64();
    DATABASE.get_or_create(&[("result", result)]).observe(took);
}

/// What happened between two looks at a counter, per second.
pub(crate) fn rate(before: u64, now: u64, between: Duration) -> f64 {
    let seconds = between.as_secs_f64();
    if seconds <= 0.0 {
        return 0.0;
    }
    // Counts are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let count = now.saturating_sub(before) as f64;
    count / seconds
}
