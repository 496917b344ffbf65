//! Network namespaces as hosts.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// All names begin with it; process id, its start time and a count follow.
const PREFIX: &str = "warplab";
/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// Whether namespaces and links can be made here; the error is the reason to print after
/// `SKIPPED: `.
///
/// # Errors
/// Not root, no `ip` or `nft`, or namespaces are forbidden.
pub fn available() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces need root".into());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Err("there is no /dev/net/tun".into());
    }
    for program in ["ip", "nft"] {
        let mut command = Command::new(program);
        command
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if !command.status().is_ok_and(|status| status.success()) {
            return Err(format!("the program {program} is missing"));
        }
    }
    Namespace::new("probe")
        .map(drop)
        .map_err(|error| format!("{error:#}"))
}

/// A network namespace: a host of its own on this machine.
///
/// Its end kills every process that still runs in it and removes the name.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

/// The congestion control of TCP in all namespaces: what Linux and Windows have by default. With BBR,
/// which some machines choose, a connection has four packets under way for 200 ms every ten seconds
/// (draft-ietf-ccwg-bbr, PROBE_RTT), which on a long way delays even a game's few packets.
pub const CONGESTION_CONTROL: &str = "cubic";
const CONTROL_FILE: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

impl Namespace {
    /// Makes a namespace with its loopback interface up. `hint` becomes part of the name; the name
    /// is unique, so tests may run side by side.
    ///
    /// # Errors
    /// Not root, or `ip netns add` fails; the text is what `ip` said.
    pub fn new(hint: &str) -> Result<Self> {
        static REMOVED_LEFTOVERS: std::sync::Once = std::sync::Once::new();
        REMOVED_LEFTOVERS.call_once(remove_leftovers);
        let hint: String = (hint.chars())
            .filter(char::is_ascii_alphanumeric)
            .take(16)
            .collect();
        let own = std::process::id();
        let started = start_time(own).context("cannot read /proc/self/stat")?;
        let name = format!("{PREFIX}-{own}-{started}-{}-{hint}", next_number());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"])?;
        // A kernel without it keeps its own.
        let _ = namespace.within(|| std::fs::write(CONTROL_FILE, CONGESTION_CONTROL))?;
        Ok(namespace)
    }

    /// The name that `ip netns` knows.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command whose process lives in the namespace; what it starts does too. Its process id is
    /// the program's own.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a program in the namespace to its end and returns its standard output.
    ///
    /// # Errors
    /// It cannot be started or ends with another code than 0; the text holds its standard error.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S]) -> Result<String> {
        checked(self.command(program).args(arguments), "")
    }

    /// Runs `task` on a thread inside the namespace. Sockets that it makes belong to the namespace
    /// for good and may be used outside; threads that it starts stay inside.
    ///
    /// # Errors
    /// The thread cannot enter the namespace, or `task` panics.
    pub fn within<T: Send>(&self, task: impl FnOnce() -> T + Send) -> Result<T> {
        let path = Path::new(NAMES).join(&self.name);
        let file = File::open(&path).with_context(|| format!("{}", path.display()))?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| -> Result<T> {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), kind)
                    .context("cannot enter a namespace")?;
                Ok(task())
            });
            match inside.join() {
                Ok(result) => result,
                Err(_) => bail!("a task inside namespace {} panicked", self.name),
            }
        })
    }

    /// Feeds a rule set to `nft -f -` inside the namespace.
    ///
    /// # Errors
    /// `nft` refuses it; the text is what it said.
    pub fn nft(&self, rules: &str) -> Result<()> {
        checked(self.command("nft").args(["-f", "-"]), rules).map(drop)
    }

    /// Drops what comes in (from outside, and on the loopback) and fits `matcher`, in nftables'
    /// language, until the returned rule is dropped or removed:
    /// `meta l4proto udp`, `ip saddr 10.77.1.2 udp dport 5000`,
    /// `udp dport 5000 numgen random mod 100 < 2`.
    ///
    /// Only what comes in: a rule at the way out would be told to the sending program as an error
    /// of its socket, which no real network does. To drop one direction between two namespaces,
    /// drop it where it arrives.
    ///
    /// # Errors
    /// `nft` refuses the matcher; the text is what it said.
    pub fn drop_incoming(&self, matcher: &str) -> Result<DropRule> {
        let table = format!("{PREFIX}{}", next_number());
        self.nft(&format!(
            "table inet {table} {{\n chain in {{\n type filter hook input priority -10; policy accept;\n \
             {matcher} counter drop\n }}\n}}\n"
        ))?;
        Ok(DropRule {
            namespace: self.name.clone(),
            table,
            active: true,
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Traffic that is being dropped; passes again when this value ends.
#[derive(Debug)]
pub struct DropRule {
    namespace: String,
    table: String,
    active: bool,
}

impl DropRule {
    /// How many packets were dropped so far.
    ///
    /// # Errors
    /// `nft` fails; the text is what it said.
    pub fn dropped(&self) -> Result<u64> {
        let listing = self.nft(&["list", "table", "inet", &self.table])?;
        let after = listing.split("counter packets ").nth(1);
        let number = after.and_then(|rest| rest.split(' ').next());
        number
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("no counter in {listing:?}"))
    }

    /// Lets the traffic pass again.
    ///
    /// # Errors
    /// `nft` fails; the text is what it said.
    pub fn remove(mut self) -> Result<()> {
        self.active = false;
        self.delete()
    }

    fn delete(&self) -> Result<()> {
        self.nft(&["delete", "table", "inet", &self.table])
            .map(drop)
    }

    fn nft(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "nft"]);
        checked(command.args(arguments), "")
    }
}

impl Drop for DropRule {
    fn drop(&mut self) {
        if self.active {
            // The namespace may have ended before; then the rule has as well.
            self.delete().ok();
        }
    }
}

/// A number that this process has not used yet.
pub(crate) fn next_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Runs `ip`.
pub(crate) fn ip(arguments: &[&str]) -> Result<String> {
    checked(Command::new("ip").args(arguments), "")
}

fn checked(command: &mut Command, input: &str) -> Result<String> {
    let text = format!("{command:?}").replace('"', "");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{text}`"))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that ends without reading says why by its exit code.
        pipe.write_all(input.as_bytes()).ok();
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{text}` ended with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Kills what runs in a namespace and removes its name. Another run may be doing the same.
fn remove(name: &str) {
    for word in ip(&["netns", "pids", name])
        .unwrap_or_default()
        .split_whitespace()
    {
        let pid = word.parse().ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|pid| *pid != rustix::process::getpid()) {
            rustix::process::kill_process(pid, Signal::KILL).ok();
        }
    }
    ip(&["netns", "del", name]).ok();
}

/// Removes the namespaces of runs that were killed.
fn remove_leftovers() {
    let entries = std::fs::read_dir(NAMES).into_iter().flatten().flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        let mut parts = name.split('-');
        let ours = parts.next() == Some(PREFIX);
        let maker = parts.next().and_then(|part| part.parse().ok());
        let started = parts.next().and_then(|part| part.parse().ok());
        if let (true, Some(maker), Some(started)) = (ours, maker, started)
            && start_time(maker) != Some(started)
        {
            remove(&name);
        }
    }
}

/// When a process was started, in clock ticks since boot: with the process id it names one process
/// for good (proc(5), field 22 of stat).
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}
