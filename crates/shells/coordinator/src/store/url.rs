//! Where a PostgreSQL database is.

use std::{fmt, str::FromStr};

use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;
use warp_protocol::Secret;

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=...`. Only host, port and database are ever
/// shown.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct DatabaseUrl {
    url: Secret,
    shown: String,
}

/// The text is no address of a PostgreSQL database. Does not repeat it: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "allowed is postgres://USER:PASSWORD@HOST:PORT/DATABASE, with ?sslmode=verify-full and the like \
     where it is wanted, and with reserved characters of the password as %XX"
)]
pub struct DatabaseUrlError;

impl DatabaseUrl {
    /// What the driver connects with.
    pub(super) fn options(&self) -> PgConnectOptions {
        // It was read once already.
        PgConnectOptions::from_str(self.url.reveal()).unwrap_or_default()
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(DatabaseUrlError);
        }
        let options = PgConnectOptions::from_str(text).map_err(|_| DatabaseUrlError)?;
        let database = options.get_database().ok_or(DatabaseUrlError)?;
        let place = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let shown = format!("postgres://{place}/{database}");
        Ok(Self {
            url: Secret::new(text),
            shown,
        })
    }
}

impl TryFrom<String> for DatabaseUrl {
    type Error = DatabaseUrlError;

    fn try_from(text: String) -> Result<Self, DatabaseUrlError> {
        text.parse()
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatabaseUrl").field(&self.shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_all_but_who_and_the_password() {
        let url: DatabaseUrl = "postgres://warp:hunter%322@db.example:6432/game?sslmode=require"
            .parse()
            .unwrap();
        assert_eq!(url.to_string(), "postgres://db.example:6432/game");
        assert_eq!(
            format!("{url:?}"),
            r#"DatabaseUrl("postgres://db.example:6432/game")"#
        );
        assert_eq!(url.options().get_username(), "warp");
        for wrong in [
            "",
            "mysql://warp@localhost/warp",
            "sqlite://coordinator.sqlite",
            "postgres://warp:hunter2@:x/",
            "postgres://warp:hunter2@localhost",
            "postgres://warp:hunter2@localhost/warp?sslmode=perhaps",
        ] {
            let error = wrong.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
