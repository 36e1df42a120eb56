//! Environment variables to client options: taken from the map that is passed in, checked by name.
//!
//! The client library drops names it does not know without a word, so a misspelt `AWS_ENDPONT` would
//! send a run to the wrong server. Here a near miss is an error and the rest is listed.

use std::collections::BTreeMap;
use std::time::Duration;

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;

use super::StoreError;
use super::address::Cloud;

/// The variable that bounds retries, for tests and for impatient people.
pub(super) const RETRY_TIMEOUT_KEY: &str = "BENCH_STORE_RETRY_TIMEOUT";

/// How long and how often a failing operation is tried again.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For opening, where a person waits. The default is 20 s.
    pub open: Duration,
    /// For each operation afterwards, where a measurement would be lost. The default is 3 min.
    pub retry: Duration,
    /// The first pause; doubled each time, with jitter. The default is 100 ms.
    pub first_backoff: Duration,
    /// The longest pause. The default is 10 s.
    pub max_backoff: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open: Duration::from_secs(20),
            retry: Duration::from_secs(180),
            first_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
        }
    }
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Bounds of retries.
    pub limits: Limits,
    /// Files up to this size go to a bucket in one conditional request (held in memory); longer ones in
    /// parts. The default is 32 MiB.
    pub single_put_max_bytes: u64,
    /// Size of a part. Buckets ask for at least 5 MiB; the default is 8 MiB.
    pub part_bytes: usize,
    /// Whether objects will be created: a directory is then checked for being writable.
    pub writable: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            single_put_max_bytes: 32 * 1024 * 1024,
            part_bytes: 8 * 1024 * 1024,
            writable: true,
        }
    }
}

impl StoreOptions {
    /// The defaults with what `env` says: `BENCH_STORE_RETRY_TIMEOUT`, a duration such as `30s`.
    ///
    /// # Errors
    /// [`StoreError::Option`] if it is no duration.
    pub fn from_env(env: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        let mut options = Self::default();
        if let Some(text) = env.get(RETRY_TIMEOUT_KEY).filter(|text| !text.is_empty()) {
            let retry = humantime::parse_duration(text).map_err(|error| StoreError::Option {
                key: RETRY_TIMEOUT_KEY.to_string(),
                reason: format!("is not a duration such as `30s`: {error}"),
            })?;
            options.limits.retry = retry;
            options.limits.open = options.limits.open.min(retry);
        }
        Ok(options)
    }
}

/// Variables of other programs that share a prefix with ours and are rightly ignored.
const FOREIGN: [&str; 16] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_PAGER",
    "AWS_DEFAULT_OUTPUT",
    "AWS_CA_BUNDLE",
    "AWS_EXECUTION_ENV",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_RETRY_MODE",
    "AWS_MAX_ATTEMPTS",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_API_KEY",
    "GOOGLE_CLOUD_REGION",
    "AZURE_CONFIG_DIR",
    "AZURE_SUBSCRIPTION_ID",
];

/// The names that are documented; what a misspelling is compared with.
const DOCUMENTED: [&str; 33] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ALLOW_HTTP",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_SKIP_SIGNATURE",
    "AWS_CONDITIONAL_PUT",
    "AWS_TIMEOUT",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_BASE_URL",
    "GOOGLE_ALLOW_HTTP",
    "GOOGLE_TIMEOUT",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_ENDPOINT",
    "AZURE_ALLOW_HTTP",
    "AZURE_TIMEOUT",
];

/// A name the client library knows, as it is passed to its builder.
pub(super) trait ConfigKey: Sized {
    /// `None` for a name that is not an option.
    fn from_name(name: &str) -> Option<Self>;
}

macro_rules! config_key {
    ($($key:ty),*) => {$(
        impl ConfigKey for $key {
            fn from_name(name: &str) -> Option<Self> {
                name.to_ascii_lowercase().parse().ok()
            }
        }
    )*};
}
config_key!(AmazonS3ConfigKey, GoogleConfigKey, AzureConfigKey);

/// What the environment says about one cloud.
pub(super) struct CloudOptions<K> {
    /// Keys and values, in the order of their names.
    pub(super) values: Vec<(K, String)>,
    /// Names of the variables that are used.
    pub(super) used: Vec<String>,
    /// Names with the cloud's prefix that mean nothing here.
    pub(super) ignored: Vec<String>,
}

/// Picks the options of `cloud` out of `env`. Empty values count as unset, as manifests leave them.
///
/// # Errors
/// [`StoreError::Option`] for a near miss of a documented name, and for `AWS_CONDITIONAL_PUT` when it
/// would switch off what create-once rests on.
pub(super) fn for_cloud<K: ConfigKey>(
    cloud: Cloud,
    env: &BTreeMap<String, String>,
) -> Result<CloudOptions<K>, StoreError> {
    let mut options = CloudOptions { values: Vec::new(), used: Vec::new(), ignored: Vec::new() };
    let ours = env.iter().filter(|(name, value)| name.starts_with(cloud.env_prefix()) && !value.is_empty());
    for (name, value) in ours {
        if name == "AWS_CONDITIONAL_PUT" && value != "etag" {
            return Err(StoreError::Option {
                key: name.clone(),
                reason: "must be `etag` or unset: objects are created once, by conditional requests".to_string(),
            });
        }
        if let Some(key) = K::from_name(name) {
            options.values.push((key, value.clone()));
            options.used.push(name.clone());
        } else if let Some(meant) = near_miss(name) {
            return Err(StoreError::Option {
                key: name.clone(),
                reason: format!("is not an option of a store: did you mean `{meant}`?"),
            });
        } else {
            options.ignored.push(name.clone());
        }
    }
    Ok(options)
}

fn near_miss(name: &str) -> Option<&'static str> {
    if FOREIGN.contains(&name) {
        return None;
    }
    DOCUMENTED.into_iter().find(|known| strsim::damerau_levenshtein(known, name) <= 2)
}

/// Variables that say which server is asked, the more specific first.
const ENDPOINTS: [&str; 6] = [
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "GOOGLE_BASE_URL",
    "AZURE_ENDPOINT",
    "AZURE_STORAGE_ENDPOINT",
];

/// Host and port of the server that is asked, for messages.
pub(super) fn endpoint(cloud: Cloud, env: &BTreeMap<String, String>, account: Option<&str>) -> String {
    let configured = ENDPOINTS
        .into_iter()
        .filter(|key| key.starts_with(cloud.env_prefix()))
        .filter_map(|key| url::Url::parse(env.get(key)?).ok())
        .find_map(|url| Some((url.host_str()?.to_string(), url.port())));
    if let Some((host, port)) = configured {
        return port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    }
    match cloud {
        Cloud::S3 => {
            let region = env.get("AWS_REGION").or_else(|| env.get("AWS_DEFAULT_REGION"));
            format!("s3.{}.amazonaws.com", region.map_or("us-east-1", String::as_str))
        }
        Cloud::Gcs => "storage.googleapis.com".to_string(),
        Cloud::Azure => {
            let account = account.or_else(|| env.get("AZURE_STORAGE_ACCOUNT_NAME").map(String::as_str));
            format!("{}.blob.core.windows.net", account.unwrap_or("ACCOUNT"))
        }
    }
}

/// Refuses a plain-HTTP endpoint that was not allowed, before the first request fails without a reason.
///
/// # Errors
/// [`StoreError::Option`] naming the variable that allows it.
pub(super) fn check_plain_http(cloud: Cloud, env: &BTreeMap<String, String>) -> Result<(), StoreError> {
    let allow = format!("{}ALLOW_HTTP", cloud.env_prefix());
    let allowed =
        env.get(&allow).is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on"));
    for key in ENDPOINTS.into_iter().filter(|key| key.starts_with(cloud.env_prefix())) {
        let Some(value) = env.get(key) else { continue };
        if value.starts_with("http://") && !allowed {
            return Err(StoreError::Option {
                key: key.to_string(),
                reason: format!(
                    "is a plain `http://` endpoint: use `https://`, or set `{allow}=true` for a test server"
                ),
            });
        }
        let has_userinfo =
            url::Url::parse(value).is_ok_and(|url| !url.username().is_empty() || url.password().is_some());
        if has_userinfo {
            return Err(StoreError::Option {
                key: key.to_string(),
                reason: "holds a user name or a password: give credentials in their own variables".to_string(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect()
    }

    #[test]
    fn every_documented_name_is_one_the_library_knows() {
        for name in DOCUMENTED {
            let known = AmazonS3ConfigKey::from_name(name).is_some()
                || GoogleConfigKey::from_name(name).is_some()
                || AzureConfigKey::from_name(name).is_some();
            assert!(known, "{name}");
        }
    }

    #[test]
    fn misspelt_names_are_errors_and_foreign_ones_are_listed() {
        let found = for_cloud::<AmazonS3ConfigKey>(
            Cloud::S3,
            &env(&[("AWS_REGION", "eu-west-1"), ("AWS_PROFILE", "p"), ("AWS_SESSION_TOKEN", ""), ("GOOGLE_X", "y")]),
        )
        .unwrap();
        assert_eq!(found.used, ["AWS_REGION"]);
        assert_eq!(found.ignored, ["AWS_PROFILE"]);

        let error = for_cloud::<AmazonS3ConfigKey>(Cloud::S3, &env(&[("AWS_ENDPONT", "http://canary")])).err().unwrap();
        assert_eq!(error.to_string(), "`AWS_ENDPONT` is not an option of a store: did you mean `AWS_ENDPOINT`?");
    }

    #[test]
    fn conditional_requests_cannot_be_switched_off() {
        let error =
            for_cloud::<AmazonS3ConfigKey>(Cloud::S3, &env(&[("AWS_CONDITIONAL_PUT", "disabled")])).err().unwrap();
        assert!(error.to_string().contains("must be `etag`"), "{error}");
        assert!(for_cloud::<AmazonS3ConfigKey>(Cloud::S3, &env(&[("AWS_CONDITIONAL_PUT", "etag")])).is_ok());
    }

    #[test]
    fn plain_http_must_be_allowed_and_endpoints_hold_no_password() {
        let plain = [("AWS_ENDPOINT", "http://127.0.0.1:1")];
        let error = check_plain_http(Cloud::S3, &env(&plain)).unwrap_err();
        assert!(error.to_string().contains("AWS_ALLOW_HTTP=true"), "{error}");
        assert!(check_plain_http(Cloud::Gcs, &env(&plain)).is_ok(), "another cloud's endpoint");
        assert!(check_plain_http(Cloud::S3, &env(&[plain[0], ("AWS_ALLOW_HTTP", "true")])).is_ok());
        let error = check_plain_http(Cloud::Gcs, &env(&[("GOOGLE_BASE_URL", "https://u:CANARY@h")])).unwrap_err();
        assert!(error.to_string().contains("password") && !error.to_string().contains("CANARY"), "{error}");
    }

    #[test]
    fn the_retry_bound_comes_from_the_environment() {
        let options = StoreOptions::from_env(&env(&[(RETRY_TIMEOUT_KEY, "2s")])).unwrap();
        assert_eq!((options.limits.retry, options.limits.open), (Duration::from_secs(2), Duration::from_secs(2)));
        assert!(StoreOptions::from_env(&env(&[(RETRY_TIMEOUT_KEY, "soon")])).is_err());
    }
}
