//! Password hashing: argon2id, off the async threads, a few at a time.
//!
//! One hash takes 19 MiB and tens of milliseconds of a core. So at most [`Hasher::running`] run at
//! once and at most [`WAITING`] wait for their turn; whoever comes beyond that is refused with
//! `too-many-requests`. A flood of sign-ins costs bounded memory and leaves cores for play.
//!
//! The hashes run on threads of their own, as many as may run at once: an allocator keeps a hash's memory
//! for the thread that had it, so on whichever thread is free a flood would leave 19 MiB on many.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    time::Duration,
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use warp_protocol::{ProblemCode, Secret};

use crate::problem::{Refused, internal};

/// Sign-ins that may wait for their turn or run. Each holds a request of at most 64 KiB.
const WAITING: usize = 64;

/// Longest that one may wait for its turn; well below what a request may take, so that whoever is too
/// many is told so and not that something is broken.
const TURN_TIME: Duration = Duration::from_secs(8);

/// What a hash costs whoever tries passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PasswordCost {
    /// argon2id with the crate's default, which is OWASP's: 19 MiB, 2 passes, 1 lane.
    #[default]
    Standard,
    /// For tests only, it protects nothing: 64 KiB, 1 pass, 1 lane. No configuration file can
    /// choose it.
    TestOnly,
}

impl PasswordCost {
    fn argon2(self) -> Result<Argon2<'static>, argon2::Error> {
        let params = match self {
            Self::Standard => Params::default(),
            Self::TestOnly => Params::new(64, 1, 1, None)?,
        };
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// So many threads that do one job after another, until the last sender is gone.
fn workers(count: usize) -> std::io::Result<mpsc::Sender<Job>> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..count {
        let jobs = Arc::clone(&jobs);
        let work = move || {
            loop {
                let job = jobs.lock().recv();
                let Ok(job) = job else { return };
                // Who waits for it is told; the next ones are not to wait in vain.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        };
        let thread = std::thread::Builder::new().name("password-hash".to_owned());
        thread.spawn(work)?;
    }
    Ok(sender)
}

/// Hashes and verifies. Clones share the bounds.
#[derive(Clone)]
pub(crate) struct Hasher {
    argon2: Argon2<'static>,
    waiting: Arc<Semaphore>,
    running: Arc<Semaphore>,
    turn_time: Duration,
    workers: mpsc::Sender<Job>,
    /// A hash of nobody's password, verified where an account does not exist, so that both cases
    /// take the same time.
    nobody: Arc<str>,
}

impl Hasher {
    /// At most `running` hashes at once.
    pub(crate) async fn new(cost: PasswordCost, running: usize) -> Result<Self, Refused> {
        let argon2 = cost
            .argon2()
            .map_err(|_| internal("the password hash cannot be set up"))?;
        let running = running.max(1);
        let workers = workers(running).map_err(|error| {
            tracing::error!(%error, "no threads for password hashes");
            internal("the system gives no threads")
        })?;
        let mut hasher = Self {
            argon2,
            workers,
            waiting: Arc::new(Semaphore::new(WAITING)),
            running: Arc::new(Semaphore::new(running)),
            turn_time: TURN_TIME,
            nobody: Arc::from(""),
        };
        let nobody = hasher.hash(Secret::new("nobody's password")).await?;
        hasher.nobody = Arc::from(nobody);
        Ok(hasher)
    }

    /// Gives the PHC string of a password, with a new salt.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, Refused> {
        let argon2 = self.argon2.clone();
        self.run(move || {
            argon2
                .hash_password(password.reveal().as_bytes())
                .map(|hash| hash.to_string())
                .map_err(|_| internal("the password could not be hashed"))
        })
        .await?
    }

    /// True when `password` is the one of `stored`. Without an account (`None`) it takes as long
    /// and is false.
    pub(crate) async fn verify(
        &self,
        password: Secret,
        stored: Option<String>,
    ) -> Result<bool, Refused> {
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobody.to_string());
        let argon2 = self.argon2.clone();
        let right = self
            .run(move || {
                let hash = PasswordHash::new(&stored)
                    .map_err(|_| internal("a stored password hash is not readable"))?;
                let done = argon2.verify_password(password.reveal().as_bytes(), &hash);
                Ok::<_, Refused>(done.is_ok())
            })
            .await??;
        Ok(right && exists)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let too_many = || {
            let text = "too many people sign in at this moment; try again in a few seconds";
            Refused::new(ProblemCode::TooManyRequests, text).retry_after(3)
        };
        let waiting = Arc::clone(&self.waiting)
            .try_acquire_owned()
            .map_err(|_| too_many())?;
        let turn = Arc::clone(&self.running).acquire_owned();
        let running = tokio::time::timeout(self.turn_time, turn)
            .await
            .map_err(|_| too_many())?
            .map_err(|_| internal("the password hasher has ended"))?;
        let (tell, done) = oneshot::channel();
        let job = move || {
            // Held until the work is done, also when nobody waits for it any more; given back before
            // the answer, so that whoever has it may ask again.
            let held = (waiting, running);
            let made = work();
            drop(held);
            let _ = tell.send(made);
        };
        let failed = "the password hasher failed";
        let sent = self.workers.send(Box::new(job));
        sent.map_err(|_| internal(failed))?;
        done.await.map_err(|_| internal(failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hashes_verify_and_carry_their_parameters() {
        let hasher = Hasher::new(PasswordCost::TestOnly, 1).await.unwrap();
        let stored = hasher.hash(Secret::new("sesame")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        let again = hasher.hash(Secret::new("sesame")).await.unwrap();
        assert_ne!(stored, again, "salts differ");
        for (password, account, expected) in [
            ("sesame", Some(stored.clone()), true),
            ("sesamo", Some(stored.clone()), false),
            ("nobody's password", None, false),
        ] {
            let verdict = hasher.verify(Secret::new(password), account).await;
            assert_eq!(verdict.unwrap(), expected, "{password}");
        }
        assert!(
            hasher
                .verify(Secret::new("x"), Some("nonsense".into()))
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn standard_cost_is_what_the_documentation_says() {
        let hasher = Hasher::new(PasswordCost::Standard, 1).await.unwrap();
        assert!(hasher.nobody.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_instead_of_growing() {
        let hasher = Hasher::new(PasswordCost::TestOnly, 1).await.unwrap();
        let all = u32::try_from(WAITING).unwrap();
        let held = hasher.waiting.try_acquire_many(all).unwrap();
        let refused = hasher.hash(Secret::new("sesame")).await.unwrap_err();
        assert_eq!(refused.code(), ProblemCode::TooManyRequests);
        drop(held);
        assert!(hasher.hash(Secret::new("sesame")).await.is_ok());
    }

    #[tokio::test]
    async fn a_turn_that_does_not_come_is_refused_in_time() {
        let mut hasher = Hasher::new(PasswordCost::TestOnly, 1).await.unwrap();
        hasher.turn_time = Duration::from_millis(20);
        let held = hasher.running.acquire().await.unwrap();
        let refused = hasher.hash(Secret::new("sesame")).await.unwrap_err();
        assert_eq!(refused.code(), ProblemCode::TooManyRequests);
        drop(held);
        assert_eq!(hasher.waiting.available_permits(), WAITING);
    }
}
