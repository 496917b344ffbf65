//! The operator's folder of launcher releases: what lies in it, and which one an install is offered.
//! Its layout is that of [`warp_protocol::update`].
//!
//! The folder is read anew with each question, so that publishing is copying files into it, and
//! taking a release back is removing them. A release that is not whole is left out and logged.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use semver::Version;
use sha2::{Digest as _, Sha256};
use warp_protocol::update::{Channel, MAX_NOTES, MAX_PACKAGE, Offer, Platform, Release};

/// Versions of one channel and platform that are looked at; an operator keeps a handful.
const MAX_VERSIONS: usize = 256;
/// Longest `release.json`, and longest signature, bytes.
const MAX_SMALL_FILE: u64 = 32 * 1024;

/// Who asks for what.
pub(crate) struct Question<'a> {
    pub(crate) channel: Channel,
    pub(crate) platform: &'a Platform,
    /// The version that asks.
    pub(crate) current: &'a Version,
    /// Id of the install, by which a share of a channel is chosen; empty: it is in no share but the
    /// whole.
    pub(crate) install: &'a str,
    /// Exactly the version that asks is wanted: to be kept before a newer one is installed.
    pub(crate) same: bool,
}

/// What the install is offered; `None`: nothing.
pub(crate) fn offer(folder: &Path, question: &Question<'_>) -> Option<Offer> {
    let here = folder
        .join(question.channel.name())
        .join(question.platform.to_string());
    let mut versions: Vec<Version> = fs::read_dir(&here)
        .ok()?
        .take(MAX_VERSIONS)
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|version: &Version| match question.same {
            true => version == question.current,
            false => version > question.current,
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().find_map(|version| {
        let release = match read(&here.join(version.to_string()), &version) {
            Ok(release) => release,
            Err(why) => {
                let folder = here.join(version.to_string());
                tracing::warn!(folder = %folder.display(), why, "a release is left out");
                return None;
            }
        };
        let (release, signature) = release;
        let offered =
            question.same || in_share(question.install, &release.version, release.percentage);
        offered.then(|| Offer {
            path: format!(
                "updates/files/{}/{}/{version}/{}",
                question.channel, question.platform, release.file
            ),
            version: release.version,
            signature,
            size: release.size,
            notes: release.notes,
            pub_date: release.pub_date,
        })
    })
}

/// The file of a release, if it is that release's package.
pub(crate) fn package(
    folder: &Path,
    channel: Channel,
    platform: &Platform,
    version: &Version,
    file: &str,
) -> Option<PathBuf> {
    let here = folder
        .join(channel.name())
        .join(platform.to_string())
        .join(version.to_string());
    let (release, _) = read(&here, version).ok()?;
    (release.file == file).then(|| here.join(file))
}

/// A release and its signature; else what is wrong with it.
fn read(folder: &Path, version: &Version) -> Result<(Release, String), String> {
    let text = small(&folder.join("release.json"))?;
    let release: Release =
        serde_json::from_str(&text).map_err(|error| format!("release.json: {error}"))?;
    if release.version.parse::<Version>().ok().as_ref() != Some(version) {
        return Err(format!("release.json says version {}", release.version));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    if release.file.is_empty() || release.file.starts_with('.') || !release.file.chars().all(plain)
    {
        return Err(format!(
            "`file` of release.json is no file name: {}",
            release.file
        ));
    }
    if release.percentage > 100 || release.notes.len() > MAX_NOTES {
        return Err("`percentage` is 0 to 100, and `notes` are 8 KiB at most".to_owned());
    }
    let package = folder.join(&release.file);
    let size = fs::metadata(&package).map_err(|error| format!("{}: {error}", release.file))?;
    if size.len() != release.size || release.size == 0 || release.size > MAX_PACKAGE {
        return Err(format!(
            "{} has {} bytes and release.json says {}; {MAX_PACKAGE} are allowed",
            release.file,
            size.len(),
            release.size
        ));
    }
    let signature = small(&folder.join(format!("{}.sig", release.file)))?;
    let signature = signature.trim().to_owned();
    if BASE64_STANDARD.decode(&signature).is_err() {
        return Err(format!("{}.sig is not base64", release.file));
    }
    Ok((release, signature))
}

fn small(file: &Path) -> Result<String, String> {
    let words = |error: std::io::Error| format!("{}: {error}", file.display());
    if fs::metadata(file).map_err(words)?.len() > MAX_SMALL_FILE {
        return Err(format!("{} is too long", file.display()));
    }
    fs::read_to_string(file).map_err(words)
}

/// Whether `install` is in the share of `version`. Each version draws anew, so that nobody is always
/// the first.
fn in_share(install: &str, version: &str, percentage: u8) -> bool {
    if percentage >= 100 {
        return true;
    }
    if install.is_empty() {
        return false;
    }
    let mut hash = Sha256::new();
    hash.update(install.as_bytes());
    hash.update([0]);
    hash.update(version.as_bytes());
    let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
    u32::from_be_bytes([a, b, c, d]) % 100 < u32::from(percentage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform() -> Platform {
        "linux-x86_64-deb".parse().unwrap()
    }

    fn publish(folder: &Path, channel: &str, version: &str, percentage: u8) {
        let here = folder.join(channel).join("linux-x86_64-deb").join(version);
        fs::create_dir_all(&here).unwrap();
        fs::write(here.join("a.deb"), "package").unwrap();
        fs::write(here.join("a.deb.sig"), BASE64_STANDARD.encode("signature")).unwrap();
        let release = Release {
            version: version.into(),
            file: "a.deb".into(),
            size: 7,
            percentage,
            notes: "new".into(),
            pub_date: "2026-01-01T00:00:00Z".into(),
        };
        let text = serde_json::to_string(&release).unwrap();
        fs::write(here.join("release.json"), text).unwrap();
    }

    fn ask(folder: &Path, channel: Channel, current: &str, install: &str) -> Option<String> {
        let question = Question {
            channel,
            platform: &platform(),
            current: &current.parse().unwrap(),
            install,
            same: false,
        };
        offer(folder, &question).map(|offer| offer.version)
    }

    #[test]
    fn the_newest_of_the_channel_is_offered_and_no_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for version in ["0.9.0", "0.10.0", "0.2.0"] {
            publish(folder, "stable", version, 100);
        }
        publish(folder, "canary", "0.11.0", 100);
        assert_eq!(
            ask(folder, Channel::Stable, "0.2.0", "").as_deref(),
            Some("0.10.0")
        );
        assert_eq!(
            ask(folder, Channel::Canary, "0.2.0", "").as_deref(),
            Some("0.11.0")
        );
        assert_eq!(ask(folder, Channel::Stable, "0.10.0", ""), None);
        assert_eq!(ask(folder, Channel::Stable, "1.0.0", ""), None);
        let same = Question {
            channel: Channel::Stable,
            platform: &platform(),
            current: &"0.2.0".parse().unwrap(),
            install: "",
            same: true,
        };
        assert_eq!(offer(folder, &same).unwrap().version, "0.2.0");
    }

    #[test]
    fn a_percentage_is_a_share_of_installs_and_each_keeps_its_answer() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        publish(folder, "canary", "0.2.0", 30);
        let installs: Vec<String> = (0..200).map(|n| format!("install-{n}")).collect();
        let given = |percentage| {
            publish(folder, "canary", "0.2.0", percentage);
            let offered =
                |install: &&String| ask(folder, Channel::Canary, "0.1.0", install).is_some();
            installs.iter().filter(offered).collect::<Vec<_>>()
        };
        assert!(given(0).is_empty());
        let some = given(30);
        // Two hundred draws of 30 %: 60, and five standard deviations (6.5 each) around it.
        assert!((28..=92).contains(&some.len()), "{}", some.len());
        let more = given(60);
        assert!(
            some.iter().all(|install| more.contains(install)),
            "a share only grows"
        );
        assert_eq!(given(100).len(), 200);
    }

    #[test]
    fn a_release_that_is_not_whole_is_left_out_for_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let here = folder.join("stable/linux-x86_64-deb/0.3.0");
        let offered = || ask(folder, Channel::Stable, "0.1.0", "");
        publish(folder, "stable", "0.2.0", 100);
        let break_it: [fn(&Path); 5] = [
            |here| fs::write(here.join("a.deb"), "pack").unwrap(),
            |here| fs::remove_file(here.join("a.deb.sig")).unwrap(),
            |here| fs::write(here.join("a.deb.sig"), "?").unwrap(),
            |here| fs::write(here.join("release.json"), "{").unwrap(),
            |here| {
                let text = fs::read_to_string(here.join("release.json")).unwrap();
                fs::write(here.join("release.json"), text.replace("a.deb", "../a.deb")).unwrap();
            },
        ];
        for broken in break_it {
            publish(folder, "stable", "0.3.0", 100);
            assert_eq!(offered().as_deref(), Some("0.3.0"));
            broken(&here);
            assert_eq!(offered().as_deref(), Some("0.2.0"));
        }
    }

    #[test]
    fn only_the_package_of_a_release_is_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        publish(folder, "stable", "0.2.0", 100);
        let ask = |file: &str| {
            let version = "0.2.0".parse().unwrap();
            package(folder, Channel::Stable, &platform(), &version, file)
        };
        assert!(ask("a.deb").is_some_and(|file| file.is_file()));
        for other in ["release.json", "a.deb.sig", "../0.2.0/a.deb", ""] {
            assert_eq!(ask(other), None, "{other}");
        }
    }
}
