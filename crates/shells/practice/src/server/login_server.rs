//! The login server: 0064 in; accepted, 083E or 0081 out.

use super::connection::Context;
use super::reachable;
use crate::game::Account;
use crate::report::{Role, session_key};
use crate::wire::{Fields, id_of, packets, requests};

/// Answers of 083E.
const UNKNOWN_ACCOUNT: u32 = 0;
const WRONG_PASSWORD: u32 = 1;
/// 0081: the account is still online.
pub(super) const STILL_ONLINE: u8 = 8;

/// One login connection.
#[derive(Default)]
pub(super) struct LoginSide {
    key: Option<String>,
}

impl LoginSide {
    pub(super) fn key(&mut self) -> Option<String> {
        self.key.take()
    }

    /// Everything but 0064 has no answer: the practice accounts know no other way to log in.
    pub(super) fn handle(&mut self, context: &Context, frame: &[u8]) {
        if id_of(frame) != Some(requests::LOGIN) {
            return;
        }
        let fields = Fields(frame);
        let world = &context.shared.world;
        let Some(account) = Account::by_user(fields.text(6, 24)) else {
            context.outbox.push(&packets::refuse_login(UNKNOWN_ACCOUNT));
            return;
        };
        let refused = || Some(world.refused_key(Role::Login, account));
        if fields.text(30, 24) != account.user().as_bytes() {
            self.key = refused();
            context.outbox.push(&packets::refuse_login(WRONG_PASSWORD));
            return;
        }
        let Some(ids) = world.login(account) else {
            self.key = refused();
            context.outbox.push(&packets::notify_ban(STILL_ONLINE));
            return;
        };
        self.key = Some(session_key(Role::Login, &account.user(), ids.login_id1, 1));
        let char_server = reachable(world.char_server(), context.reached);
        let accepted = context
            .shared
            .dialect
            .accept_login(account, ids, char_server);
        context.outbox.push(&accepted);
    }
}
