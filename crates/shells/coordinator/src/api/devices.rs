//! The coordinator's key, certificates of devices, and their end.

use axum::extract::State;
use serde::Deserialize;
use warp_protocol::{
    ProblemCode,
    identity::{PublicKey, RefusedReason, Serial},
    rest::{
        AccountRole, CertificateAnswer, CertificateRequest, IdentityProof, RefusalCount,
        RevokeAnswer, RevokeRequest,
    },
};

use crate::{
    admin::short,
    answer::Json,
    api::operate::staff_only,
    app::App,
    audit::{Done, Who, audited},
    authority::Applicant,
    bans::check_now,
    extract::{Body, Caller, QueryOf},
    problem::{Refused, invalid},
    running::enforce_revocations,
    store::Store,
    tokens::unix_now,
};

/// What the launcher made up.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Challenge {
    /// 16 random bytes, 32 hex digits.
    #[param(pattern = "^[0-9a-fA-F]{32}$")]
    nonce: String,
}

pub(crate) async fn identity(
    State(app): State<App>,
    QueryOf(Challenge { nonce }): QueryOf<Challenge>,
) -> Result<Json<IdentityProof>, Refused> {
    let mut bytes = [0; 16];
    if hex::decode_to_slice(&nonce, &mut bytes).is_err() {
        return Err(invalid("`nonce` is 16 random bytes, 32 hex digits"));
    }
    app.authority.prove(&bytes).map(Json)
}

pub(crate) async fn certificate(
    State(app): State<App>,
    caller: Caller,
    Body(request): Body<CertificateRequest>,
) -> Result<Json<CertificateAnswer>, Refused> {
    // Beside the limit of sign-ins: no account's name has a `#`.
    let name = caller.name.to_ascii_lowercase();
    app.by_account.check(format!("#certificate {name}"))?;
    let applicant = Applicant {
        account: caller.account,
        name: &caller.name,
        role: caller.role,
    };
    app.authority.check_proof(&applicant, &request)?;
    let key = request.device_key;
    check_now(&app, caller.account, Some(&key)).await?;
    if app.store.is_device_revoked(&key).await? {
        return Err(revoked(&app));
    }
    let from = app.store.tokens_from(caller.account).await?;
    if from.is_none_or(|from| caller.issued <= from) {
        let text = "the account's sign-ins were revoked; sign in again with the password";
        return Err(Refused::new(ProblemCode::TokenExpired, text));
    }
    let (certificate, bytes) = app.authority.certify(&applicant, key)?;
    app.store
        .add_certificate(caller.account, &certificate)
        .await?;
    tracing::info!(
        account = caller.account,
        name = caller.name,
        serial = %certificate.serial,
        device = %key,
        "device certified"
    );
    Ok(Json(CertificateAnswer {
        certificate: hex::encode(bytes),
        expires_in: app.authority.lifetime().as_secs(),
    }))
}

pub(crate) fn revoked(app: &App) -> Refused {
    let what = "the device was revoked; sign in again with the password, as a new device";
    app.authority
        .refuse(RefusedReason::CertificateRevoked, what)
}

pub(crate) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Body(request): Body<RevokeRequest>,
) -> Result<Json<RevokeAnswer>, Refused> {
    operators_only(&caller)?;
    let target = revoked_target(&request);
    let who = Who::from(&caller);
    let accounts = audited(&app.store, &who, ("revoke", target), async {
        let accounts = revoke_in(&app.store, &request).await?;
        let after = serde_json::json!({"accounts": accounts});
        Ok(Done::changed(accounts, (), after))
    });
    let accounts = accounts.await?;
    let sessions_ended = enforce_revocations(&app).await?;
    Ok(Json(RevokeAnswer {
        accounts,
        sessions_ended,
    }))
}

pub(crate) async fn refusals(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<Vec<RefusalCount>>, Refused> {
    staff_only(&caller)?;
    let mut counts: Vec<RefusalCount> = Vec::new();
    let both = [app.authority.refusals(), app.live.endpoint.refusals()];
    for (reason, count) in both.into_iter().flatten() {
        match counts.iter_mut().find(|known| known.reason == reason) {
            Some(known) => known.count += count,
            None => counts.push(RefusalCount { reason, count }),
        }
    }
    Ok(Json(counts))
}

pub(crate) fn operators_only(caller: &Caller) -> Result<(), Refused> {
    if caller.role == AccountRole::Admin {
        return Ok(());
    }
    let text = "only operators (role admin) may do that";
    Err(Refused::new(ProblemCode::Forbidden, text))
}

/// Whom a revocation is of, for the audit log.
pub(crate) fn revoked_target(request: &RevokeRequest) -> String {
    match request {
        RevokeRequest::Account(name) => format!("account {}", short(name)),
        RevokeRequest::Device(text) => format!("device {}", short(text)),
    }
}

/// Enters a revocation. Gives the accounts whose kept sign-ins ended.
///
/// # Errors
/// `not-found` for an account or a serial that is not known, `bad-request` for what is neither a key
/// nor a serial, and the database.
pub(crate) async fn revoke_in(
    store: &Store,
    request: &RevokeRequest,
) -> Result<Vec<String>, Refused> {
    match request {
        RevokeRequest::Account(name) => {
            let account = store.account(name).await?.ok_or_else(|| {
                Refused::new(ProblemCode::NotFound, "there is no account of that name")
            })?;
            store.revoke_devices_of(account.id, unix_now()).await?;
            Ok(vec![account.name])
        }
        RevokeRequest::Device(text) => {
            let key = device(store, text).await?;
            Ok(store.revoke_device(&key, unix_now()).await?)
        }
    }
}

/// The device that a text names: a key, or a certificate's serial.
///
/// # Errors
/// `bad-request` for what is neither, `not-found`, and the database.
pub(crate) async fn device(store: &Store, text: &str) -> Result<PublicKey, Refused> {
    if let Some(key) = PublicKey::from_hex(text) {
        return Ok(key);
    }
    let serial = Serial::from_hex(text).ok_or_else(|| {
        invalid("a device is its key, 88 hex digits, or a certificate's serial, 32 hex digits")
    })?;
    store.device_of(&serial).await?.ok_or_else(|| {
        let text = "no certificate of that serial is known; it may have expired long ago";
        Refused::new(ProblemCode::NotFound, text)
    })
}
