//! Open dashboards: what they are told, once a second, and the history that the charts begin with.
//!
//! At most [`MAX_VIEWERS`] look at once. Each has a queue of [`QUEUE`] events; whoever does not take
//! them in that many seconds is dropped. Events are made once for all.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use warp_protocol::ProblemCode;

use super::{scrape::failovers, snapshot::dashboard};
use crate::{app::App, problem::Refused};

/// Dashboards that may be open at once.
pub(crate) const MAX_VIEWERS: usize = 64;

/// Events that wait for one viewer.
const QUEUE: usize = 10;

/// How often viewers are told.
const EVERY: Duration = Duration::from_secs(1);

/// Seconds that the history holds.
const HISTORY: usize = 300;

/// One second of the charts.
#[derive(Debug, Clone, Serialize)]
struct Sample {
    /// Unix seconds.
    t: u64,
    sessions: usize,
    hosts: u32,
    /// Relayed signals and datagrams per second.
    relayed: f64,
    failovers: u64,
}

/// An event as its text; shared by all viewers.
pub(crate) type Event = Arc<str>;

/// All open dashboards.
#[derive(Debug, Default)]
pub(crate) struct Viewers {
    open: Mutex<Vec<mpsc::Sender<Event>>>,
    history: Mutex<VecDeque<Sample>>,
}

impl Viewers {
    /// Lets one in. The first event is the history and everything as it is.
    ///
    /// # Errors
    /// `too-many-requests`, when there are as many as may be; the database.
    pub(crate) async fn enter(&self, app: &App) -> Result<mpsc::Receiver<Event>, Refused> {
        let full = || {
            let text = "as many dashboards are open as may be; close one, or try again later";
            Refused::new(ProblemCode::TooManyRequests, text).retry_after(10)
        };
        if self.count() >= MAX_VIEWERS {
            return Err(full());
        }
        let figures = dashboard(app).await?;
        let history: Vec<Sample> = self.history.lock().iter().cloned().collect();
        let recent = app.live.hosting.recent.after(0);
        let first = json!({"figures": figures, "history": history, "happened": recent});
        let (tx, rx) = mpsc::channel(QUEUE);
        // It has room: it is new.
        let _ = tx.try_send(first.to_string().into());
        let mut open = self.open.lock();
        open.retain(|viewer| !viewer.is_closed());
        if open.len() >= MAX_VIEWERS {
            return Err(full());
        }
        open.push(tx);
        Ok(rx)
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        let mut open = self.open.lock();
        open.retain(|viewer| !viewer.is_closed());
        open.len()
    }

    fn tell(&self, event: &Event) {
        let mut open = self.open.lock();
        open.retain(|viewer| viewer.try_send(Arc::clone(event)).is_ok());
    }

    fn remember(&self, sample: Sample) {
        let mut history = self.history.lock();
        if history.len() >= HISTORY {
            history.pop_front();
        }
        history.push_back(sample);
    }
}

/// Takes a sample a second, and tells whoever looks; runs until the coordinator stops.
pub(crate) async fn watch(app: App) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = 0;
    loop {
        tokio::select! {
            () = app.stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let sample = sample(&app);
        app.viewers.remember(sample.clone());
        let happened = app.live.hosting.recent.after(told);
        told = happened.last().map_or(told, |last| last.number);
        if app.viewers.count() == 0 {
            continue;
        }
        let figures = match tokio::time::timeout(EVERY, dashboard(&app)).await {
            Ok(Ok(figures)) => figures,
            // What else there is is told all the same.
            _ => Value::Null,
        };
        let event = json!({"figures": figures, "history": [sample], "happened": happened});
        app.viewers.tell(&event.to_string().into());
    }
    // Their streams end with their queues.
    app.viewers.open.lock().clear();
}

fn sample(app: &App) -> Sample {
    let rates = app.rates.look(app);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let hosting = &app.live.hosting;
    Sample {
        t: now.unwrap_or_default().as_secs(),
        sessions: app.live.tally().0,
        hosts: hosting.tally().online,
        relayed: (rates.signals + rates.datagrams).round(),
        failovers: failovers(&hosting.counters()),
    }
}
