//! The game's process group.

use std::io;
use std::process::Child;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, kill_process_group, test_kill_process_group, wait,
};

use crate::report::Report;

/// The game and all that it started and that stayed in its group.
pub(crate) struct Group {
    /// Number of the group, and of the process that was started.
    id: Pid,
    /// The started process has ended.
    leader_ended: bool,
    /// Nothing is left. From then on the number may belong to others.
    empty: bool,
}

impl Group {
    /// The group that `child` leads.
    pub(crate) fn of(child: &Child) -> io::Result<Self> {
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(Self {
            id: id.ok_or(io::ErrorKind::InvalidData)?,
            leader_ended: false,
            empty: false,
        })
    }

    pub(crate) fn id(&self) -> i32 {
        self.id.as_raw_nonzero().get()
    }

    pub(crate) fn leader_ended(&self) -> bool {
        self.leader_ended
    }

    /// Takes note of what has ended, and tells when the started process has. True: nothing of the
    /// group is left.
    pub(crate) fn look(&mut self, asked: bool) -> bool {
        // Every child, also those that were adopted: what has ended must not stay as a zombie,
        // which would keep the group from ever being empty.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.id && ended(status) {
                self.leader_ended = true;
                Report::Exited {
                    code: status.exit_status(),
                    signal: status.terminating_signal(),
                    asked,
                }
                .tell();
            }
        }
        if self.leader_ended && !self.empty {
            self.empty = test_kill_process_group(self.id) == Err(Errno::SRCH);
        }
        self.empty
    }

    /// Sends a signal to all of the group.
    pub(crate) fn send(&self, signal: Signal) {
        if !self.empty {
            // Ended in between: the next look tells.
            let _ = kill_process_group(self.id, signal);
        }
    }
}

fn ended(status: WaitStatus) -> bool {
    status.exited() || status.signaled()
}

/// Processes below this one whose parent ends become its children, so that their end is told to it.
pub(crate) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpid, set_child_subreaper};
        // Without it they are init's, and the keeper finds their end by looking now and then.
        let _ = set_child_subreaper(Some(getpid()));
    }
}
