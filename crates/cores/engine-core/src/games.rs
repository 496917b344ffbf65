//! The game clients that were started here: numbers, places, and which of them were asked to end.

use std::collections::BTreeMap;

/// At most `max` at once; numbers grow and are never used twice.
#[derive(Debug)]
pub(crate) struct Games {
    max: u32,
    last: u64,
    running: BTreeMap<u64, Game>,
}

#[derive(Debug)]
struct Game {
    /// The place that it takes among those that run.
    slot: u32,
    /// False while it is being started.
    started: bool,
    /// It was asked to end.
    stopping: bool,
}

impl Games {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            max,
            last: 0,
            running: BTreeMap::new(),
        }
    }

    /// Number and place of another one; `None`: there are as many as may be.
    pub(crate) fn launch(&mut self) -> Option<(u64, u32)> {
        let taken = |slot: &u32| self.running.values().any(|game| game.slot == *slot);
        let slot = (0..self.max).find(|slot| !taken(slot))?;
        self.last += 1;
        let game = Game {
            slot,
            started: false,
            stopping: false,
        };
        self.running.insert(self.last, game);
        Some((self.last, slot))
    }

    pub(crate) fn started(&mut self, game: u64) {
        if let Some(game) = self.running.get_mut(&game) {
            game.started = true;
        }
    }

    /// Marks one as asked to end; false when it does not run or was asked already.
    pub(crate) fn stop(&mut self, game: u64) -> bool {
        self.running
            .get_mut(&game)
            .is_some_and(|game| !std::mem::replace(&mut game.stopping, true))
    }

    /// Those that were not asked to end yet.
    pub(crate) fn to_stop(&self) -> Vec<u64> {
        let wanted = self.running.iter().filter(|(_, game)| !game.stopping);
        wanted.map(|(number, _)| *number).collect()
    }

    /// It is gone, or never came to be; true when it was asked to end.
    pub(crate) fn ended(&mut self, game: u64) -> bool {
        self.running.remove(&game).is_some_and(|game| game.stopping)
    }

    /// How many run.
    pub(crate) fn count(&self) -> u32 {
        let started = self.running.values().filter(|game| game.started).count();
        u32::try_from(started).unwrap_or(u32::MAX)
    }

    /// None runs, is being started, or is on its way out.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(crate) fn max(&self) -> u32 {
        self.max
    }
}
