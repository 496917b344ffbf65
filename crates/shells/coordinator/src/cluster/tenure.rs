//! Whether this coordinator may act on the live state, at this very moment.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use warp_protocol::ProblemCode;

use crate::problem::Refused;

/// One that stands alone always may; a node of a cluster may while its lease lasts. Asked at each
/// decision that grants something, by the monotonic clock, because a process that stood still finds
/// out by nothing else. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Tenure(Option<Arc<Limits>>);

struct Limits {
    start: Instant,
    lease: Duration,
    /// µs since the start.
    until: AtomicU64,
    fence: AtomicU64,
}

impl Tenure {
    /// Of a node that owns nothing yet.
    pub(super) fn of_node(start: Instant, lease: Duration) -> Self {
        Self(Some(Arc::new(Limits {
            start,
            lease,
            until: AtomicU64::new(0),
            fence: AtomicU64::new(0),
        })))
    }

    /// The lease lasts until then, or there is none.
    pub(super) fn set(&self, until: Option<Duration>, fence: Option<u64>) {
        let Some(limits) = &self.0 else { return };
        if let Some(fence) = fence {
            limits.fence.store(fence, Ordering::SeqCst);
        }
        let until = until.map_or(0, |until| u64::try_from(until.as_micros()).unwrap_or(0));
        limits.until.store(until, Ordering::SeqCst);
    }

    /// Whether it may act now.
    pub(crate) fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|limits| {
            let until = Duration::from_micros(limits.until.load(Ordering::SeqCst));
            limits.start.elapsed() < until
        })
    }

    /// # Errors
    /// It may not act now.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        self.holds().then_some(()).ok_or_else(suspended)
    }

    /// The fencing number; none: it stands alone.
    pub(crate) fn fence(&self) -> Option<u64> {
        let limits = self.0.as_ref()?;
        Some(limits.fence.load(Ordering::SeqCst))
    }

    /// After how long without a word the other side should look for another owner; none: there is no
    /// other.
    pub(crate) fn silence(&self) -> Option<Duration> {
        self.0.as_ref().map(|limits| limits.lease)
    }
}

/// The lease cannot be renewed.
pub(super) fn suspended() -> Refused {
    let text =
        "the cluster's Redis does not answer, so nothing can be granted; try again in a moment";
    Refused::new(ProblemCode::CoordinatorFault, text).retry_after(1)
}
