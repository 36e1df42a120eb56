//! What can go wrong with a store, one kind per cause, and what to do about it.
//!
//! Messages are built from statuses, error codes and names only. No text of a server, a client library
//! or a URL enters them, so a credential, a token or a signed URL cannot.

use std::fmt;
use std::path::PathBuf;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Listing a prefix.
    List,
    /// Reading an object.
    Read,
    /// Creating an object.
    Create,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Create => "create",
        })
    }
}

/// A store failed. `store` is its address, `location` an object inside it; both are free of credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The address cannot be used.
    #[error("the store address `{address}` {reason}")]
    Address {
        /// The address, without userinfo and query.
        address: String,
        /// What is wrong with it and how to write it.
        reason: String,
    },
    /// An environment variable that configures the store cannot be used.
    #[error("`{key}` {reason}")]
    Option {
        /// Name of the variable.
        key: String,
        /// What is wrong with it; never its value.
        reason: String,
    },
    /// There is no such bucket or container.
    #[error(
        "there is no {word} `{bucket}` for the store `{store}`: create it, or correct the name or `{endpoint_key}`"
    )]
    NoBucket {
        /// Address of the store.
        store: String,
        /// `bucket` or `container`.
        word: &'static str,
        /// Its name.
        bucket: String,
        /// The variable that says which server is asked.
        endpoint_key: &'static str,
    },
    /// No credentials could be had.
    #[error("no credentials for the store `{store}`: {reason}; {hint}")]
    NoCredentials {
        /// Address of the store.
        store: String,
        /// Why there are none.
        reason: String,
        /// What to set.
        hint: String,
    },
    /// The server does not accept the credentials.
    #[error("the store `{store}` does not accept the credentials ({answer}): check {hint}")]
    WrongCredentials {
        /// Address of the store.
        store: String,
        /// Status and error code.
        answer: String,
        /// Which settings to check.
        hint: String,
    },
    /// The credentials are good but not sufficient.
    #[error(
        "the credentials may not {action} in the store `{store}` ({answer}): grant the rights to create, get and list objects"
    )]
    PermissionDenied {
        /// Address of the store.
        store: String,
        /// What was refused.
        action: Action,
        /// Status and error code.
        answer: String,
    },
    /// The server asks to be addressed elsewhere.
    #[error("the store `{store}` is served elsewhere ({answer}): check `AWS_REGION` and the endpoint")]
    WrongRegion {
        /// Address of the store.
        store: String,
        /// Status and error code.
        answer: String,
    },
    /// No answer: name resolution, connection, TLS, timeout.
    #[error(
        "the store `{store}` cannot be reached: {reason}, after {attempts} attempts; check the network and the endpoint `{host}`"
    )]
    Unreachable {
        /// Address of the store.
        store: String,
        /// Host and port that were asked.
        host: String,
        /// The last failure.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The server answers, but only with errors of its own.
    #[error("the store `{store}` keeps failing ({answer}), after {attempts} attempts: try again later")]
    Unavailable {
        /// Address of the store.
        store: String,
        /// Status and error code of the last answer.
        answer: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The server answers something that is no object store's answer.
    #[error(
        "the store `{store}` answered what cannot be understood ({answer}): check that the endpoint is an object store"
    )]
    Unexpected {
        /// Address of the store.
        store: String,
        /// Status and error code, or what is missing.
        answer: String,
    },
    /// Another writer created the object with other content.
    #[error(
        "`{location}` exists already with other content: another process writes this run; give this one a `--run-id` of its own"
    )]
    Conflict {
        /// The object.
        location: String,
    },
    /// The server overwrites objects that it was told to create only if absent.
    #[error(
        "the store `{store}` ignores conditions: creating `{location}` a second time was accepted, so runs could overwrite each other; use a server that honours `If-None-Match` (for a bucket behind a gateway, address it directly)"
    )]
    ConditionsIgnored {
        /// Address of the store.
        store: String,
        /// The object.
        location: String,
    },
    /// The store's path is not a directory.
    #[error("the store `{store}` is not a directory: `{}` is a file", path.display())]
    NotADirectory {
        /// Address of the store.
        store: String,
        /// The part that is a file.
        path: PathBuf,
    },
    /// The directory cannot be written.
    #[error(
        "the store `{store}` cannot be written ({reason}): change its permissions or choose another directory with `--store`"
    )]
    ReadOnly {
        /// Address of the store.
        store: String,
        /// The operating system's reason.
        reason: String,
    },
    /// The file system of the directory cannot give a file a second name, which create-once rests on.
    #[error(
        "the store `{store}` is on a file system without hard links: choose a local disk with `--store`, or a bucket by its address"
    )]
    NoHardLinks {
        /// Address of the store.
        store: String,
    },
    /// There is no such object.
    #[error("`{location}` does not exist")]
    Absent {
        /// The object.
        location: String,
    },
    /// A path is not one that a store can hold.
    #[error(
        "`{path}` is not a path a store can hold: parts are not empty, not `.` or `..`, and without control characters"
    )]
    Path {
        /// The path.
        path: String,
    },
    /// A local file operation failed.
    #[error("cannot {action} `{location}`: {source}")]
    Io {
        /// What was being done.
        action: Action,
        /// The file.
        location: String,
        /// The operating system's error.
        source: std::io::Error,
    },
}

impl StoreError {
    /// Whether trying again may help: the server or the way to it failed, not the request.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unavailable { .. })
    }

    /// Fills in how often an operation was tried.
    pub(super) fn with_attempts(mut self, made: u32) -> Self {
        if let Self::Unreachable { attempts, .. } | Self::Unavailable { attempts, .. } = &mut self {
            *attempts = made;
        }
        self
    }
}
