//! The units that a map shows when it is loaded.

use std::collections::HashSet;

use super::expect::shown;
use super::{Deviation, DeviationCode};
use crate::game::{Account, Map};
use crate::wire::Dialect;
use crate::wire::units::unit_id;

/// Checks the units of a load burst: sound, each once, the map's portal among them.
#[derive(Default)]
pub(super) struct Sights(HashSet<u32>);

impl Sights {
    pub(super) fn add(
        &mut self,
        dialect: &Dialect,
        frame: &[u8],
        map: Map,
        own: Account,
    ) -> Result<(), Deviation> {
        let unit = unit_id(frame);
        let (x, y) = dialect.unit_place(frame);
        let wrong = if !dialect.is_sound_unit(frame, map) || unit == own.aid() {
            "wrong unit"
        } else if !self.0.insert(unit) {
            "the same unit twice"
        } else {
            return Ok(());
        };
        let message = format!("{wrong} at {x},{y} while loading: {}", shown(frame));
        Err(Deviation::new(DeviationCode::WrongBytes, message))
    }

    pub(super) fn players(&self) -> u64 {
        self.0
            .iter()
            .filter(|id| Account::by_aid(**id).is_some())
            .count() as u64
    }

    pub(super) fn finish(&self, map: Map) -> Result<(), Deviation> {
        if self.0.contains(&map.portal().id) {
            return Ok(());
        }
        let message = format!("the portal of {} was not announced", map.name());
        Err(Deviation::new(DeviationCode::AnswerMissing, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dialect::tests::all;
    use crate::wire::units::{Looks, Posture};

    #[test]
    fn a_load_burst_shows_the_portal_and_nobody_twice() {
        let map = Map::Prontera;
        let account = |number| Account::numbered(number).unwrap();
        let me = account(1);
        for dialect in all() {
            let unit = |looks: &Looks, at| dialect.standing(looks, at, 0, Posture::Standing);
            let other = unit(&Looks::player(account(2)), (1, 2));
            let portal = map.portal();
            let gate = unit(&Looks::portal(portal), (portal.at.x, portal.at.y));
            let mut sights = Sights::default();
            sights.add(&dialect, &other, map, me).unwrap();
            assert!(sights.finish(map).is_err());
            assert!(sights.add(&dialect, &other, map, me).is_err());
            sights.add(&dialect, &gate, map, me).unwrap();
            assert!(sights.finish(map).is_ok());
            assert_eq!(sights.players(), 1);
            let own = unit(&Looks::player(me), (1, 2));
            assert!(Sights::default().add(&dialect, &own, map, me).is_err());
        }
    }
}
