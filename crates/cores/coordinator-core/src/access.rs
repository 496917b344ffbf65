//! Who may do what, and what names and passwords look like.

use warp_protocol::{
    ProblemCode, Secret,
    rest::{AccountRole, MAX_NAME, MAX_PASSWORD, MIN_PASSWORD},
    zone::ZoneStatus,
};

/// A refusal with its stable code and what is allowed instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// Stable code.
    pub code: ProblemCode,
    /// What happened and what is allowed.
    pub why: &'static str,
}

/// Checks an account name: 1 to 32 bytes of ASCII letters, digits, `_`, `-` and `.`.
///
/// # Errors
/// `bad-name`.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Refusal {
            code: ProblemCode::BadName,
            why: "an account name is 1 to 32 letters, digits, '_', '-' and '.'",
        })
    }
}

/// Checks a new password: at least 6 characters, at most 128 bytes.
///
/// # Errors
/// `bad-password`.
pub fn check_password(password: &Secret) -> Result<(), Refusal> {
    let text = password.reveal();
    if text.len() <= MAX_PASSWORD && text.chars().count() >= MIN_PASSWORD {
        Ok(())
    } else {
        Err(Refusal {
            code: ProblemCode::BadPassword,
            why: "a password has at least 6 characters and at most 128 bytes",
        })
    }
}

/// May an account of `role` join a zone with this status and population?
///
/// Everybody may join an open zone that is not full. Game masters and operators may also enter one
/// under maintenance, and a full one: they are who looks after it. Nobody joins a disabled zone.
///
/// # Errors
/// `zone-closed`.
pub fn may_join(
    role: AccountRole,
    status: ZoneStatus,
    players: u32,
    max_players: u32,
) -> Result<(), Refusal> {
    let staff = role >= AccountRole::Gm;
    let closed = |why| {
        Err(Refusal {
            code: ProblemCode::ZoneClosed,
            why,
        })
    };
    match status {
        ZoneStatus::Disabled => closed("the zone is closed; choose another one"),
        ZoneStatus::Maintenance if !staff => {
            closed("the zone is under maintenance; try again later")
        }
        _ if players >= max_players && !staff => {
            closed("the zone is full; try again later or choose another one")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "Alice.B-c_9", &"x".repeat(32)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", " a", "a b", "ä", "a\0", "a/b", &"x".repeat(33)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords() {
        for good in ["123456", "ééé666", &"x".repeat(128)] {
            assert_eq!(check_password(&Secret::new(good)), Ok(()));
        }
        for bad in ["", "12345", "ééé", &"x".repeat(129)] {
            assert!(check_password(&Secret::new(bad)).is_err());
        }
    }

    #[test]
    fn zones_let_in_by_status_role_and_population() {
        use AccountRole::{Admin, Gm, Host, Player};
        use ZoneStatus::{Disabled, Enabled, Maintenance};
        for role in [Player, Host, Gm, Admin] {
            assert!(may_join(role, Enabled, 99, 100).is_ok());
            assert!(may_join(role, Disabled, 0, 100).is_err());
            let staff = matches!(role, Gm | Admin);
            assert_eq!(may_join(role, Maintenance, 0, 100).is_ok(), staff);
            assert_eq!(may_join(role, Enabled, 100, 100).is_ok(), staff);
        }
    }
}
