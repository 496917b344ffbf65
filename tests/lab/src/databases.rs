//! Real database servers for tests: PostgreSQL and MariaDB, each on a free port of the loopback with
//! its data in a directory of its own.
//!
//! A server ends with its value, and also when the test's process ends in whatever way: a shell
//! stands between them, which ends the server when the test's end of a pipe closes. So a value may
//! live in a `static`, and one server serves all tests of a binary.
//!
//! These servers refuse to run as root; root runs them as the user that their Debian package makes.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// The longest that a server may take to start or end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the server "$@" until standard input says `stop` or ends; in the latter case the directory
/// $DIR goes too. The server may be stopped (SIGSTOP) at that moment, with its children.
const GUARD: &str = r#"
trap '' INT TERM HUP
"$@" >>"$DIR/log" 2>&1 </dev/null &
echo $!
read -r word
kill -KILL $(pgrep -P $!) $! 2>/dev/null
wait
[ "$word" = stop ] || rm -rf "$DIR"
"#;

/// A server that runs, or that was stopped and can be started again on its data.
struct Server {
    dir: PathBuf,
    port: u16,
    /// The program and its arguments.
    command: Vec<String>,
    guard: Option<(Child, u32)>,
}

impl Server {
    /// A directory for the data, and a free port.
    fn new(user: Option<&str>) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("warp-database-")
            .tempdir()?;
        if let Some(user) = user {
            let id = output(Command::new("id").args(["-u", user]))?;
            std::os::unix::fs::chown(dir.path(), Some(id.trim().parse()?), None)?;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        Ok(Self {
            dir: dir.keep(),
            port,
            command: Vec::new(),
            guard: None,
        })
    }

    /// Starts it and waits until it listens.
    fn start(&mut self) -> Result<()> {
        let mut child = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .args(&self.command)
            .env("DIR", &self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut pid = String::new();
        let out = child.stdout.take().context("the guard's output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut pid)?;
        self.guard = Some((child, pid.trim().parse()?));
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if started.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                bail!("{:?} does not listen:\n{log}", self.command);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills it; its data stays.
    fn stop(&mut self) {
        if let Some((mut child, _)) = self.guard.take() {
            if let Some(mut stdin) = child.stdin.take() {
                let _ = stdin.write_all(b"stop\n");
            }
            let _ = child.wait();
        }
    }

    /// Sends a signal to it and to all its children.
    fn signal(&self, name: &str) -> Result<()> {
        let (_, pid) = self.guard.as_ref().context("the server does not run")?;
        // The parent first, so that it makes no more children meanwhile. `setpriv` and the like
        // have replaced themselves by the server.
        let script = format!("kill -{name} {pid} && kill -{name} $(pgrep -P {pid}) 2>/dev/null; :");
        output(Command::new("sh").args(["-c", &script])).map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A PostgreSQL server. Everybody on the loopback may do everything; the password of the addresses
/// is for show.
pub struct Postgres {
    server: Server,
    bin: PathBuf,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts one.
    ///
    /// # Errors
    /// The reason, for a line `SKIPPED: `, when it is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[expect(
        clippy::expect_used,
        reason = "a server that does not start fails the test"
    )]
    pub fn start() -> Result<Self, String> {
        let initdb = program("initdb").ok_or("PostgreSQL is not installed")?;
        let initdb = fs::canonicalize(&initdb).unwrap_or(initdb);
        let bin = initdb.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self::start_in(bin).expect("PostgreSQL starts"))
    }

    /// One for all tests of this process.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn shared() -> Result<&'static Self, String> {
        static SHARED: LazyLock<Result<Postgres, String>> = LazyLock::new(Postgres::start);
        SHARED.as_ref().map_err(Clone::clone)
    }

    fn start_in(bin: PathBuf) -> Result<Self> {
        let user = is_root().then_some("postgres");
        let mut server = Server::new(user)?;
        let data = server.dir.join("data");
        let data = data.to_str().context("a path in UTF-8")?;
        let initdb = bin.join("initdb");
        let mut init = command_as(user, &initdb);
        init.args(["-D", data, "-U", "warp", "-A", "trust", "-E", "UTF8"]);
        init.args(["--locale=C", "--no-sync"]);
        output(&mut init)?;
        let port = server.port.to_string();
        let postgres = command_as(user, &bin.join("postgres"));
        server.command = words(&postgres);
        server
            .command
            .extend(["-D", data, "-p", &port].map(str::to_owned));
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "max_connections=90",
        ] {
            server.command.extend(["-c", setting].map(str::to_owned));
        }
        server.start()?;
        let postgres = Self {
            server,
            bin,
            databases: AtomicU32::new(0),
        };
        // It listens before it lets anybody in.
        let started = Instant::now();
        while let Err(error) = postgres.run("postgres", "SELECT 1") {
            if started.elapsed() > PATIENCE {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(postgres)
    }

    /// The address of a new, empty database.
    ///
    /// # Panics
    /// When it cannot be made.
    #[expect(
        clippy::expect_used,
        reason = "a server that does not answer fails the test"
    )]
    pub fn database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name}"))
            .expect("a new database");
        format!(
            "postgres://warp:hunter2@127.0.0.1:{}/{name}?sslmode=disable",
            self.server.port
        )
    }

    fn run(&self, database: &str, statement: &str) -> Result<String> {
        let port = self.server.port.to_string();
        output(
            Command::new(self.bin.join("psql"))
                .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
                .args(["-h", "127.0.0.1", "-p", &port, "-U", "warp"])
                .args(["-d", database, "-c", statement]),
        )
    }

    /// Kills the server and all its connections; the data stays.
    pub fn stop(&mut self) {
        self.server.stop();
        let _ = fs::remove_file(self.server.dir.join("data/postmaster.pid"));
    }

    /// Starts it again on its data and port.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self) -> Result<()> {
        self.server.start()
    }

    /// Stops all its processes where they are (SIGSTOP): connections stay open and nothing answers.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&self) -> Result<()> {
        self.server.signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn thaw(&self) -> Result<()> {
        self.server.signal("CONT")
    }
}

/// A MariaDB server. `root` may do everything without a password.
pub struct MariaDb {
    server: Server,
}

impl MariaDb {
    /// Starts one.
    ///
    /// # Errors
    /// The reason, for a line `SKIPPED: `, when it is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[expect(
        clippy::expect_used,
        reason = "a server that does not start fails the test"
    )]
    pub fn start() -> Result<Self, String> {
        let missing = "MariaDB is not installed";
        let install = program("mariadb-install-db").ok_or(missing)?;
        let mariadbd = program("mariadbd").ok_or(missing)?;
        program("mariadb").ok_or(missing)?;
        Ok(Self::start_with(&install, &mariadbd).expect("MariaDB starts"))
    }

    fn start_with(install: &Path, mariadbd: &Path) -> Result<Self> {
        let user = is_root().then_some("mysql");
        let mut server = Server::new(user)?;
        let data = format!("--datadir={}", server.dir.join("data").display());
        let temporary = format!("--tmpdir={}", server.dir.display());
        let mut init = command_as(user, install);
        init.args(["--no-defaults", &data, &temporary]);
        init.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        output(&mut init)?;
        server.command = words(&command_as(user, mariadbd));
        let socket = format!("--socket={}", server.dir.join("socket").display());
        let port = format!("--port={}", server.port);
        server.command.extend(
            [
                "--no-defaults",
                &data,
                &temporary,
                &socket,
                &port,
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-buffer-pool-size=16M",
                "--skip-log-bin",
            ]
            .map(str::to_owned),
        );
        server.start()?;
        Ok(Self { server })
    }

    /// Its port on the loopback.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Runs statements as `root`.
    ///
    /// # Errors
    /// With what the client said.
    pub fn run(&self, statements: &str) -> Result<String> {
        let socket = self.server.dir.join("socket");
        output(
            Command::new("mariadb")
                .args([
                    "--no-defaults",
                    "--batch",
                    "--skip-column-names",
                    "-u",
                    "root",
                ])
                .arg(format!("--socket={}", socket.display()))
                .args(["-e", statements]),
        )
    }

    /// Kills the server; the data stays.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Starts it again on its data and port.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self) -> Result<()> {
        self.server.start()
    }

    /// Stops it where it is (SIGSTOP): connections stay open and nothing answers.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&self) -> Result<()> {
        self.server.signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn thaw(&self) -> Result<()> {
        self.server.signal("CONT")
    }
}

/// A program on PATH or where Debian keeps PostgreSQL's and system programs.
fn program(name: &str) -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    places.sort();
    places.reverse();
    places.extend(std::env::split_paths(&std::env::var_os("PATH")?));
    places.push("/usr/sbin".into());
    places
        .into_iter()
        .map(|place| place.join(name))
        .find(|file| file.is_file())
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// A command that runs as `user` where one is named.
fn command_as(user: Option<&str>, program: &Path) -> Command {
    match user {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", user, "--regid", user, "--clear-groups", "--"])
                .arg(program);
            command
        }
    }
}

fn words(command: &Command) -> Vec<String> {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// What a command writes.
fn output(command: &mut Command) -> Result<String> {
    let done = command
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?}"))?;
    if !done.status.success() {
        let text = String::from_utf8_lossy(&done.stderr);
        bail!("{command:?}: {}: {text}", done.status);
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
