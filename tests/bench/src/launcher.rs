//! What the launcher's window costs, beside a bare window of the same toolkit in the same run: as the
//! toolkit makes it, and once more with the renderer that the launcher chooses.
//!
//! - start: from the start of the process until the page says that it is there. The launcher's page
//!   says so when it is mounted and has spoken to the native side; the bare one when it is loaded.
//! - memory: proportional set size of all its processes, a while after the start.
//! - idle: processor time of all its processes while nothing happens, in percent of one core.
//! - updates: processor time of the processes that draw the page, while the practice game is
//!   played and the page shows its figures, which come once a second.
//! - package: the program without symbols.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::json;
use warp_tests::window::{Home, Window, no_window};

use crate::program;
use crate::stats::Spread;

/// What both write when their page is there.
const THERE: &str = "the page is there";
/// Longest wait for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// What showing figures once a second may cost, percent of a core.
const MOST_DRAWING: f64 = 2.0;
/// What the launcher's start and memory may be beside the bare window's.
const MOST_BESIDE_BARE: f64 = 1.25;
/// From the page to the first look at memory and processor: first paints and collections are over.
const SETTLE: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Starts of each window.
    #[arg(long, default_value_t = 10)]
    starts: u32,
    /// How long each idles, seconds.
    #[arg(long, default_value_t = 30)]
    idle_seconds: u64,
    /// Only show that it runs.
    #[arg(long)]
    quick: bool,
}

/// One window.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    name: String,
    start: Spread,
    processes: usize,
    memory_mib: f64,
    idle_percent: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    windows: Vec<Figures>,
    ratios: Vec<Ratio>,
    program_mib: f64,
    updates: Updates,
    pub(crate) holds: bool,
}

/// The launcher's figures over those of a bare window.
#[derive(Debug, Serialize)]
struct Ratio {
    beside: String,
    start: f64,
    memory: f64,
}

/// What is opened.
struct Subject {
    name: &'static str,
    file: PathBuf,
    renderer: Renderer,
}

impl Subject {
    fn new(name: &'static str, file: &Path, renderer: Renderer) -> Self {
        Self {
            name,
            file: file.to_owned(),
            renderer,
        }
    }
}

/// How the page gets to the screen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Renderer {
    /// As the program chooses.
    Own,
    /// As the launcher does.
    Shared,
}

/// What showing the figures of play costs, in percent of one core.
#[derive(Debug, Serialize)]
struct Updates {
    /// Processes of the web engine.
    drawing_percent: f64,
    /// The launcher itself: engine, bridge, coordinator, endpoint and practice zone in one process.
    launcher_percent: f64,
}

/// Measures both, start by start in turn, so that noise meets both alike.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    if std::env::var_os("DISPLAY").is_none() {
        bail!("no display; `cargo xtask bench launcher` brings one");
    }
    let folder = program::folder()?;
    let bare = folder.join("examples/bare");
    let windows = [
        Subject::new("launcher", &folder.join("warp-launcher"), Renderer::Own),
        Subject::new("bare window", &bare, Renderer::Own),
        Subject::new(
            "bare window, the launcher's renderer",
            &bare,
            Renderer::Shared,
        ),
    ];
    let (starts, idle) = match args.quick {
        true => (2, Duration::from_secs(2)),
        false => (args.starts, Duration::from_secs(args.idle_seconds)),
    };
    let mut times = [const { Vec::new() }; 3];
    // The first of each fills the caches of files and is not counted.
    for round in 0..=starts {
        for (subject, times) in windows.iter().zip(&mut times) {
            let open = Open::new(subject)?;
            if round > 0 {
                times.push(open.took);
            }
        }
    }
    let mut figures = Vec::new();
    for (subject, times) in windows.iter().zip(&times) {
        let open = Open::new(subject)?;
        std::thread::sleep(SETTLE);
        let all = open.processes()?;
        let memory = all.iter().map(|pid| memory_kib(*pid)).sum::<f64>() / 1024.0;
        let before = open.ticks()?;
        std::thread::sleep(idle);
        let ticks = open.ticks()?.saturating_sub(before);
        figures.push(Figures {
            name: subject.name.to_owned(),
            start: Spread::of(times),
            processes: all.len(),
            memory_mib: memory,
            idle_percent: ticks as f64 / TICKS_PER_SECOND / idle.as_secs_f64() * 100.0,
        });
    }
    let [launcher, bares @ ..] = &figures[..] else {
        bail!("no window was measured");
    };
    let ratios: Vec<Ratio> = bares
        .iter()
        .map(|bare| Ratio {
            beside: bare.name.clone(),
            start: launcher.start.p50 / bare.start.p50,
            memory: launcher.memory_mib / bare.memory_mib,
        })
        .collect();
    let program_mib = stripped_mib(&windows[0].file)?;
    println!(
        "| | start p50, ms | start max, ms | processes | memory (PSS), MiB | idle, % of a core |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    for window in &figures {
        println!(
            "| {} | {:.0} | {:.0} | {} | {:.1} | {:.2} |",
            window.name,
            window.start.p50,
            window.start.max,
            window.processes,
            window.memory_mib,
            window.idle_percent
        );
    }
    let updates = updates(&windows[0].file, idle)?;
    println!(
        "\nin play, figures once a second: {:.2} % of a core for the page (wanted: below {MOST_DRAWING}), {:.2} % for the launcher with its practice server",
        updates.drawing_percent, updates.launcher_percent
    );
    // The window as the toolkit makes it is what is compared with; the other says where the
    // difference is not the renderer's.
    let small = ratios
        .first()
        .is_some_and(|ratio| ratio.start <= MOST_BESIDE_BARE && ratio.memory <= MOST_BESIDE_BARE);
    let holds = small && updates.drawing_percent < MOST_DRAWING;
    for Ratio {
        beside,
        start,
        memory,
    } in &ratios
    {
        println!("launcher / {beside}: start {start:.2}, memory {memory:.2}");
    }
    println!("wanted beside the first: {MOST_BESIDE_BARE} at most");
    println!("targets: {}", if holds { "hold" } else { "do not hold" });
    println!("program without symbols: {program_mib:.1} MiB");
    Ok(Outcome {
        ratios,
        program_mib,
        updates,
        holds,
        windows: figures,
    })
}

/// Plays the practice zone in a driven window and looks at its processes for `span`.
fn updates(launcher: &Path, span: Duration) -> Result<Updates> {
    if let Some(why) = no_window() {
        bail!("{why}");
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let home = Home::new(&json!({ "game": { "practice": { "seconds": 3600 } } }));
    let window = runtime.block_on(async {
        let window = Window::open(&home, launcher, &[]).await;
        // A practice server begins without accounts: the page offers to make one.
        window.sign_in().await;
        window.press(r#"[data-testid="play"]"#).await;
        window
            .shows(r#"[data-testid="live"][data-state="connected"]"#)
            .await;
        window.shows(r#"[data-testid="stream-list"] li"#).await;
        window
    });
    std::thread::sleep(SETTLE);
    let all = below(window.pid())?;
    let (drawing, rest): (Vec<u32>, Vec<u32>) = all.into_iter().partition(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name.starts_with("WebKit") && !name.starts_with("WebKitWebDrive"))
    });
    let launchers: Vec<u32> = (rest.into_iter())
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.starts_with("warp-launcher"))
        })
        .collect();
    if drawing.is_empty() || launchers.is_empty() {
        bail!("the window's processes are not found");
    }
    let before = (ticks(&drawing), ticks(&launchers));
    std::thread::sleep(span);
    let percent = |ticks: u64| ticks as f64 / TICKS_PER_SECOND / span.as_secs_f64() * 100.0;
    let outcome = Updates {
        drawing_percent: percent(ticks(&drawing).saturating_sub(before.0)),
        launcher_percent: percent(ticks(&launchers).saturating_sub(before.1)),
    };
    runtime.block_on(window.close());
    Ok(outcome)
}

/// Clock ticks of the kernel's accounting, USER_HZ: 100 on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// An open window with a home of its own; it is ended with its value.
struct Open {
    child: Child,
    took: Duration,
    _home: tempfile::TempDir,
}

impl Open {
    fn new(Subject { file, renderer, .. }: &Subject) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let mut command = Command::new(file);
        for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env(name, home.path());
        }
        match renderer {
            Renderer::Own => command.env_remove("WEBKIT_DISABLE_DMABUF_RENDERER"),
            // See `without_dmabuf` in src-tauri/src/system/linux.rs.
            Renderer::Shared => command.env("WEBKIT_DISABLE_DMABUF_RENDERER", "1"),
        };
        command.env("WARP_LOG", "info").env("NO_AT_BRIDGE", "1");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", file.display()))?;
        let (there, heard) = mpsc::channel();
        let out = child
            .stdout
            .take()
            .map(|out| Box::new(out) as Box<dyn std::io::Read + Send>);
        let err = child
            .stderr
            .take()
            .map(|err| Box::new(err) as Box<dyn std::io::Read + Send>);
        for pipe in [out, err].into_iter().flatten() {
            let there = there.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    if line.contains(THERE) {
                        // Who does not listen has seen it already.
                        let _ = there.send(started.elapsed());
                    }
                }
            });
        }
        let took = heard.recv_timeout(PATIENCE);
        let mut open = Self {
            child,
            took: Duration::ZERO,
            _home: home,
        };
        open.took = took.with_context(|| format!("{} shows no page", file.display()))?;
        Ok(open)
    }

    /// The process and all below it.
    fn processes(&self) -> Result<Vec<u32>> {
        below(self.child.id())
    }

    /// Processor time of all of them, in ticks.
    fn ticks(&self) -> Result<u64> {
        Ok(ticks(&self.processes()?))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let all = self.processes().unwrap_or_default();
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What it started ends with it; the next window is not to share the processor with that.
        let end = Instant::now() + Duration::from_secs(5);
        while all
            .iter()
            .any(|pid| Path::new(&format!("/proc/{pid}")).exists())
        {
            if Instant::now() > end {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A process and all below it.
fn below(own: u32) -> Result<Vec<u32>> {
    let mut parents = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
            parents.insert(pid, parent);
        }
    }
    let is_below = |mut pid: u32| {
        for _ in 0..64 {
            if pid == own {
                return true;
            }
            match parents.get(&pid) {
                Some(parent) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    Ok(parents
        .keys()
        .copied()
        .filter(|pid| is_below(*pid))
        .collect())
}

/// Processor time of processes, in ticks; of one that is gone none.
fn ticks(pids: &[u32]) -> u64 {
    let number = |fields: &[String], at: usize| -> u64 {
        (fields.get(at).and_then(|field| field.parse().ok())).unwrap_or_default()
    };
    let of = |pid: &u32| stat(*pid).map_or(0, |fields| number(&fields, 11) + number(&fields, 12));
    pids.iter().map(of).sum()
}

/// The fields of `/proc/PID/stat` behind the name, from the state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

/// Proportional set size: shared pages count by their share.
fn memory_kib(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok());
    number.unwrap_or_default()
}

fn stripped_mib(file: &Path) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let stripped: PathBuf = folder.path().join("stripped");
    let status = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(file)
        .status()?;
    if !status.success() {
        bail!("strip {}: {status}", file.display());
    }
    Ok(std::fs::metadata(stripped)?.len() as f64 / (1024.0 * 1024.0))
}
