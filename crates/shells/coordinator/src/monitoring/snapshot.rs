//! The dashboard's figures as JSON.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use warp_coordinator_core::fleet::HostFilter;
use warp_protocol::zone::ZoneStatus;

use super::{
    metrics::SocketKind,
    rate,
    scrape::{by_reason, failovers, two_decimals},
};
use crate::{app::App, problem::Refused};

/// Hosts and zones that are named; the sums count all.
const NAMED: usize = 200;

/// How long figures that were found count.
const FRESH: Duration = Duration::from_millis(250);

/// What the relays had passed on when it was last looked, and how fast that was.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<Option<Looked>>);

#[derive(Debug, Clone, Copy)]
struct Looked {
    at: Instant,
    signals: u64,
    datagrams: u64,
    bytes: u64,
    rates: RelayRates,
}

/// Per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct RelayRates {
    pub(crate) signals: f64,
    pub(crate) datagrams: f64,
    pub(crate) bytes: f64,
}

impl Rates {
    /// Looks anew; once a second.
    pub(crate) fn look(&self, app: &App) -> RelayRates {
        let at = Instant::now();
        let signals = app.metrics.relayed_signals();
        let (datagrams, bytes) = app.metrics.relayed_datagrams();
        let mut last = self.0.lock();
        let rates = last.map_or_else(RelayRates::default, |last| {
            let between: Duration = at.duration_since(last.at);
            RelayRates {
                signals: rate(last.signals, signals, between),
                datagrams: rate(last.datagrams, datagrams, between),
                bytes: rate(last.bytes, bytes, between),
            }
        });
        *last = Some(Looked {
            at,
            signals,
            datagrams,
            bytes,
            rates,
        });
        rates
    }

    /// As of the last look.
    pub(crate) fn last(&self) -> RelayRates {
        self.0.lock().map(|last| last.rates).unwrap_or_default()
    }
}

/// What was found last, so that many askers cost no more than one.
#[derive(Debug, Default)]
pub(crate) struct LastFigures(tokio::sync::Mutex<Option<(Instant, Bytes)>>);

impl LastFigures {
    /// What `GET monitoring/dashboard` answers, not older than [`FRESH`].
    ///
    /// # Errors
    /// The database.
    pub(crate) async fn text(&self, app: &App) -> Result<Bytes, Refused> {
        let mut last = self.0.lock().await;
        if let Some((at, text)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        // As of when it was asked for: what changes meanwhile may be missing in it.
        let at = Instant::now();
        let text = Bytes::from(dashboard(app).await?.to_string());
        *last = Some((at, text.clone()));
        Ok(text)
    }
}

/// Everything that the dashboard shows, as it is now.
///
/// # Errors
/// The database.
pub(crate) async fn dashboard(app: &App) -> Result<Value, Refused> {
    let zones = app.store.zones().await?;
    let health = app.health.report().await;
    let with = |wanted: ZoneStatus| zones.iter().filter(|(_, s)| *s == wanted).count();
    let mut by_zone = app.live.by_zone();
    let zone_list: Vec<Value> = zones
        .iter()
        .take(NAMED)
        .map(|(zone, status)| {
            let players = by_zone.remove(&zone.zone_id).unwrap_or(0);
            json!({"zone_id": zone.zone_id, "status": status, "p2p": zone.p2p_enabled, "players": players})
        })
        .collect();
    let hosting = &app.live.hosting;
    let tally = hosting.tally();
    let (sessions, used) = app.live.tally();
    let host_list: Vec<Value> = hosting
        .hosts(HostFilter::default())
        .into_iter()
        .take(NAMED)
        .map(|host| {
            json!({
                "host_id": host.host_id, "status": host.status, "zones": host.zones,
                "players": host.current_players, "max_players": host.max_players,
                "latency_ms": host.latency_ms, "quality_score": host.quality_score,
            })
        })
        .collect();
    let sockets: BTreeMap<&str, i64> = SocketKind::ALL
        .into_iter()
        .map(|kind| (kind.name(), app.metrics.sockets(kind)))
        .collect();
    let counters = hosting.counters();
    let moves: BTreeMap<&str, u64> = by_reason(&counters)
        .map(|(_, name, count)| (name, count))
        .collect();
    let system: BTreeMap<&str, &str> = health
        .iter()
        .map(|(name, status)| (*name, status.text()))
        .collect();
    let rates = app.rates.last();
    let (datagrams, bytes) = app.metrics.relayed_datagrams();
    Ok(json!({
        "hosts": {
            "total": tally.online + tally.offline + tally.busy + tally.maintenance,
            "online": tally.online,
            "offline": tally.offline,
            "busy": tally.busy,
            "maintenance": tally.maintenance,
            "average_quality_score": two_decimals(tally.score),
        },
        "zones": {
            "total": zones.len(),
            "enabled": with(ZoneStatus::Enabled),
            "disabled": with(ZoneStatus::Disabled),
            "maintenance": with(ZoneStatus::Maintenance),
        },
        "sessions": {
            "total": sessions,
            "active": used,
            "inactive": sessions - used,
            "total_players": used,
            "average_latency_ms": two_decimals(tally.latency_ms),
        },
        "system": system,
        "sockets": sockets,
        "relay": {
            "signals_total": app.metrics.relayed_signals(),
            "datagrams_total": datagrams,
            "bytes_total": bytes,
            "signals_per_second": two_decimals(Some(rates.signals)),
            "datagrams_per_second": two_decimals(Some(rates.datagrams)),
            "bytes_per_second": two_decimals(Some(rates.bytes)),
        },
        "failovers": {"total": failovers(&counters), "moves": moves},
        "host_list": host_list,
        "zone_list": zone_list,
    }))
}
