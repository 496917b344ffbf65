//! Sessions of the contract, and what zones had of them in all.

use std::collections::HashMap;

use sqlx::Row;
use warp_coordinator_core::{HostSession, host_sessions::Changes};
use warp_protocol::contract::{SessionResponse, SessionStatus};

use super::{Store, StoreError, bounded, corrupt};
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

const COLUMNS: &str = "id, session_id, host_id, zone_id, status, reason, max_players, latency_ms,
     loss_percent, bandwidth, created_at, updated_at, started_at, ended_at";

/// A parameter that is absent lets every row through.
const WANTED: &str = "($1 IS NULL OR status = $1) AND ($2 IS NULL OR host_id = $2)
     AND ($3 IS NULL OR zone_id = $3)";

impl Store {
    /// Stores sessions as they are, and adds to what zones had: all of it or nothing.
    pub(crate) async fn put_sessions(&self, changes: &Changes) -> Result<(), StoreError> {
        bounded(async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            for session in &changes.sessions {
                put(&mut tx, session).await?;
            }
            for (zone_id, added) in &changes.zones {
                sqlx::query(
                    "INSERT INTO zone_totals (zone_id, sessions, players) VALUES ($1, $2, $3)
                     ON CONFLICT (zone_id) DO UPDATE SET
                         sessions = zone_totals.sessions + $2,
                         players = zone_totals.players + $3",
                )
                .bind(zone_id)
                .bind(signed(added.sessions))
                .bind(signed(added.players))
                .execute(&mut *tx)
                .await?;
            }
            tx.commit().await
        })
        .await
    }

    /// One session, by its row id or its text id.
    pub(crate) async fn session(&self, id: &str) -> Result<Option<SessionResponse>, StoreError> {
        // No row has the number 0.
        let row_id: i64 = id.parse().unwrap_or(0);
        bounded(async {
            let sql = format!("SELECT {COLUMNS} FROM sessions WHERE session_id = $1 OR id = $2");
            let row = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(id)
                .bind(row_id)
                .fetch_optional(&self.pool)
                .await?;
            row.map(|row| session_of(&row)).transpose()
        })
        .await
    }

    /// Sessions, the newest first, and how many there are in all.
    pub(crate) async fn sessions(
        &self,
        filter: &SessionFilter,
        limit: u32,
        offset: u32,
    ) -> Result<(Vec<SessionResponse>, u64), StoreError> {
        let status = filter.status.map(SessionStatus::name);
        bounded(async {
            let sql = format!("SELECT count(*) FROM sessions WHERE {WANTED}");
            let total: i64 = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(status)
                .bind(&filter.host_id)
                .bind(&filter.zone_id)
                .fetch_one(&self.pool)
                .await?
                .try_get(0)?;
            let sql = format!(
                "SELECT {COLUMNS} FROM sessions WHERE {WANTED}
                 ORDER BY created_at DESC, id DESC LIMIT $4 OFFSET $5"
            );
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(status)
                .bind(&filter.host_id)
                .bind(&filter.zone_id)
                .bind(i64::from(limit))
                .bind(i64::from(offset))
                .fetch_all(&self.pool)
                .await?;
            let sessions = rows.iter().map(session_of).collect::<Result<_, _>>()?;
            Ok((sessions, u64::try_from(total).unwrap_or(0)))
        })
        .await
    }

    /// What each zone had in all.
    pub(crate) async fn zone_totals(&self) -> Result<HashMap<String, ZoneTotals>, StoreError> {
        bounded(async {
            let rows = sqlx::query("SELECT zone_id, sessions, players FROM zone_totals")
                .fetch_all(&self.pool)
                .await?;
            let number = |row: &sqlx::sqlite::SqliteRow, name: &str| {
                row.try_get(name)
                    .map(|n: i64| u64::try_from(n).unwrap_or(0))
            };
            let totals = rows.iter().map(|row| {
                let totals = ZoneTotals {
                    sessions: number(row, "sessions")?,
                    players: number(row, "players")?,
                };
                Ok((row.try_get("zone_id")?, totals))
            });
            totals.collect()
        })
        .await
    }

    /// Fails the open sessions of a process that is no more. Gives how many.
    pub(crate) async fn fail_open_sessions(&self, now: i64) -> Result<u64, StoreError> {
        bounded(async {
            let done = sqlx::query(
                "UPDATE sessions SET status = 'failed', ended_at = $1, updated_at = $1,
                     reason = 'the coordinator was started anew'
                 WHERE status IN ('pending', 'active', 'paused')",
            )
            .bind(now)
            .execute(&self.pool)
            .await?;
            Ok(done.rows_affected())
        })
        .await
    }

    /// Forgets sessions that were over before this. Gives how many.
    pub(crate) async fn forget_sessions(&self, before: i64) -> Result<u64, StoreError> {
        bounded(async {
            let done = sqlx::query(
                "DELETE FROM sessions WHERE status IN ('ended', 'failed') AND ended_at < $1",
            )
            .bind(before)
            .execute(&self.pool)
            .await?;
            Ok(done.rows_affected())
        })
        .await
    }
}

async fn put(
    tx: &mut sqlx::Transaction<'_, sqlx::Sqlite>,
    session: &HostSession,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO sessions (id, session_id, host_id, zone_id, status, reason, max_players,
             latency_ms, loss_percent, bandwidth, created_at, updated_at, started_at, ended_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (id) DO UPDATE SET
             status = $5, reason = $6, max_players = $7, latency_ms = $8, loss_percent = $9,
             bandwidth = $10, updated_at = $12, started_at = $13, ended_at = $14",
    )
    .bind(session.ids.id)
    .bind(&session.ids.session_id)
    .bind(&session.pair.host_id)
    .bind(&session.pair.zone_id)
    .bind(session.status.name())
    .bind(&session.reason)
    .bind(i64::from(session.max_players))
    .bind(session.metrics.avg_latency_ms)
    .bind(session.metrics.packet_loss_percent)
    .bind(session.metrics.bandwidth_usage_mbps)
    .bind(session.created_at)
    .bind(session.updated_at)
    .bind(session.started_at)
    .bind(session.ended_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn session_of(row: &sqlx::sqlite::SqliteRow) -> Result<SessionResponse, sqlx::Error> {
    let status: &str = row.try_get("status")?;
    let known = SessionStatus::ALL.into_iter().find(|s| s.name() == status);
    let at = |name: &str| row.try_get(name).map(rfc3339);
    let perhaps = |name: &str| row.try_get(name).map(|at: Option<i64>| at.map(rfc3339));
    Ok(SessionResponse {
        id: row.try_get("id")?,
        session_id: row.try_get("session_id")?,
        host_id: row.try_get("host_id")?,
        zone_id: row.try_get("zone_id")?,
        connected_players: Vec::new(),
        current_players: 0,
        max_players: row
            .try_get("max_players")
            .map(|n: i64| u32::try_from(n).unwrap_or(u32::MAX))?,
        status: known.ok_or_else(|| corrupt("session status"))?,
        average_latency_ms: row.try_get("latency_ms")?,
        average_packet_loss_percent: row.try_get("loss_percent")?,
        bandwidth_usage_mbps: row.try_get("bandwidth")?,
        reason: row.try_get("reason")?,
        started_at: perhaps("started_at")?,
        ended_at: perhaps("ended_at")?,
        created_at: at("created_at")?,
        updated_at: at("updated_at")?,
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

    #[tokio::test]
    async fn what_is_stored_is_found_under_both_ids_and_by_filter() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
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

    #[tokio::test]
    async fn a_zone_that_had_nothing_is_counted_from_its_first_session_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
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
