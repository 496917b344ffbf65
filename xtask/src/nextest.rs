//! Running Rust tests: with cargo-nextest where it is installed, with `cargo test` otherwise.
//!
//! A test that finds out that it cannot run here prints a line `SKIPPED: reason` and returns; these
//! lines are collected from nextest's JUnit report (its own output shows failing tests only), or
//! from the output of `cargo test`.

use std::process::Command;

use anyhow::Result;

use crate::exec;
use crate::workspace::Workspace;

/// What the tests said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// How many tests ran; unknown with `cargo test`.
    pub(crate) ran: Option<usize>,
    /// `test: reason` of each test that skipped itself.
    pub(crate) skipped: Vec<String>,
}

const MARK: &str = "SKIPPED: ";

/// Which targets to run, in words that nextest and `cargo test` both know.
pub(crate) struct Selection<'a> {
    /// Libraries and programs with their unit tests.
    pub(crate) units: bool,
    /// Integration tests by name.
    pub(crate) tests: &'a [&'a str],
    /// A command to put before (`xvfb-run ...`), may be empty.
    pub(crate) wrapper: &'a [&'a str],
}

/// Runs the selected tests of the whole workspace. The whole one always: cargo unites the features
/// of what is selected, and a narrower selection would build the dependencies a second time.
pub(crate) fn run(workspace: &Workspace, selection: &Selection<'_>) -> (Report, Result<()>) {
    let has_nextest = exec::succeeds(workspace.cargo().args(["nextest", "--version"]));
    let mut words = selection.wrapper.iter().copied().chain(["cargo"]);
    let mut command = workspace.program(words.next().unwrap_or("cargo"));
    command.args(words);
    if has_nextest {
        command.args(["nextest", "run", "--profile", "ci", "--no-fail-fast"]);
    } else {
        println!("cargo-nextest is not installed; using cargo test");
        command.args(["test", "--no-fail-fast"]);
    }
    command.arg("--workspace");
    if selection.units {
        command.args(["--lib", "--bins"]);
    }
    for name in selection.tests {
        command.args(["--test", name]);
    }
    command.env("WARP_BIN_DIR", workspace.programs("debug"));
    if has_nextest {
        let file = workspace.root.join("target/nextest/ci/junit.xml");
        // Relative to the work tree, whatever the build directory is (nextest: `store.dir`).
        // A report of an earlier run must not be taken for this one's.
        std::fs::remove_file(&file).ok();
        let result = exec::run(&mut command);
        let report = std::fs::read_to_string(&file).map(|text| read_junit(&text));
        (report.unwrap_or_default(), result)
    } else {
        command.args(["--", "--show-output"]);
        run_plain(&mut command)
    }
}

/// Runs a command that prints its tests' output, and collects the tests that skipped themselves.
pub(crate) fn run_plain(command: &mut Command) -> (Report, Result<()>) {
    let mut report = Report::default();
    let mut name = String::new();
    let result = exec::run_lines(command, |line| {
        if let Some(test) = line.strip_prefix("---- ") {
            name = format!("{}: ", test.trim_end_matches(" stdout ----"));
        }
        if let Some(reason) = line.trim().strip_prefix(MARK) {
            report.skipped.push(format!("{name}{reason}"));
        }
    });
    (report, result)
}

/// Counts the tests of a JUnit report and collects the lines of those that skipped themselves.
fn read_junit(text: &str) -> Report {
    let mut report = Report::default();
    let mut ran = 0;
    let mut name = String::new();
    for line in text.lines() {
        let mut line = line.trim();
        if line.starts_with("<testcase ") {
            ran += 1;
            let value = |key: &str| {
                let (_, rest) = line.split_once(&format!(" {key}=\""))?;
                rest.split('"').next()
            };
            let class = value("classname").unwrap_or_default();
            name = unescape(&format!("{class} {}", value("name").unwrap_or_default()));
        }
        for tag in ["<system-out>", "<system-err>"] {
            line = line.rsplit_once(tag).map_or(line, |(_, rest)| rest);
        }
        if let Some(reason) = line.strip_prefix(MARK) {
            let reason = reason.split("</system-").next().unwrap_or_default();
            report.skipped.push(format!("{name}: {}", unescape(reason)));
        }
    }
    report.ran = Some(ran);
    report
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_counts_and_skips_of_a_report() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3">
    <testsuite name="warp-lab::netlab_link" tests="3">
        <testcase name="cut_stops" classname="warp-lab::netlab_link" time="0.1">
            <system-out>
running 1 test
SKIPPED: not root &amp; no namespaces
test cut_stops ... ok
</system-out>
            <system-err></system-err>
        </testcase>
        <testcase name="one" classname="warp-lab" time="0.1">
            <system-err>SKIPPED: no bus</system-err>
        </testcase>
        <testcase name="two" classname="warp-lab" time="0.1">
        </testcase>
    </testsuite>
</testsuites>"#;
        let report = read_junit(text);
        assert_eq!(report.ran, Some(3));
        assert_eq!(
            report.skipped,
            [
                "warp-lab::netlab_link cut_stops: not root & no namespaces",
                "warp-lab one: no bus",
            ]
        );
    }
}
