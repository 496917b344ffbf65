//! Asking for an update, and checking what came.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use minisign_verify::{PublicKey, Signature};
use reqwest::StatusCode;
use semver::Version;
use warp_protocol::{
    Problem, ProblemCode,
    update::{Channel, MAX_NOTES, MAX_PACKAGE, Offer, Platform, SignedNote},
};

use crate::version;

/// Longest answer that is read, bytes.
const MAX_ANSWER: u64 = 64 * 1024;
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Who asks for updates, and whom it believes.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Base of the coordinator's REST routes, without a slash at its end.
    pub base: String,
    /// Goes to the coordinator the way that everything else goes (proxy, certificates).
    pub http: reqwest::Client,
    /// The operator's public key, as minisign writes it: one line of base64.
    pub key: String,
    /// Whose releases are followed.
    pub channel: Channel,
    /// What this launcher runs on.
    pub platform: Platform,
    /// The version that runs.
    pub current: Version,
    /// Id of this install.
    pub install: String,
}

/// A package whose signature and note are what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The package.
    pub bytes: Vec<u8>,
    /// The version in it.
    pub version: Version,
}

impl Asker {
    /// What the coordinator offers; `None`: nothing newer.
    ///
    /// # Errors
    /// The coordinator does not answer, or not as it should; `update-swapped` where it offers what is
    /// no newer than the version that runs.
    pub async fn ask(&self) -> Result<Option<Offer>, Problem> {
        let offer = self.question(false).await?;
        if let Some(offer) = &offer
            && version(&offer.version)? <= self.current
        {
            return Err(self.swapped(format!(
                "version {} is offered, and {} runs",
                offer.version, self.current
            )));
        }
        Ok(offer)
    }

    /// The package of the very version that runs, to be kept; `None`: it is not published.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_same(&self) -> Result<Option<Offer>, Problem> {
        let offer = self.question(true).await?;
        match offer {
            Some(offer) if version(&offer.version)? != self.current => {
                Err(self.swapped(format!("version {} was sent instead", offer.version)))
            }
            other => Ok(other),
        }
    }

    async fn question(&self, same: bool) -> Result<Option<Offer>, Problem> {
        let Platform {
            target,
            arch,
            bundle,
        } = &self.platform;
        // `+` of a version is a space in a path's eyes of some servers.
        let current = self.current.to_string().replace('+', "%2B");
        let url = format!(
            "{}/updates/{target}/{arch}/{current}?bundle={}&channel={}&install={}&same={same}",
            self.base,
            bundle.name(),
            self.channel,
            self.install
        );
        let mut response = self
            .http
            .get(&url)
            .timeout(TIMEOUT)
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        match response.status() {
            StatusCode::OK => {}
            // An older coordinator knows no such route.
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(self.odd(format!("it answered {status}"))),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.unreachable(&error))?
        {
            if (body.len() + chunk.len()) as u64 > MAX_ANSWER {
                return Err(self.odd("its answer is too long".into()));
            }
            body.extend_from_slice(&chunk);
        }
        let offer: Offer =
            serde_json::from_slice(&body).map_err(|error| self.odd(error.to_string()))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.+".contains(c);
        let below = offer.path.starts_with("updates/")
            && !offer.path.contains("..")
            && offer.path.chars().all(plain);
        if !below || offer.size == 0 || offer.size > MAX_PACKAGE || offer.notes.len() > MAX_NOTES {
            return Err(self.odd("its offer is not one".into()));
        }
        Ok(Some(offer))
    }

    /// Whether `bytes` are what `offer` announced and what this launcher may become; with `same`, what
    /// it is.
    ///
    /// # Errors
    /// `update-incomplete`, `update-forged` or `update-swapped`; nothing has been installed then.
    pub fn check(&self, offer: &Offer, bytes: Vec<u8>, same: bool) -> Result<Checked, Problem> {
        if bytes.len() as u64 != offer.size {
            return Err(Problem::new(ProblemCode::UpdateIncomplete, &offer.version)
                .with_detail(format!("{} of {} bytes", bytes.len(), offer.size)));
        }
        let note = verify(&self.key, &bytes, &offer.signature).map_err(|why| {
            Problem::new(ProblemCode::UpdateForged, &offer.version).with_detail(why)
        })?;
        let signed = version(&note.version)?;
        if signed != version(&offer.version)? {
            return Err(self.swapped(format!(
                "version {} was announced, and {signed} is what was signed",
                offer.version
            )));
        }
        let order_fits = match same {
            true => signed == self.current,
            false => signed > self.current,
        };
        if !order_fits {
            return Err(self.swapped(format!("version {signed}, and {} runs", self.current)));
        }
        if note.channel != self.channel {
            return Err(self.swapped(format!(
                "it was signed for the channel {}, and this launcher follows {}",
                note.channel, self.channel
            )));
        }
        if note.platform != self.platform {
            return Err(self.swapped(format!(
                "it was signed for {}, and this is {}",
                note.platform, self.platform
            )));
        }
        Ok(Checked {
            bytes,
            version: signed,
        })
    }

    fn swapped(&self, detail: String) -> Problem {
        Problem::new(ProblemCode::UpdateSwapped, &self.base).with_detail(detail)
    }

    pub(crate) fn odd(&self, detail: String) -> Problem {
        Problem::new(ProblemCode::CoordinatorProtocol, &self.base).with_detail(detail)
    }

    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> Problem {
        let detail = error.to_string();
        Problem::new(ProblemCode::CoordinatorUnreachable, &self.base).with_detail(detail)
    }
}

/// What `key` signed of `bytes`; else why that does not hold.
pub(crate) fn verify(key: &str, bytes: &[u8], signature: &str) -> Result<SignedNote, String> {
    let key = PublicKey::from_base64(key.trim())
        .map_err(|error| format!("this launcher's key cannot be read: {error}"))?;
    let text = BASE64_STANDARD
        .decode(signature.trim())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or("the signature is not base64")?;
    let signature = Signature::decode(&text).map_err(|error| error.to_string())?;
    key.verify(bytes, &signature, false)
        .map_err(|error| error.to_string())?;
    // The comment is covered by the signature, and may be read from here on.
    SignedNote::read(signature.trusted_comment())
        .ok_or_else(|| "it was signed without version, channel and platform".to_owned())
}
