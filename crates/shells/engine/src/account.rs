//! Signing in, with a password or a kept token.

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, watch};
use warp_engine_core::event::TokenStore;
use warp_engine_core::machine::Outcome;
use warp_protocol::rest::AccountView;
use warp_protocol::{Problem, ProblemCode, Secret};

use crate::coordinator::Coordinator;
use crate::tokens;

/// An expired sign-in signs out; everything else is what it is.
pub(crate) fn signed_out_or(
    problem: Problem,
    otherwise: impl FnOnce(Problem) -> Outcome,
) -> Outcome {
    if problem.code.needs_sign_in() {
        Outcome::SignedOut(problem)
    } else {
        otherwise(problem)
    }
}

/// The sign-ins of an engine. One at a time has the coordinator's tokens, and the newest counts.
#[derive(Clone, Default)]
pub(crate) struct Attempts {
    /// 0: none is wanted.
    newest: Arc<watch::Sender<u64>>,
    turn: Arc<Mutex<()>>,
}

impl Attempts {
    /// From now on this one counts.
    pub(crate) fn begin(&self, attempt: u64) {
        self.newest.send_replace(attempt);
    }

    /// From now on none counts.
    pub(crate) fn give_up(&self) {
        self.begin(0);
    }

    pub(crate) fn is_newest(&self, attempt: u64) -> bool {
        *self.newest.borrow() == attempt
    }

    /// Waits until another one counts.
    async fn given_up(&self, attempt: u64) {
        let mut newest = self.newest.subscribe();
        // The sender lives as long as this does.
        let _ = newest.wait_for(|newest| *newest != attempt).await;
    }
}

/// Signs in, and keeps the sign-in where that is wanted.
pub(crate) struct SignIn {
    pub(crate) attempt: u64,
    pub(crate) attempts: Attempts,
    pub(crate) coordinator: Arc<Coordinator>,
    /// What kept sign-ins are filed under.
    pub(crate) server: String,
    pub(crate) keyring: bool,
    pub(crate) remember: bool,
}

impl SignIn {
    pub(crate) async fn with_password(
        self,
        user: String,
        password: Secret,
        register: bool,
    ) -> Outcome {
        let attempts = self.attempts.clone();
        let Some(_turn) = self.turn(&attempts).await else {
            return self.over();
        };
        match self.coordinator.sign_in(&user, password, register).await {
            Ok(account) => self.keep(account).await,
            Err(mut problem) => {
                if problem.code == ProblemCode::WrongPassword
                    || problem.code == ProblemCode::NameTaken
                {
                    problem.subject = user;
                }
                self.failed(problem)
            }
        }
    }

    /// A sign-in that is under way is not broken off: the token that it uses up would be lost with the one
    /// that it gets. `None`: this one was given up before its turn came.
    async fn turn<'a>(&self, attempts: &'a Attempts) -> Option<MutexGuard<'a, ()>> {
        tokio::select! {
            biased;
            () = attempts.given_up(self.attempt) => None,
            turn = attempts.turn.lock() => Some(turn),
        }
    }

    fn failed(&self, problem: Problem) -> Outcome {
        Outcome::SignInFailed {
            attempt: self.attempt,
            problem,
        }
    }

    /// It was given up, and nobody waits for what comes of it.
    fn over(&self) -> Outcome {
        self.failed(Problem::new(ProblemCode::NotSignedIn, "sign-in"))
    }

    pub(crate) async fn with_kept_token(self, user: String) -> Outcome {
        // A keyring may ask its person for long.
        let token = tokio::select! {
            token = tokens::read(&self.server, &user) => token,
            () = self.attempts.given_up(self.attempt) => return self.over(),
        };
        let token = match token {
            Ok(token) => token,
            Err(problem) => return self.failed(problem),
        };
        let attempts = self.attempts.clone();
        let Some(_turn) = self.turn(&attempts).await else {
            return self.over();
        };
        match self.coordinator.resume(token).await {
            Ok(account) => self.keep(account).await,
            Err(problem) => self.failed(problem),
        }
    }

    /// Keeps each token that takes the place of the one before, which works no more.
    fn keep_on(&self, user: &str) {
        let (server, user) = (self.server.clone(), user.to_owned());
        self.coordinator.on_renewed(Some(Box::new(move |token| {
            let (server, user) = (server.clone(), user.clone());
            tokio::spawn(async move {
                if let Err(problem) = tokens::keep(&server, &user, token).await {
                    tracing::warn!(detail = ?problem.detail, "the sign-in is not kept any more");
                }
            });
        })));
    }

    async fn keep(self, account: AccountView) -> Outcome {
        self.coordinator.on_renewed(None);
        let kept = match self.coordinator.refresh_token() {
            Some(token) if self.keyring => {
                match tokens::keep(&self.server, &account.name, token).await {
                    Ok(()) => {
                        self.keep_on(&account.name);
                        TokenStore::Keyring
                    }
                    Err(problem) => {
                        tracing::info!(detail = ?problem.detail, "no secret store; kept in memory");
                        TokenStore::MemoryNoKeyring
                    }
                }
            }
            _ if self.remember => TokenStore::MemoryNoKeyring,
            _ => TokenStore::Memory,
        };
        // After the token was kept: the one before is used up, whatever comes of this.
        let certified = self.coordinator.get_certified().await;
        if !self.attempts.is_newest(self.attempt) {
            // What was kept may be resumed another time.
            self.coordinator.leave_account();
            return self.over();
        }
        match certified {
            Ok(device) => Outcome::SignedIn {
                attempt: self.attempt,
                account,
                kept,
                device,
            },
            Err(problem) => {
                self.coordinator.forget_tokens();
                self.failed(problem)
            }
        }
    }
}
