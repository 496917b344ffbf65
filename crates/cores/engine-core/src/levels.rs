//! Levels of the connection's figures: good, fair, poor. One change of a level, one event.
//!
//! # Rules
//! * A figure is *fair* from its first limit on and *poor* from its second ([`Limits`]). Quality
//!   counts downwards: what is compared with its limits is what it lacks to 100.
//! * Figures are noisy: of 500 datagrams of a path that loses 3 %, 11 to 19 are lost. So a level is
//!   left upwards when the figure has been at or beyond the next limit for `WORSE_AFTER` without a
//!   break, and downwards when it has been below `LEAVE` of the limit for `BETTER_AFTER` (longer
//!   than the window that the figures are taken over).
//! * What is not known keeps its level, and starts the waiting anew.
//! * The first level is good. The figures are those of the path in use, whichever it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::view::Metrics;

/// A worse level is told when the figure has been that bad for so long.
const WORSE_AFTER: Duration = Duration::from_secs(3);
/// A better level is told when the figure has been that good for so long.
const BETTER_AFTER: Duration = Duration::from_secs(15);
/// Share of a limit below which its level is left again.
const LEAVE: f64 = 0.6;

/// A figure that has levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// The quality score, 0 to 100.
    Quality,
    /// The round trip, ms.
    Rtt,
    /// The jitter of the worse direction, ms.
    Jitter,
    /// The loss towards the endpoint, percent.
    LossToEndpoint,
    /// The loss towards the player, percent.
    LossToPlayer,
}

/// How a figure is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ts_rs::TS,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Nothing to notice.
    Good,
    /// Can be noticed.
    Fair,
    /// Disturbs.
    Poor,
}

/// Where a figure stops being good.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Fair from here on.
    pub fair: f64,
    /// Poor from here on.
    pub poor: f64,
}

/// `p2p.thresholds`: the limits of every figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Thresholds {
    /// Of the score, 1 to 100, falling; default 80, 50.
    pub quality: Limits,
    /// Of the round trip, ms; default 200, 500.
    pub rtt_ms: Limits,
    /// Of the jitter, ms; default 50, 125.
    pub jitter_ms: Limits,
    /// Of the loss of either direction, percent; default 3, 7.5.
    pub loss_percent: Limits,
}

impl Default for Thresholds {
    /// Where each figure by itself takes the score below 80 and 50: see `warp_link_core::quality`.
    fn default() -> Self {
        let limits = |fair, poor| Limits { fair, poor };
        Self {
            quality: limits(80.0, 50.0),
            rtt_ms: limits(200.0, 500.0),
            jitter_ms: limits(50.0, 125.0),
            loss_percent: limits(3.0, 7.5),
        }
    }
}

/// A level that changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossing {
    /// Of which figure.
    pub figure: Figure,
    /// The level before.
    pub from: Level,
    /// The level now.
    pub to: Level,
    /// The figure.
    pub value: f64,
}

/// One figure over time.
#[derive(Debug)]
struct Watched {
    figure: Figure,
    level: Level,
    /// Since when the figure has called for a worse (true) or better level.
    calls: Option<(bool, Duration)>,
}

/// All figures over time.
#[derive(Debug)]
pub struct Levels {
    thresholds: Thresholds,
    watched: [Watched; 5],
}

impl Levels {
    /// Everything good.
    pub fn new(thresholds: Thresholds) -> Self {
        let figures = [
            Figure::Quality,
            Figure::Rtt,
            Figure::Jitter,
            Figure::LossToEndpoint,
            Figure::LossToPlayer,
        ];
        Self {
            thresholds,
            watched: figures.map(|figure| Watched {
                figure,
                level: Level::Good,
                calls: None,
            }),
        }
    }

    /// Takes what was measured at `now`; gives what changed by it.
    pub fn observe(&mut self, now: Duration, metrics: &Metrics) -> Vec<Crossing> {
        let thresholds = self.thresholds;
        self.watched
            .iter_mut()
            .filter_map(|watched| {
                let value = value(watched.figure, metrics);
                watched.observe(now, &thresholds, value)
            })
            .collect()
    }
}

fn value(figure: Figure, metrics: &Metrics) -> Option<f64> {
    match figure {
        Figure::Quality => metrics.quality.map(|quality| f64::from(quality.score)),
        Figure::Rtt => metrics.rtt_ms,
        Figure::Jitter => metrics.jitter_ms,
        Figure::LossToEndpoint => metrics.to_endpoint.loss_percent,
        Figure::LossToPlayer => metrics.to_player.loss_percent,
    }
}

impl Figure {
    /// How bad a value is, and from where on it is fair and poor: all three grow.
    fn badness(self, thresholds: &Thresholds, value: f64) -> (f64, Limits) {
        match self {
            Self::Quality => {
                let Limits { fair, poor } = thresholds.quality;
                let lacking = Limits {
                    fair: 100.0 - fair,
                    poor: 100.0 - poor,
                };
                (100.0 - value, lacking)
            }
            Self::Rtt => (value, thresholds.rtt_ms),
            Self::Jitter => (value, thresholds.jitter_ms),
            Self::LossToEndpoint | Self::LossToPlayer => (value, thresholds.loss_percent),
        }
    }
}

/// The level of a badness when every limit is taken `share` of.
fn level(badness: f64, limits: Limits, share: f64) -> Level {
    if badness >= limits.poor * share {
        Level::Poor
    } else if badness >= limits.fair * share {
        Level::Fair
    } else {
        Level::Good
    }
}

impl Watched {
    fn observe(
        &mut self,
        now: Duration,
        thresholds: &Thresholds,
        value: Option<f64>,
    ) -> Option<Crossing> {
        let Some(value) = value else {
            self.calls = None;
            return None;
        };
        let (badness, limits) = self.figure.badness(thresholds, value);
        let (worst, best) = (level(badness, limits, 1.0), level(badness, limits, LEAVE));
        let (worse, to) = if worst > self.level {
            (true, worst)
        } else if best < self.level {
            (false, best)
        } else {
            self.calls = None;
            return None;
        };
        let since = match self.calls {
            Some((before, since)) if before == worse => since,
            _ => now,
        };
        self.calls = Some((worse, since));
        let wait = if worse { WORSE_AFTER } else { BETTER_AFTER };
        if now.saturating_sub(since) < wait {
            return None;
        }
        self.calls = None;
        let from = std::mem::replace(&mut self.level, to);
        Some(Crossing {
            figure: self.figure,
            from,
            to,
            value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::DirectionView;

    /// Numbers from 0 to 1, the same in every run.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self) -> f64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    fn lossy(loss_percent: Option<f64>) -> Metrics {
        Metrics {
            to_player: DirectionView {
                loss_percent,
                ..DirectionView::default()
            },
            ..Metrics::default()
        }
    }

    fn run(
        levels: &mut Levels,
        from: u64,
        until: u64,
        mut value: impl FnMut() -> Option<f64>,
    ) -> Vec<(u64, Level, Level)> {
        let mut told = Vec::new();
        for second in from..until {
            for crossing in levels.observe(Duration::from_secs(second), &lossy(value())) {
                assert_eq!(crossing.figure, Figure::LossToPlayer);
                told.push((second, crossing.from, crossing.to));
            }
        }
        told
    }

    #[test]
    fn noise_around_a_limit_is_told_once() {
        for seed in 0..200 {
            let mut dice = Dice(seed);
            let mut levels = Levels::new(Thresholds::default());
            // An hour at the limit, up to a third more or less.
            let told = run(&mut levels, 0, 3_600, || {
                Some(3.0 + (dice.roll() - 0.5) * 2.0)
            });
            let crossings: Vec<_> = told.iter().map(|(_, from, to)| (*from, *to)).collect();
            assert_eq!(crossings, [(Level::Good, Level::Fair)], "seed {seed}");
        }
    }

    #[test]
    fn every_crossing_is_told_once_whatever_the_noise() {
        for seed in 0..200 {
            let mut dice = Dice(seed);
            let mut noisy = |loss: f64| Some((loss * (0.75 + 0.5 * dice.roll())).max(0.0));
            let mut levels = Levels::new(Thresholds::default());
            assert_eq!(run(&mut levels, 0, 600, || noisy(0.8)), []);
            let worse = run(&mut levels, 600, 1_200, || noisy(4.6));
            assert_eq!(worse, [(603, Level::Good, Level::Fair)], "seed {seed}");
            let poor = run(&mut levels, 1_200, 1_800, || noisy(14.0));
            assert_eq!(poor, [(1_203, Level::Fair, Level::Poor)], "seed {seed}");
            let good = run(&mut levels, 1_800, 2_400, || noisy(0.5));
            assert_eq!(good, [(1_815, Level::Poor, Level::Good)], "seed {seed}");
        }
    }

    #[test]
    fn a_moment_is_nothing_and_the_unknown_changes_nothing() {
        let mut levels = Levels::new(Thresholds::default());
        let mut second = 0;
        let told = run(&mut levels, 0, 600, || {
            second += 1;
            // Two bad seconds of ten, and now and then nothing is known.
            match second % 10 {
                0 | 1 => Some(20.0),
                5 => None,
                _ => Some(0.0),
            }
        });
        assert_eq!(told, []);
        assert_eq!(run(&mut levels, 600, 610, || Some(20.0)).len(), 1);
        assert_eq!(run(&mut levels, 610, 900, || None), []);
    }

    #[test]
    fn quality_counts_downwards() {
        let mut levels = Levels::new(Thresholds::default());
        let metrics = |score| Metrics {
            quality: Some(warp_link_core::quality::Quality { score, cause: None }),
            ..Metrics::default()
        };
        let mut told = Vec::new();
        for second in 0..100 {
            let score = match second {
                0..20 => 81,
                20..40 => 79,
                40..60 => 50,
                // More than six tenths of the way back.
                60..80 => 75,
                _ => 89,
            };
            told.extend(levels.observe(Duration::from_secs(second), &metrics(score)));
        }
        let levels: Vec<_> = told
            .iter()
            .map(|crossing| (crossing.value, crossing.to))
            .collect();
        use Level::{Fair, Good, Poor};
        assert_eq!(
            levels,
            [(79.0, Fair), (50.0, Poor), (75.0, Fair), (89.0, Good)]
        );
    }
}
