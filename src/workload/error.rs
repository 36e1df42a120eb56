//! Why traffic cannot be built, in terms a scenario's author can act on.

use crate::assets::AssetError;
use crate::tokens::TokenizerError;
use crate::trace::TraceError;

use super::length::file::LengthFileError;
use super::prompt::dataset::DatasetError;

/// A setting that makes no sense, found without opening a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Key path: relative to the table that was checked, absolute in a [`WorkloadError`].
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem of the setting `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }

    /// The same problem seen from the table that holds `table`.
    #[must_use]
    pub fn inside(self, table: &str) -> Self {
        let key = if self.key.is_empty() { table.to_owned() } else { format!("{table}.{}", self.key) };
        Self { key, message: self.message }
    }
}

/// Why traffic cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// Settings that make no sense, all of them.
    #[error("{}", list(.0))]
    Settings(Vec<Problem>),
    /// A tokenizer that cannot be used.
    #[error("tokenizer `{name}`: {source}")]
    Tokenizer {
        /// Its name in `[tokenizers]`.
        name: String,
        /// Why.
        #[source]
        source: TokenizerError,
    },
    /// A dataset that cannot be read.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// A trace that cannot be used.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A file of lengths that cannot be used.
    #[error(transparent)]
    Lengths(#[from] LengthFileError),
    /// A dataset with bad content.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("`{}`: {}", problem.key, problem.message)).collect();
    lines.join("; ")
}
