//! The local directory in which the files of a run are written before they are stored.
//!
//! It mirrors the store's layout, so a spool that had to be kept is itself a store: `bench report` reads
//! it, and copying it into the store completes the run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{Action, Created, Store, StoreError};

/// A file could not be stored and was kept.
#[derive(Debug, thiserror::Error)]
#[error("not stored: {source}; kept in `{}`: once the store works, run again or copy that directory into `{store}`", root.display())]
pub struct Kept {
    /// The file that was kept.
    pub file: PathBuf,
    /// The spool directory, laid out as the store is.
    pub root: PathBuf,
    /// Address of the store.
    pub store: String,
    /// Why it was not stored.
    #[source]
    pub source: StoreError,
}

/// A private directory for one process. Removed when dropped, unless something had to be kept in it.
#[derive(Debug)]
pub struct Spool {
    /// `None` once the directory is to stay.
    temp: Option<tempfile::TempDir>,
    root: PathBuf,
}

impl Spool {
    /// A new directory below `base` (an emptyDir in a pod), or below the system's temporary directory.
    ///
    /// # Errors
    /// [`StoreError::Io`] naming the directory.
    pub fn create(base: Option<&Path>) -> Result<Self, StoreError> {
        let base = base.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let failed = |source| StoreError::Io { action: Action::Create, location: base.display().to_string(), source };
        fs::create_dir_all(&base).map_err(failed)?;
        let temp = tempfile::Builder::new().prefix("bench-spool-").tempdir_in(&base).map_err(failed)?;
        let root = temp.path().to_path_buf();
        Ok(Self { temp: Some(temp), root })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file of the store's `path` is written; its directory is created.
    ///
    /// # Errors
    /// [`StoreError::Path`] for a path that would leave the spool; [`StoreError::Io`].
    pub fn file(&self, path: &str) -> Result<PathBuf, StoreError> {
        let valid = object_store::path::Path::parse(path).is_ok_and(|parsed| parsed.as_ref() == path);
        if !valid || path.is_empty() {
            return Err(StoreError::Path { path: path.to_string() });
        }
        let file = self.root.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(|source| failed(&file, source))?;
        }
        Ok(file)
    }

    /// Stores the spooled file of `path` and removes it here; if that fails it stays, and so does the
    /// spool.
    ///
    /// # Errors
    /// [`Kept`], which says where it is.
    pub async fn store_file(&mut self, store: &Store, path: &str, content_type: &str) -> Result<Created, Kept> {
        let file = self.root.join(path);
        match store.create_from_file(path, &file, content_type).await {
            Ok(created) => {
                // Stored is stored: a file that cannot be removed goes with the directory.
                let _ = fs::remove_file(&file);
                Ok(created)
            }
            Err(source) => Err(self.keep(store, file, source)),
        }
    }

    /// Stores `bytes` as `path`; if that fails they are written here, and the spool stays.
    ///
    /// # Errors
    /// [`Kept`], which says where they are.
    pub async fn store_bytes(
        &mut self,
        store: &Store,
        path: &str,
        bytes: Bytes,
        content_type: &str,
    ) -> Result<Created, Kept> {
        let source = match store.create(path, bytes.clone(), content_type).await {
            Ok(created) => return Ok(created),
            Err(source) => source,
        };
        let written = self.file(path).and_then(|file| {
            fs::write(&file, &bytes).map_err(|error| failed(&file, error))?;
            Ok(file)
        });
        match written {
            Ok(file) => Err(self.keep(store, file, source)),
            // Neither there nor here: the local failure is the one to act on.
            Err(error) => Err(self.keep(store, self.root.join(path), error)),
        }
    }

    /// Whether something had to be kept.
    pub fn is_kept(&self) -> bool {
        self.temp.is_none()
    }

    fn keep(&mut self, store: &Store, file: PathBuf, source: StoreError) -> Kept {
        if let Some(temp) = self.temp.take() {
            self.root = temp.keep();
        }
        Kept { file, root: self.root.clone(), store: store.describe(), source }
    }
}

fn failed(file: &Path, source: io::Error) -> StoreError {
    StoreError::Io { action: Action::Create, location: file.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::JSON;
    use std::collections::BTreeMap;

    #[tokio::test]
    async fn stored_files_leave_nothing_and_failed_ones_stay_laid_out_as_the_store() {
        let base = tempfile::tempdir().unwrap();
        let store = Store::open("memory://", &BTreeMap::new()).await.unwrap();

        let mut spool = Spool::create(Some(base.path())).unwrap();
        let file = spool.file("s/p/runs/r/points/a/report.json").unwrap();
        fs::write(&file, b"1").unwrap();
        spool.store_file(&store, "s/p/runs/r/points/a/report.json", JSON).await.unwrap();
        assert!(!file.exists());
        drop(spool);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0, "nothing stays of a good run");

        let mut spool = Spool::create(Some(base.path())).unwrap();
        fs::write(spool.file("s/p/runs/r/points/a/report.json").unwrap(), b"2").unwrap();
        let kept = spool.store_file(&store, "s/p/runs/r/points/a/report.json", JSON).await.unwrap_err();
        assert!(kept.to_string().contains(kept.root.to_str().unwrap()), "{kept}");
        let kept = spool.store_bytes(&store, "s/p/runs/r/points/a/report.json", "3".into(), JSON).await.unwrap_err();
        drop(spool);
        assert_eq!(fs::read(&kept.file).unwrap(), b"3");
        assert_eq!(kept.file, kept.root.join("s/p/runs/r/points/a/report.json"));

        let env = BTreeMap::new();
        let as_store = Store::open_read_only(kept.root.to_str().unwrap(), &env).await.unwrap();
        assert_eq!(as_store.get("s/p/runs/r/points/a/report.json").await.unwrap().unwrap(), "3");
    }

    #[test]
    fn a_path_cannot_leave_the_spool() {
        let base = tempfile::tempdir().unwrap();
        let spool = Spool::create(Some(base.path())).unwrap();
        for path in ["", "../x", "/etc/x", "a//b", "a/../../b"] {
            assert!(matches!(spool.file(path), Err(StoreError::Path { .. })), "{path}");
        }
    }
}
