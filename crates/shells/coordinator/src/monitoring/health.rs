//! Whether everything works that the coordinator needs.
//!
//! Every check has [`CHECK_TIME`]; all run at once, and what they found is answered for
//! [`FRESH`] to whoever asks. So an answer comes within two seconds even when a store is frozen, and
//! many askers cost no more than one. A check logs when it begins and when it ceases to fail.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use serde::{Serialize, Serializer};

/// Longest that one check may take.
const CHECK_TIME: Duration = Duration::from_secs(1);

/// What was found counts for so long. With [`CHECK_TIME`] it is less than the two seconds within which
/// something that ceases to work has to be seen.
const FRESH: Duration = Duration::from_millis(500);

/// `Err` says for the log what is wrong; clients are told only that it is down.
pub(crate) type Checked = Result<(), String>;

type Check = Arc<dyn Fn() -> BoxFuture<'static, Checked> + Send + Sync>;

/// What was found: each check and whether it passed.
pub(crate) type Report = Arc<BTreeMap<&'static str, Status>>;

/// What one check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It works.
    Healthy,
    /// It failed.
    Down,
    /// It did not answer within [`CHECK_TIME`].
    Slow,
}

impl Status {
    /// As clients are told.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Down => "down",
            Self::Slow => "no answer within 1 s",
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// All checks.
#[derive(Default)]
pub(crate) struct Health {
    checks: Mutex<Vec<(&'static str, Check)>>,
    last: tokio::sync::Mutex<Option<(Instant, u64, Report)>>,
    /// Counts what makes a report old before its time.
    changes: AtomicU64,
}

impl Health {
    /// Adds a check, or puts another in its place. `check` must end when it is dropped.
    pub(crate) fn add<F>(&self, name: &'static str, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Checked> + Send + 'static,
    {
        let check: Check = Arc::new(move || Box::pin(check()));
        let mut checks = self.checks.lock();
        checks.retain(|(known, _)| *known != name);
        checks.push((name, check));
    }

    /// Something has changed: the next report is a new one.
    pub(crate) fn outdated(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// What is found now, or was a moment ago ([`FRESH`]).
    pub(crate) async fn report(&self) -> Report {
        let mut last = self.last.lock().await;
        let changes = self.changes.load(Ordering::SeqCst);
        if let Some((at, of, report)) = last.as_ref()
            && at.elapsed() < FRESH
            && *of == changes
        {
            return Arc::clone(report);
        }
        let checks = self.checks.lock().clone();
        let found = join_all(checks.into_iter().map(|(name, check)| async move {
            let checked = tokio::time::timeout(CHECK_TIME, check()).await;
            (name, checked)
        }));
        let before = last.as_ref().map(|(_, _, report)| Arc::clone(report));
        let mut report = BTreeMap::new();
        for (name, checked) in found.await {
            let status = match &checked {
                Ok(Ok(())) => Status::Healthy,
                Ok(Err(_)) => Status::Down,
                Err(_) => Status::Slow,
            };
            let known = before.as_ref().and_then(|before| before.get(name));
            if known.copied().unwrap_or(Status::Healthy) != status {
                let why = checked.ok().and_then(Result::err);
                tracing::warn!(check = name, status = status.text(), why, "health changed");
            }
            report.insert(name, status);
        }
        let report = Arc::new(report);
        *last = Some((Instant::now(), changes, Arc::clone(&report)));
        report
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_frozen_check_is_named_in_time_and_asked_once_for_all() {
        let health = Arc::new(Health::default());
        let asked = Arc::new(AtomicU32::new(0));
        health.add("quick", || async { Ok(()) });
        health.add("broken", || async { Err("it said no".to_owned()) });
        let count = Arc::clone(&asked);
        health.add("frozen", move || {
            count.fetch_add(1, Ordering::Relaxed);
            std::future::pending()
        });
        let before = tokio::time::Instant::now();
        let all = join_all((0..20).map(|_| health.report())).await;
        assert!(before.elapsed() < Duration::from_millis(1500));
        for report in all {
            assert_eq!(report["quick"], Status::Healthy);
            assert_eq!(report["broken"], Status::Down);
            assert_eq!(report["frozen"], Status::Slow);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_works_again_is_seen_soon_and_a_known_change_at_once() {
        let health = Health::default();
        health.add("store", || async { Err(String::new()) });
        assert_eq!(health.report().await["store"], Status::Down);
        health.add("store", || async { Ok(()) });
        assert_eq!(health.report().await["store"], Status::Down, "still fresh");
        tokio::time::sleep(FRESH).await;
        assert_eq!(health.report().await["store"], Status::Healthy);
        health.add("store", || async { Err(String::new()) });
        health.outdated();
        assert_eq!(health.report().await["store"], Status::Down);
    }
}
