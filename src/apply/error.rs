//! Why an apply could not go on. Everything finished before is stored.

use super::probe::ProbeError;
use super::secrets::SecretError;
use crate::engine::EngineError;
use crate::store::StoreError;
use crate::store::layout::NameError;
use crate::store::runs::RunsError;
use crate::workload::{TooLong, WorkloadError};

/// Why an apply could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A defect of `bench`.
    #[error("internal error: {0}")]
    Internal(String),
    /// The load engine could not run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store cannot be read or refuses to be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A run id or scenario name that cannot be a folder of the store.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A local file of a running point cannot be written.
    #[error("cannot write `{path}`: {reason}; `--spool DIR` names another directory")]
    Spool {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Secrets are missing.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Secrets(Vec<SecretError>),
    /// A server is not ready for the plan.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Probe(Vec<ProbeError>),
    /// An address is none.
    #[error("backends.{backend}.url: {reason}")]
    Address {
        /// The backend.
        backend: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The simulated server did not start.
    #[error("backends.{backend}: the simulated server did not start: {reason}")]
    Simulator {
        /// The backend.
        backend: String,
        /// What happened.
        reason: String,
    },
    /// A dataset or tokenizer cannot be used.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// Requests that the models of their servers cannot hold.
    #[error(
        "{}\nno request was sent; shorten the workload, filter its rows, or say with `context_tokens` of the backend what it holds",
        .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    )]
    TooLong(Vec<TooLong>),
    /// An input file is not the one the plan was made with.
    #[error("{0}")]
    InputMoved(String),
    /// A stored object is not what its place says.
    #[error("`{location}` cannot be used: {reason}")]
    Stored {
        /// Where it is.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `--only` names no point, or several.
    #[error("`--only {asked}`: {reason}")]
    Only {
        /// As typed.
        asked: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<RunsError> for ApplyError {
    fn from(error: RunsError) -> Self {
        match error {
            RunsError::Name(error) => Self::Name(error),
            RunsError::Store(error) => Self::Store(error),
        }
    }
}
