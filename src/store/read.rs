//! Reading and listing.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::open::{Inner, Store};
use super::{Action, StoreError};

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Path below the store's address.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was stored, by the server's clock (buckets round to seconds or milliseconds).
    pub modified: Timestamp,
}

impl Store {
    /// The object at `path`, or `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError`], after retries within the store's limits.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        self.get_within(path, self.inner.options.limits.retry).await
    }

    pub(super) async fn get_within(&self, path: &str, budget: Duration) -> Result<Option<Bytes>, StoreError> {
        let inner = &self.inner;
        let full = inner.full(path)?;
        let read = || async { inner.objects.get(&full).await?.bytes().await };
        absent_as_none(inner.retrying(Action::Read, &self.location(path), budget, read).await)
    }

    /// Every object below `prefix` (all for an empty one), sorted by path. One listing.
    ///
    /// # Errors
    /// [`StoreError`], after retries within the store's limits.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let inner = &self.inner;
        let full = inner.full_prefix(prefix)?;
        let list = || inner.objects.list(Some(&full)).try_collect::<Vec<ObjectMeta>>();
        let budget = inner.options.limits.retry;
        let listed = inner.retrying(Action::List, &self.location(prefix), budget, list).await?;
        let mut objects: Vec<_> = listed.into_iter().filter_map(|meta| inner.info(meta)).collect();
        objects.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(objects)
    }

    /// The names directly below `prefix` that have something below them, sorted. In a directory also
    /// folders that are empty.
    ///
    /// # Errors
    /// [`StoreError`], after retries within the store's limits.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let inner = &self.inner;
        let full = inner.full_prefix(prefix)?;
        let budget = inner.options.limits.retry;
        let list = || inner.objects.list_with_delimiter(Some(&full));
        let listed = inner.retrying(Action::List, &self.location(prefix), budget, list).await?;
        let mut names: Vec<_> =
            listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_string)).collect();
        names.sort();
        Ok(names)
    }
}

impl Inner {
    /// Size and tag of an object, `None` if there is none.
    pub(super) async fn head(&self, full: &Path, location: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let budget = self.options.limits.retry;
        absent_as_none(self.retrying(Action::Read, location, budget, || self.objects.head(full)).await)
    }

    /// A range of an object.
    pub(super) async fn range(&self, full: &Path, location: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let budget = self.options.limits.retry;
        self.retrying(Action::Read, location, budget, || self.objects.get_range(full, range.clone())).await
    }

    fn info(&self, meta: ObjectMeta) -> Option<ObjectInfo> {
        let parts: Vec<_> = meta.location.prefix_match(&self.base)?.map(|part| part.as_ref().to_string()).collect();
        let nanoseconds = meta.last_modified.timestamp_nanos_opt()?;
        let modified = Timestamp::from_nanosecond(nanoseconds.into()).ok()?;
        Some(ObjectInfo { path: parts.join("/"), size: meta.size, modified })
    }
}

fn absent_as_none<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Absent { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
