//! Which secrets are too weak to be used in production.
//!
//! A secret that a person typed in is refused when it is short, when it is a placeholder out of an
//! example, or when it hardly has different characters. What a program made is never refused.

use warp_protocol::Secret;

/// Fewest characters of an API key or another shared secret.
pub const MIN_SECRET: usize = 32;

/// Fewest different characters of one; 32 random hex digits have fewer only once in a million.
const MIN_DIFFERENT: usize = 8;

/// What placeholders in examples look like, in lower case.
const PLACEHOLDERS: [&str; 8] = [
    "change_this",
    "changethis",
    "change-this",
    "change_me",
    "changeme",
    "your-secret",
    "your_secret",
    "your-coordinator",
];

/// Why a secret must not be used in production.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// Too short.
    #[error("it is shorter than {MIN_SECRET} characters")]
    Short,
    /// Out of an example.
    #[error("it is a placeholder out of an example")]
    Placeholder,
    /// Repeats itself.
    #[error("it has fewer than {MIN_DIFFERENT} different characters")]
    Monotone,
}

/// Looks whether a secret may be used in production.
///
/// # Errors
/// Why not.
pub fn check_secret(secret: &Secret) -> Result<(), Weak> {
    let text = secret.reveal();
    let lower = text.to_ascii_lowercase();
    if PLACEHOLDERS.iter().any(|word| lower.contains(word)) {
        return Err(Weak::Placeholder);
    }
    if text.chars().count() < MIN_SECRET {
        return Err(Weak::Short);
    }
    let mut different: Vec<char> = text.chars().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < MIN_DIFFERENT {
        return Err(Weak::Monotone);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_repeated_and_example_secrets_are_weak() {
        let check = |text: &str| check_secret(&Secret::new(text));
        assert_eq!(check("0123456789abcdef0123456789abcdef"), Ok(()));
        assert_eq!(check("0123456789abcdef0123456789abcde"), Err(Weak::Short));
        assert_eq!(check(""), Err(Weak::Short));
        assert_eq!(check(&"ab".repeat(20)), Err(Weak::Monotone));
        for example in [
            "CHANGE_THIS_TO_A_LONG_RANDOM_STRING_1234567890",
            "your-secret-key-which-is-long-enough-0123456789",
            "your-coordinator-api-key-0123456789-abcdefgh",
            "changeme",
        ] {
            assert_eq!(check(example), Err(Weak::Placeholder), "{example}");
        }
    }
}
