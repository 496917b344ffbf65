//! Sessions of the contract, and what zones had of them in all.

use std::collections::HashMap;

use warp_coordinator_core::{HostSession, host_sessions::Changes};
use warp_protocol::contract::{SessionMetrics, SessionResponse, SessionStatus};

use super::{
    Store, StoreError, corrupt,
    sql::{Sql, sql},
};
use crate::tokens::rfc3339;

/// Which sessions are asked for; none: all of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionFilter {
    pub(crate) status: Option<SessionStatus>,
    pub(crate) host_id: Option<String>,
    pub(crate) zone_id: Option<String>,
}

/// What a zone had in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ZoneTotals {
    pub(crate) sessions: u64,
    pub(crate) players: u64,
}

/// A session as it is stored, in the order of [`columns`].
type Stored = (
    i64,
    String,
    String,
    String,
    String,
    Option<String>,
    i64,
    String,
    i64,
    i64,
    Option<i64>,
    Option<i64>,
);

macro_rules! columns {
    () => {
        "SELECT id, session_id, host_id, zone_id, status, reason, max_players, metrics,
             created_at, updated_at, started_at, ended_at
         FROM sessions "
    };
}

/// A parameter that is absent lets every row through.
macro_rules! wanted {
    () => {
        "WHERE ($1 IS NULL OR status = $1) AND ($2 IS NULL OR host_id = $2)
             AND ($3 IS NULL OR zone_id = $3) "
    };
}

impl Store {
    /// Stores sessions as they are, and adds to what zones had: all of it or nothing.
    pub(crate) async fn put_sessions(&self, changes: &Changes) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for session in &changes.sessions {
            tx.execute(put(session)?).await?;
        }
        for (zone_id, added) in &changes.zones {
            let add = sql(
                "INSERT INTO zone_totals (zone_id, sessions, players) VALUES ($1, $2, $3)
                 ON CONFLICT (zone_id) DO UPDATE SET
                     sessions = zone_totals.sessions + $2,
                     players = zone_totals.players + $3",
            )
            .bind(zone_id.as_str())
            .bind(signed(added.sessions))
            .bind(signed(added.players));
            tx.execute(add).await?;
        }
        tx.commit().await
    }

    /// One session, by its row id or its text id.
    pub(crate) async fn session(&self, id: &str) -> Result<Option<SessionResponse>, StoreError> {
        // No row has the number 0.
        let row_id: i64 = id.parse().unwrap_or(0);
        let query = sql(concat!(columns!(), "WHERE session_id = $1 OR id = $2"));
        let row = self.optional(query.bind(id).bind(row_id)).await?;
        row.map(session_of).transpose()
    }

    /// Sessions, the newest first, and how many there are in all.
    pub(crate) async fn sessions(
        &self,
        filter: &SessionFilter,
        limit: u32,
        offset: u32,
    ) -> Result<(Vec<SessionResponse>, u64), StoreError> {
        let filtered = |query: Sql| {
            query
                .bind(filter.status.map(SessionStatus::name))
                .bind(filter.host_id.as_deref())
                .bind(filter.zone_id.as_deref())
        };
        let count = sql(concat!("SELECT count(*) FROM sessions ", wanted!()));
        let page = sql(concat!(
            columns!(),
            wanted!(),
            "ORDER BY created_at DESC, id DESC LIMIT $4 OFFSET $5"
        ));
        let page = filtered(page)
            .bind(i64::from(limit))
            .bind(i64::from(offset));
        let mut connection = self.connection().await?;
        let total = connection.optional::<(i64,)>(filtered(count)).await?;
        let rows = connection.all(page).await?;
        let sessions = rows.into_iter().map(session_of);
        let total = total.map_or(0, |(total,)| u64::try_from(total).unwrap_or(0));
        Ok((sessions.collect::<Result<_, _>>()?, total))
    }

    /// What each zone had in all.
    pub(crate) async fn zone_totals(&self) -> Result<HashMap<String, ZoneTotals>, StoreError> {
        let query = sql("SELECT zone_id, sessions, players FROM zone_totals");
        let rows = self.all::<(String, i64, i64)>(query).await?;
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let totals = rows.into_iter().map(|(zone_id, sessions, players)| {
            let totals = ZoneTotals {
                sessions: number(sessions),
                players: number(players),
            };
            (zone_id, totals)
        });
        Ok(totals.collect())
    }

    /// Fails the open sessions of a process that is no more. Gives how many.
    pub(crate) async fn fail_open_sessions(&self, now: i64) -> Result<u64, StoreError> {
        let fail = sql(
            "UPDATE sessions SET status = 'failed', ended_at = $1, updated_at = $1,
                 reason = 'the coordinator was started anew'
             WHERE status IN ('pending', 'active', 'paused')",
        );
        self.execute(fail.bind(now)).await
    }

    /// Forgets sessions that were over before this. Gives how many.
    pub(crate) async fn forget_sessions(&self, before: i64) -> Result<u64, StoreError> {
        let forget =
            sql("DELETE FROM sessions WHERE status IN ('ended', 'failed') AND ended_at < $1");
        self.execute(forget.bind(before)).await
    }
}

fn put(session: &HostSession) -> Result<Sql, StoreError> {
    let metrics = serde_json::to_string(&session.metrics).map_err(|_| corrupt("metrics"))?;
    Ok(sql(
        "INSERT INTO sessions (id, session_id, host_id, zone_id, status, reason, max_players,
             metrics, created_at, updated_at, started_at, ended_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (id) DO UPDATE SET
             status = $5, reason = $6, max_players = $7, metrics = $8, updated_at = $10,
             started_at = $11, ended_at = $12",
    )
    .bind(session.ids.id)
    .bind(session.ids.session_id.as_str())
    .bind(session.pair.host_id.as_str())
    .bind(session.pair.zone_id.as_str())
    .bind(session.status.name())
    .bind(session.reason.as_deref())
    .bind(i64::from(session.max_players))
    .bind(metrics)
    .bind(session.created_at)
    .bind(session.updated_at)
    .bind(session.started_at)
    .bind(session.ended_at))
}

fn session_of(
    (
        id,
        session_id,
        host_id,
        zone_id,
        status,
        reason,
        max_players,
        metrics,
        created_at,
        updated_at,
        started_at,
        ended_at,
    ): Stored,
) -> Result<SessionResponse, StoreError> {
    let known = SessionStatus::ALL.into_iter().find(|s| s.name() == status);
    let metrics: SessionMetrics =
        serde_json::from_str(&metrics).map_err(|_| corrupt("session metrics"))?;
    Ok(SessionResponse {
        id,
        session_id,
        host_id,
        zone_id,
        connected_players: Vec::new(),
        current_players: 0,
        max_players: u32::try_from(max_players).unwrap_or(u32::MAX),
        status: known.ok_or_else(|| corrupt("session status"))?,
        average_latency_ms: metrics.avg_latency_ms,
        average_packet_loss_percent: metrics.packet_loss_percent,
        bandwidth_usage_mbps: metrics.bandwidth_usage_mbps,
        reason,
        started_at: started_at.map(rfc3339),
        ended_at: ended_at.map(rfc3339),
        created_at: rfc3339(created_at),
        updated_at: rfc3339(updated_at),
    })
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use warp_coordinator_core::host_sessions::{Change, HostSessions, Pair, SessionIds};

    use super::*;

    crate::store::testing::on_both!(
        what_is_stored_is_found_under_both_ids_and_by_filter,
        a_zone_that_had_nothing_is_counted_from_its_first_session_on,
    );

    fn ids(id: i64) -> SessionIds {
        SessionIds {
            id,
            session_id: format!("session-{id:016x}"),
        }
    }

    fn pair(host_id: &str, zone_id: &str) -> Pair {
        Pair {
            host_id: host_id.into(),
            zone_id: zone_id.into(),
        }
    }

    async fn what_is_stored_is_found_under_both_ids_and_by_filter(store: &Store) {
        let mut table = HostSessions::default();
        let us = 1_000_000;
        for (n, host, zone) in [(1, "a", "z"), (2, "a", "y"), (3, "b", "z")] {
            let slot = (host.to_owned(), u32::try_from(n).unwrap());
            table.carried(slot, "ann", (ids(n), pair(host, zone), 9), n * us);
        }
        store.put_sessions(&table.take_changes()).await.unwrap();
        let done = table.change(&pair("b", "z"), Change::End, Some("done".into()), 9 * us);
        done.unwrap().unwrap();
        store.put_sessions(&table.take_changes()).await.unwrap();

        let one = store.session("2").await.unwrap().unwrap();
        assert_eq!(
            store.session(&one.session_id).await.unwrap(),
            Some(one.clone())
        );
        assert_eq!((one.host_id.as_str(), one.zone_id.as_str()), ("a", "y"));
        assert_eq!(one.created_at, "1970-01-01T00:00:02.000000+00:00");
        assert_eq!(store.session("0").await.unwrap(), None);
        assert_eq!(store.session("x' OR '1'='1").await.unwrap(), None);
        let found = async |filter: SessionFilter, limit, offset| {
            let (some, total) = store.sessions(&filter, limit, offset).await.unwrap();
            (some.iter().map(|s| s.id).collect::<Vec<_>>(), total)
        };
        assert_eq!(found(SessionFilter::default(), 2, 0).await, (vec![3, 2], 3));
        assert_eq!(found(SessionFilter::default(), 2, 2).await, (vec![1], 3));
        let mut filter = SessionFilter {
            zone_id: Some("z".into()),
            ..SessionFilter::default()
        };
        assert_eq!(found(filter.clone(), 9, 0).await, (vec![3, 1], 2));
        filter.status = Some(SessionStatus::Ended);
        assert_eq!(found(filter.clone(), 9, 0).await, (vec![3], 1));
        filter.host_id = Some("a".into());
        assert_eq!(found(filter, 9, 0).await, (vec![], 0));

        let totals = store.zone_totals().await.unwrap();
        assert_eq!((totals["z"].sessions, totals["z"].players), (2, 2));
        // Counters outlive the rows, and a dead process's sessions are over.
        assert_eq!(store.fail_open_sessions(20 * us).await.unwrap(), 2);
        assert_eq!(
            store.session("1").await.unwrap().unwrap().status,
            SessionStatus::Failed
        );
        assert_eq!(store.forget_sessions(15 * us).await.unwrap(), 1);
        assert_eq!(store.session("3").await.unwrap(), None);
        assert_eq!(store.zone_totals().await.unwrap()["z"].sessions, 2);
    }

    async fn a_zone_that_had_nothing_is_counted_from_its_first_session_on(store: &Store) {
        assert!(store.zone_totals().await.unwrap().is_empty());
        let added = warp_coordinator_core::host_sessions::ZoneAdded {
            sessions: 1,
            players: 3,
        };
        let changes = Changes {
            sessions: Vec::new(),
            zones: BTreeMap::from([("z".to_owned(), added)]),
        };
        for _ in 0..2 {
            store.put_sessions(&changes).await.unwrap();
        }
        let totals = store.zone_totals().await.unwrap()["z"];
        assert_eq!((totals.sessions, totals.players), (2, 6));
    }
}
