//! Facts about the machine that a figure is worth nothing without.

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Where and when it was measured. Nothing in it names a host, a person or a folder.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// Date and time, UTC.
    date: String,
    /// Kernel release.
    kernel: String,
    /// Architecture.
    arch: &'static str,
    /// Model of the first processor, as the kernel names it.
    processor: String,
    /// Processors that this program may use.
    cores: usize,
    /// The kernel's congestion control for TCP: what plain TCP is outside of namespaces.
    tcp: String,
    /// Tasks that wanted to run in the minute before the measurement, on average.
    load_before: String,
    /// The cargo profile that the measured programs were built with.
    profile: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let text = |file| std::fs::read_to_string(file).unwrap_or_default();
        let now = OffsetDateTime::now_utc();
        let now = now.replace_nanosecond(0).unwrap_or(now);
        let info = text("/proc/cpuinfo");
        let model = info.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == "model name").then(|| value.trim().to_owned())
        });
        let load = text("/proc/loadavg");
        Self {
            date: now.format(&Rfc3339).unwrap_or_default(),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            arch: std::env::consts::ARCH,
            processor: model.unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            tcp: text("/proc/sys/net/ipv4/tcp_congestion_control")
                .trim()
                .to_owned(),
            load_before: load.split(' ').next().unwrap_or_default().to_owned(),
            profile: profile(),
        }
    }
}

/// The folder of the programs is named after the profile (`debug` for `dev`).
fn profile() -> String {
    let folder = crate::program::folder().ok();
    let name = folder.as_deref().and_then(std::path::Path::file_name);
    match name.and_then(std::ffi::OsStr::to_str) {
        Some("debug") => "dev".into(),
        Some(name) => name.into(),
        None => "unknown".into(),
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; Linux {} {}, {} cores ({}), TCP with {} ({} in namespaces), load before {}; profile {}",
            self.date,
            self.kernel,
            self.arch,
            self.cores,
            self.processor,
            self.tcp,
            warp_lab::CONGESTION_CONTROL,
            self.load_before,
            self.profile
        )
    }
}
