//! Unix, of which Linux is tried.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::{Resource, Signal as Number, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) mod game;

/// Whether the system's firewall may ask the person when a program listens for the first time.
pub const FIREWALL_ASKS: bool = false;

/// Requests to end this program: SIGTERM, and SIGINT (Ctrl-C).
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on the program is not ended by them. For a running tokio.
    ///
    /// # Errors
    /// The system takes no handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next request. May be dropped.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Requests to read files anew: SIGHUP.
#[derive(Debug)]
pub struct Hangup(Signal);

impl Hangup {
    /// From now on the program is not ended by it. For a running tokio.
    ///
    /// # Errors
    /// The system takes no handler.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// The next request. May be dropped.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// A file that is made with these may be read and written by its owner only.
pub fn make_private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// A folder that is made with this may be entered by its owner only.
pub fn make_private_folder(builder: &mut DirBuilder) -> &mut DirBuilder {
    builder.mode(0o700)
}

/// The mode of a file that others than its owner may use in any way.
pub fn open_to_others(file: &Metadata) -> Option<u32> {
    let mode = file.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Whether anybody may run the file as a program.
pub fn is_executable(file: &Metadata) -> bool {
    file.permissions().mode() & 0o111 != 0
}

/// A file that is opened with these keeps its name while it is open, where the system can see to it.
pub fn keep_name(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Whether the open file is still the one under its name.
pub fn has_name(file: &File, name: &Path) -> bool {
    match (file.metadata(), name.symlink_metadata()) {
        (Ok(here), Ok(there)) => (here.dev(), here.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Removes a file that was opened with [`keep_name`] and is locked: while it is, so that nobody locks
/// a file that is about to go.
pub fn remove_locked(file: File, name: &Path) {
    // Another program's turn to remove it.
    let _ = std::fs::remove_file(name);
    drop(file);
}

/// Raises this process's limit of open files to `wanted`, as far as the system lets it.
///
/// # Errors
/// How many it may open, where that is fewer.
pub fn raise_open_files(wanted: u64) -> Result<(), u64> {
    let mut limit = getrlimit(Resource::Nofile);
    // None is infinite.
    let enough = |current: Option<u64>| current.is_none_or(|current| current >= wanted);
    if enough(limit.current) {
        return Ok(());
    }
    limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
    // Refused: what is in force now tells.
    let _ = setrlimit(Resource::Nofile, limit);
    match getrlimit(Resource::Nofile).current {
        Some(current) if current < wanted => Err(current),
        _ => Ok(()),
    }
}

/// The signal that ended a program.
pub fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}

/// What a signal is called, such as `SIGSEGV`.
pub fn signal_name(number: i32) -> Option<&'static str> {
    [
        (Number::HUP, "SIGHUP"),
        (Number::INT, "SIGINT"),
        (Number::QUIT, "SIGQUIT"),
        (Number::ILL, "SIGILL"),
        (Number::TRAP, "SIGTRAP"),
        (Number::ABORT, "SIGABRT"),
        (Number::BUS, "SIGBUS"),
        (Number::FPE, "SIGFPE"),
        (Number::KILL, "SIGKILL"),
        (Number::SEGV, "SIGSEGV"),
        (Number::PIPE, "SIGPIPE"),
        (Number::TERM, "SIGTERM"),
        (Number::XCPU, "SIGXCPU"),
        (Number::SYS, "SIGSYS"),
    ]
    .into_iter()
    .find_map(|(signal, name)| (signal.as_raw() == number).then_some(name))
}

/// The router that the default route leads to, by Linux' table.
pub fn default_gateway() -> Option<Ipv4Addr> {
    gateway_in(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// Interface, destination, gateway, flags and more in each line, numbers as the machine's memory
/// holds them (proc(5)).
fn gateway_in(table: &str) -> Option<Ipv4Addr> {
    let rows = table.lines().skip(1);
    let mut rows = rows.map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let gateway = rows.find_map(|row| match row[..] {
        [_, "00000000", gateway, ..] if gateway != "00000000" => Some(gateway.to_owned()),
        _ => None,
    })?;
    let number = u32::from_str_radix(&gateway, 16).ok()?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_names_the_router() {
        let table = "Iface\tDestination\tGateway \tFlags\n\
                     eth0\t0002A8C0\t00000000\t0001\n\
                     eth0\t00000000\t0102A8C0\t0003\n";
        let expected = u32::from_str_radix("0102A8C0", 16).map(u32::to_ne_bytes);
        assert_eq!(gateway_in(table), expected.ok().map(Ipv4Addr::from));
        assert_eq!(gateway_in("Iface\neth0\t00000000\t00000000\t0001\n"), None);
        assert_eq!(gateway_in(""), None);
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(11), Some("SIGSEGV"));
        assert_eq!(signal_name(1000), None);
    }

    #[test]
    fn what_is_private_is_not_open_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let made = make_private(&mut options).open(&file).unwrap();
        assert_eq!(open_to_others(&made.metadata().unwrap()), None);
        let inner = folder.path().join("inner");
        make_private_folder(&mut DirBuilder::new())
            .create(&inner)
            .unwrap();
        assert_eq!(open_to_others(&inner.metadata().unwrap()), None);
        for mode in [0o640, 0o604, 0o620, 0o601] {
            made.set_permissions(std::fs::Permissions::from_mode(mode))
                .unwrap();
            assert_eq!(open_to_others(&made.metadata().unwrap()), Some(mode));
        }
        assert!(is_executable(&made.metadata().unwrap()));
    }

    #[test]
    fn a_file_that_was_replaced_has_lost_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("lock");
        let first = File::create(&name).unwrap();
        assert!(has_name(&first, &name));
        std::fs::remove_file(&name).unwrap();
        assert!(!has_name(&first, &name));
        let second = File::create(&name).unwrap();
        assert!(!has_name(&first, &name) && has_name(&second, &name));
        remove_locked(second, &name);
        assert!(!name.exists());
    }
}
