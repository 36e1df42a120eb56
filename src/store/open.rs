//! Opening: address and environment in, a probed store out.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};

use super::address::{Address, Cloud};
use super::options::{self, CloudOptions, StoreOptions};
use super::retry::quoted;
use super::wire::ObservedConnector;
use super::{Action, StoreError, local};

/// Time for one request, its body included, unless `AWS_TIMEOUT` (`GOOGLE_`, `AZURE_`) says otherwise:
/// 32 MiB in two minutes need 2.2 Mbit/s.
const REQUEST_TIMEOUT: &str = "120s";
/// Where reading is probed; never created.
const PROBE: &str = "bench-probe";

/// A directory or a bucket, opened and probed. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) address: Address,
    pub(super) objects: Arc<dyn ObjectStore>,
    /// Upload in parts; a directory needs none.
    pub(super) multipart: Option<Arc<dyn MultipartStore>>,
    /// What stands before every path.
    pub(super) base: Path,
    /// Host and port of a bucket's server, for messages.
    pub(super) endpoint: String,
    pub(super) options: StoreOptions,
    pub(super) used_options: Vec<String>,
    pub(super) ignored_options: Vec<String>,
}

impl Store {
    /// Opens a store to write runs into and checks that it can be listed and read; a directory also that
    /// it can be written (it is created with the first object). `url` is a directory, or an address with
    /// `file://`, `s3://`, `gs://`, `az://` or, for tests, `memory://`. Credentials and options are taken
    /// from `env` (`AWS_*`, `GOOGLE_*`, `AZURE_*`), and `BENCH_STORE_RETRY_TIMEOUT`.
    ///
    /// # Errors
    /// One kind of [`StoreError`] for each cause.
    pub async fn open(url: &str, env: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        Self::open_with(url, env, StoreOptions::from_env(env)?).await
    }

    /// As [`Store::open`], to read only: a directory need not be writable, nor exist.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_read_only(url: &str, env: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        let options = StoreOptions { writable: false, ..StoreOptions::from_env(env)? };
        Self::open_with(url, env, options).await
    }

    /// As [`Store::open`], with the options given.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(
        url: &str,
        env: &BTreeMap<String, String>,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let address = Address::parse(url)?;
        let inner = match &address {
            Address::Directory { path } => {
                let resolved = local::resolve(path, &address)?;
                if options.writable {
                    local::check_writable(&resolved, &address)?;
                }
                let base = Path::from_absolute_path(&resolved)
                    .map_err(|_| StoreError::Path { path: path.display().to_string() })?;
                // fsync: a point that was reported as stored survives a power failure as well as a kill.
                let objects = Arc::new(LocalFileSystem::new().with_fsync(true));
                Inner { base, ..Inner::new(address, objects, None, options) }
            }
            Address::Memory => {
                let memory = Arc::new(InMemory::new());
                Inner::new(address, memory.clone(), Some(memory), options)
            }
            Address::Bucket { .. } => {
                crate::crypto::install();
                Inner::bucket(address, env, options)?
            }
        };
        let store = Self { inner: Arc::new(inner) };
        store.probe().await?;
        Ok(store)
    }

    /// Listing and reading must work before the first request of a measurement is sent.
    async fn probe(&self) -> Result<(), StoreError> {
        let budget = self.inner.options.limits.open;
        self.inner
            .retrying(Action::List, &self.describe(), budget, || {
                self.inner.objects.list_with_delimiter(Some(&self.inner.base))
            })
            .await?;
        self.get_within(PROBE, budget).await?;
        Ok(())
    }

    /// The address without credentials, as in `reports` or `s3://bucket/prefix`.
    pub fn describe(&self) -> String {
        self.inner.address.to_string()
    }

    /// The address of one object, for messages and for the last line of `apply`.
    pub fn location(&self, path: &str) -> String {
        self.inner.location(path)
    }

    /// Variables with the prefix of this store's cloud that mean nothing here, to be told to the user.
    pub fn ignored_options(&self) -> &[String] {
        &self.inner.ignored_options
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client's own Debug may hold credentials.
        write!(f, "Store({})", self.inner.address)
    }
}

impl Inner {
    fn new(
        address: Address,
        objects: Arc<dyn ObjectStore>,
        multipart: Option<Arc<dyn MultipartStore>>,
        options: StoreOptions,
    ) -> Self {
        Self {
            address,
            objects,
            multipart,
            base: Path::default(),
            endpoint: String::new(),
            options,
            used_options: Vec::new(),
            ignored_options: Vec::new(),
        }
    }

    /// The address of one object.
    pub(super) fn location(&self, path: &str) -> String {
        let store = self.address.to_string();
        if store.ends_with('/') { format!("{store}{path}") } else { format!("{store}/{path}") }
    }

    /// `path` below the base.
    pub(super) fn full(&self, path: &str) -> Result<Path, StoreError> {
        let invalid = || StoreError::Path { path: path.to_string() };
        let relative = Path::parse(path).map_err(|_| invalid())?;
        if relative.as_ref().is_empty() || relative.as_ref() != path {
            return Err(invalid());
        }
        Ok(self.below_base(&relative))
    }

    /// `prefix` below the base; empty is the base itself.
    pub(super) fn full_prefix(&self, prefix: &str) -> Result<Path, StoreError> {
        let prefix = prefix.trim_end_matches('/');
        if prefix.is_empty() { Ok(self.base.clone()) } else { self.full(prefix) }
    }

    fn below_base(&self, relative: &Path) -> Path {
        self.base.parts().chain(relative.parts()).collect()
    }

    fn bucket(address: Address, env: &BTreeMap<String, String>, options: StoreOptions) -> Result<Self, StoreError> {
        let Address::Bucket { cloud, bucket, account, .. } = &address else {
            unreachable!("only called for buckets");
        };
        options::check_plain_http(*cloud, env)?;
        let built = match cloud {
            Cloud::S3 => build_s3(bucket, env, &options),
            Cloud::Gcs => build_gcs(bucket, env, &options),
            Cloud::Azure => build_azure(bucket, account.as_deref(), env, &options),
        }?;
        let (objects, multipart) = built.clients.ok_or_else(|| unbuildable(&address, &built.used))?;
        let base = address.base();
        let endpoint = options::endpoint(*cloud, env, account.as_deref());
        Ok(Self {
            base,
            endpoint,
            used_options: built.used,
            ignored_options: built.ignored,
            ..Self::new(address, objects, Some(multipart), options)
        })
    }
}

/// A client of one cloud.
struct Built {
    /// `None` if the options do not make one. The library's reason may quote a value, so it is dropped.
    clients: Option<(Arc<dyn ObjectStore>, Arc<dyn MultipartStore>)>,
    used: Vec<String>,
    ignored: Vec<String>,
}

impl Built {
    fn new<T: ObjectStore + MultipartStore>(
        built: object_store::Result<T>,
        used: Vec<String>,
        ignored: Vec<String>,
    ) -> Self {
        let clients = built.ok().map(Arc::new).map(|client| (client.clone() as Arc<dyn ObjectStore>, client as _));
        Self { clients, used, ignored }
    }
}

fn observed(cloud: Cloud, bucket: &str, account: Option<&str>, env: &BTreeMap<String, String>) -> ObservedConnector {
    ObservedConnector { bucket: bucket.to_string(), endpoint: options::endpoint(cloud, env, account) }
}

fn build_s3(bucket: &str, env: &BTreeMap<String, String>, options: &StoreOptions) -> Result<Built, StoreError> {
    let CloudOptions { values, used, ignored } = options::for_cloud(Cloud::S3, env)?;
    let start = AmazonS3Builder::new()
        .with_retry(inner_retry(options))
        .with_http_connector(observed(Cloud::S3, bucket, None, env))
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT);
    let builder = values.into_iter().fold(start, |builder, (key, value)| builder.with_config(key, value));
    // The address decides, whatever `AWS_BUCKET` says.
    Ok(Built::new(builder.with_bucket_name(bucket).build(), used, ignored))
}

fn build_gcs(bucket: &str, env: &BTreeMap<String, String>, options: &StoreOptions) -> Result<Built, StoreError> {
    let CloudOptions { values, used, ignored } = options::for_cloud(Cloud::Gcs, env)?;
    let start = GoogleCloudStorageBuilder::new()
        .with_retry(inner_retry(options))
        .with_http_connector(observed(Cloud::Gcs, bucket, None, env))
        .with_config(GoogleConfigKey::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT);
    let builder = values.into_iter().fold(start, |builder, (key, value)| builder.with_config(key, value));
    Ok(Built::new(builder.with_bucket_name(bucket).build(), used, ignored))
}

fn build_azure(
    container: &str,
    account: Option<&str>,
    env: &BTreeMap<String, String>,
    options: &StoreOptions,
) -> Result<Built, StoreError> {
    let CloudOptions { values, used, ignored } = options::for_cloud(Cloud::Azure, env)?;
    let start = MicrosoftAzureBuilder::new()
        .with_retry(inner_retry(options))
        .with_http_connector(observed(Cloud::Azure, container, account, env))
        .with_config(AzureConfigKey::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT);
    let mut builder = values.into_iter().fold(start, |builder, (key, value)| builder.with_config(key, value));
    if let Some(account) = account {
        builder = builder.with_account(account);
    }
    Ok(Built::new(builder.with_container_name(container).build(), used, ignored))
}

impl Address {
    fn base(&self) -> Path {
        match self {
            // The prefix was printed from a `Path`, so it parses.
            Self::Bucket { prefix, .. } => Path::parse(prefix).unwrap_or_default(),
            _ => Path::default(),
        }
    }
}

/// A few quick repeats below our own loop, so that one failed page does not list everything again.
fn inner_retry(options: &StoreOptions) -> RetryConfig {
    let limits = &options.limits;
    RetryConfig {
        backoff: BackoffConfig { init_backoff: limits.first_backoff, max_backoff: limits.max_backoff, base: 2.0 },
        max_retries: 2,
        retry_timeout: limits.retry.min(std::time::Duration::from_secs(10)),
    }
}

/// The builder's own text may quote a value, so only names are shown.
fn unbuildable(address: &Address, used: &[String]) -> StoreError {
    let store = address.to_string();
    match address {
        Address::Bucket { cloud: Cloud::Azure, account: None, .. }
            if !used.iter().any(|name| name.ends_with("ACCOUNT_NAME") || name.ends_with("USE_EMULATOR")) =>
        {
            StoreError::NoCredentials {
                store,
                reason: "the storage account is not known".to_string(),
                hint: "set `AZURE_STORAGE_ACCOUNT_NAME`".to_string(),
            }
        }
        _ => StoreError::NoCredentials {
            store,
            reason: "the options in the environment cannot be used".to_string(),
            hint: if used.is_empty() {
                "set the options of the store".to_string()
            } else {
                format!("check the values (files, JSON, keys, pairs that belong together) of {}", quoted(used))
            },
        },
    }
}
