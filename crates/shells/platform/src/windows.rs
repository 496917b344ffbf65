//! Windows.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitStatus;

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close,
    ctrl_logoff, ctrl_shutdown,
};

pub(crate) mod game;

/// Read and write, not delete (`FILE_SHARE_READ`, `FILE_SHARE_WRITE` of `CreateFileW`).
const NOT_REMOVED: u32 = 0x1 | 0x2;

/// Whether the system's firewall may ask the person when a program listens for the first time.
pub const FIREWALL_ASKS: bool = true;

/// Requests to end this program: Ctrl-C, Ctrl-Break, its console's window closed, the person signing
/// out, the machine shutting down. After the last three the system waits some seconds for its end; a
/// program with a window of its own is told of none of them this way.
#[derive(Debug)]
pub struct Signals {
    interrupt: CtrlC,
    stop: CtrlBreak,
    close: CtrlClose,
    sign_out: CtrlLogoff,
    shutdown: CtrlShutdown,
}

impl Signals {
    /// From now on the program is not ended by them. For a running tokio.
    ///
    /// # Errors
    /// The system takes no handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: ctrl_c()?,
            stop: ctrl_break()?,
            close: ctrl_close()?,
            sign_out: ctrl_logoff()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    /// The next request. May be dropped.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.stop.recv() => {}
            _ = self.close.recv() => {}
            _ = self.sign_out.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}

/// Requests to read files anew. There are none here.
#[derive(Debug)]
pub struct Hangup(());

impl Hangup {
    /// Listens to nothing.
    ///
    /// # Errors
    /// None.
    pub fn listen() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Does not end.
    pub async fn next(&mut self) {
        std::future::pending().await
    }
}

/// A file that is made with these may be used by whom its folder allows.
pub fn make_private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// A folder that is made with this may be used by whom the one around it allows.
pub fn make_private_folder(builder: &mut DirBuilder) -> &mut DirBuilder {
    builder
}

/// The mode of a file that others than its owner may use. There are no modes here.
pub fn open_to_others(_: &Metadata) -> Option<u32> {
    None
}

/// Whether anybody may run the file as a program. Its start tells.
pub fn is_executable(_: &Metadata) -> bool {
    true
}

/// A file that is opened with these keeps its name while it is open.
pub fn keep_name(options: &mut OpenOptions) -> &mut OpenOptions {
    options.share_mode(NOT_REMOVED)
}

/// Whether the open file is still the one under its name: see [`keep_name`].
pub fn has_name(_: &File, _: &Path) -> bool {
    true
}

/// Removes a file that was opened with [`keep_name`] and is locked. The system refuses that while it
/// is open, and after the close too when another program has opened it meanwhile, whose turn it is.
pub fn remove_locked(file: File, name: &Path) {
    drop(file);
    let _ = std::fs::remove_file(name);
}

/// There is no such limit here.
///
/// # Errors
/// None.
pub fn raise_open_files(_: u64) -> Result<(), u64> {
    Ok(())
}

/// The signal that ended a program. There are none here.
pub fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}

/// What a signal is called. There are none here.
pub fn signal_name(_: i32) -> Option<&'static str> {
    None
}

/// Not told in a way that needs neither unsafe code nor a large library; whoever answers the search
/// for UPnP is taken for it.
pub fn default_gateway() -> Option<Ipv4Addr> {
    None
}
