//! Accounts and tokens.

use std::net::SocketAddr;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
};
use warp_coordinator_core::{check_name, check_password};
use warp_protocol::{
    ProblemCode, Secret,
    rest::{
        AccountRole, AccountView, Credentials, MAX_PASSWORD, RefreshRequest, TokenRequest, Tokens,
    },
};

use crate::{
    answer::Json,
    api_keys::ApiScope,
    app::App,
    bans::check_now,
    config::Registration,
    extract::{Body, Caller, ClientAddr},
    limits::bucket_of,
    passwords::Hasher,
    problem::Refused,
    store::{Account, NewRefresh, Rotation, Store},
    tokens::{random, random_hex, refresh_hash, unix_now},
};

/// An account that is to be made.
pub(crate) struct NewAccount<'a> {
    pub(crate) name: &'a str,
    pub(crate) password: Secret,
    pub(crate) role: AccountRole,
}

/// Makes an account. Gives its row id.
///
/// # Errors
/// `bad-name`, `bad-password`, `name-taken`, and faults.
pub(crate) async fn make_account(
    store: &Store,
    hasher: &Hasher,
    new: NewAccount<'_>,
) -> Result<i64, Refused> {
    check_name(new.name)?;
    check_password(&new.password)?;
    let taken = || {
        Refused::new(
            ProblemCode::NameTaken,
            format!("the account name {} is taken; choose another one", new.name),
        )
    };
    // Looked up first, so that a taken name costs no hash.
    if store.account(new.name).await?.is_some() {
        return Err(taken());
    }
    let hash = hasher.hash(new.password).await?;
    store
        .add_account(new.name, new.role, &hash, unix_now())
        .await?
        .ok_or_else(taken)
}

pub(crate) async fn register(
    State(app): State<App>,
    ClientAddr(from): ClientAddr,
    Body(credentials): Body<Credentials>,
) -> Result<(StatusCode, Json<Tokens>), Refused> {
    limit_address(&app, from)?;
    if app.config.registration == Registration::Closed {
        let text = "accounts are made by the operator here; ask for one";
        return Err(Refused::new(ProblemCode::Forbidden, text));
    }
    if let Some(game) = &app.game_accounts
        && check_name(&credentials.username).is_ok()
        && game.has(&credentials.username).await?
    {
        let text = "the account name is taken by an account of the game; sign in with that one";
        return Err(Refused::new(ProblemCode::NameTaken, text));
    }
    let new = NewAccount {
        name: &credentials.username,
        password: credentials.password,
        role: AccountRole::Player,
    };
    let account = make_account(&app.store, &app.hasher, new).await?;
    tracing::info!(account, name = credentials.username, "account registered");
    let view = AccountView {
        name: credentials.username,
        role: AccountRole::Player,
    };
    let tokens = first_tokens(&app, account, view).await?;
    Ok((StatusCode::CREATED, Json(tokens)))
}

pub(crate) async fn login(
    State(app): State<App>,
    ClientAddr(from): ClientAddr,
    Body(credentials): Body<Credentials>,
) -> Result<Json<Tokens>, Refused> {
    limit_address(&app, from)?;
    let wrong = || Refused::new(ProblemCode::WrongPassword, "name or password is wrong");
    // Nothing that breaks these rules can be an account's; also bounds what is hashed and kept.
    if check_name(&credentials.username).is_err()
        || credentials.password.reveal().len() > MAX_PASSWORD
    {
        return Err(wrong());
    }
    app.by_account
        .check(credentials.username.to_ascii_lowercase())?;
    let Some(account) = verified(&app, &credentials).await? else {
        tracing::info!(name = credentials.username, "sign-in refused");
        return Err(wrong());
    };
    check_now(&app, account.id, None).await?;
    tracing::info!(account = account.id, name = account.name, "signed in");
    let view = AccountView {
        name: account.name,
        role: account.role,
    };
    first_tokens(&app, account.id, view).await.map(Json)
}

/// The account with this name and password, ours or of a game's table. `None`: there is none.
async fn verified(app: &App, credentials: &Credentials) -> Result<Option<Account>, Refused> {
    let (name, password) = (&credentials.username, &credentials.password);
    let known = app.store.account(name).await?;
    match &app.game_accounts {
        Some(game) if known.as_ref().is_none_or(|a| a.game.is_some()) => {
            let found = game.sign_in(&app.store, name, password, known).await?;
            if found.is_none() {
                // Takes as long as a wrong password of an account of ours.
                app.hasher.verify(password.clone(), None).await?;
            }
            Ok(found)
        }
        _ => {
            let stored = known.as_ref().and_then(|account| account.password.clone());
            let right = app.hasher.verify(password.clone(), stored).await?;
            Ok(known.filter(|_| right))
        }
    }
}

/// Whether the owner of a refresh token may still have new ones. Asked before the token is used up,
/// so that it is still good when the game's table cannot be asked. `None`: not, or nobody owns it.
async fn owner_goes_on(app: &App, hash: &[u8], now: i64) -> Result<Option<Account>, Refused> {
    let Some(owner) = app.store.owner_of(hash, now).await? else {
        return Ok(None);
    };
    // The role may have changed since.
    let Some(account) = app.store.account_by_id(owner).await? else {
        return Ok(None);
    };
    match &app.game_accounts {
        Some(game) => game.go_on(&app.store, account).await,
        // The table is no longer asked: nobody can say whether its accounts may go on.
        None => Ok(Some(account).filter(|account| account.game.is_none())),
    }
}

/// The route of the older contract: with a password it is a sign-in; with an API key of scope `tokens`
/// it gives tokens of an account that exists, to an operator's own service.
pub(crate) async fn token(
    State(app): State<App>,
    ClientAddr(from): ClientAddr,
    headers: HeaderMap,
    Body(request): Body<TokenRequest>,
) -> Result<Json<Tokens>, Refused> {
    if let Some(password) = request.password {
        let credentials = Credentials {
            username: request.player_id,
            password,
        };
        return login(State(app), ClientAddr(from), Body(credentials)).await;
    }
    limit_address(&app, from)?;
    let shown = request.api_key.or_else(|| app.api_keys.shown(&headers));
    let key = shown.as_ref();
    let key = key.and_then(|key| app.api_keys.name_of(key, ApiScope::Tokens));
    let Some(key) = key else {
        let text = "give the account's `password`, or an API key that is good for tokens";
        return Err(Refused::new(ProblemCode::NotSignedIn, text));
    };
    let unknown = || Refused::new(ProblemCode::NotFound, "there is no account of that name");
    check_name(&request.player_id).map_err(|_| unknown())?;
    let account = app.store.account(&request.player_id).await?;
    let account = account.ok_or_else(unknown)?;
    if account.role >= AccountRole::Gm {
        // A shop's key is not to become the operator's rights.
        let text = "accounts with rights over others sign in with their password";
        return Err(Refused::new(ProblemCode::Forbidden, text));
    }
    check_now(&app, account.id, None).await?;
    tracing::info!(
        account = account.id,
        name = account.name,
        key,
        "tokens for an API key"
    );
    let view = AccountView {
        name: account.name,
        role: account.role,
    };
    first_tokens(&app, account.id, view).await.map(Json)
}

pub(crate) async fn refresh(
    State(app): State<App>,
    ClientAddr(from): ClientAddr,
    Body(request): Body<RefreshRequest>,
) -> Result<Json<Tokens>, Refused> {
    limit_address(&app, from)?;
    let expired = || {
        let text = "the refresh token has expired or was used before; sign in again";
        Refused::new(ProblemCode::TokenExpired, text)
    };
    let (token, next) = new_refresh(&app)?;
    let hash = refresh_hash(&request.refresh_token);
    let account = owner_goes_on(&app, &hash, next.issued_at).await?;
    let account = account.ok_or_else(expired)?;
    // Before it is used up: when a ban has ended, the launcher goes on with it.
    check_now(&app, account.id, None).await?;
    match app.store.rotate(&hash, &next).await? {
        Rotation::Done { .. } => {}
        Rotation::Unknown => return Err(expired()),
        Rotation::Reused { account } => {
            app.metrics.refresh_reused();
            tracing::warn!(
                account,
                "a refresh token came a second time: its sign-in was revoked on all its copies"
            );
            return Err(expired());
        }
    }
    let view = AccountView {
        name: account.name,
        role: account.role,
    };
    tokens(&app, account.id, view, token).map(Json)
}

pub(crate) async fn logout(
    State(app): State<App>,
    caller: Caller,
    Body(request): Body<RefreshRequest>,
) -> Result<StatusCode, Refused> {
    let hash = refresh_hash(&request.refresh_token);
    app.store.revoke_family(caller.account, &hash).await?;
    tracing::info!(account = caller.account, "signed out");
    Ok(StatusCode::NO_CONTENT)
}

/// Ends every sign-in of the caller's account. Access tokens that are out live for their few minutes.
pub(crate) async fn logout_everywhere(
    State(app): State<App>,
    caller: Caller,
) -> Result<StatusCode, Refused> {
    app.store.revoke_families(caller.account).await?;
    tracing::info!(account = caller.account, "signed out everywhere");
    Ok(StatusCode::NO_CONTENT)
}

fn limit_address(app: &App, from: SocketAddr) -> Result<(), Refused> {
    app.by_address.check(bucket_of(from.ip()))
}

/// Tokens of a new sign-in.
async fn first_tokens(app: &App, account: i64, view: AccountView) -> Result<Tokens, Refused> {
    let (token, new) = new_refresh(app)?;
    let family = random::<16>()?;
    app.store.start_family(account, &family, &new).await?;
    tokens(app, account, view, token)
}

fn new_refresh(app: &App) -> Result<(Secret, NewRefresh), Refused> {
    let token = Secret::new(random_hex::<32>()?);
    let now = unix_now();
    let lifetime = i64::try_from(app.config.refresh_lifetime.as_secs()).unwrap_or(i64::MAX);
    let new = NewRefresh {
        hash: refresh_hash(&token),
        issued_at: now,
        expires_at: now.saturating_add(lifetime),
    };
    Ok((token, new))
}

fn tokens(app: &App, account: i64, view: AccountView, refresh: Secret) -> Result<Tokens, Refused> {
    let access = app
        .tokens
        .issue(account, &view.name, view.role, unix_now())?;
    Ok(Tokens {
        access_token: access,
        refresh_token: refresh,
        token_type: "Bearer".to_owned(),
        expires_in: app.tokens.lifetime().as_secs(),
        account: view,
    })
}
