//! `cargo xtask test`: runs the groups one after the other, whatever came of the ones before. The
//! simulator, which only computes, runs beside the tests of processes, which mostly wait.

use std::collections::HashMap;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::groups::{BINDINGS, Group};
use crate::nextest::{Beside, Failure, Report, Selection};
use crate::packages::{self, NotInstalled, Package};
use crate::summary::{Outcome, Row, render};
use crate::workspace::Workspace;
use crate::{deny, exec, fuzz, nextest, purity, release, ui, windows};

/// The window's tests get a display and a session bus of their own.
const WINDOW_WRAPPER: [&str; 5] = [
    "xvfb-run",
    "-a",
    "--server-args=-screen 0 1280x900x24",
    "dbus-run-session",
    "--",
];

/// Prints the groups that this work tree has something for.
pub(crate) fn list(workspace: &Workspace) {
    for group in Group::all().iter().filter(|group| group.exists(workspace)) {
        println!("{:<10}{}", group.name(), group.about());
    }
}

/// Runs the groups of `only` (none: all) and prints the table.
pub(crate) fn run(workspace: &Workspace, only: &[Group]) -> ExitCode {
    let chosen: Vec<Group> = (Group::all().iter().copied())
        .filter(|group| only.contains(group) || (only.is_empty() && group.exists(workspace)))
        .collect();
    let mut runner = Runner {
        workspace,
        chosen: &chosen,
        only_named: !only.is_empty(),
        prepared: HashMap::new(),
        skipped_tests: Vec::new(),
        failures: Vec::new(),
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut beside = None;
    for (at, &group) in chosen.iter().enumerate() {
        println!(
            "\n==> [{}/{}] {}: {}",
            at + 1,
            chosen.len(),
            group.name(),
            group.about()
        );
        let started = Instant::now();
        if group == Group::Sim && chosen.contains(&Group::E2e) {
            match runner.start_beside(group) {
                Ok(Some(running)) => {
                    beside = Some((running, rows.len(), started));
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    let outcome = Outcome::Failed(format!("{error:#}"));
                    rows.push(ended(group, outcome, started));
                    continue;
                }
            }
        }
        let outcome = runner.group(group);
        rows.push(ended(group, outcome, started));
        // What comes after measures delays: nothing runs beside it.
        if group == Group::E2e
            && let Some((running, at, started)) = beside.take()
        {
            println!("\n==> waiting for {}", Group::Sim.name());
            let outcome = runner.finish(running);
            rows.insert(at, ended(Group::Sim, outcome, started));
        }
    }
    let text = render(&rows, &runner.skipped_tests, &runner.failures);
    println!("{text}");
    let failed = rows
        .iter()
        .any(|row| matches!(row.outcome, Outcome::Failed(_)));
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Says what came of a group.
fn ended(group: Group, outcome: Outcome, started: Instant) -> Row {
    let name = group.name();
    match &outcome {
        Outcome::Passed(_) => println!("==> {name} PASSED"),
        Outcome::Failed(reason) => println!("==> {name} FAILED: {reason}"),
        Outcome::Skipped(reason) => println!("==> {name} SKIPPED: {reason}"),
    }
    Row {
        group,
        outcome,
        took: started.elapsed(),
    }
}

/// Generates the bindings, or with `check` compares them only.
pub(crate) fn bindings(workspace: &Workspace, check: bool) -> Result<()> {
    let (package, example) = BINDINGS;
    let mut command = workspace.cargo();
    command.args(["run", "-q", "-p", package, "--example", example]);
    if check {
        command.args(["--", "--check"]);
    }
    exec::run(&mut command).with_context(|| {
        format!("the generated bindings of {package}; `cargo xtask bindings` writes them")
    })
}

/// A step that several groups need and that is done once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Ui,
    Programs,
    /// The window's program once more, under another version: what its updates are tested with.
    NextLauncher,
    Examples,
}

struct Runner<'a> {
    workspace: &'a Workspace,
    chosen: &'a [Group],
    only_named: bool,
    /// What came of the steps; an error is kept as text for the groups that follow.
    prepared: HashMap<Step, Result<(), String>>,
    skipped_tests: Vec<String>,
    failures: Vec<Failure>,
}

impl Runner<'_> {
    fn group(&mut self, group: Group) -> Outcome {
        if !group.exists(self.workspace) {
            return Outcome::Failed("this work tree has nothing for this group".into());
        }
        match self.prepare(group).and_then(|ready| match ready {
            Some(outcome) => Ok(outcome),
            None => self.checks(group),
        }) {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        }
    }

    /// What must be there before `group`; an outcome ends the group already.
    fn prepare(&mut self, group: Group) -> Result<Option<Outcome>> {
        let needs = group.needs();
        let wanted = needed_packages(group);
        let welcome = [&wanted[..], needs.welcome].concat();
        // In a run of everything the setup group has installed what can be installed.
        if self.only_named
            && group != Group::Setup
            && let Err(NotInstalled::Failed(error)) =
                packages::install(&packages::missing(&welcome))
        {
            return Err(error.context("system packages"));
        }
        let missing = packages::missing(&wanted);
        if group != Group::Setup && !missing.is_empty() && cfg!(target_os = "linux") {
            let command = packages::command_line(&missing);
            let text = format!("missing: {}; `{command}`", missing.join(", "));
            // Without what the build needs nothing at all would be checked: that is no skip.
            if needs.workspace && !packages::missing(packages::BUILD_WINDOW).is_empty() {
                bail!(text);
            }
            return Ok(Some(Outcome::Skipped(text)));
        }
        if group == Group::Netlab
            && let Err(error) = probe_namespaces()
        {
            return Ok(Some(Outcome::Skipped(format!("{error:#}"))));
        }
        if needs.workspace && ui::exists(self.workspace) {
            self.once(Step::Ui)?;
        }
        if group == Group::Window && !group.tests(self.workspace).is_empty() {
            self.once(Step::NextLauncher)?;
        }
        let beside_cargo = group == Group::Browser && ui::has_browser_tests(self.workspace);
        if needs.programs && (beside_cargo || !group.tests(self.workspace).is_empty()) {
            self.once(Step::Programs)?;
        }
        if needs.examples {
            self.once(Step::Examples)?;
        }
        Ok(None)
    }

    fn once(&mut self, step: Step) -> Result<()> {
        let workspace = self.workspace;
        let result = self.prepared.entry(step).or_insert_with(|| {
            match step {
                Step::Ui => ui::build(workspace).context("building the front end"),
                Step::Programs => {
                    exec::run(workspace.cargo().args(["build", "--workspace", "--bins"]))
                        .context("building the programs")
                }
                Step::NextLauncher => release::next_launcher(workspace),
                Step::Examples => {
                    exec::run(
                        workspace
                            .cargo()
                            .args(["build", "--workspace", "--examples"]),
                    )
                    .context("building the examples")
                }
            }
            .map_err(|error| format!("{error:#}"))
        });
        match result {
            Ok(()) => Ok(()),
            Err(text) => bail!("{text}"),
        }
    }

    fn checks(&mut self, group: Group) -> Result<Outcome> {
        let workspace = self.workspace;
        let passed = || Outcome::Passed(String::new());
        match group {
            Group::Setup => Ok(self.setup()),
            Group::Fmt => {
                exec::run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
                if fuzz::exists(workspace) {
                    let mut fmt = workspace.cargo();
                    fmt.args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]);
                    exec::run(&mut fmt)?;
                }
                Ok(passed())
            }
            Group::Purity => purity::check(workspace).map(Outcome::Passed),
            Group::Bindings => bindings(workspace, true).map(|()| passed()),
            Group::Ui => {
                self.once(Step::Ui)?;
                ui::test(workspace).map(|()| passed())
            }
            Group::Clippy => {
                let mut clippy = workspace.cargo();
                clippy.args([
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ]);
                exec::run(&mut clippy).map(|()| passed())
            }
            Group::Unit
            | Group::Sim
            | Group::E2e
            | Group::Netlab
            | Group::Browser
            | Group::Window => self.tests(group),
            Group::Doc => {
                let mut doc = workspace.cargo();
                doc.args(["doc", "--workspace", "--no-deps"]);
                exec::run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
                exec::run(workspace.cargo().args(["test", "--workspace", "--doc"]))
                    .map(|()| passed())
            }
            Group::Fuzz => fuzz::check(workspace),
            Group::Windows => windows::group(workspace),
            Group::Deny => deny::check(workspace),
        }
    }

    fn tests(&mut self, group: Group) -> Result<Outcome> {
        let mut remarks = Vec::new();
        let mut skips = Vec::new();
        let mut all_skipped = true;
        if group == Group::Browser && ui::has_browser_tests(self.workspace) {
            let (report, result) = nextest::run_plain(&mut ui::browser_tests(self.workspace));
            self.keep(&report);
            all_skipped &= !report.skipped.is_empty();
            skips.extend(report.skipped);
            result?;
            remarks.push("front end".to_owned());
        }
        let tests = group.tests(self.workspace);
        if group == Group::Unit || !tests.is_empty() {
            let selection = Selection {
                units: group == Group::Unit,
                tests: &tests,
                wrapper: if group == Group::Window {
                    &WINDOW_WRAPPER
                } else {
                    &[]
                },
            };
            let (report, result) = nextest::run(self.workspace, &selection);
            self.keep(&report);
            all_skipped &= report.ran == Some(report.skipped.len());
            skips.extend(report.skipped);
            result?;
            remarks.extend(report.ran.map(|ran| format!("{ran} tests")));
        }
        if !skips.is_empty() {
            remarks.push(format!("{} skipped themselves", skips.len()));
        }
        Ok(match skips.into_iter().next() {
            Some(first) if all_skipped => Outcome::Skipped(first),
            _ => Outcome::Passed(remarks.join(", ")),
        })
    }

    /// Starts a group's tests beside what follows; none where that cannot be done.
    fn start_beside(&mut self, group: Group) -> Result<Option<Beside>> {
        if !group.exists(self.workspace) || self.prepare(group)?.is_some() {
            return Ok(None);
        }
        let tests = group.tests(self.workspace);
        let selection = Selection {
            units: false,
            tests: &tests,
            wrapper: &[],
        };
        nextest::start_beside(self.workspace, &selection)
    }

    /// Waits for tests that were started beside others.
    fn finish(&mut self, running: Beside) -> Outcome {
        let (report, result) = running.finish();
        self.keep(&report);
        match result {
            Ok(()) => {
                let tests = report.ran.map(|ran| format!("{ran} tests, "));
                Outcome::Passed(format!("{}beside the next", tests.unwrap_or_default()))
            }
            Err(error) => Outcome::Failed(format!("{error:#}")),
        }
    }

    fn keep(&mut self, report: &Report) {
        self.skipped_tests.extend_from_slice(&report.skipped);
        self.failures.extend_from_slice(&report.failed);
    }

    /// Installs what the chosen groups need.
    fn setup(&self) -> Outcome {
        let groups = if self.chosen == [Group::Setup] {
            Group::all()
        } else {
            self.chosen
        };
        if let Err(error) = ui::check_node() {
            return Outcome::Failed(format!("{error:#}"));
        }
        if !cfg!(target_os = "linux") {
            return Outcome::Passed("no system packages are needed here".into());
        }
        let mut wanted = Vec::new();
        for group in groups.iter().filter(|group| group.exists(self.workspace)) {
            wanted.extend(needed_packages(*group));
            wanted.extend(group.needs().welcome);
        }
        match packages::install(&packages::missing(&wanted)) {
            Ok(()) => {}
            Err(NotInstalled::MayNot(what)) => return Outcome::Skipped(what),
            Err(NotInstalled::Failed(error)) => return Outcome::Failed(format!("{error:#}")),
        }
        let missing = packages::missing(&wanted);
        if missing.is_empty() {
            Outcome::Passed(String::new())
        } else {
            Outcome::Failed(format!(
                "installed, but still missing: {}",
                missing.join(", ")
            ))
        }
    }
}

fn needed_packages(group: Group) -> Vec<Package> {
    let needs = group.needs();
    let build = if needs.workspace {
        packages::BUILD_WINDOW
    } else {
        &[]
    };
    [build, needs.packages].concat()
}

/// Whether network namespaces can be made here.
fn probe_namespaces() -> Result<()> {
    let root = exec::capture(Command::new("id").arg("-u"))?.trim() == "0";
    if !root {
        bail!("needs root; `sudo -E cargo xtask test --only netlab` runs it");
    }
    let name = format!("warp-probe-{}", std::process::id());
    exec::capture(Command::new("ip").args(["netns", "add", &name]))?;
    exec::capture(Command::new("ip").args(["netns", "del", &name]))?;
    Ok(())
}
