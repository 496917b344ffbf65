//! What a killed run left is removed by the next one. Alone in its file, because the removal comes
//! once per process, before its first namespace.
#![cfg(target_os = "linux")]

use std::process::Command;

use anyhow::{Result, ensure};

#[test]
fn namespaces_of_a_killed_run_are_removed() -> Result<()> {
    // No process has this number (the kernel's largest is 4194304), so its maker is dead.
    let left = "warplab-4194305-1-1-left";
    let made = Command::new("ip").args(["netns", "add", left]).output();
    if !made.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: network namespaces cannot be made here");
        return Ok(());
    }
    let namespace = warp_lab::Namespace::new("next")?;
    let output = Command::new("ip").args(["netns", "list"]).output()?;
    let names = String::from_utf8(output.stdout)?;
    ensure!(names.contains(namespace.name()), "{names}");
    ensure!(!names.contains(left), "{names}");
    Ok(())
}
