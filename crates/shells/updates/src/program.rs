//! The program's own file, which is replaced while it runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

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
    // There its name cannot be taken from it, but it can be given another.
    let old = beside(program, "old");
    remove_replaced(program);
    fs::rename(program, &old)?;
    let placed = fs::rename(&new, program);
    if placed.is_err() {
        fs::rename(&old, program)?;
    }
    placed
}

/// Removes what [`replace_program`] has left on Windows, once that runs no more.
pub fn remove_replaced(program: &Path) {
    // Mostly there is none; one that still runs goes the next time.
    let _ = fs::remove_file(beside(program, "old"));
}

fn beside(program: &Path, end: &str) -> PathBuf {
    let mut name = program.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    PathBuf::from(name)
}
