//! `cargo xtask fuzz`: the targets of `fuzz/` under libFuzzer, on stable Rust.
//!
//! cargo-fuzz wants a nightly compiler for the address sanitizer only. Safe Rust does not need that
//! one, and the instrumentation that guides libFuzzer is an LLVM pass that every compiler has: it is
//! asked for by flags here, and the crate `libfuzzer-sys` brings the rest as C++ source.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::summary::Outcome;
use crate::workspace::Workspace;
use crate::{exec, packages};

/// How long each target runs in `cargo xtask test`, seconds.
const SHORT: u64 = 5;
/// A single input may take this long, seconds: all are far below a millisecond.
const INPUT_SECONDS: u64 = 10;
/// A target that needs more memory than this has found something, MiB; they take about 30.
const MEMORY_MIB: u64 = 1024;
/// Lines of a log that a finding shows.
const SHOWN: usize = 40;

/// What to run, and how long.
pub(crate) struct Options<'a> {
    /// Names of targets; none: all.
    pub(crate) targets: &'a [String],
    /// How long each runs.
    pub(crate) seconds: u64,
    /// How many run at once.
    pub(crate) jobs: usize,
    /// Run this input once instead.
    pub(crate) input: Option<&'a Path>,
    /// Further arguments for libFuzzer.
    pub(crate) extra: &'a [String],
}

/// Whether this work tree has targets.
pub(crate) fn exists(workspace: &Workspace) -> bool {
    workspace.root.join("fuzz/Cargo.toml").is_file()
}

/// Prints the names of the targets.
pub(crate) fn list(workspace: &Workspace) -> Result<()> {
    for name in Fuzz::find(workspace)?.limits.keys() {
        println!("{name}");
    }
    Ok(())
}

/// Builds and runs what was asked for; exit code 1 where something was found.
pub(crate) fn run(workspace: &Workspace, options: &Options<'_>) -> Result<ExitCode> {
    if cfg!(target_os = "linux") {
        packages::ensure(packages::FUZZ)?;
    }
    let fuzz = Fuzz::find(workspace)?;
    let names = fuzz.choose(options.targets)?;
    fuzz.build(&names)?;
    if let Some(input) = options.input {
        let [name] = names[..] else {
            bail!("an input is of one target: name it with --target");
        };
        let mut command = Command::new(fuzz.program(name));
        command.env("RUST_BACKTRACE", "1").args(options.extra);
        return crate::launch::start(command.arg(input));
    }
    let found = fuzz.run(&names, options)?;
    Ok(if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The group of `cargo xtask test`: lints, and a short run of every target.
pub(crate) fn check(workspace: &Workspace) -> Result<Outcome> {
    if !cfg!(target_os = "linux") {
        return Ok(Outcome::Skipped("the targets are built on Linux".into()));
    }
    let fuzz = Fuzz::find(workspace)?;
    let names = fuzz.choose(&[])?;
    let mut clippy = fuzz.cargo("clippy");
    exec::run(clippy.args(["--all-targets", "--", "-D", "warnings"]))?;
    fuzz.build(&names)?;
    let found = fuzz.run(
        &names,
        &Options {
            targets: &[],
            seconds: SHORT,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            input: None,
            extra: &[],
        },
    )?;
    ensure!(found.is_empty(), "found something: {}", found.join(", "));
    Ok(Outcome::Passed(format!(
        "{} targets, {SHORT} s each",
        names.len()
    )))
}

/// The metadata of `fuzz/Cargo.toml` that is about this.
#[derive(Deserialize)]
struct Settings {
    fuzz: Limits,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Limits {
    /// Longest input of each target, bytes.
    max_len: BTreeMap<String, u32>,
}

struct Fuzz {
    /// Of the repository.
    root: PathBuf,
    /// Apart from the rest, for other flags are used.
    target_dir: PathBuf,
    host: String,
    limits: BTreeMap<String, u32>,
}

/// What a run of one target gave.
struct Run {
    name: String,
    took: Duration,
    log: PathBuf,
    ended_well: bool,
}

impl Fuzz {
    fn find(workspace: &Workspace) -> Result<Self> {
        let own = Workspace::read(&workspace.root.join("fuzz"))?;
        let package = own.packages.first().context("fuzz/ has no package")?;
        let settings = Settings::deserialize(&package.metadata)
            .context("fuzz/Cargo.toml, package.metadata.fuzz")?;
        let limits = settings.fuzz.max_len;
        let programs = package.programs();
        ensure!(
            programs.iter().copied().eq(limits.keys()),
            "fuzz/Cargo.toml: max-len has to name exactly the programs {}",
            programs.join(", ")
        );
        let version = exec::capture(Command::new("rustc").arg("-vV"))?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        Ok(Self {
            root: workspace.root.clone(),
            target_dir: workspace.target_dir.join("fuzz"),
            host: host.context("`rustc -vV` names no host")?.to_owned(),
            limits,
        })
    }

    fn choose<'a>(&'a self, wanted: &[String]) -> Result<Vec<&'a str>> {
        let all = || self.limits.keys().map(String::as_str);
        for name in wanted {
            ensure!(
                self.limits.contains_key(name),
                "there is no target {name}; there are {}",
                all().collect::<Vec<_>>().join(", ")
            );
        }
        let chosen = |name: &&str| wanted.is_empty() || wanted.iter().any(|own| own == name);
        Ok(all().filter(chosen).collect())
    }

    /// Cargo for `fuzz/` with the flags that instrument. The target is named, though it is the
    /// host: then the flags reach neither build scripts nor macros.
    fn cargo(&self, command: &str) -> Command {
        let flags = [
            "-Cpasses=sancov-module",
            "-Cllvm-args=-sanitizer-coverage-level=4",
            "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
            "-Cllvm-args=-sanitizer-coverage-pc-table",
            "-Cllvm-args=-sanitizer-coverage-trace-compares",
        ];
        let mut cargo = crate::workspace::program_in(&self.root.join("fuzz"), "cargo");
        cargo
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env("CARGO_TARGET_DIR", &self.target_dir)
            .args([command, "--release", "--target", &self.host]);
        cargo
    }

    fn build(&self, names: &[&str]) -> Result<()> {
        let mut build = self.cargo("build");
        for name in names {
            build.args(["--bin", name]);
        }
        exec::run(&mut build)
    }

    fn program(&self, name: &str) -> PathBuf {
        let folder = self.target_dir.join(&self.host).join("release");
        folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// Runs the targets, some at once, and gives the names of those that found something.
    fn run(&self, names: &[&str], options: &Options<'_>) -> Result<Vec<String>> {
        println!(
            "{} for {} s each, {} at once; new inputs in {}",
            names.join(", "),
            options.seconds,
            options.jobs,
            self.target_dir.join("corpus").display()
        );
        let waiting = Mutex::new(names.iter());
        let (done, results) = mpsc::channel();
        let mut found = Vec::new();
        std::thread::scope(|scope| {
            for _ in 0..options.jobs.clamp(1, names.len().max(1)) {
                let (done, waiting) = (done.clone(), &waiting);
                scope.spawn(move || {
                    let next = || waiting.lock().ok()?.next();
                    while let Some(name) = next() {
                        // Nobody listens any more only if an earlier one could not be run.
                        done.send(self.run_one(name, options)).ok();
                    }
                });
            }
            drop(done);
            for run in results {
                let run = run?;
                println!("{}", self.report(&run)?);
                if !run.ended_well {
                    found.push(run.name);
                }
            }
            Ok(found)
        })
    }

    fn run_one(&self, name: &str, options: &Options<'_>) -> Result<Run> {
        let folder = |folder: PathBuf| {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            anyhow::Ok(folder)
        };
        let finds = folder(self.target_dir.join("corpus").join(name))?;
        let log = folder(self.target_dir.join("logs"))?
            .join(format!("{name}-{}.log", std::process::id()));
        let seeds = self.root.join("fuzz/corpus").join(name);
        let artifacts = folder(self.root.join("fuzz/artifacts").join(name))?;
        let words = self.root.join(format!("fuzz/dictionaries/{name}.dict"));
        let file = File::create(&log).with_context(|| format!("{}", log.display()))?;
        let mut command = Command::new(self.program(name));
        command
            .arg(format!("-max_total_time={}", options.seconds))
            .arg(format!(
                "-max_len={}",
                self.limits.get(name).unwrap_or(&4096)
            ))
            .arg(format!("-timeout={INPUT_SECONDS}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg("-print_final_stats=1");
        if words.is_file() {
            command.arg(format!("-dict={}", words.display()));
        }
        command.args(options.extra).arg(finds);
        if seeds.is_dir() {
            command.arg(seeds);
        }
        command.env("RUST_BACKTRACE", "1");
        command.stdout(file.try_clone()?).stderr(file);
        let began = Instant::now();
        let status = command
            .status()
            .with_context(|| format!("cannot start `{}`", exec::shown(&command)))?;
        // Another run may be writing its own at the same time.
        let kept = log.with_file_name(format!("{name}.log"));
        std::fs::rename(&log, &kept).with_context(|| format!("{}", kept.display()))?;
        Ok(Run {
            name: name.to_owned(),
            took: began.elapsed(),
            log: kept,
            ended_well: status.success(),
        })
    }

    /// A line about the run; where it ended badly, what it said and how to see it again.
    fn report(&self, run: &Run) -> Result<String> {
        let log = std::fs::read(&run.log)?;
        let log = String::from_utf8_lossy(&log);
        let figures = Figures::read(&log);
        let mut text = format!(
            "{:<18}{:>5} s {:>11} runs  coverage {:>5}  {}",
            run.name,
            run.took.as_secs(),
            figures.runs,
            figures.coverage,
            if run.ended_well {
                "nothing found"
            } else {
                "FOUND"
            }
        );
        if run.ended_well {
            return Ok(text);
        }
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.iter().position(|line| line.starts_with("thread '"));
        let from = from.unwrap_or_else(|| lines.len().saturating_sub(SHOWN));
        for line in lines.iter().skip(from).take(SHOWN) {
            write!(text, "\n    {line}")?;
        }
        write!(text, "\n  all of it: {}", run.log.display())?;
        if let Some(input) = figures.input {
            let input = Path::new(&input);
            let input = input.strip_prefix(&self.root).unwrap_or(input);
            let (name, input) = (&run.name, input.display());
            write!(
                text,
                "\n  again: cargo xtask fuzz --target {name} --input {input}"
            )?;
        }
        Ok(text)
    }
}

/// What libFuzzer says in its log.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    runs: u64,
    /// Places in the code that were reached.
    coverage: u64,
    /// Where the input lies that something was found with.
    input: Option<String>,
}

impl Figures {
    fn read(log: &str) -> Self {
        let mut figures = Self::default();
        for line in log.lines() {
            let mut words = line.split_whitespace();
            if let Some((_, file)) = line.split_once("Test unit written to ") {
                figures.input = Some(file.to_owned());
            } else if line.starts_with('#')
                && let Some(runs) = words.next()
                && words.any(|word| word == "cov:")
            {
                let number = |word: &str| word.trim_start_matches('#').parse().ok();
                figures.runs = number(runs).unwrap_or(figures.runs);
                figures.coverage = words.next().and_then(number).unwrap_or(figures.coverage);
            }
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_figures_of_a_log() {
        let log = "INFO: Seed: 1\n\
            #2\tINITED cov: 11 ft: 11 corp: 1/1b exec/s: 0 rss: 27Mb\n\
            \tNEW_FUNC[1/5]: 0x55d3ec6410a1\n\
            #10637637\tDONE   cov: 30 ft: 31 corp: 4/9b lim: 1300 exec/s: 2659409 rss: 27Mb\n\
            Done 10637637 runs in 4 second(s)\n";
        let figures = Figures {
            runs: 10_637_637,
            coverage: 30,
            input: None,
        };
        assert_eq!(Figures::read(log), figures);
        let log = "thread '<unnamed>' panicked at src/x.rs:1:2:\n\
            artifact_prefix='/r/'; Test unit written to /r/crash-1f\nBase64: AA==\n";
        assert_eq!(Figures::read(log).input.as_deref(), Some("/r/crash-1f"));
    }
}
