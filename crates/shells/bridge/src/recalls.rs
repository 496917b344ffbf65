//! What each client said to sign in.

use std::collections::HashMap;
use std::net::SocketAddr;

use parking_lot::Mutex;
use warp_bridge_core::{Recall, Recorded, SessionIds};

use crate::bridge::Shared;

/// By client; as many as there are clients, because each is forgotten with its client.
#[derive(Debug, Default)]
pub(crate) struct Recalls(Mutex<HashMap<u64, Recall>>);

impl Recalls {
    /// Connection `n`, which goes to `server`, recorded something.
    pub(crate) fn note(&self, shared: &Shared, n: u64, recorded: Recorded, server: SocketAddr) {
        if !shared.reentry {
            return;
        }
        // A client that goes at this moment is forgotten below or by its notice, whichever is later.
        let Some(client) = shared.client_of(n) else {
            return;
        };
        let mut recalls = self.0.lock();
        recalls.entry(client).or_default().note(recorded, server);
        drop(recalls);
        if shared.client_of(n) != Some(client) {
            self.forget(client);
        }
    }

    /// A client turned out to be another one.
    pub(crate) fn moved(&self, before: Option<u64>, now: Option<u64>) {
        if let (Some(before), Some(now)) = (before, now)
            && before != now
        {
            let mut recalls = self.0.lock();
            if let Some(recall) = recalls.remove(&before) {
                recalls.insert(now, recall);
            }
        }
    }

    pub(crate) fn forget(&self, client: u64) {
        self.0.lock().remove(&client);
    }

    /// The session numbers that the client's next servers have to be shown.
    pub(crate) fn ids(&self, client: Option<u64>) -> Option<SessionIds> {
        self.0.lock().get(&client?)?.ids()
    }

    /// Does something with what is known of a client.
    pub(crate) fn with<R>(&self, client: u64, work: impl FnOnce(&mut Recall) -> R) -> Option<R> {
        self.0.lock().get_mut(&client).map(work)
    }
}
