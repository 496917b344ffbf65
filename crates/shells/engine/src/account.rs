//! Signing in, with a password or a kept token.

use std::sync::Arc;

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

/// Signs in, and keeps the sign-in where that is wanted.
pub(crate) struct SignIn {
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
        match self.coordinator.sign_in(&user, password, register).await {
            Ok(account) => self.keep(account).await,
            Err(mut problem) => {
                if problem.code == ProblemCode::WrongPassword
                    || problem.code == ProblemCode::NameTaken
                {
                    problem.subject = user;
                }
                Outcome::SignInFailed(problem)
            }
        }
    }

    pub(crate) async fn with_kept_token(self, user: String) -> Outcome {
        let token = match tokens::read(&self.server, &user).await {
            Ok(token) => token,
            Err(problem) => return Outcome::SignInFailed(problem),
        };
        match self.coordinator.resume(token).await {
            Ok(account) => self.keep(account).await,
            Err(problem) => Outcome::SignInFailed(problem),
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
        match self.coordinator.get_certified().await {
            Ok(device) => Outcome::SignedIn {
                account,
                kept,
                device,
            },
            Err(problem) => {
                self.coordinator.forget_tokens();
                Outcome::SignInFailed(problem)
            }
        }
    }
}
