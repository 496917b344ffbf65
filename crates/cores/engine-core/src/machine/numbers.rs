//! When the numbers are told, and what of them is an event of its own.
//!
//! The shell measures once a second ([`MEASURE_EVERY`]). Every measurement is held against the
//! levels, so that a change is told as fast at any rate; but the numbers themselves are only told as
//! often as somebody wants them.

use std::time::Duration;

use super::{Machine, Settings};
use crate::event::Event;
use crate::levels::{Crossing, Levels, Thresholds};
use crate::view::Metrics;

/// Time between two measurements of the shell.
pub const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// What is kept about the numbers.
#[derive(Debug)]
pub(super) struct Numbers {
    interval: Duration,
    thresholds: Thresholds,
    levels: Levels,
    /// Somebody looks at them.
    watched: bool,
    /// When they were told last.
    told: Option<Duration>,
}

impl Numbers {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            interval: settings.metrics_interval,
            thresholds: settings.thresholds,
            levels: Levels::new(settings.thresholds),
            watched: false,
            told: None,
        }
    }

    /// Somebody looks at them from now on, or nobody does.
    pub(super) fn watch(&mut self, on: bool) {
        self.watched = on;
    }

    /// Play has ended: the next begins with the first telling, and with every level good.
    pub(super) fn forget(&mut self) {
        self.levels = Levels::new(self.thresholds);
        self.told = None;
    }

    /// True when they have to be told now.
    fn is_due(&mut self, now: Duration, closely: bool) -> bool {
        let interval = if closely || self.watched {
            MEASURE_EVERY
        } else {
            self.interval
        };
        // A measurement that came a little early is nearer than the next one.
        let due = self
            .told
            .is_none_or(|told| now + MEASURE_EVERY / 2 >= told + interval);
        if due {
            self.told = Some(now);
        }
        due
    }
}

impl Machine {
    /// The shell has measured.
    pub(super) fn on_metrics(&mut self, now: Duration, metrics: Box<Metrics>) {
        if !self.has_link() {
            return;
        }
        let crossings = self.numbers.levels.observe(now, &metrics);
        let path = metrics.path;
        if self.numbers.is_due(now, self.snapshot.debug) {
            self.emit(Event::Metrics { metrics });
        }
        for crossing in crossings {
            let Crossing {
                figure,
                from,
                to,
                value,
            } = crossing;
            self.emit(Event::LevelChanged {
                figure,
                from,
                to,
                value,
                path,
            });
        }
    }
}
