//! How good a path is, from 0 to 100, and what it suffers from most.
//!
//! # Formula
//! ```text
//! score = 100 - 20 × rtt / 200 ms - 20 × jitter / 50 ms - 20 × loss / 3 %      (at least 0, rounded)
//! ```
//! `jitter` is that of the worse direction, `loss` the share of exchanges that lose a packet on the
//! way there or back: `1 - (1 - a)(1 - b)`. So the score falls with each of the five figures and
//! never rises with one, and each figure by itself costs the first 20 points, the step from good to
//! fair, at a limit that a standard names:
//!
//! | figure | limit | source |
//! |---|---|---|
//! | round trip | 200 ms | ITU-T Y.1541 classes 0 and 2 name 100 ms one way as the bound for highly interactive use. At 500 ms it costs 50 points; that is where players of a third-person avatar are measurably worse (Claypool and Claypool, Latency and player actions in online games, 2006) |
//! | jitter | 50 ms | ITU-T Y.1541 classes 0 and 1: delay variation |
//! | loss | 3 % | ITU-T G.1010 table I.1: limit for conversation |
//!
//! It is the score of the path, not of what the game feels: while packets are sent twice, a lost
//! one mostly costs the game nothing, and still counts here.
//!
//! A score is only given when all five figures are known.

use serde::{Deserialize, Serialize};

/// Points that each figure costs at its limit.
const STEP: f64 = 20.0;
/// Round trip that costs [`STEP`], ms.
const RTT_LIMIT_MS: f64 = 200.0;
/// Jitter that costs [`STEP`], ms.
const JITTER_LIMIT_MS: f64 = 50.0;
/// Loss that costs [`STEP`], percent.
const LOSS_LIMIT_PERCENT: f64 = 3.0;
/// Below so many points a path has nothing that is worth naming.
const WORTH_NAMING: f64 = 2.0;

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum Towards {
    /// From the player to the endpoint.
    Endpoint,
    /// From the endpoint to the player.
    Player,
}

/// What a path suffers from most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ts_rs::TS)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum QualityCause {
    /// The round trip is long.
    Delay {
        /// It, ms.
        rtt_ms: f64,
    },
    /// Packets take unlike times.
    Jitter {
        /// On this way.
        towards: Towards,
        /// So unlike, ms.
        jitter_ms: f64,
    },
    /// Packets are lost.
    Loss {
        /// On this way.
        towards: Towards,
        /// So many, percent.
        loss_percent: f64,
    },
}

/// The score with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct Quality {
    /// 0 to 100; good from 80, fair from 50, below that poor.
    pub score: u8,
    /// What cost most; `None`: nothing that is worth naming.
    pub cause: Option<QualityCause>,
}

/// What a score is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Round trip, ms.
    pub rtt_ms: f64,
    /// Jitter towards the endpoint and towards the player, ms.
    pub jitter_ms: [f64; 2],
    /// Loss towards the endpoint and towards the player, percent.
    pub loss_percent: [f64; 2],
}

/// The larger of two figures, endpoint and player, with its way.
fn worse([endpoint, player]: [f64; 2]) -> (Towards, f64) {
    if player > endpoint {
        (Towards::Player, player)
    } else {
        (Towards::Endpoint, endpoint)
    }
}

impl Quality {
    /// The score of `figures`; what is no number or negative counts as zero.
    pub fn of(figures: &Figures) -> Self {
        // Also takes NaN away.
        let plain = |value: f64| value.max(0.0);
        let rtt_ms = plain(figures.rtt_ms);
        let (jitter_towards, jitter_ms) = worse(figures.jitter_ms.map(plain));
        let loss = figures.loss_percent.map(|value| plain(value).min(100.0));
        let (loss_towards, loss_percent) = worse(loss);
        let [there, back] = loss.map(|value| 1.0 - value / 100.0);
        let exchange_percent = (1.0 - there * back) * 100.0;
        let delay_points = STEP * rtt_ms / RTT_LIMIT_MS;
        let jitter_points = STEP * jitter_ms / JITTER_LIMIT_MS;
        let loss_points = STEP * exchange_percent / LOSS_LIMIT_PERCENT;
        let score = (100.0 - delay_points - jitter_points - loss_points).clamp(0.0, 100.0);
        let causes = [
            (
                loss_points,
                QualityCause::Loss {
                    towards: loss_towards,
                    loss_percent,
                },
            ),
            (
                jitter_points,
                QualityCause::Jitter {
                    towards: jitter_towards,
                    jitter_ms,
                },
            ),
            (delay_points, QualityCause::Delay { rtt_ms }),
        ];
        let cause = causes
            .into_iter()
            .filter(|(points, _)| *points >= WORTH_NAMING)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, cause)| cause);
        Self {
            score: score.round() as u8,
            cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: Figures = Figures {
        rtt_ms: 20.0,
        jitter_ms: [1.0, 1.0],
        loss_percent: [0.0, 0.0],
    };

    #[test]
    fn a_good_path_scores_high_and_each_limit_costs_twenty() {
        let quality = Quality::of(&GOOD);
        assert_eq!(
            (quality.score, quality.cause),
            (98, Some(QualityCause::Delay { rtt_ms: 20.0 }))
        );
        let nothing = Figures {
            rtt_ms: 0.0,
            jitter_ms: [0.0; 2],
            ..GOOD
        };
        let score = |figures: Figures| Quality::of(&figures).score;
        assert_eq!(
            Quality::of(&nothing),
            Quality {
                score: 100,
                cause: None
            }
        );
        assert_eq!(
            score(Figures {
                rtt_ms: 200.0,
                ..nothing
            }),
            80
        );
        assert_eq!(
            score(Figures {
                rtt_ms: 500.0,
                ..nothing
            }),
            50
        );
        assert_eq!(
            score(Figures {
                jitter_ms: [0.0, 50.0],
                ..nothing
            }),
            80
        );
        assert_eq!(
            score(Figures {
                loss_percent: [3.0, 0.0],
                ..nothing
            }),
            80
        );
        assert_eq!(
            score(Figures {
                loss_percent: [100.0, 100.0],
                ..nothing
            }),
            0
        );
        assert_eq!(
            score(Figures {
                rtt_ms: f64::NAN,
                ..nothing
            }),
            100
        );
    }

    #[test]
    fn the_reason_names_what_cost_most_and_its_way() {
        let cause = |loss_percent, jitter_ms| {
            let figures = Figures {
                loss_percent,
                jitter_ms,
                ..GOOD
            };
            Quality::of(&figures).cause
        };
        let loss = |towards, loss_percent| {
            Some(QualityCause::Loss {
                towards,
                loss_percent,
            })
        };
        assert_eq!(cause([4.0, 1.0], [5.0, 5.0]), loss(Towards::Endpoint, 4.0));
        assert_eq!(cause([1.0, 4.0], [5.0, 5.0]), loss(Towards::Player, 4.0));
        let jitter = QualityCause::Jitter {
            towards: Towards::Player,
            jitter_ms: 60.0,
        };
        assert_eq!(cause([0.5, 0.0], [5.0, 60.0]), Some(jitter));
    }

    fn figures() -> impl Strategy<Value = [f64; 5]> {
        [0.0..2000.0, 0.0..300.0, 0.0..300.0, 0.0..100.0, 0.0..100.0]
    }

    fn from([rtt_ms, j0, j1, l0, l1]: [f64; 5]) -> Figures {
        Figures {
            rtt_ms,
            jitter_ms: [j0, j1],
            loss_percent: [l0, l1],
        }
    }

    proptest! {
        #[test]
        fn no_figure_that_worsens_makes_the_score_better(
            figures in figures(),
            place in 0usize..5,
            more in 0.0..500.0,
        ) {
            let mut worse = figures;
            worse[place] += more;
            let (before, after) = (Quality::of(&from(figures)), Quality::of(&from(worse)));
            prop_assert!(after.score <= before.score, "{before:?} {after:?}");
        }

        #[test]
        fn every_figure_that_worsens_enough_makes_the_score_worse(
            figures in [0.0..100.0, 0.0..20.0, 0.0..20.0, 0.0..1.0, 0.0..1.0],
            place in 0usize..5,
        ) {
            // Two points' worth, beyond the other direction where only the worse one counts.
            let more = [20.0, 25.0, 25.0, 0.4, 0.4][place];
            let mut worse = figures;
            worse[place] += more;
            let (before, after) = (Quality::of(&from(figures)), Quality::of(&from(worse)));
            prop_assert!(after.score < before.score, "{before:?} {after:?}");
        }
    }
}
