//! Who did what: each action of an operator or a game master is one line of the audit log.
//!
//! * A line is entered when the action is over, with its outcome: `done`, or the code of its refusal.
//! * What somebody without the role asks for is refused before, and stands in the log of the process
//!   only; so that nobody can fill the table.
//! * A line that cannot be entered is written to the log of the process in full, as an error, and the
//!   request is refused, although the action is done: whoever asked learns that the record lacks it.

use serde_json::Value;
use warp_protocol::{ProblemCode, admin::AuditEntry};

use crate::{extract::Caller, problem::Refused, store::Store, tokens::unix_now};

/// Who acts, and where from.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) address: Option<String>,
}

impl Who {
    /// Whoever runs a command of this program.
    pub(crate) fn command_line() -> Self {
        // Whoever may run it may write the database as well, so this is a note and no proof.
        let user = ["SUDO_USER", "USER", "LOGNAME"];
        let user = user.iter().find_map(|name| std::env::var(name).ok());
        let user = user.filter(|user| !user.is_empty());
        Self {
            name: format!("command line as {}", user.as_deref().unwrap_or("unknown")),
            address: None,
        }
    }
}

impl From<&Caller> for Who {
    fn from(caller: &Caller) -> Self {
        Self {
            name: caller.name.clone(),
            address: caller.from.map(|address| address.to_string()),
        }
    }
}

/// What an action did, and its answer.
pub(crate) struct Done<T> {
    pub(crate) answer: T,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

impl<T> Done<T> {
    pub(crate) fn new(answer: T) -> Self {
        Self {
            answer,
            before: None,
            after: None,
        }
    }

    pub(crate) fn changed(
        answer: T,
        before: impl serde::Serialize,
        after: impl serde::Serialize,
    ) -> Self {
        let json = |value: Result<Value, _>| value.ok().filter(|value| !value.is_null());
        Self {
            answer,
            before: json(serde_json::to_value(before)),
            after: json(serde_json::to_value(after)),
        }
    }
}

/// Acts, and enters it.
///
/// # Errors
/// Those of the action; `coordinator-fault` where the log cannot be written.
pub(crate) async fn audited<T>(
    store: &Store,
    who: &Who,
    (action, target): (&'static str, String),
    act: impl Future<Output = Result<Done<T>, Refused>>,
) -> Result<T, Refused> {
    let done = act.await;
    let (before, after, outcome) = match &done {
        Ok(done) => (done.before.clone(), done.after.clone(), "done".to_owned()),
        Err(refused) => (None, None, refused.code().name()),
    };
    let entry = AuditEntry {
        id: 0,
        at: unix_now(),
        who: who.name.clone(),
        action: action.to_owned(),
        target,
        before,
        after,
        address: who.address.clone(),
        outcome,
    };
    let AuditEntry {
        who,
        action,
        target,
        outcome,
        ..
    } = &entry;
    tracing::info!(who, action, target, outcome, "operator's action");
    if let Err(error) = store.add_audit(&entry).await {
        tracing::error!(%error, ?entry, "a line of the audit log could not be entered");
        if done.is_ok() {
            let text = "it is done, but could not be entered in the audit log; see the log";
            return Err(Refused::new(ProblemCode::CoordinatorFault, text));
        }
    }
    done.map(|done| done.answer)
}
