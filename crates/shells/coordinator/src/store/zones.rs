//! Zones: the operator's file as JSON, and the status beside it.

use sqlx::Row;
use warp_protocol::zone::{ZoneFile, ZoneStatus};

use super::{Store, StoreError, bounded, corrupt};

impl Store {
    /// Enters a zone or replaces it. Without `status` a new zone is open and an old one stays as
    /// it is.
    pub(crate) async fn put_zone(
        &self,
        zone: &ZoneFile,
        status: Option<ZoneStatus>,
        now: i64,
    ) -> Result<(), StoreError> {
        bounded(async {
            let body = serde_json::to_string(zone).map_err(|_| corrupt("zone body"))?;
            sqlx::query(
                "INSERT INTO zones (zone_id, status, body, updated_at)
                 VALUES (?1, coalesce(?2, 'enabled'), ?3, ?4)
                 ON CONFLICT (zone_id) DO UPDATE SET
                     status = coalesce(?2, status), body = ?3, updated_at = ?4",
            )
            .bind(&zone.zone_id)
            .bind(status.map(status_name))
            .bind(body)
            .bind(now)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    /// One zone.
    pub(crate) async fn zone(
        &self,
        zone_id: &str,
    ) -> Result<Option<(ZoneFile, ZoneStatus)>, StoreError> {
        bounded(async {
            let row = sqlx::query("SELECT zone_id, status, body FROM zones WHERE zone_id = ?")
                .bind(zone_id)
                .fetch_optional(&self.pool)
                .await?;
            row.map(|row| zone_of(&row)).transpose()
        })
        .await
    }

    /// All zones: higher `p2p_priority` first, then by name.
    pub(crate) async fn zones(&self) -> Result<Vec<(ZoneFile, ZoneStatus)>, StoreError> {
        bounded(async {
            let rows = sqlx::query("SELECT zone_id, status, body FROM zones")
                .fetch_all(&self.pool)
                .await?;
            let mut zones = Vec::with_capacity(rows.len());
            for row in &rows {
                match zone_of(row) {
                    Ok(zone) => zones.push(zone),
                    // One unreadable zone must not take the others away.
                    Err(error) => tracing::warn!(
                        zone = row.try_get::<&str, _>("zone_id").unwrap_or("?"),
                        %error,
                        "a stored zone is not readable; put its file again"
                    ),
                }
            }
            zones.sort_by(|(a, _), (b, _)| {
                (b.p2p_priority, &a.zone_name, &a.zone_id).cmp(&(
                    a.p2p_priority,
                    &b.zone_name,
                    &b.zone_id,
                ))
            });
            Ok(zones)
        })
        .await
    }
}

fn zone_of(row: &sqlx::sqlite::SqliteRow) -> Result<(ZoneFile, ZoneStatus), sqlx::Error> {
    let zone =
        serde_json::from_str(row.try_get("body")?).map_err(|e| sqlx::Error::Decode(e.into()))?;
    let status = status_of(row.try_get("status")?).ok_or_else(|| corrupt("zone status"))?;
    Ok((zone, status))
}

fn status_name(status: ZoneStatus) -> &'static str {
    match status {
        ZoneStatus::Enabled => "enabled",
        ZoneStatus::Disabled => "disabled",
        ZoneStatus::Maintenance => "maintenance",
    }
}

fn status_of(name: &str) -> Option<ZoneStatus> {
    use ZoneStatus::{Disabled, Enabled, Maintenance};
    [Enabled, Disabled, Maintenance]
        .into_iter()
        .find(|status| status_name(*status) == name)
}
