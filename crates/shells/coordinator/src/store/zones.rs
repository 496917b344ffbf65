//! Zones: the operator's file as JSON, and the status beside it.

use warp_protocol::zone::{ZoneFile, ZoneStatus};

use super::{Store, StoreError, corrupt, sql::sql};

impl Store {
    /// Enters a zone or replaces it. Without `status` a new zone is open and an old one stays as
    /// it is.
    pub(crate) async fn put_zone(
        &self,
        zone: &ZoneFile,
        status: Option<ZoneStatus>,
        now: i64,
    ) -> Result<(), StoreError> {
        let body = serde_json::to_string(zone).map_err(|_| corrupt("zone body"))?;
        let put = sql("INSERT INTO zones (zone_id, status, body, updated_at)
             VALUES ($1, coalesce($2, 'enabled'), $3, $4)
             ON CONFLICT (zone_id) DO UPDATE SET
                 status = coalesce($2, zones.status), body = $3, updated_at = $4")
        .bind(zone.zone_id.as_str())
        .bind(status.map(status_name))
        .bind(body)
        .bind(now);
        self.execute(put).await.map(drop)
    }

    /// One zone.
    pub(crate) async fn zone(
        &self,
        zone_id: &str,
    ) -> Result<Option<(ZoneFile, ZoneStatus)>, StoreError> {
        let query = sql("SELECT status, body FROM zones WHERE zone_id = $1").bind(zone_id);
        let row = self.optional::<(String, String)>(query).await?;
        row.map(|(status, body)| zone_of(&status, &body))
            .transpose()
    }

    /// All zones: higher `p2p_priority` first, then by name.
    pub(crate) async fn zones(&self) -> Result<Vec<(ZoneFile, ZoneStatus)>, StoreError> {
        let query = sql("SELECT zone_id, status, body FROM zones");
        let rows = self.all::<(String, String, String)>(query).await?;
        let mut zones = Vec::with_capacity(rows.len());
        for (zone, status, body) in &rows {
            match zone_of(status, body) {
                Ok(zone) => zones.push(zone),
                // One unreadable zone must not take the others away.
                Err(error) => tracing::warn!(
                    zone,
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
    }
}

fn zone_of(status: &str, body: &str) -> Result<(ZoneFile, ZoneStatus), StoreError> {
    let zone = serde_json::from_str(body).map_err(|e| sqlx::Error::Decode(e.into()))?;
    let status = status_of(status).ok_or_else(|| corrupt("zone status"))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    crate::store::testing::on_both!(a_zone_keeps_its_status_unless_another_is_given);

    async fn a_zone_keeps_its_status_unless_another_is_given(store: &Store) {
        let mut zone: ZoneFile =
            serde_json::from_str(include_str!("../../../../../docs/examples/zone.json")).unwrap();
        for (given, expected) in [
            (None, ZoneStatus::Enabled),
            (Some(ZoneStatus::Maintenance), ZoneStatus::Maintenance),
            (None, ZoneStatus::Maintenance),
            (Some(ZoneStatus::Disabled), ZoneStatus::Disabled),
        ] {
            store.put_zone(&zone, given, 1).await.unwrap();
            let (_, status) = store.zone(&zone.zone_id).await.unwrap().unwrap();
            assert_eq!(status, expected, "{given:?} given");
        }
        zone.zone_id = "another".into();
        store.put_zone(&zone, None, 2).await.unwrap();
        assert_eq!(store.zones().await.unwrap().len(), 2);
        assert!(store.zone("an\0other").await.unwrap().is_none());
    }
}
