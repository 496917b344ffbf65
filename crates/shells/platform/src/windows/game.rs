//! Windows: a Job Object, whose only handle is the launcher's. When that is closed, also by the end
//! of the launcher, the system ends every process of the job.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use process_wrap::tokio::{ChildWrapper, CommandWrap, JobObject};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStderr, Command};
use win32job::{ExtendedLimitInfo, Job};

use crate::game::{Exit, Launch, NotStarted};

/// How often is looked whether a program that handed over has left nothing behind.
const LOOK: Duration = Duration::from_millis(500);

/// Of `CreateProcessW`. They are set together: the last call counts, and process-wrap's comes before.
const CREATE_SUSPENDED: u32 = 0x4;
const CREATE_NO_WINDOW: u32 = 0x0800_0000;

/// A game that was started. Dropped: it is ended.
pub struct Process {
    pid: u32,
    child: Box<dyn ChildWrapper>,
    stderr: Option<ChildStderr>,
    /// `None`: the system made none, and the game outlives a launcher that is killed.
    job: Option<Job>,
}

impl Process {
    /// Starts it. A keeper is not needed here.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start(launch: &Launch, _: Option<&Path>) -> Result<Self, NotStarted> {
        let mut command = Command::new(&launch.program);
        command
            .args(&launch.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(folder) = &launch.folder {
            command.current_dir(folder);
        }
        let (mut child, job) = start_in_job(command)?;
        if let Some(mut stdin) = child.stdin().take() {
            // A game need not read.
            let input = launch.input.clone();
            tokio::spawn(async move { stdin.write_all(&input).await });
        }
        Ok(Self {
            pid: child.id().unwrap_or_default(),
            stderr: child.stderr().take(),
            child,
            job,
        })
    }

    /// Number of the process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its error output, once.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.stderr.take()
    }

    /// Waits for its end; a program that hands over to another one of its job and ends well has
    /// ended when that has. May be dropped and called again.
    pub async fn wait(&mut self) -> Exit {
        let exit = self.ended().await;
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
    pub async fn end(&mut self) -> Exit {
        if self.job.take().is_none() {
            // Ended already: waiting tells.
            let _ = self.child.start_kill();
        }
        let exit = self.ended().await;
        Exit {
            asked: true,
            ..exit
        }
    }

    /// The end of the process itself, whatever it has left behind.
    async fn ended(&mut self) -> Exit {
        let status = self.child.inner_mut().wait().await;
        status.map_or_else(|_| Exit::default(), Exit::from)
    }
}

/// Starts it in a job that ends with its handle. It must be in there before its first instruction:
/// what it starts before would stay outside. `process-wrap` starts it suspended, and lets it go when
/// it is in a job of its own (jobs nest). That one cannot be asked who is left in it, so it is given
/// no part in the game's end.
fn start_in_job(command: Command) -> io::Result<(Box<dyn ChildWrapper>, Option<Job>)> {
    let mut job = None;
    let mut suspended = CommandWrap::from(command);
    suspended.wrap(JobObject);
    let child = suspended.spawn_with(|command| {
        // A game that is a console program, such as the practice client, opens no black window.
        let child = command.creation_flags(CREATE_SUSPENDED | CREATE_NO_WINDOW).spawn()?;
        job = ending_job(&child)
            .inspect_err(|error| {
                tracing::warn!(%error, "without a Job Object the game goes on when the launcher is killed");
            })
            .ok();
        Ok(child)
    })?;
    Ok((child, job))
}

fn ending_job(child: &Child) -> io::Result<Job> {
    let mut limits = ExtendedLimitInfo::new();
    limits.limit_kill_on_job_close();
    let job = Job::create_with_limit_info(&limits)?;
    // No handle: it has ended already.
    if let Some(handle) = child.raw_handle() {
        job.assign_process(handle as isize)?;
    }
    Ok(job)
}
