//! Refresh tokens and the device key in the system's secret store.
//!
//! The store is asked off the async threads and with a time limit, because a locked keyring may
//! prompt. One that does not give back what was put in counts as absent.

use std::time::Duration;

use keyring::v1::{Entry, Error};
use warp_protocol::{Problem, ProblemCode, Secret};

const SERVICE: &str = "warp-launcher";
/// Entry of the device key. Those of sign-ins have an `@` in their names.
const DEVICE: &str = "device-key";
/// How long a person may take to unlock a keyring that prompts.
const LIMIT: Duration = Duration::from_secs(60);

async fn ask<T: Send + 'static>(
    what: &'static str,
    call: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Problem> {
    let unavailable = |why: String| {
        Problem::new(ProblemCode::KeyringUnavailable, "secret store")
            .with_detail(format!("{what}: {why}"))
    };
    match tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(call)).await {
        Ok(Ok(Ok(value))) => Ok(value),
        Ok(Ok(Err(why))) => Err(unavailable(why)),
        Ok(Err(_)) => Err(unavailable("the library failed".into())),
        Err(_) => Err(unavailable("it did not answer".into())),
    }
}

/// Accounts of different coordinators do not share an entry.
fn name(coordinator: &str, user: &str) -> String {
    format!("{user}@{coordinator}")
}

pub(crate) async fn keep(coordinator: &str, user: &str, token: Secret) -> Result<(), Problem> {
    put("keeping the sign-in", name(coordinator, user), token).await
}

/// The token kept for an account.
///
/// # Errors
/// `not-signed-in`: none is kept; `keyring-unavailable`.
pub(crate) async fn read(coordinator: &str, user: &str) -> Result<Secret, Problem> {
    let kept = get("reading the kept sign-in", name(coordinator, user)).await?;
    kept.ok_or_else(|| {
        Problem::new(ProblemCode::NotSignedIn, user)
            .with_detail("this account is not remembered here; sign in with its password")
    })
}

pub(crate) async fn forget(coordinator: &str, user: &str) -> Result<(), Problem> {
    remove("forgetting the kept sign-in", name(coordinator, user)).await
}

/// The same, where it does not matter whether there was one.
pub(crate) async fn forget_if_kept(coordinator: &str, user: &str) {
    if let Err(problem) = forget(coordinator, user).await {
        // Nothing was kept there, or there is no store.
        tracing::debug!(detail = ?problem.detail, "no kept sign-in to forget");
    }
}

pub(crate) async fn keep_device(key: Secret) -> Result<(), Problem> {
    put("keeping the device key", DEVICE.to_owned(), key).await
}

/// The device key; `None`: there is none yet.
pub(crate) async fn read_device() -> Result<Option<Secret>, Problem> {
    get("reading the device key", DEVICE.to_owned()).await
}

pub(crate) async fn forget_device() -> Result<(), Problem> {
    remove("forgetting the device key", DEVICE.to_owned()).await
}

async fn put(what: &'static str, name: String, secret: Secret) -> Result<(), Problem> {
    ask(what, move || {
        let entry = Entry::new(SERVICE, &name).map_err(|error| error.to_string())?;
        entry
            .set_password(secret.reveal())
            .map_err(|error| error.to_string())?;
        let back = Secret::new(entry.get_password().map_err(|error| error.to_string())?);
        if back == secret {
            Ok(())
        } else {
            Err("it does not give back what was put in".into())
        }
    })
    .await
}

async fn get(what: &'static str, name: String) -> Result<Option<Secret>, Problem> {
    ask(what, move || {
        let entry = Entry::new(SERVICE, &name).map_err(|error| error.to_string())?;
        match entry.get_password() {
            Ok(secret) => Ok(Some(Secret::new(secret))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

async fn remove(what: &'static str, name: String) -> Result<(), Problem> {
    ask(what, move || {
        let entry = Entry::new(SERVICE, &name).map_err(|error| error.to_string())?;
        entry.delete_credential().map_err(|error| error.to_string())
    })
    .await
}

/// Puts something in, reads it back and takes it out again.
pub(crate) async fn probe() -> Result<(), Problem> {
    let server = "doctor";
    keep(server, "probe", Secret::new("probe")).await?;
    forget(server, "probe").await
}
