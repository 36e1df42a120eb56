//! What a directory needs beyond the object-store interface.
//!
//! An object appears whole or not at all: its bytes go to `NAME#1` beside it, are flushed, and a hard link
//! gives them their name, which fails if the name is taken. A process killed in between leaves `NAME#1`,
//! which no listing shows and no later write trips over.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::StoreError;
use super::address::Address;

/// The absolute path of a directory that need not exist: the longest existing ancestor with its links
/// resolved, and the rest.
///
/// # Errors
/// [`StoreError::NotADirectory`] if a file stands in the way; [`StoreError::Address`] for `..` below
/// something that does not exist.
pub(super) fn resolve(path: &Path, address: &Address) -> Result<PathBuf, StoreError> {
    let absolute = std::path::absolute(path).map_err(|source| unreadable(address, &source))?;
    for ancestor in absolute.ancestors() {
        match fs::metadata(ancestor) {
            Ok(found) if found.is_dir() => {
                let real = fs::canonicalize(ancestor).map_err(|source| unreadable(address, &source))?;
                let rest = absolute.strip_prefix(ancestor).unwrap_or(Path::new(""));
                if rest.components().any(|part| part == Component::ParentDir) {
                    return Err(StoreError::Address {
                        address: address.to_string(),
                        reason: "goes up (`..`) from a directory that does not exist".to_string(),
                    });
                }
                return Ok(real.join(rest));
            }
            Ok(_) => {
                return Err(StoreError::NotADirectory { store: address.to_string(), path: ancestor.to_path_buf() });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) => return Err(unreadable(address, &error)),
        }
    }
    Ok(absolute)
}

/// Checks that files can be created in the directory, or in its nearest existing ancestor if it does not
/// exist yet. Only a real file tells: permission bits say nothing to root, on read-only mounts or over NFS.
///
/// # Errors
/// [`StoreError::ReadOnly`].
pub(super) fn check_writable(resolved: &Path, address: &Address) -> Result<(), StoreError> {
    let existing = resolved.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    tempfile::Builder::new()
        .prefix(".bench-probe-")
        .tempfile_in(existing)
        .map(drop)
        .map_err(|source| StoreError::ReadOnly { store: address.to_string(), reason: source.kind().to_string() })
}

fn unreadable(address: &Address, source: &io::Error) -> StoreError {
    StoreError::Address { address: address.to_string(), reason: format!("cannot be read: {}", source.kind()) }
}

/// Copies `source` to `target` as an object appears, without holding it in memory.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if the name is taken; the operating system's error otherwise.
pub(super) fn create_from_file(source: &Path, target: &Path) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        create_dirs(parent)?;
    }
    let (staged_path, mut staged) = stage(target)?;
    let linked = io::copy(&mut File::open(source)?, &mut staged)
        .and_then(|_| staged.sync_all())
        .and_then(|()| fs::hard_link(&staged_path, target));
    // Whatever happened, the staged name has served; a failure to remove it harms nobody.
    let _ = fs::remove_file(&staged_path);
    linked?;
    sync_parent(target)
}

/// The next free `NAME#n`, the names that [`object_store::local`] stages under and hides.
fn stage(target: &Path) -> io::Result<(PathBuf, File)> {
    let mut attempt = 1_u32;
    loop {
        let mut name = target.as_os_str().to_owned();
        name.push(format!("#{attempt}"));
        let path = PathBuf::from(name);
        match File::options().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Creates missing directories and flushes each new entry.
fn create_dirs(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        create_dirs(parent)?;
    }
    match fs::create_dir(dir) {
        Ok(()) => sync_parent(dir),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Whether two files hold the same bytes.
///
/// # Errors
/// The operating system's error.
pub(super) fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    use std::io::{BufRead, BufReader};

    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (BufReader::with_capacity(1 << 16, &mut a), BufReader::with_capacity(1 << 16, &mut b));
    loop {
        let (left, right) = (a.fill_buf()?, b.fill_buf()?);
        let shared = left.len().min(right.len());
        if shared == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        if left[..shared] != right[..shared] {
            return Ok(false);
        }
        a.consume(shared);
        b.consume(shared);
    }
}
