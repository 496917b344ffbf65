//! What the session still has to do, and when.

use std::time::Duration;

use tokio::time::Instant;

use super::{ClientConfig, Mode};
use crate::game::Map;

/// One change of map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// By chat command.
    Command(Map),
    /// By walking onto the map's portal.
    Portal,
}

/// A round of changes: within the first server, to the other one and back.
const CHANGES: [Change; 4] = [
    Change::Command(Map::Izlude),
    Change::Command(Map::Prontera),
    Change::Portal,
    Change::Portal,
];

/// The time between two changes: as configured, or so short that a round of them fits into the
/// time to play.
fn change_every(config: &ClientConfig) -> Option<Duration> {
    let every = config.change_every?;
    let parts = u32::try_from(CHANGES.len())
        .unwrap_or(u32::MAX)
        .saturating_add(1);
    Some(
        config
            .play_for
            .map_or(every, |play_for| every.min(play_for / parts)),
    )
}

/// What the session still has to do; lasts over its map connections.
#[derive(Default)]
pub(super) struct Plan {
    started: Option<Instant>,
    /// The last visit: quit as soon as the map is loaded.
    pub(super) leaving: bool,
    pub(super) steps: usize,
    pub(super) walks: usize,
    changes: usize,
    next_change: Option<Instant>,
    pub(super) lines: u64,
    /// Attacks so far.
    pub(super) attacks: u32,
    /// How many of the lines to say were taken.
    said: usize,
    pause: Pausing,
}

/// Where the pause of the session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Pausing {
    /// There is none, or it is over.
    #[default]
    Never,
    /// To begin at this time, for so long.
    Due(Instant, Duration),
    /// Nothing is sent until this time.
    Until(Instant),
}

/// What the pause asks for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nothing; look again at this time.
    No(Option<Instant>),
    /// Nothing new may be asked, so that the pause can begin once all is answered.
    Soon,
    /// It begins, for so long.
    Begins(Duration),
    /// It goes on until then.
    Until(Instant),
    /// It is over.
    Ends,
}

impl Hold {
    /// Returns when the pause is to be looked at again.
    pub(super) async fn passes(self) {
        match self {
            Hold::No(Some(at)) | Hold::Until(at) => tokio::time::sleep_until(at).await,
            _ => std::future::pending().await,
        }
    }
}

impl Plan {
    pub(super) fn start(&mut self, now: Instant, config: &ClientConfig) {
        if self.started.is_none() {
            self.started = Some(now);
            self.next_change = change_every(config).map(|every| now + every);
            if let Some(pause) = config.pause {
                self.pause = Pausing::Due(now + pause.after, pause.length);
            }
        }
    }

    /// The next line to say, once each.
    pub(super) fn next_line(&mut self, config: &ClientConfig) -> Option<String> {
        let line = config.say.get(self.said).cloned()?;
        self.said += 1;
        Some(line)
    }

    /// Goes on with the pause; `settled` says that no answer is due and no journey under way.
    pub(super) fn hold(&mut self, now: Instant, settled: bool) -> Hold {
        match self.pause {
            Pausing::Never => Hold::No(None),
            Pausing::Due(at, _) if now < at => Hold::No(Some(at)),
            Pausing::Due(..) if !settled => Hold::Soon,
            Pausing::Due(_, length) => {
                self.pause = Pausing::Until(now + length);
                Hold::Begins(length)
            }
            Pausing::Until(end) if now < end => Hold::Until(end),
            Pausing::Until(_) => {
                self.pause = Pausing::Never;
                Hold::Ends
            }
        }
    }

    fn time_is_up(&self, now: Instant, config: &ClientConfig) -> bool {
        match (self.started, config.play_for) {
            (Some(started), Some(play_for)) => now >= started + play_for,
            _ => false,
        }
    }

    /// A round of changes has to be begun, or to be ended.
    fn changes_are_missing(&self, config: &ClientConfig) -> bool {
        config.mode == Mode::Session
            && config.change_every.is_some()
            && (self.changes == 0 || !self.changes.is_multiple_of(CHANGES.len()))
    }

    /// Nothing more is to be requested.
    pub(super) fn over(&self, now: Instant, config: &ClientConfig) -> bool {
        self.leaving
            || config.stop.is_cancelled()
            || (self.time_is_up(now, config) && !self.changes_are_missing(config))
    }

    /// The change that is to be made now, if one is. After the first round another one is only
    /// begun if there is time for all of it.
    pub(super) fn due_change(&mut self, now: Instant, config: &ClientConfig) -> Option<Change> {
        let every = change_every(config)?;
        let missing = self.changes_are_missing(config);
        let due = self.next_change.is_some_and(|due| now >= due);
        let begin = due || (missing && self.time_is_up(now, config));
        if !begin {
            return None;
        }
        let round = every * u32::try_from(CHANGES.len()).unwrap_or(u32::MAX);
        if !missing && self.time_is_up(now + round, config) {
            return None;
        }
        let change = CHANGES.get(self.changes % CHANGES.len()).copied();
        self.changes += 1;
        self.next_change = Some(now + every);
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_of_changes_visits_every_map_and_ends_where_it_began() {
        let mut here = Map::Prontera;
        let mut seen = vec![here];
        for change in CHANGES {
            here = match change {
                Change::Command(map) => map,
                Change::Portal => here.portal().to.map,
            };
            seen.push(here);
        }
        assert_eq!(here, Map::Prontera);
        assert!(Map::ALL.iter().all(|map| seen.contains(map)));
    }

    #[test]
    fn a_pause_waits_for_what_is_due_and_is_made_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let length = Duration::from_secs(5);
        let mut config = ClientConfig::new("127.0.0.1:1".parse().unwrap(), "test1", "test1");
        config.pause = Some(super::super::Pause {
            after: Duration::from_secs(2),
            length,
        });
        let mut plan = Plan::default();
        assert_eq!(plan.hold(at(9), true), Hold::No(None));
        plan.start(start, &config);
        assert_eq!(plan.hold(at(1), true), Hold::No(Some(at(2))));
        assert_eq!(plan.hold(at(2), false), Hold::Soon);
        assert_eq!(plan.hold(at(3), true), Hold::Begins(length));
        assert_eq!(plan.hold(at(7), true), Hold::Until(at(8)));
        assert_eq!(plan.hold(at(8), true), Hold::Ends);
        plan.start(at(9), &config);
        assert_eq!(plan.hold(at(20), true), Hold::No(None));
    }
}
