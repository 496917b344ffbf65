//! The data directory: the database and the three keys that the first start makes.
//!
//! | file | holds |
//! |---|---|
//! | `coordinator.sqlite` (with `-wal`, `-shm`) | accounts, refresh tokens, zones |
//! | `coordinator.lock` | nothing; locked by whoever works on the database |
//! | `jwt.key` | 32 random bytes that access tokens are signed with; delete it to void them all |
//! | `endpoint.key` | the endpoint's Ed25519 key, PKCS#8 DER |
//! | `endpoint-token` | 64 hex digits that a remote endpoint shows when it connects; made where `endpoint.mode` is `remote` |
//! | `identity.key` | the coordinator's Ed25519 key, PKCS#8 DER: signs certificates, and launchers pin it; keep a copy |
//!
//! The directory is made with mode 0700, all files in it with 0600.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use warp_protocol::Secret;
use zeroize::Zeroizing;

/// Name of the key that signs access tokens.
const JWT_KEY: &str = "jwt.key";
/// Name of the endpoint's key.
const ENDPOINT_KEY: &str = "endpoint.key";
/// Name of the coordinator's own key.
const IDENTITY_KEY: &str = "identity.key";
/// Name of the token that remote endpoints show.
const ENDPOINT_TOKEN: &str = "endpoint-token";
/// Random bytes in that token.
const TOKEN_LENGTH: usize = 32;
/// Length of the signing key, bytes.
const JWT_KEY_LENGTH: usize = 32;
/// Largest key file that is read, bytes.
const MAX_KEY_FILE: u64 = 4096;

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// A file or the directory itself.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A key file holds something else.
    #[error("{path}: {why}; move it away to have a new one made")]
    Key {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers, so no keys can be made")]
    NoRandomness,
}

/// The secrets in the directory, whether or not they are there yet.
pub(crate) fn secret_files(dir: &Path) -> Vec<PathBuf> {
    let names = [
        JWT_KEY,
        ENDPOINT_KEY,
        IDENTITY_KEY,
        ENDPOINT_TOKEN,
        crate::store::DATABASE,
    ];
    names.map(|name| dir.join(name)).to_vec()
}

/// Keys of a coordinator that has run in the directory.
pub(crate) struct Keys {
    /// What access tokens are signed with.
    pub(crate) jwt: Zeroizing<Vec<u8>>,
    /// The identity key, PKCS#8 DER.
    pub(crate) identity: Zeroizing<Vec<u8>>,
}

/// Reads them; makes none.
///
/// # Errors
/// One is missing or may not be read.
pub(crate) fn existing_keys(dir: &Path) -> Result<Keys, DataDirError> {
    let key = |name: &str| {
        let path = dir.join(name);
        read(&path).map_err(io_at(&path))
    };
    Ok(Keys {
        jwt: key(JWT_KEY)?,
        identity: key(IDENTITY_KEY)?,
    })
}

/// Makes the directory where it is missing.
pub(crate) fn prepare(dir: &Path) -> Result<(), DataDirError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    warp_platform::make_private_folder(&mut builder)
        .create(dir)
        .map_err(io_at(dir))
}

/// Makes an empty file for the database where there is none, so that it is private even in a
/// directory that others may read; SQLite gives its `-wal` and `-shm` the same mode.
pub(crate) fn prepare_database(path: &Path) -> Result<(), DataDirError> {
    match private_file(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(io_at(path)(e)),
        _ => Ok(()),
    }
}

/// Opens a file that is only there to be locked.
pub(crate) fn lock_file(path: &Path) -> Result<fs::File, DataDirError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    warp_platform::make_private(&mut options)
        .open(path)
        .map_err(io_at(path))
}

/// The key that access tokens are signed with.
pub(crate) fn jwt_key(dir: &Path) -> Result<Zeroizing<Vec<u8>>, DataDirError> {
    let path = dir.join(JWT_KEY);
    let key = read_or_make(&path, || {
        crate::tokens::random::<JWT_KEY_LENGTH>()
            .map(|key| Zeroizing::new(key.to_vec()))
            .map_err(|_| DataDirError::NoRandomness)
    })?;
    if key.len() != JWT_KEY_LENGTH {
        let why = "the signing key is not 32 bytes long";
        return Err(DataDirError::Key { path, why });
    }
    Ok(key)
}

/// The endpoint's key, PKCS#8 DER.
pub(crate) fn endpoint_key(
    dir: &Path,
    make: impl FnOnce() -> Zeroizing<Vec<u8>>,
) -> Result<(PathBuf, Zeroizing<Vec<u8>>), DataDirError> {
    key_file(dir.join(ENDPOINT_KEY), make)
}

/// The token that a remote endpoint has to show, text.
pub(crate) fn endpoint_token(dir: &Path) -> Result<Secret, DataDirError> {
    let path = dir.join(ENDPOINT_TOKEN);
    let text = read_or_make(&path, || {
        crate::tokens::random::<TOKEN_LENGTH>()
            .map(|token| Zeroizing::new(hex::encode(token).into_bytes()))
            .map_err(|_| DataDirError::NoRandomness)
    })?;
    let token = std::str::from_utf8(&text).unwrap_or_default().trim();
    if token.len() != 2 * TOKEN_LENGTH {
        let why = "the endpoint's token is not 64 hex digits long";
        return Err(DataDirError::Key { path, why });
    }
    Ok(Secret::new(token))
}

/// The coordinator's own key, PKCS#8 DER.
pub(crate) fn identity_key(
    dir: &Path,
    make: impl FnOnce() -> Zeroizing<Vec<u8>>,
) -> Result<(PathBuf, Zeroizing<Vec<u8>>), DataDirError> {
    key_file(dir.join(IDENTITY_KEY), make)
}

fn key_file(
    path: PathBuf,
    make: impl FnOnce() -> Zeroizing<Vec<u8>>,
) -> Result<(PathBuf, Zeroizing<Vec<u8>>), DataDirError> {
    let key = read_or_make(&path, || Ok(make()))?;
    Ok((path, key))
}

fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, DataDirError>,
) -> Result<Zeroizing<Vec<u8>>, DataDirError> {
    match read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other.map_err(io_at(path)),
    }
    let key = make()?;
    // Written beside and linked into place: a crash leaves no half key, and of two processes that
    // start at once one wins and the other takes the winner's.
    let fresh = path.with_extension(format!("new{}", std::process::id()));
    let placed = write_private(&fresh, &key).and_then(|()| fs::hard_link(&fresh, path));
    let _ = fs::remove_file(&fresh);
    match placed {
        Ok(()) => Ok(key),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => read(path).map_err(io_at(path)),
        Err(e) => Err(io_at(path)(e)),
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let metadata = fs::metadata(path)?;
    if metadata.len() > MAX_KEY_FILE {
        return Err(io::Error::other("too large for a key"));
    }
    if warp_platform::open_to_others(&metadata).is_some() {
        tracing::warn!(
            file = %path.display(),
            "others than the owner may read this key; run chmod 600 on it"
        );
    }
    fs::read(path).map(Zeroizing::new)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = private_file(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A new file that only its owner may read.
fn private_file(path: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    warp_platform::make_private(&mut options).open(path)
}

pub(crate) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_private() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        prepare(&dir).unwrap();
        let key = jwt_key(&dir).unwrap();
        assert_eq!(key.len(), 32);
        assert_eq!(*jwt_key(&dir).unwrap(), *key);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&dir.join(JWT_KEY)), 0o600);
            assert_eq!(mode(&dir), 0o700);
        }
        let (_, first) = endpoint_key(&dir, || Zeroizing::new(vec![1])).unwrap();
        let (_, again) = endpoint_key(&dir, || Zeroizing::new(vec![2])).unwrap();
        assert_eq!((first.as_slice(), again.as_slice()), (&[1][..], &[1][..]));
    }

    #[test]
    fn a_short_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(JWT_KEY), b"short").unwrap();
        assert!(matches!(jwt_key(dir.path()), Err(DataDirError::Key { .. })));
    }
}
