//! The operator's side: a key pair, signatures, and the folder that the coordinator serves.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use minisign::{KeyPair, SecretKey, SecretKeyBox};
use semver::Version;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use warp_protocol::{
    Secret,
    update::{Channel, MAX_NOTES, MAX_PACKAGE, Platform, Release, SignedNote},
};

use crate::{check::verify, store::replace};

/// What cannot be done, to what, and why.
#[derive(Debug)]
pub struct PublishError(String);

impl std::fmt::Display for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PublishError {}

fn failed(what: impl std::fmt::Display) -> impl FnOnce(&dyn std::fmt::Display) -> PublishError {
    move |why| PublishError(format!("{what}: {why}"))
}

/// Makes a key pair: the secret key in `file`, which must not be there, the public one beside it with
/// `.pub` at the end of its name. With a password the secret key is encrypted. Gives the public key,
/// one line of base64.
///
/// # Errors
/// A file is there already or cannot be written.
pub fn new_key(file: &Path, password: Option<&Secret>) -> Result<String, PublishError> {
    let fault = |why: minisign::PError| PublishError(format!("the key: {why}"));
    let pair = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password.reveal().to_owned()))
            .map_err(fault)?,
        None => KeyPair::generate_unencrypted_keypair().map_err(fault)?,
    };
    let secret = pair
        .sk
        .to_box(Some("secret key of launcher updates"))
        .map_err(fault)?
        .into_string();
    let public = pair.pk.to_base64();
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    warp_platform::make_private(&mut options)
        .open(file)
        .and_then(|mut out| out.write_all(secret.as_bytes()))
        .map_err(|error| failed(file.display())(&error))?;
    let beside = with_suffix(file, ".pub");
    fs::write(&beside, format!("{public}\n")).map_err(|error| failed(beside.display())(&error))?;
    Ok(public)
}

/// A secret key from its file.
///
/// # Errors
/// It cannot be read, or the password is missing or wrong.
pub fn read_key(file: &Path, password: Option<&Secret>) -> Result<SecretKey, PublishError> {
    let text = fs::read_to_string(file).map_err(|error| failed(file.display())(&error))?;
    let boxed = || SecretKeyBox::from_string(&text).map_err(|error| failed(file.display())(&error));
    match password {
        Some(password) => boxed()?.into_secret_key(Some(password.reveal().to_owned())),
        None => boxed()?.into_unencrypted_secret_key(),
    }
    .map_err(|error| failed(file.display())(&error))
}

/// What is published.
pub struct Publication<'a> {
    /// The package.
    pub package: &'a Path,
    /// Version of the launcher in it.
    pub version: Version,
    /// To whom.
    pub channel: Channel,
    /// What it runs on.
    pub platform: Platform,
    /// Share of the channel's installs that are offered it, 0 to 100.
    pub percentage: u8,
    /// What is new.
    pub notes: String,
    /// When.
    pub date: SystemTime,
}

impl Publication<'_> {
    /// Signs the package and puts it into the coordinator's `folder`. `release.json` comes last, so
    /// that nobody is offered half a release. Gives the release's own folder.
    ///
    /// # Errors
    /// The package is not one, or the folder cannot be written to.
    pub fn publish(self, folder: &Path, key: &SecretKey) -> Result<PathBuf, PublishError> {
        let wrong = failed(self.package.display());
        let bytes = match fs::read(self.package) {
            Ok(bytes) => bytes,
            Err(error) => return Err(wrong(&error)),
        };
        if bytes.is_empty() || bytes.len() as u64 > MAX_PACKAGE {
            return Err(wrong(&format!("a package has 1 to {MAX_PACKAGE} bytes")));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
        let name = self.package.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|n| n.chars().all(plain) && !n.starts_with('.')) else {
            return Err(wrong(&"its name may have letters, digits and . - _ + only"));
        };
        if self.percentage > 100 || self.notes.len() > MAX_NOTES {
            return Err(wrong(
                &"a percentage is 0 to 100, and notes are 8 KiB at most",
            ));
        }
        let note = SignedNote {
            file: name.to_owned(),
            version: self.version.to_string(),
            channel: self.channel,
            platform: self.platform.clone(),
        };
        let signature = sign(
            &bytes,
            key,
            &note.to_comment(
                self.date
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |at| at.as_secs()),
            ),
        )?;
        let release = Release {
            version: note.version,
            file: note.file,
            size: bytes.len() as u64,
            percentage: self.percentage,
            notes: self.notes,
            pub_date: OffsetDateTime::from(self.date)
                .format(&Rfc3339)
                .unwrap_or_default(),
        };
        let text = serde_json::to_string_pretty(&release)
            .map_err(|error| failed("release.json")(&error))?;
        let here = folder
            .join(self.channel.name())
            .join(self.platform.to_string())
            .join(&release.version);
        fs::create_dir_all(&here)
            .and_then(|()| {
                // A release that is published anew is none until it is whole again.
                let _ = fs::remove_file(here.join("release.json"));
                replace(&here.join(name), &bytes)?;
                replace(&here.join(format!("{name}.sig")), signature.as_bytes())?;
                replace(&here.join("release.json"), text.as_bytes())
            })
            .map_err(|error| failed(here.display())(&error))?;
        Ok(here)
    }
}

/// The signature of `bytes` with this trusted comment: minisign's text in base64, as Tauri's updater
/// reads it.
///
/// # Errors
/// The key cannot sign.
pub fn sign(bytes: &[u8], key: &SecretKey, comment: &str) -> Result<String, PublishError> {
    let signature = minisign::sign(None, key, bytes, Some(comment), None)
        .map_err(|error| failed("the signature")(&error))?;
    Ok(BASE64_STANDARD.encode(signature.into_string()))
}

/// Signs a file that people download. Gives the signature's file, minisign's own, with `.minisig` at the
/// end of its name.
///
/// # Errors
/// The file cannot be read, or its signature not be written.
pub fn sign_file(file: &Path, key: &SecretKey) -> Result<PathBuf, PublishError> {
    let bytes = fs::read(file).map_err(|error| failed(file.display())(&error))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let signature = minisign::sign(
        None,
        key,
        bytes.as_slice(),
        Some(&format!("file:{name}")),
        None,
    )
    .map_err(|error| failed("the signature")(&error))?;
    let beside = with_suffix(file, ".minisig");
    replace(&beside, signature.into_string().as_bytes())
        .map_err(|error| failed(beside.display())(&error))?;
    Ok(beside)
}

/// Whether a file is what [`sign_file`] has signed with the key of `public`.
///
/// # Errors
/// It is not, or one of the two cannot be read.
pub fn check_file(file: &Path, public: &str) -> Result<(), PublishError> {
    let wrong = |why: &dyn std::fmt::Display| failed(file.display())(why);
    let bytes = fs::read(file).map_err(|error| wrong(&error))?;
    let signature = fs::read_to_string(with_suffix(file, ".minisig"));
    let signature = signature.map_err(|error| wrong(&error))?;
    let key = minisign_verify::PublicKey::from_base64(public).map_err(|error| wrong(&error))?;
    minisign_verify::Signature::decode(&signature)
        .and_then(|signature| key.verify(&bytes, &signature, false))
        .map_err(|error| wrong(&error))
}

/// Looks at a release's folder as a launcher would: the signature fits `public`, and what was signed is
/// what `release.json` and the folder's own names say.
///
/// # Errors
/// What does not fit.
pub fn verify_folder(here: &Path, public: &str) -> Result<SignedNote, PublishError> {
    let wrong = |why: &dyn std::fmt::Display| failed(here.display())(why);
    let read = |name: &str| fs::read(here.join(name)).map_err(|error| wrong(&error));
    let release: Release =
        serde_json::from_slice(&read("release.json")?).map_err(|error| wrong(&error))?;
    let bytes = read(&release.file)?;
    if bytes.len() as u64 != release.size {
        return Err(wrong(
            &"the package has not the size that release.json names",
        ));
    }
    let signature = String::from_utf8_lossy(&read(&format!("{}.sig", release.file))?).into_owned();
    let note = verify(public, &bytes, &signature).map_err(|why| wrong(&why))?;
    let names: Vec<String> = (here.iter().rev().take(3))
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let said = [
        note.version.clone(),
        note.platform.to_string(),
        note.channel.to_string(),
    ];
    if names != said || note.file != release.file || note.version != release.version {
        return Err(wrong(&format!(
            "{} {} {} was signed",
            said[2], said[1], said[0]
        )));
    }
    Ok(note)
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
