//! The char server: session numbers in, character list, the way to the map server.

use super::connection::Context;
use super::state::Seat;
use super::{CloseReason, reachable};
use crate::game::{Account, Place};
use crate::report::Role;
use crate::wire::packets::LoginIds;
use crate::wire::{Fields, id_of, packets, requests};

/// One char connection. It is never closed by the server for what it asks, as the real one.
#[derive(Default)]
pub(super) struct CharSide {
    key: Option<String>,
    session: Option<(Account, LoginIds)>,
    /// The seed under which a pin is asked for.
    asked: Option<u32>,
}

impl CharSide {
    /// The connection has ended; its key.
    pub(super) fn leave(&mut self, context: &Context) -> Option<String> {
        if let Some((account, _)) = self.session.take() {
            context.shared.world.leave_char(account, context.id);
        }
        self.key.take()
    }

    /// Before the right ids everything but 0065 is ignored.
    pub(super) fn handle(&mut self, context: &Context, frame: &[u8]) {
        let dialect = &context.shared.dialect;
        let Some((account, ids)) = self.session else {
            if id_of(frame) == Some(requests::CHAR_ENTER) {
                self.enter(context, Fields(frame));
            }
            return;
        };
        if let Some(seed) = self.asked {
            match id_of(frame) {
                Some(requests::ENTER_PIN) => return self.pin(context, seed, Fields(frame)),
                Some(id) if requests::BEFORE_PIN.contains(&id) => {}
                _ => return context.outbox.close(CloseReason::PinMissing),
            }
        }
        match id_of(frame) {
            Some(requests::LIST_PAGE) => context.outbox.push(&dialect.list_page(account)),
            Some(requests::SELECT_CHAR) if Fields(frame).u8(2) == 0 => {
                let world = &context.shared.world;
                if world.select_character(account, ids) {
                    let server = reachable(world.map_server(0), context.reached);
                    let map = Place::HOME.map.name();
                    let way = dialect.go_to_map_server(account, map, server);
                    context.outbox.push(&way);
                }
            }
            Some(requests::SELECT_CHAR) => context.outbox.push(&packets::refuse_char(0)),
            // 0187 keep-alive and whatever the practice game does not have.
            _ => {}
        }
    }

    /// 08B8: right or wrong, it is answered with the next seed.
    fn pin(&mut self, context: &Context, seed: u32, fields: Fields<'_>) {
        let (Some((account, _)), Some(pin)) = (self.session, context.shared.pin) else {
            return;
        };
        let right = fields.array::<4>(6) == packets::pin_keys(seed, pin);
        let next = rand::random();
        self.asked = (!right).then_some(next);
        if right {
            context.shared.world.show_pin(account);
        }
        let state = if right {
            packets::PIN_OFF
        } else {
            packets::PIN_WRONG
        };
        let answer = packets::pin_state(account, next, state);
        context.outbox.push(&answer);
    }

    fn enter(&mut self, context: &Context, fields: Fields<'_>) {
        let (aid, login_id1) = (fields.u32(2), fields.u32(6));
        let ids = LoginIds {
            login_id1,
            login_id2: fields.u32(10),
            sex: fields.u8(16),
        };
        let world = &context.shared.world;
        // First the raw account id, before anything is checked.
        context.outbox.push(&aid.to_le_bytes());
        let Some(account) = Account::by_aid(aid) else {
            context.outbox.push(&packets::refuse_char(0));
            return;
        };
        self.key = Some(world.count_connection(Role::Char, account, login_id1));
        let seat = Seat::new(context.id, &context.outbox);
        if world.enter_char(account, ids, seat) {
            self.session = Some((account, ids));
            let burst = context.shared.dialect.char_burst(account);
            context.outbox.push(&burst);
            // Who comes back from a map has shown the pin already.
            let asked = context.shared.pin.is_some() && !world.pin_shown(account);
            let (seed, state) = if asked {
                (rand::random(), packets::PIN_ASKED)
            } else {
                (login_id1 & 0xFFFF, packets::PIN_OFF)
            };
            self.asked = asked.then_some(seed);
            let state = packets::pin_state(account, seed, state);
            context.outbox.push(&state);
        } else {
            context.outbox.push(&packets::refuse_char(0));
        }
    }
}
