//! What came of each group, and the table at the end.

use std::time::Duration;

use crate::groups::Group;
use crate::nextest::Failure;

/// What came of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of it held; the text is a remark (may be empty).
    Passed(String),
    /// Something did not hold; the text says what.
    Failed(String),
    /// It could not be run here; the text says why.
    Skipped(String),
}

/// A group that has been run.
pub(crate) struct Row {
    pub(crate) group: Group,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// What failed and what it said, the table, the tests that skipped themselves, the commands that run
/// failed groups again, and as the last line the counts: who reads the end of a long log knows all.
pub(crate) fn render(rows: &[Row], skipped_tests: &[String], failures: &[Failure]) -> String {
    let mut text = String::new();
    for Failure { name, said } in failures {
        text.push_str(&format!("\nFAILED: {name}\n"));
        for line in said {
            text.push_str(format!("    {line}").trim_end());
            text.push('\n');
        }
    }
    let (group, result, seconds) = ("group", "result", "seconds");
    text.push_str(&format!("\n{group:<10}{result:<9}{seconds:>8}  remark\n"));
    let mut counts = [0_usize; 3];
    for row in rows {
        let (word, remark, slot) = match &row.outcome {
            Outcome::Passed(remark) => ("PASSED", remark.clone(), 0),
            Outcome::Failed(reason) => ("FAILED", first_line(reason), 1),
            Outcome::Skipped(reason) => ("SKIPPED", format!("({})", first_line(reason)), 2),
        };
        counts[slot] += 1;
        let line = format!(
            "{:<10}{word:<9}{:>8.1}  {remark}",
            row.group.name(),
            row.took.as_secs_f64(),
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if !skipped_tests.is_empty() {
        text.push_str(&format!(
            "\nSkipped by the test itself: {}:\n",
            skipped_tests.len()
        ));
        for line in skipped_tests {
            text.push_str(&format!("  {line}\n"));
        }
    }
    let failed = |row: &&Row| matches!(row.outcome, Outcome::Failed(_));
    for row in rows.iter().filter(failed) {
        let name = row.group.name();
        text.push_str(&format!(
            "\n{name} failed; again: cargo xtask test --only {name}"
        ));
    }
    let [passed, failed, skipped] = counts;
    text.push_str(&format!(
        "\n\n{passed} passed, {failed} failed, {skipped} skipped"
    ));
    text
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(group: Group, outcome: Outcome) -> Row {
        let took = Duration::from_millis(1500);
        Row {
            group,
            outcome,
            took,
        }
    }

    #[test]
    fn last_line_counts_groups() {
        let rows = [
            row(Group::Fmt, Outcome::Passed(String::new())),
            row(Group::Unit, Outcome::Failed("`x` ended\nmore".into())),
            row(Group::Netlab, Outcome::Skipped("not root".into())),
        ];
        let failure = Failure {
            name: "lab::gap".into(),
            said: vec!["panicked at gap.rs:3".into(), "too long".into()],
        };
        let text = render(&rows, &["lab::cut: not root".into()], &[failure]);
        assert_eq!(text.lines().last(), Some("1 passed, 1 failed, 1 skipped"));
        assert!(
            text.contains("netlab    SKIPPED       1.5  (not root)\n"),
            "{text}"
        );
        assert!(text.contains("fmt       PASSED        1.5\n"), "{text}");
        assert!(
            text.contains("again: cargo xtask test --only unit\n"),
            "{text}"
        );
        assert!(text.contains("  lab::cut: not root\n"), "{text}");
        let failed = "\nFAILED: lab::gap\n    panicked at gap.rs:3\n    too long\n";
        assert!(text.starts_with(failed), "{text}");
    }
}
