//! A program is replaced while it runs. The program is a copy of this test's own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Has the program wait for the end of its input; without it the test of that name does nothing.
const WAIT: &str = "WARP_TEST_WAIT";

#[test]
fn waits_when_asked() {
    if std::env::var_os(WAIT).is_some() {
        // Past the harness, which holds back what is printed.
        std::io::Write::write_all(&mut std::io::stdout(), b"\nruns\n").unwrap();
        let _ = std::io::stdin().read(&mut [0]);
    }
}

fn start(program: &Path) -> Child {
    let mut command = Command::new(program);
    command.args(["waits_when_asked", "--exact", "--nocapture"]);
    command.env(WAIT, "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut lines = out.lines();
    assert!(lines.any(|line| line.unwrap() == "runs"));
    // The rest has somewhere to go.
    std::thread::spawn(move || lines.count());
    child
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_program_is_replaced_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("program{}", std::env::consts::EXE_SUFFIX);
    let program = folder.path().join(name);
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let running = start(&program);

    // A program with something behind its end is another file, and still one that starts.
    let mut newer = std::fs::read(&program).unwrap();
    newer.extend_from_slice(b"newer");
    warp_updates::replace_program(&program, &newer).unwrap();
    assert_eq!(std::fs::read(&program).unwrap(), newer);
    end(start(&program));

    // Once more while the first one runs, as when the newer one is not fit and the way back is taken.
    newer.extend_from_slice(b"still newer");
    warp_updates::replace_program(&program, &newer).unwrap();
    assert_eq!(std::fs::read(&program).unwrap(), newer);
    end(running);
    warp_updates::replace_program(&program, &newer).unwrap();
    warp_updates::remove_replaced(&program);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    end(start(&program));
}

#[test]
fn what_cannot_be_replaced_stays() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("not there");
    warp_updates::replace_program(&program, b"new").unwrap_err();
    assert!(!program.exists());
}
