//! Bans in force.
//!
//! * What another process enters is in force here within [`crate::running::SYNC_EVERY`]; what this one
//!   does, at once.
//! * A banned account is refused at sign-in, at refresh, for certificates and sessions, and with each
//!   access token that it still has. A banned device gets no certificate and no session.
//! * Its open sessions, hosts and sockets end; the launcher is told `banned` over the link.
//! * A ban takes no sign-in away: when it has ended the launcher goes on with the one that it kept.

use std::collections::HashSet;

use parking_lot::RwLock;
use warp_coordinator_core::bans::{Ban, BanList, Banned};
use warp_protocol::{ProblemCode, identity::PublicKey};

use crate::{
    app::App,
    problem::Refused,
    running::SYNC_EVERY,
    store::{BansVersion, StoreError},
    tokens::unix_now,
};

/// The bans that this process knows.
#[derive(Default)]
pub(crate) struct Bans {
    list: RwLock<BanList>,
    /// What the list was read at; none: never.
    version: tokio::sync::Mutex<Option<BansVersion>>,
}

impl Bans {
    /// # Errors
    /// `banned`, with reason and end.
    pub(crate) fn check(&self, whom: &Banned) -> Result<(), Refused> {
        match self.list.read().of(whom, unix_now()) {
            None => Ok(()),
            Some(ban) => Err(refuse(ban)),
        }
    }

    /// The ban that keeps a session or a host out.
    pub(crate) fn of(&self, account: i64, device_key: Vec<u8>) -> Option<Banned> {
        let (list, now) = (self.list.read(), unix_now());
        let whom = [Banned::Account(account), Banned::Device(device_key)];
        whom.into_iter().find(|whom| list.of(whom, now).is_some())
    }

    fn in_force(&self) -> Vec<Banned> {
        let (list, now) = (self.list.read(), unix_now());
        list.in_force(now).map(|ban| ban.whom.clone()).collect()
    }
}

fn refuse(ban: &Ban) -> Refused {
    let (what, reason) = match ban.whom {
        Banned::Account(_) => ("this account is banned", &ban.reason),
        Banned::Device(_) => ("this device is banned", &ban.reason),
    };
    let end = ban.ends.and_then(|ends| {
        let at = time::OffsetDateTime::from_unix_timestamp(ends).ok()?;
        let (date, hour, minute) = (at.date(), at.hour(), at.minute());
        Some(format!(" until {date} {hour:02}:{minute:02} UTC"))
    });
    let end = end.unwrap_or_default();
    Refused::new(ProblemCode::Banned, format!("{what}{end}: {reason}"))
}

/// Looks at the database, so that what was entered a moment ago counts, and then at account and device.
///
/// # Errors
/// `banned`, or the database.
pub(crate) async fn check_now(
    app: &App,
    account: i64,
    device: Option<&PublicKey>,
) -> Result<(), Refused> {
    renew(app).await?;
    app.bans.check(&Banned::Account(account))?;
    match device {
        Some(key) => app.bans.check(&Banned::Device(key.spki())),
        None => Ok(()),
    }
}

/// Brings the list in line with the database; where it has changed, ends what is banned and gives how
/// many sessions.
async fn renew(app: &App) -> Result<Option<usize>, StoreError> {
    // Before the lock: a database that does not answer must not make requests wait for one another.
    let version = app.store.bans_version().await?;
    let mut known = app.bans.version.lock().await;
    if *known == Some(version) {
        return Ok(None);
    }
    let list = BanList::new(app.store.bans_in_force(unix_now()).await?);
    *app.bans.list.write() = list;
    *known = Some(version);
    let whom = app.bans.in_force();
    Ok(Some(
        whom.iter().map(|whom| app.live.end_banned(whom)).sum(),
    ))
}

/// Brings the list in line with the database, and ends what is banned. Gives how many sessions.
///
/// # Errors
/// The database.
pub(crate) async fn enforce_bans(app: &App) -> Result<usize, StoreError> {
    if let Some(ended) = renew(app).await? {
        return Ok(ended);
    }
    if app.bans.in_force().is_empty() {
        return Ok(0);
    }
    // One that was on its way in when its ban was entered.
    let sessions = app.live.sessions().into_iter();
    let sessions = sessions.map(|session| (session.grant.account, session.grant.device_key));
    let late: HashSet<Banned> = sessions
        .chain(app.live.hosting.owners())
        .filter_map(|(account, device_key)| app.bans.of(account, device_key))
        .collect();
    Ok(late.iter().map(|whom| app.live.end_banned(whom)).sum())
}

/// Follows what other processes enter, until the stop.
pub(crate) async fn follow_bans(app: App) {
    loop {
        match enforce_bans(&app).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "sessions of banned accounts and devices ended"),
            Err(error) => tracing::warn!(%error, "bans could not be looked up"),
        }
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(SYNC_EVERY) => {}
        }
    }
}
