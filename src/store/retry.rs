//! One retry loop for every operation, and the reading of its failures.
//!
//! The client library retries too, but not a conditional create after a reset or a timeout, because it
//! cannot know whether the object was stored. We can: a create that finds the object there reads it back
//! and compares. So every operation here may be repeated.

use std::future::Future;
use std::time::Duration;

use object_store::Error as Raw;
use object_store::client::HttpError;
use rand::RngExt;
use tokio::time::Instant;

use super::address::{Address, Cloud};
use super::open::Inner;
use super::wire::{Seen, What, observe, transport_reason};
use super::{Action, StoreError};

/// Error codes that mean that the credentials are wrong, not that they are too weak.
const WRONG_CREDENTIALS: [&str; 15] = [
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "AuthenticationFailed",
    "AuthenticationRequired",
    // Azure's word for a wrong key at some servers, and for network rules at others.
    "AuthorizationFailure",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
    "InvalidToken",
    "InvalidSecurity",
    "ExpiredToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
    "AuthorizationQueryParametersError",
    "UnauthorizedAccess",
    "NotSignedUp",
];

/// Pauses between attempts: doubling from `first`, capped, each drawn between half and all of it so that
/// shards that failed together do not come back together.
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self { next: first, max }
    }

    pub(super) fn pause(&mut self) -> Duration {
        let full = self.next.min(self.max);
        self.next = full.saturating_mul(2);
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

impl Inner {
    /// Tries `operation` until it succeeds, fails for good, or `budget` is used up.
    ///
    /// # Errors
    /// The last failure, with the number of attempts.
    pub(super) async fn retrying<T, F, Fut>(
        &self,
        action: Action,
        location: &str,
        budget: Duration,
        mut operation: F,
    ) -> Result<T, StoreError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, Raw>>,
    {
        let deadline = Instant::now() + budget;
        let mut backoff = self.backoff();
        let mut attempts = 0;
        let mut last = None;
        loop {
            attempts += 1;
            let error = match self.attempt(action, location, deadline, operation()).await {
                Ok(value) => return Ok(value),
                Err(error) => more_telling(last.take(), error, deadline),
            };
            let pause = backoff.pause();
            if !error.is_transient() || Instant::now() + pause >= deadline {
                return Err(error.with_attempts(attempts));
            }
            last = Some(error);
            tokio::time::sleep(pause).await;
        }
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(self.options.limits.first_backoff, self.options.limits.max_backoff)
    }

    /// One attempt, ended at `deadline` even if the server holds the connection open.
    pub(super) async fn attempt<T>(
        &self,
        action: Action,
        location: &str,
        deadline: Instant,
        operation: impl Future<Output = Result<T, Raw>>,
    ) -> Result<T, StoreError> {
        let (result, seen) = match tokio::time::timeout_at(deadline, observe(operation)).await {
            Ok(done) => done,
            Err(_) => return Err(self.unreachable(self.endpoint.clone(), "no answer in time")),
        };
        result.map_err(|error| self.classify(action, location, error, seen))
    }

    /// Tells what a failure means from what was seen on the wire, or from the operating system's error.
    pub(super) fn classify(&self, action: Action, location: &str, error: Raw, seen: Option<Seen>) -> StoreError {
        let Address::Bucket { cloud, .. } = &self.address else {
            return self.classify_local(action, location, &error);
        };
        if matches!(error, Raw::NotImplemented { .. } | Raw::NotSupported { .. }) {
            let store = self.address.to_string();
            return StoreError::Unexpected { store, answer: "the client library cannot do this".to_string() };
        }
        let Some(seen) = seen else {
            // Nothing was sent: a token file or a key could not be read.
            return StoreError::NoCredentials {
                store: self.address.to_string(),
                reason: "they could not be read".to_string(),
                hint: self.credential_hint(*cloud),
            };
        };
        let broken = chain_find::<HttpError>(&error).map(transport_reason);
        match (seen.what, broken) {
            _ if !seen.for_bucket => StoreError::NoCredentials {
                store: self.address.to_string(),
                reason: format!("`{}` gave none", seen.host),
                hint: self.credential_hint(*cloud),
            },
            (What::Transport { reason }, _) => self.unreachable(seen.host, &reason),
            // The headers were good and the body broke off.
            (What::Status { status: 200..=299, .. }, Some(reason)) => self.unreachable(seen.host, &reason),
            (What::Status { status, code }, _) => {
                self.classify_status(*cloud, action, location, status, code.as_deref())
            }
        }
    }

    fn classify_status(
        &self,
        cloud: Cloud,
        action: Action,
        location: &str,
        status: u16,
        code: Option<&str>,
    ) -> StoreError {
        let store = self.address.to_string();
        let answer = code.map_or_else(|| format!("HTTP {status}"), |code| format!("HTTP {status} {code}"));
        match (status, code) {
            (_, Some(code)) if WRONG_CREDENTIALS.contains(&code) => {
                StoreError::WrongCredentials { store, answer, hint: self.credential_hint(cloud) }
            }
            (401, _) => StoreError::WrongCredentials { store, answer, hint: self.credential_hint(cloud) },
            (403, _) => StoreError::PermissionDenied { store, action, answer },
            (404, Some("NoSuchBucket" | "ContainerNotFound")) => self.no_bucket(),
            (404, _) if action == Action::Read => StoreError::Absent { location: location.to_string() },
            (404, Some("NoSuchUpload")) => StoreError::Unexpected { store, answer },
            (404, _) => self.no_bucket(),
            (501, _) => StoreError::Unexpected { store, answer: format!("{answer}: it has no conditional requests") },
            (301 | 307 | 308, _)
            | (400, Some("AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")) => {
                StoreError::WrongRegion { store, answer }
            }
            (408 | 429 | 500..=599, _) => StoreError::Unavailable { store, answer, attempts: 1 },
            // Azure and S3 say 409 while two writers race; the next attempt sees the outcome.
            (409 | 412, _) => StoreError::Unavailable { store, answer, attempts: 1 },
            _ => StoreError::Unexpected { store, answer },
        }
    }

    fn classify_local(&self, action: Action, location: &str, error: &Raw) -> StoreError {
        if action == Action::Read && matches!(error, Raw::NotFound { .. }) {
            return StoreError::Absent { location: location.to_string() };
        }
        let source = match chain_find::<std::io::Error>(error) {
            Some(io) => io.raw_os_error().map_or_else(|| io.kind().into(), std::io::Error::from_raw_os_error),
            None => std::io::Error::other(error.to_string()),
        };
        self.local_error(action, location, source)
    }

    /// The meaning of an operating system's error in a directory.
    pub(super) fn local_error(&self, action: Action, location: &str, source: std::io::Error) -> StoreError {
        use std::io::ErrorKind;
        let store = self.address.to_string();
        match source.kind() {
            // What `link` says on vfat, gcsfuse and their like.
            ErrorKind::Unsupported => StoreError::NoHardLinks { store },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem if action == Action::Create => {
                StoreError::ReadOnly { store, reason: source.kind().to_string() }
            }
            _ => StoreError::Io { action, location: location.to_string(), source },
        }
    }

    /// The error for a bucket that does not exist.
    pub(super) fn no_bucket(&self) -> StoreError {
        let store = self.address.to_string();
        let Address::Bucket { cloud, bucket, .. } = &self.address else {
            return StoreError::Unexpected { store, answer: "not found".to_string() };
        };
        let endpoint_key = match cloud {
            Cloud::S3 => "AWS_ENDPOINT",
            Cloud::Gcs => "GOOGLE_BASE_URL",
            Cloud::Azure => "AZURE_STORAGE_ACCOUNT_NAME",
        };
        StoreError::NoBucket { store, word: cloud.container_word(), bucket: bucket.clone(), endpoint_key }
    }

    pub(super) fn unreachable(&self, host: String, reason: &str) -> StoreError {
        StoreError::Unreachable { store: self.address.to_string(), host, reason: reason.to_string(), attempts: 1 }
    }

    /// Names of what to set or check; never a value.
    pub(super) fn credential_hint(&self, cloud: Cloud) -> String {
        let wanted = match cloud {
            Cloud::S3 => "`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or a role for this machine",
            Cloud::Gcs => {
                "`GOOGLE_APPLICATION_CREDENTIALS` or `GOOGLE_SERVICE_ACCOUNT`, or the workload identity of this machine"
            }
            Cloud::Azure => {
                "`AZURE_STORAGE_ACCOUNT_NAME` with `AZURE_STORAGE_ACCOUNT_KEY`, a SAS token, or a workload identity, and the account's network rules"
            }
        };
        let mut hint = match self.used_options.as_slice() {
            [] => format!("set {wanted}"),
            used => format!("{wanted} (set now: {})", quoted(used)),
        };
        if self.ignored_options.iter().any(|name| name == "AWS_PROFILE") {
            hint.push_str(
                "; `AWS_PROFILE` is not read: export its keys with `aws configure export-credentials --format env`",
            );
        }
        hint
    }
}

/// An attempt that the deadline cut short says less than the failure before it.
pub(super) fn more_telling(last: Option<StoreError>, now: StoreError, deadline: Instant) -> StoreError {
    match last {
        Some(last) if now.is_transient() && Instant::now() >= deadline => last,
        _ => now,
    }
}

/// Names in backticks, with commas.
pub(super) fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The first error of type `E` in the chain of causes.
pub(super) fn chain_find<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        current = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_with_jitter_below() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(350));
        for full in [ms(100), ms(200), ms(350), ms(350)] {
            let pause = backoff.pause();
            assert!(pause >= full / 2 && pause <= full, "{pause:?} of {full:?}");
        }
    }
}
