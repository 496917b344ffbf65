//! Downloading a package. What has arrived stays in a file, so that the next try, also after a new
//! start, goes on where this one ended.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{
    StatusCode,
    header::{CONTENT_RANGE, RANGE},
};
use tokio::{fs, io::AsyncWriteExt as _, time};
use warp_protocol::{Problem, ProblemCode, update::Offer};

use crate::check::{Asker, Checked};

/// A server that sends nothing for so long is asked anew.
const STALLED: Duration = Duration::from_secs(30);
/// Tries that bring nothing, one after another, before it is given up.
const TRIES: u32 = 5;
/// Wait before the second of them; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(300);

impl Asker {
    /// Downloads what `offer` announces into `folder` and checks it. `progress` is told how many bytes
    /// have arrived, and of how many.
    ///
    /// # Errors
    /// The coordinator cannot be reached (what has arrived is kept), or the package is not what was
    /// announced (it is removed).
    pub async fn fetch(
        &self,
        offer: &Offer,
        folder: &Path,
        same: bool,
        progress: impl Fn(u64, u64),
    ) -> Result<Checked, Problem> {
        fs::create_dir_all(folder)
            .await
            .map_err(|error| no_file(folder, &error))?;
        let part = part(folder, offer);
        self.complete(offer, &part, &progress).await?;
        let bytes = fs::read(&part)
            .await
            .map_err(|error| no_file(&part, &error))?;
        let checked = self.check(offer, bytes, same);
        // Taken or refused: it is not gone on with.
        remove(&part).await?;
        checked
    }

    /// Tries until the file is whole.
    async fn complete(
        &self,
        offer: &Offer,
        part: &Path,
        progress: &impl Fn(u64, u64),
    ) -> Result<(), Problem> {
        let mut wait = FIRST_WAIT;
        let mut tries = 0;
        loop {
            let before = size(part).await?;
            let ended = self.go_on(offer, part, before, progress).await;
            let now = size(part).await?;
            if now >= offer.size {
                return Ok(());
            }
            let problem = match ended {
                // The server said that this was all.
                Ok(()) => {
                    remove(part).await?;
                    return Err(Problem::new(ProblemCode::UpdateIncomplete, &offer.version)
                        .with_detail(format!("{now} of {} bytes", offer.size)));
                }
                Err(problem) => problem,
            };
            if now > before {
                (tries, wait) = (0, FIRST_WAIT);
            }
            tries += 1;
            if tries >= TRIES || !problem.code.may_pass() {
                return Err(problem);
            }
            tracing::info!(version = offer.version, bytes = now, code = ?problem.code, "the download goes on");
            time::sleep(wait).await;
            wait *= 2;
        }
    }

    /// Reads from `from` on until the end of the answer.
    async fn go_on(
        &self,
        offer: &Offer,
        part: &Path,
        from: u64,
        progress: &impl Fn(u64, u64),
    ) -> Result<(), Problem> {
        if from >= offer.size {
            return Ok(());
        }
        let mut request = self.http.get(format!("{}/{}", self.base, offer.path));
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        // The client's own limit is for short answers; here each piece has one.
        let request = request.timeout(Duration::from_secs(24 * 3600));
        let mut response = time::timeout(STALLED, request.send())
            .await
            .map_err(|_| self.stalled())?
            .map_err(|error| self.unreachable(&error))?;
        let mut file = fs::OpenOptions::new();
        file.create(true);
        let mut at = match response.status() {
            StatusCode::OK => {
                file.write(true).truncate(true);
                0
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE);
                let range = range.and_then(|value| value.to_str().ok());
                if !range.is_some_and(|text| text.starts_with(&format!("bytes {from}-"))) {
                    return Err(self.odd("it sent another part than was asked for".into()));
                }
                file.append(true);
                from
            }
            status => return Err(self.odd(format!("it answered {status}"))),
        };
        let mut file = file
            .open(part)
            .await
            .map_err(|error| no_file(part, &error))?;
        loop {
            let piece = time::timeout(STALLED, response.chunk())
                .await
                .map_err(|_| self.stalled())?
                .map_err(|error| self.unreachable(&error))?;
            let Some(piece) = piece else {
                file.flush().await.map_err(|error| no_file(part, &error))?;
                return Ok(());
            };
            at += piece.len() as u64;
            if at > offer.size {
                drop(file);
                remove(part).await?;
                return Err(self.odd("the package is longer than was announced".into()));
            }
            file.write_all(&piece)
                .await
                .map_err(|error| no_file(part, &error))?;
            file.flush().await.map_err(|error| no_file(part, &error))?;
            progress(at, offer.size);
        }
    }

    fn stalled(&self) -> Problem {
        Problem::new(ProblemCode::CoordinatorUnreachable, &self.base)
            .with_detail("it sent nothing for 30 s")
    }
}

/// Where a package lies while it arrives. Another package of the same version is another file: what
/// an operator published anew must not be glued to what was there before.
fn part(folder: &Path, offer: &Offer) -> PathBuf {
    let digest = ring::digest::digest(&ring::digest::SHA256, offer.signature.as_bytes());
    let name: String = digest
        .as_ref()
        .iter()
        .take(12)
        .map(|b| format!("{b:02x}"))
        .collect();
    folder.join(format!("{name}.part"))
}

async fn size(part: &Path) -> Result<u64, Problem> {
    match fs::metadata(part).await {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(no_file(part, &error)),
    }
}

async fn remove(part: &Path) -> Result<(), Problem> {
    match fs::remove_file(part).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(no_file(part, &error)),
        _ => Ok(()),
    }
}

fn no_file(file: &Path, error: &std::io::Error) -> Problem {
    Problem::new(ProblemCode::UpdateNotInstalled, file.display().to_string())
        .with_detail(error.to_string())
}
