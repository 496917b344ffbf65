//! `warp-release`: keys, signatures and releases of the launcher, for operators. docs/updates.md says
//! how it is used.
//!
//! Exit codes: 0 done; 1 not done, and the last line says why; 2 the command line is wrong.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool: the terminal is its output"
)]

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Parser, Subcommand};
use semver::Version;
use warp_protocol::{
    Secret,
    update::{Channel, Platform},
};
use warp_updates::{
    Asker,
    publish::{self, Publication},
};

/// The last second of the year 9999: what RFC 3339 can write.
const LATEST: u64 = 253_402_300_799;

/// Keys, signatures and releases of the launcher.
#[derive(Parser)]
#[command(name = "warp-release", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the key pair: FILE is the secret key, FILE.pub the public one.
    Key {
        /// Where to; the file must not be there.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// File with the password that encrypts the secret key; without it, it is not encrypted.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Sign a package and put it into the folder that the coordinator serves.
    Publish {
        /// The package.
        package: PathBuf,
        /// The folder: `updates.directory` of the coordinator's configuration.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// The secret key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// File with the secret key's password.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Version of the launcher in it.
        #[arg(long)]
        version: Version,
        /// `stable` or `canary`.
        #[arg(long, default_value_t)]
        channel: Channel,
        /// What it runs on, such as `linux-x86_64-deb` or `windows-x86_64-nsis`.
        #[arg(long)]
        platform: Platform,
        /// Share of the channel's installs that are offered it.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100))]
        percentage: u8,
        /// What is new.
        #[arg(long, default_value = "")]
        notes: String,
        /// When it is published, in seconds since 1970; without it, now.
        #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", value_parser = date)]
        date: Option<SystemTime>,
    },
    /// Sign a file that people download: FILE.minisig, which `minisign -V` reads.
    Sign {
        /// What is signed.
        file: PathBuf,
        /// The secret key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// File with the secret key's password.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Check a file with the signature that `sign` put beside it.
    Check {
        /// What was signed.
        file: PathBuf,
        /// The public key.
        #[arg(long)]
        public_key: String,
    },
    /// Check a release as a launcher would: its folder, or with `--from` what a coordinator offers.
    Verify {
        /// Folder of the release; not with `--from`.
        #[arg(required_unless_present = "from")]
        folder: Option<PathBuf>,
        /// The public key.
        #[arg(long)]
        public_key: String,
        /// Base of a coordinator's routes, such as `https://play.example/api/v1`.
        #[arg(
            long,
            value_name = "URL",
            conflicts_with = "folder",
            requires = "platform"
        )]
        from: Option<String>,
        /// The version that asks.
        #[arg(long, default_value = "0.0.0")]
        current: Version,
        /// `stable` or `canary`.
        #[arg(long, default_value_t)]
        channel: Channel,
        /// What the launcher that asks runs on.
        #[arg(long)]
        platform: Option<Platform>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("warp-release: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<String, Box<dyn std::error::Error>> {
    match command {
        Command::Key { out, password_file } => {
            let password = password(password_file)?;
            Ok(publish::new_key(&out, password.as_ref())?)
        }
        Command::Publish {
            package,
            to,
            key,
            password_file,
            version,
            channel,
            platform,
            percentage,
            notes,
            date,
        } => {
            let password = password(password_file)?;
            let key = publish::read_key(&key, password.as_ref())?;
            let publication = Publication {
                package: &package,
                version,
                channel,
                platform,
                percentage,
                notes,
                date: date.unwrap_or_else(SystemTime::now),
            };
            Ok(publication.publish(&to, &key)?.display().to_string())
        }
        Command::Sign {
            file,
            key,
            password_file,
        } => {
            let password = password(password_file)?;
            let key = publish::read_key(&key, password.as_ref())?;
            Ok(publish::sign_file(&file, &key)?.display().to_string())
        }
        Command::Check { file, public_key } => {
            publish::check_file(&file, &public_key)?;
            Ok(format!("{}: the signature fits", file.display()))
        }
        Command::Verify {
            folder: Some(folder),
            public_key,
            ..
        } => {
            let note = publish::verify_folder(&folder, &public_key)?;
            Ok(format!(
                "{} {} {}",
                note.version, note.channel, note.platform
            ))
        }
        Command::Verify {
            public_key,
            from,
            current,
            channel,
            platform,
            ..
        } => {
            let (Some(base), Some(platform)) = (from, platform) else {
                return Err("a folder, or --from with --platform".into());
            };
            let asker = Asker {
                base: base.trim_end_matches('/').to_owned(),
                http: client()?,
                key: public_key,
                channel,
                platform,
                current,
                install: String::new(),
            };
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(look(&asker))
        }
    }
}

/// Asks, downloads and checks, and leaves nothing behind.
async fn look(asker: &Asker) -> Result<String, Box<dyn std::error::Error>> {
    let words = |problem: warp_protocol::Problem| {
        let detail = problem.detail.as_deref().unwrap_or_default();
        format!("{}: {}: {detail}", problem.code.name(), problem.subject)
    };
    let Some(offer) = asker.ask().await.map_err(words)? else {
        return Err("nothing is offered to that version, channel and platform".into());
    };
    let folder = std::env::temp_dir().join(format!("warp-release-{}", std::process::id()));
    let fetched = asker.fetch(&offer, &folder, false, |_, _| {}).await;
    let _ = std::fs::remove_dir_all(&folder);
    let checked = fetched.map_err(words)?;
    Ok(format!(
        "{} {} {}: {} bytes",
        checked.version,
        asker.channel,
        asker.platform,
        checked.bytes.len()
    ))
}

fn client() -> Result<reqwest::Client, Box<dyn std::error::Error>> {
    // Another provider that was installed before is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().build()?)
}

fn password(file: Option<PathBuf>) -> Result<Option<Secret>, String> {
    let Some(file) = file else { return Ok(None) };
    let text =
        std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let first = text.lines().next().unwrap_or_default();
    if first.is_empty() {
        return Err(format!("{}: it holds no password", file.display()));
    }
    Ok(Some(Secret::new(first)))
}

/// A date that the system can count to.
fn date(text: &str) -> Result<SystemTime, String> {
    let seconds = text.parse().map_err(|_| "seconds since 1970".to_owned())?;
    let date = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    date.filter(|_| seconds <= LATEST)
        .ok_or_else(|| "a date before the year 10000".to_owned())
}
