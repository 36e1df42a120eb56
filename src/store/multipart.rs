//! Long files to a bucket, part by part.

use std::path::Path as FilePath;

use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Attributes, MultipartId, PutMultipartOptions, PutResult};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::address::{Address, Cloud};
use super::open::Inner;
use super::{Action, Created, StoreError};

/// The upload of one file.
struct Upload<'a> {
    inner: &'a Inner,
    parts: &'a dyn MultipartStore,
    full: &'a Path,
    location: &'a str,
    file: &'a FilePath,
    size: u64,
}

impl Inner {
    /// Creates `full` from a file of `size` bytes that is too long for one request.
    pub(super) async fn create_in_parts(
        &self,
        full: &Path,
        location: &str,
        file: &FilePath,
        size: u64,
        content_type: &str,
    ) -> Result<Created, StoreError> {
        let Some(parts) = &self.multipart else {
            return Err(StoreError::Unexpected {
                store: self.address.to_string(),
                answer: "no upload in parts".to_string(),
            });
        };
        let upload = Upload { inner: self, parts: parts.as_ref(), full, location, file, size };
        if let Some(created) = upload.settle().await? {
            return Ok(created);
        }
        let id = upload.begin(content_type).await?;
        let done = upload.send_and_complete(&id).await;
        if done.is_err() {
            // Best effort: what stays behind is invisible and falls to the bucket's lifecycle rule.
            let _ = parts.abort_multipart(full, &id).await;
        }
        done
    }
}

impl Upload<'_> {
    async fn begin(&self, content_type: &str) -> Result<MultipartId, StoreError> {
        let begin = || {
            // Blocks of an Azure blob take no attributes; the blob then has the general content type.
            let attributes = match self.inner.address {
                Address::Bucket { cloud: Cloud::Azure, .. } => Attributes::new(),
                _ => self.inner.attributes(content_type),
            };
            self.parts.create_multipart_opts(self.full, PutMultipartOptions { attributes, ..Default::default() })
        };
        let budget = self.inner.options.limits.retry;
        self.inner.retrying(Action::Create, self.location, budget, begin).await
    }

    async fn send_and_complete(&self, id: &MultipartId) -> Result<Created, StoreError> {
        let ids = self.send_parts(id).await?;
        // Somebody may have stored it meanwhile.
        if let Some(created) = self.settle().await? {
            let _ = self.parts.abort_multipart(self.full, id).await;
            return Ok(created);
        }
        let budget = self.inner.options.limits.retry;
        let complete = || self.parts.complete_multipart(self.full, id, ids.clone());
        match self.inner.retrying(Action::Create, self.location, budget, complete).await {
            Ok(stored) => self.confirm(stored).await,
            // The acknowledgement may be lost: the upload is then gone and the object there.
            Err(error) => match self.settle().await {
                Ok(Some(created)) => Ok(created),
                Err(conflict @ StoreError::Conflict { .. }) => Err(conflict),
                Ok(None) | Err(_) => Err(error),
            },
        }
    }

    async fn send_parts(&self, id: &MultipartId) -> Result<Vec<PartId>, StoreError> {
        let mut file = File::open(self.file).await.map_err(|source| self.unreadable(source))?;
        let mut ids = Vec::new();
        let mut left = self.size;
        while left > 0 {
            let length = left.min(self.inner.options.part_bytes as u64);
            let mut part = vec![0; usize::try_from(length).expect("a part fits in memory")];
            file.read_exact(&mut part).await.map_err(|source| self.unreadable(source))?;
            let part = Bytes::from(part);
            let index = ids.len();
            let budget = self.inner.options.limits.retry;
            // The index makes a repeat replace the same part.
            let send = || self.parts.put_part(self.full, id, index, part.clone().into());
            ids.push(self.inner.retrying(Action::Create, self.location, budget, send).await?);
            left -= length;
        }
        Ok(ids)
    }

    /// Compares tags; a different one means another writer, or a server that names tags differently.
    async fn confirm(&self, stored: PutResult) -> Result<Created, StoreError> {
        let head = self.inner.head(self.full, self.location).await?;
        let bare = |tag: Option<String>| tag.map(|tag| tag.trim_matches('"').to_string());
        let same = head.is_some_and(|head| head.size == self.size && bare(head.e_tag) == bare(stored.e_tag));
        if same {
            return Ok(Created::New);
        }
        match self.settle().await? {
            Some(_) => Ok(Created::New),
            None => Err(StoreError::Unexpected {
                store: self.inner.address.to_string(),
                answer: "a completed upload is not there".to_string(),
            }),
        }
    }

    /// Whether the object is there with the content of the file; `None` if it is not there.
    async fn settle(&self) -> Result<Option<Created>, StoreError> {
        let Some(head) = self.inner.head(self.full, self.location).await? else { return Ok(None) };
        let conflict = || StoreError::Conflict { location: self.location.to_string() };
        if head.size != self.size {
            return Err(conflict());
        }
        let mut file = File::open(self.file).await.map_err(|source| self.unreadable(source))?;
        let mut at = 0;
        while at < self.size {
            let end = self.size.min(at + self.inner.options.part_bytes as u64);
            let theirs = self.inner.range(self.full, self.location, at..end).await?;
            let mut ours = vec![0; usize::try_from(end - at).expect("a part fits in memory")];
            file.read_exact(&mut ours).await.map_err(|source| self.unreadable(source))?;
            if theirs != ours {
                return Err(conflict());
            }
            at = end;
        }
        Ok(Some(Created::AlreadyThere))
    }

    fn unreadable(&self, source: std::io::Error) -> StoreError {
        StoreError::Io { action: Action::Read, location: self.file.display().to_string(), source }
    }
}
