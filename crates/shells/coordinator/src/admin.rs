//! What operators and game masters do, whichever way they ask: a route, or a command of this program.

use serde_json::json;
use warp_coordinator_core::{Session, bans::Banned};
use warp_protocol::{
    ProblemCode,
    admin::{
        AccountInfo, BanRequest, BanView, DeviceInfo, MAX_REASON, MoveRequest, MoveTo, SessionInfo,
    },
    identity::PublicKey,
    rest::AccountRole,
};

use crate::{
    api::{cannot_serve, device_in},
    app::App,
    audit::{Done, Who, audited},
    live::unknown_session,
    problem::Refused,
    store::{Account, NewBan, Store},
    tokens::unix_now,
};

/// Bans an account or a device.
///
/// # Errors
/// `bad-request`, `not-found`, or the database.
pub(crate) async fn ban(
    store: &Store,
    who: &Who,
    request: &BanRequest,
) -> Result<BanView, Refused> {
    let target = match (&request.account, &request.device) {
        (Some(name), None) => format!("account {}", short(name)),
        (None, Some(device)) => format!("device {}", short(device)),
        _ => return Err(bad("a ban is of an `account` or of a `device`")),
    };
    audited(store, who, ("ban", target), async {
        let reason = request.reason.trim();
        if !(1..=MAX_REASON).contains(&reason.len()) || reason.contains(char::is_control) {
            return Err(bad(
                "`reason` is one line of 1 to 400 bytes, for the player to read",
            ));
        }
        if request.until.is_some_and(|until| until <= unix_now()) {
            return Err(bad("`until` is in the past; it is a time in unix seconds"));
        }
        let account = match &request.account {
            Some(name) => Some(account(store, name).await?.id),
            None => None,
        };
        let device = match &request.device {
            Some(text) => Some(device_in(store, text).await?),
            None => None,
        };
        let new = NewBan {
            account,
            device,
            reason,
            by: &who.name,
            ends: request.until,
        };
        let id = store.add_ban(new, unix_now()).await?;
        let view = known_ban(store, id).await?;
        Ok(Done::changed(view.clone(), (), view))
    })
    .await
}

/// Lifts a ban.
///
/// # Errors
/// `not-found`, or the database.
pub(crate) async fn unban(store: &Store, who: &Who, id: i64) -> Result<BanView, Refused> {
    audited(store, who, ("unban", format!("ban {id}")), async {
        let before = known_ban(store, id).await?;
        if !store.lift_ban(id, unix_now()).await? {
            let text = "that ban was lifted before";
            return Err(Refused::new(ProblemCode::NotFound, text));
        }
        let after = known_ban(store, id).await?;
        Ok(Done::changed(after.clone(), before, after))
    })
    .await
}

async fn known_ban(store: &Store, id: i64) -> Result<BanView, Refused> {
    let ban = store.ban(id).await?;
    ban.ok_or_else(|| Refused::new(ProblemCode::NotFound, "there is no ban of that number"))
}

/// Changes a role. What the account is signed in with goes on, with the new role.
///
/// # Errors
/// `not-found`, or the database.
pub(crate) async fn set_role(
    store: &Store,
    who: &Who,
    name: &str,
    role: AccountRole,
) -> Result<AccountInfo, Refused> {
    let target = format!("account {}", short(name));
    audited(store, who, ("role", target), async {
        let account = account(store, name).await?;
        store.set_role(account.id, role).await?;
        let (before, after) = (json!({"role": account.role}), json!({"role": role}));
        let made = store.account_made_at(account.id).await?.unwrap_or_default();
        let banned = is_banned(store, &Banned::Account(account.id)).await?;
        let info = info(Account { role, ..account }, made, banned);
        Ok(Done::changed(info, before, after))
    })
    .await
}

/// Some accounts by name, and how many there are.
///
/// # Errors
/// The database.
pub(crate) async fn accounts(
    store: &Store,
    limit: i64,
    offset: i64,
) -> Result<(Vec<AccountInfo>, i64), Refused> {
    let (accounts, total) = store.accounts(limit, offset).await?;
    let bans = store.bans_in_force(unix_now()).await?;
    let banned = |id| bans.iter().any(|ban| ban.whom == Banned::Account(id));
    let infos = accounts.into_iter().map(|(account, made)| {
        let banned = banned(account.id);
        info(account, made, banned)
    });
    Ok((infos.collect(), total))
}

/// The devices of an account.
///
/// # Errors
/// `not-found`, or the database.
pub(crate) async fn devices(store: &Store, name: &str) -> Result<Vec<DeviceInfo>, Refused> {
    let account = account(store, name).await?;
    let bans = store.bans_in_force(unix_now()).await?;
    let banned = |key: &PublicKey| {
        let whom = Banned::Device(key.spki());
        bans.iter().any(|ban| ban.whom == whom)
    };
    let devices = store.devices_of(account.id).await?;
    let infos = devices.into_iter().map(|device| DeviceInfo {
        key: device.key.to_string(),
        serial: device.serial.to_string(),
        issued_at: device.issued_at,
        revoked: device.revoked,
        banned: banned(&device.key),
    });
    Ok(infos.collect())
}

async fn is_banned(store: &Store, whom: &Banned) -> Result<bool, Refused> {
    let bans = store.bans_in_force(unix_now()).await?;
    Ok(bans.iter().any(|ban| ban.whom == *whom))
}

async fn account(store: &Store, name: &str) -> Result<Account, Refused> {
    let account = store.account(name).await?;
    account.ok_or_else(|| Refused::new(ProblemCode::NotFound, "there is no account of that name"))
}

fn info(account: Account, created_at: i64, banned: bool) -> AccountInfo {
    AccountInfo {
        name: account.name,
        role: account.role,
        created_at,
        banned,
    }
}

/// Some sessions by their ids, and how many there are.
///
/// # Errors
/// The database.
pub(crate) async fn sessions(
    app: &App,
    limit: usize,
    offset: usize,
) -> Result<(Vec<SessionInfo>, usize), Refused> {
    let all = app.live.sessions();
    let total = all.len();
    let mut some = Vec::new();
    for session in all.into_iter().skip(offset).take(limit) {
        some.push(session_info(app, session).await?);
    }
    Ok((some, total))
}

async fn session_info(app: &App, session: Session) -> Result<SessionInfo, Refused> {
    let Session { grant, due } = session;
    let account = app.store.account_by_id(grant.account).await?;
    let device = PublicKey::from_spki(&grant.device_key);
    Ok(SessionInfo {
        hosts: app.live.hosting.hosts_of(&grant.session_id),
        link: app
            .live
            .endpoint_of(&grant.session_id)
            .link(&grant.session_id),
        session_id: grant.session_id,
        account: account.map_or_else(|| grant.account.to_string(), |account| account.name),
        zone_id: grant.zone_id,
        device: device.map(|key| key.to_string()).unwrap_or_default(),
        peer_id: grant.peer_id,
        live: due.is_none(),
    })
}

/// Ends somebody's session.
///
/// # Errors
/// `unknown-session`.
pub(crate) async fn end_session(app: &App, who: &Who, session_id: &str) -> Result<(), Refused> {
    let target = format!("session {}", short(session_id));
    audited(&app.store, who, ("session-end", target), async {
        let session = app.live.session(session_id).ok_or_else(unknown_session)?;
        let before = session_info(app, session).await?;
        app.live.end(session_id, "an operator ended it");
        Ok(Done::changed((), before, ()))
    })
    .await
}

/// Moves somebody's session.
///
/// # Errors
/// `unknown-session`; `no-host` where no host could carry it at all; why the named one cannot.
pub(crate) async fn move_session(
    app: &App,
    who: &Who,
    session_id: &str,
    request: &MoveRequest,
) -> Result<SessionInfo, Refused> {
    let target = format!("session {}", short(session_id));
    audited(&app.store, who, ("session-move", target), async {
        let session = app.live.session(session_id).ok_or_else(unknown_session)?;
        let before = session_info(app, session.clone()).await?;
        let hosting = &app.live.hosting;
        match request {
            MoveRequest {
                to: MoveTo::Endpoint,
                host_id: Some(_),
            } => return Err(bad("`host_id` is for `to` = `host`")),
            MoveRequest {
                host_id: Some(host_id),
                ..
            } => hosting
                .move_to_host(session_id, host_id)
                .map_err(cannot_serve)?,
            MoveRequest { to, .. } => {
                if !hosting.move_session(session_id, *to == MoveTo::Endpoint) {
                    let text = "that session goes over no host, and none could carry it";
                    return Err(Refused::new(ProblemCode::NoHost, text));
                }
            }
        }
        let after = session_info(app, session).await?;
        let (was, is) = (
            json!({"hosts": before.hosts}),
            json!({"hosts": after.hosts}),
        );
        Ok(Done::changed(after, was, is))
    })
    .await
}

fn bad(text: &'static str) -> Refused {
    crate::problem::invalid(text)
}

/// As much of a text out of a request as belongs into a log.
pub(crate) fn short(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '?' } else { c };
    text.chars().take(100).map(clean).collect()
}
