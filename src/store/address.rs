//! Where a store is: a directory, a bucket, or memory.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use super::StoreError;

/// A parsed store address. Never holds a credential: an address with one is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A directory, as it was written (relative ones stay relative in messages).
    Directory { path: PathBuf },
    /// Objects that live as long as the handle, for tests.
    Memory,
    /// A bucket or container and a prefix inside it, without slashes at its ends.
    Bucket { cloud: Cloud, bucket: String, account: Option<String>, prefix: String },
}

/// The three kinds of buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cloud {
    S3,
    Gcs,
    Azure,
}

impl Cloud {
    /// The scheme of its addresses.
    pub(super) fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }

    /// What its users call the thing that holds objects.
    pub(super) fn container_word(self) -> &'static str {
        match self {
            Self::S3 | Self::Gcs => "bucket",
            Self::Azure => "container",
        }
    }

    /// What the names of its environment variables begin with.
    pub(super) fn env_prefix(self) -> &'static str {
        match self {
            Self::S3 => "AWS_",
            Self::Gcs => "GOOGLE_",
            Self::Azure => "AZURE_",
        }
    }
}

impl Address {
    /// Parses a directory path or one of the schemes `file`, `s3`, `gs`, `az`, `memory`.
    ///
    /// # Errors
    /// [`StoreError::Address`], which never repeats userinfo or a query.
    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        if text.trim().is_empty() {
            return Err(refused("", "is empty; give a directory or an address such as `gs://bucket/prefix`"));
        }
        let Some((scheme, _)) = text.split_once("://") else {
            return Ok(Self::Directory { path: PathBuf::from(text) });
        };
        let shown = redact(text);
        let url = Url::parse(text).map_err(|error| refused(&shown, &format!("cannot be parsed: {error}")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused(
                &shown,
                "has a query or a fragment; credentials and options are given as environment variables",
            ));
        }
        if url.password().is_some() {
            return Err(refused(&shown, "holds a password; credentials are given as environment variables"));
        }
        match scheme {
            "file" => Self::parse_file(&url, &shown),
            "memory" => Ok(Self::Memory),
            "s3" | "s3a" => Self::parse_bucket(Cloud::S3, &url, &shown),
            "gs" => Self::parse_bucket(Cloud::Gcs, &url, &shown),
            "az" | "azure" | "abfs" | "abfss" => Self::parse_bucket(Cloud::Azure, &url, &shown),
            _ => Err(refused(
                &shown,
                &format!("has the unknown scheme `{scheme}`; use a directory, `file://`, `s3://`, `gs://` or `az://`"),
            )),
        }
    }

    fn parse_file(url: &Url, shown: &str) -> Result<Self, StoreError> {
        let path = url
            .to_file_path()
            .map_err(|()| refused(shown, "is not a local file address; write `file:///absolute/path`"))?;
        Ok(Self::Directory { path })
    }

    fn parse_bucket(cloud: Cloud, url: &Url, shown: &str) -> Result<Self, StoreError> {
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() {
            let scheme = cloud.scheme();
            let word = cloud.container_word();
            return Err(refused(shown, &format!("names no {word}; write `{scheme}://{word}/prefix`")));
        }
        if url.port().is_some() {
            return Err(refused(shown, "has a port; an endpoint is given as an environment variable"));
        }
        // `az://container@account/prefix` is the only form in which something stands before the host.
        let (bucket, account) = match (cloud, url.username()) {
            (_, "") => (host.to_string(), None),
            (Cloud::Azure, container) => {
                (container.to_string(), Some(host.split('.').next().unwrap_or(host).to_string()))
            }
            _ => return Err(refused(shown, "holds a user name; credentials are given as environment variables")),
        };
        let path = object_store::path::Path::from_url_path(url.path())
            .map_err(|_| refused(shown, "has a prefix with empty, `.` or `..` parts"))?;
        Ok(Self::Bucket { cloud, bucket, account, prefix: path.to_string() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path } => {
                let text = path.display().to_string();
                let trimmed = text.trim_end_matches('/');
                f.write_str(if trimmed.is_empty() { "/" } else { trimmed })
            }
            Self::Memory => f.write_str("memory://"),
            Self::Bucket { cloud, bucket, account, prefix } => {
                let scheme = cloud.scheme();
                match account {
                    Some(account) => write!(f, "{scheme}://{bucket}@{account}")?,
                    None => write!(f, "{scheme}://{bucket}")?,
                }
                if prefix.is_empty() { Ok(()) } else { write!(f, "/{prefix}") }
            }
        }
    }
}

fn refused(shown: &str, reason: &str) -> StoreError {
    StoreError::Address { address: shown.to_string(), reason: reason.to_string() }
}

/// The address without userinfo, query and fragment, where credentials stand when people put them there.
fn redact(text: &str) -> String {
    let cut = text.find(['?', '#']).map_or(text, |at| &text[..at]);
    let Some((scheme, rest)) = cut.split_once("://") else { return cut.to_string() };
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(a, p)| (a, p));
    let host = match authority.rsplit_once('@') {
        Some((user, host)) if scheme.starts_with("az") && !user.contains(':') => format!("{user}@{host}"),
        Some((_, host)) => format!("…@{host}"),
        None => authority.to_string(),
    };
    if path.is_empty() { format!("{scheme}://{host}") } else { format!("{scheme}://{host}/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_as_written() {
        for (text, shown) in [
            ("reports", "reports"),
            ("./reports/", "./reports"),
            ("/", "/"),
            ("file:///var/lib/bench/", "/var/lib/bench"),
            ("s3://b", "s3://b"),
            ("s3a://b/a/c/", "s3://b/a/c"),
            ("gs://b/nightly%20runs", "gs://b/nightly runs"),
            ("az://c/p", "az://c/p"),
            ("abfss://c@acct.dfs.core.windows.net/p", "az://c@acct/p"),
            ("memory://", "memory://"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn bad_addresses_say_why_and_repeat_no_secret() {
        for (text, reason) in [
            ("", "empty"),
            ("s3://", "names no bucket"),
            ("az:///x", "names no container"),
            ("ftp://host/x", "unknown scheme `ftp`"),
            ("s3://AKIDCANARY:hunter2CANARY@bucket/x", "password"),
            ("gs://hunter2CANARY@bucket/x", "user name"),
            ("az://c/p?sig=hunter2CANARY", "query"),
            ("az://c:hunter2CANARY@acct/p", "password"),
            ("s3://bucket:9000/x", "port"),
            ("file://host/x", "local file"),
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("CANARY"), "{error}");
        }
    }
}
