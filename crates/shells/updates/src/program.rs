//! The program's own file, which is replaced while it runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Programs that were replaced and may still run: one each for the update, the way back, and the one after
/// it, all without an end in between; more are refused.
const REPLACED: [&str; 4] = ["old", "old1", "old2", "old3"];

/// Puts `bytes` in the place of `program`, which may run. It is there at any time that another process
/// could start it, except, on Windows, between two renames.
///
/// # Errors
/// The folder cannot be written to; what was there is there still.
pub fn replace_program(program: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(program, "new");
    fs::write(&new, bytes)?;
    fs::set_permissions(&new, fs::metadata(program)?.permissions())?;
    if cfg!(unix) {
        // A program that runs cannot be written to, but its name can be given to another file.
        return fs::rename(&new, program);
    }
    // There its name cannot be taken from it, but it can be given another: one that no replaced program
    // has that still runs.
    remove_replaced(program);
    let mut names = REPLACED.iter().map(|end| beside(program, end));
    let old = names.find(|name| !name.exists()).ok_or_else(|| {
        io::Error::other("it was replaced several times while it ran; end it first")
    })?;
    fs::rename(program, &old)?;
    let placed = fs::rename(&new, program);
    if placed.is_err() {
        fs::rename(&old, program)?;
    }
    placed
}

/// Removes what [`replace_program`] has left on Windows, once that runs no more.
pub fn remove_replaced(program: &Path) {
    for end in REPLACED {
        // Mostly there is none; one that still runs goes the next time.
        let _ = fs::remove_file(beside(program, end));
    }
}

fn beside(program: &Path, end: &str) -> PathBuf {
    let mut name = program.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    PathBuf::from(name)
}
