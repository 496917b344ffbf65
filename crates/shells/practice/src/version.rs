//! The client versions that the practice game speaks.

use crate::wire::Dialect;

/// What both ends speak unless told otherwise.
pub const DEFAULT_VERSION: u32 = 20_211_103;

/// All versions (`PACKETVER`, a client's date), oldest first.
///
/// Those before 2018 have ids of their own date for what a client sends to a map server.
pub fn versions() -> impl Iterator<Item = u32> {
    Dialect::versions()
}

/// Why a version cannot be spoken as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The practice game does not know the version, or this build has no packet lengths for it.
    #[error(
        "the practice game does not speak packet version {version}; it speaks {}",
        list(versions())
    )]
    Unknown {
        /// The version that was asked for.
        version: u32,
    },
    /// Enciphered ids were asked for, and no keys of this version are known.
    #[error(
        "no keys are known that encipher the packet ids of version {version}; leave \
         `obfuscate` out, or take a version with keys: {}",
        list(versions().filter(|version| check(*version, true).is_ok()))
    )]
    NoKeys {
        /// The version that was asked for.
        version: u32,
    },
}

/// Whether both ends can speak `version`, with enciphered ids if `obfuscate` is set.
///
/// # Errors
///
/// If not; the error says what there is instead.
pub fn check(version: u32, obfuscate: bool) -> Result<(), VersionError> {
    Dialect::of(version, obfuscate).map(|_dialect| ())
}

fn list(versions: impl Iterator<Item = u32>) -> String {
    let mut text = String::new();
    for version in versions {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&version.to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_spoken_is_told_with_what_can() {
        assert_eq!(check(DEFAULT_VERSION, false), Ok(()));
        assert_eq!(check(20_130_807, true), Ok(()));
        let version = 20_010_101;
        let unknown = check(version, false).unwrap_err();
        assert_eq!(unknown, VersionError::Unknown { version });
        let told = unknown.to_string();
        assert!(
            told.contains("20130807, ") && told.contains("20211103"),
            "{told}"
        );
        let version = DEFAULT_VERSION;
        let no_keys = check(version, true).unwrap_err();
        assert_eq!(no_keys, VersionError::NoKeys { version });
        let told = no_keys.to_string();
        assert!(told.contains(": 20130807"), "{told}");
    }
}
