//! Running Rust tests: with cargo-nextest where it is installed, with `cargo test` otherwise.
//!
//! A test that finds out that it cannot run here prints a line `SKIPPED: reason` and returns; these
//! lines are collected from nextest's JUnit report (its own output shows failing tests only), or
//! from the output of `cargo test`. So is what failed: the summary tells it once more at the end.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::exec;
use crate::workspace::Workspace;

/// What the tests said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// How many tests ran; unknown with `cargo test`.
    pub(crate) ran: Option<usize>,
    /// `test: reason` of each test that skipped itself.
    pub(crate) skipped: Vec<String>,
    /// Each test that failed, with what it said.
    pub(crate) failed: Vec<Failure>,
}

/// A test that failed, or a program of tests that does not say which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) name: String,
    /// What the test said at its end: [`TOLD`] lines at most.
    pub(crate) said: Vec<String>,
}

const MARK: &str = "SKIPPED: ";

/// How much of what a failed test said is told again: a panic's place and message, with the state
/// that most of ours print behind it.
const TOLD: usize = 25;

/// Profile of the tests that run beside others; its report has a folder of its own.
const BESIDE: &str = "ci-beside";

/// Which targets to run, in words that nextest and `cargo test` both know.
pub(crate) struct Selection<'a> {
    /// Libraries and programs with their unit tests.
    pub(crate) units: bool,
    /// Integration tests by name.
    pub(crate) tests: &'a [&'a str],
    /// A command to put before (`xvfb-run ...`), may be empty.
    pub(crate) wrapper: &'a [&'a str],
}

impl Selection<'_> {
    fn add_to(&self, command: &mut Command) {
        command.arg("--workspace");
        if self.units {
            command.args(["--lib", "--bins"]);
        }
        for name in self.tests {
            command.args(["--test", name]);
        }
    }
}

/// Runs the selected tests of the whole workspace. The whole one always: cargo unites the features
/// of what is selected, and a narrower selection would build the dependencies a second time.
pub(crate) fn run(workspace: &Workspace, selection: &Selection<'_>) -> (Report, Result<()>) {
    let has_nextest = is_there(workspace);
    let mut words = selection.wrapper.iter().copied().chain(["cargo"]);
    let mut command = workspace.program(words.next().unwrap_or("cargo"));
    command.args(words);
    if has_nextest {
        command.args(["nextest", "run", "--profile", "ci", "--no-fail-fast"]);
    } else {
        println!("cargo-nextest is not installed; using cargo test");
        command.args(["test", "--no-fail-fast"]);
    }
    selection.add_to(&mut command);
    command.env("WARP_BIN_DIR", workspace.programs("debug"));
    if has_nextest {
        let file = report_file(workspace, "ci");
        let result = exec::run(&mut command);
        (read_report(&file), result)
    } else {
        command.args(["--", "--show-output"]);
        run_plain(&mut command)
    }
}

/// Tests that run at the lowest priority while other groups do.
pub(crate) struct Beside {
    child: Child,
    text: String,
    log: PathBuf,
    report: PathBuf,
}

/// Builds the selected tests, then starts them beside what follows. None: this machine has not what
/// it takes (cargo-nextest, `nice`), so they have to be run by themselves.
pub(crate) fn start_beside(
    workspace: &Workspace,
    selection: &Selection<'_>,
) -> Result<Option<Beside>> {
    if !is_there(workspace) || exec::which("nice").is_none() {
        return Ok(None);
    }
    let profile = ["nextest", "run", "--profile", BESIDE];
    let mut build = workspace.cargo();
    selection.add_to(build.args(profile).arg("--no-run"));
    exec::run(&mut build)?;
    let mut command = workspace.program("nice");
    command.args(["-n", "19", "cargo"]).args(profile);
    selection.add_to(command.arg("--no-fail-fast"));
    let report = report_file(workspace, BESIDE);
    let log = report.with_file_name("output.txt");
    let folder = log.parent().context("the report has no folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let output = File::create(&log).with_context(|| format!("making {}", log.display()))?;
    let text = exec::shown(&command);
    println!("$ {text} >{} &", log.display());
    let child = (command.stdin(Stdio::null()))
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("cannot start `{text}`"))?;
    Ok(Some(Beside {
        child,
        text,
        log,
        report,
    }))
}

impl Beside {
    /// Waits for the end, and prints what was said.
    pub(crate) fn finish(mut self) -> (Report, Result<()>) {
        let ended = self.child.wait().context("waiting for its end");
        match std::fs::read(&self.log) {
            Ok(said) => println!("$ {}\n{}", self.text, String::from_utf8_lossy(&said)),
            Err(error) => println!("cannot read {}: {error}", self.log.display()),
        }
        let result = ended.and_then(|status| match status.success() {
            true => Ok(()),
            false => bail!("`{}` ended with {status}", self.text),
        });
        (read_report(&self.report), result)
    }
}

fn is_there(workspace: &Workspace) -> bool {
    exec::succeeds(workspace.cargo().args(["nextest", "--version"]))
}

/// Where a profile's report will be: relative to the work tree, whatever the build directory is
/// (nextest: `store.dir`). A report of an earlier run is removed: it must not be taken for this one's.
fn report_file(workspace: &Workspace, profile: &str) -> PathBuf {
    let file = (workspace.root.join("target/nextest"))
        .join(profile)
        .join("junit.xml");
    std::fs::remove_file(&file).ok();
    file
}

fn read_report(file: &Path) -> Report {
    let text = std::fs::read_to_string(file);
    text.map(|text| read_junit(&text)).unwrap_or_default()
}

/// Runs a command that prints its tests' output, and collects the tests that skipped themselves.
pub(crate) fn run_plain(command: &mut Command) -> (Report, Result<()>) {
    let mut report = Report::default();
    let mut name = String::new();
    let mut last = VecDeque::with_capacity(TOLD);
    let result = exec::run_lines(command, |line| {
        if last.len() == TOLD {
            last.pop_front();
        }
        last.push_back(line.to_owned());
        if let Some(test) = line.strip_prefix("---- ") {
            name = format!("{}: ", test.trim_end_matches(" stdout ----"));
        }
        if let Some(reason) = line.trim().strip_prefix(MARK) {
            report.skipped.push(format!("{name}{reason}"));
        }
    });
    if result.is_err() {
        let name = exec::shown(command);
        let said = last.into();
        report.failed.push(Failure { name, said });
    }
    (report, result)
}

/// Counts the tests of a JUnit report, and collects the lines of those that skipped themselves and
/// what the failed ones said.
fn read_junit(text: &str) -> Report {
    let mut report = Report::default();
    let mut ran = 0;
    let mut name = String::new();
    // Within what a test said as it failed, and before the calls that led there.
    let (mut failing, mut told) = (false, true);
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
        if line.starts_with("<failure ") || line.starts_with("<error ") {
            let (head, rest) = line.split_once('>').unwrap_or((line, ""));
            let kind = head
                .split_once("type=\"")
                .and_then(|(_, rest)| rest.split('"').next());
            report.failed.push(Failure {
                name: name.clone(),
                said: kind.map(unescape).into_iter().collect(),
            });
            // A test that was ended for its time has said nothing that is told here.
            failing = !head.ends_with('/');
            line = rest;
        }
        if failing {
            let mut ends = ["</failure>", "</error>"].into_iter();
            let last = ends.find_map(|end| line.strip_suffix(end));
            failing = last.is_none();
            let said = last.unwrap_or(line);
            told &= said != "stack backtrace:";
            if let Some(failure) = report.failed.last_mut()
                && told
                && failure.said.len() < TOLD
            {
                failure.said.push(unescape(said));
            }
            continue;
        }
        told = true;
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
        <testcase name="bad" classname="warp-lab" time="0.1">
            <failure message="thread &apos;bad&apos; panicked" type="test failure with exit code 101">thread &apos;bad&apos; panicked at a.rs:1:
1 &lt; 0
stack backtrace:
   0: core</failure>
            <system-out>
SKIPPED: half of it
</system-out>
        </testcase>
        <testcase name="hung" classname="warp-lab" time="180.1">
            <failure type="test timeout"/>
            <system-out>
SKIPPED: this line still counts
</system-out>
        </testcase>
    </testsuite>
</testsuites>"#;
        let report = read_junit(text);
        assert_eq!(report.ran, Some(5));
        assert_eq!(
            report.skipped,
            [
                "warp-lab::netlab_link cut_stops: not root & no namespaces",
                "warp-lab one: no bus",
                "warp-lab bad: half of it",
                "warp-lab hung: this line still counts",
            ]
        );
        let failed: Vec<(&str, &[String])> = (report.failed.iter())
            .map(|failure| (&*failure.name, &*failure.said))
            .collect();
        let of_bad = [
            "test failure with exit code 101",
            "thread 'bad' panicked at a.rs:1:",
            "1 < 0",
        ];
        assert_eq!(
            failed,
            [
                ("warp-lab bad", &of_bad.map(str::to_owned)[..]),
                ("warp-lab hung", &["test timeout".to_owned()][..]),
            ]
        );
    }
}
