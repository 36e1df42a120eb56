//! Creating objects once.

use std::path::Path as FilePath;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attribute, Attributes, Error as Raw, PutMode, PutOptions};
use tokio::time::Instant;

use super::address::Address;
use super::open::{Inner, Store};
use super::retry::more_telling;
use super::{Action, StoreError, local};

/// How an object came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// This call created it.
    New,
    /// It was there with the same content: stored by an earlier attempt of this call whose acknowledgement
    /// was lost, by an earlier process, or by another one now.
    AlreadyThere,
}

/// Outcome of one conditional request.
enum Put {
    New,
    Exists,
}

impl Store {
    /// Creates `path` with `bytes`, unless it exists. Retried within the store's limits; if the object is
    /// there after all, it is read back and compared.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if it exists with other content; other kinds after retries.
    pub async fn create(&self, path: &str, bytes: Bytes, content_type: &str) -> Result<Created, StoreError> {
        let inner = &self.inner;
        let full = inner.full(path)?;
        let location = self.location(path);
        let deadline = Instant::now() + inner.options.limits.retry;
        let mut backoff = inner.backoff();
        let mut attempts = 0;
        let mut last = None;
        loop {
            attempts += 1;
            let put = inner.put_once(&full, bytes.clone(), content_type);
            let error = match inner.attempt(Action::Create, &location, deadline, put).await {
                Ok(Put::New) => return Ok(Created::New),
                Ok(Put::Exists) => match self.settle(path, &bytes).await? {
                    Some(created) => return Ok(created),
                    // S3 and Azure also say so while another writer is still at it.
                    None => inner.unavailable("the object was said to exist and does not"),
                },
                Err(error) => more_telling(last.take(), error, deadline),
            };
            let pause = backoff.pause();
            if error.is_transient() && Instant::now() + pause < deadline {
                last = Some(error);
                tokio::time::sleep(pause).await;
                continue;
            }
            // The last attempt may have been stored without an acknowledgement; and rights without
            // deletion make some servers answer 403 where an object exists.
            if error.is_transient() || matches!(error, StoreError::PermissionDenied { .. }) {
                match self.settle(path, &bytes).await {
                    Ok(Some(created)) => return Ok(created),
                    Err(conflict @ StoreError::Conflict { .. }) => return Err(conflict),
                    Ok(None) | Err(_) => {}
                }
            }
            return Err(error.with_attempts(attempts));
        }
    }

    /// Creates `path` with the content of `file`, unless it exists. Memory use does not grow with the file.
    ///
    /// In a directory, and in a bucket up to 32 MiB, this is as strict as [`Store::create`]. Longer files go
    /// to a bucket in parts, which no client library can make conditional: existence is checked before the
    /// first and before the last request, and the stored object is compared afterwards, so that only two
    /// writers of one run that finish the same object within one round trip can both succeed, with one
    /// object, whole, of either.
    ///
    /// # Errors
    /// As [`Store::create`]; [`StoreError::Io`] if `file` cannot be read.
    pub async fn create_from_file(
        &self,
        path: &str,
        file: &FilePath,
        content_type: &str,
    ) -> Result<Created, StoreError> {
        let inner = &self.inner;
        let full = inner.full(path)?;
        let io_error = |source| StoreError::Io { action: Action::Read, location: file.display().to_string(), source };
        let size = tokio::fs::metadata(file).await.map_err(io_error)?.len();
        if let Address::Directory { .. } = inner.address {
            return inner.link_from_file(&full, &self.location(path), file).await;
        }
        if size <= inner.options.single_put_max_bytes {
            let bytes = tokio::fs::read(file).await.map_err(io_error)?;
            return self.create(path, bytes.into(), content_type).await;
        }
        inner.create_in_parts(&full, &self.location(path), file, size, content_type).await
    }

    /// Checks on an object that was just created with `bytes` that the store refuses to create it again.
    /// A server that accepts it ignores conditions; writing the same bytes destroyed nothing.
    ///
    /// # Errors
    /// [`StoreError::ConditionsIgnored`]; other kinds after retries.
    pub async fn ensure_conditional(&self, path: &str, bytes: Bytes, content_type: &str) -> Result<(), StoreError> {
        let inner = &self.inner;
        let full = inner.full(path)?;
        let location = self.location(path);
        let budget = inner.options.limits.retry;
        let put = || inner.put_once(&full, bytes.clone(), content_type);
        match inner.retrying(Action::Create, &location, budget, put).await {
            // The same credentials created it, so a 403 says that they may not replace it: as good.
            Ok(Put::Exists) | Err(StoreError::PermissionDenied { .. }) => Ok(()),
            Ok(Put::New) => Err(StoreError::ConditionsIgnored { store: self.describe(), location }),
            Err(error) => Err(error),
        }
    }

    /// Whether the object is there with these bytes; `None` if it is not there.
    async fn settle(&self, path: &str, bytes: &Bytes) -> Result<Option<Created>, StoreError> {
        match self.get(path).await? {
            Some(found) if found == bytes => Ok(Some(Created::AlreadyThere)),
            Some(_) => Err(StoreError::Conflict { location: self.location(path) }),
            None => Ok(None),
        }
    }
}

impl Inner {
    /// One conditional request.
    async fn put_once(&self, full: &Path, bytes: Bytes, content_type: &str) -> Result<Put, Raw> {
        let options =
            PutOptions { mode: PutMode::Create, attributes: self.attributes(content_type), ..Default::default() };
        match self.objects.put_opts(full, bytes.into(), options).await {
            Ok(_) => Ok(Put::New),
            Err(Raw::AlreadyExists { .. }) => Ok(Put::Exists),
            Err(error) => Err(error),
        }
    }

    /// Attributes of a new object; a directory has none.
    pub(super) fn attributes(&self, content_type: &str) -> Attributes {
        match self.address {
            Address::Directory { .. } => Attributes::new(),
            _ => Attributes::from_iter([(Attribute::ContentType, content_type.to_string())]),
        }
    }

    pub(super) fn unavailable(&self, answer: &str) -> StoreError {
        StoreError::Unavailable { store: self.address.to_string(), answer: answer.to_string(), attempts: 1 }
    }

    async fn link_from_file(&self, full: &Path, location: &str, file: &FilePath) -> Result<Created, StoreError> {
        let source = file.to_path_buf();
        let target = FilePath::new("/").join(full.as_ref());
        let linked = {
            let (source, target) = (source.clone(), target.clone());
            run_blocking(move || local::create_from_file(&source, &target)).await
        };
        match linked {
            Ok(()) => Ok(Created::New),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                match run_blocking(move || local::same_content(&source, &target)).await {
                    Ok(true) => Ok(Created::AlreadyThere),
                    Ok(false) => Err(StoreError::Conflict { location: location.to_string() }),
                    Err(error) => Err(self.local_error(Action::Read, location, error)),
                }
            }
            Err(error) => Err(self.local_error(Action::Create, location, error)),
        }
    }
}

/// Runs file work off the runtime's threads.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
