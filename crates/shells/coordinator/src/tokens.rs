//! Access tokens (JWT, HS256) and the randomness behind refresh tokens and ids.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rand::{TryRngCore, rngs::OsRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use warp_protocol::{ProblemCode, Secret, rest::AccountRole};

use crate::problem::{Refused, internal};

/// Longest access token that is looked at, bytes. Ours are below 400.
const MAX_TOKEN: usize = 2048;

/// What an access token says; nothing more than requests need.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Row id of the account, as text (JWT wants text).
    pub(crate) sub: String,
    /// Name of the account.
    pub(crate) name: String,
    pub(crate) role: AccountRole,
    /// Unix seconds.
    pub(crate) iat: i64,
    /// Unix seconds.
    pub(crate) exp: i64,
    /// Random, so that no two tokens are equal.
    pub(crate) jti: String,
}

/// Signs and checks access tokens.
pub(crate) struct AccessTokens {
    sign: EncodingKey,
    check: DecodingKey,
    rules: Validation,
    lifetime: Duration,
}

impl AccessTokens {
    pub(crate) fn new(key: &[u8], lifetime: Duration) -> Self {
        let mut rules = Validation::new(Algorithm::HS256);
        // We check what we signed ourselves: there is no skew between clocks to allow for.
        rules.leeway = 0;
        rules.set_required_spec_claims(&["exp", "sub"]);
        Self {
            sign: EncodingKey::from_secret(key),
            check: DecodingKey::from_secret(key),
            rules,
            lifetime,
        }
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(crate) fn issue(
        &self,
        account: i64,
        name: &str,
        role: AccountRole,
        now: i64,
    ) -> Result<Secret, Refused> {
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let claims = Claims {
            sub: account.to_string(),
            name: name.to_owned(),
            role,
            iat: now,
            exp: now.saturating_add(lifetime),
            jti: random_hex::<8>()?,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.sign)
            .map(Secret::new)
            .map_err(|_| internal("the access token could not be signed"))
    }

    /// # Errors
    /// `token-expired` for whatever is not a token of ours that counts now.
    pub(crate) fn check(&self, token: &str) -> Result<(i64, Claims), Refused> {
        let refused = || {
            Refused::new(
                ProblemCode::TokenExpired,
                "the access token has expired or is not valid; refresh it or sign in again",
            )
        };
        if token.len() > MAX_TOKEN {
            return Err(refused());
        }
        let claims: Claims = jsonwebtoken::decode(token, &self.check, &self.rules)
            .map_err(|_| refused())?
            .claims;
        let account = claims.sub.parse().map_err(|_| refused())?;
        Ok((account, claims))
    }
}

/// Fills an array from the system's random number generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| internal("the system gives no random numbers"))?;
    Ok(bytes)
}

/// `2 * N` hex digits of randomness.
pub(crate) fn random_hex<const N: usize>() -> Result<String, Refused> {
    Ok(hex::encode(random::<N>()?))
}

/// What is stored of a refresh token. It has 256 random bits, so a plain hash is enough.
pub(crate) fn refresh_hash(token: &Secret) -> Vec<u8> {
    Sha256::digest(token.reveal().as_bytes()).to_vec()
}

/// Microseconds since 1970.
pub(crate) fn unix_micros() -> i64 {
    micros_of(std::time::SystemTime::now())
}

/// The same of any time; 0 for one before.
pub(crate) fn micros_of(at: std::time::SystemTime) -> i64 {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with microseconds: `2026-01-02T03:04:05.000006+00:00`.
pub(crate) fn rfc3339(micros: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000);
    let at = at.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second, micros) = at.to_hms_micro();
    // By hand: a list of a thousand hosts has a thousand of them.
    let mut text = String::with_capacity("2026-01-02T03:04:05.000006+00:00".len());
    let mut put = |value: u32, digits: u32, then: &str| {
        for place in (0..digits).rev() {
            let digit = value / 10_u32.pow(place) % 10;
            text.extend(char::from_digit(digit, 10));
        }
        text.push_str(then);
    };
    put(at.year().unsigned_abs(), 4, "-");
    put(u8::from(at.month()).into(), 2, "-");
    put(at.day().into(), 2, "T");
    put(hour.into(), 2, ":");
    put(minute.into(), 2, ":");
    put(second.into(), 2, ".");
    put(micros, 6, "+00:00");
    text
}

/// Unix seconds.
pub(crate) fn unix_now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_all_their_digits() {
        use time::{OffsetDateTime, format_description::well_known::Rfc3339};
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000+00:00");
        for micros in [
            1,
            1_767_323_045_000_006,
            951_782_399_999_999,
            253_402_300_799_999_999,
        ] {
            let text = rfc3339(micros);
            assert_eq!(text.len(), 32, "{text}");
            let read = OffsetDateTime::parse(&text, &Rfc3339).unwrap();
            assert_eq!(
                read.unix_timestamp_nanos(),
                i128::from(micros) * 1000,
                "{text}"
            );
        }
        assert_eq!(rfc3339(i64::MAX), rfc3339(0), "beyond the calendar");
    }

    #[test]
    fn tokens_hold_until_they_expire_and_only_with_our_key() {
        let tokens = AccessTokens::new(&[7; 32], Duration::from_secs(60));
        let now = unix_now();
        let good = tokens.issue(5, "alice", AccountRole::Gm, now).unwrap();
        let (id, claims) = tokens.check(good.reveal()).unwrap();
        assert_eq!((id, claims.name.as_str()), (5, "alice"));
        assert_eq!(claims.role, AccountRole::Gm);

        let old = tokens.issue(5, "alice", AccountRole::Gm, now - 61).unwrap();
        let other = AccessTokens::new(&[8; 32], Duration::from_secs(60));
        let foreign = other.issue(5, "alice", AccountRole::Gm, now).unwrap();
        // {"alg":"none"} with the claims of the good one.
        let body = good.reveal().split('.').nth(1).unwrap();
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
        let long = "x".repeat(MAX_TOKEN + 1);
        for bad in [
            old.reveal(),
            foreign.reveal(),
            &unsigned,
            &long,
            "",
            "a.b.c",
        ] {
            let refused = tokens.check(bad).unwrap_err();
            assert_eq!(refused.code(), ProblemCode::TokenExpired);
        }
    }
}
