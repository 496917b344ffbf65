//! The clientinfo file in the game's folder: put in place, shared by several games, taken away.
//!
//! With NAME as configured, the folder may hold
//!
//! | file | is |
//! |---|---|
//! | `NAME` | ours while games run, known by its digest in the lock file; else the operator's own, or none |
//! | `NAME.before-warp` | the operator's own, while ours has its place |
//! | `NAME.warp-new` | ours, before it is renamed into its place |
//! | `NAME.warp-lock` | locked by the launcher whose file `NAME` is, so that two launchers never share one; holds the digests of what that launcher puts there. The system gives the lock back when a launcher crashes: what is found then under our names is a leftover, and is put right |
//!
//! Nothing of the operator's is ever written to or removed, only renamed; a step that would have to
//! is a problem, and what was done before it is undone.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use warp_engine_core::config::ClientInfoSection;
use warp_protocol::{Problem, ProblemCode};

use super::clientinfo;

/// Largest template, and most that is read of a file to see whose it is.
const MAX_FILE: u64 = 1024 * 1024;
/// Most that is read of a lock file: two digests and more.
const MAX_LOCK: u64 = 4096;
/// Folder of loose files beside a client, if `game.clientinfo.folder` does not say.
const LOOSE: &str = "data";

/// The clientinfo files that games of this launcher use now; at most as many as games run.
#[derive(Clone, Default)]
pub(super) struct Files(Arc<Mutex<HashMap<PathBuf, Held>>>);

struct Held {
    users: u32,
    content: Vec<u8>,
    /// Holds the lock as long as it is open.
    lock: File,
}

/// One game's use of a file. Dropped: the last one takes the file away.
pub(super) struct Lease {
    files: Files,
    path: PathBuf,
}

impl Files {
    /// Puts the file in its place for a game with this `executable`.
    ///
    /// # Errors
    /// [`ProblemCode::GameFiles`], with the file, what is in the way and what to do.
    pub(super) fn lease(
        &self,
        section: &ClientInfoSection,
        executable: &Path,
        login: SocketAddr,
    ) -> Result<Lease, Problem> {
        let path = target(section, executable)?;
        let mut held = self.0.lock();
        match held.get_mut(&path) {
            Some(entry) => {
                let content = content(section, login)?;
                let there = read(&path).map_err(|error| unwritable(&path, &error))?;
                if there != entry.content {
                    let fix = "somebody has changed this file while games run; end them first, or \
                               choose another game.clientinfo.file";
                    return Err(problem(&path, fix.into()));
                }
                // The bridge may have another address by now; games that run have read theirs.
                if entry.content != content {
                    let both = [entry.content.as_slice(), &content];
                    note(&mut entry.lock, &both)
                        .and_then(|()| write(&path, &content))
                        .map_err(|error| unwritable(&path, &error))?;
                    entry.content = content;
                }
                entry.users += 1;
            }
            None => {
                let mut lock = lock(&path)?;
                let placed = recover(&path, &mut lock)
                    .map_err(|error| unwritable(&path, &error))
                    .and_then(|()| content(section, login))
                    .and_then(|content| {
                        // Before it is there: what a crash leaves behind is known by it.
                        note(&mut lock, &[&content]).map_err(|error| unwritable(&path, &error))?;
                        place(&path, &content).map(|()| content)
                    });
                match placed {
                    Ok(content) => {
                        let users = 1;
                        let entry = Held {
                            users,
                            content,
                            lock,
                        };
                        held.insert(path.clone(), entry);
                    }
                    Err(problem) => {
                        unlock(&path, lock);
                        return Err(problem);
                    }
                }
            }
        }
        drop(held);
        let files = self.clone();
        Ok(Lease { files, path })
    }

    /// Puts right what a launcher that crashed left behind. Nothing is done to a file that is in
    /// use, here or by another launcher.
    ///
    /// # Errors
    /// As [`Files::lease`].
    pub(super) fn recover(
        &self,
        section: &ClientInfoSection,
        executable: &Path,
    ) -> Result<(), Problem> {
        let path = target(section, executable)?;
        let held = self.0.lock();
        // A lock file is made only where there is something to do.
        if held.contains_key(&path) || !has_leftovers(&path) {
            return Ok(());
        }
        let mut lock = lock(&path)?;
        let recovered = recover(&path, &mut lock).map_err(|error| unwritable(&path, &error));
        unlock(&path, lock);
        recovered
    }

    fn release(&self, path: &Path) {
        let mut held = self.0.lock();
        let Some(entry) = held.get_mut(path) else {
            return;
        };
        entry.users -= 1;
        if entry.users == 0
            && let Some(mut entry) = held.remove(path)
        {
            if let Err(error) = recover(path, &mut entry.lock) {
                tracing::warn!(%error, file = %path.display(), "the clientinfo file stays");
            }
            unlock(path, entry.lock);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.files.release(&self.path);
    }
}

/// Where the file belongs. The folder is made canonical, so that one file has one name.
fn target(section: &ClientInfoSection, executable: &Path) -> Result<PathBuf, Problem> {
    let beside = executable
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let beside = beside.unwrap_or(Path::new("."));
    let folder = match section.folder.as_deref() {
        Some("") => beside.to_path_buf(),
        Some(folder) => beside.join(folder),
        None => Some(beside.join(LOOSE))
            .filter(|folder| folder.is_dir())
            .unwrap_or_else(|| beside.to_path_buf()),
    };
    let canonical = folder.canonicalize().map_err(|error| {
        problem(
            &folder,
            format!("{error}; make the folder, or correct game.clientinfo.folder"),
        )
    })?;
    Ok(canonical.join(&section.file))
}

/// `NAME` with something behind it.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn kept(path: &Path) -> PathBuf {
    beside(path, ".before-warp")
}

fn lock_name(path: &Path) -> PathBuf {
    beside(path, ".warp-lock")
}

fn content(section: &ClientInfoSection, login: SocketAddr) -> Result<Vec<u8>, Problem> {
    if section.template.is_empty() {
        return Ok(clientinfo::fresh(section, login));
    }
    let path = Path::new(&section.template);
    let fix = "; correct the file or game.clientinfo.template";
    let template = read(path).map_err(|error| problem(path, format!("{error}{fix}")))?;
    clientinfo::from_template(&template, login)
        .map_err(|error| problem(path, format!("{error}{fix}")))
}

/// A whole file of at most [`MAX_FILE`].
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("larger than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

/// What stands under a name, without following a link.
enum There {
    Nothing,
    Ours,
    Other,
}

/// `ours`: digests of what a launcher has put there.
fn look(path: &Path, ours: &[String]) -> io::Result<There> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(There::Nothing),
        Err(error) => Err(error),
        Ok(about) if about.is_file() && about.len() <= MAX_FILE => {
            let ours = ours.contains(&digest(&read(path)?));
            Ok(if ours { There::Ours } else { There::Other })
        }
        Ok(_) => Ok(There::Other),
    }
}

/// SHA-256, hex.
fn digest(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// Writes the digests of `contents` into the lock file, in place of what stands there.
fn note(lock: &mut File, contents: &[&[u8]]) -> io::Result<()> {
    let lines: String = contents
        .iter()
        .map(|content| digest(content) + "\n")
        .collect();
    lock.rewind()?;
    lock.set_len(0)?;
    lock.write_all(lines.as_bytes())
}

/// The digests in the lock file; none where it holds something else.
fn noted(lock: &mut File) -> io::Result<Vec<String>> {
    let mut text = Vec::new();
    lock.rewind()?;
    Read::by_ref(lock).take(MAX_LOCK).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().map(str::to_owned).collect())
}

/// Puts `content` in its place; what was there before keeps its content under another name. The
/// lock is held and leftovers are gone.
fn place(path: &Path, content: &[u8]) -> Result<(), Problem> {
    let kept = kept(path);
    let foreign = match look(path, &[]).map_err(|error| unwritable(path, &error))? {
        There::Nothing | There::Ours => false,
        There::Other if path.is_dir() => {
            let fix = "a folder has this name; choose another game.clientinfo.file";
            return Err(problem(path, fix.into()));
        }
        There::Other => true,
    };
    if foreign {
        if kept.symlink_metadata().is_ok() {
            let fix = format!(
                "both this file and {} are there and neither was written by the launcher; nothing \
                 was touched. Remove the one that is not needed, or choose another \
                 game.clientinfo.file",
                kept.display()
            );
            return Err(problem(path, fix));
        }
        fs::rename(path, &kept).map_err(|error| unwritable(path, &error))?;
    }
    write(path, content).map_err(|error| {
        if foreign && let Err(error) = fs::rename(&kept, path) {
            tracing::warn!(%error, file = %kept.display(), "the file could not be put back");
        }
        unwritable(path, &error)
    })
}

/// Written beside its place and renamed into it: no reader ever sees half of it.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = beside(path, ".warp-new");
    let written = File::create(&new)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // Not there either, if it could not be made.
        let _ = fs::remove_file(&new);
    }
    written
}

fn has_leftovers(path: &Path) -> bool {
    [kept(path), lock_name(path)]
        .iter()
        .any(|file| file.symlink_metadata().is_ok())
}

/// Takes our file away and puts back what was there before. The lock is held. Does nothing where
/// there is nothing to do, or where the operator has put a file of their own in place of ours.
fn recover(path: &Path, lock: &mut File) -> io::Result<()> {
    let ours = noted(lock)?;
    if let There::Ours = look(path, &ours)? {
        fs::remove_file(path)?;
    }
    let kept = kept(path);
    if kept.symlink_metadata().is_ok() {
        match look(path, &ours)? {
            There::Nothing => fs::rename(&kept, path)?,
            _ => tracing::warn!(
                file = %path.display(),
                kept = %kept.display(),
                "both are there; the one that the launcher set aside stays where it is"
            ),
        }
    }
    Ok(())
}

/// Takes the lock of a file, which no other launcher then has.
fn lock(path: &Path) -> Result<File, Problem> {
    let name = lock_name(path);
    // More than one round only while another launcher gives its lock back right now.
    for _ in 0..16 {
        let lock = open_lock(&name).map_err(|error| unwritable(path, &error))?;
        match lock.try_lock() {
            // The launcher that had it may have removed it between our opening and locking it.
            Ok(()) if warp_platform::has_name(&lock, &name) => return Ok(lock),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::warn!(file = %path.display(), "this file system has no locks");
                return Ok(lock);
            }
            Err(TryLockError::Error(error)) => return Err(unwritable(path, &error)),
        }
    }
    let fix = "another launcher uses this file now; end its games, or give this launcher another \
               game.clientinfo.file";
    Err(problem(path, fix.into()))
}

fn open_lock(name: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true);
    warp_platform::keep_name(&mut options).open(name)
}

fn unlock(path: &Path, lock: File) {
    warp_platform::remove_locked(lock, &lock_name(path));
}

fn problem(path: &Path, detail: String) -> Problem {
    Problem::new(ProblemCode::GameFiles, path.display().to_string()).with_detail(detail)
}

fn unwritable(path: &Path, error: &io::Error) -> Problem {
    let folder = path.parent().unwrap_or(path).display();
    problem(
        path,
        format!(
            "{error}; the launcher must be allowed to make and rename files in {folder}. Change \
             its permissions, install the game somewhere else, or remove game.clientinfo"
        ),
    )
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
