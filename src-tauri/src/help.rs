//! The help page's side: the log, and a file with everything that somebody else needs to help.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::json;
use warp_observe::{LogLine, MAX_LINES, Recent, without_secrets};
use warp_protocol::{Problem, ProblemCode};

/// Longest diagnosis that is taken into a report, bytes.
const MAX_DIAGNOSIS: usize = 1024 * 1024;
/// Longest list of packets that is saved, bytes.
const MAX_PACKETS: usize = 32 * 1024 * 1024;
/// Lines that the page gets at once.
const AT_ONCE: usize = 1000;
/// Shortest name of a person that is taken out of texts: a shorter one would take words apart.
const SHORTEST_NAME: usize = 4;

/// A line of the log for the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    n: u64,
    at_ms: u64,
    level: &'static str,
    target: String,
    text: String,
}

/// The lines behind number `after`, oldest first.
pub(crate) fn lines(recent: &Recent, after: u64) -> Vec<Line> {
    recent.after(after, AT_ONCE).into_iter().map(line).collect()
}

fn line(line: LogLine) -> Line {
    let LogLine {
        number,
        at_ms,
        level,
        target,
        text,
    } = line;
    Line {
        n: number,
        at_ms,
        level,
        target,
        text,
    }
}

/// Writes the report into `folder`, and gives the file. `diagnosis`: what the engine exported.
///
/// # Errors
/// The diagnosis is too long, or the file cannot be written.
pub(crate) fn save(folder: &Path, recent: &Recent, diagnosis: &str) -> Result<PathBuf, Problem> {
    if diagnosis.len() > MAX_DIAGNOSIS {
        return Err(
            Problem::new(ProblemCode::BadRequest, "diagnosis").with_detail("longer than 1 MiB")
        );
    }
    let private = private();
    let log: Vec<String> = recent
        .after(0, MAX_LINES)
        .into_iter()
        .map(|line| {
            let text = format!(
                "{} {} {}: {}",
                line.at_ms, line.level, line.target, line.text
            );
            hide(&text, &private)
        })
        .collect();
    let diagnosis: serde_json::Value =
        serde_json::from_str(diagnosis).unwrap_or_else(|_| json!(hide(diagnosis, &private)));
    let report = json!({
        "program": format!("warp-launcher {}", crate::VERSION),
        "report": diagnosis,
        "log": log,
    });
    write(folder, "report", "json", &format!("{report:#}\n"))
}

/// Writes packets, one JSON object a line, into `folder`, and gives the file.
///
/// # Errors
/// They are too many, or the file cannot be written.
pub(crate) fn save_packets(folder: &Path, packets: &str) -> Result<PathBuf, Problem> {
    if packets.len() > MAX_PACKETS {
        return Err(
            Problem::new(ProblemCode::BadRequest, "packets").with_detail("longer than 32 MiB")
        );
    }
    write(folder, "packets", "ndjson", packets)
}

fn write(folder: &Path, what: &str, ending: &str, text: &str) -> Result<PathBuf, Problem> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.as_secs());
    let file = folder.join(format!("warp-{what}-{seconds}.{ending}"));
    let failed = |error: std::io::Error| {
        Problem::new(ProblemCode::Internal, file.display().to_string())
            .with_detail(error.to_string())
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    std::fs::write(&file, text).map_err(failed)?;
    Ok(file)
}

/// What names the person: their folder and their name on this machine.
fn private() -> Vec<(String, &'static str)> {
    let mut private = Vec::new();
    for (variable, shown) in [
        ("HOME", "~"),
        ("USERPROFILE", "~"),
        ("USER", "[user]"),
        ("USERNAME", "[user]"),
    ] {
        if let Ok(value) = std::env::var(variable)
            && value.len() >= SHORTEST_NAME
            && value != "root"
        {
            private.push((value, shown));
        }
    }
    private
}

fn hide(text: &str, private: &[(String, &'static str)]) -> String {
    let text = without_secrets(text);
    private
        .iter()
        .fold(text, |text, (what, shown)| text.replace(what, shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_holds_diagnosis_and_log_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = save(
            &folder.path().join("reports"),
            &Recent::default(),
            r#"{"play":"works"}"#,
        )
        .unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["report"]["play"], "works");
        assert!(report["log"].is_array());
        let private = [("/home/anna".to_owned(), "~")];
        assert_eq!(
            hide("open /home/anna/ro password=x", &private),
            "open ~/ro password=[secret]"
        );
        let long = "x".repeat(MAX_DIAGNOSIS + 1);
        assert!(save(folder.path(), &Recent::default(), &long).is_err());
        let packets = "{\"id\":\"0085\"}\n";
        let file = save_packets(folder.path(), packets).unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), packets);
        assert!(save_packets(folder.path(), &" ".repeat(MAX_PACKETS + 1)).is_err());
    }
}
