//! Windows: a Job Object, whose only handle is the launcher's. When that is closed, also by the end
//! of the launcher, the system ends every process of the job.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStderr, Command};
use win32job::{ExtendedLimitInfo, Job};

use super::{Exit, NotStarted};
use crate::game::plan::Plan;

/// How often is looked whether a program that handed over has left nothing behind.
const LOOK: Duration = Duration::from_millis(500);

/// A game that was started. Dropped: it is ended.
pub(in crate::game) struct Process {
    pid: u32,
    child: Child,
    stderr: Option<ChildStderr>,
    /// `None`: the system made none, and the game outlives a launcher that is killed.
    job: Option<Job>,
}

impl Process {
    /// Starts it. A keeper is not needed here.
    pub(in crate::game) async fn start(plan: &Plan, _: Option<&Path>) -> Result<Self, NotStarted> {
        let mut command = Command::new(&plan.program);
        command
            .args(&plan.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(folder) = &plan.folder {
            command.current_dir(folder);
        }
        let mut child = command.spawn()?;
        let job = match job(&child) {
            Ok(job) => Some(job),
            Err(error) => {
                tracing::warn!(%error, "without a Job Object the game goes on when the launcher is killed");
                None
            }
        };
        if let Some(mut stdin) = child.stdin.take() {
            // A game need not read.
            let input = plan.input.clone();
            tokio::spawn(async move { stdin.write_all(&input).await });
        }
        Ok(Self {
            pid: child.id().unwrap_or_default(),
            stderr: child.stderr.take(),
            child,
            job,
        })
    }

    pub(in crate::game) fn pid(&self) -> u32 {
        self.pid
    }

    pub(in crate::game) fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.stderr.take()
    }

    /// Waits for its end; a program that hands over to another one of its job and ends well has
    /// ended when that has. May be dropped and called again.
    pub(in crate::game) async fn wait(&mut self) -> Exit {
        let exit = self.child.wait().await;
        let exit = exit.map_or_else(|_| Exit::default(), Exit::from);
        while exit.code == Some(0)
            && let Some(job) = &self.job
            && job
                .query_process_id_list()
                .is_ok_and(|left| !left.is_empty())
        {
            tokio::time::sleep(LOOK).await;
        }
        exit
    }

    /// Ends it with all of its job. There is no request to end that every program understands.
    pub(in crate::game) async fn end(&mut self) -> Exit {
        if self.job.take().is_none() {
            // Ended already: waiting tells.
            let _ = self.child.start_kill();
        }
        let exit = self.child.wait().await;
        Exit {
            asked: true,
            ..exit.map_or_else(|_| Exit::default(), Exit::from)
        }
    }
}

fn job(child: &Child) -> std::io::Result<Job> {
    let mut limits = ExtendedLimitInfo::new();
    limits.limit_kill_on_job_close();
    let job = Job::create_with_limit_info(&limits)?;
    // No handle: it has ended already.
    if let Some(handle) = child.raw_handle() {
        job.assign_process(handle as isize)?;
    }
    Ok(job)
}
