//! Updates of the launcher: what an operator publishes, what the coordinator offers, and what a
//! signature is over.
//!
//! A package is signed with minisign (prehashed, the format that Tauri's updater reads). The
//! signature's trusted comment is signed with it and says what the package is: see [`SignedNote`].
//! Nothing else of an [`Offer`] is signed, so a launcher believes an offer only as far as the note
//! agrees with it.
//!
//! # What lies in the operator's folder
//! ```text
//! CHANNEL/PLATFORM/VERSION/release.json    a [`Release`]
//! CHANNEL/PLATFORM/VERSION/FILE            the package
//! CHANNEL/PLATFORM/VERSION/FILE.sig        its signature: minisign's text in base64
//! ```
//! `PLATFORM` is written as [`Platform`] shows itself: `linux-x86_64-deb`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Largest package, bytes: several times that of a launcher.
pub const MAX_PACKAGE: u64 = 256 * 1024 * 1024;
/// Longest id of an install, bytes.
pub const MAX_INSTALL: usize = 64;
/// Longest notes of a release, bytes.
pub const MAX_NOTES: usize = 8 * 1024;

/// A stream of releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Channel {
    /// For everybody.
    #[default]
    Stable,
    /// For those who chose it, earlier.
    Canary,
}

impl Channel {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Stable, Self::Canary];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Channel {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or(BadWord("channel"))
    }
}

/// How a launcher is packed, and with it how it is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Bundle {
    /// A Debian package.
    Deb,
    /// An RPM package.
    Rpm,
    /// An AppImage.
    Appimage,
    /// An installer made with NSIS.
    Nsis,
    /// An installer made with WiX.
    Msi,
    /// A bundle of macOS.
    App,
    /// The program alone, which replaces itself.
    Portable,
}

impl Bundle {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Deb,
        Self::Rpm,
        Self::Appimage,
        Self::Nsis,
        Self::Msi,
        Self::App,
        Self::Portable,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
            Self::Appimage => "appimage",
            Self::Nsis => "nsis",
            Self::Msi => "msi",
            Self::App => "app",
            Self::Portable => "portable",
        }
    }
}

impl FromStr for Bundle {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or(BadWord("bundle"))
    }
}

/// What a package runs on and how it is packed: `linux-x86_64-deb`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// Operating system, as Rust names it: `linux`, `windows`, `macos`.
    pub target: String,
    /// Processor, as Rust names it: `x86_64`, `aarch64`.
    pub arch: String,
    /// How it is packed.
    pub bundle: Bundle,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.target, self.arch, self.bundle.name())
    }
}

impl FromStr for Platform {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        let bad = BadWord("platform");
        let mut parts = text.split('-');
        let (Some(target), Some(arch), Some(bundle), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad);
        };
        let plain = |word: &str| {
            (1..=16).contains(&word.len())
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !plain(target) || !plain(arch) {
            return Err(bad);
        }
        Ok(Self {
            target: target.to_owned(),
            arch: arch.to_owned(),
            bundle: bundle.parse().map_err(|_| bad)?,
        })
    }
}

impl Serialize for Platform {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A word is not one of those that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such {0}")]
pub struct BadWord(&'static str);

/// `release.json`: one version for one platform in one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Version, as semantic versioning writes it.
    pub version: String,
    /// Name of the package beside this file.
    pub file: String,
    /// Its size, bytes.
    pub size: u64,
    /// Share of the channel's installs that are offered it, 0 to 100.
    #[serde(default = "everybody")]
    pub percentage: u8,
    /// What is new.
    #[serde(default)]
    pub notes: String,
    /// When it was published, RFC 3339.
    pub pub_date: String,
}

fn everybody() -> u8 {
    100
}

/// The coordinator's answer to a launcher that asks for an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Offer {
    /// Version, as semantic versioning writes it.
    pub version: String,
    /// Where the package is, below the base of the REST routes.
    pub path: String,
    /// The package's signature: minisign's text in base64.
    pub signature: String,
    /// The package's size, bytes.
    pub size: u64,
    /// What is new.
    pub notes: String,
    /// When it was published, RFC 3339.
    pub pub_date: String,
}

/// What the signature says of the package: minisign's trusted comment, which the signature covers.
/// Fields are separated by tabs, as Tauri's command line writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    /// Name of the package.
    pub file: String,
    /// Version of the launcher in it.
    pub version: String,
    /// The channel that it was signed for.
    pub channel: Channel,
    /// The platform that it was signed for.
    pub platform: Platform,
}

impl SignedNote {
    /// The trusted comment; `signed_at` in Unix seconds.
    pub fn to_comment(&self, signed_at: u64) -> String {
        format!(
            "timestamp:{signed_at}\tfile:{}\tversion:{}\tchannel:{}\tplatform:{}",
            self.file, self.version, self.channel, self.platform
        )
    }

    /// Reads a trusted comment; `None` where a field is missing or holds what it cannot. The
    /// signature has to be checked first.
    pub fn read(comment: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut fields = comment.split('\t');
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix(':'))
        };
        Some(Self {
            file: field("file")?.to_owned(),
            version: field("version")?.to_owned(),
            channel: field("channel")?.parse().ok()?,
            platform: field("platform")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note() -> SignedNote {
        SignedNote {
            file: "warp-launcher_0.2.0_amd64.deb".into(),
            version: "0.2.0".into(),
            channel: Channel::Canary,
            platform: "linux-x86_64-deb".parse().unwrap(),
        }
    }

    #[test]
    fn a_note_comes_back_as_it_was_written() {
        let comment = note().to_comment(1_790_000_000);
        assert_eq!(SignedNote::read(&comment), Some(note()));
        // What Tauri's own reader looks for.
        assert!(comment.split('\t').any(|field| field == "version:0.2.0"));
    }

    #[test]
    fn a_note_without_one_of_its_fields_is_none() {
        let comment = note().to_comment(0);
        for name in ["file", "version", "channel", "platform"] {
            let without: Vec<&str> = comment
                .split('\t')
                .filter(|field| !field.starts_with(name))
                .collect();
            assert_eq!(SignedNote::read(&without.join("\t")), None, "{name}");
        }
    }

    #[test]
    fn platforms_are_words_and_never_ways_in_a_folder() {
        let platform: Platform = "windows-x86_64-nsis".parse().unwrap();
        assert_eq!(platform.bundle, Bundle::Nsis);
        assert_eq!(platform.to_string(), "windows-x86_64-nsis");
        for bad in [
            "",
            "linux",
            "linux-x86_64",
            "..-x86_64-deb",
            "linux-x/64-deb",
            "linux-x86_64-zip",
            "linux-x86_64-deb-",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_comment_is_read_without_a_panic(comment in ".{0,300}") {
            let _ = SignedNote::read(&comment);
        }
    }
}
