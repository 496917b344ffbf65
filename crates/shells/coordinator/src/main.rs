//! `warp-coordinator`: serves the coordinator, and looks after its accounts and zones.
//!
//! Exit codes: 0 done; 1 refused or failed, with `warp-coordinator: CODE: TEXT` on standard error;
//! 2 the command line or the configuration file is wrong.

// Standard output is what this program answers with; standard error is where it says what failed.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod admin_cli;
mod doctor_cli;
mod profile_cli;

use std::{
    io::{BufRead, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use warp_coordinator::{AdminError, Coordinator, CoordinatorConfig, LogConfig, LogFormat, Offline};
use warp_observe::{LogFile, Observe, ObserveConfig};
use warp_protocol::{
    ProblemCode, Secret,
    rest::{AccountRole, MAX_PASSWORD, RevokeRequest},
    zone::{ZoneFile, ZoneStatus},
};

/// Environment variable with the address of a PostgreSQL database; it wins over the configuration
/// file. There is no option for it: whoever lists the processes would see the password.
const DATABASE_URL: &str = "WARP_DATABASE_URL";

/// Largest zone file, bytes.
const MAX_ZONE_FILE: u64 = 1024 * 1024;

/// Warp Launcher's coordinator: accounts, zones, signaling, and the endpoint that dials the game
/// servers of its zones.
///
/// Exit codes: 0 done; 1 refused or failed (`warp-coordinator: CODE: TEXT` on standard error);
/// 2 the command line or the configuration file is wrong. Logs go to standard error; the
/// environment variable WARP_LOG is their filter, for instance `info,warp_coordinator=debug`.
#[derive(Parser)]
#[command(name = "warp-coordinator", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve. The first line on standard output is the address to call, such as
    /// `http://127.0.0.1:8001`. SIGTERM and Ctrl-C end it within 2 s.
    Serve {
        /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8001].
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        #[command(flatten)]
        place: Place,
    },
    /// Accounts. Works while the coordinator runs.
    #[command(subcommand)]
    User(UserCommand),
    /// Zones. Works while the coordinator runs.
    #[command(subcommand)]
    Zone(ZoneCommand),
    /// Devices of players. Works while the coordinator runs.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Switch peer-to-peer paths on or off, in all zones at once. Off: within some seconds every
    /// launcher plays through the server alone. Works while the coordinator runs.
    P2p {
        /// On: each zone's own switch counts.
        #[arg(value_enum)]
        switch: Switch,
        #[command(flatten)]
        place: Place,
    },
    /// Write a backup of the SQLite database, with mode 0600. Works while the coordinator runs: what
    /// it had answered before is in it. The keys in the data directory are not; keep a copy of them.
    Backup {
        /// The backup.
        file: PathBuf,
        /// Replace the file if it exists.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Make a backup the SQLite database. It is checked first, and the database of before is kept
    /// beside it; its path is printed. The coordinator must be stopped.
    Restore {
        /// The backup.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Copy the SQLite database in the data directory to the configured PostgreSQL database, which
    /// has to be empty, and print each table with its number of rows. The coordinator must be
    /// stopped; the SQLite database stays as it is.
    Migrate {
        #[command(flatten)]
        place: Place,
    },
    /// Bans of accounts and devices. Works while the coordinator runs.
    #[command(subcommand)]
    Ban(admin_cli::BanCommand),
    /// Sessions of the coordinator that runs.
    #[command(subcommand)]
    Session(admin_cli::SessionCommand),
    /// Hosts of the coordinator that runs.
    #[command(subcommand)]
    Host(admin_cli::HostCommand),
    /// Print the audit log, the oldest first: when, who, from where, what, on what, outcome, before,
    /// after.
    Audit(admin_cli::AuditArgs),
    /// Look whether everything is as it has to be: configuration, secrets, data directory, database,
    /// clock, listener, certificate, endpoint; and with --zone the way from login to a map of the
    /// zone's game servers. Exit code 0: it is; 1: something is not, and what to change is said.
    Doctor(doctor_cli::DoctorArgs),
    /// Print the coordinator's public key, which launchers pin (`coordinator.public_key`).
    Key {
        #[command(flatten)]
        place: Place,
    },
    /// Write the profile that players give their launcher: name, address and key of this server, and
    /// how it looks. Signed with the coordinator's key.
    Profile(profile_cli::ProfileArgs),
}

#[derive(Subcommand)]
enum DeviceCommand {
    /// List the devices that an account has used in the last week: newest serial, key, when it was
    /// issued (unix seconds), whether it is revoked.
    List {
        /// Name of the account.
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Revoke one device for ever. Its sessions end within a minute, and the accounts that it was
    /// used with have to sign in with the password again.
    Revoke {
        /// Its key (88 hex digits), or the serial of a certificate (32 hex digits).
        device: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Subcommand)]
enum UserCommand {
    /// Make an account. The password is the first line of standard input.
    Add {
        /// 1 to 32 letters, digits, `_`, `-` and `.`.
        name: String,
        /// Read the password from standard input; the only way there is, so that it stays out of
        /// the list of processes.
        #[arg(long, required = true)]
        password_stdin: bool,
        /// What the account may do.
        #[arg(long, value_enum, default_value = "player")]
        role: Role,
        #[command(flatten)]
        place: Place,
    },
    /// List the accounts: name, role, whether it is banned, when it was made (unix seconds).
    List {
        /// One JSON array instead of lines.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Change what an account may do. In force at once where it may do less; where it may do more,
    /// with its next refresh.
    Role {
        /// Name of the account.
        name: String,
        /// What it may do from now on.
        #[arg(value_enum)]
        role: Role,
        #[command(flatten)]
        place: Place,
    },
    /// Revoke what all devices of an account were issued: its sessions end within a minute, and
    /// every device has to sign in with the password again.
    RevokeDevices {
        /// Name of the account.
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Subcommand)]
enum ZoneCommand {
    /// Enter a zone, or replace the one with the same id.
    Put {
        /// The zone file, JSON; see docs/examples/zone.json.
        file: PathBuf,
        /// Open or close the zone. Without it a new zone is open and an old one stays as it is.
        #[arg(long, value_enum)]
        status: Option<Status>,
        #[command(flatten)]
        place: Place,
    },
    /// List the zones: id, status, name, maps, whether P2P is on.
    List {
        /// One JSON array instead of lines.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the coordinator's data is.
#[derive(Args)]
struct Place {
    /// Configuration file, JSON.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory; wins over the configuration file
    /// [default: warp-coordinator-data in the current directory].
    #[arg(long, value_name = "DIR", env = "WARP_COORDINATOR_DATA")]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Player,
    Host,
    Gm,
    Admin,
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Enabled,
    Disabled,
    Maintenance,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// What goes to standard error, and the exit code.
struct Failure {
    code: ProblemCode,
    text: String,
    exit: u8,
}

impl Failure {
    fn new(code: ProblemCode, text: impl ToString) -> Self {
        Self {
            code,
            text: text.to_string(),
            exit: 1,
        }
    }

    fn of_configuration(code: ProblemCode, text: impl ToString) -> Self {
        Self {
            exit: 2,
            ..Self::new(code, text)
        }
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        Self::new(error.code(), error)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = start_logging(&cli.command).and_then(|_observe| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::new(ProblemCode::Internal, e))?;
        let done = runtime.block_on(run(cli.command));
        // A blocking task that still runs (a password hash) must not hold the end up.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = serde_json::to_value(failure.code).unwrap_or_default();
            let code = code.as_str().unwrap_or("internal");
            eprintln!("warp-coordinator: {code}: {}", failure.text);
            ExitCode::from(failure.exit)
        }
    }
}

/// Of `serve` as its configuration says; the other commands are for somebody at a terminal. A wrong
/// configuration is told when it is read for good.
fn start_logging(command: &Command) -> Result<Observe, Failure> {
    let log = match command {
        Command::Serve { place, .. } => place.config.as_deref().and_then(|file| {
            let read = CoordinatorConfig::from_file(file);
            read.ok().map(|(config, _)| config.log)
        }),
        _ => None,
    };
    let LogConfig { format, file, keep } = log.unwrap_or_default();
    let config = ObserveConfig {
        json: format == LogFormat::Json,
        // Either: a service's standard error is kept by the system as well.
        stderr: file.is_none(),
        file: file.map(|path| LogFile { path, keep }),
        ..ObserveConfig::default()
    };
    warp_observe::init(config).map_err(|e| Failure::of_configuration(ProblemCode::ConfigValue, e))
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve { listen, place } => serve(listen, &place).await,
        Command::User(UserCommand::Add {
            name, role, place, ..
        }) => {
            let password = password_from_stdin()?;
            let offline = open(&place).await?;
            let added = offline.add_user(&name, password, role.into()).await;
            offline.close().await;
            added?;
            println!("{name}");
            Ok(())
        }
        Command::User(UserCommand::List { json, place }) => {
            admin_cli::list_users(json, &place).await
        }
        Command::User(UserCommand::Role { name, role, place }) => {
            admin_cli::set_role(&name, role, &place).await
        }
        Command::Ban(command) => admin_cli::ban(command).await,
        Command::Session(command) => admin_cli::session(command).await,
        Command::Host(command) => admin_cli::host(command).await,
        Command::Doctor(arguments) => match doctor_cli::run(arguments).await? {
            true => Ok(()),
            false => Err(Failure::new(
                ProblemCode::Internal,
                "something is not as it has to be; what stands above says what to change",
            )),
        },
        Command::Audit(arguments) => admin_cli::audit(arguments).await,
        Command::User(UserCommand::RevokeDevices { name, place }) => {
            revoke(&place, &RevokeRequest::Account(name)).await
        }
        Command::Device(DeviceCommand::Revoke { device, place }) => {
            revoke(&place, &RevokeRequest::Device(device)).await
        }
        Command::Device(DeviceCommand::List { name, place }) => {
            let offline = open(&place).await?;
            let devices = offline.devices(&name).await;
            offline.close().await;
            let mut text = String::new();
            for device in devices? {
                let state = if device.revoked { "revoked" } else { "valid" };
                let (serial, key, at) = (device.serial, device.key, device.issued_at);
                text += &format!("{serial}\t{key}\t{at}\t{state}\n");
            }
            // A reader that has gone away (`| head`) is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            Ok(())
        }
        Command::P2p { switch, place } => {
            let offline = open(&place).await?;
            let set = offline.set_p2p(switch == Switch::On).await;
            offline.close().await;
            set?;
            tell_nodes(&place).await;
            println!("{}", if switch == Switch::On { "on" } else { "off" });
            Ok(())
        }
        Command::Backup { file, force, place } => {
            let config = configuration(&place)?;
            warp_coordinator::back_up(&config, &file, force).await?;
            println!("{}", file.display());
            Ok(())
        }
        Command::Restore { file, place } => {
            let config = configuration(&place)?;
            if let Some(kept) = warp_coordinator::restore(&config, &file).await? {
                println!("{}", kept.display());
            }
            Ok(())
        }
        Command::Migrate { place } => {
            let config = configuration(&place)?;
            let mut text = String::new();
            for (table, rows) in warp_coordinator::migrate(&config).await? {
                text += &format!("{table}\t{rows}\n");
            }
            // A reader that has gone away (`| head`) is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            Ok(())
        }
        Command::Profile(arguments) => profile_cli::run(arguments),
        Command::Key { place } => {
            let config = configuration(&place)?;
            let key = warp_coordinator::public_key(&config.data_dir)
                .map_err(|e| Failure::new(e.code(), e))?;
            println!("{key}");
            Ok(())
        }
        Command::Zone(ZoneCommand::Put {
            file,
            status,
            place,
        }) => {
            let zone = zone_from_file(&file)?;
            let offline = open(&place).await?;
            let put = offline.put_zone(&zone, status.map(Into::into)).await;
            offline.close().await;
            put.map_err(|e| Failure::new(e.code(), format!("{}: {e}", file.display())))?;
            tell_nodes(&place).await;
            println!("{}", zone.zone_id);
            Ok(())
        }
        Command::Zone(ZoneCommand::List { json, place }) => {
            let offline = open(&place).await?;
            let zones = offline.zones().await;
            offline.close().await;
            print_zones(&zones?, json)
        }
    }
}

/// Revokes, and prints the accounts that have to sign in again, one a line.
async fn revoke(place: &Place, request: &RevokeRequest) -> Result<(), Failure> {
    let offline = open(place).await?;
    let revoked = offline.revoke(request).await;
    offline.close().await;
    let revoked = revoked?;
    tell_nodes(place).await;
    for name in revoked {
        println!("{name}");
    }
    Ok(())
}

async fn serve(listen: Option<SocketAddr>, place: &Place) -> Result<(), Failure> {
    let mut config = configuration(place)?;
    config.listen = listen.unwrap_or(config.listen);
    // Asked for before the address is printed: whoever reads it may end us at once.
    let mut signals =
        warp_platform::Signals::listen().map_err(|e| Failure::new(ProblemCode::Internal, e))?;
    warp_coordinator::raise_descriptor_limit(config.capacity.connections);
    let running = Coordinator::start(config)
        .await
        .map_err(|e| Failure::new(e.code(), e))?;
    let mut out = std::io::stdout();
    // A reader that has gone away is no reason not to serve.
    let _ = writeln!(out, "{}", running.url).and_then(|()| out.flush());
    signals.next().await;
    running.shutdown().await;
    Ok(())
}

fn configuration(place: &Place) -> Result<CoordinatorConfig, Failure> {
    let mut config = match &place.config {
        None => CoordinatorConfig::default(),
        Some(file) => {
            let (config, unknown) = CoordinatorConfig::from_file(file).map_err(|e| {
                let code = match e {
                    warp_coordinator::ConfigError::Unreadable { .. } => {
                        ProblemCode::ConfigUnreadable
                    }
                    warp_coordinator::ConfigError::Value { .. } => ProblemCode::ConfigValue,
                };
                Failure::of_configuration(code, e)
            })?;
            for key in unknown {
                tracing::warn!(file = %file.display(), key, "unknown configuration key, ignored");
            }
            config
        }
    };
    if let Some(data) = &place.data {
        config.data_dir.clone_from(data);
    }
    if let Some(url) = std::env::var_os(DATABASE_URL) {
        let url = url.into_string().unwrap_or_default().parse();
        let wrong =
            |e| Failure::of_configuration(ProblemCode::ConfigValue, format!("{DATABASE_URL}: {e}"));
        config.database = Some(url.map_err(wrong)?);
    }
    Ok(config)
}

/// In a cluster: what was written counts at once and not with the nodes' next look.
async fn tell_nodes(place: &Place) {
    if let Ok(CoordinatorConfig {
        cluster: Some(cluster),
        ..
    }) = configuration(place)
    {
        warp_coordinator::announce(&cluster).await;
    }
}

async fn open(place: &Place) -> Result<Offline, Failure> {
    let config = configuration(place)?;
    Ok(Offline::open(&config).await?)
}

/// The first line of standard input, without its end.
fn password_from_stdin() -> Result<Secret, Failure> {
    let mut line = zeroize::Zeroizing::new(String::new());
    let limit = (MAX_PASSWORD + 2) as u64;
    std::io::stdin()
        .lock()
        .take(limit)
        .read_line(&mut line)
        .map_err(|e| Failure::new(ProblemCode::BadPassword, format!("standard input: {e}")))?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}

fn zone_from_file(file: &Path) -> Result<ZoneFile, Failure> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::new(
            ProblemCode::ConfigUnreadable,
            format!("{}: {why}", file.display()),
        )
    };
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|f| f.take(MAX_ZONE_FILE).read_to_string(&mut text))
        .map_err(|e| unreadable(&e))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| unreadable(&e))?;
    serde_path_to_error::deserialize(&json).map_err(|e| {
        let text = format!("{}: {}: {}", file.display(), e.path(), e.inner());
        Failure::new(ProblemCode::ConfigValue, text)
    })
}

fn print_zones(zones: &[(ZoneFile, ZoneStatus)], json: bool) -> Result<(), Failure> {
    let mut text = String::new();
    if json {
        let views: Vec<serde_json::Value> = zones
            .iter()
            .filter_map(|(zone, status)| {
                let mut view = serde_json::to_value(zone).ok()?;
                view["status"] = serde_json::to_value(status).ok()?;
                Some(view)
            })
            .collect();
        text = serde_json::to_string_pretty(&views)
            .map_err(|e| Failure::new(ProblemCode::Internal, e))?;
        text.push('\n');
    }
    for (zone, status) in zones.iter().filter(|_| !json) {
        let maps = if zone.maps.is_empty() {
            zone.map_name.clone()
        } else {
            zone.maps.join(",")
        };
        let p2p = if zone.p2p_enabled { "p2p" } else { "server" };
        let status = format!("{status:?}").to_lowercase();
        let name = &zone.zone_display_name;
        text += &format!("{}\t{status}\t{p2p}\t{maps}\t{name}\n", zone.zone_id);
    }
    // A reader that has gone away (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

impl From<Role> for AccountRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Player => Self::Player,
            Role::Host => Self::Host,
            Role::Gm => Self::Gm,
            Role::Admin => Self::Admin,
        }
    }
}

impl From<Status> for ZoneStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Enabled => Self::Enabled,
            Status::Disabled => Self::Disabled,
            Status::Maintenance => Self::Maintenance,
        }
    }
}
