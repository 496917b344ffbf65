//! How outcomes come to the loop.

use tokio::sync::mpsc;
use warp_engine_core::machine::Outcome;

/// An outcome with the number of the play that it belongs to; 0 for none.
pub(crate) type Tagged = (u64, Outcome);

/// Sends outcomes of one play.
#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) play: u64,
    pub(crate) sender: mpsc::Sender<Tagged>,
}

impl Outbox {
    pub(crate) async fn send(&self, outcome: Outcome) {
        // The loop has ended: nobody is left to tell.
        let _ = self.sender.send((self.play, outcome)).await;
    }

    /// For callers that cannot wait; a full queue drops it, with a line in the log.
    pub(crate) fn offer(&self, outcome: Outcome) {
        if let Err(mpsc::error::TrySendError::Full((_, outcome))) =
            self.sender.try_send((self.play, outcome))
        {
            tracing::warn!(?outcome, "the engine is swamped; an event was dropped");
        }
    }
}
